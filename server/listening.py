"""The ports of one server: taken before its processes start, so that they can share them (SO_REUSEPORT)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from server.settings import Settings, SettingsError

LISTENERS = ("es9", "es2", "eim", "api", "ops")

_SPOKEN = {"es9": "ES9+", "es2": "ES2+", "eim": "ESipa", "api": "API", "ops": "operations"}


def addresses(settings: Settings, *, eim: bool) -> dict[str, str]:
    """Where a server with these settings listens, {interface: URL}, for people; ESipa only where there is an `eim`."""
    found = {}
    for name, spoken in _SPOKEN.items():
        host, port = getattr(settings, f"{name}_host"), getattr(settings, f"{name}_port")
        scheme = "http" if name == "ops" else "https"
        found[spoken] = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{'/docs' if name == 'api' else ''}"
    if not eim:
        del found["ESipa"]
    return found


@contextmanager
def reserved(settings: Settings) -> Iterator[dict[str, int]]:
    """Hold the port of each listener; yields {listener: port} with free ports in place of 0.

    The held sockets never listen: they get no connection, yet nobody without SO_REUSEPORT can take the port, and a
    port somebody else already listens on is refused here instead of being shared with a stranger by accident.
    """
    with ExitStack() as stack:
        ports: dict[str, int] = {}
        for name in LISTENERS:
            if name == "eim" and settings.shares_es9_listener:
                ports[name] = ports["es9"]
                continue
            held = stack.enter_context(
                _hold(name, getattr(settings, f"{name}_host"), getattr(settings, f"{name}_port"))
            )
            ports[name] = int(held.getsockname()[1])
        yield ports


def _hold(name: str, host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        held = socket.socket(family, kind, protocol)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"{name}_host {host}, {name}_port {port}: cannot listen there: {reason}") from error
    return held
