"""Broken requests to every interface of a server: no 5xx but 503, an answer to each, and a worker that goes on."""

from __future__ import annotations

import pytest

from tests.fuzz.over_http import NAMES, fuzz_interface
from tests.http_stage import Edge


@pytest.mark.parametrize("interface", NAMES)
async def test_broken_requests_are_answered_without_a_fault(at_edge: Edge, interface: str) -> None:
    report = await fuzz_interface(at_edge, interface, seed=20261128, count=60)
    assert [finding.what for finding in report.findings] == []
    assert report.inputs == 60
    assert report.refused > 10
