"""What is known of an order at somebody else's SM-DP+: nothing that happened is unsaid, whatever is told afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es2plus.receiving import read
from rsp.errors import Malformed
from rsp.identifiers import Eid, Iccid
from rsp.status import Status
from swap.foreign import (
    ForeignOrder,
    Reading,
    Report,
    Standing,
    Told,
    Uncancelled,
    concerns,
    confirmed_before,
    ends_the_order,
    standing,
    state_of,
    told_by,
    uncancelled,
)
from swap.ports import ProfileState

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EID, OTHER = Eid("89049032123451234512345678901235"), Eid("89049032123451234512345678901243")
ICCID = Iccid("8988211000000000001")
ORDER = ForeignOrder(
    id=1, carrier_id=1, key="key", token="token", eid=EID, profile_type="iot", created_at=NOW, iccid=ICCID
)
HELD = {ProfileState.HANDED_OUT, ProfileState.INSTALLED, ProfileState.FAILED}

_WORDS = "Available Unavailable Allocated Linked Confirmed RELEASED downloaded Installed Enabled Disabled Deleted Error"
words = st.sampled_from([*_WORDS.split(), "", "Something new"]) | st.text(max_size=20)
readings = st.none() | st.builds(Reading, word=words, eid=st.sampled_from([None, EID, OTHER]))
orders = st.builds(
    lambda told, out, released, confirms: replace(ORDER, told=told, out=out, released=released, confirms=confirms),
    st.sampled_from(Told),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
)
codes = st.sampled_from([(one.subject, one.reason) for one in Status]) | st.tuples(st.text(), st.text())


@given(orders, readings)
def test_what_may_be_on_a_card_is_never_free(order: ForeignOrder, reading: Reading | None) -> None:
    if order.may_be_on_a_card:
        assert state_of(order, reading) in HELD


@given(orders, codes, readings)
def test_what_may_be_on_a_card_is_over_for_no_code(
    order: ForeignOrder, refusal: tuple[str, str], reading: Reading | None
) -> None:
    said = standing(order, reading)
    judged = uncancelled(order, refusal, said)
    if order.may_be_on_a_card and said not in (Standing.RESERVED, Standing.RELEASED):
        assert judged is Uncancelled.OUT
    if judged is Uncancelled.OVER:
        assert said in (Standing.GONE, Standing.UNCLEAR)
        assert not order.may_be_on_a_card


@given(orders, codes)
def test_a_first_confirmation_that_is_refused_was_never_taken(order: ForeignOrder, refusal: tuple[str, str]) -> None:
    if order.confirms <= 1:
        assert not confirmed_before(order, refusal)


@pytest.mark.parametrize(
    ("order", "reading", "state"),
    [
        (ORDER, None, ProfileState.RESERVED),
        (replace(ORDER, released=True), None, ProfileState.RELEASED),
        (replace(ORDER, released=True), Reading(word="Linked"), ProfileState.RESERVED),
        (replace(ORDER, released=True), Reading(word="no word we know"), ProfileState.RELEASED),
        (replace(ORDER, released=True), Reading(word="Available"), None),
        (replace(ORDER, released=True), Reading(word="Released", eid=OTHER), None),
        (replace(ORDER, told=Told.FAILED), None, ProfileState.FAILED),
        # Opened again at the server: what it says now counts.
        (replace(ORDER, told=Told.FAILED), Reading(word="Released", eid=EID), ProfileState.RELEASED),
        (replace(ORDER, told=Told.HANDED_OUT), Reading(word="Released"), ProfileState.HANDED_OUT),
        (replace(ORDER, told=Told.HANDED_OUT), Reading(word="Available"), ProfileState.HANDED_OUT),
        (replace(ORDER, told=Told.HANDED_OUT), Reading(word="Error"), ProfileState.FAILED),
        (replace(ORDER, told=Told.INSTALLED), Reading(word="Error"), ProfileState.INSTALLED),
        (replace(ORDER, out=True), Reading(word="Deleted"), ProfileState.HANDED_OUT),
        (ORDER, Reading(word=" installed ", eid=EID), ProfileState.INSTALLED),
    ],
)
def test_states_follow_from_record_report_and_reading(
    order: ForeignOrder, reading: Reading | None, state: ProfileState | None
) -> None:
    assert state_of(order, reading) is state


def report(**changes: Any) -> Report:
    plain = Report(iccid=ICCID, eid=EID, point=4, succeeded=True, ends_order=False, detail="", at=NOW)
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, Told.INSTALLED),
        ({"point": 3}, Told.HANDED_OUT),
        ({"point": 4, "succeeded": False}, Told.HANDED_OUT),
        ({"point": 4, "succeeded": False, "ends_order": True}, Told.HANDED_OUT),
        ({"point": 1}, Told.NOTHING),
        ({"point": 1, "succeeded": False, "ends_order": True}, Told.FAILED),
        ({"point": 2, "succeeded": False}, Told.NOTHING),
        ({"point": 3, "succeeded": False}, Told.NOTHING),
        ({"point": 5}, Told.NOTHING),
        ({"point": 101}, Told.NOTHING),
    ],
)
def test_points_beyond_those_of_the_standard_say_nothing(changes: dict[str, Any], told: Told) -> None:
    assert told_by(report(**changes)) is told


@pytest.mark.parametrize(
    ("changes", "ours"),
    [
        ({}, True),
        ({"eid": None, "at": None}, True),
        ({"eid": OTHER}, False),
        ({"at": NOW - timedelta(minutes=5)}, True),
        ({"at": NOW - timedelta(hours=1)}, False),
    ],
)
def test_late_reports_of_an_earlier_order_are_not_about_this_one(changes: dict[str, Any], ours: bool) -> None:
    assert concerns(ORDER, report(**changes)) is ours


def test_codes_that_end_an_order() -> None:
    ending = {Status.ORDER_EXPIRED, Status.DOWNLOAD_ATTEMPTS_EXCEEDED, Status.END_USER_REJECTED}
    ending |= {Status.CONFIRMATION_CODE_RETRIES_EXCEEDED, Status.PPR_NOT_ALLOWED, Status.METADATA_MISMATCH}
    ending |= {Status.BPP_EXECUTION_ERROR}
    assert {one for one in Status if ends_the_order((one.subject, one.reason))} == ending
    assert not ends_the_order(("", ""))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
_MEMBERS = st.fixed_dictionaries(
    {"iccid": st.just("8988211000000000001F") | _JSON, "notificationPointId": st.just(4) | _JSON},
    optional={
        "eid": st.just(str(EID)) | _JSON,
        "timestamp": st.just("2026-11-22T12:00:00Z") | st.floats() | _JSON,
        "timeStamp": _JSON,
        "notificationPointStatus": st.fixed_dictionaries({"status": _JSON, "statusCodeData": _JSON}) | _JSON,
    },
)


@given(_MEMBERS.map(msgspec.json.encode) | st.binary())
def test_whatever_is_reported_is_read_or_refused_in_words(body: bytes) -> None:
    try:
        found = read(body)
    except Malformed:
        return
    assert told_by(found) in Told
    assert "\0" not in found.detail
    assert found.at is None or found.at.tzinfo is not None
    concerns(ORDER, found)
