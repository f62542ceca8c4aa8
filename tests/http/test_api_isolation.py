"""Two leads, a partner and two enterprises: who sees and changes what, and nobody learns of anybody else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tenancy.principal import Principal, PrincipalKind, Scope
from tests.api_stage import ApiCaller, caller, carrier_body
from tests.http_stage import Answer, Edge


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Lead A with enterprise X, lead B with enterprise Y, partner P of X only."""

    admin: ApiCaller
    a: ApiCaller
    b: ApiCaller
    p: ApiCaller
    x: ApiCaller
    y: ApiCaller


async def made(by: ApiCaller, path: str, body: object) -> dict[str, Any]:
    answer = await by.post(path, body)
    assert answer.status == 201, answer.body
    return answer.json()


@pytest.fixture
async def world(at_edge: Edge) -> World:
    admin = await caller(at_edge)
    callers = {}
    for name, role in (("a", "both"), ("b", "lead"), ("p", "partner")):
        carrier = await made(admin, "/v1/carriers", carrier_body(f"carrier-{name}", role))
        callers[name] = await caller(at_edge, Principal(kind=PrincipalKind.CARRIER, party_id=carrier["id"]))
    for name, lead in (("x", "a"), ("y", "b")):
        by = callers[lead]
        body = {"name": f"enterprise-{name}", "leadId": by.principal.party_id, "plans": {"account": "1"}}
        enterprise = await made(by, "/v1/enterprises", body)
        callers[name] = await caller(at_edge, Principal(kind=PrincipalKind.ENTERPRISE, party_id=enterprise["id"]))
    return World(admin=admin, **callers)


def party(one: ApiCaller) -> int:
    return one.principal.party_id


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["code"]


def terms(world: World, **more: Any) -> dict[str, Any]:
    plans = {"account": "200", "ratePlan": "r", "communicationPlan": "c"}
    body = {"enterpriseId": party(world.x), "partnerId": party(world.p), "model": "handover", "plans": plans}
    return body | more


async def ids(by: ApiCaller, path: str) -> list[int]:
    return [one["id"] for one in (await by.get(path)).json()["items"]]


async def test_enterprises_are_seen_by_themselves_and_their_lead(world: World) -> None:
    assert await ids(world.a, "/v1/enterprises") == await ids(world.x, "/v1/enterprises") == [party(world.x)]
    assert await ids(world.b, "/v1/enterprises") == await ids(world.y, "/v1/enterprises") == [party(world.y)]
    assert await ids(world.p, "/v1/enterprises") == []
    assert await ids(world.admin, "/v1/enterprises") == [party(world.x), party(world.y)]


async def test_what_is_anothers_answers_as_what_is_not_there(world: World) -> None:
    partnership = await made(world.a, "/v1/partnerships", terms(world))
    for by in (world.b, world.y):
        for path, known in (("enterprises", party(world.x)), ("partnerships", partnership["id"])):
            for method, body in (("GET", None), ("PATCH", {})):
                foreign = await by.call(method, f"/v1/{path}/{known}", body, {})
                unknown = await by.call(method, f"/v1/{path}/99999", body, {})
                assert code(foreign) == code(unknown) == (404, "not_found")
                assert foreign.json()["detail"] == unknown.json()["detail"]


async def test_a_partnership_holds_once_both_sides_agree(world: World) -> None:
    proposed = await made(world.a, "/v1/partnerships", terms(world))
    assert (proposed["leadAgrees"], proposed["partnerAgrees"], proposed["active"]) == (True, False, False)
    agreed = (await world.p.patch(f"/v1/partnerships/{proposed['id']}", {"agrees": True})).json()
    assert (agreed["leadAgrees"], agreed["partnerAgrees"], agreed["active"]) == (True, True, True)
    assert (await world.x.get(f"/v1/partnerships/{proposed['id']}")).json() == agreed


