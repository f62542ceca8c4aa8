"""/v1/carriers, and with it what the framework does for every resource."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tenancy.principal import Principal, PrincipalKind, Scope
from tests.api_stage import ApiCaller, caller, carrier_body
from tests.http_stage import Answer, Edge

CARRIERS = "/v1/carriers"
PLATFORM = {"kind": "control_center", "baseUrl": "https://cc.example/rws/api/v1", "username": "u", "apiKey": "s3cret-k"}


@pytest.fixture
async def admin(at_edge: Edge) -> ApiCaller:
    return await caller(at_edge)


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["code"]


async def table(edge: Edge, name: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(edge.database)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(f"SELECT * FROM {name} ORDER BY 1")
        return rows
    finally:
        await connection.close()


async def test_a_registered_carrier_is_read_at_its_location(admin: ApiCaller) -> None:
    body = carrier_body("nordic", "partner", profileType="iot", inventoryAccount="100", platform=PLATFORM)
    made = await admin.post(CARRIERS, body)
    assert made.status == 201
    view = made.json()
    assert view["platform"] == {
        "kind": "control_center",
        "baseUrl": PLATFORM["baseUrl"],
        "username": "u",
        "hasApiKey": True,
    }
    assert (await admin.get(made.headers["Location"])).json() == view


async def test_the_key_of_a_platform_is_sealed_and_told_to_nobody(admin: ApiCaller) -> None:
    made = await admin.post(CARRIERS, carrier_body("nordic", platform=PLATFORM))
    shown = await admin.get(f"{CARRIERS}/{made.json()['id']}")
    stored = [str(dict(row)) for name in ("carriers", "audit", "api_requests") for row in await table(admin.edge, name)]
    assert not any("s3cret-k" in text for text in [*stored, made.body.decode(), shown.body.decode()])


async def test_each_write_leaves_one_audit_row(admin: ApiCaller) -> None:
    made = await admin.post(CARRIERS, carrier_body("nordic"), **{"x-correlator": "corr-1"})
    await admin.patch(f"{CARRIERS}/{made.json()['id']}", {"profileType": "iot"})
    rows = [row for row in await table(admin.edge, "audit") if row["subject"].startswith("carriers/")]
    subject = f"carriers/{made.json()['id']}"
    assert [(row["action"], row["subject"]) for row in rows] == [("created", subject), ("changed", subject)]
    assert rows[0]["correlator"] == "corr-1"
    assert {row["kind"] for row in rows} == {"admin"}


async def test_a_change_replaces_the_named_members_only(admin: ApiCaller) -> None:
    made = (await admin.post(CARRIERS, carrier_body("nordic", profileType="iot", platform=PLATFORM))).json()
    changed = await admin.patch(f"{CARRIERS}/{made['id']}", {"inventoryAccount": "7"})
    assert changed.json() == made | {"inventoryAccount": "7", "version": 1}


async def test_a_platform_that_could_never_be_reached_is_refused_with_what_is_missing(admin: ApiCaller) -> None:
    made = (await admin.post(CARRIERS, carrier_body("nordic", platform=PLATFORM))).json()
    bare = {"kind": "control_center", "username": "u"}
    refused = await admin.post(CARRIERS, carrier_body("southern", platform=bare))
    unchanged = await admin.patch(f"{CARRIERS}/{made['id']}", {"platform": bare})
    assert code(refused) == code(unchanged) == (422, "unprocessable")
    text = "a platform of kind control_center needs baseUrl, username, apiKey; missing: baseUrl, apiKey"
    assert refused.json()["detail"] == unchanged.json()["detail"] == text
    assert [one["platform"] for one in (await admin.get(CARRIERS)).json()["items"]] == [made["platform"]]


async def test_lists_are_filtered_and_paged(admin: ApiCaller) -> None:
    ids = [(await admin.post(CARRIERS, carrier_body(f"carrier-{n}", "lead"))).json()["id"] for n in range(5)]
    await admin.post(CARRIERS, carrier_body("other", "partner"))
    first = (await admin.get(f"{CARRIERS}?limit=2&role=lead&name=CARRIER")).json()
    assert ([one["id"] for one in first["items"]], first["next"]) == (ids[:2], ids[1])
    rest = (await admin.get(f"{CARRIERS}?limit=3&after={first['next']}&name=carrier")).json()
    assert ([one["id"] for one in rest["items"]], rest["next"]) == (ids[2:], None)


async def test_the_same_request_is_done_once(admin: ApiCaller) -> None:
    first = await admin.post(CARRIERS, carrier_body("nordic"), key="one")
    again = await admin.post(CARRIERS, carrier_body("nordic"), key="one")
    assert (again.status, again.body, again.headers["Location"]) == (201, first.body, first.headers["Location"])
    assert len(await table(admin.edge, "carriers")) == 1


async def test_the_same_key_for_another_request_is_422_and_changes_nothing(admin: ApiCaller) -> None:
    await admin.post(CARRIERS, carrier_body("nordic"), key="one")
    assert code(await admin.post(CARRIERS, carrier_body("southern"), key="one")) == (422, "idempotency_key_reused")
    assert len(await table(admin.edge, "carriers")) == 1


async def test_a_request_that_is_being_done_is_409(admin: ApiCaller) -> None:
    await admin.post(CARRIERS, carrier_body("nordic"), key="one")
    await admin.edge.execute(
        "UPDATE api_requests SET status = NULL, body = NULL, claimed_until = now() + interval '1 h'"
    )
    assert code(await admin.post(CARRIERS, carrier_body("nordic"), key="one")) == (409, "request_in_flight")


async def test_a_request_whose_answer_was_lost_in_a_crash_makes_nothing_twice(admin: ApiCaller) -> None:
    first = await admin.post(CARRIERS, carrier_body("nordic"), key="one")
    await admin.edge.execute("UPDATE api_requests SET status = NULL, body = NULL, claimed_until = now()")
    again = await admin.post(CARRIERS, carrier_body("nordic"), key="one")
    assert (again.status, again.body) == (201, first.body)
    assert len(await table(admin.edge, "carriers")) == 1
    assert len([row for row in await table(admin.edge, "audit") if row["subject"].startswith("carriers/")]) == 1


async def test_many_at_once_with_one_key_make_one(admin: ApiCaller) -> None:
    answers = await asyncio.gather(*(admin.post(CARRIERS, carrier_body("nordic"), key="one") for _ in range(5)))
    assert {answer.status for answer in answers} <= {201, 409}
    assert len(await table(admin.edge, "carriers")) == 1


async def test_a_refused_request_frees_its_key(admin: ApiCaller) -> None:
    await admin.post(CARRIERS, carrier_body("nordic"))
    assert code(await admin.post(CARRIERS, carrier_body("nordic"), key="two")) == (409, "conflict")
    assert (await admin.post(CARRIERS, carrier_body("southern"), key="two")).status == 201


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (400, "malformed")),
        (b"{", (400, "malformed")),
        (b"[]", (400, "malformed")),
        (b"\xff\xfe", (400, "malformed")),
        (b'{"name":"carrier-\xff","role":"both"}', (400, "malformed")),
        ({"name": "n"}, (400, "malformed")),
        (carrier_body("n", surplus=1), (400, "malformed")),
        (carrier_body("n", "boss"), (400, "malformed")),
        (carrier_body(""), (400, "malformed")),
        (carrier_body("n\0"), (400, "malformed")),
        (carrier_body("n" * 101), (400, "malformed")),
        (carrier_body("n", operatorId=4711), (422, "unprocessable")),
        (carrier_body("n", operatorId=10**30), (400, "malformed")),
        (carrier_body("n", platform={"kind": "unheard_of"}), (422, "unprocessable")),
        (carrier_body("n", platform={"kind": "control_center"}), (422, "unprocessable")),
        (carrier_body("n", platform=PLATFORM | {"username": "a:b"}), (422, "unprocessable")),
        (carrier_body("n", platform={"kind": "external", "baseUrl": "http://10.0.0.1/"}), (422, "unprocessable")),
        (carrier_body("n", platform={"kind": "external", "baseUrl": "https://u:p@h/"}), (422, "unprocessable")),
    ],
)
async def test_bodies_that_are_wrong_are_refused_in_words(
    admin: ApiCaller, body: object, expected: tuple[int, str]
) -> None:
    answer = await admin.post(CARRIERS, body)
    assert code(answer) == expected
    assert answer.json()["detail"]
    assert await table(admin.edge, "carriers") == []


async def test_what_is_no_request_of_this_api_is_a_problem_too(admin: ApiCaller) -> None:
    post = carrier_body("n")
    assert code(await admin.post(CARRIERS, post, key="")) == (400, "idempotency_key_missing")
    assert code(await admin.post(CARRIERS, post, key="with space")) == (400, "malformed")
    assert code(await admin.post(CARRIERS, post, **{"Content-Type": "text/plain"})) == (415, "unsupported_media_type")
    assert code(await admin.post(CARRIERS, b" " * 300_000)) == (413, "too_large")
    assert code(await admin.get("/v1/nothing")) == (404, "not_found")
    assert code(await admin.get(f"{CARRIERS}/4711")) == (404, "not_found")
    assert code(await admin.get(f"{CARRIERS}/abc")) == (404, "not_found")
    assert code(await admin.get(f"{CARRIERS}?surplus=1")) == (400, "malformed")
    assert code(await admin.get(f"{CARRIERS}?limit=0")) == (400, "malformed")
    assert code(await admin.get(f"{CARRIERS}?limit=1&limit=2")) == (400, "malformed")
    assert code(await admin.get(f"{CARRIERS}?after={10**20}")) == (400, "malformed")
    wrong = await admin.call("DELETE", CARRIERS, None, {})
    assert code(wrong) == (405, "method_not_allowed")
    assert wrong.headers["Allow"] == "GET,HEAD,POST"


@pytest.mark.parametrize("header", ["", "Basic dTpw", "Bearer", "Bearer smdp_1_x", "Bearer smdp_1_" + "A" * 43])
async def test_without_a_good_key_there_is_nothing_but_401(at_edge: Edge, header: str) -> None:
    await caller(at_edge)
    answer = await at_edge.request("api", CARRIERS, b"", method="GET", headers={"Authorization": header})
    assert code(answer) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("column", ["revoked_at = now()", "expires_at = now() - interval '1 s'"])
async def test_a_key_that_is_revoked_or_late_is_no_key(admin: ApiCaller, column: str) -> None:
    await admin.edge.execute(f"UPDATE api_keys SET {column}")
    assert code(await admin.get(CARRIERS)) == (401, "unauthenticated")


async def test_a_key_without_the_scope_is_403(at_edge: Edge) -> None:
    reader = await caller(at_edge, scopes=frozenset({Scope.TENANCY_READ}))
    assert (await reader.get(CARRIERS)).status == 200
    assert code(await reader.post(CARRIERS, carrier_body("n"))) == (403, "not_allowed")


async def test_a_carrier_sees_itself_and_may_not_register_or_change(admin: ApiCaller) -> None:
    own, other = [
        (await admin.post(CARRIERS, carrier_body(name, platform=PLATFORM))).json()["id"] for name in ("own", "other")
    ]
    carrier = await caller(admin.edge, Principal(kind=PrincipalKind.CARRIER, party_id=own))
    assert [one["id"] for one in (await carrier.get(CARRIERS)).json()["items"]] == [own]
    unknown, foreign = await carrier.get(f"{CARRIERS}/999"), await carrier.get(f"{CARRIERS}/{other}")
    assert (foreign.status, foreign.json()["detail"]) == (unknown.status, unknown.json()["detail"])
    assert code(await carrier.post(CARRIERS, carrier_body("third"))) == (403, "not_allowed")
    assert code(await carrier.patch(f"{CARRIERS}/{own}", {"role": "lead"})) == (403, "not_allowed")
    assert code(await carrier.patch(f"{CARRIERS}/{other}", {"role": "lead"})) == (404, "not_found")


async def test_the_correlator_is_echoed_or_made(admin: ApiCaller) -> None:
    assert (await admin.get(CARRIERS, **{"x-correlator": "abc-1"})).headers["x-correlator"] == "abc-1"
    assert (await admin.get(CARRIERS, **{"x-correlator": "a b<script>"})).headers["x-correlator"] != "a b<script>"
