"""The commands' way to the API: one request, repeated safely, its answer shown as text or JSON."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import urlencode

import aiohttp
import typer

from rsp.errors import Unreachable
from server.settings import Settings, SettingsError, load

_TRIES = 4
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_AGAIN = {"request_in_flight", "unavailable", "too_many_requests"}


class ApiRefused(Exception):  # noqa: N818 -- the name is the outcome
    """The API answered a problem; the text is its detail, `code` is for programs."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{detail} ({code})")
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiClient:
    """Calls one API with one key."""

    base_url: str
    api_key: str = field(repr=False)
    context: ssl.SSLContext
    server_name: str | None = None

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """GET; members of `query` that are None or empty are left out."""
        given = {name: str(value) for name, value in (query or {}).items() if value not in (None, "")}
        return self._call("GET", f"{path}?{urlencode(given)}" if given else path, None, "")

    def post(self, path: str, body: object = None, *, key: str = "") -> Any:
        """POST under an Idempotency-Key, so that repeating it is safe."""
        return self._call("POST", path, body, key or secrets.token_hex(16))

    def patch(self, path: str, body: object) -> Any:
        """PATCH."""
        return self._call("PATCH", path, body, "")

    def _call(self, method: str, path: str, body: object, key: str) -> Any:
        """Raises ApiRefused, and Unreachable when no try got an answer."""
        for left in reversed(range(_TRIES)):
            try:
                status, answer = asyncio.run(self._send(method, path, body, key))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if not left:
                    raise Unreachable(f"{self.base_url} cannot be reached: {type(error).__name__}") from error
            else:
                if status < 400:
                    return answer
                if not left or answer.get("code") not in _AGAIN:
                    _refused(answer)
            time.sleep(1)
        raise AssertionError("the last try returns or raises")

    async def _send(self, method: str, path: str, body: object, key: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": key} if key else {}
        data = b"" if body is None else json.dumps(body).encode()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.context), timeout=_TIMEOUT) as http:
            url = self.base_url + path
            async with http.request(
                method, url, data=data, headers=headers, server_hostname=self.server_name, allow_redirects=False
            ) as response:
                return response.status, await response.json(content_type=None)


def client() -> ApiClient:
    """The client of the settings: api_url and api_key, else the server that runs on data_dir."""
    from server import running

    settings = load()
    if not settings.api_key:
        raise SettingsError("an API key is needed: set api_key_file or api_key (`smdp key create --admin` makes one)")
    state = running.read(settings.data_dir)
    if not settings.api_url and state is None:
        raise SettingsError(f"no server runs on {settings.data_dir}: start `smdp serve`, or set api_url")
    own = f"https://{state.hosts['api']}:{state.ports['api']}" if state else ""
    return ApiClient(
        base_url=settings.api_url or own,
        api_key=settings.api_key.reveal(),
        context=_trust(settings),
        server_name=None if settings.api_url else settings.server_names[0],
    )


def show(answer: Any, columns: Sequence[str], *, as_json: bool) -> None:
    """Print one thing, or a page of things, as JSON or as a table of `columns`."""
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    rows = answer.get("items", [answer])
    table = [[_text(row.get(column)) for column in columns] for row in rows]
    widths = [max([len(column), *(len(row[place]) for row in table)]) for place, column in enumerate(columns)]
    for row in [list(columns), *table]:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    if answer.get("next") is not None:
        typer.echo(f"more: --filter after={answer['next']}")


def filters(texts: Sequence[str]) -> dict[str, object]:
    """`member=value` texts as a query."""
    pairs = [text.partition("=") for text in texts]
    if bad := [text for text, pair in zip(texts, pairs, strict=True) if not pair[0] or not pair[1]]:
        raise SettingsError(f"a filter reads member=value, not {bad[0]!r}")
    return {name: value for name, _, value in pairs}


def given(**members: object) -> dict[str, object]:
    """The members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_text(one) for one in value)
    if isinstance(value, dict):
        return " ".join(_text(one) for one in value.values() if one not in (None, ""))
    return "-" if value is None or value == "" else str(value)


def _refused(answer: Any) -> NoReturn:
    raise ApiRefused(str(answer.get("code", "unknown")), str(answer.get("detail", "no reason was given")))


def _trust(settings: Settings) -> ssl.SSLContext:
    """The system's authorities and, where there is a PKI folder here, its CIs."""
    context = ssl.create_default_context()
    if settings.pki_dir.is_dir():
        from certs import folder

        for ci in folder.load(settings.pki_dir).ci_certificates:
            context.load_verify_locations(cadata=ci)
    return context