async def test_new_terms_need_a_new_agreement_of_the_other_side(world: World) -> None:
    path = f"/v1/partnerships/{(await made(world.a, '/v1/partnerships', terms(world)))['id']}"
    await world.p.patch(path, {"agrees": True})
    cheaper = (await world.a.patch(path, {"plans": {"account": "300"}})).json()
    assert (cheaper["leadAgrees"], cheaper["partnerAgrees"], cheaper["active"]) == (True, False, False)
    countered = (await world.p.patch(path, {"territory": ["244", "242", "244"]})).json()
    assert (countered["leadAgrees"], countered["partnerAgrees"]) == (False, True)
    assert countered["territory"] == ["242", "244"]
    assert (await world.a.patch(path, {"agrees": True})).json()["active"]
    assert not (await world.p.patch(path, {"agrees": False})).json()["active"]


async def test_a_carrier_becomes_known_by_its_own_agreement_and_not_by_being_named(world: World) -> None:
    before = await ids(world.a, "/v1/carriers")
    path = f"/v1/partnerships/{(await made(world.a, '/v1/partnerships', terms(world)))['id']}"
    assert await ids(world.a, "/v1/carriers") == before == [party(world.a)]
    assert await ids(world.p, "/v1/carriers") == [party(world.a), party(world.p)]
    await world.p.patch(path, {"agrees": True})
    assert await ids(world.a, "/v1/carriers") == [party(world.a), party(world.p)]
    assert await ids(world.x, "/v1/carriers") == [party(world.a), party(world.p)]
    assert await ids(world.y, "/v1/carriers") == [party(world.b)]


async def test_of_a_counterpart_nothing_but_name_and_role_is_told(world: World) -> None:
    await made(world.a, "/v1/partnerships", terms(world))
    seen = (await world.p.get(f"/v1/carriers/{party(world.a)}")).json()
    hidden = ("platform", "operatorId", "profileType", "inventoryAccount")
    assert [seen[name] for name in hidden] == [None] * 4


async def test_a_partnership_is_proposed_by_the_lead_of_the_enterprise_alone(world: World) -> None:
    assert code(await world.x.post("/v1/partnerships", terms(world))) == (403, "not_allowed")
    for by in (world.p, world.b, world.y):
        assert code(await by.post("/v1/partnerships", terms(world))) == (404, "not_found")


@pytest.mark.parametrize("partner", ["a", "b"])
async def test_a_partner_is_another_carrier_that_takes_over(world: World, partner: str) -> None:
    body = terms(world, partnerId=party(getattr(world, partner)))
    assert code(await world.a.post("/v1/partnerships", body)) == (422, "unprocessable")


async def test_an_enterprise_changes_no_partnership(world: World) -> None:
    path = f"/v1/partnerships/{(await made(world.a, '/v1/partnerships', terms(world)))['id']}"
    assert code(await world.x.patch(path, {"agrees": True})) == (403, "not_allowed")


async def test_an_enterprise_and_a_carrier_have_one_partnership(world: World) -> None:
    await made(world.a, "/v1/partnerships", terms(world))
    assert code(await world.a.post("/v1/partnerships", terms(world))) == (409, "conflict")


async def test_what_an_admin_records_holds_at_once(world: World) -> None:
    assert (await made(world.admin, "/v1/partnerships", terms(world)))["active"]


async def test_an_enterprise_belongs_to_a_carrier_that_leads(world: World) -> None:
    body = {"name": "z", "leadId": party(world.p)}
    assert code(await world.p.post("/v1/enterprises", body)) == (422, "unprocessable")
    assert code(await world.a.post("/v1/enterprises", body)) == (403, "not_allowed")
    assert code(await world.x.post("/v1/enterprises", body)) == (403, "not_allowed")


async def test_the_same_name_may_be_used_under_two_leads(world: World) -> None:
    names = {"name": "same"}
    await made(world.a, "/v1/enterprises", names | {"leadId": party(world.a)})
    await made(world.b, "/v1/enterprises", names | {"leadId": party(world.b)})
    again = await world.a.post("/v1/enterprises", names | {"leadId": party(world.a)})
    assert code(again) == (409, "conflict")


