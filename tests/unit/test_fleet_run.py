"""A fleet against a server that verifies what its cards sign; its report; a load run from files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fleet_server import CheckingServer, make_eum
from hypothesis import given, settings
from hypothesis import strategies as st
from lpa_pki import Pki, make_pki
from lpa_script import HOST, Reply, Script

from rsp.identifiers import ActivationCode
from simulator.exchange import Habits, trust
from simulator.fleet import Fleet, FleetConnections, FleetOptions, FleetReport, percentile, server_cpu
from simulator.issuer import EumIssuer
from simulator.load import LoadPlan, read_certificate, read_key, read_orders, run_load

EUM = make_eum()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"), HOST)


@pytest.fixture
async def script(pki: Pki) -> AsyncIterator[Script]:
    server = Script()
    await server.start(pki.server())
    yield server
    await server.stop()


@pytest.fixture
def checking(script: Script) -> CheckingServer:
    script.judge = checking = CheckingServer(EUM)
    return checking


async def no_pause(seconds: float) -> None:
    return None


def fleet(script: Script, pki: Pki, count: int, **options: Any) -> Fleet:
    codes = [ActivationCode.parse(f"1${HOST}$ORDER-{number}") for number in range(count)]
    options.setdefault("habits", Habits(pause=no_pause))
    return Fleet(
        EumIssuer(EUM.certificate, EUM.key, (EUM.ci_certificate,)),
        codes,
        tls=trust(pki.ca_file),
        addresses={HOST: ("127.0.0.1", script.port)},
        options=FleetOptions(confirmation_code="1234", **options),
    )


async def test_every_device_downloads_its_own_order(script: Script, pki: Pki, checking: CheckingServer) -> None:
    done: list[tuple[int, int]] = []
    report = await fleet(script, pki, 12, concurrency=4).run(lambda *step: done.append(step))
    assert (report.devices, report.installed, report.refused, report.errored) == (12, 12, 0, 0), report.failures
    assert sorted(checking.matching_ids) == sorted(f"ORDER-{number}" for number in range(12))
    assert len(set(checking.eids)) == 12
    assert len(checking.results) == 12
    assert done == [(number, 12) for number in range(1, 13)]
    assert {line.function: line.count for line in report.latencies} == {
        "initiateAuthentication": 12,
        "authenticateClient": 12,
        "getBoundProfilePackage": 12,
        "handleNotification": 12,
        "download": 12,
    }


@pytest.mark.parametrize(
    ("connections", "count"),
    [(FleetConnections.PER_CALL, 24), (FleetConnections.PER_DEVICE, 6), (FleetConnections.KEPT, 2)],
)
async def test_connections_live_as_long_as_told(
    script: Script, pki: Pki, checking: CheckingServer, connections: FleetConnections, count: int
) -> None:
    report = await fleet(script, pki, 6, concurrency=2, connections=connections).run()
    assert report.installed == 6
    assert len({seen.connection for seen in script.seen}) <= count
    assert len({seen.connection for seen in script.seen}) >= count - 1


async def test_failures_are_counted_by_code(script: Script, pki: Pki, checking: CheckingServer) -> None:
    checking.refuse = {"ORDER-1", "ORDER-2"}
    script.prepare("handleNotification", Reply(status=500))
    report = await fleet(script, pki, 4, concurrency=1).run()
    assert (report.installed, report.refused, report.undelivered) == (2, 2, 1)
    counted = {each.code: each.count for each in report.failures}
    assert counted == {"authenticateClient 8.2.6/3.8": 2, "handleNotification": 1}
    assert report.failures[0].example == "No order has this MatchingID."


async def test_strict_cards_refuse_a_server_that_cheap_ones_trust(
    script: Script, pki: Pki, checking: CheckingServer
) -> None:
    report = await fleet(script, pki, 4, concurrency=1, verify_every=2).run()
    assert (report.installed, report.verified, report.refused) == (2, 0, 2)
    assert [each.code for each in report.failures] == ["authenticateClient 8.1/6.1"]


async def test_a_brainpool_fleet_signs_on_its_curve(script: Script, pki: Pki) -> None:
    eum = make_eum(ec.BrainpoolP256R1())
    script.judge = CheckingServer(eum)
    brainpool = Fleet(
        EumIssuer(eum.certificate, eum.key),
        [ActivationCode.parse(f"1${HOST}$X")],
        tls=trust(pki.ca_file),
        addresses={HOST: ("127.0.0.1", script.port)},
        options=FleetOptions(confirmation_code="1"),
    )
    assert (await brainpool.run()).installed == 1


async def test_a_fleet_without_orders_reports_nothing(script: Script, pki: Pki) -> None:
    report = await fleet(script, pki, 0).run()
    assert (report.devices, report.latencies, report.downloads_per_second) == (0, (), 0.0)


def test_the_report_is_json() -> None:
    empty = FleetReport(
        devices=0,
        installed=0,
        verified=0,
        refused=0,
        errored=0,
        undelivered=0,
        wall_seconds=1.5,
        downloads_per_second=0.0,
        latencies=(),
        failures=(),
    )
    assert json.loads(empty.to_json())["wall_seconds"] == 1.5


@settings(max_examples=50)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=40), st.floats(0, 100))
def test_a_percentile_is_a_value_with_enough_values_below(values: list[float], share: float) -> None:
    found = percentile(sorted(values), share)
    assert found in values
    assert sum(value <= found for value in values) >= share / 100 * len(values)


def test_the_median_of_known_values() -> None:
    assert [percentile([1.0, 2.0, 3.0, 4.0], share) for share in (50, 75, 76, 99)] == [2.0, 3.0, 4.0, 4.0]


def test_processor_time_of_this_process_is_read_and_grows() -> None:
    times = os.times()
    assert 0 < server_cpu([os.getpid()]) <= times.user + times.system + 0.5
    assert server_cpu([]) == 0


@pytest.fixture
def ended() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_process_that_ended_is_named(ended: int) -> None:
    with pytest.raises(ProcessLookupError, match=str(ended)):
        server_cpu([ended])


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"verify_every": -1}])
def test_options_without_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        FleetOptions(**wrong)  # type: ignore[arg-type] # every value here is a number


def plan(folder: Path, script: Script, pki: Pki, orders: str, **options: Any) -> LoadPlan:
    (folder / "orders.txt").write_text(orders)
    (folder / "eum.der").write_bytes(EUM.certificate)
    (folder / "ci.der").write_bytes(EUM.ci_certificate)
    pem = EUM.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "eum.key").write_bytes(pem)
    return LoadPlan(
        orders=folder / "orders.txt",
        eum_certificate=folder / "eum.der",
        eum_key=folder / "eum.key",
        ci_certificates=(folder / "ci.der",),
        ca=pki.ca_file,
        host="127.0.0.1",
        port=script.port,
        confirmation_code="1",
        verify_every=0,
        **options,
    )


class OwnProcess:
    """A meter of this process, or of one that is not there."""

    def __init__(self, pid: int, ends: bool = False) -> None:
        self.pid = pid
        self.ends = ends
        self.settlings = 0

    def read(self) -> dict[str, float]:
        if self.ends and self.settlings:
            raise ProcessLookupError
        return {"all": server_cpu([self.pid])}

    async def settled(self) -> None:
        self.settlings += 1


async def test_a_load_run_works_from_files(script: Script, pki: Pki, checking: CheckingServer, tmp_path: Path) -> None:
    orders = f"# two orders\n1${HOST}$A\n\nLPA:1${HOST}$B\n"
    steps: list[int] = []
    meter = OwnProcess(os.getpid())
    result = await run_load(plan(tmp_path, script, pki, orders), lambda done, total: steps.append(done), meter)
    assert result.report.installed == 2, result.report.failures
    assert steps == [1, 2]
    assert meter.settlings == 1
    assert result.server_cpu_seconds is not None
    assert result.server_cpu_ms_per_download == {"all": result.server_cpu_seconds["all"] * 500}
    assert json.loads(result.to_json())["report"]["devices"] == 2
    again = await run_load(plan(tmp_path, script, pki, orders), lambda done, total: None)
    assert again.server_cpu_seconds is None
    assert len(set(checking.eids)) == 4


async def test_a_server_process_that_is_not_there_stops_the_run_before_it_starts(
    script: Script, pki: Pki, tmp_path: Path, ended: int
) -> None:
    with pytest.raises(ProcessLookupError):
        await run_load(plan(tmp_path, script, pki, f"1${HOST}$A"), lambda done, total: None, OwnProcess(ended))
    assert script.seen == []


async def test_a_server_process_that_ends_on_the_way_leaves_the_figure_open(
    script: Script, pki: Pki, checking: CheckingServer, tmp_path: Path
) -> None:
    meter = OwnProcess(os.getpid(), ends=True)
    result = await run_load(plan(tmp_path, script, pki, f"1${HOST}$A"), lambda done, total: None, meter)
    assert result.report.installed == 1
    assert result.server_cpu_seconds is None
    assert result.server_cpu_ms_per_download is None


@pytest.mark.parametrize(("text", "complaint"), [("", "no activation code"), ("1$a$B\nnonsense", "line 2")])
def test_a_file_of_orders_that_cannot_be_read_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "orders.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        read_orders(path)


def test_files_that_are_no_certificate_or_key_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="x is not an X"):
        read_certificate(path)
    with pytest.raises(ValueError, match="not a private key"):
        read_key(path)


@pytest.mark.parametrize("port", [0, 65536])
def test_a_port_outside_tcp_is_refused(port: int) -> None:
    empty = Path()
    with pytest.raises(ValueError, match="TCP port"):
        LoadPlan(orders=empty, eum_certificate=empty, eum_key=empty, ci_certificates=(), ca=empty, host="x", port=port)


def test_devices_of_a_paced_fleet_begin_one_after_the_other(pki: Pki) -> None:
    codes = [ActivationCode.parse(f"1${HOST}$ORDER-{number}") for number in range(3)]
    issuer = EumIssuer(EUM.certificate, EUM.key, (EUM.ci_certificate,))
    for per_second, moments in ((4.0, [10.0, 10.25, 10.5]), (0.0, [10.0, 10.0, 10.0])):
        paced = Fleet(issuer, codes, tls=trust(pki.ca_file), addresses={}, options=FleetOptions(per_second=per_second))
        paced.prepare()
        assert [moment for moment, _ in paced._due(10.0)] == moments
