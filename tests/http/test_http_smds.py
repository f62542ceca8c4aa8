"""ES2+ with an SM-DS over HTTP: every code of a registration that fails, and what stays behind (SGP.22 5.3, 3.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rsp.identifiers import Eid
from rsp.status import Status
from simulator.smds import SmDs, Trouble
from tests.conformance import conforms
from tests.http_stage import NAME, Edge, Material, edge
from tests.smds_stage import ROOT, SMDS, issuers


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A process that answers, the SM-DS it may call, and one nobody listens for."""

    edge: Edge
    smds: SmDs

    async def reserved(self, **members: object) -> tuple[str, str]:
        """(ICCID, EID) of an order for a fresh card."""
        (iccid,) = await self.edge.stock()
        eid = str(self.edge.card().card.eid)
        wanted = {"iccid": iccid, "eid": eid, **members}
        answer = await self.edge.operator("downloadOrder", {key: value for key, value in wanted.items() if value})
        assert answer.status == 200, answer.body
        return iccid, eid

    async def confirm(self, iccid: str, **members: object) -> Any:
        """ConfirmOrder that releases at the SM-DS."""
        body = {"iccid": iccid, "releaseFlag": True, "smdsAddress": SMDS, **members}
        return await self.edge.operator("confirmOrder", body)

    async def release(self, iccid: str) -> Any:
        """ReleaseProfile."""
        return await self.edge.operator("releaseProfile", {"iccid": iccid})

    async def state(self, iccid: str) -> str:
        """Where the order stands."""
        (row,) = await self.edge.fetch("SELECT state FROM orders WHERE iccid = $1", iccid)
        return str(row["state"])

    async def work(self) -> None:
        """What the worker does about the outbox and about events, until nothing is left."""
        for _ in range(10):
            await self.edge.execute("UPDATE outbox SET due_at = now() WHERE sent_at IS NULL")
            await self.edge.execute("UPDATE smds_events SET doubt_until = NULL, due_at = now() WHERE due_at > now()")
            taken = await self.edge.services.sender.send_due()
            await self.edge.services.sender.finish()
            if not taken and not await self.edge.services.events.reconcile(16):
                return


@pytest.fixture
async def at(database: str, edge_material: Material, tmp_path: Path) -> AsyncIterator[Scene]:
    async with SmDs(issuers(edge_material.pki), address=SMDS) as smds:
        known = f"{SMDS}=127.0.0.1:{smds.port},{ROOT}=127.0.0.1:9"
        async with edge(
            edge_material, database, tmp_path, smds_hosts=known, smds_roots=ROOT, smds_timeout_seconds=5.0
        ) as opened:
            yield Scene(edge=opened, smds=smds)


def codes(status: Status) -> tuple[str, str]:
    return status.subject, status.reason


@conforms(
    "SGP.22 5.3.2", "an order with EID and smdsAddress is released once the SM-DS has its event",
    function="confirmOrder", binding="json", where="smdp/announcing.py",
)  # fmt: skip
async def test_confirmed_order_is_registered_and_cancelled_one_is_not(at: Scene) -> None:
    iccid, eid = await at.reserved()
    answer = (await at.confirm(iccid)).json()
    assert set(answer) == {"header", "eid", "matchingId", "smdpAddress"}
    assert at.smds.events(Eid(eid)) == [(answer["matchingId"], NAME)]
    (call,) = at.smds.calls("registerEvent")
    assert (call.forwarding, call.requester) == (True, NAME)
    final = {"iccid": iccid, "eid": eid, "finalProfileStatusIndicator": "Available"}
    assert (await at.edge.operator("cancelOrder", final)).status == 200
    await at.work()
    assert (at.smds.events(Eid(eid)), at.smds.faults) == ([], [])


@conforms(
    "SGP.22 5.3.4", "a confirmed order is registered when it is released",
    function="releaseProfile", binding="json", where="smdp/ordering.py",
)  # fmt: skip
async def test_released_order_is_registered(at: Scene) -> None:
    iccid, eid = await at.reserved()
    assert (await at.confirm(iccid, releaseFlag=False)).status == 200
    assert at.smds.seen == []
    assert set((await at.release(iccid)).json()) == {"header"}
    assert len(at.smds.events(Eid(eid))) == 1


@conforms(
    "SGP.22 5.3.2", "smdsAddress needs the EID", Status.EID_MISSING,
    function="confirmOrder", binding="json", where="smdp/ordering.py",
)  # fmt: skip
async def test_order_without_eid_is_refused(at: Scene) -> None:
    iccid, _ = await at.reserved(eid=None)
    assert (await at.confirm(iccid)).failed() == codes(Status.EID_MISSING)
    assert (at.smds.seen, await at.state(iccid)) == ([], "allocated")


UNUSABLE = ["127.0.0.1", "localhost", "10.0.0.1:443", "nobody.example.com", "https://smds.example.com", "x" * 300]


@conforms(
    "SGP.22 5.3.2", "an smdsAddress that is not usable is refused", Status.SMDS_UNREACHABLE,
    function="confirmOrder", binding="json", where="smdp/event.py",
)  # fmt: skip
@pytest.mark.parametrize("address", UNUSABLE)
@pytest.mark.parametrize("release", [True, False])
async def test_unusable_address_is_refused(at: Scene, address: str, release: bool) -> None:
    iccid, _ = await at.reserved()
    answer = await at.confirm(iccid, smdsAddress=address, releaseFlag=release)
    assert answer.failed() == codes(Status.SMDS_UNREACHABLE)
    assert (at.smds.seen, await at.state(iccid)) == ([], "linked")
    assert await at.edge.fetch("SELECT id FROM smds_events") == []


