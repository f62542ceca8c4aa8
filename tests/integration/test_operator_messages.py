"""`smdp operator messages`: what an operator is told, listed and filtered; buried messages are sent once more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from store_samples import iccid, message, new_tenant
from typer.testing import CliRunner, Result

from rsp.errors import Malformed
from server.__main__ import application
from smdp.progress import line_of
from store.ordering import Orderings
from store.outbox import Outbox
from store.pool import Pool, open_pool

_T = TypeVar("_T")


@pytest.fixture(autouse=True)
def _settings(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMDP_FLEX_DATABASE_URL", database)


def within(database: str, use: Callable[[Pool], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        pool = await open_pool(database, 2)
        try:
            return await use(pool)
        finally:
            await pool.close()

    return asyncio.run(run())


@pytest.fixture
def told(database: str) -> None:
    """Four messages to operator-a about two profiles, two of them buried and one sent; one to operator-b, buried."""

    async def tell(pool: Pool) -> None:
        owner, other = await new_tenant(pool, "operator-a"), await new_tenant(pool, "operator-b")
        for tenant, numbers in ((owner, (1, 1, 2, 2)), (other, (3,))):
            async with Orderings(pool).begin(tenant) as work:
                for number in numbers:
                    await work.tell(message(line_of(iccid(number)), "", tenant))
        outbox = Outbox(pool)
        for one in await outbox.claim_messages(10, 60.0):
            await outbox.bury(one.id, "refused by the operator")
        (second, *_) = await outbox.claim_messages(10, 60.0)
        await outbox.sent(second.id)

    within(database, tell)


def run(*words: str) -> Result:
    return CliRunner().invoke(application(), ["operator", "messages", *words], catch_exceptions=False)


def shown(*words: str) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def states(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["iccid"], row["state"]) for row in rows]


@pytest.mark.usefixtures("told")
def test_messages_are_listed_newest_first_and_filtered() -> None:
    one, two = str(iccid(1)), str(iccid(2))
    rows = shown("operator-a")
    assert states(rows) == [(two, "waiting"), (two, "buried"), (one, "sent"), (one, "buried")]
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    assert rows[1]["lastError"] == "refused by the operator"
    assert rows[1]["buriedAt"].endswith("Z")
    assert states(shown("operator-a", "--state", "buried")) == [(two, "buried"), (one, "buried")]
    assert states(shown("operator-a", "--iccid", one)) == [(one, "sent"), (one, "buried")]
    assert states(shown("operator-a", "--limit", "1")) == [(two, "waiting")]
    header, *lines = run("operator-a", "--state", "sent").stdout.splitlines()
    assert (header.split()[:3], len(lines)) == (["id", "iccid", "state"], 1)


@pytest.mark.usefixtures("told")
def test_buried_messages_are_due_again_and_no_others(database: str) -> None:
    one, two = str(iccid(1)), str(iccid(2))
    answer = shown("operator-a", "--iccid", one, "--retry")
    assert (states(answer["messages"]), answer["retried"]) == ([(one, "sent"), (one, "buried")], 1)
    assert states(shown("operator-a", "--state", "buried")) == [(two, "buried")]
    assert states(shown("operator-b")) == [(str(iccid(3)), "buried")]
    assert "2 messages" not in run("operator-a", "--retry").stderr

    async def claim(pool: Pool) -> list[tuple[str, int]]:
        return [(found.line, found.attempts) for found in await Outbox(pool).claim_messages(10, 60.0)]

    assert within(database, claim) == [(line_of(iccid(1)), 1), (line_of(iccid(2)), 1)]


@pytest.mark.usefixtures("told")
def test_what_is_asked_for_wrongly_is_said() -> None:
    with pytest.raises(Malformed, match="no operator is called"):
        run("operator-c")
    assert "waiting, sent, buried" in run("operator-a", "--state", "lost").output
    assert run("operator-a", "--iccid", "8988211999999999999").stdout == "There are no such messages.\n"
