"""The simulator of Control Center keeps the rules its adapter is tested against."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp.identifiers import Iccid
from simulator.platforms.control_center import ControlCenter
from simulator.platforms.control_center_book import MOVES, Book, Rejected

SIM, OTHER = Iccid("89014103211118510720"), Iccid("89014103211118510738")
BASIC = {"Authorization": "Basic " + b64encode(b"user:key").decode()}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


def stocked() -> Book:
    book = Book()
    book.add_account("carrier")
    book.add_account("enterprise", ("plan é",), ("comm",))
    book.add_sim(SIM, "carrier", eid="89049032000000000000000000000012")
    book.add_sim(OTHER, "enterprise", "ACTIVATION_READY", eid="89049032000000000000000000000012")
    return book


@pytest.fixture
async def platform() -> AsyncIterator[ControlCenter]:
    async with ControlCenter(stocked(), {"user": "key"}, clock=Clock()) as it:
        yield it


async def ask(
    platform: ControlCenter, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any], dict[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, platform.base_url + path, json=body, headers=BASIC if headers is None else headers
        ) as response,
    ):
        content = (await response.read()).decode(response.charset or "utf-8")
        return response.status, json.loads(content), dict(response.headers)


async def test_caller_without_credentials_gets_the_documented_answer(platform: ControlCenter) -> None:
    status, body, headers = await ask(platform, "GET", f"/devices/{SIM}", headers={})
    assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="Jasper"')
    assert body == {"errorMessage": "Full authentication is required to access this resource"}


@pytest.mark.parametrize("credentials", ["user:wrong", "nobody:key", "user", ""])
async def test_wrong_credentials_have_a_code_that_is_a_text(platform: ControlCenter, credentials: str) -> None:
    headers = {"Authorization": "Basic " + b64encode(credentials.encode()).decode()}
    status, body, _ = await ask(platform, "GET", f"/devices/{SIM}", headers=headers)
    assert (status, body["errorCode"]) == (401, "10000001")
    assert platform.seen == []


async def test_answers_are_in_the_platforms_charset(platform: ControlCenter) -> None:
    platform.book.edit(OTHER, {"ratePlan": "plan é"}, "user")
    _, body, headers = await ask(platform, "GET", f"/devices/{OTHER}")
    assert headers["Content-Type"] == "application/json;charset=ISO-8859-1"
    assert body["ratePlan"] == "plan é"


async def test_sixth_call_of_a_second_is_refused(platform: ControlCenter) -> None:
    platform._clock = lambda: 5.0
    answers = [await ask(platform, "GET", "/echo/hello") for _ in range(6)]
    assert [status for status, _, _ in answers] == [200] * 5 + [429]
    assert answers[-1][1]["errorCode"] == "400101"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/devices/123", None, 400),
        ("GET", "/devices/89014103211118510799", None, 404),
        ("PUT", f"/devices/{SIM}", {"status": "MAGIC"}, 400),
        ("PUT", f"/devices/{SIM}", {"effectiveDate": "2026-11-22"}, 400),
        ("PUT", f"/devices/{SIM}", {"status": 7}, 400),
        ("PUT", f"/devices/{SIM}", ["status"], 400),
        ("POST", "/devices/transferDeviceToAccount", {"accountId": "enterprise"}, 400),
        ("POST", "/devices/transferDeviceToAccount", {"iccids": [str(SIM)]}, 400),
        ("POST", "/devices/transferDeviceToAccount", {"accountId": "nobody", "iccids": [str(SIM)]}, 400),
        ("POST", "/devices/transferDeviceToAccount", {"accountId": "carrier", "iccids": [str(SIM)]}, 400),
        (
            "POST",
            "/devices/transferDeviceToAccount",
            {"accountId": "enterprise", "iccids": [str(SIM), "89014103211118510799"]},
            404,
        ),
    ],
)
async def test_bad_request_is_refused_and_changes_nothing(
    platform: ControlCenter, method: str, path: str, body: Any, status: int
) -> None:
    answered, members, _ = await ask(platform, method, path, body)
    assert answered == status
    assert isinstance(members["errorCode"], str)
    assert (platform.book.changes, platform.book.transfers) == ([], [])


async def test_transfer_is_in_the_audit_trail_and_brings_its_plans(platform: ControlCenter) -> None:
    body = {
        "accountId": "enterprise",
        "iccids": [str(SIM)],
        "ratePlanName": "plan é",
        "commPlanName": "comm",
        "simState": "TEST_READY",
    }
    assert (await ask(platform, "POST", "/devices/transferDeviceToAccount", body))[0] == 200
    _, details, _ = await ask(platform, "GET", f"/devices/{SIM}")
    assert (details["accountId"], details["status"], details["ratePlan"], details["communicationPlan"]) == (
        "enterprise",
        "TEST_READY",
        "plan é",
        "comm",
    )
    assert details["dateShipped"]
    _, trail, _ = await ask(platform, "GET", f"/devices/{SIM}/auditTrails")
    assert {line["field"] for line in trail["deviceAuditTrails"]} == {
        "accountId",
        "ratePlan",
        "communicationPlan",
        "status",
    }


def test_first_session_of_a_ready_sim_makes_it_billed_and_ends_that_of_its_neighbour_on_the_card() -> None:
    book = stocked()
    book.edit(SIM, {"status": "TEST_READY"}, "user")
    book.session_starts(SIM)
    assert book.charges == []
    book.session_starts(OTHER)
    assert book.sims[OTHER].status == "ACTIVATED"
    assert book.sims[SIM].session_ended is not None
    assert [(charge.iccid, charge.account, charge.until) for charge in book.charges] == [(OTHER, "enterprise", None)]


def test_used_test_quota_makes_the_next_session_billed() -> None:
    book = stocked()
    book.edit(SIM, {"status": "TEST_READY"}, "user")
    book.use_test_quota(SIM)
    book.session_starts(SIM)
    assert len(book.billed(SIM)) == 1


def test_sim_in_stock_does_not_connect() -> None:
    book = stocked()
    assert (book.connects(SIM), book.connects(OTHER)) == (False, True)
    book.session_starts(SIM)
    assert book.sims[SIM].session_started is None


@settings(max_examples=60)
@given(st.lists(st.one_of(st.sampled_from(sorted(MOVES)), st.sampled_from(["move", "session", "quota"])), max_size=20))
def test_a_sim_is_billed_exactly_while_it_is_activated(steps: list[str]) -> None:
    book = stocked()
    for step in steps:
        sim = book.sims[SIM]
        try:
            if step == "move":
                book.transfer((SIM,), "carrier" if sim.account == "enterprise" else "enterprise", {}, "user")
            elif step == "session":
                book.session_starts(SIM)
            elif step == "quota":
                book.use_test_quota(SIM)
            else:
                book.edit(SIM, {"status": step}, "user")
        except Rejected:
            continue
        running = [charge for charge in book.billed(SIM) if charge.until is None]
        assert len(running) == (sim.status == "ACTIVATED")
        assert all(charge.account == sim.account for charge in running)
