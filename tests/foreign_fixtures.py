"""Fixtures of tests with somebody else's SM-DP+: its PKI once for the run, and our side of ES2+ towards it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest

from rsp.identifiers import Eid, Iccid
from server.foreign_wiring import Foreign, foreign_over
from store.pool import Pool
from store.tenancy import Tenancy
from tenancy.partners import Carrier, CarrierRole, PlatformAccess
from tenancy.principal import Act, Principal, PrincipalKind, Scope
from tests.foreign_stage import Reporting, access_of, foreign_material, reporting_listener, with_key
from tests.protocol_stage import TYPE, Material, Stage
from transport.tls import client_context

_ADMIN = Act(principal=Principal(kind=PrincipalKind.ADMIN), scopes=frozenset(Scope))


@pytest.fixture(scope="session")
def abroad(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Material:
    """The PKI of somebody else's SM-DP+."""
    return asyncio.run(foreign_material(material, tmp_path_factory.mktemp("abroad")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Our side: what carriers' SM-DP+ are called with, where they report, and a carrier to configure."""

    foreign: Foreign
    pool: Pool
    material: Material
    listener: Reporting
    woken: list[Eid]

    async def carrier(self, abroad: Material, port: int, *, caller: str = "", name: str = "abroad") -> int:
        """A carrier whose SM-DP+ listens there."""
        access = access_of(abroad, f"https://127.0.0.1:{port}", caller=caller)
        smdp = await with_key(self.material.vault, name, access, abroad)
        bare = Carrier(id=0, name=name, role=CarrierRole.PARTNER, platform=PlatformAccess(kind="external"))
        made = await Tenancy(self.pool).add_carrier(_ADMIN, bare)
        changed = await Tenancy(self.pool).change_carrier(_ADMIN, replace(made, smdp=smdp, profile_type=TYPE))
        await self.listener.look()
        return changed.id


@pytest.fixture
async def home(stage: Stage) -> AsyncIterator[Home]:
    """Over the database of `stage`."""
    woken: list[Eid] = []

    async def wake(eid: Eid) -> None:
        woken.append(eid)

    async with AsyncExitStack() as stack:
        foreign = await stack.enter_async_context(
            foreign_over(stage.pool, stage.material.vault, wake, stage.clock.now, 5.0)
        )
        listener = await stack.enter_async_context(reporting_listener(foreign, stage.material))
        yield Home(foreign=foreign, pool=stage.pool, material=stage.material, listener=listener, woken=woken)


async def report(
    home: Home, abroad: Material, iccid: Iccid, point: int, members: dict[str, Any] | None = None, **more: Any
) -> int:
    """HandleDownloadProgressInfo, as the scripted server sends it; the HTTP status it was answered with."""
    body = {
        "header": {"functionRequesterIdentifier": "abroad", "functionCallIdentifier": f"report-{point}"},
        "iccid": iccid.to_json(),
        "profileType": TYPE,
        "timestamp": "2026-11-22T12:00:00Z",
        "notificationPointId": point,
        "notificationPointStatus": {"status": "Executed-Success"},
        **more,
        **(members or {}),
    }
    context = client_context(home.material.pki.operator_ca, abroad.pki.tls_certificate, abroad.pki.tls_key)
    url = f"https://127.0.0.1:{home.listener.port}/gsma/rsp2/es2plus/handleDownloadProgressInfo"
    async with aiohttp.ClientSession() as session, session.post(url, json=body, ssl=context) as answer:
        return answer.status
