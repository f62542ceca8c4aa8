"""`smdp profile` as a person runs it: files into stock all or nothing, test profiles that go on, the list."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from store_samples import new_tenant
from typer.testing import CliRunner, Result

from hsm_mock import MockVault
from rsp.errors import Malformed, Refused, Unavailable
from rsp.identifiers import Iccid
from rsp.metadata import (
    IconType,
    NotificationConfiguration,
    NotificationEvent,
    OperatorId,
    PolicyRule,
    ProfileClass,
    ProfileMetadata,
    read_ready,
)
from rsp.saip_template import generate
from rsp.vendor_data import AccessRule, access_rules
from server.__main__ import application
from server.stock_import import Entry, FileImport
from server.stock_import import Result as Outcome
from server.test_profiles import continued, last_of, personalisations
from smdp.offer import Offer
from store.binaries import NoUsableDatabase
from store.pool import open_pool
from tests.pictures import png

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


def stored_metadata(database: str) -> dict[str, ProfileMetadata]:
    """What is in stock, by ICCID."""

    async def read() -> list[Any]:
        connection = await asyncpg.connect(database)
        try:
            return list(await connection.fetch("SELECT iccid, metadata, policy_rules FROM profiles ORDER BY iccid"))
        finally:
            await connection.close()

    rows = asyncio.run(read())
    found = {row["iccid"]: read_ready(row["metadata"]) for row in rows}
    assert {row["iccid"]: row["policy_rules"] for row in rows} == {
        iccid: sorted(rule.value for rule in metadata.policy_rules) for iccid, metadata in found.items()
    }
    return found


MEMBERS = (
    *("--provider", "Anbieter", "--name", "Zähler 1", "--class", "test", "--owner", "262-01", "--gid1", "0a"),
    *("--ppr", "ppr1", "--ppr", "ppr2", "--notification", "install,delete", "--notification", "all@stock.example.net"),
    *("--stored-data", "2.999.10:0401aa", "--other-data", "2.999.11:0401bb", "--other-data", "2.999.12:0401cc"),
    *("--access-rule", "00" * 32, "--access-rule", "11" * 20 + ":com.example", "--ecall", "no"),
    *("--fallback-allowed", "yes", "--icon", "icon.png"),
)


def test_every_member_of_the_metadata_has_its_option(database: str) -> None:
    one, first = package("one.der", 1)
    Path("icon.png").write_bytes(png())
    result = run("import", one, *OWN, *MEMBERS, "--json")
    assert result.exit_code == 0, result.output
    assert stored_metadata(database)[first] == ProfileMetadata(
        iccid=Iccid(first),
        service_provider_name="Anbieter",
        profile_name="Zähler 1",
        profile_class=ProfileClass.TEST,
        icon_type=IconType.PNG,
        icon=png(),
        notifications=(
            NotificationConfiguration(
                events=frozenset({NotificationEvent.INSTALL, NotificationEvent.DELETE}), address="smdp.example.com"
            ),
            NotificationConfiguration(events=frozenset(NotificationEvent), address="stock.example.net"),
        ),
        owner=OperatorId.of_network("262-01", gid1=b"\x0a"),
        policy_rules=frozenset({PolicyRule.PPR1_DISABLING_NOT_ALLOWED, PolicyRule.PPR2_DELETION_NOT_ALLOWED}),
        stored_data=bytes.fromhex("bf220c 300a 800388370a a1030401aa"),
        other_data=bytes.fromhex("bf2318 300a 800388370b a1030401bb 300a 800388370c a1030401cc"),
        ecall_indication=False,
        fallback_allowed=True,
        extra=access_rules([AccessRule.parse("00" * 32), AccessRule.parse("11" * 20 + ":com.example")]),
    )


def test_a_table_has_a_profile_a_row_and_says_where_one_differs(database: str, tmp_path: Path) -> None:
    (tmp_path / "stock").mkdir()
    (_, first), (_, second), (_, third) = (package(f"stock/{name}.der", number) for number, name in enumerate("abc"))
    ready = ProfileMetadata(
        iccid=Iccid(third), service_provider_name="Own", profile_name="Coded", extra=b"\xbf\x3f\x00"
    ).encode()
    (tmp_path / "stock" / "c.bf25").write_bytes(ready)
    (tmp_path / "stock" / "profiles.csv").write_text(
        "file,name,fallback-allowed,metadata,type\na.der,,,,\nb.der,Second,no,,other\nc.der,,,c.bf25,\n", "utf-8-sig"
    )
    result = run(
        "import", "--table", "stock/profiles.csv", *OWN, "--name", "All", "--fallback-allowed", "yes", "--json"
    )
    assert result.exit_code == 0, result.output
    found = stored_metadata(database)
    assert [(one.profile_name, one.fallback_allowed) for one in found.values()] == [
        ("All", True),
        ("Second", False),
        ("Coded", None),
    ]
    assert (list(found), found[third].encode()) == ([first, second, third], ready)
    rows = json.loads(run("list", "--json").stdout)
    assert {row["iccid"]: row["profileType"] for row in rows} == {
        first: "iot-basic",
        second: "other",
        third: "iot-basic",
    }


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--class", "tst"), "class is one of test, provisioning, operational"),
        (("--ppr", "ppr3"), "ppr is one of ppr1, ppr2, update-control"),
        (("--ppr", "ppr2"), "names its owner"),
        (("--gid1", "0a"), "state its network"),
        (("--owner", "262-01", "--gid1", "xx"), "gid1 is hexadecimal"),
        (("--owner", "26"), "not a network code"),
        (("--notification", "enable,reset"), "notification is one of install, enable, disable, delete"),
        (("--notification", "all@a b"), "notification is one of"),
        (("--notification", "all@host:1"), "without a port"),
        (("--stored-data", "2.999.10:0402aa"), "announces 2 bytes"),
        (("--access-rule", "00"), "not an access rule"),
        (("--fallback-allowed", "perhaps"), "fallback-allowed is one of yes, no"),
        (("--icon", "missing.png"), "missing.png cannot be read: No such file"),
        (("--icon", "one.der"), "at most 1024 bytes"),
        (("--name", "n" * 65), "at most 64 characters"),
        (("--metadata", "one.der"), "expected tag BF25"),
        (("--metadata", "one.der", "--name", "n"), "leave out name"),
    ],
)
def test_an_option_that_cannot_be_is_refused_with_what_to_write(options: tuple[str, ...], says: str) -> None:
    one, _ = package("one.der", 1)
    with pytest.raises(Malformed, match=says):
        _raised(run("import", one, *OWN, *options))
    assert stock() == []


def _raised(result: Result) -> None:
    """The refusal of a file, as its reason is printed."""
    assert result.exit_code == 1
    raise Malformed(result.stdout)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("name\nx\n", "needs each column once, 'file' among them"),
        ("file,file\na,b\n", "needs each column once"),
        ("file,colour\na,b\n", "column 'colour' is not known; columns are file, type, provider, name, class"),
        ("file,class\none.der,tst\n", "line 2: class is one of"),
        ("file,class\none.der\n", "line 2: every column needs its cell"),
        ("file,class\none.der,test,more\n", "line 2: every column needs its cell"),
        ("file,class\n,test\n", "line 2: every column needs its cell"),
        ('file,name\none.der,"open\n', "is not a CSV table in UTF-8"),
        ("file,metadata,name\none.der,one.der,n\n", "line 2: metadata holds everything"),
    ],
)
def test_a_table_that_cannot_be_is_refused_with_its_line(table: str, says: str) -> None:
    package("one.der", 1)
    Path("table.csv").write_text(table)
    with pytest.raises(Malformed, match=says):
        run("import", "--table", "table.csv", *OWN)
    assert stock() == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "name profile packages, or a --table"),
        (("one.der", "--table", "table.csv"), "one of both"),
        (("--table", "table.csv", "--metadata", "m.der"), "a column 'metadata'"),
        (("one.der", "--type", ""), "a profile needs its type"),
    ],
)
def test_an_import_needs_files_and_a_type(words: tuple[str, ...], says: str) -> None:
    Path("table.csv").write_text("file\none.der\n")
    result = run("import", *OWN, *words)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.replace("│", " ").split())


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
    results = await FileImport(fading, fading, 1, Outcome.REFUSED).run(
        [Entry(file=file, offer=OFFER) for file in files]
    )
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


def test_profiles_are_withdrawn_and_restored_by_hand_and_types_closed() -> None:
    iccids = json.loads(run("generate", "2", *OWN, "--json").stdout)["iccids"]
    owner = ("--operator", "operator-a")
    away = json.loads(run("withdraw", *iccids, *owner, "--json").stdout)
    assert away == [{"iccid": iccid, "state": "unavailable"} for iccid in iccids]
    listed = json.loads(run("list", "--state", "unavailable", "--json").stdout)
    assert sorted(row["iccid"] for row in listed) == sorted(iccids)
    assert run("restore", iccids[0], *owner).stdout == f"ICCID {iccids[0]} is available\n"
    (row,) = json.loads(run("list", "--state", "available", "--json").stdout)
    assert row["iccid"] == iccids[0]
    assert run("type", "iot-basic", *owner, "--closed").stdout == "iot-basic is closed for ordering\n"
    assert json.loads(run("type", "iot-basic", *owner, "--open", "--json").stdout)["open"] is True
    with pytest.raises(Malformed, match="no profile type"):
        run("type", "unheard-of", *owner, "--open")
    with pytest.raises(Refused, match="No profile has this ICCID"):
        run("withdraw", "8988211999999999999", *owner)
