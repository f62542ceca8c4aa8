"""Control Center's answers in our words, refusals, and the settings of platforms."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carriers.base import Billable, Platform, PlatformRefused, SimState
from carriers.control_center import ControlCenter
from carriers.control_center_rest import _Answer, _read
from carriers.control_center_values import STATES, WORDS, read_facts, read_session, refusal
from carriers.external import External
from carriers.registry import KINDS, PlatformSettings, Registry
from rsp.errors import Malformed
from rsp.identifiers import Iccid
from server.setting_kinds import Secret
from simulator.platforms.control_center_book import MOVES
from tests.kept_lines import KeptLines

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DETAILS = {
    "iccid": "89014103211118510720",
    "imsi": "310410111851072",
    "msisdn": None,
    "status": "TEST_READY",
    "ratePlan": "EU",
    "communicationPlan": "LTE-M",
    "accountId": 100020620,
    "eid": None,
    "dateAdded": "2016-06-29 00:21:33.339+0000",
}
JSON = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.just([]), st.just({}))


def test_details_are_read_with_numbers_and_nulls() -> None:
    facts = read_facts(DETAILS, "", NOW)
    assert (facts.account, facts.msisdn, facts.imsi, facts.eid) == ("100020620", "", "310410111851072", "")
    assert (facts.state, facts.billable, facts.raw_state, facts.read_at) == (
        SimState.TEST,
        Billable.NO,
        "TEST_READY",
        NOW,
    )


@pytest.mark.parametrize(
    ("raw", "state", "billable"),
    [
        ("TEST_READY", SimState.TEST, Billable.NO),
        ("ACTIVATION_READY", SimState.READY, Billable.ON_FIRST_USE),
        ("ACTIVATED", SimState.ACTIVE, Billable.YES),
        ("DEACTIVATED", SimState.DEACTIVATED, Billable.COMMITMENT),
        ("RETIRED", SimState.RETIRED, Billable.NO),
        ("PURGED", SimState.RETIRED, Billable.NO),
        ("REPLACED", SimState.RETIRED, Billable.NO),
        ("GLOBAL_TRANSFER", SimState.UNKNOWN, Billable.UNKNOWN),
        ("activated", SimState.UNKNOWN, Billable.UNKNOWN),
        ("", SimState.UNKNOWN, Billable.UNKNOWN),
    ],
)
def test_status_and_billing_are_told_apart(raw: str, state: SimState, billable: Billable) -> None:
    facts = read_facts({**DETAILS, "status": raw}, "", NOW)
    assert (facts.state, facts.billable, facts.raw_state) == (state, billable, raw)


@pytest.mark.parametrize("iccid", [[], {}, 8900012345678901234, None, True])
def test_an_iccid_that_is_no_text_is_no_answer(iccid: object) -> None:
    with pytest.raises(TypeError):
        read_facts({**DETAILS, "iccid": iccid}, "", NOW)


@pytest.mark.parametrize(
    ("inventory", "state"),
    [("100020620", SimState.INVENTORY), ("", SimState.INVENTORY), ("100020621", SimState.ALLOCATED)],
)
def test_stock_in_an_enterprises_account_is_allocated(inventory: str, state: SimState) -> None:
    assert read_facts({**DETAILS, "status": "INVENTORY"}, inventory, NOW).state is state


def test_every_state_we_set_is_read_back_as_the_same() -> None:
    assert {state: STATES[word][0] for state, word in WORDS.items()} == {state: state for state in WORDS}


def test_simulator_and_adapter_know_the_same_words() -> None:
    assert set(STATES) == set(MOVES)


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from([*DETAILS, "dateSessionStarted", "dateSessionEnded"]), JSON))
def test_any_answer_is_read_or_called_no_answer(members: dict[str, Any]) -> None:
    for read in (
        lambda: read_facts({**DETAILS, **members}, "", NOW),
        lambda: read_session(Iccid("89014103211118510720"), members),
    ):
        try:
            read()
        except (KeyError, ValueError, TypeError, AttributeError):
            continue


@pytest.mark.parametrize(
    ("started", "ended", "active"),
    [
        ("2026-11-22 10:00:00.123+0000", None, True),
        ("2026-11-22 10:00:00.123+0000", "2026-11-22 11:00:00.000+0000", False),
        ("2026-11-22 10:00:00.123+0000", "2026-11-22 09:00:00.000+0000", True),
    ],
)
def test_session_is_active_until_its_own_end(started: str, ended: str | None, *, active: bool) -> None:
    session = read_session(Iccid("8901410321111851072"), {"dateSessionStarted": started, "dateSessionEnded": ended})
    assert session is not None
    assert session.active is active
    assert session.since == datetime(2026, 11, 22, 10, tzinfo=UTC) + timedelta(milliseconds=123)
    assert (session.ended is None) is active


def test_no_session_is_none() -> None:
    assert read_session(Iccid("8901410321111851072"), {"dateSessionStarted": None, "ipAddress": None}) is None


@pytest.mark.parametrize(
    ("status", "code", "permanent"),
    [
        (400, "1000509", True),
        (400, "400101", False),
        (400, "1800105", False),
        (404, "100100", True),
        (401, "10000001", False),
        (403, "1", False),
        (404, "", False),
        (302, "", False),
    ],
)
def test_refusals_that_may_pass_are_told_from_those_that_stay(status: int, code: str, *, permanent: bool) -> None:
    error = refusal(status, {"errorCode": code, "errorMessage": "words"} if code else {})
    assert (error.permanent, error.code) == (permanent, code or f"http_{status}")


def test_only_the_platforms_own_404_means_an_unknown_sim() -> None:
    known = _Answer(status=404, members={"errorCode": "100100", "errorMessage": "not found"})
    assert _read("/devices/1", known) is None
    for members in (None, {}, {"status": 404, "error": "Not Found"}):
        with pytest.raises(PlatformRefused, match="http_404"):
            _read("/devices/1", _Answer(status=404, members=members))


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with aiohttp.ClientSession() as session:
        yield Registry(session, KeptLines(lambda: 0.0))


def control_center(**changes: Any) -> PlatformSettings:
    members = {
        "kind": "control_center",
        "base_url": "https://restapi.example.com/rws/api/v1/",
        "username": "orchestrator",
        "api_key": Secret("key-123"),
        "inventory_account": "100020620",
        **changes,
    }
    return PlatformSettings(**members)


async def test_same_settings_make_one_platform_and_changed_ones_a_new_one(registry: Registry) -> None:
    first = registry.platform("partner", control_center())
    assert isinstance(first, ControlCenter)
    assert registry.platform("partner", control_center()) is first
    changed = registry.platform("partner", control_center(api_key=Secret("key-456")))
    assert changed is not first
    assert registry.platform("partner", control_center(api_key=Secret("key-456"))) is changed


async def test_carriers_of_one_credential_share_its_pace(registry: Registry) -> None:
    registry.platform("one", control_center())
    registry.platform("two", control_center(inventory_account="100020630"))
    registry.platform("three", control_center(username="somebody"))
    assert registry.pace("restapi.example.com", "orchestrator") is registry.pace("restapi.example.com", "orchestrator")
    assert len(registry._paces) == 2


async def test_carrier_without_integration_needs_no_settings(registry: Registry) -> None:
    platform: Platform = registry.platform("other", PlatformSettings(kind="external"))
    assert isinstance(platform, External)
    assert set(KINDS) == {"control_center", "external"}


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "magic"},
        {"base_url": ""},
        {"base_url": "http://restapi.example.com/rws/api/v1"},
        {"base_url": "https://user:key@restapi.example.com/rws/api/v1"},
        {"base_url": "https://restapi.example.com/rws?x=1"},
        {"base_url": "https://[broken/rws"},
        {"base_url": "ftp://127.0.0.1/rws"},
        {"username": ""},
        {"username": "a:b"},
        {"api_key": None},
        {"api_key": Secret("")},
    ],
)
async def test_settings_that_cannot_be_used_are_refused(registry: Registry, changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        registry.platform("partner", control_center(**changes))


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"])
async def test_plain_http_is_taken_on_this_machine(registry: Registry, host: str) -> None:
    assert registry.platform("partner", control_center(base_url=f"http://{host}/rws/api/v1"))


def test_settings_never_show_the_key() -> None:
    assert "key-123" not in repr(control_center())
