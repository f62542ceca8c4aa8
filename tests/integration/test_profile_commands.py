"""`smdp profile` as a person runs it: files into stock all or nothing, test profiles that go on, the list."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from store_samples import new_tenant
from typer.testing import CliRunner, Result

from hsm_mock import MockVault
from rsp.errors import Malformed, Unavailable
from rsp.identifiers import Iccid
from rsp.saip_template import generate
from server.__main__ import application
from server.stock_import import FileImport
from server.stock_import import Result as Outcome
from server.test_profiles import continued, last_of, personalisations
from smdp.stocking import Offer
from store.binaries import NoUsableDatabase
from store.pool import open_pool

OWN = ("--operator", "operator-a", "--type", "iot-basic")
OFFER = Offer(profile_type="iot-basic", service_provider_name="p", profile_name="n")


@pytest.fixture(autouse=True)
def _settings(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMDP_FLEX_DATABASE_URL", database)
    monkeypatch.setenv("SMDP_FLEX_VAULT_FILE", str(tmp_path / "vault.bin"))
    monkeypatch.setenv("SMDP_FLEX_VAULT_PASSPHRASE", "correct horse")
    MockVault.create(tmp_path / "vault.bin", "correct horse", cost=10)

    async def register() -> None:
        pool = await open_pool(database, 1)
        await new_tenant(pool, "operator-a")
        await pool.close()

    asyncio.run(register())


def run(*words: str) -> Result:
    return CliRunner().invoke(application(), ["profile", *words], catch_exceptions=False)


def stock() -> list[str]:
    return sorted(row["iccid"] for row in json.loads(run("list", "--json").stdout))


def package(name: str, number: int) -> tuple[str, str]:
    """A file with a package, and its ICCID."""
    (subscriber,) = personalisations(f"8988110{number:011d}", 1, OFFER)
    Path(name).write_bytes(generate(subscriber))
    return name, str(subscriber.iccid)


def outcomes(result: Result) -> list[tuple[str, str, str]]:
    shown: dict[str, Any] = json.loads(result.stdout)
    assert shown["iccids"] == [one["iccid"] for one in shown["files"] if one["result"] == "stored"]
    return [(one["file"], one["iccid"], one["result"]) for one in shown["files"]]


def test_every_file_gets_its_result() -> None:
    (one, first), (two, second) = package("one.der", 1), package("two.der", 2)
    result = run("import", one, two, *OWN, "--json")
    assert result.exit_code == 0
    assert outcomes(result) == [(one, first, "stored"), (two, second, "stored")]
    assert stock() == [first, second]


def test_nothing_is_stored_when_one_file_cannot_be_read() -> None:
    (one, first), cut = package("one.der", 1), Path("cut.der")
    cut.write_bytes(Path(one).read_bytes()[:-20])
    result = run("import", one, "cut.der", "missing.der", *OWN, "--json")
    assert result.exit_code == 1
    assert outcomes(result) == [(one, first, "not stored"), ("cut.der", "", "refused"), ("missing.der", "", "refused")]
    assert json.loads(result.stdout)["files"][2]["reason"] == "No such file or directory"
    assert stock() == []


def test_a_profile_that_is_in_stock_is_named_with_its_file_and_nothing_is_stored() -> None:
    (one, first), (two, second) = package("one.der", 1), package("two.der", 2)
    run("import", one, *OWN)
    result = run("import", two, one, *OWN)
    assert result.exit_code == 1
    _, kept, named = result.stdout.splitlines()
    assert kept.split()[:3] == [two, second, "not"]
    assert named == f"{one}  {first}  refused     a profile with ICCID {first} is in stock already"
    assert stock() == [first]


def test_what_is_in_stock_is_passed_over_when_that_is_asked_for() -> None:
    (one, first), (two, second) = package("one.der", 1), package("two.der", 2)
    run("import", one, *OWN)
    result = run("import", two, one, *OWN, "--skip-existing", "--json")
    assert result.exit_code == 0
    assert outcomes(result) == [(two, second, "stored"), (one, first, "skipped")]
    assert stock() == [first, second]


def test_one_profile_in_two_files_is_refused() -> None:
    (one, first), (two, _) = package("one.der", 1), package("two.der", 1)
    result = run("import", one, two, *OWN, "--json")
    assert result.exit_code == 1
    assert outcomes(result) == [(one, first, "not stored"), (two, first, "refused")]
    assert "is in one.der, too" in json.loads(result.stdout)["files"][1]["reason"]
    assert stock() == []


class _Fading:
    """Judges everything well; the database goes away at the second import."""

    def __init__(self) -> None:
        self.imports = 0

    def judge(self, upp: bytes, offer: Offer) -> Any:
        class Judged:
            iccid = Iccid(upp.decode())

        return Judged

    async def import_profile(self, *_: object) -> Iccid:
        self.imports += 1
        if self.imports == 2:
            raise Unavailable("the database cannot be reached")
        return Iccid("8988110000000000001")

    async def known(self, _: object) -> frozenset[Iccid]:
        return frozenset()


async def test_a_database_that_goes_away_leaves_no_file_unsaid(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abc"]
    for number, file in enumerate(files):
        file.write_text(f"898811000000000000{number}")
    fading: Any = _Fading()
    results = await FileImport(fading, fading, 1, OFFER, Outcome.REFUSED).run(files)
    assert [one.result for one in results] == [Outcome.STORED, Outcome.UNKNOWN, Outcome.NOT_STORED]
    assert "--skip-existing" in results[1].reason
    assert [one.failed for one in results] == [False, True, True]


def test_generated_profiles_go_on_after_the_highest_of_the_test_range() -> None:
    assert "3 profiles are in stock" in run("generate", "3", *OWN).stdout
    run("generate", "1", *OWN, "--first-iccid", "898801000000000000")
    run("generate", "1", *OWN, "--first-iccid", "898800000000000007")
    made = json.loads(run("generate", "2", *OWN, "--json").stdout)["iccids"]
    assert [iccid[:18] for iccid in made] == ["898800000000000008", "898800000000000009"]
    assert all(Iccid(iccid).has_valid_check() for iccid in made)
    assert len(stock()) == 7


def test_a_number_that_is_taken_stops_everything_before_it_begins() -> None:
    run("generate", "1", *OWN, "--first-iccid", "898801000000000002")
    with pytest.raises(Malformed, match="8988010000000000022 to 8988010000000000022 are in stock already"):
        run("generate", "5", *OWN, "--first-iccid", "898801000000000000")
    assert len(stock()) == 1


def test_the_test_range_has_an_end() -> None:
    assert continued(None, 1) == "898800000000000000"
    assert continued(Iccid("8988009999999999983"), 1) == "898800999999999999"
    with pytest.raises(Malformed, match="room for 0 more"):
        continued(Iccid("8988009999999999991"), 1)


@pytest.mark.parametrize("first", ["", "1", "89880100000000000x", "8988010000000000000", "٨" * 18])
def test_a_first_iccid_is_18_digits(first: str) -> None:
    with pytest.raises(Malformed, match="18 digits"):
        last_of(first, 1)


def test_numbers_end_where_their_digits_end() -> None:
    assert last_of("999999999999999998", 2) == "999999999999999999"
    with pytest.raises(Malformed, match="give a lower"):
        last_of("999999999999999998", 3)


def test_the_list_has_a_header_line_utc_times_and_says_when_it_is_empty() -> None:
    assert run("list").stdout == "There are no such profiles.\n"
    run("generate", "1", *OWN)
    header, line = run("list").stdout.splitlines()
    assert header.split() == ["iccid", "operator", "profileType", "state", "orderState", "eid"]
    assert line.split() == ["8988000000000000008", "operator-a", "iot-basic", "available", "-", "-"]
    (row,) = json.loads(run("list", "--limit", "1", "--json").stdout)
    assert row["createdAt"].endswith("Z")
    assert "." not in row["createdAt"]


def test_looking_at_the_stock_makes_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMDP_FLEX_DATABASE_URL", "")
    with pytest.raises(NoUsableDatabase, match="smdp db upgrade makes one"):
        run("list")
    assert not (tmp_path / "var").exists()
