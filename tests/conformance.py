"""Marks tests that prove a rule of a standard; `docs/conformance.md` is made of these marks."""

from __future__ import annotations

from typing import Literal

import pytest

from rsp.status import Status

Binding = Literal["json", "asn1", ""]


def conforms(
    section: str, rule: str, *codes: Status, function: str = "", binding: Binding = "", where: str = ""
) -> pytest.MarkDecorator:
    """A test that fails when the server breaks `rule` of `section` ("SGP.22 5.6.3").

    `rule` is what holds, in a few words. `codes` are the statuses the test provokes, `function` and `binding` through
    which function and in which form. `where` is the file of the server that keeps the rule. Works on functions and in
    `pytest.param(..., marks=...)`.
    """
    return pytest.mark.conforms(
        section=section, rule=rule, codes=codes, function=function, binding=binding, where=where
    )
