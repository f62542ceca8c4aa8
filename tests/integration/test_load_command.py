"""`smdp load` against a running server: what is installed, what is refused, what is told as JSON."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rsp.status import Status, es9_integer
from server.demo.stage import smdp
from server.settings import environment, load
from tools import bench_server
from tools.bench_server import Cores, Subject

_DEVICES = 6


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """A server with one HTTP process and as many profiles in stock as there are devices."""
    settings = bench_server.prepare(tmp_path_factory.mktemp("load"), "warning")
    with bench_server.serving(settings, Cores.of_this_machine()) as running:
        bench_server.stock(running, _DEVICES, 0)
        yield running


def _load(subject: Subject, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "server", "load", *arguments]
    return subprocess.run(command, env=environment(subject.settings), capture_output=True, text=True, check=False)


def _rows(subject: Subject) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = smdp(subject.settings, "profile", "list")
    return rows


def test_every_order_is_installed_once_and_a_second_run_is_refused(subject: Subject, tmp_path: Path) -> None:
    orders = tmp_path / "orders.txt"
    bench_server.write_orders(orders, asyncio.run(bench_server.order(subject, _DEVICES, 3)))

    first = _load(subject, str(orders), "--sample", "0.5", "--concurrency", "3", "--json")
    assert (first.returncode, first.stderr) == (0, "")
    result = json.loads(first.stdout)
    report = result["report"]
    assert (report["devices"], report["installed"], report["verified"], report["failures"]) == (6, 6, 3, [])
    assert set(result["serverCpuMsPerDownload"]) == {"http", "worker", "database"}
    assert result["serverCpuMsPerDownload"]["http"] > 0
    counts = {one["function"]: one["count"] for one in report["latencies"]}
    assert counts == {
        "initiateAuthentication": 6,
        "authenticateClient": 6,
        "getBoundProfilePackage": 6,
        "handleNotification": 6,
        "download": 6,
    }
    installed = _rows(subject)
    assert [row["orderState"] for row in installed] == ["installed"] * _DEVICES
    assert len({row["eid"] for row in installed}) == _DEVICES

    status = Status.EID_MISMATCH
    told = {"json": f"{status.subject}/{status.reason}", "asn1": es9_integer("authenticateClient", status)}
    for binding, code in told.items():
        kept = ("--connections", "kept", "--sample", "0", "--binding", binding, "--json")
        second = _load(subject, str(orders), *kept)
        assert second.returncode == 1
        report = json.loads(second.stdout)["report"]
        codes = [(failure["code"], failure["count"]) for failure in report["failures"]]
        assert codes == [(f"authenticateClient {code}", _DEVICES)]
    assert _rows(subject) == installed


def test_a_file_without_orders_is_one_sentence(subject: Subject, tmp_path: Path) -> None:
    orders = tmp_path / "empty.txt"
    orders.write_text("# nothing\n")
    done = _load(subject, str(orders))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"smdp: {orders} holds no activation code: write one a line\n"


def test_without_a_server_the_way_to_one_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "server", "load", "orders.txt", "--eum-certificate", "a", "--eum-key", "b"]
    settings = load({}, data_dir=tmp_path)
    done = subprocess.run(
        [*command, "--ci-certificate", "c"], env=environment(settings), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("smdp: no server runs on ")
    assert "--server HOST:PORT" in done.stderr
