"""getProfileStatus and recoverProfile over HTTP: functions of vendors beside ES2+, not in SGP.22."""

from __future__ import annotations

from typing import Any

import pytest

from tests.es2_scene import EID, OTHER, UNKNOWN, Scene

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _status(scene: Scene, *iccids: str, name: str = "operator-a") -> list[dict[str, Any]]:
    listed = [{"iccid": iccid} for iccid in iccids]
    answer = (await scene.edge.operator("getProfileStatus", {"iccidList": listed}, name=name)).json()
    assert set(answer) == {"header", "profileStatusList", "completionTimestamp"}
    return list(answer["profileStatusList"])


async def test_profile_status_follows_the_order_and_knows_the_callers_profiles_only(scene: Scene) -> None:
    assert await _status(scene, scene.iccid, UNKNOWN, name=OTHER) == []
    (free,) = await _status(scene, UNKNOWN, scene.iccid)
    assert free.pop("status_last_update_timestamp").endswith("Z")
    assert free == {"iccid": f"{scene.iccid}F", "state": "AVAILABLE", "eid": "", "acToken": "", "lockFlag": False}
    token = await scene.released(eid=EID)
    (released,) = await _status(scene, scene.iccid)
    found = (released["state"], released["eid"], released["acToken"], released["lockFlag"])
    assert found == ("RELEASED", EID, token, False)
    await scene.stands("error")
    (failed,) = await _status(scene, scene.iccid)
    assert (failed["state"], failed["acToken"], failed["lockFlag"]) == ("ERROR", token, True)


async def test_profile_status_of_a_withdrawn_profile_says_so(scene: Scene) -> None:
    await scene.withdrawn()
    (found,) = await _status(scene, scene.iccid)
    assert (found["state"], found["lockFlag"], found["acToken"]) == ("UNAVAILABLE", True, "")


@pytest.mark.parametrize("count", [0, 1001])
async def test_profile_status_is_asked_for_a_bounded_list(scene: Scene, count: int) -> None:
    listed = [{"iccid": scene.iccid}] * count
    answer = await scene.edge.operator("getProfileStatus", {"iccidList": listed})
    assert (answer.status, answer.failed()) == (400, ("1.3.1", "2.1"))


async def test_recovered_order_is_released_under_the_same_token(scene: Scene) -> None:
    token = await scene.released(confirmationCode="4711")
    await scene.stands("error")
    for _ in range(2):
        await scene.must("recoverProfile", profileStatus="RELEASED")
    (found,) = await _status(scene, scene.iccid)
    assert (found["state"], found["acToken"], found["lockFlag"]) == ("RELEASED", token, False)


async def test_failed_order_is_recovered_into_stock(scene: Scene) -> None:
    await scene.released()
    await scene.stands("error")
    for _ in range(2):
        await scene.must("recoverProfile", profileStatus="Available")
    (found,) = await _status(scene, scene.iccid)
    assert (found["state"], found["acToken"]) == ("AVAILABLE", "")


@pytest.mark.parametrize("target", ["Released", "Available"])
@pytest.mark.parametrize("state", ["confirmed", "downloaded", "installed"])
async def test_only_a_failed_order_recovers(scene: Scene, state: str, target: str) -> None:
    await scene.released()
    await scene.stands(state)
    answer = await scene.call("recoverProfile", profileStatus=target)
    assert answer.failed() == ("8.2.1", "3.5")


async def test_recovery_into_an_unknown_state_is_malformed(scene: Scene) -> None:
    answer = await scene.call("recoverProfile", profileStatus="Installed")
    assert (answer.status, answer.failed()) == (400, ("1.3.1", "2.1"))
