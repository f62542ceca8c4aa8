"""What other people's programs meet: a server, its operator, its SM-DS; the simulated device stands in for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.lpa_types import Installed
from tools.interop import scene as stage
from tools.interop.scene import Scene
from tools.interop.verdicts import Unexpected


async def test_a_download_is_seen_from_every_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_STOCK", 1)
    with stage.serving(tmp_path / "data") as server:
        async with stage.scene(server) as scene:
            device, ordered = scene.device(), await scene.order()
            await scene.becomes(ordered, "released")
            assert isinstance(await device.lpa.download(ordered.text), Installed)
            await scene.becomes(ordered, "installed")
            await scene.told(ordered, 1, 3, 4)
            await scene.judged(device.eid, ordered.iccid, "installed")
            await scene.no_faults()
            await _misses(scene)


async def _misses(scene: Scene) -> None:
    """A callback that the operator cannot read is a fault of the server."""
    scene.callbacks.faults.append("no JSON")
    with pytest.raises(Unexpected, match="no JSON"):
        await scene.no_faults()


async def test_what_does_not_come_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_WITHIN", 0.01)

    async def never() -> bool:
        return False

    with pytest.raises(Unexpected, match="the order must become installed"):
        await stage.until(never, "the order must become installed")
