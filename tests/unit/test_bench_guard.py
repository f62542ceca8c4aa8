"""The guard of `make bench`: a ratio that has become worse fails the run, and so does a download that failed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from simulator.fleet import FailureCount, FleetReport
from tools import bench, bench_guard
from tools.bench_load import Floor, Measured, Round
from tools.bench_server import Cores


def measured(server_ms: float, database_ms: float, failures: tuple[FailureCount, ...] = ()) -> Measured:
    report = FleetReport(
        devices=1,
        installed=1,
        verified=0,
        refused=0,
        errored=0,
        undelivered=0,
        wall_seconds=1.0,
        downloads_per_second=1.0,
        latencies=(),
        failures=failures,
    )
    one = Round(
        cpu_ms={"http": server_ms * 0.75, "worker": server_ms * 0.25, "database": database_ms},
        client_cpu_ms=1.0,
        floor=Floor(crypto_ms=0.25, handshake_ms=0.25),
        report=report,
    )
    return Measured.of("a connection for each device", [one], [])


def judged(one: Measured, guard: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(bench_guard, "FILE", guard)
    result = bench.Result(cores={}, devices=1, concurrency=1, modes={"device": one})
    return bench.judged(result, 1.25)


@pytest.fixture
def guard(tmp_path: Path) -> Path:
    path = tmp_path / "guard.json"
    ratios = {"device": {"server_to_floor": 4.0, "database_to_server": 0.5}}
    path.write_bytes(msgspec.json.encode({"another": {}, bench_guard.python(): ratios}))
    return path


@pytest.mark.parametrize(
    ("server_ms", "database_ms", "status"), [(2.0, 1.0, 0), (2.4, 1.4, 0), (2.6, 1.0, 1), (2.0, 1.3, 1)]
)
def test_ratio_beyond_its_guard_and_tolerance_fails_the_run(
    guard: Path, monkeypatch: pytest.MonkeyPatch, server_ms: float, database_ms: float, status: int
) -> None:
    assert judged(measured(server_ms, database_ms), guard, monkeypatch) == status


def test_what_the_guard_does_not_know_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(measured(100.0, 100.0), tmp_path / "none.json", monkeypatch) == 0


def test_failed_download_fails_the_run(guard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = FailureCount(code="authenticateClient 8.2.6/3.8", count=1, example="no such order")
    assert judged(measured(1.0, 0.1, (failure,)), guard, monkeypatch) == 1


def test_the_guard_that_is_kept_names_modes_there_are() -> None:
    kept = msgspec.json.decode(bench_guard.FILE.read_bytes(), type=dict[str, bench_guard.Ratios])
    assert set(kept) == {"distribution", "other"}
    for ratios in kept.values():
        assert set(ratios) <= set(bench.MODES)


def test_each_kind_of_python_has_a_guard_of_its_own(guard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_guard, "FILE", guard)
    monkeypatch.setattr(bench_guard, "python", lambda: "another")
    assert bench_guard.kept() == {}
    bench_guard.keep({"device": {"server_to_floor": 9.0001}})
    bench_guard.keep({"call": {"server_to_floor": 12.0}})
    assert bench_guard.kept() == {"device": {"server_to_floor": 9.0}, "call": {"server_to_floor": 12.0}}
    monkeypatch.undo()
    monkeypatch.setattr(bench_guard, "FILE", guard)
    assert bench_guard.kept() == {"device": {"server_to_floor": 4.0, "database_to_server": 0.5}}


def test_server_database_and_load_share_no_core_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, apart in ((1, 1), (2, 2), (4, 3)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, most=most: set(range(most)))
        cores = Cores.of_this_machine()
        assert len({cores.server, cores.database, cores.load}) == apart
