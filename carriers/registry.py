"""From a carrier's configuration to its platform: one adapter per carrier, one pace per credential."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from carriers import control_center_values as values
from carriers.base import Platform
from carriers.control_center import ControlCenter
from carriers.control_center_rest import ControlCenterRest, Login, Secret, Timing
from carriers.external import External
from carriers.pace import Limits, Lines, Pace
from rsp.errors import Malformed

_CLOSING_SECONDS = 5.0
"""From the end of a call's time until it is certainly over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformSettings:
    """How to reach one carrier's platform. Members that the `kind` has no use for stay empty.

    `inventory_account` is the carrier's own account, the only one from which SIMs are taken.
    """

    kind: str
    base_url: str = ""
    username: str = ""
    api_key: Secret | None = field(default=None, repr=False)
    inventory_account: str = ""


class Registry:
    """Makes platforms and keeps them, so that everybody who uses a credential in this process shares its pace.

    `lines` are those of all processes that use the same credentials.
    """

    def __init__(self, session: aiohttp.ClientSession, lines: Lines, timing: Timing | None = None) -> None:
        self.session = session
        self.timing = timing or Timing()
        self._lines = lines
        self._made: dict[str, tuple[PlatformSettings, Platform]] = {}
        self._paces: dict[tuple[str, str], Pace] = {}

    def platform(self, carrier: str, settings: PlatformSettings) -> Platform:
        """The platform of a carrier (any stable name or id); changed settings make a new one.

        Raises Malformed when the settings cannot be used.
        """
        made = self._made.get(carrier)
        if made is not None and made[0] == settings:
            return made[1]
        platform = _kind(settings).make(self, settings)
        self._made[carrier] = settings, platform
        return platform

    def pace(self, host: str, username: str) -> Pace:
        """The pace of one credential."""
        if (host, username) not in self._paces:
            limits = Limits(lease=self.timing.timeout + _CLOSING_SECONDS, patience=self.timing.patience)
            self._paces[host, username] = Pace(self._lines, f"{username}@{host.lower()}", limits)
        return self._paces[host, username]


def check(settings: PlatformSettings) -> None:
    """Whether a platform can be made of the settings; asks nobody. Raises Malformed, which says what they lack."""
    _kind(settings).check(settings)


def _control_center(registry: Registry, settings: PlatformSettings) -> Platform:
    login = _control_center_login(settings)
    pace = registry.pace(urlsplit(login.base_url).netloc, login.username)
    rest = ControlCenterRest(registry.session, login, pace, registry.timing)
    return ControlCenter(rest, settings.inventory_account)


def _control_center_login(settings: PlatformSettings) -> Login:
    key = settings.api_key
    needed = {"baseUrl": settings.base_url, "username": settings.username, "apiKey": key}
    if key is None or not all(needed.values()):
        missing = ", ".join(name for name, value in needed.items() if not value)
        raise Malformed(f"a platform of kind control_center needs {', '.join(needed)}; missing: {missing}")
    if ":" in settings.username:
        raise Malformed("the username of a platform of kind control_center has no colon")
    base_url = _base_url(settings.base_url)
    if not urlsplit(base_url).path:
        base_url += values.PATH
    return Login(base_url=base_url, username=settings.username, api_key=key)


def _external(registry: Registry, settings: PlatformSettings) -> Platform:  # noqa: ARG001 -- the signature of a maker
    return External()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of platform. `check` and `make` raise Malformed when the settings lack something."""

    make: Callable[[Registry, PlatformSettings], Platform]
    check: Callable[[PlatformSettings], object]


KINDS: Mapping[str, Kind] = {
    "control_center": Kind(make=_control_center, check=_control_center_login),
    "external": Kind(make=_external, check=lambda settings: settings),
}
"""Every kind of platform there is an adapter for."""


def _kind(settings: PlatformSettings) -> Kind:
    if settings.kind not in KINDS:
        raise Malformed(f"platform.kind must be one of {', '.join(sorted(KINDS))}")
    return KINDS[settings.kind]


def _base_url(text: str) -> str:
    """An https address without credentials, query or closing slash; plain http only to this machine."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    plain = parts.scheme == "http" and _is_this_machine(host)
    if (
        not host
        or parts.username is not None
        or parts.query
        or parts.fragment
        or not (plain or parts.scheme == "https")
    ):
        raise Malformed("baseUrl of a platform reads https://host or https://host/path, without credentials and query")
    return text.rstrip("/")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