@conforms(
    "SGP.22 5.3.2", "an SM-DS nobody answers at is unreachable", Status.SMDS_UNREACHABLE,
    function="confirmOrder", binding="json", where="smdp/announcing.py",
)  # fmt: skip
async def test_sm_ds_that_does_not_listen_is_unreachable(at: Scene) -> None:
    iccid, _ = await at.reserved()
    assert (await at.confirm(iccid, smdsAddress=ROOT)).failed() == codes(Status.SMDS_UNREACHABLE)
    assert await at.state(iccid) == "linked"


FAILURES = [
    pytest.param(
        trouble,
        answer,
        marks=conforms(
            "SGP.22 5.3.2", f"a failed registration fails the call ({label})", answer,
            function=function, binding="json", where="smdp/announcing.py",
        ),
        id=f"{function}-{label}",
    )
    for function in ("confirmOrder", "releaseProfile")
    for trouble, answer, label in (
        (Trouble.DROP_BEFORE, Status.SMDS_UNREACHABLE, "connection lost"),
        (Trouble.ERROR_AFTER, Status.SMDS_UNREACHABLE, "HTTP 500"),
        (Trouble.GARBAGE, Status.SMDS_UNREACHABLE, "no answer of the function"),
        (Status.SMDS_UNREACHABLE, Status.SMDS_UNREACHABLE, "the root SM-DS is away"),
        (Status.SMDS_ERROR, Status.SMDS_ERROR, "the root SM-DS failed"),
        (Status.EVENT_REGISTERED_ALREADY, Status.SMDS_ERROR, "another party's event of that name"),
    )
]  # fmt: skip


@pytest.mark.parametrize(("trouble", "answer"), FAILURES)
async def test_failed_registration_fails_the_call_and_changes_nothing(
    at: Scene, trouble: Trouble | Status, answer: Status, request: pytest.FixtureRequest
) -> None:
    iccid, eid = await at.reserved()
    releasing = "releaseProfile" in request.node.name
    before = "linked"
    if releasing:
        assert (await at.confirm(iccid, releaseFlag=False)).status == 200
        before = "confirmed"
    at.smds.fail_next("registerEvent", trouble)
    refused = await (at.release(iccid) if releasing else at.confirm(iccid))
    assert refused.failed() == codes(answer)
    assert await at.state(iccid) == before
    await at.work()
    assert (at.smds.events(Eid(eid)), await at.state(iccid)) == ([], before)
    assert (await (at.release(iccid) if releasing else at.confirm(iccid))).json()["header"]
    assert (len(at.smds.events(Eid(eid))), await at.state(iccid)) == (1, "released")


async def test_message_of_a_refusal_says_what_the_sm_ds_said(at: Scene) -> None:
    iccid, _ = await at.reserved()
    at.smds.fail_next("registerEvent", Status.REQUESTER_UNKNOWN)
    answer = await at.confirm(iccid)
    assert answer.failed() == codes(Status.SMDS_ERROR)
    assert b"1.1/1.1" in answer.body


async def test_slow_sm_ds_is_given_up_in_time(database: str, edge_material: Material, tmp_path: Path) -> None:
    async with SmDs(issuers(edge_material.pki), address=SMDS) as smds:
        known = f"{SMDS}=127.0.0.1:{smds.port}"
        async with edge(edge_material, database, tmp_path, smds_hosts=known, smds_timeout_seconds=0.2) as opened:
            scene = Scene(edge=opened, smds=smds)
            iccid, eid = await scene.reserved()
            smds.fail_next("registerEvent", Trouble.HELD)
            assert (await scene.confirm(iccid)).failed() == codes(Status.SMDS_UNREACHABLE)
            smds.resume()
            await scene.work()
            assert (smds.events(Eid(eid)), await scene.state(iccid)) == ([], "linked")


async def test_public_names_are_called_at_public_addresses_only(
    database: str, edge_material: Material, tmp_path: Path
) -> None:
    async with (
        SmDs(issuers(edge_material.pki), address="localhost.localdomain") as smds,
        edge(edge_material, database, tmp_path, smds_port=smds.port) as opened,
    ):
        scene = Scene(edge=opened, smds=smds)
        iccid, _ = await scene.reserved()
        refused = await scene.confirm(iccid, smdsAddress="localhost.localdomain")
        assert refused.failed() == codes(Status.SMDS_UNREACHABLE)
        assert smds.seen == []


async def test_repeated_calls_are_answered_alike(at: Scene) -> None:
    iccid, _ = await at.reserved()
    header = at.edge.header()
    first = await at.confirm(iccid, header=header)
    again = await at.confirm(iccid, header=header)
    other = await at.confirm(iccid)
    assert first.body == again.body == other.body
    assert len(at.smds.calls("registerEvent")) == 1
    elsewhere = await at.confirm(iccid, smdsAddress=None)
    assert elsewhere.failed() == codes(Status.ICCID_INVALID_TRANSITION)


async def test_recovered_order_is_registered_again(at: Scene) -> None:
    iccid, eid = await at.reserved()
    matching_id = (await at.confirm(iccid)).json()["matchingId"]
    await at.edge.execute("UPDATE orders SET state = 'error' WHERE iccid = $1", iccid)
    await at.work()
    assert at.smds.events(Eid(eid)) == []
    body = {"iccid": iccid, "profileStatus": "Released"}
    at.smds.fail_next("registerEvent", Status.SMDS_ERROR)
    assert (await at.edge.operator("recoverProfile", body)).failed() == codes(Status.SMDS_ERROR)
    assert await at.state(iccid) == "error"
    assert (await at.edge.operator("recoverProfile", body)).status == 200
    assert (at.smds.events(Eid(eid)), await at.state(iccid)) == ([(matching_id, NAME)], "released")
