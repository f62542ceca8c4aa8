"""The radio side of a device: which carriers it can attach to, and silence while it is attached to none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from rsp.identifiers import Iccid
from simulator.exchange import BeforeRequest, Habits, NoAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the network of a profile's carrier does: its PLMN (3 bytes, 3GPP TS 24.008), and whether it lets in."""

    plmn: bytes = b"\x09\xf1\x07"
    attaches: bool = True


def plmn(mcc: str, mnc: str) -> bytes:
    """The 3 bytes of a mobile country code and a network code of 2 or 3 digits (3GPP TS 24.008, 10.5.1.3)."""
    if not (mcc + mnc).isdigit() or len(mcc) != 3 or len(mnc) not in (2, 3):
        raise ValueError("a PLMN is 3 digits of country and 2 or 3 of network")
    third = mnc[2] if len(mnc) == 3 else "F"
    return bytes.fromhex(mcc[1] + mcc[0] + third + mcc[2] + mnc[1] + mnc[0])


def _nobody_listens(iccid: Iccid) -> None:  # noqa: ARG001 -- the signature of a hook
    return None


def _always(iccid: Iccid) -> bool:  # noqa: ARG001 -- the signature of a hook
    return True


class Network:
    """The networks around one device. `lines` says what each profile finds and may be changed at any time.

    A profile that is not listed finds `otherwise`. `is_live(iccid)` is asked at every attach whether the carrier
    knows the subscription; `on_session(iccid)` is told of every attach that succeeded.
    """

    def __init__(
        self,
        *,
        lines: Mapping[Iccid, Line] | None = None,
        otherwise: Line | None = None,
        is_live: Callable[[Iccid], bool] = _always,
        on_session: Callable[[Iccid], object] = _nobody_listens,
    ) -> None:
        self.lines = dict(lines or {})
        self.attached: Iccid | None = None
        self.rplmn: bytes | None = None
        self._otherwise = otherwise or Line()
        self._is_live = is_live
        self._on_session = on_session

    def attach(self, iccid: Iccid) -> bool:
        """Leave the present network and try that of the profile; False when it does not let the device in."""
        self.attached = None
        line = self.lines.get(iccid, self._otherwise)
        if not line.attaches or not self._is_live(iccid):
            return False
        self.attached = iccid
        self.rplmn = line.plmn
        self._on_session(iccid)
        return True

    def detach(self) -> None:
        """Leave the present network."""
        self.attached = None

    def guard(self, habits: Habits) -> Habits:
        """`habits` whose requests fail with NoAnswer while the device is attached to no network."""
        return replace(habits, before_request=self._guarded(habits.before_request))

    def _guarded(self, before_request: BeforeRequest) -> BeforeRequest:
        async def before(function: str, attempt: int) -> None:
            if self.attached is None:
                raise NoAnswer(function, "the device is attached to no network")
            await before_request(function, attempt)

        return before
