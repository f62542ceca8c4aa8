"""Every status code of ES2+ (SGP.22 v2.5, 5.3.1 to 5.3.4) provoked over HTTP, and what a refused call leaves behind."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rsp.status import Status
from tests.conformance import conforms
from tests.es2_scene import EID, OTHER, OTHER_EID, UNKNOWN, Scene
from tests.http_stage import TYPE, Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

_tokens = itertools.count(1)

Act = Callable[[Scene], Awaitable[Answer]]


# DownloadOrder --------------------------------------------------------------------------------------------------------


async def _order_unknown_iccid(scene: Scene) -> Answer:
    return await scene.call("downloadOrder", iccid=UNKNOWN)


async def _order_foreign_iccid(scene: Scene) -> Answer:
    return await scene.edge.operator("downloadOrder", {"iccid": scene.iccid}, name=OTHER)


async def _order_again_for_another_card(scene: Scene) -> Answer:
    await scene.linked()
    return await scene.call("downloadOrder", eid=OTHER_EID)


async def _order_withdrawn(scene: Scene) -> Answer:
    await scene.withdrawn()
    return await scene.call("downloadOrder")


async def _order_unknown_type(scene: Scene) -> Answer:
    return await scene.call("downloadOrder", iccid=None, profileType="unheard-of")


async def _order_foreign_type(scene: Scene) -> Answer:
    return await scene.edge.operator("downloadOrder", {"profileType": TYPE}, name=OTHER)


async def _order_closed_type(scene: Scene) -> Answer:
    await scene.edge.execute("UPDATE profile_types SET open = false")
    try:
        return await scene.call("downloadOrder", iccid=None, profileType=TYPE)
    finally:
        await scene.edge.execute("UPDATE profile_types SET open = true")


async def _order_without_stock(scene: Scene) -> Answer:
    await scene.edge.execute("UPDATE profiles SET state = 'unavailable' WHERE state = 'available'")
    try:
        return await scene.call("downloadOrder", iccid=None, profileType=TYPE)
    finally:
        await scene.edge.execute("UPDATE profiles SET state = 'available' WHERE iccid = $1", scene.iccid)


async def _order_of_another_type(scene: Scene) -> Answer:
    await scene.edge.execute(
        "INSERT INTO profile_types (tenant_id, name) SELECT tenant_id, 'other' FROM profiles WHERE iccid = $1 "
        "ON CONFLICT DO NOTHING",
        scene.iccid,
    )
    return await scene.call("downloadOrder", profileType="other")


# ConfirmOrder ---------------------------------------------------------------------------------------------------------


async def _confirm_unknown(scene: Scene) -> Answer:
    return await scene.call("confirmOrder", iccid=UNKNOWN, releaseFlag=True)


async def _confirm_withdrawn(scene: Scene) -> Answer:
    await scene.withdrawn()
    return await scene.call("confirmOrder", releaseFlag=True)


async def _confirm_available(scene: Scene) -> Answer:
    return await scene.call("confirmOrder", releaseFlag=True)


async def _confirm_confirmed_otherwise(scene: Scene) -> Answer:
    await scene.released(matchingId=f"TOKEN-{next(_tokens)}")
    return await scene.call("confirmOrder", releaseFlag=True, matchingId=f"TOKEN-{next(_tokens)}")


async def _confirm_without_eid_for_smds(scene: Scene) -> Answer:
    await scene.must("downloadOrder")
    return await scene.call("confirmOrder", releaseFlag=True, smdsAddress="lpa.ds.example.com")


async def _confirm_without_eid_and_token(scene: Scene) -> Answer:
    await scene.must("downloadOrder")
    return await scene.call("confirmOrder", releaseFlag=True, matchingId="")


async def _confirm_for_another_card(scene: Scene) -> Answer:
    await scene.linked()
    return await scene.call("confirmOrder", releaseFlag=True, eid=OTHER_EID)


async def _confirm_with_a_taken_token(scene: Scene) -> Answer:
    token = f"TOKEN-{next(_tokens)}"
    (other,) = await scene.edge.stock()
    await Scene(edge=scene.edge, iccid=other).released(matchingId=token)
    await scene.must("downloadOrder")
    return await scene.call("confirmOrder", releaseFlag=True, matchingId=token)


async def _confirm_with_a_malformed_token(scene: Scene) -> Answer:
    await scene.must("downloadOrder")
    return await scene.call("confirmOrder", releaseFlag=True, matchingId="lower_case")


# CancelOrder ----------------------------------------------------------------------------------------------------------


async def _cancel_unknown(scene: Scene) -> Answer:
    return await scene.call("cancelOrder", iccid=UNKNOWN, finalProfileStatusIndicator="Available")


async def _cancel_withdrawn(scene: Scene) -> Answer:
    await scene.withdrawn()
    return await scene.call("cancelOrder", finalProfileStatusIndicator="Available")


async def _cancel_downloaded(scene: Scene) -> Answer:
    await scene.released()
    await scene.stands("downloaded")
    return await scene.call("cancelOrder", finalProfileStatusIndicator="Available")


async def _cancel_installed(scene: Scene) -> Answer:
    await scene.released()
    await scene.stands("installed")
    return await scene.call("cancelOrder", finalProfileStatusIndicator="Available")


async def _cancel_without_iccid(scene: Scene) -> Answer:
    return await scene.call("cancelOrder", iccid=None, finalProfileStatusIndicator="Available")


async def _cancel_without_indicator(scene: Scene) -> Answer:
    await scene.released()
    return await scene.call("cancelOrder")


async def _cancel_without_eid(scene: Scene) -> Answer:
    await scene.linked()
    return await scene.call("cancelOrder", finalProfileStatusIndicator="Available")


async def _cancel_for_another_card(scene: Scene) -> Answer:
    await scene.linked()
    return await scene.call("cancelOrder", finalProfileStatusIndicator="Available", eid=OTHER_EID)


async def _cancel_with_another_token(scene: Scene) -> Answer:
    await scene.released()
    return await scene.call("cancelOrder", finalProfileStatusIndicator="Available", matchingId="ANOTHER-TOKEN")


# ReleaseProfile -------------------------------------------------------------------------------------------------------


async def _release_unknown(scene: Scene) -> Answer:
    return await scene.call("releaseProfile", iccid=UNKNOWN)


async def _release_foreign(scene: Scene) -> Answer:
    await scene.must("downloadOrder")
    await scene.must("confirmOrder", releaseFlag=False)
    return await scene.edge.operator("releaseProfile", {"iccid": scene.iccid}, name=OTHER)


async def _release_withdrawn(scene: Scene) -> Answer:
    await scene.withdrawn()
    return await scene.call("releaseProfile")


async def _release_unconfirmed(scene: Scene) -> Answer:
    await scene.must("downloadOrder")
    return await scene.call("releaseProfile")


_CLAUSE = {"downloadOrder": "5.3.1", "confirmOrder": "5.3.2", "cancelOrder": "5.3.3", "releaseProfile": "5.3.4"}


def _case(function: str, rule: str, status: Status, act: Act) -> Any:
    mark = conforms(
        f"SGP.22 {_CLAUSE[function]}", rule, status, function=function, binding="json", where="smdp/ordering.py"
    )
    return pytest.param(status, act, marks=mark, id=act.__name__.strip("_"))


@pytest.mark.parametrize(
    ("status", "act"),
    [
        _case("downloadOrder", "an unknown ICCID is refused", Status.ICCID_UNKNOWN, _order_unknown_iccid),
        _case(
            "downloadOrder",
            "another operator's ICCID answers as an unknown one",
            Status.ICCID_UNKNOWN,
            _order_foreign_iccid,
        ),
        _case(
            "downloadOrder",
            "a profile that is ordered already is refused",
            Status.ICCID_IN_USE,
            _order_again_for_another_card,
        ),
        _case("downloadOrder", "a withdrawn profile is refused", Status.ICCID_NOT_ALLOWED, _order_withdrawn),
        _case("downloadOrder", "an unknown profile type is refused", Status.PROFILE_TYPE_UNKNOWN, _order_unknown_type),
        _case(
            "downloadOrder",
            "another operator's profile type answers as an unknown one",
            Status.PROFILE_TYPE_UNKNOWN,
            _order_foreign_type,
        ),
        _case(
            "downloadOrder",
            "a profile type that is closed is refused",
            Status.PROFILE_TYPE_NOT_ALLOWED,
            _order_closed_type,
        ),
        _case(
            "downloadOrder",
            "a type without stock is refused",
            Status.PROFILE_TYPE_UNAVAILABLE,
            _order_without_stock,
        ),
        _case(
            "downloadOrder",
            "an ICCID of another type is refused",
            Status.PROFILE_TYPE_MISMATCH,
            _order_of_another_type,
        ),
        _case("confirmOrder", "an unknown ICCID is refused", Status.ICCID_UNKNOWN, _confirm_unknown),
        _case("confirmOrder", "a withdrawn profile is refused", Status.ICCID_NOT_ALLOWED, _confirm_withdrawn),
        _case(
            "confirmOrder",
            "a profile nobody has ordered is refused",
            Status.ICCID_INVALID_TRANSITION,
            _confirm_available,
        ),
        _case(
            "confirmOrder",
            "an order that was confirmed otherwise is refused",
            Status.ICCID_INVALID_TRANSITION,
            _confirm_confirmed_otherwise,
        ),
        _case("confirmOrder", "an SM-DS needs the EID", Status.EID_MISSING, _confirm_without_eid_for_smds),
        _case("confirmOrder", "an empty MatchingID needs the EID", Status.EID_MISSING, _confirm_without_eid_and_token),
        _case("confirmOrder", "another EID is refused", Status.EID_ASSOCIATED_OTHERWISE, _confirm_for_another_card),
        _case("confirmOrder", "a taken MatchingID is refused", Status.MATCHING_ID_IN_USE, _confirm_with_a_taken_token),
        _case(
            "confirmOrder",
            "a malformed MatchingID is refused",
            Status.MATCHING_ID_MALFORMED,
            _confirm_with_a_malformed_token,
        ),
        _case("cancelOrder", "an unknown ICCID is refused", Status.ICCID_UNKNOWN, _cancel_unknown),
        _case("cancelOrder", "a withdrawn profile is refused", Status.ICCID_NOT_ALLOWED, _cancel_withdrawn),
        _case("cancelOrder", "a downloaded profile is refused", Status.ICCID_IN_USE, _cancel_downloaded),
        _case("cancelOrder", "an installed profile is refused", Status.ICCID_IN_USE, _cancel_installed),
        _case("cancelOrder", "a missing ICCID is refused", Status.ICCID_MISSING, _cancel_without_iccid),
        _case(
            "cancelOrder",
            "a missing finalProfileStatusIndicator is refused",
            Status.ICCID_MISSING,
            _cancel_without_indicator,
        ),
        _case("cancelOrder", "the EID of a linked order is needed", Status.EID_MISSING, _cancel_without_eid),
        _case("cancelOrder", "another EID is refused", Status.EID_ASSOCIATED_OTHERWISE, _cancel_for_another_card),
        _case(
            "cancelOrder",
            "another MatchingID is refused",
            Status.MATCHING_ID_ASSOCIATED_OTHERWISE,
            _cancel_with_another_token,
        ),
        _case("releaseProfile", "an unknown ICCID is refused", Status.ICCID_UNKNOWN, _release_unknown),
        _case(
            "releaseProfile",
            "another operator's order answers as an unknown one",
            Status.ICCID_UNKNOWN,
            _release_foreign,
        ),
        _case("releaseProfile", "a withdrawn profile is refused", Status.ICCID_NOT_ALLOWED, _release_withdrawn),
        _case(
            "releaseProfile",
            "an unconfirmed order is refused",
            Status.ICCID_INVALID_TRANSITION,
            _release_unconfirmed,
        ),
    ],
)
async def test_call_is_refused_with_its_code_and_leaves_nothing(scene: Scene, status: Status, act: Act) -> None:
    answer = await act(scene)
    assert (answer.status, answer.failed()) == (200, (status.subject, status.reason))
    rows = await scene.edge.fetch("SELECT count(*) FROM es2_calls WHERE result IS NULL")
    assert rows[0]["count"] == 0


async def test_another_operators_order_answers_to_the_byte_as_an_unknown_one(scene: Scene) -> None:
    """Isolation (1.2 is for what is one's own): neither the codes nor the words tell that the profile exists."""
    await scene.released()
    bodies: dict[str, dict[str, Any]] = {
        "downloadOrder": {},
        "confirmOrder": {"releaseFlag": True},
        "cancelOrder": {"finalProfileStatusIndicator": "Available"},
        "releaseProfile": {},
        "recoverProfile": {"profileStatus": "Released"},
    }
    for function, members in bodies.items():
        foreign, unknown = [
            await scene.edge.operator(function, {"iccid": iccid, **members}, name=OTHER)
            for iccid in (scene.iccid, UNKNOWN)
        ]
        assert foreign.body == unknown.body, function
        assert foreign.failed() == ("8.2.1", "3.9"), function


# Calls that come again ------------------------------------------------------------------------------------------------


@conforms(
    "SGP.23 4.2.3", "the same input under another call id is the same call", function="all", where="smdp/repeating.py"
)
async def test_every_function_resent_under_a_new_call_id_gets_the_same_answer(scene: Scene) -> None:
    for function, members in (
        ("downloadOrder", {"eid": EID}),
        ("confirmOrder", {"releaseFlag": False, "eid": EID, "confirmationCode": "4711"}),
        ("releaseProfile", {}),
        ("cancelOrder", {"eid": EID, "finalProfileStatusIndicator": "Available"}),
    ):
        first = await scene.call(function, **members)
        assert first.json()["header"]["functionExecutionStatus"]["status"] == "Executed-Success"
        before = await scene.edge.fetch("SELECT * FROM orders WHERE iccid = $1", scene.iccid)
        again = await scene.call(function, **members)
        assert again.body == first.body, function
        assert await scene.edge.fetch("SELECT * FROM orders WHERE iccid = $1", scene.iccid) == before, function


@pytest.mark.parametrize(
    "changes",
    [
        {"confirmationCode": "4712"},
        {"confirmationCode": None},
        {"matchingId": "ANOTHER"},
        {"matchingId": ""},
        {"releaseFlag": False},
        {"imei": "352906110000012"},
    ],
    ids="-".join,
)
async def test_confirmation_resent_with_other_content_is_refused(scene: Scene, changes: dict[str, Any]) -> None:
    body = {"releaseFlag": True, "eid": EID, "confirmationCode": "4711", "imei": "352906110000001"}
    await scene.linked()
    await scene.must("confirmOrder", **body)
    answer = await scene.call("confirmOrder", **{**body, **changes})
    assert answer.failed() == ("8.2.1", "3.5")


@conforms(
    "SGP.22 6.5.1.3",
    "one functionCallIdentifier is one call: other content under it is refused",
    Status.CALL_ID_REUSED,
    function="confirmOrder",
    binding="json",
    where="store/ordering.py",
)
async def test_same_call_id_with_another_confirmation_code_is_refused(scene: Scene) -> None:
    await scene.must("downloadOrder")
    header = scene.edge.header()
    body = {"releaseFlag": True, "confirmationCode": "4711", "header": header}
    first = await scene.call("confirmOrder", **body)
    assert (await scene.call("confirmOrder", **body)).body == first.body
    other = await scene.call("confirmOrder", **{**body, "confirmationCode": "4712"})
    assert other.failed() == ("1.6", "2.1")
