"""A short run of the fuzzer, the same each time: every reader of bytes from outside raises its declared errors only."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp.errors import Malformed
from tests.fuzz import running
from tests.fuzz.running import inputs, run, try_one
from tests.fuzz.target import CORPUS, Target
from tests.fuzz.targets import TARGETS

BY_NAME = {target.name: target for target in TARGETS}
ONE_FORM = [target for target in TARGETS if target.name not in ("ipa", "card_package", "text", "card_image")]
"""Targets whose right messages are right for the whole of it."""


@pytest.mark.parametrize("target", TARGETS, ids=list(BY_NAME))
def test_broken_messages_are_refused_as_declared(target: Target) -> None:
    report = run(target, seed=20261128, count=200)
    assert [finding.what for finding in report.findings] == []
    assert report.inputs == 200


@pytest.mark.parametrize("target", TARGETS, ids=list(BY_NAME))
@settings(max_examples=15)
@given(st.binary(max_size=80))
def test_any_bytes_are_refused_as_declared(target: Target, data: bytes) -> None:
    assert try_one(target, data) == ""


@pytest.mark.parametrize("target", ONE_FORM, ids=[target.name for target in ONE_FORM])
def test_right_messages_of_the_corpus_are_right(target: Target) -> None:
    target.call((CORPUS / target.name / "right-00").read_bytes())


def test_the_same_seed_makes_the_same_inputs_and_another_makes_others() -> None:
    for target in (BY_NAME["es9_json"], BY_NAME["esipa"], BY_NAME["text"], BY_NAME["apdu"]):
        one, same, other = (list(inputs(target, seed, 60)) for seed in (1, 1, 2))
        assert one == same
        assert one != other


def test_most_inputs_differ_and_some_are_still_right() -> None:
    """A fuzzer that breaks everything at the first byte would find nothing."""
    report = run(BY_NAME["authenticate_server"], seed=1, count=400)
    assert 4 < report.inputs - report.refused < 200
    assert len(set(inputs(BY_NAME["authenticate_server"], 1, 400))) > 350


def test_an_error_that_is_not_declared_is_a_finding() -> None:
    def broken(data: bytes) -> object:
        if len(data) > 10:
            raise KeyError("x")
        raise Malformed("declared")

    report = run(Target("tlv", "tlv", broken), seed=1, count=50)
    assert report.findings
    assert report.findings[0].what.startswith("KeyError: 'x' at ")
    assert report.findings[0].data == next(data for data in inputs(BY_NAME["tlv"], 1, 50) if len(data) > 10)


def test_an_input_without_end_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PATIENCE", 0.05)

    def endless(_: bytes) -> None:
        with contextlib.suppress(Exception):
            for _number in itertools.count():
                pass

    report = run(Target("tlv", "tlv", endless), seed=1, count=2)
    assert [finding.what for finding in report.findings] == ["no end after 0.05 seconds"] * 2


def test_a_process_that_grows_without_bound_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = itertools.count(0, 200 * 1024 * 1024)
    monkeypatch.setattr(running, "resident", lambda: next(sizes))
    monkeypatch.setattr(running, "_LOOK", 1)
    report = run(Target("tlv", "tlv", lambda data: data), seed=1, count=10)
    assert report.inputs == 2
    assert "has grown by" in report.findings[0].what
