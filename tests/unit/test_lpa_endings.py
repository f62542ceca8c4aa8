"""The LPA against a scripted SM-DP+: notifications, failed installations, cancelling."""

from __future__ import annotations

import pytest
from lpa_script import (
    HOST,
    TRANSACTION,
    ConstantCard,
    Reply,
    Script,
    b64,
    failure,
    good,
    package,
)
from lpa_stage import CODE, STEPS, Make

from rsp import tlv
from simulator.exchange import FunctionFailed
from simulator.lpa import CancelPolicy, Delivery, Device, Errored, Installed, Refused

pytest_plugins = ["lpa_fixtures"]


async def test_late_notifications_wait_for_their_call(make: Make, script: Script) -> None:
    card = ConstantCard()
    lpa = make(card, delivery=Delivery.LATER)
    assert isinstance(await lpa.download(CODE), Installed)
    assert "handleNotification" not in script.functions()
    assert await lpa.send_notifications() == 1
    assert await lpa.send_notifications() == 0
    assert script.seen[-1].json == {"pendingNotification": b64(card.result())}


async def test_other_notifications_go_out_in_the_order_of_their_numbers(make: Make, script: Script) -> None:
    def deleted(number: int) -> bytes:
        members = (tlv.wrap_integer(0x80, number), tlv.wrap(0x81, b"\x04\x10"), tlv.wrap(0x0C, HOST.encode()))
        return tlv.wrap(0x30, tlv.wrap(0xBF2F, *members), bytes.fromhex("5F3701FF"), b"\x30\x00", b"\x30\x00")

    card = ConstantCard()
    card.waiting = {300: deleted(300), 0: deleted(0), 5: deleted(5)}
    assert await make(card).send_notifications() == 3
    assert [seen.json["pendingNotification"] for seen in script.seen] == [b64(deleted(n)) for n in (0, 5, 300)]


async def test_a_failed_installation_tells_step_and_reason(make: Make, script: Script) -> None:
    result = await make(ConstantCard(error_reason=10)).download(CODE)
    assert isinstance(result, Errored)
    assert (result.bpp_command_id, result.error_reason) == (5, 10)
    assert script.functions() == [*STEPS, "handleNotification"]


@pytest.mark.parametrize(
    ("policy", "function", "reply", "reason"),
    [
        (CancelPolicy.NEVER, STEPS[2], Reply(raw=b"{}"), None),
        (CancelPolicy.STANDARD, STEPS[1], failure("8.2.6", "3.8"), None),
        (CancelPolicy.STANDARD, STEPS[2], Reply(raw=b"{}"), 127),
        (CancelPolicy.STANDARD, STEPS[2], good(STEPS[2], boundProfilePackage=b64(package(metadata=b"\x5a"))), 4),
        (CancelPolicy.STANDARD, STEPS[2], Reply(status=503, headers={"Retry-After": "999"}), 1),
        (CancelPolicy.ALWAYS, STEPS[1], failure("8.2.6", "3.8"), 0),
        (CancelPolicy.ALWAYS, STEPS[2], Reply(status=503, headers={"Retry-After": "999"}), 0),
    ],
)
async def test_a_failed_session_is_cancelled_by_policy(
    make: Make, script: Script, policy: CancelPolicy, function: str, reply: Reply, reason: int | None
) -> None:
    script.prepare(function, reply)
    card = ConstantCard()
    result = await make(card, cancel_on_failure=policy).download(CODE)
    assert not isinstance(result, Installed)
    cancelled = [request for asked, request in card.asked if asked == "cancel_session"]
    if reason is None:
        assert (cancelled, result.cancel) == ([], "")
    else:
        assert result.cancel == "accepted"
        assert cancelled == [tlv.wrap(0xBF41, tlv.wrap(0x80, TRANSACTION), tlv.wrap_integer(0x81, reason))]
        assert set(script.seen[-1].json) == {"transactionId", "cancelSessionResponse"}


async def test_a_refused_cancel_is_reported_beside_the_first_failure(make: Make, script: Script) -> None:
    script.prepare("authenticateClient", failure("8.2.6", "3.8"))
    script.prepare("cancelSession", failure("8.10.1", "3.9"))
    result = await make(cancel_on_failure=CancelPolicy.ALWAYS).download(CODE)
    assert isinstance(result, Refused)
    assert "8.10.1/3.9" in result.cancel


async def test_a_failed_installation_is_cancelled_before_its_report_by_a_common_lpa(make: Make, script: Script) -> None:
    await make(ConstantCard(error_reason=10), cancel_on_failure=CancelPolicy.ALWAYS).download(CODE)
    assert script.functions() == [*STEPS, "cancelSession", "handleNotification"]


async def test_steps_can_be_taken_one_by_one(make: Make, script: Script) -> None:
    lpa = make()
    initiated = await lpa.initiate_authentication(HOST)
    shown = await lpa.authenticate_client(initiated, None)
    script.prepare("getBoundProfilePackage", failure("8.2.7", "3.8", "Try again."))
    with pytest.raises(FunctionFailed, match=r"8\.2\.7/3\.8 Try again"):
        await lpa.get_bound_profile_package(shown, "wrong")
    assert lpa.install(await lpa.get_bound_profile_package(shown, "right")).succeeded


async def test_a_truncated_answer_of_the_card_is_an_error(make: Make) -> None:
    class Truncated(ConstantCard):
        def result(self) -> bytes:
            return super().result()[:-1]

    result = await make(Truncated()).download(CODE)
    assert isinstance(result, Errored)
    assert result.function == "card"


@pytest.mark.parametrize("wrong", [{"tac": "1234"}, {"imei": "12345678901234"}, {"tac": "1234567x"}])
def test_a_device_with_malformed_numbers_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="digits"):
        Device(**wrong)  # type: ignore[arg-type] # every value here is text
