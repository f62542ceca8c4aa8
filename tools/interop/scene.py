"""A fresh server with one operator, its stock and its callback server, for programs that others wrote to meet."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg

from crypto.curves import Curve
from rsp.identifiers import ActivationCode, Eid, Iccid, MatchingId
from server.demo import stage
from server.demo.cast import Device, Devices, callback_server, operator_client, operator_exchange
from server.demo.smds_acts import sm_ds
from server.demo.stage import SMDS, Deviation, Server, smdp
from server.settings import Settings
from simulator.exchange import Exchange
from simulator.operator import OperatorClient
from simulator.operator_callbacks import CallbackServer
from simulator.smds import SmDs
from store.embedded import EmbeddedPostgres
from tools.interop.verdicts import Unexpected, Verdicts

OPERATOR = "operator-a"
PROFILE_TYPE = "interop"
_STOCK = 60
ENABLED, DISABLED, DELETED = 101, 102, 5
"""The numbers under which this operator is told of them."""
_POINTS = f"enabled={ENABLED} disabled={DISABLED} deleted={DELETED}"
_WITHIN = 15.0
_LOOK_SECONDS = 0.05
_JUDGED = """
SELECT outcome FROM notifications WHERE eid = $1 AND iccid = $2 AND verified AND outcome = $3 LIMIT 1
"""


def parser(description: str | None, example: str, *, serves: bool = True) -> argparse.ArgumentParser:
    """The options every peer has; `serves` when a server of ours runs."""
    made = argparse.ArgumentParser(description=description, epilog=f"Example: {example}")
    made.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    made.add_argument("--only", default="", metavar="TEXT", help="play only scenarios with TEXT in their name")
    if serves:
        made.add_argument("--folder", type=Path, help="data folder of the server; emptied first (a temporary one)")
    return made


def verdict_of(performance: Coroutine[Any, Any, None], verdicts: Verdicts, *, as_json: bool) -> int:
    """Perform, and show what came of it: 0 when all passed, else 1, also when the server did not start."""
    try:
        asyncio.run(performance)
    except Deviation as deviation:
        print(deviation, file=sys.stderr)
        return 1
    return verdicts.show(as_json=as_json)


def version(checkout: Path) -> str:
    """The commit a checkout stands at, as far as its files tell."""
    head = checkout / ".git" / "HEAD"
    text = head.read_text().strip() if head.is_file() else ""
    reference = re.fullmatch(r"ref: (.+)", text)
    named = checkout / ".git" / reference[1] if reference else None
    return named.read_text().strip() if named and named.is_file() else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """A released order: its profile and its activation code."""

    iccid: Iccid
    code: ActivationCode

    @property
    def text(self) -> str:
        """The activation code as in a QR code."""
        return f"LPA:{self.code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A running server, and what the other parties hold."""

    server: Server
    devices: dict[Curve, Devices]
    lpa: Exchange
    operator: OperatorClient
    callbacks: CallbackServer
    smds: SmDs
    tables: asyncpg.Connection[Any]

    @property
    def es9(self) -> dict[str, tuple[str, int]]:
        """Where ES9+ and the SM-DS listen, by name."""
        smdp_port = (self.server.state.hosts["es9"], self.server.state.ports["es9"])
        return {self.server.name: smdp_port, SMDS: ("127.0.0.1", self.smds.port)}

    def device(self, curve: Curve = Curve.P256) -> Device:
        """A fresh card in a device."""
        return self.devices[curve].next(self.lpa)

    async def order(
        self,
        *,
        iccid: Iccid | None = None,
        eid: Eid | None = None,
        confirmation_code: str | None = None,
        matching_id: str | None = None,
        smds_address: str | None = None,
    ) -> Ordered:
        """DownloadOrder and ConfirmOrder with release."""
        wanted = None if iccid else PROFILE_TYPE
        reserved = await self.operator.download_order(eid=eid, iccid=iccid, profile_type=wanted)
        confirmed = await self.operator.confirm_order(
            reserved,
            release=True,
            eid=eid,
            confirmation_code=confirmation_code,
            matching_id=matching_id,
            smds_address=smds_address,
        )
        code = ActivationCode(smdp_address=self.server.name, matching_id=MatchingId(str(confirmed.matching_id)))
        return Ordered(iccid=reserved, code=code)

    async def recover(self, ordered: Ordered) -> None:
        """recoverProfile: the failed order is released again, under the same MatchingID."""
        named = (str(ordered.iccid), "--operator", OPERATOR)
        await asyncio.to_thread(smdp, self.server.settings, "order", "recover", *named)

    async def state(self, ordered: Ordered) -> str:
        """The state of the newest order of this profile."""
        query = "SELECT state FROM orders WHERE iccid = $1 ORDER BY id DESC LIMIT 1"
        return str(await self.tables.fetchval(query, str(ordered.iccid)))

    async def becomes(self, ordered: Ordered, state: str) -> None:
        """Wait until the order has this state. Raises Unexpected."""

        async def look() -> bool:
            return await self.state(ordered) == state

        await until(look, f"the order of {ordered.iccid} must become {state}")

    async def judged(self, eid: Eid, iccid: Iccid, outcome: str) -> None:
        """Wait until a notification of this card was verified. Raises Unexpected."""

        async def look() -> bool:
            return await self.tables.fetchval(_JUDGED, str(eid), str(iccid), outcome) is not None

        await until(look, f"the server must have verified that {iccid} was {outcome} on {eid}")

    async def told(self, ordered: Ordered, *points: int) -> None:
        """Wait until the operator was told these notification points. Raises Unexpected."""
        try:
            await self.callbacks.wait_for_points(ordered.iccid, *points)
        except TimeoutError:
            calls = [call.point for call in self.callbacks.calls if call.iccid == ordered.iccid]
            raise Unexpected(f"the operator must be told points {points}, but was told {calls}") from None

    async def no_faults(self) -> None:
        """The server answered nothing with 5xx, and operator and SM-DS could read all it sent. Raises Unexpected."""
        unread = [*self.callbacks.faults, *self.smds.faults]
        faults = [
            record
            for record in self.server.records()
            if (record.get("event") == "answered" and record["status"] >= 500)
            or record.get("level") in ("error", "critical")
        ]
        if faults or unread:
            raise Unexpected(f"faults: {(faults or unread)[0]}")


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until the condition holds. Raises Unexpected with `what` after a while."""
    end = monotonic() + _WITHIN
    while monotonic() < end:
        if await condition():
            return
        await asyncio.sleep(_LOOK_SECONDS)
    raise Unexpected(what)


@contextmanager
def folder(chosen: Path | None) -> Iterator[Path]:
    """The chosen folder, or a temporary one."""
    if chosen:
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="smdp-interop-") as made:
        yield Path(made) / "data"


@asynccontextmanager
async def scene(server: Server) -> AsyncIterator[Scene]:
    """The parties around a running server: an operator with stock, devices of both curves."""
    async with AsyncExitStack() as stack:
        callbacks = await stack.enter_async_context(callback_server(server.pki))
        certificate, _ = server.pki.operator_files(OPERATOR)
        url = f"https://localhost:{callbacks.port}"
        smdp(
            server.settings,
            *("operator", "add", OPERATOR, "--certificate", str(certificate), "--callback-url", url),
            *("--after-deletion", "reuse", "--notification-points", _POINTS),
        )
        own = ("--operator", OPERATOR, "--type", PROFILE_TYPE)
        smdp(server.settings, "profile", "generate", str(_STOCK), *own)
        devices = {curve: Devices(server, curve) for curve in Curve}
        exchange = await stack.enter_async_context(operator_exchange(server, OPERATOR))
        tables = await asyncpg.connect(EmbeddedPostgres(server.settings.data_dir).dsn())
        stack.push_async_callback(tables.close)
        yield Scene(
            server=server,
            devices=devices,
            lpa=await stack.enter_async_context(devices[Curve.P256].exchange()),
            operator=operator_client(server, exchange, OPERATOR),
            callbacks=callbacks,
            smds=await stack.enter_async_context(sm_ds(server)),
            tables=tables,
        )


@contextmanager
def serving(
    chosen: Path | None, name: str = "", prepare: Callable[[Settings], object] | None = None
) -> Iterator[Server]:
    """A server on a fresh data folder with test certificates of its own, called `name` unless it keeps its usual one.

    `prepare` may add certificates before it starts.
    """
    with folder(chosen) as place:
        loaded = stage.prepare(place)
        if name:
            loaded = replace(loaded, server_names=(name,))
        smdp(loaded, "pki", "init")
        if prepare:
            prepare(loaded)
        with stage.serving(loaded) as server:
            yield server
