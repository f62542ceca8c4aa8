"""One swap as its customer lives it: planned, ordered, followed through the API; its stages narrated with times."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from rsp.identifiers import Iccid
from server.api_client import ApiRefused
from server.demo.narration import Narrator
from server.demo.stage import Deviation
from server.demo.swap_cast import Cast

ENDED = ("completed", "rolled_back", "failed", "cancelled")
_PATH = "/v1/swaps"


class Swap:
    """A swap of the meter, as the API tells of it; `view` is what was read last."""

    def __init__(self, cast: Cast, narrator: Narrator, view: Any) -> None:
        self.view = view
        self._cast = cast
        self._narrator = narrator

    @classmethod
    async def ordered(cls, cast: Cast, narrator: Narrator, target: str, way: str) -> Swap:
        """Plan a swap of the meter, which must go this `way`, and order exactly that plan."""
        wanted = {"eid": str(cast.meter.eid), "targetId": cast.carriers[target]}
        plan = await cast.customer.post(f"{_PATH}/plan", wanted)
        if plan["gates"] or plan["way"] != way:
            raise Deviation(f"the plan to {target} must be {way} without gates, but is {plan['way']}: {plan['gates']}")
        narrator.step(f"planned to {target}: {way}; {len(plan['steps'])} steps")
        for line in plan["billing"]:
            narrator.detail(line)
        view = await cast.customer.post(_PATH, wanted | {"digest": plan["digest"]})
        narrator.step(f"ordered: swap {view['swap']['id']} is {view['swap']['state']}")
        return cls(cast, narrator, view)

    @property
    def iccid(self) -> Iccid:
        """The profile it brings."""
        return Iccid(self.view["swap"]["iccid"])

    @property
    def enabled_at(self) -> datetime:
        """When the pivot was passed. Raises Deviation when it was not."""
        if self.view["enabledAt"] is None:
            raise Deviation(f"swap {self.view['swap']['id']} must have passed its pivot")
        return moment(self.view["enabledAt"])

    async def reach(self, states: Collection[str]) -> None:
        """Wait until the swap is in one of these states, or has ended. Raises Deviation when it ended in another."""
        over = (*states, *ENDED)
        number = self.view["swap"]["id"]
        self.view = await self._cast.customer.until(
            f"{_PATH}/{number}", lambda view: view["swap"]["state"] in over, f"swap {number}: {' or '.join(states)}"
        )
        found = self.view["swap"]
        if found["state"] not in states:
            raise Deviation(
                f"swap {number} must become {' or '.join(states)}, but is {found['state']}: {found['reason']}"
            )

    async def finish(self, state: str, stages: tuple[str, str, str]) -> None:
        """Wait for its end, which must be `state` with the three stages in these states; tell them with their times."""
        await self.reach((state,))
        told = tuple(stage["state"] for stage in self.view["stages"])
        if told != stages:
            raise Deviation(f"the stages of the swap must be {stages}, but are {told}")
        for stage in self.view["stages"]:
            self._narrator.step(f"stage {stage['stage']:<10} {stage['state']:<11} {_times(stage)}")
        self._narrator.step(f"swap {self.view['swap']['id']} is {state}{self._why()}")

    def _why(self) -> str:
        reason = self.view["swap"]["reason"]
        return f": {reason}" if reason else ""

    async def confirm(self, iccid: Iccid, activation_code: str) -> None:
        """Say that the line is allocated."""
        body = {"iccid": str(iccid), "activationCode": activation_code}
        self.view = await self._cast.customer.post(f"{_PATH}/{self.view['swap']['id']}/confirm", body)

    async def expect_only_one(self, target: str) -> None:
        """A second swap of the same eSIM is refused while this one runs."""
        wanted = {"eid": str(self._cast.meter.eid), "targetId": self._cast.carriers[target]}
        try:
            second = await self._cast.customer.post(_PATH, wanted)
        except ApiRefused as refused:
            if refused.code != "conflict":
                raise Deviation(f"a second swap must be refused as a conflict, not as {refused}") from None
            self._narrator.refusal("a second swap of the same eSIM", "409 conflict", str(refused))
            return
        raise Deviation(f"a second swap of the same eSIM was taken: {second['swap']['id']}")

    # What it must tell -----------------------------------------------------------------------------------------------

    def expect_told(self, *steps: tuple[str, str]) -> None:
        """The timeline tells these steps done, in this order, each with evidence that contains the words."""
        place = 0
        for step, words in steps:
            done = [(number, one) for number, one in enumerate(self.view["timeline"]) if one["text"] == f"{step}: done"]
            if len(done) != 1 or words not in done[0][1]["evidence"] or done[0][0] < place:
                raise Deviation(
                    f"the timeline must tell '{step}: done' once, in its place, with '{words}'; told: {done}"
                )
            place = done[0][0]
            self._narrator.detail(f"{step}: {done[0][1]['evidence']}")

    def expect_asked(self, *asked: tuple[str, str]) -> None:
        """Exactly these actions (about, kind) are open."""
        found = [action for action in self.view["actions"] if action["chosen"] is None]
        if [(action["about"], action["kind"]) for action in found] != list(asked):
            raise Deviation(f"these must be open: {asked}, but open are: {found}")
        for action in found:
            self._narrator.step(
                f"open {action['kind']} ({', '.join(action['options']) or 'by confirming'}): {action['text']}"
            )

    def expect_asked_about(self, about: str, *words: str) -> None:
        """The text of the action names all these."""
        text = next(action["text"] for action in self.view["actions"] if action["about"] == about)
        if missing := [word for word in words if word not in text]:
            raise Deviation(f"the action about {about} must name {missing}: {text}")

    def expect_lines(self, *lines: tuple[str, Iccid, str]) -> None:
        """The lines are these: carrier, ICCID, billable or not."""
        found = [(line["carrier"], Iccid(line["iccid"]), line["billable"]) for line in self.view["lines"]]
        if found != list(lines):
            raise Deviation(f"the lines of the swap must be {lines}, but are {found}")


def moment(text: str) -> datetime:
    """A time of the API."""
    return datetime.fromisoformat(text)


def _times(stage: Any) -> str:
    if stage["startedAt"] is None:
        return ""
    begun, ended = moment(stage["startedAt"]), moment(stage["endedAt"])
    return f"{begun:%H:%M:%S}.{begun.microsecond // 1000:03d}, {(ended - begun).total_seconds():.2f} s"
