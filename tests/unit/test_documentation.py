"""What the documentation, the container image and the compose file name must exist in the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from rsp.status import Status
from server.__main__ import VERBS, application
from server.settings import CONFIG_VARIABLE, PREFIX, documented

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "certs" / "README.md", *(ROOT / "docs").rglob("*.md")]
)
DEPLOYMENT = [ROOT / "Dockerfile", ROOT / "compose.yaml"]
DEFAULTS = {row.key: row.default for row in documented()}
PORTS = {DEFAULTS[f"{listener}_port"] for listener in ("es9", "es2", "eim", "api", "ops")}


def _named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    lost = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert lost == []


@pytest.mark.parametrize("page", [*PAGES, *DEPLOYMENT], ids=_named)
def test_settings_that_are_named_exist(page: Path) -> None:
    known = {row.variable for row in documented()} | {CONFIG_VARIABLE}
    named = re.findall(rf"{PREFIX}[A-Z0-9_]+", page.read_text(encoding="utf-8"))
    assert set(named) - known == set()


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_commands_that_are_named_exist(page: Path) -> None:
    assert [words for words in _commands(page.read_text(encoding="utf-8")) if not _exists(words)] == []


def _commands(text: str) -> list[tuple[str, str]]:
    """Verb and next word of each `smdp ...` in code."""
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in re.split(r"\n|&& ", block)]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = [re.match(r"(?:\$ )?smdp ([a-z]+) ?(\S*)", piece.strip()) for piece in (*lines, *spans)]
    return [(match[1], match[2]) for match in found if match]


def _exists(words: tuple[str, str]) -> bool:
    verb, following = words
    command = get_command(application())
    assert isinstance(command, typer.core.TyperGroup)
    found = command.commands.get(verb)
    if isinstance(found, typer.core.TyperGroup) and re.fullmatch("[a-z]+", following):
        return following in found.commands
    return found is not None


def test_commands_in_a_page_are_seen() -> None:
    text = "```sh\nexport A=b\nsmdp pki init && smdp serve --check\n```\n and `smdp order create --operator a`"
    assert _commands(text) == [("pki", "init"), ("serve", "--check"), ("order", "create")]
    assert not _exists(("order", "vanish"))
    assert not _exists(("vanish", ""))


def test_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [verb for verb in VERBS if f"| `smdp {verb}` |" not in text] == []


@pytest.mark.parametrize("name", ["es2plus.md", "es9plus.md"])
def test_status_codes_that_are_named_exist(name: str) -> None:
    known = {f"{status.subject}/{status.reason}" for status in Status}
    named = re.findall(r"\b\d(?:\.\d+)*/\d\.\d+\b", (ROOT / "docs" / name).read_text(encoding="utf-8"))
    assert len(named) > 10
    assert set(named) - known == set()


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    sources = [
        path.read_text(encoding="utf-8") for part in ("server", "transport") for path in (ROOT / part).glob("*.py")
    ]
    made = {name for text in sources for name in re.findall(r"\"(smdp_[a-z_]+)\",\s*\"[A-Z]", text)}
    for page in ("README.md", "docs/operations.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        named = {re.sub("_(total|bucket)$", "", name) for name in re.findall(r"\bsmdp_[a-z_]+\b", text)}
        assert named == made, page


def test_image_exposes_the_default_ports() -> None:
    exposed = re.search(r"^EXPOSE (.*)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert exposed is not None
    assert set(exposed[1].split()) == PORTS


def test_compose_file_publishes_the_interfaces_but_not_the_operations_listener() -> None:
    published = re.findall(r'^ *- "(\d+):\1"', (ROOT / "compose.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(published) == {DEFAULTS["es9_port"], DEFAULTS["es2_port"], DEFAULTS["eim_port"], DEFAULTS["api_port"]}


def test_health_and_metrics_are_asked_where_they_are() -> None:
    port = DEFAULTS["ops_port"]
    assert f"http://127.0.0.1:{port}/healthz" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f'"server:{port}"' in (ROOT / "deploy" / "prometheus.yml").read_text(encoding="utf-8")


def test_container_has_more_time_to_stop_than_requests_to_end() -> None:
    grace = re.search(r"stop_grace_period: (\d+)s", (ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert grace is not None
    assert float(grace[1]) > float(DEFAULTS["drain_seconds"])


def test_every_package_reaches_the_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"build", "tests"}
    assert {name for name in packages if f"!{name}" not in ignored} == set()
