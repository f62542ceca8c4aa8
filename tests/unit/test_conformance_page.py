"""The page of conformance: marks become lines, codes without a proof are named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rsp.status import ES9_INTEGERS, Status
from tools.conformance import Proof, page, unproven

ROOT = Path(__file__).resolve().parents[2]
AUTHENTICATE = "authenticateClient"


def proof(status: Status, *, function: str = AUTHENTICATE, binding: str = "json") -> Proof:
    return Proof(
        section="SGP.22 5.6.3",
        rule="a foreign EID is refused",
        function=function,
        codes=(status.name,),
        binding=binding,
        where="smdp/eligibility.py",
        test="tests/http/test_x.py::test_y",
    )


def everything() -> list[Proof]:
    both = [
        proof(status, function=function, binding=binding)
        for function, statuses in ES9_INTEGERS.items()
        for status in statuses
        for binding in ("json", "asn1")
    ]
    return both + [proof(status, function="") for status in Status]


def test_a_line_tells_the_code_as_the_binding_sends_it() -> None:
    text = page([proof(Status.EID_MISMATCH), proof(Status.EID_MISMATCH, binding="asn1")])
    assert "## SGP.22 5.6.3" in text
    kept = "`smdp/eligibility.py` | `http/test_x.py` test_y |"
    assert f"| a foreign EID is refused | 8.1.1/3.8 | authenticateClient (json) | {kept}" in text
    assert f"| a foreign EID is refused | 8.1.1/3.8 = 7 | authenticateClient (asn1) | {kept}" in text


def test_a_code_proven_in_one_binding_only_is_missing_in_the_other() -> None:
    known = [one for one in everything() if (one.codes, one.binding) != (("EID_MISMATCH",), "asn1")]
    assert unproven(everything()) == []
    assert unproven(known) == ["authenticateClient, asn1: EID_MISMATCH (8.1.1/3.8)"]


def test_a_code_nobody_provokes_is_named() -> None:
    known = [one for one in everything() if one.codes != ("ICCID_UNKNOWN",)]
    assert unproven(known) == ["ICCID_UNKNOWN (8.2.1/3.9)"]


@pytest.mark.parametrize("option", ["--unproven", "--check"])
def test_every_code_is_proven_and_the_page_says_how(option: str) -> None:
    said = subprocess.run(
        [sys.executable, "tools/conformance.py", option], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout) == (0, ""), said.stdout + said.stderr