def key_body(owner: ApiCaller, *scopes: str) -> dict[str, Any]:
    return {"name": "k", "kind": owner.principal.kind, "principalId": party(owner), "scopes": list(scopes)}


async def test_a_made_key_calls_with_its_scopes_until_it_is_revoked(world: World) -> None:
    key = await made(world.a, "/v1/keys", key_body(world.x, "tenancy:read"))
    new = ApiCaller(edge=world.a.edge, token=key["token"], principal=world.x.principal)
    assert await ids(new, "/v1/enterprises") == [party(world.x)]
    assert code(await new.get("/v1/keys")) == (403, "not_allowed")
    revoked = await world.a.post(f"/v1/keys/{key['id']}/revoke", key="")
    assert revoked.json()["revokedAt"]
    assert code(await new.get("/v1/enterprises")) == (401, "unauthenticated")
    again = await world.a.post(f"/v1/keys/{key['id']}/revoke", key="")
    assert again.json() == revoked.json()


async def test_the_token_of_a_key_is_shown_once_and_stored_nowhere(world: World) -> None:
    first = await world.a.post("/v1/keys", key_body(world.a, "keys:read"), key="one")
    again = await world.a.post("/v1/keys", key_body(world.a, "keys:read"), key="one")
    assert again.json() == first.json() | {"token": None}
    secret = first.json()["token"].rpartition("_")[2]
    for table in ("api_keys", "api_requests", "audit"):
        rows = await world.a.edge.fetch(f"SELECT t::text FROM {table} t")
        assert not any(secret in row[0] for row in rows)


async def test_keys_are_made_for_oneself_and_by_leads_for_their_enterprises(world: World) -> None:
    for by, owner in ((world.a, world.a), (world.x, world.x), (world.a, world.x), (world.admin, world.y)):
        await made(by, "/v1/keys", key_body(owner, "esims:read"))
    for by, owner in ((world.a, world.y), (world.b, world.x), (world.p, world.a), (world.x, world.a)):
        assert code(await by.post("/v1/keys", key_body(owner, "esims:read"))) == (403, "not_allowed")
    admin_key = {"name": "k", "kind": "admin", "scopes": ["keys:write"]}
    assert code(await world.a.post("/v1/keys", admin_key)) == (403, "not_allowed")


async def test_a_key_gets_no_scope_its_maker_lacks(world: World) -> None:
    some = await caller(world.a.edge, world.a.principal, frozenset({Scope.KEYS_WRITE}))
    assert code(await some.post("/v1/keys", key_body(world.a, "swaps:write"))) == (403, "not_allowed")


async def test_a_key_for_nobody_is_refused(world: World) -> None:
    for kind in ("carrier", "enterprise"):
        body = {"name": "k", "kind": kind, "principalId": 4711, "scopes": ["esims:read"]}
        assert code(await world.admin.post("/v1/keys", body)) == (422, "unprocessable")
    admin = {"name": "k", "kind": "admin", "principalId": 1, "scopes": ["esims:read"]}
    assert code(await world.admin.post("/v1/keys", admin)) == (422, "unprocessable")


async def test_keys_and_audit_show_ones_own(world: World) -> None:
    keys = (await world.a.get("/v1/keys?limit=200")).json()["items"]
    owners = {(key["kind"], key["principalId"]) for key in keys}
    assert owners == {("carrier", party(world.a)), ("enterprise", party(world.x))}
    foreign = next(key["id"] for key in (await world.b.get("/v1/keys")).json()["items"])
    assert code(await world.a.get(f"/v1/keys/{foreign}")) == (404, "not_found")
    assert code(await world.a.post(f"/v1/keys/{foreign}/revoke", key="")) == (404, "not_found")
    writes = (await world.b.get("/v1/audit")).json()["items"]
    assert {(row["kind"], row["principalId"], row["subject"]) for row in writes} == {
        ("carrier", party(world.b), f"enterprises/{party(world.y)}")
    }
