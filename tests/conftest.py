"""What holds for every test: no deadlines, and no connection leaves this machine."""

from __future__ import annotations

import ipaddress
import sys

from hypothesis import settings

pytest_plugins = ["tests.postgres_fixtures", "tests.server_fixtures", "tests.protocol_fixtures"]
pytest_plugins += ["tests.foreign_fixtures", "tests.foreign_world"]

settings.register_profile("project", settings(), deadline=None)
settings.load_profile("project")


def _refuse_foreign_addresses(event: str, arguments: tuple[object, ...]) -> None:
    if event != "socket.connect" or not isinstance(arguments[1], tuple):
        return
    host = str(arguments[1][0])
    if host != "localhost" and not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        raise RuntimeError(f"a test tried to connect to {host}: tests do not leave this machine")


sys.addaudithook(_refuse_foreign_addresses)
