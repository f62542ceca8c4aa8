"""`smdp order list` and `show` as a person runs them: on orders, sessions and messages in a real database."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace
from store_samples import EID, NOW, iccid, new_order, new_tenant, session, transaction
from typer.testing import CliRunner, Result

from rsp.errors import Malformed
from rsp.identifiers import MatchingId
from rsp.status import Status
from server.__main__ import application
from smdp.event_ports import Wanted
from smdp.order import OrderChange, OrderEvent, OrderState
from smdp.ports import DownloadWrite
from smdp.progress import NotificationPoint, report
from smdp.reading import OrderFilter
from smdp.session import SessionChange, SessionEvent
from store.binaries import NoUsableDatabase
from store.downloads import Downloads
from store.order_book import OrderBook
from store.ordering import Orderings
from store.pool import Pool, open_pool


@pytest.fixture(autouse=True)
def _settings(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMDP_FLEX_DATABASE_URL", database)
    monkeypatch.setenv("SMDP_FLEX_SERVER_NAMES", "smdp.example.com")


def with_pool(database: str, use: Callable[[Pool], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        pool = await open_pool(database, 2)
        try:
            return await use(pool)
        finally:
            await pool.close()

    return asyncio.run(run())


def run(*words: str) -> Result:
    return CliRunner().invoke(application(), list(words), catch_exceptions=False)


def shown(*words: str) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def attempted(pool: Pool) -> None:
    """Order 1 is released and one card has failed with it; order 2 is allocated; order 3 is another operator's."""
    one = await new_tenant(pool, "operator-a", download_attempts=5)
    other = await new_tenant(pool, "operator-b")
    order = await new_order(pool, one, 1, event=OrderEvent.CONFIRM_AND_RELEASE)
    await new_order(pool, one, 2)
    await new_order(pool, other, 3)
    opened = session(1)
    downloads = Downloads(pool)
    await downloads.open_session(opened)
    step = replace(
        SessionChange.of(opened, SessionEvent.AUTHENTICATE),
        order_id=order.id,
        eid=EID,
        refusal="CONFIRMATION_CODE_REFUSED",
    )
    change = replace(
        OrderChange.of(order, OrderEvent.AUTHENTICATE), eid=EID, count_download=True, count_confirmation=True
    )
    status = Status.CONFIRMATION_CODE_REFUSED
    told = report(order, NotificationPoint.CONFIRMATION_FAILURE, NOW, status, eid=str(EID))
    await downloads.write(DownloadWrite(session=step, order=change, messages=(told,)))


async def announced(pool: Pool) -> None:
    """Order 1 names an SM-DS, and its first event there was replaced by another."""
    order = await new_order(pool, await new_tenant(pool, "operator-a"), 1)
    wanted = Wanted(order_id=order.id, smds_address="smds.example.com", eid=EID, event_id=MatchingId("FIRST"))
    change = replace(
        OrderChange.of(order, OrderEvent.CONFIRM), eid=EID, matching_id=MatchingId("SECOND"),
        key_sealed=b"key", smds_address="smds.example.com",
    )  # fmt: skip
    async with Orderings(pool).begin(order.tenant_id) as work:
        await work.events.intend(wanted, 60.0)
        await work.change_order(change)
        await work.events.registered(
            await work.events.intend(dataclasses.replace(wanted, event_id=MatchingId("SECOND")), 60.0)
        )


async def unreachable(pool: Pool) -> None:
    """The SM-DS did not answer, so order 1 stayed where it was."""
    order = await new_order(pool, await new_tenant(pool, "operator-a"), 1)
    wanted = Wanted(order_id=order.id, smds_address="smds.example.com", eid=EID, event_id=MatchingId("FIRST"))
    async with Orderings(pool).begin(order.tenant_id) as work:
        await work.events.failed(await work.events.intend(wanted, 60.0), "no answer within 10 s", 0.0)


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (announced, ("smds.example.com", "registered", "")),
        (unreachable, ("", "withdrawing", "no answer within 10 s")),
    ],
)
def test_an_order_at_an_sm_ds_is_shown_with_its_event(
    database: str, prepare: Callable[[Pool], Awaitable[None]], expected: tuple[str, str, str]
) -> None:
    with_pool(database, prepare)
    history = shown("order", "show", str(iccid(1)))
    assert (history["smdsAddress"], history["event"], history["eventError"]) == expected


