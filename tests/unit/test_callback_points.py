"""By which number an operator is told a notification point: its own, that of SGP.22, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import pytest
from lpa_pki import Pki, make_pki

from server.callbacks import OperatorCallbacks
from simulator.exchange import identify, trust
from simulator.operator_callbacks import CallbackServer, callback_tls
from smdp.ports import ClaimedMessage
from smdp.progress import NotificationPoint, ProgressInfo
from tenancy.operator import Operator
from webhooks.sender import Undeliverable, Unwanted

HOST = "localhost"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"), HOST)


@dataclass(slots=True)
class OneOperator:
    """The part of a directory that callbacks ask."""

    operator: Operator | None

    async def by_id(self, operator_id: int) -> Operator | None:
        return self.operator


def message(point: int) -> ClaimedMessage:
    info = ProgressInfo(
        iccid="8900012345678901234F", profile_type="gold", eid="", timestamp="2026-11-22T10:00:00Z", point=point
    )
    return ClaimedMessage(id=7, tenant_id=1, line="line", kind="kind", body=msgspec.json.encode(info), attempts=1)


async def told(pki: Pki, points: dict[str, int], *which: int) -> list[int]:
    """The numbers that arrive at an operator with that numbering."""
    tls = identify(trust(pki.ca_file), pki.folder / "client.pem", pki.folder / "client.key")
    async with (
        CallbackServer(callback_tls(pki.folder / "server.pem", pki.folder / "server.key", pki.ca_file)) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
    ):
        url = f"https://{HOST}:{server.port}"
        operator = Operator(id=1, name="a", requester_id="a", callback_url=url, notification_points=points)
        callbacks = OperatorCallbacks(OneOperator(operator), session, "smdp.example.com", 5.0)  # type: ignore[arg-type] # asks for no more
        for point in which:
            await callbacks.send(message(point))
        return [call.point for call in server.calls]


async def test_points_of_the_standard_have_its_numbers(pki: Pki) -> None:
    assert await told(pki, {}, 1, 2, 3, 4) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("points", "numbers"),
    [
        ({"deleted": 5, "enabled": 101, "disabled": 102}, [4, 101, 102, 5]),
        ({"installation": 5, "enabled": 6, "disabled": 7, "deleted": 8}, [5, 6, 7, 8]),
    ],
)
async def test_operator_is_told_by_its_own_numbers(pki: Pki, points: dict[str, int], numbers: list[int]) -> None:
    which = (
        NotificationPoint.BPP_INSTALLATION,
        NotificationPoint.ENABLED,
        NotificationPoint.DISABLED,
        NotificationPoint.DELETED,
    )
    assert await told(pki, points, *which) == numbers


async def test_point_without_a_number_is_not_sent(pki: Pki) -> None:
    with pytest.raises(Unwanted, match="no number for notification point 'deleted'"):
        await told(pki, {"enabled": 101}, NotificationPoint.DELETED)


async def test_point_of_no_release_is_undeliverable(pki: Pki, tmp_path: Path) -> None:
    with pytest.raises(Undeliverable, match="77"):
        await told(pki, {}, 77)
