"""Logs: one JSON object a line, ids from the context, no bytes and no secrets."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
import structlog

from rsp.identifiers import Eid
from server import logs
from server.settings import Secret

_EID = Eid("89049032123451234512345678901235")


@dataclass(frozen=True)
class _Holder:
    confirmation: str


class _Colour(Enum):
    RED = "r"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    text = io.StringIO()
    logs.configure(stream=text)
    yield text
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def _records(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_record_is_one_json_object_with_time_level_and_event(stream: io.StringIO) -> None:
    logs.get("area").info("order confirmed", order_id=7, eid=_EID, colour=_Colour.RED)
    (record,) = _records(stream)
    assert record["event"] == "order confirmed"
    assert record["level"] == "info"
    assert record["timestamp"].endswith("Z")
    assert (record["order_id"], record["eid"], record["colour"]) == (7, str(_EID), "RED")


def test_ids_of_the_context_are_on_records_of_tasks_started_inside_it(stream: io.StringIO) -> None:
    async def work() -> None:
        logs.get("area").info("inner")

    async def run() -> None:
        with logs.bound(transaction_id="AB12", request_id="r-1"):
            await asyncio.create_task(work())
        logs.get("area").info("outer")

    asyncio.run(run())
    inner, outer = _records(stream)
    assert (inner["transaction_id"], inner["request_id"]) == ("AB12", "r-1")
    assert "transaction_id" not in outer


@pytest.mark.parametrize(
    "key",
    [
        "passphrase", "vault_passphrase", "password", "client_secret", "token", "authorization", "private_value",
        "order_key", "keys", "key", "confirmation_code", "matching_id", "matchingId", "activation_code", "database_url",
        "dsn", "otsk", "api_key", "apikey", "pin",
    ],
)  # fmt: skip
def test_value_of_a_key_that_names_a_secret_is_redacted(stream: io.StringIO, key: str) -> None:
    logs.get("area").warning("event", **{key: "hunter2"}, nested={"deeper": [{key: "hunter2"}]})
    (record,) = _records(stream)
    assert record[key] == "***"
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("key", ["transaction_id", "order_id", "iccid", "ci_key_id", "event_name", "spin"])
def test_names_of_ids_are_not_redacted(stream: io.StringIO, key: str) -> None:
    logs.get("area").info("event", **{key: "shown"})
    assert _records(stream)[0][key] == "shown"


def test_bytes_are_withheld_wherever_they_stand(stream: io.StringIO) -> None:
    logs.get("area").info("event", body=b"hunter2", more=[bytearray(b"hunter2")], deep={"a": memoryview(b"hunter2")})
    (record,) = _records(stream)
    assert record["body"] == "<7 bytes withheld>"
    assert "hunter2" not in stream.getvalue()


def test_objects_show_only_what_their_own_str_shows(stream: io.StringIO) -> None:
    logs.get("area").info("event", holder=_Holder("hunter2"), wrapped=Secret("hunter2"), listed=[_Holder("hunter2")])
    assert _records(stream)[0]["holder"] == "<_Holder withheld>"
    assert "hunter2" not in stream.getvalue()


def test_endless_nesting_ends(stream: io.StringIO) -> None:
    ring: list[object] = []
    ring.append(ring)
    logs.get("area").info("event", ring=ring)
    assert "too deep" in stream.getvalue()


def test_records_of_the_standard_library_take_the_same_way(stream: io.StringIO) -> None:
    with logs.bound(request_id="r-2"):
        logging.getLogger("other").warning("got %s after %d", b"hunter2", 3)
    (record,) = _records(stream)
    assert record["event"] == "got <7 bytes withheld> after 3"
    assert (record["level"], record["request_id"]) == ("warning", "r-2")


def test_mapping_arguments_of_the_standard_library_are_redacted(stream: io.StringIO) -> None:
    logging.getLogger("other").warning("%(user)s %(password)s", {"user": "a", "password": "hunter2"})
    assert _records(stream)[0]["event"] == "a ***"


def test_exception_shows_where_it_came_from_and_none_of_its_words(stream: io.StringIO) -> None:
    def fails(passphrase: str) -> None:
        try:
            raise KeyError(passphrase)
        except KeyError as error:
            raise ExceptionGroup(passphrase, [ValueError(f"bad form: {passphrase}")]) from error

    secret = "hunter2"
    try:
        fails(secret)
    except ExceptionGroup:
        logs.get("area").exception("failed")
    (record,) = _records(stream)
    told = record["exception"]
    assert all(name in told for name in ("KeyError", "ExceptionGroup", "ValueError"))
    assert "test_logs.py" in told
    assert " in fails: " in told
    assert "hunter2" not in stream.getvalue().replace('secret = "hunter2"', "")


def test_exception_of_another_library_is_told_the_same_way(stream: io.StringIO) -> None:
    try:
        raise OSError(2, "hunter2")
    except OSError:
        logging.getLogger("library").exception("failed")
    (record,) = _records(stream)
    assert record["exception"].endswith("builtins.FileNotFoundError (2)")
    assert "hunter2" not in record["event"] + record["exception"].replace('raise OSError(2, "hunter2")', "")


def test_events_below_the_level_are_dropped(stream: io.StringIO) -> None:
    logs.get("area").debug("hidden")
    assert stream.getvalue() == ""


def test_events_below_the_level_cost_no_formatting(stream: io.StringIO) -> None:
    class Costly:
        def __str__(self) -> str:
            raise AssertionError("formatted for nothing")

    logs.get("t").debug("quiet", holder=Costly())
    assert stream.getvalue() == ""


def test_console_form_is_a_line_for_people(stream: io.StringIO) -> None:
    logs.configure(form="console", stream=stream)
    logs.get("area").info("hello", order_id=1, passphrase="hunter2")
    assert "hello" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_chatty_libraries_are_heard_at_debug_level_only(stream: io.StringIO) -> None:
    logging.getLogger("alembic.runtime").info("hidden")
    logs.configure("debug", stream=stream)
    logging.getLogger("alembic.runtime").info("shown")
    assert [record["event"] for record in _records(stream)] == ["shown"]
