"""`python tools/fuzz.py`: many broken messages for every reader, and for a whole server; see --help."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from tests.fuzz.running import Finding, Report

_DESCRIPTION = """Feeds broken messages to every reader of bytes from outside, in this process, and over TLS to every
interface of a server with PostgreSQL. A reader may return or raise its declared error; a server may answer anything
below 500, or 503. Anything else is a finding, as is an input that takes longer than ten seconds, and a process that
grows by more than 256 MB. Findings are written to --output, with the input; the exit status is then 1."""
_EXAMPLES = """examples:
  python tools/fuzz.py --inputs 100000 --seed 7
  python tools/fuzz.py --target metadata --target es9_json --inputs 20000
  python tools/fuzz.py --list
  pip install atheris && python tools/fuzz.py --guided --target package --inputs 1000000"""


def main() -> None:
    """Parse arguments, run, report."""
    arguments = _arguments()
    console = Console(stderr=True)
    if arguments.guided:
        from tests.fuzz.guided import run_guided

        run_guided((arguments.target or ["tlv"])[0], arguments.inputs, arguments.seed)
        return
    from tests.fuzz.over_http import NAMES as HTTP_NAMES
    from tests.fuzz.targets import TARGETS

    names = [target.name for target in TARGETS] + list(HTTP_NAMES)
    if arguments.list:
        print("\n".join(names))
        return
    chosen = arguments.target or names
    if unknown := [name for name in chosen if name not in names]:
        console.print(f"there is no target {unknown[0]}: --list shows them")
        sys.exit(2)
    # What a server logs about broken requests is not what is looked for here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    reports = _run(chosen, arguments, console)
    _write(reports, arguments.output)
    if arguments.json:
        print(json.dumps({"seed": arguments.seed, "targets": [_shown(report) for report in reports]}, indent=1))
    else:
        _print(reports)
    sys.exit(1 if any(report.findings for report in reports) else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=_DESCRIPTION, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=50_000, help="inputs of all targets together (50000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same inputs (1)")
    parser.add_argument("--target", action="append", help="only this one; may be repeated")
    parser.add_argument("--list", action="store_true", help="print the targets and stop")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--output", type=Path, default=Path("var/fuzz"), help="folder of findings (var/fuzz)")
    parser.add_argument(
        "--guided", action="store_true", help="let atheris search by coverage, one target; it stops at a finding"
    )
    return parser.parse_args()


def _run(chosen: list[str], arguments: argparse.Namespace, console: Console) -> list[Report]:
    """A server takes a twentieth of what a reader takes: its inputs cost that much more."""
    from tests.fuzz.over_http import NAMES as HTTP_NAMES
    from tests.fuzz.over_http import run_all as run_over_http
    from tests.fuzz.running import run
    from tests.fuzz.targets import TARGETS

    weights = {name: 1 if name in HTTP_NAMES else 20 for name in chosen}
    shares = {name: -(-arguments.inputs * weight // sum(weights.values())) for name, weight in weights.items()}
    columns = TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    reports = []
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=sum(shares.values()))
        for target in (target for target in TARGETS if target.name in shares):
            progress.update(task, description=target.name)
            reports.append(
                run(target, arguments.seed, shares[target.name], lambda count: progress.advance(task, count))
            )
        if over_http := {name: share for name, share in shares.items() if name in HTTP_NAMES}:
            progress.update(task, description="server")
            made = run_over_http(over_http, arguments.seed, lambda count: progress.advance(task, count))
            reports += asyncio.run(made)
    return reports


def _write(reports: list[Report], folder: Path) -> None:
    from tests.fuzz.running import digest

    for finding in (finding for report in reports for finding in report.findings):
        place = folder / finding.target
        place.mkdir(parents=True, exist_ok=True)
        (place / digest(finding.data)).write_bytes(finding.data)
        (place / f"{digest(finding.data)}.txt").write_text(finding.what + "\n", encoding="utf-8")


def _shown(report: Report) -> dict[str, object]:
    return asdict(report) | {"findings": [_line(finding) for finding in report.findings]}


def _line(finding: Finding) -> dict[str, object]:
    from tests.fuzz.running import digest

    return {"number": finding.number, "file": f"{finding.target}/{digest(finding.data)}", "what": finding.what}


def _print(reports: list[Report]) -> None:
    table = Table("target", "inputs", "refused", "inputs/s", "grown MB", "findings")
    for report in reports:
        per_second = report.inputs / report.seconds if report.seconds else 0
        row = (report.inputs, report.refused, f"{per_second:.0f}", f"{report.grown / 1e6:.0f}", len(report.findings))
        table.add_row(report.target, *map(str, row))
    console = Console()
    console.print(table)
    for finding in (finding for report in reports for finding in report.findings):
        console.print(f"{_line(finding)['file']}: {finding.what}", markup=False)


if __name__ == "__main__":
    main()
