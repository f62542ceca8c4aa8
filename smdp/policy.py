"""The rules a server is run by, as one value (set by its operator, not by the standard)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from smdp.binding import Protection


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
    protection: Protection = Protection.PPK
    dp_proprietary: bytes = b""
    oldest_svn_major: int = 2

    @property
    def address(self) -> str:
        """The name written into activation codes and notifications."""
        return self.server_names[0]
