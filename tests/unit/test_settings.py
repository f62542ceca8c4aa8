"""Settings: precedence, unknown keys, values that cannot be used, and secrets that stay hidden."""

from __future__ import annotations

import pickle
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from server.settings import Secret, Settings, SettingsError, describe, documented, environment, load


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_put_everything_below_the_data_folder() -> None:
    settings = load({})
    assert settings.data_dir == Path("var")
    assert (settings.pki_dir, settings.vault_file) == (Path("var/pki"), Path("var/vault.bin"))
    assert settings.metrics_dir == Path("var/metrics")
    assert not settings.database_url


def test_another_data_folder_moves_what_is_derived_from_it_unless_that_is_set_itself() -> None:
    settings = load({"SMDP_FLEX_DATA_DIR": "/srv/rsp", "SMDP_FLEX_PKI_DIR": "/etc/pki"})
    assert settings.vault_file == Path("/srv/rsp/vault.bin")
    assert settings.pki_dir == Path("/etc/pki")


def test_command_line_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = _write(tmp_path / "any.toml", "processes = 3\nes9_port = 1111\nes2_port = 2222\n")
    settings = load({"SMDP_FLEX_ES9_PORT": "1112", "SMDP_FLEX_PROCESSES": "4"}, file, processes=5, es2_host=None)
    assert (settings.processes, settings.es9_port, settings.es2_port) == (5, 1112, 2222)
    sources = {key: source for key, _, source in describe(settings)}
    assert sources["processes"] == "command line"
    assert sources["es9_port"] == "variable SMDP_FLEX_ES9_PORT"
    assert sources["es2_port"] == f"file {file}"
    assert sources["es2_host"] == "default"


def test_file_in_the_working_folder_is_read_unasked(tmp_path: Path) -> None:
    _write(tmp_path / "smdp-flex.toml", 'server_names = ["a.example", "B.example"]\n')
    assert load({}).server_names == ("a.example", "b.example")


def test_empty_config_variable_means_no_file(tmp_path: Path) -> None:
    _write(tmp_path / "smdp-flex.toml", "processes = 7\n")
    assert load({"SMDP_FLEX_CONFIG": ""}).processes == 2


def test_config_variable_names_the_file(tmp_path: Path) -> None:
    file = _write(tmp_path / "other.toml", "order_days = 5\n")
    assert load({"SMDP_FLEX_CONFIG": str(file)}).order_days == 5


def test_unknown_variable_is_refused_with_the_nearest_known_key() -> None:
    with pytest.raises(SettingsError, match=r"proceses \(variable SMDP_FLEX_PROCESES\): did you mean processes\?"):
        load({"SMDP_FLEX_PROCESES": "2"})


def test_unknown_key_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown setting zzz"):
        load({}, _write(tmp_path / "x.toml", "zzz = 1\n"))


def test_sources_cannot_be_set() -> None:
    with pytest.raises(SettingsError, match="unknown setting sources"):
        load({"SMDP_FLEX_SOURCES": "x"})


