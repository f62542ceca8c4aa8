"""What the commands of the API print, and how they read filters."""

from __future__ import annotations

import json

import pytest

from server.api_client import ApiRefused, filters, given, show
from server.settings import SettingsError

ROW = {"id": 1, "name": "acme", "plans": {"account": "7", "ratePlan": ""}, "lead": None, "scopes": ["a", "b"]}


def test_a_page_is_a_table_and_says_that_there_is_more(capsys: pytest.CaptureFixture[str]) -> None:
    show({"items": [ROW, ROW | {"id": 10}], "next": 10}, ("id", "name", "plans", "lead", "scopes"), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "id  name  plans  lead  scopes",
        "1   acme  7      -     a,b",
        "10  acme  7      -     a,b",
        "more: --filter after=10",
    ]


def test_one_thing_is_a_table_of_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROW, ("id", "name"), as_json=False)
    assert capsys.readouterr().out == "id  name\n1   acme\n"


def test_json_is_the_answer_itself(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROW, ("id",), as_json=True)
    assert json.loads(capsys.readouterr().out) == ROW


def test_filters_are_members_and_values() -> None:
    assert filters(["name=a=b", "role=lead"]) == {"name": "a=b", "role": "lead"}
    with pytest.raises(SettingsError, match="member=value"):
        filters(["name"])


def test_what_is_not_given_is_left_out() -> None:
    assert given(a=1, b=None, c="") == {"a": 1, "c": ""}


def test_a_refusal_names_its_code() -> None:
    assert str(ApiRefused("conflict", "it is taken")) == "it is taken (conflict)"