def test_an_order_is_shown_with_all_that_happened_to_it(database: str) -> None:
    with_pool(database, attempted)
    history = shown("order", "show", str(iccid(1)))
    (attempt,), (told,) = history.pop("sessions"), history.pop("told")
    for row in (history, attempt, told):
        assert row.pop("createdAt").endswith("Z")
    assert history == {
        "iccid": str(iccid(1)),
        "operator": "operator-a",
        "profileType": "prepaid",
        "state": "released",
        "eid": str(EID),
        "expiresAt": "2027-02-20T12:00:00Z",
        "endedAt": None,
        "downloadAttempts": 1,
        "downloadAttemptsLimit": 5,
        "confirmationAttempts": 1,
        "confirmationAttemptsLimit": 3,
        "activationCode": "LPA:1$smdp.example.com$TOKEN-1$$1",
        "smdsAddress": "",
        "event": "",
        "eventError": "",
        "imei": "",
        "redownloads": 0,
        "cardState": "",
        "cardStateAt": None,
    }
    assert attempt == {
        "transactionId": str(transaction(1)),
        "state": "authenticated",
        "eid": str(EID),
        "refusal": "8.2.7/3.8",
        "expiresAt": "2026-11-22T12:10:00Z",
    }
    assert told == {
        "notificationPointId": 2,
        "point": "confirmation",
        "failure": "8.2.7/3.8",
        "attempts": 0,
        "lastError": "",
        "sentAt": None,
        "buriedAt": None,
    }


def test_people_read_the_same_of_an_order(database: str) -> None:
    with_pool(database, attempted)
    text = run("order", "show", str(iccid(1))).stdout
    for word in ("released", str(EID), "1 of 5", "1 of 3", "LPA:1$smdp.example.com$TOKEN-1$$1", "8.2.7/3.8"):
        assert word in text
    fresh = run("order", "show", str(iccid(2))).stdout
    for word in ("allocated", "0 of 5", "No device has asked for it.", "The operator was told nothing."):
        assert word in fresh


def test_an_order_that_is_over_has_no_activation_code(database: str) -> None:
    async def cancelled(pool: Pool) -> None:
        tenant = await new_tenant(pool)
        order = await new_order(pool, tenant, 1, event=OrderEvent.CONFIRM_AND_RELEASE)
        async with Orderings(pool).begin(tenant) as work:
            await work.change_order(OrderChange.of(order, OrderEvent.CANCEL))

    with_pool(database, cancelled)
    history = shown("order", "show", str(iccid(1)))
    assert (history["state"], history["activationCode"]) == ("cancelled", None)
    assert history["endedAt"].endswith("Z")
    assert "TOKEN" not in run("order", "show", str(iccid(1))).stdout


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ((), [3, 2, 1]),
        (("--operator", "operator-a"), [2, 1]),
        (("--state", "released"), [1]),
        (("--eid", str(EID)), [1]),
        (("--type", "prepaid"), [3, 2, 1]),
        (("--type", "other"), []),
        (("--limit", "2"), [3, 2]),
        (("--operator", "operator-b", "--state", "released"), []),
    ],
)
def test_orders_are_listed_newest_first_and_chosen(database: str, words: tuple[str, ...], numbers: list[int]) -> None:
    with_pool(database, attempted)
    assert [row["iccid"] for row in shown("order", "list", *words)] == [str(iccid(number)) for number in numbers]


def test_a_list_never_shows_a_matching_id(database: str) -> None:
    with_pool(database, attempted)
    assert "TOKEN" not in run("order", "list").output + run("order", "list", "--json").output


def test_a_list_has_a_header_line_and_says_when_it_is_empty(database: str) -> None:
    assert run("order", "list").stdout == "There are no such orders.\n"
    with_pool(database, attempted)
    header, *lines = run("order", "list").stdout.splitlines()
    assert header.split() == ["iccid", "operator", "profileType", "state", "eid", "createdAt"]
    assert len(lines) == 3


def test_a_profile_nobody_ordered_is_refused_in_one_sentence() -> None:
    with pytest.raises(Malformed, match="nobody has ordered a profile with ICCID"):
        run("order", "show", str(iccid(9)))


def test_an_unknown_state_names_the_known_ones() -> None:
    assert "installed" in run("order", "list", "--state", "instaled").output


async def test_the_store_finds_what_it_is_asked_for(database: str) -> None:
    pool = await open_pool(database, 2)
    try:
        await attempted(pool)
        (row,) = await OrderBook(pool).list_orders(OrderFilter(state="released"))
        assert (row.iccid, row.state, row.expires_at) == (iccid(1), OrderState.RELEASED, row.expires_at)
        assert await OrderBook(pool).order_history(iccid(9)) is None
    finally:
        await pool.close()


@pytest.mark.parametrize("words", [("order", "list"), ("order", "show", str(iccid(1)))])
def test_looking_makes_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.setenv("SMDP_FLEX_DATABASE_URL", "")
    with pytest.raises(NoUsableDatabase, match="smdp db upgrade makes one"):
        run(*words)
    assert not (tmp_path / "var").exists()


def test_looking_migrates_nothing(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMDP_FLEX_DATABASE_URL", empty_database)
    with pytest.raises(NoUsableDatabase, match="run smdp db upgrade"):
        run("order", "list")

    async def tables() -> int:
        connection = await asyncpg.connect(empty_database)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))
        finally:
            await connection.close()

    assert asyncio.run(tables()) == 0
