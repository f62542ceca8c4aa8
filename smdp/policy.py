"""The rules a server is run by, as one value (set by its operator, not by the standard)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

import msgspec

from smdp.binding import Protection
from smdp.event import SmdsPolicy


class AfterDeletion(StrEnum):
    """What becomes of an installed order once its card has told, under its signature, that it deleted the profile."""

    RETIRE = "retire"
    """Nothing: the profile is not used again."""
    REUSE = "reuse"
    """The same activation code may be used again, a limited number of times."""
    STOCK = "stock"
    """The order ends and the profile may be ordered again."""


class DeviceRules(msgspec.Struct, frozen=True, kw_only=True):
    """Which devices and eUICCs an operator lets have its profiles.

    TACs are 8 digits. EUMs are prefixes of EIDs (the first 8 digits name the maker). An allowing list that is None
    allows all; `minimum_saip` is the version of profile packages that an eUICC must read at least.
    """

    tacs_allowed: frozenset[str] | None = None
    tacs_denied: frozenset[str] = frozenset()
    eums_allowed: tuple[str, ...] | None = None
    eums_denied: tuple[str, ...] = ()
    minimum_saip: tuple[int, int] | None = None
    iot_euiccs: bool = True
    bind_imei: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`server_names` are the FQDNs under which devices find us, lower case; the first goes into activation codes.

    `dp_proprietary` is the object B8 that every card gets with its profile, or nothing.
    """

    server_names: tuple[str, ...]
    session_time: timedelta = timedelta(minutes=10)
    order_time: timedelta = timedelta(days=90)
    download_attempts: int = 10
    confirmation_attempts: int = 3
    redownloads: int = 4
    protection: Protection = Protection.PPK
    dp_proprietary: bytes = b""
    oldest_svn_major: int = 2
    smds: SmdsPolicy = field(default_factory=SmdsPolicy)

    @property
    def address(self) -> str:
        """The name written into activation codes and notifications."""
        return self.server_names[0]
