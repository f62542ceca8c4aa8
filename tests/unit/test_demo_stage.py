"""The stage of the demonstration is never pulled away under a server that runs on it."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from server import running
from server.demo import stage
from server.running import Running


def test_a_folder_on_which_a_server_runs_is_left_alone(tmp_path: Path) -> None:
    state = Running(pid=os.getpid(), started_at=datetime.now(UTC), server_names=(), hosts={}, ports={}, processes={})
    running.write(tmp_path, state)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(stage.Deviation, match="choose another"):
        stage.prepare(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_what_an_earlier_demonstration_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "old").touch()
    settings = stage.prepare(folder)
    assert [path.name for path in folder.iterdir()] == ["passphrase"]
    assert settings.vault_passphrase
