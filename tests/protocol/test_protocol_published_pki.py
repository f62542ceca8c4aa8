"""The published test PKI of GSMA SGP.26 beside a generated one in one server: its eUICC downloads on both curves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs.folder import SetFiles, import_set
from crypto.curves import Curve
from rsp.identifiers import Eid
from simulator.card import Card
from simulator.credentials import CardCredentials
from smdp.policy import Policy
from tests.protocol_attempt import attempt
from tests.protocol_stage import CURVES, NAME, START, Clock, Material, Seen, Stage, installed_on

SGP26 = Path(__file__).resolve().parents[3] / "shared" / "data" / "sgp26"
TS48 = SGP26.parent / "ts48" / "ts48-v7-BERTLV_SUCI.der"
EID = Eid("89049032123451234512345678901235")
SUFFIX = {Curve.P256: "ECDSA_NIST", Curve.BRAINPOOL_P256R1: "ECDSA_BRP"}

pytestmark = pytest.mark.skipif(not SGP26.is_dir(), reason=f"{SGP26} is absent: the published test PKI lies there")


def published_set(curve: Curve) -> SetFiles:
    """CI, DPauth and DPpb of one curve."""
    end = SUFFIX[curve]
    return SetFiles(
        ci=SGP26 / "CertificateIssuer" / f"CERT_CI_{end}.der",
        auth=SGP26 / "DPauth" / f"CERT_S_SM_DPauth_{end}.der",
        auth_key=SGP26 / "DPauth" / f"SK_S_SM_DPauth_{end}.pem",
        pb=SGP26 / "DPpb" / f"CERT_S_SM_DPpb_{end}.der",
        pb_key=SGP26 / "DPpb" / f"SK_S_SM_DPpb_{end}.pem",
    )


def published_credentials(curve: Curve) -> CardCredentials:
    """The eUICC's chain of one curve."""
    end = SUFFIX[curve]
    key = load_pem_private_key((SGP26 / "eUICC" / f"SK_EUICC_{end}.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return CardCredentials(
        euicc_certificate=(SGP26 / "eUICC" / f"CERT_EUICC_{end}.der").read_bytes(),
        eum_certificate=(SGP26 / "EUM" / f"CERT_EUM_{end}.der").read_bytes(),
        ci_certificates=((SGP26 / "CertificateIssuer" / f"CERT_CI_{end}.der").read_bytes(),),
        private_key=key,
    )


@pytest.fixture(scope="module")
def three_sets(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A generated PKI into whose folder both published sets were brought."""
    made = Material.make(tmp_path_factory.mktemp("three-sets"))
    pki = made.pki
    for curve in CURVES:
        pki = asyncio.run(import_set(pki.path, made.vault, published_set(curve), now=START))
    return replace(made, pki=pki)


@pytest.fixture
async def stage(database: str, three_sets: Material) -> AsyncIterator[Stage]:
    async with Stage.opened(database, three_sets, Clock(), Policy(server_names=(NAME,))) as opened:
        yield opened


def published_card(stage: Stage, *curves: Curve) -> Card:
    """The published eUICC with its chains of `curves`."""
    return Card(EID, [published_credentials(curve) for curve in curves], now=stage.clock.now)


@pytest.mark.parametrize(
    "curves", [CURVES[:1], CURVES[1:], CURVES, CURVES[::-1]], ids=["nist", "brp", "both", "swapped"]
)
async def test_published_card_installs_the_published_profile(stage: Stage, curves: tuple[Curve, ...]) -> None:
    card, upp = published_card(stage, *curves), TS48.read_bytes()
    ordered = await stage.order(upp=upp, eid=EID)
    trial = attempt(stage, card, ordered.matching_id)
    assert (await trial.installed()).succeeded
    assert installed_on(card) == {str(ordered.iccid): upp}
    row = await trial.row()
    assert row["ci_key_id"] == row["server_ci_key_id"] == card.credentials[0].ci_key_id
    assert await stage.seen(ordered) == Seen(
        order="installed",
        eid=str(EID),
        downloads=1,
        sealed=(),
        told=((1, ""), (3, ""), (4, "")),
        sessions=(("reported", None),),
    )


async def test_cards_of_all_sets_are_served_side_by_side(stage: Stage) -> None:
    cards = [published_card(stage, CURVES[0]), *(stage.card(curves=[curve]) for curve in CURVES)]
    orders = [await stage.order() for _ in cards]
    trials = [attempt(stage, card, ordered.matching_id) for card, ordered in zip(cards, orders, strict=True)]
    await asyncio.gather(*(trial.begun() for trial in trials))
    packages = await asyncio.gather(*(trial.deliver() for trial in trials))
    for trial, bpp in zip(trials, packages, strict=True):
        await stage.notifications.handle_notification(trial.install(bpp).raw)
    assert await stage.judge() == [("installed", True)] * 3
    for card, ordered in zip(cards, orders, strict=True):
        assert installed_on(card) == {str(ordered.iccid): ordered.upp}
        assert (await stage.seen(ordered)).order == "installed"
