"""Lets atheris look for inputs by the code they reach; it is no requirement of this project and comes from PyPI."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

_PATIENCE_SECONDS = 10
_WATCHED = ("rsp", "crypto", "es2plus", "es9plus", "api", "carriers", "transport", "simulator")
"""Packages whose code is followed."""


def run_guided(name: str, runs: int, seed: int) -> None:
    """Search from the corpus of the target `name`. The process ends with the search, at a finding or after `runs`.

    Call it before anything of the project is imported: what is imported already is not followed.
    """
    import atheris

    with atheris.instrument_imports(include=list(_WATCHED)):
        from tests.fuzz.targets import TARGETS

    target = next(target for target in TARGETS if target.name == name)

    def one(data: bytes) -> None:
        with contextlib.suppress(*target.raises):
            target.call(data)

    folder = Path(tempfile.mkdtemp(prefix="smdp-guided-"))
    # The search writes what it learns beside what it starts from.
    for number, data in enumerate(target.corpus):
        (folder / f"{number:03d}").write_bytes(data)
    limits = f"-timeout={_PATIENCE_SECONDS}", "-max_len=16384", "-rss_limit_mb=2048", "-print_final_stats=1"
    atheris.Setup(["fuzz", f"-runs={runs}", f"-seed={seed}", *limits, str(folder)], one)
    atheris.Fuzz()