def test_variables_kubernetes_injects_for_a_service_named_like_the_product_are_ignored() -> None:
    injected = {
        "SMDP_FLEX_SERVICE_HOST": "10.0.0.1",
        "SMDP_FLEX_SERVICE_PORT": "8443",
        "SMDP_FLEX_SERVICE_PORT_ES9": "8443",
        "SMDP_FLEX_PORT": "tcp://10.0.0.1:8443",
        "SMDP_FLEX_PORT_8443_TCP": "tcp://10.0.0.1:8443",
        "SMDP_FLEX_PORT_8443_TCP_ADDR": "10.0.0.1",
    }
    assert load(injected) == load({})


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("PROCESSES", "two", "a whole number from 1 to 256"),
        ("PROCESSES", "0", "a whole number from 1 to 256"),
        ("PROCESSES", "1.5", "a whole number from 1 to 256"),
        ("ES9_PORT", "65536", "a whole number from 0 to 65535"),
        ("DRAIN_SECONDS", "nan", "a number from 0 to 3600"),
        ("REQUEST_SECONDS", "", r"a number from 0\.1 to 600"),
        ("PROTECTION", "none", "ppk or session"),
        ("DP_PROPRIETARY_DATA", "2.999.10:8102", "OID or OID:HEX"),
        ("DP_PROPRIETARY_DATA", "2.999.10:zz", "OID or OID:HEX"),
        ("DP_PROPRIETARY_DATA", "server", "OID or OID:HEX"),
        ("DP_PROPRIETARY_DATA", "2.999.10:" + "8100" * 61, "OID or OID:HEX.*at most 128 bytes"),
        ("SERVER_NAMES", "", "one or more DNS names"),
        ("SERVER_NAMES", "a.example,,b.example", "one or more DNS names"),
        ("SERVER_NAMES", "http://a.example", "one or more DNS names"),
        ("SMDS_HOSTS", "https://a.example", "DNS names separated by commas, each name or name=host:port"),
        ("SMDS_HOSTS", "a.example=", "DNS names separated by commas, each name or name=host:port"),
        ("SMDS_HOSTS", "a.example=ds:0x50", "DNS names separated by commas, each name or name=host:port"),
        ("SMDS_HOSTS", "a.example:8443", "DNS names separated by commas, each name or name=host:port"),
        ("SMDS_HOSTS", "a.example=ds:70000", "DNS names separated by commas, each name or name=host:port"),
        ("SMDS_ROOTS", "", "one or more DNS names"),
        ("SMDS_PORT", "0", "a whole number from 1 to 65535"),
        ("ES9_HOST", "127.0.0.1 ", "a host name or IP address"),
        ("DATA_DIR", "", "a path"),
    ],
)
def test_bad_value_says_what_is_expected(key: str, value: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=rf"{key.lower()} \(variable SMDP_FLEX_{key}\): expected {expected}"):
        load({f"SMDP_FLEX_{key}": value})


def test_sm_ds_are_listed_with_or_without_where_they_are_reached() -> None:
    given = "LPA.ds.gsma.com, smds.example.com=ds.internal:8449,,other.example.com=127.0.0.1"
    wanted = ("lpa.ds.gsma.com", "smds.example.com=ds.internal:8449", "other.example.com=127.0.0.1")
    assert load({"SMDP_FLEX_SMDS_HOSTS": given}).smds_hosts == wanted
    assert load({}).smds_hosts == ()
    assert load({"SMDP_FLEX_SMDS_HOSTS": ""}).smds_hosts == ()


def test_wrong_type_in_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"processes .* expected a whole number"):
        load({}, _write(tmp_path / "x.toml", "processes = true\n"))


def test_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml cannot be read"):
        load({}, tmp_path / "absent.toml")


def test_broken_file_is_an_error_that_does_not_repeat_its_lines(tmp_path: Path) -> None:
    file = _write(tmp_path / "x.toml", 'vault_passphrase = "hunter2\n')
    with pytest.raises(SettingsError, match="is not valid TOML at line 1") as caught:
        load({}, file)
    assert "hunter2" not in str(caught.value)


def test_secret_is_read_from_the_file_it_is_kept_in(tmp_path: Path) -> None:
    file = _write(tmp_path / "pass", "corréct horse\n")
    settings = load({"SMDP_FLEX_VAULT_PASSPHRASE_FILE": str(file)})
    assert settings.vault_passphrase.reveal() == "corréct horse"
    assert ("vault_passphrase", "***", f"file {file}") in describe(settings)


def test_secret_given_twice_is_refused(tmp_path: Path) -> None:
    file = _write(tmp_path / "pass", "a")
    with pytest.raises(SettingsError, match="vault_passphrase and vault_passphrase_file are both set"):
        load({"SMDP_FLEX_VAULT_PASSPHRASE_FILE": str(file)}, vault_passphrase="b")


