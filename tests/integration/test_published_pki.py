"""The published test PKI and test profiles in one running server, beside generated ones (SGP.26, TS.48).

`smdp serve` on certificates that were imported into its folder; devices speak TLS, in both bindings of ES9+.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs.folder import SetFiles, import_set
from crypto.curves import Curve
from hsm_mock import MockVault
from rsp import saip
from rsp.identifiers import Eid, Iccid
from server.clock import SystemClock
from server.demo.stage import smdp
from simulator.card import Card
from simulator.credentials import CardCredentials
from simulator.exchange import Exchange, identify, trust
from simulator.issuer import EumIssuer
from simulator.lpa import USER_AGENT, Lpa
from simulator.lpa_bindings import Spelling
from simulator.lpa_types import Installed
from simulator.operator import OperatorClient
from tests.conformance import conforms
from tests.server_fixtures import PASSPHRASE, ServerUnderTest, Template, serving

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SGP26, TS48 = DATA / "sgp26", DATA / "ts48"
EID = Eid("89049032123451234512345678901235")
CURVES = (Curve.P256, Curve.BRAINPOOL_P256R1)
SUFFIX = {Curve.P256: "ECDSA_NIST", Curve.BRAINPOOL_P256R1: "ECDSA_BRP"}
OPERATOR, TYPE = "operator-a", "test"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is absent: the published material lies there")


def private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def published_set(curve: Curve) -> SetFiles:
    end = SUFFIX[curve]
    return SetFiles(
        ci=SGP26 / "CertificateIssuer" / f"CERT_CI_{end}.der",
        auth=SGP26 / "DPauth" / f"CERT_S_SM_DPauth_{end}.der",
        auth_key=SGP26 / "DPauth" / f"SK_S_SM_DPauth_{end}.pem",
        pb=SGP26 / "DPpb" / f"CERT_S_SM_DPpb_{end}.der",
        pb_key=SGP26 / "DPpb" / f"SK_S_SM_DPpb_{end}.pem",
    )


def published_card(*curves: Curve) -> Card:
    """The published eUICC with its chains of `curves`, the preferred one first."""
    chains = []
    for curve in curves:
        end = SUFFIX[curve]
        chains.append(
            CardCredentials(
                euicc_certificate=(SGP26 / "eUICC" / f"CERT_EUICC_{end}.der").read_bytes(),
                eum_certificate=(SGP26 / "EUM" / f"CERT_EUM_{end}.der").read_bytes(),
                ci_certificates=((SGP26 / "CertificateIssuer" / f"CERT_CI_{end}.der").read_bytes(),),
                private_key=private_key(SGP26 / "eUICC" / f"SK_EUICC_{end}.pem"),
            )
        )
    return Card(EID, chains)


@pytest.fixture(scope="module")
def three_sets(server_template: Template, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A generated PKI into whose folder both published sets were brought."""
    folder = tmp_path_factory.mktemp("published")
    made = Template(pki=folder / "pki", vault=folder / "vault.bin", modules=server_template.modules)
    shutil.copytree(server_template.pki, made.pki)
    shutil.copy(server_template.vault, made.vault)
    for curve in CURVES:
        vault = MockVault.open(made.vault, PASSPHRASE)
        asyncio.run(import_set(made.pki, vault, published_set(curve), now=SystemClock().now()))
    return made


@pytest.fixture
def served(three_sets: Template, database: str, tmp_path: Path) -> Iterator[ServerUnderTest]:
    """`smdp serve` on those certificates."""
    with serving(three_sets, tmp_path, database_url=database) as server:
        yield server


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """A server with all three PKIs, its operator, and the way of devices to it."""

    server: ServerUnderTest
    operator: OperatorClient
    devices: Exchange
    tables: asyncpg.Connection[Any]

    def generated_card(self, curve: Curve, number: int) -> Card:
        """A card of the generated EUM."""
        files = self.server.pki.device_files(curve)
        trusted = (files.ci_certificate.read_bytes(),)
        issuer = EumIssuer(files.eum_certificate.read_bytes(), private_key(files.eum_key), trusted)
        eid = issuer.eid(number)
        return Card(eid, [issuer.issue(eid)])

    async def installs(self, card: Card, spelling: Spelling, iccid: Iccid | None = None) -> Iccid:
        """Ordered for this card, downloaded and installed; the ICCID. The order is at last `installed`."""
        wanted = None if iccid else TYPE
        ordered = await self.operator.download_order(eid=card.eid, iccid=iccid, profile_type=wanted)
        confirmed = await self.operator.confirm_order(ordered, release=True, eid=card.eid)
        code = f"1${self.server.name}${confirmed.matching_id}"
        result = await Lpa(card, self.devices, spelling=spelling).download(code)
        assert isinstance(result, Installed), f"{result} ({card.last_fault})"
        assert (result.iccid, result.notification_fault) == (ordered, "")
        await self._judged(ordered)
        return ordered

    async def _judged(self, iccid: Iccid) -> None:
        query = "SELECT state FROM orders WHERE iccid = $1"
        async with asyncio.timeout(60):
            while await self.tables.fetchval(query, str(iccid)) != "installed":
                pass


@asynccontextmanager
async def parties(server: ServerUnderTest, package: Path) -> AsyncIterator[Parties]:
    """The operator has the published package and three generated ones in stock."""
    certificate, key = server.pki.operator_files(OPERATOR)
    own = ("--operator", OPERATOR)

    async def run(*arguments: str) -> None:
        await asyncio.to_thread(smdp, server.settings, *arguments)

    await run("operator", "add", OPERATOR, "--certificate", str(certificate))
    await asyncio.gather(
        run("profile", "generate", "3", *own, "--type", TYPE),
        run("profile", "import", str(package), *own, "--type", "ts48"),
    )
    ca = server.pki.device_files(Curve.P256).ci_certificate
    async with (
        Exchange(tls=identify(trust(ca), certificate, key), addresses={server.name: server.address("es2")}) as es2,
        Exchange(tls=trust(ca), addresses={server.name: server.address("es9")}, user_agent=USER_AGENT) as es9,
    ):
        client = OperatorClient(es2, host=server.name, function_requester=OPERATOR)
        tables = await asyncpg.connect(server.settings.database_url.reveal())
        yield Parties(server=server, operator=client, devices=es9, tables=tables)
        await tables.close()


@conforms("SGP.22 2.6.7.1", "one server serves eUICCs under several CIs on both curves", where="smdp/credentials.py")
@pytest.mark.parametrize(
    ("order", "spelling", "package"),
    [
        (CURVES, Spelling.JSON, "ts48-v7-BERTLV_SUCI.der"),
        (CURVES[::-1], Spelling.ASN1, "ts48-v7-NoBERTLV.der"),
    ],
    ids=["nist-json", "brainpool-asn1"],
)
async def test_published_and_generated_cards_of_both_curves_install_from_one_server(
    served: ServerUnderTest, order: tuple[Curve, Curve], spelling: Spelling, package: str
) -> None:
    upp = (TS48 / package).read_bytes()
    async with parties(served, TS48 / package) as known:
        card = published_card(*order)
        iccid = await known.installs(card, spelling, saip.read_header(upp).iccid)
        assert [(profile.iccid, profile.package) for profile in card.profiles] == [(iccid, upp)]
        assert card.profiles[0].ci_key_id == card.credentials[0].ci_key_id
        generated = (known.generated_card(curve, number) for number, curve in enumerate(order, start=1))
        for last in (published_card(order[1]), *generated):
            await known.installs(last, spelling)
    assert {record["status"] for record in served.events("answered")} <= {200, 204}
