"""503 with Retry-After exactly while database or vault is away or the process drains; afterwards all is as before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from server import preflight
from store.embedded import EmbeddedPostgres
from tests.http_stage import NAME, Answer, Edge, Material, b64, edge

_NOTIFICATION = {"pendingNotification": b64(b"\x30\x00")}


@pytest.fixture(autouse=True, scope="module")
def _vault_is_looked_at_always() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preflight, "VAULT_LOOK_SECONDS", 0.0)
        yield


@pytest.fixture
async def without_database(at_edge: Edge, postgres: EmbeddedPostgres) -> AsyncIterator[Edge]:
    """The process while PostgreSQL is stopped; it runs again afterwards."""
    postgres.stop()
    try:
        yield at_edge
    finally:
        postgres.start()


def _away(answer: Answer) -> bool:
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "2")
    assert answer.headers["X-Admin-Protocol"] == "gsma/rsp/v2.5.0"
    return b" again." in answer.body


async def _device_answers(edge: Edge) -> dict[str, Answer]:
    """Well-formed requests to every function of ES9+ that reach the database."""
    error = "a115801000000000000000000000000000000000020105"
    cancel = "bf4103810105"
    session = {"transactionId": "00" * 16}
    bodies = {
        "initiateAuthentication": edge.card().initiate(),
        "authenticateClient": {**session, "authenticateServerResponse": b64(bytes.fromhex("bf3817" + error))},
        "getBoundProfilePackage": {**session, "prepareDownloadResponse": b64(bytes.fromhex("bf2117" + error))},
        "handleNotification": _NOTIFICATION,
        "cancelSession": {**session, "cancelSessionResponse": b64(bytes.fromhex(cancel))},
    }
    return {function: await edge.device(function, body) for function, body in bodies.items()}


async def _operator_answers(edge: Edge) -> dict[str, Answer]:
    iccid = {"iccid": "8988211000000000000"}
    bodies: dict[str, dict[str, Any]] = {
        "downloadOrder": iccid,
        "confirmOrder": {**iccid, "releaseFlag": True},
        "cancelOrder": {**iccid, "finalProfileStatusIndicator": "Available"},
        "releaseProfile": iccid,
    }
    return {function: await edge.operator(function, body) for function, body in bodies.items()}


async def test_every_function_is_503_while_the_database_is_away(without_database: Edge) -> None:
    answers = await _device_answers(without_database) | await _operator_answers(without_database)
    assert len(answers) == 9
    assert [function for function, answer in answers.items() if not _away(answer)] == []


async def test_bad_input_is_still_400_while_the_database_is_away(without_database: Edge) -> None:
    assert (await without_database.device("handleNotification", b"[")).status == 400
    assert (await without_database.device("cancelSession", {"transactionId": "XY"})).status == 400


async def test_not_ready_but_alive_while_the_database_is_away(without_database: Edge) -> None:
    ready = await without_database.ops("/readyz")
    assert (ready.status, ready.headers["Retry-After"]) == (503, "2")
    assert ready.json() == {"status": "not ready", "faults": {"database": "Unavailable"}}
    assert (await without_database.ops("/healthz")).status == 200


async def test_all_is_served_again_once_the_database_is_back(at_edge: Edge, postgres: EmbeddedPostgres) -> None:
    order, device = await at_edge.ordered(), at_edge.card()
    initiated = (await at_edge.device("initiateAuthentication", device.initiate())).json()
    body = device.authenticate(initiated, order.matching_id)
    before = await at_edge.rows()
    postgres.stop()
    try:
        assert _away(await at_edge.device("authenticateClient", body))
        assert _away(await at_edge.device("handleNotification", _NOTIFICATION))
    finally:
        postgres.start()
    assert await at_edge.rows() == before
    assert (await at_edge.device("authenticateClient", body)).status == 200
    assert (await at_edge.device("handleNotification", _NOTIFICATION)).status == 204
    assert (await at_edge.ops("/readyz")).json() == {"status": "ready"}
    assert len((await at_edge.rows())["notifications"]) == 1


async def test_notification_whose_commit_fails_is_503_and_never_204(at_edge: Edge) -> None:
    await at_edge.execute(
        "CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'disk' USING ERRCODE = 'disk_full'; END $$"
    )
    await at_edge.execute(
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON notifications DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION fails()"
    )
    assert _away(await at_edge.device("handleNotification", _NOTIFICATION))
    await at_edge.execute("DROP TRIGGER late ON notifications")
    assert (await at_edge.rows())["notifications"] == []
    assert (await at_edge.device("handleNotification", _NOTIFICATION)).status == 204


async def test_notification_larger_than_is_kept_is_400_and_not_a_fault_of_ours(
    database: str, edge_material: Material, tmp_path: Path
) -> None:
    async with edge(edge_material, database, tmp_path, max_body_bytes=1_000_000) as wide:
        answer = await wide.device("handleNotification", {"pendingNotification": b64(bytes(262_145))})
        assert (answer.status, b"262144" in answer.body) == (400, True)
        answer = await wide.device("handleNotification", {"pendingNotification": b64(bytes(262_144))})
        assert answer.status == 204


async def test_functions_that_sign_or_unwrap_are_503_while_the_vault_is_away_and_work_afterwards(
    at_edge: Edge,
) -> None:
    order, device = await at_edge.ordered(), at_edge.card()
    file = at_edge.settings.vault_file
    elsewhere = file.with_name("elsewhere")
    initiate = device.initiate()
    file.rename(elsewhere)
    assert _away(await at_edge.device("initiateAuthentication", initiate))
    assert (await at_edge.rows())["sessions"] == []
    elsewhere.rename(file)
    initiated = (await at_edge.device("initiateAuthentication", initiate)).json()
    authenticate = device.authenticate(initiated, order.matching_id)
    before = await at_edge.rows()

    file.rename(elsewhere)
    assert _away(await at_edge.device("authenticateClient", authenticate))
    assert await at_edge.rows() == before
    elsewhere.rename(file)
    shown = (await at_edge.device("authenticateClient", authenticate)).json()
    prepare = device.prepare(shown)
    before = await at_edge.rows()

    file.rename(elsewhere)
    assert _away(await at_edge.device("getBoundProfilePackage", prepare))
    assert (await at_edge.device("handleNotification", _NOTIFICATION)).status == 204
    faults = (await at_edge.ops("/readyz")).json()["faults"]
    elsewhere.rename(file)
    assert faults == {"vault": "VaultUnavailable"}
    assert {**await at_edge.rows(), "notifications": []} == before
    assert (await at_edge.device("getBoundProfilePackage", prepare)).json().keys() == {
        "header",
        "transactionId",
        "boundProfilePackage",
    }


async def test_confirm_order_is_503_without_the_vault_and_the_same_call_works_afterwards(at_edge: Edge) -> None:
    (iccid,) = await at_edge.stock()
    await at_edge.operator("downloadOrder", {"iccid": iccid})
    body = {"header": at_edge.header(), "iccid": iccid, "releaseFlag": True}
    before = await at_edge.rows()
    file = at_edge.settings.vault_file
    elsewhere = file.with_name("elsewhere")
    file.rename(elsewhere)
    assert _away(await at_edge.operator("confirmOrder", body))
    assert await at_edge.rows() == before
    elsewhere.rename(file)
    assert (await at_edge.operator("confirmOrder", body)).status == 200


async def test_everything_new_is_503_while_the_process_drains(at_edge: Edge) -> None:
    at_edge.gate.open = False
    answers = await _device_answers(at_edge) | await _operator_answers(at_edge)
    assert [function for function, answer in answers.items() if not _away(answer)] == []
    assert {answer.headers["Connection"] for answer in answers.values()} == {"close"}
    ready = await at_edge.ops("/readyz")
    assert (ready.status, ready.json()["faults"]) == (503, {"process": "stopping"})
    assert (await at_edge.ops("/healthz")).status == 200
    assert {table for table, rows in (await at_edge.rows()).items() if rows} == set()


async def test_request_under_way_is_answered_after_the_drain_has_begun(at_edge: Edge) -> None:
    body = b'{"pendingNotification":"AAAA"}'
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", at_edge.settings.es9_port, ssl=at_edge.material.trust(), server_hostname=NAME
    )
    head = "POST /gsma/rsp2/es9plus/handleNotification HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 100 ")
    # The answer of the second request tells that the first one has begun to be handled.
    assert (await at_edge.device("handleNotification", _NOTIFICATION)).status == 204
    at_edge.gate.open = False
    writer.write(body)
    assert b"HTTP/1.1 204 " in await reader.read()
    writer.transport.abort()
