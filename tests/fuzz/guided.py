"""Lets atheris look for inputs by the code they reach; it is no requirement of this project and comes from PyPI."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from tests.fuzz.running import PATIENCE
from tests.fuzz.target import Target


def run_guided(target: Target, runs: int, seed: int) -> None:
    """Search from the corpus of `target`. The process ends with the search, at the first finding or after `runs`."""
    import atheris

    def one(data: bytes) -> None:
        with contextlib.suppress(*target.raises):
            target.call(data)

    atheris.instrument_all()
    arguments = (f"-runs={runs}", f"-seed={seed}", f"-timeout={PATIENCE:.0f}", "-max_len=16384", "-rss_limit_mb=2048")
    atheris.Setup(["fuzz", *arguments, _copied(target)], one)
    atheris.Fuzz()


def _copied(target: Target) -> str:
    """The corpus in a folder of its own: the search writes what it learns beside it."""
    folder = Path(tempfile.mkdtemp(prefix="smdp-guided-"))
    for number, data in enumerate(target.corpus):
        (folder / f"{number:03d}").write_bytes(data)
    return str(folder)
