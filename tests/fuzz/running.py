"""Runs targets: makes inputs, watches time and memory, keeps what was found."""

from __future__ import annotations

import random
import resource
import signal
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from types import FrameType

from tests.fuzz.mutation import Mutator
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

PATIENCE = 10.0
"""Seconds after which an input counts as one that hangs: thousands of times what any takes."""

ROOM = 256 * 1024 * 1024
"""Bytes by which the process may grow while a target runs."""

_LOOK = 2000
_KEPT = 20


class Hang(BaseException):
    """An input took longer than PATIENCE; no reader may catch it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that did what it must not: how it can be made again, what it is, and what happened."""

    target: str
    number: int
    data: bytes
    what: str


@dataclass(slots=True)
class Report:
    """What a run of one target came to. `refused` counts inputs that ended in a declared error."""

    target: str
    inputs: int = 0
    refused: int = 0
    seconds: float = 0.0
    grown: int = 0
    findings: list[Finding] = field(default_factory=list)


@contextmanager
def watched() -> Iterator[Callable[[], object]]:
    """Raises Hang in the block unless the function it yields is called at least every PATIENCE seconds."""

    def ring(_: int, __: FrameType | None) -> None:
        raise Hang(f"no end after {PATIENCE:g} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def resident() -> int:
    """Bytes of memory this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def inputs(target: Target, seed: int, count: int) -> Iterator[bytes]:
    """Right messages first, then broken ones; the same for the same seed."""
    corpus = target.corpus
    yield from corpus[:count]
    donors = [data for other in TARGETS if other.form == target.form for data in other.corpus]
    mutator = Mutator(random.Random(f"{seed}/{target.name}"), donors)
    make = {"tlv": mutator.tlv, "json": mutator.json, "text": mutator.text, "octets": mutator.octets}[target.form]
    recent = list(corpus)
    for _ in range(count - len(corpus)):
        # Some faults are made of faulty messages, so that they add up.
        made = make(mutator.random.choice(recent))
        if len(made) > 8 and mutator.random.random() < 0.05:
            recent = [*corpus, *recent[len(corpus) :][-15:], made]
        yield made


def run(target: Target, seed: int, count: int, progress: Callable[[int], None] = lambda _: None) -> Report:
    """Try `count` inputs. Findings are kept, at most 20; the run goes on after each."""
    report = Report(target=target.name)
    started, before = perf_counter(), resident()
    with watched() as alive, warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, data in enumerate(inputs(target, seed, count)):
            alive()
            report.inputs += 1
            what = try_one(target, data, report)
            if what and len(report.findings) < _KEPT:
                report.findings.append(Finding(target.name, number, data, what))
            if number % _LOOK == 0:
                progress(min(_LOOK, count - number))
                report.grown = resident() - before
                if report.grown > ROOM:
                    grown = f"the process has grown by {report.grown} bytes"
                    report.findings.append(Finding(target.name, number, data, grown))
                    break
    report.seconds = perf_counter() - started
    return report


def try_one(target: Target, data: bytes, report: Report | None = None) -> str:
    """What went wrong with this input; empty when nothing did."""
    try:
        target.call(data)
    except target.raises:
        if report:
            report.refused += 1
    except Hang as hang:
        return str(hang)
    except Exception as error:  # noqa: BLE001 -- whatever is not declared is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:200]} at {last.filename}:{last.lineno} {last.name}"
    return ""


def digest(data: bytes) -> str:
    """A short name for an input."""
    return f"{zlib.crc32(data):08x}"
