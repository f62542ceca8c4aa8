"""The shape of the project: folders, packaging, import rules and generated pages agree with each other."""

from __future__ import annotations

import configparser
import importlib
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CUSTOMERS_NAMES = ("pyproject.toml", "smdp", "es2plus", "es9plus", "crypto", "hsm_mock", "tests", "certs", "Dockerfile")
NOT_PACKAGES = {"build", "deploy", "dist", "docs", "tests", "tools", "var"}
LONGEST_FILE = 400
LONGER_FILES: dict[str, str] = {}
"""Files that may be longer, each with the reason."""


def _packages() -> set[str]:
    return {path.parent.name for path in ROOT.glob("*/__init__.py")} - NOT_PACKAGES


def _project_files(pattern: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode == 0:
        return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]
    return [path for path in ROOT.rglob(pattern) if not set(path.relative_to(ROOT).parts) & {".venv", "var", "build"}]


def _import_rules() -> configparser.ConfigParser:
    rules = configparser.ConfigParser()
    rules.read(ROOT / ".importlinter", encoding="utf-8")
    return rules


def _listed(text: str) -> set[str]:
    return {name.strip(" ()") for name in re.split(r"[\n|:]", text) if name.strip()}


def test_customers_names_stand_at_the_top_level() -> None:
    assert [name for name in CUSTOMERS_NAMES if not (ROOT / name).exists()] == []


def test_every_folder_with_code_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name for name in _packages() if not any(fnmatch(name, pattern) for pattern in patterns)} == set()
    assert {pattern.rstrip("*") for pattern in patterns} == _packages()


def test_no_folder_of_the_top_level_escapes_packaging_and_rules() -> None:
    with_code = {path.parent.name for path in ROOT.glob("[a-z]*/*.py")}
    assert with_code - NOT_PACKAGES == _packages()


def test_import_rules_know_every_folder() -> None:
    assert _listed(_import_rules()["importlinter"]["root_packages"]) == _packages()


def test_every_folder_has_a_place_in_the_layers() -> None:
    layers = _listed(_import_rules()["importlinter:contract:layers"]["layers"])
    assert layers == _packages() - {"simulator"}, "the simulator stands outside: a contract of its own rules it"


@pytest.mark.parametrize(
    ("contract", "apart"),
    [("asn1tools", set[str]()), ("sql", {"store", "smdp", "eim", "swap", "tenancy", "rsp", "crypto"})],
)
def test_rule_for_all_names_all(contract: str, apart: set[str]) -> None:
    assert _listed(_import_rules()[f"importlinter:contract:{contract}"]["source_modules"]) == _packages() - apart


def test_simulator_is_kept_from_every_other_folder() -> None:
    forbidden = _listed(_import_rules()["importlinter:contract:simulator"]["forbidden_modules"])
    assert forbidden == _packages() - {"simulator", "rsp"} | {"rsp.*"}


def test_makefile_checks_every_folder() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"^PACKAGES := (.*)$", text, re.MULTILINE)
    assert found is not None
    assert set(found[1].split()) == _packages()


def test_files_stay_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in _project_files("*.py")}
    long = {str(path.relative_to(ROOT)) for path, length in lengths.items() if length > LONGEST_FILE}
    assert long == set(LONGER_FILES), "split the file, or list it with its reason"


def test_test_modules_have_names_of_their_own() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name not in {"conftest.py", "__init__.py"}]
    assert sorted(names) == sorted(set(names))


def test_no_private_key_is_part_of_the_project() -> None:
    assert [path for pattern in ("*.pem", "*.key") for path in _project_files(pattern)] == []


def test_locked_requirements_name_no_registry_and_hash_everything() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index" not in text
        pinned = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
        assert pinned
        assert all("==" in line and line.endswith("\\") for line in pinned)


def test_locked_requirements_cover_the_declared_ones() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, declared in (
        ("requirements.txt", project["dependencies"]),
        ("requirements-dev.txt", project["dependencies"] + project["optional-dependencies"]["dev"]),
    ):
        locked = set(re.findall(r"^([a-z0-9._-]+)(?===)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))
        assert {re.split(r"[><=\[ ]", item)[0] for item in declared} <= locked, "run make lock"


def test_generated_pages_are_current() -> None:
    check = subprocess.run(
        [sys.executable, "tools/docs.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (check.returncode, check.stdout) == (0, "")


def test_every_expected_error_of_the_command_exists() -> None:
    from server.__main__ import EXPECTED

    missing = [(module, name) for module, name in EXPECTED if not hasattr(importlib.import_module(module), name)]
    assert missing == []


def test_only_the_settings_read_the_environment() -> None:
    reads = re.compile(r"os\.environ|os\.getenv|from os import .*environ")
    sources = [path for path in _project_files("*.py") if path.relative_to(ROOT).parts[0] not in {"tests", "tools"}]
    found = {str(path.relative_to(ROOT)) for path in sources if reads.search(path.read_text(encoding="utf-8"))}
    assert found == {"server/settings.py"}
