"""/v1/swaps over HTTP: plan, order, follow, cancel; who may, and what others are told."""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass, replace
from typing import Any

import pytest

from carriers.control_center_rest import PROMPT
from swap.ports import CarrierRefused, ProfileRefused
from tenancy.principal import Principal, PrincipalKind
from tests.api_stage import ApiCaller, caller, carrier_body
from tests.http_stage import Edge

_numbers = itertools.count(90_000)
LEADS, PARTNERS = "8988211000000000011", "8988211000000000029"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A lead with two enterprises, a partner without integration for one of them, and an eSIM of that one."""

    admin: ApiCaller
    lead: ApiCaller
    partner: ApiCaller
    x: ApiCaller
    y: ApiCaller
    eid: str

    def body(self, **more: Any) -> dict[str, Any]:
        """The swap of the eSIM to the partner."""
        return {"eid": self.eid, "targetId": self.partner.principal.party_id, **more}


async def made_world(at_edge: Edge, model: str) -> World:
    admin = await caller(at_edge)
    carriers = []
    for name, role in (("lead", "lead"), ("partner", "partner")):
        made = (await admin.post("/v1/carriers", carrier_body(name, role))).json()
        carriers.append(await caller(at_edge, Principal(kind=PrincipalKind.CARRIER, party_id=made["id"])))
    lead, partner = carriers
    own = []
    for name in ("x", "y"):
        made = (await lead.post("/v1/enterprises", {"name": name, "leadId": lead.principal.party_id})).json()
        own.append(await caller(at_edge, Principal(kind=PrincipalKind.ENTERPRISE, party_id=made["id"])))
    terms = {"enterpriseId": own[0].principal.party_id, "partnerId": partner.principal.party_id, "model": model} | {
        "plans": {}
    }
    answer = await admin.post("/v1/partnerships", terms)
    assert answer.status == 201, answer.body
    eid = at_edge.material.issuer.eid(next(_numbers))
    card = at_edge.material.issuer.issue(eid)
    esim = {
        "eid": str(eid),
        "enterpriseId": own[0].principal.party_id,
        "eumCertificate": base64.b64encode(card.eum_certificate).decode(),
        "euiccCertificate": base64.b64encode(card.euicc_certificate).decode(),
        "associationToken": 1,
    }
    assert (await lead.post("/v1/esims", esim)).status == 201
    await listed(at_edge, str(eid), own[0].principal.party_id)
    return World(admin=admin, lead=lead, partner=partner, x=own[0], y=own[1], eid=str(eid))


async def listed(at_edge: Edge, eid: str, tenant_id: int) -> None:
    """The card has told its profiles: the lead's alone, enabled."""
    import asyncpg

    tables = await asyncpg.connect(at_edge.services.settings.database_url.reveal())
    try:
        await tables.execute("UPDATE esims SET content_at = now() WHERE eid = $1", eid)
        await tables.execute("INSERT INTO esim_profiles VALUES ($1, $2, $3, true, now())", eid, LEADS, tenant_id)
    finally:
        await tables.close()


@pytest.fixture
async def world(at_edge: Edge) -> World:
    return await made_world(at_edge, "handover")


async def test_a_plan_says_what_would_be_done_and_does_nothing(world: World) -> None:
    plan = (await world.x.post("/v1/swaps/plan", world.body())).json()
    assert (plan["way"], plan["gates"], plan["source"]) == ("customer_allocates", [], "lead")
    assert plan["steps"][0] == "await_customer"
    assert any("an action stays open" in line for line in plan["billing"])
    assert (await world.x.get("/v1/swaps")).json() == {"items": [], "next": None}


async def test_a_swap_is_ordered_once_read_and_cancelled(world: World) -> None:
    plan = (await world.x.post("/v1/swaps/plan", world.body())).json()
    body = world.body(digest=plan["digest"])
    first = await world.x.post("/v1/swaps", body, key="one")
    again = await world.x.post("/v1/swaps", body, key="one")
    assert (first.status, first.body) == (202, again.body)
    swap = first.json()["swap"]
    found = (await world.x.get(first.headers["Location"])).json()
    assert (found["swap"]["state"], found["swap"]["orderedBy"]) == ("awaiting_customer", str(world.x.principal))
    assert [stage["stage"] for stage in found["stages"]] == ["allocation", "download", "activation"]
    assert [(one["about"], one["chosen"]) for one in found["actions"]] == [("allocation", None)]
    cancelled = await world.x.post(f"/v1/swaps/{swap['id']}/cancel")
    assert cancelled.json()["cancelRequested"] is True
    assert (await world.x.post(f"/v1/swaps/{swap['id']}/cancel")).status == 200
    listing = (await world.x.get(f"/v1/swaps?eid={world.eid}&open=true")).json()
    assert [one["id"] for one in listing["items"]] == [swap["id"]]


