"""What an operator asks for over ES2+, as values (SGP.22 5.3.1 to 5.3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rsp.identifiers import Eid, Iccid
from smdp.order import ProfileState


class FinalProfileStatus(Enum):
    """finalProfileStatusIndicator of CancelOrder: what becomes of the profile."""

    AVAILABLE = "Available"
    UNAVAILABLE = "Unavailable"

    @property
    def profile(self) -> ProfileState:
        """The state of the profile in stock."""
        return ProfileState.AVAILABLE if self is FinalProfileStatus.AVAILABLE else ProfileState.UNAVAILABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOrder:
    """Input of DownloadOrder: at least one of `iccid` and `profile_type`."""

    eid: Eid | None = None
    iccid: Iccid | None = None
    profile_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmOrder:
    """Input of ConfirmOrder. `matching_id` None: choose one; empty text: none, found by EID (default SM-DP+).

    `imei` is no member of the standard: the first 14 digits of the one device that may download the profile.
    """

    iccid: Iccid
    release: bool
    eid: Eid | None = None
    matching_id: str | None = None
    confirmation_code: str | None = None
    smds_address: str | None = None
    imei: str | None = None

    def __repr__(self) -> str:
        return f"ConfirmOrder(iccid={self.iccid}, release={self.release})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder:
    """Input of CancelOrder."""

    iccid: Iccid
    final_status: FinalProfileStatus
    eid: Eid | None = None
    matching_id: str | None = None
