"""The API while something of it is broken, while it stops, and while an address asks too much."""

from __future__ import annotations

from pathlib import Path

from tests.api_stage import caller, carrier_body
from tests.http_stage import Edge, Material, edge

CARRIERS = "/v1/carriers"


async def test_a_process_that_stops_turns_requests_away(at_edge: Edge) -> None:
    admin = await caller(at_edge)
    at_edge.gate.open = False
    answer = await admin.post(CARRIERS, carrier_body("n"))
    assert (answer.status, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert await at_edge.fetch("SELECT * FROM carriers") == []


async def test_an_address_that_asks_too_much_waits(edge_material: Material, database: str, tmp_path: Path) -> None:
    async with edge(edge_material, database, tmp_path, api_requests_per_second=0.001) as opened:
        admin = await caller(opened)
        answers = [await admin.get(CARRIERS) for _ in range(11)]
        assert [answer.status for answer in answers] == [200] * 10 + [429]
        assert answers[-1].json()["code"] == "too_many_requests"
        assert int(answers[-1].headers["Retry-After"]) > 0


async def test_a_fault_of_ours_tells_nothing_and_the_same_request_can_be_repeated(at_edge: Edge) -> None:
    admin = await caller(at_edge)
    await at_edge.execute("ALTER TABLE carriers RENAME TO carriers_away")
    broken = await admin.post(CARRIERS, carrier_body("n"), key="one")
    assert (broken.status, broken.json()["code"]) == (500, "internal")
    assert "carriers" not in broken.json()["detail"]
    await at_edge.execute("ALTER TABLE carriers_away RENAME TO carriers")
    assert (await admin.post(CARRIERS, carrier_body("n"), key="one")).status == 201