async def test_a_second_swap_of_an_esim_is_told_which_one_runs(world: World) -> None:
    first = (await world.x.post("/v1/swaps", world.body())).json()["swap"]
    second = await world.lead.post("/v1/swaps", world.body(enterpriseId=world.x.principal.party_id))
    assert (second.status, second.json()["existing"]) == (409, f"/v1/swaps/{first['id']}")


async def test_a_plan_that_is_no_longer_so_is_not_carried_out(world: World) -> None:
    answer = await world.x.post("/v1/swaps", world.body(digest="0" * 64))
    assert (answer.status, answer.json()["code"]) == (409, "conflict")
    assert (await world.x.get("/v1/swaps")).json()["items"] == []


async def test_a_swap_without_a_partnership_is_refused_with_the_reason(world: World, at_edge: Edge) -> None:
    other = (await world.admin.post("/v1/carriers", carrier_body("stranger", "partner"))).json()
    unknown = await world.x.post("/v1/swaps", world.body(targetId=other["id"]))
    nobody = await world.x.post("/v1/swaps", world.body(targetId=4711))
    assert (unknown.status, nobody.status) == (404, 404)
    assert unknown.json()["detail"] == nobody.json()["detail"]
    back = await world.x.post("/v1/swaps", world.body(targetId=world.lead.principal.party_id))
    assert (back.status, "enabled on the card already" in back.json()["detail"]) == (422, True)


async def test_a_confirmation_needs_line_and_code_and_no_answer_shows_the_code(world: World) -> None:
    swap = (await world.x.post("/v1/swaps", world.body())).json()["swap"]
    path = f"/v1/swaps/{swap['id']}"
    assert (await world.x.post(f"{path}/confirm", {})).status == 400
    said = {"iccid": PARTNERS, "activationCode": "LPA:1$smdp.partner.example$SECRET-TOKEN"}
    confirmed = await world.x.post(f"{path}/confirm", said)
    assert (confirmed.status, confirmed.json()["swap"]["iccid"]) == (200, PARTNERS)
    assert (await world.x.post(f"{path}/confirm", said)).status == 200
    shown = (await world.x.get(path)).body + (await world.admin.get("/v1/audit")).body
    assert b"SECRET-TOKEN" not in shown
    assert (await world.x.post(f"{path}/decisions/1", {"choice": "ended"})).status == 409
    assert (await world.x.post(f"{path}/decisions/9", {"choice": "ended"})).status == 404


async def test_nobody_else_learns_of_a_swap(world: World) -> None:
    swap = (await world.x.post("/v1/swaps", world.body())).json()["swap"]
    for path in (f"/v1/swaps/{swap['id']}", "/v1/swaps/4711"):
        answer = await world.y.get(path)
        assert (answer.status, answer.json()["detail"]) == (404, "there is no swap of this id")
    assert (await world.y.get("/v1/swaps")).json()["items"] == []
    for verb in ("cancel", "confirm", "decisions/1"):
        body = {"choice": "keep"} if verb.startswith("d") else None if verb == "cancel" else {}
        assert (await world.y.post(f"/v1/swaps/{swap['id']}/{verb}", body)).status == 404
    foreign = await world.y.post("/v1/swaps", world.body())
    assert foreign.status == 404  # y has no partnership, so it does not know the carrier
    assert (await world.partner.get(f"/v1/swaps/{swap['id']}?enterpriseId={swap['enterpriseId']}")).status == 404


async def test_under_resale_the_lead_orders_and_the_enterprise_does_not(at_edge: Edge) -> None:
    world = await made_world(at_edge, "resale")
    refused = await world.x.post("/v1/swaps", world.body())
    assert (refused.status, refused.json()["code"]) == (403, "not_allowed")
    ordered = await world.lead.post("/v1/swaps", world.body(enterpriseId=world.x.principal.party_id))
    assert ordered.status == 202
    assert (await world.x.get(f"/v1/swaps/{ordered.json()['swap']['id']}")).status == 200


