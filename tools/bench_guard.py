"""What the ratios of `make bench` may be: kept for each kind of Python, since the interpreter is much of the server."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

FILE = Path(__file__).with_name("bench_guard.json")

Ratios = dict[str, dict[str, float]]
"""By mode and name."""


def python() -> str:
    """Which kind runs this: the one of a distribution, built with profile-guided optimisation, or any other.

    How a Python was built cannot be asked of it.
    """
    return "distribution" if sys.base_prefix == "/usr" else "other"


def kept() -> Ratios:
    """The guard for this kind of Python; empty when nothing is kept for it."""
    return _all().get(python(), {})


def keep(ratios: Ratios) -> None:
    """Replace the modes of `ratios` in the guard of this kind of Python."""
    everything = _all()
    rounded = {mode: {name: round(ratio, 2) for name, ratio in named.items()} for mode, named in ratios.items()}
    everything[python()] = everything.get(python(), {}) | rounded
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(everything)) + b"\n")


def _all() -> dict[str, Ratios]:
    return msgspec.json.decode(FILE.read_bytes(), type=dict[str, Ratios]) if FILE.exists() else {}
