"""/v1/esims: inventory and functions of eSIMs; who onboards, who steers, and what others are told."""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass
from typing import Any

import pytest

from tenancy.principal import Principal, PrincipalKind
from tests.api_stage import ApiCaller, caller, carrier_body
from tests.http_stage import Answer, Edge

ICCID = "8988211000000000011"
_numbers = itertools.count(70_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A lead with two enterprises, a second lead, and an admin."""

    admin: ApiCaller
    lead: ApiCaller
    other_lead: ApiCaller
    x: ApiCaller
    y: ApiCaller

    def certificates(self) -> dict[str, Any]:
        """A card of the test's EUM: EID and certificates."""
        eid = self.admin.edge.material.issuer.eid(next(_numbers))
        card = self.admin.edge.material.issuer.issue(eid)
        return {
            "eid": str(eid),
            "eumCertificate": base64.b64encode(card.eum_certificate).decode(),
            "euiccCertificate": base64.b64encode(card.euicc_certificate).decode(),
        }

    async def onboarded(self, enterprise: ApiCaller) -> str:
        """The EID of a new eSIM."""
        body = self.certificates() | {"enterpriseId": enterprise.principal.party_id, "associationToken": 1}
        answer = await self.lead.post("/v1/esims", body)
        assert answer.status == 201, answer.body
        return str(body["eid"])


@pytest.fixture
async def world(at_edge: Edge) -> World:
    admin = await caller(at_edge)
    leads = []
    for name in ("one", "two"):
        made = (await admin.post("/v1/carriers", carrier_body(name))).json()
        leads.append(await caller(at_edge, Principal(kind=PrincipalKind.CARRIER, party_id=made["id"])))
    own = []
    for name in ("x", "y"):
        body = {"name": name, "leadId": leads[0].principal.party_id}
        made = (await leads[0].post("/v1/enterprises", body)).json()
        own.append(await caller(at_edge, Principal(kind=PrincipalKind.ENTERPRISE, party_id=made["id"])))
    return World(admin=admin, lead=leads[0], other_lead=leads[1], x=own[0], y=own[1])


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["code"]


def cancel(made: Answer) -> str:
    path, _, query = made.headers["Location"].partition("?")
    return f"{path}/cancel?{query}"


def of(enterprise: ApiCaller) -> str:
    return f"?enterpriseId={enterprise.principal.party_id}"


async def test_the_lead_onboards_and_the_enterprise_sees_it(world: World) -> None:
    body = world.certificates() | {"enterpriseId": world.x.principal.party_id}
    made = await world.lead.post("/v1/esims", body)
    assert made.status == 201
    view = made.json()
    assert (view["eid"], view["profiles"], view["lastContactAt"]) == (body["eid"], [], None)
    assert (await world.lead.get(made.headers["Location"])).json() == view
    assert (await world.x.get(f"/v1/esims/{body['eid']}")).json() == view
    assert (await world.x.get("/v1/esims")).json() == {"items": [view], "next": None}


async def test_nobody_but_the_lead_onboards(world: World) -> None:
    body = world.certificates() | {"enterpriseId": world.x.principal.party_id}
    assert code(await world.x.post("/v1/esims", body)) == (403, "not_allowed")
    assert code(await world.admin.post("/v1/esims", body)) == (403, "not_allowed")
    assert code(await world.y.post("/v1/esims", body)) == (404, "not_found")
    assert code(await world.other_lead.post("/v1/esims", body)) == (404, "not_found")
    assert await world.admin.edge.fetch("SELECT * FROM esims") == []


async def test_certificates_of_another_card_are_refused(world: World) -> None:
    body = world.certificates() | {"enterpriseId": world.x.principal.party_id, "eid": world.certificates()["eid"]}
    assert code(await world.lead.post("/v1/esims", body)) == (422, "unprocessable")
    garbage = body | {"eumCertificate": "AAAA"}
    assert code(await world.lead.post("/v1/esims", garbage)) == (422, "unprocessable")
    assert code(await world.lead.post("/v1/esims", body | {"eumCertificate": "*"})) == (400, "malformed")
    assert await world.admin.edge.fetch("SELECT * FROM esims") == []


async def test_an_esim_of_another_enterprise_is_not_there(world: World) -> None:
    eid = await world.onboarded(world.x)
    for path in (f"/v1/esims/{eid}", f"/v1/esims/{eid}{of(world.y)}"):
        assert code(await world.y.get(path)) == (404, "not_found")
    assert (await world.y.get("/v1/esims")).json()["items"] == []
    assert code(await world.y.get(f"/v1/esims{of(world.x)}")) == (404, "not_found")
    assert code(await world.other_lead.get(f"/v1/esims{of(world.x)}")) == (404, "not_found")
    assert code(await world.lead.get(f"/v1/esims/{eid}{of(world.y)}")) == (404, "not_found")
    assert code(await world.y.post(f"/v1/esims/{eid}/operations", {"kind": "list"})) == (404, "not_found")
    assert await world.admin.edge.fetch("SELECT * FROM esim_operations") == []


async def test_an_admin_steers_nobodys_esims_and_a_carrier_names_the_enterprise(world: World) -> None:
    for path in ("/v1/esims", f"/v1/esims{of(world.x)}", "/v1/esims?enterpriseId=4711", "/v1/swaps"):
        answer = await world.admin.get(path)
        assert code(answer) == (403, "not_allowed")
        assert "use the key of an enterprise or of its lead carrier" in answer.json()["detail"]
    assert code(await world.lead.get("/v1/esims")) == (422, "unprocessable")


async def test_esims_come_in_pages(world: World) -> None:
    eids = sorted([await world.onboarded(world.x) for _ in range(3)])
    first = (await world.x.get("/v1/esims?limit=2")).json()
    assert ([one["eid"] for one in first["items"]], first["next"]) == (eids[:2], eids[1])
    rest = (await world.x.get(f"/v1/esims?limit=2&after={first['next']}")).json()
    assert ([one["eid"] for one in rest["items"]], rest["next"]) == (eids[2:], None)


async def test_an_operation_is_queued_once_and_can_be_withdrawn(world: World) -> None:
    eid = await world.onboarded(world.x)
    path, body = f"/v1/esims/{eid}/operations", {"kind": "enable", "iccid": ICCID, "rollback": True}
    made = await world.x.post(path, body, key="one")
    assert made.status == 202
    assert made.json()["state"] == "queued"
    assert (await world.x.post(path, body, key="one")).json() == made.json()
    assert len(await world.x.edge.fetch("SELECT * FROM esim_operations")) == 1
    assert (await world.x.get(made.headers["Location"])).json() == made.json()
    cancelled = await world.x.post(cancel(made), key="")
    assert cancelled.json()["state"] == "cancelled"
    assert (await world.x.post(cancel(made), key="")).json() == cancelled.json()
    assert (await world.x.get(f"{path}?state=queued")).json()["items"] == []


async def test_a_lost_answer_of_an_operation_makes_no_second_one(world: World) -> None:
    eid = await world.onboarded(world.x)
    path, body = f"/v1/esims/{eid}/operations", {"kind": "list"}
    first = await world.x.post(path, body, key="one")
    await world.x.edge.execute("UPDATE api_requests SET status = NULL, body = NULL, claimed_until = now()")
    again = await world.x.post(path, body, key="one")
    assert again.json()["id"] == first.json()["id"]
    assert len(await world.x.edge.fetch("SELECT * FROM esim_operations")) == 1


async def test_an_operation_the_device_has_is_not_withdrawn(world: World) -> None:
    eid = await world.onboarded(world.x)
    made = await world.x.post(f"/v1/esims/{eid}/operations", {"kind": "list"})
    await world.x.edge.execute("UPDATE esim_operations SET state = 'sent'")
    assert code(await world.x.post(cancel(made), key="")) == (409, "conflict")


async def test_activation_codes_are_stored_sealed_and_shown_to_nobody(world: World) -> None:
    eid = await world.onboarded(world.x)
    body = {"kind": "download", "activationCode": "LPA:1$smdp.example.com$SECRET-MATCHING-ID"}
    made = await world.x.post(f"/v1/esims/{eid}/operations", body)
    assert made.status == 202
    assert b"SECRET-MATCHING-ID" not in made.body
    for table in ("esim_operations", "api_requests", "audit"):
        rows = await world.x.edge.fetch(f"SELECT t::text FROM {table} t")
        assert not any("SECRET" in row[0] for row in rows)


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "enable"},
        {"kind": "list", "iccid": ICCID},
        {"kind": "disable", "iccid": ICCID, "rollback": True},
        {"kind": "download"},
        {"kind": "download", "activationCode": "nonsense"},
        {"kind": "burn"},
        {"kind": "enable", "iccid": "12"},
        {"kind": "list", "expiresInSeconds": 1},
    ],
)
async def test_operations_that_make_no_sense_are_refused(world: World, body: dict[str, Any]) -> None:
    eid = await world.onboarded(world.x)
    assert code(await world.x.post(f"/v1/esims/{eid}/operations", body)) == (400, "malformed")
    assert await world.x.edge.fetch("SELECT * FROM esim_operations") == []
