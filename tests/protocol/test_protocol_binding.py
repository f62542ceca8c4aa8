"""One set of protection keys protects one text: other content, and other rules of the server, mean fresh keys or the
same bytes (SGP.22 2.5.4, 5.6.2)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto.certificates import TrustStore
from rsp import es8plus, tlv
from rsp.identifiers import Iccid
from rsp.metadata import ProfileMetadata
from rsp.status import Status
from server.wiring import wallet_of
from smdp.binding import Protection
from smdp.downloads import Downloads
from smdp.policy import Policy
from store.downloads import Downloads as StoredDownloads
from tests.conformance import conforms
from tests.protocol_attempt import Attempt, attempt
from tests.protocol_stage import CURVES, NAME, Ordered, Stage, installed_on, refuses

OURS = es8plus.dp_proprietary_data("2.999.10", b"\x81\x01\x03")
OTHERS = dict(zip(Protection, reversed(Protection), strict=True))


@pytest.fixture(params=list(Protection))
def policy(request: pytest.FixtureRequest) -> Policy:
    return Policy(server_names=(NAME,), protection=request.param)


def restarted(stage: Stage, **changes: object) -> Stage:
    """The same server after its settings were changed."""
    policy = replace(stage.policy, **changes)  # type: ignore[arg-type]
    pki = stage.material.pki
    trust, wallet = TrustStore(pki.ci_certificates), wallet_of(pki)
    stored, vault = StoredDownloads(stage.pool), stage.material.vault
    downloads = Downloads(stored, vault, trust, wallet, policy, stage.clock.now)
    return replace(stage, policy=policy, downloads=downloads)


def parts(bpp: bytes) -> dict[int, bytes]:
    return {child.tag: child.raw for child in tlv.read_only(bpp, 0xBF36).children()}


def keys_of(bpp: bytes) -> tuple[bytes, bytes]:
    """hostId and smdpOtpk."""
    found = tlv.read_only(parts(bpp)[0xBF23], 0xBF23).members()
    return found[0xA6].members()[0x84].value, found[0x5F49].value


async def arrives(trial: Attempt, ordered: Ordered, bpp: bytes) -> None:
    assert trial.install(bpp).succeeded, trial.card.last_fault
    assert installed_on(trial.card) == {str(ordered.iccid): ordered.upp}


@conforms(
    "SGP.22 5.6.2",
    "a package bound again to the same one-time keys has the same segments, though the server now protects otherwise",
    function="getBoundProfilePackage",
    where="smdp/binding.py",
)
async def test_binding_keeps_its_protection_when_the_setting_changes(stage: Stage) -> None:
    card, ordered = stage.card(), await stage.order()
    first = attempt(stage, card, ordered.matching_id)
    lost = await first.delivered()
    changed = restarted(stage, protection=OTHERS[stage.policy.protection])
    assert await replace(first, stage=changed).deliver(message=first.sent["deliver"]) == lost
    second = attempt(changed, card, ordered.matching_id)
    again = await second.delivered()
    assert keys_of(again) == keys_of(lost)
    assert {tag for tag in parts(lost) if parts(lost)[tag] != parts(again)[tag]} == {0xBF23}
    await arrives(second, ordered, again)


async def test_other_proprietary_data_means_fresh_keys(stage: Stage) -> None:
    card, ordered = stage.card(), await stage.order()
    first = attempt(stage, card, ordered.matching_id)
    lost = await first.delivered()
    changed = restarted(stage, dp_proprietary=OURS)
    with refuses(Status.TRANSACTION_UNKNOWN):
        await replace(first, stage=changed).deliver(message=first.sent["deliver"])
    second = attempt(changed, card, ordered.matching_id)
    again = await second.delivered()
    assert not set(keys_of(again)) & set(keys_of(lost))
    assert not set(parts(again).values()) & {parts(lost)[tag] for tag in (0xA0, 0xA1)}
    with refuses(Status.TRANSACTION_UNKNOWN):
        await first.deliver(message=first.sent["deliver"])
    await arrives(second, ordered, again)
    assert card.profiles[0].proprietary_data == OURS


async def test_other_metadata_means_fresh_keys(stage: Stage) -> None:
    card, ordered = stage.card(), await stage.order()
    lost = await attempt(stage, card, ordered.matching_id).delivered()
    metadata = ProfileMetadata(iccid=ordered.iccid, service_provider_name="Other", profile_name="Other").encode()
    await stage.tables.execute("UPDATE profiles SET metadata = $1 WHERE iccid = $2", metadata, str(ordered.iccid))
    second = attempt(stage, card, ordered.matching_id)
    again = await second.delivered()
    assert not set(keys_of(again)) & set(keys_of(lost))
    await arrives(second, ordered, again)
    assert card.profiles[0].metadata == metadata


@pytest.mark.parametrize("curve", CURVES)
async def test_card_keeps_the_proprietary_data_of_its_server(stage: Stage, curve: object) -> None:
    served, card = restarted(stage, dp_proprietary=OURS), stage.card(curves=[curve])  # type: ignore[list-item]
    ordered = await served.order()
    trial = attempt(served, card, ordered.matching_id)
    await arrives(trial, ordered, await trial.delivered())
    assert card.profiles[0].proprietary_data == OURS


async def test_each_import_has_keys_of_its_own(stage: Stage) -> None:
    """The same package imported twice is protected under other keys: nothing of it is equal."""
    owner = await stage.operator()
    stocked = await stage.stock(owner)
    before = await _package(stage, stocked.iccid)
    await stage.tables.execute("DELETE FROM profiles WHERE iccid = $1", str(stocked.iccid))
    again = await stage.stock(owner, upp=stocked.upp)
    after = await _package(stage, again.iccid)
    assert before["key_sealed"] != after["key_sealed"]
    assert not _blocks(before["segments"]) & _blocks(after["segments"])


async def _package(stage: Stage, iccid: Iccid) -> dict[str, bytes]:
    return dict(
        await stage.tables.fetchrow(
            "SELECT key_sealed, segments FROM packages JOIN profiles ON package_id = packages.id WHERE iccid = $1",
            str(iccid),
        )
    )


def _blocks(segments: bytes) -> set[bytes]:
    return {
        segment.value[start : start + 16]
        for segment in tlv.objects(segments)
        for start in range(0, len(segment.value) - 8, 16)
    }