def test_absent_secret_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"database_url_file: .* cannot be read"):
        load({}, database_url_file=tmp_path / "absent")


def test_secret_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pass").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load({}, vault_passphrase_file=tmp_path / "pass")


@pytest.mark.parametrize(
    "address", ["mysql://u:hunter2@h/d", "hunter2", "sqlite:///hunter2.db", " postgresql://hunter2/"]
)
def test_an_address_of_another_database_is_refused_without_showing_it(address: str, tmp_path: Path) -> None:
    in_file = _write(tmp_path / "url", address + "\n")
    for variables in ({"SMDP_FLEX_DATABASE_URL": address}, {"SMDP_FLEX_DATABASE_URL_FILE": str(in_file)}):
        with pytest.raises(SettingsError, match=r"database_url .*postgresql:// or postgres://") as refused:
            load(variables)
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("address", ["", "postgresql://u@h/d", "postgres://u@h/d"])
def test_an_address_of_postgresql_or_none_is_taken(address: str) -> None:
    assert load({"SMDP_FLEX_DATABASE_URL": address}).database_url == Secret(address)


def test_secrets_never_show_themselves() -> None:
    settings = load({"SMDP_FLEX_DATABASE_URL": "postgresql://u:hunter2@h/d", "SMDP_FLEX_VAULT_PASSPHRASE": "hunter3"})
    shown = f"{settings!r} {settings} {settings.database_url} {settings.vault_passphrase!r} {describe(settings)}"
    assert "hunter" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(settings.vault_passphrase)


def test_secrets_compare_by_content() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


def test_every_setting_is_documented_and_described() -> None:
    keys = [row.name for row in fields(Settings) if row.name != "sources"]
    assert [row.key for row in documented()] == keys
    assert [key for key, _, _ in describe(load({}))] == keys
    assert all(row.meaning and row.expects and row.variable.startswith("SMDP_FLEX_") for row in documented())


@given(
    processes=st.integers(1, 256),
    seconds=st.floats(0.1, 600),
    names=st.lists(st.sampled_from(["a.example", "b.example", "rsp-1.example.org"]), min_size=1, unique=True),
    passphrase=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
)
@hypothesis_settings(max_examples=50)
def test_environment_of_a_child_loads_to_the_same_settings(
    processes: int, seconds: float, names: list[str], passphrase: str
) -> None:
    settings = load(
        {}, processes=processes, request_seconds=seconds, server_names=tuple(names), vault_passphrase=passphrase
    )
    assert load(environment(settings, {"PATH": "/bin"})) == settings


def test_child_gets_changes_and_keeps_foreign_variables() -> None:
    child = environment(load({}), {"PATH": "/bin", "SMDP_FLEX_ES9_PORT": "1"}, es9_port=4711)
    assert child["PATH"] == "/bin"
    assert load(child).es9_port == 4711


def test_secret_from_a_file_travels_as_the_name_of_the_file(tmp_path: Path) -> None:
    settings = load({}, vault_passphrase_file=_write(tmp_path / "pass", "hunter2"))
    child = environment(settings, {})
    assert "hunter2" not in child.values()
    assert load(child) == settings


def test_replaced_secret_wins_over_the_file_it_came_from(tmp_path: Path) -> None:
    settings = load({}, database_url_file=_write(tmp_path / "url", "postgresql://old/"))
    child = environment(settings, {}, database_url=Secret("postgresql://new/"))
    assert load(child).database_url == Secret("postgresql://new/")


def test_child_does_not_read_a_settings_file_again(tmp_path: Path) -> None:
    child = environment(load({}), {})
    _write(tmp_path / "smdp-flex.toml", "unknown_to_the_parent = 9\n")
    assert load(child) == load({"SMDP_FLEX_CONFIG": ""})