async def bare_platform(at_edge: Edge, carrier: ApiCaller) -> None:
    """What no request can bring about: a platform of which nothing but the kind is known."""
    statement = "UPDATE carriers SET platform_kind = 'control_center', platform_url = '' WHERE id = $1"
    await at_edge.execute(statement, carrier.principal.party_id)


async def test_a_platform_that_is_not_configured_is_a_gate_that_says_what_is_missing(
    world: World, at_edge: Edge
) -> None:
    await bare_platform(at_edge, world.partner)
    plan = await world.x.post("/v1/swaps/plan", world.body())
    assert plan.status == 200
    text = "the platform of partner cannot be used: a platform of kind control_center needs baseUrl, username, apiKey"
    assert [gate["missing"] for gate in plan.json()["gates"]] == ["platform"]
    assert plan.json()["gates"][0]["text"] == f"{text}; missing: baseUrl, username, apiKey"
    order = await world.x.post("/v1/swaps", world.body())
    assert (order.status, order.json()["code"], text in order.json()["detail"]) == (422, "unprocessable", True)
    assert (await world.x.get("/v1/swaps")).json()["items"] == []


async def test_a_swap_goes_on_by_hand_when_its_platform_is_not_configured_any_more(world: World, at_edge: Edge) -> None:
    path = f"/v1/swaps/{(await world.x.post('/v1/swaps', world.body())).json()['swap']['id']}"
    await bare_platform(at_edge, world.partner)
    said = {"iccid": PARTNERS, "activationCode": "LPA:1$smdp.partner.example$SECRET-TOKEN"}
    assert (await world.x.post(f"{path}/confirm", said)).status == 200
    assert (await world.x.post(f"{path}/decisions/1", {"choice": "ended"})).status == 409
    assert (await world.x.post(f"{path}/cancel")).status == 200


async def test_the_platform_of_the_carrier_that_is_left_stands_in_the_way_of_no_swap(
    world: World, at_edge: Edge
) -> None:
    await bare_platform(at_edge, world.lead)
    plan = (await world.x.post("/v1/swaps/plan", world.body())).json()
    assert (plan["source"], plan["gates"]) == ("lead", [])


@pytest.mark.parametrize("refused", [CarrierRefused("it says no", permanent=True), ProfileRefused("it says no")])
async def test_what_a_carrier_refuses_is_no_fault_of_the_server(
    world: World, at_edge: Edge, monkeypatch: pytest.MonkeyPatch, refused: Exception
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise refused

    swaps = at_edge.services.swaps
    assert swaps is not None
    for use in ("plan", "order", "read", "confirm", "cancel", "decide"):
        monkeypatch.setattr(type(swaps.desk), use, refuse)
    answers = [
        await world.x.post("/v1/swaps/plan", world.body()),
        await world.x.post("/v1/swaps", world.body()),
        await world.x.get("/v1/swaps/1"),
        await world.x.post("/v1/swaps/1/confirm", {}),
        await world.x.post("/v1/swaps/1/cancel"),
        await world.x.post("/v1/swaps/1/decisions/1", {"choice": "keep"}),
    ]
    assert {(answer.status, answer.json()["detail"]) for answer in answers} == {(422, "it says no")}


_BUSY = """
INSERT INTO platform_lines VALUES ('flex@127.0.0.1:9', 1, '{"holder": "another host", "until": "2999-01-01T00:00:00Z"}')
"""


async def test_a_plan_whose_platform_is_busy_is_told_to_come_again(world: World, at_edge: Edge) -> None:
    access = {"kind": "control_center", "baseUrl": "http://127.0.0.1:9", "username": "flex", "apiKey": "platform-key"}
    path = f"/v1/carriers/{world.lead.principal.party_id}"
    assert (await world.admin.patch(path, {"platform": access})).status == 200
    registry = at_edge.services.swaps.desk._look.platforms._registry  # type: ignore[union-attr]
    registry.timing = replace(PROMPT, patience=0.05)
    await execute(at_edge, _BUSY)
    answer = await world.x.post("/v1/swaps/plan", world.body(targetId=world.lead.principal.party_id))
    assert (answer.status, answer.json()["code"], answer.headers["Retry-After"]) == (503, "unavailable", "10")
    assert "try again" in answer.json()["detail"]


async def execute(at_edge: Edge, statement: str) -> None:
    import asyncpg

    tables = await asyncpg.connect(at_edge.services.settings.database_url.reveal())
    try:
        await tables.execute(statement)
    finally:
        await tables.close()
