"""The published test PKI of GSMA SGP.26 as a folder: its sets for a server, its eUICC for a card."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from crypto.curves import Curve
from rsp.identifiers import Eid
from server.demo.stage import smdp
from server.settings import Settings
from simulator.credentials import CardCredentials

EID = Eid("89049032123451234512345678901235")
_SUFFIX = {Curve.P256: "ECDSA_NIST", Curve.BRAINPOOL_P256R1: "ECDSA_BRP"}


def import_sets(settings: Settings, folder: Path) -> None:
    """Bring CI, DPauth and DPpb of both curves into the PKI folder of a server that does not run yet."""
    for end in _SUFFIX.values():
        smdp(
            settings,
            "pki",
            "import",
            *("--ci", str(folder / "CertificateIssuer" / f"CERT_CI_{end}.der")),
            *("--auth", str(folder / "DPauth" / f"CERT_S_SM_DPauth_{end}.der")),
            *("--auth-key", str(folder / "DPauth" / f"SK_S_SM_DPauth_{end}.pem")),
            *("--pb", str(folder / "DPpb" / f"CERT_S_SM_DPpb_{end}.der")),
            *("--pb-key", str(folder / "DPpb" / f"SK_S_SM_DPpb_{end}.pem")),
        )


def credentials(folder: Path, curve: Curve) -> CardCredentials:
    """The chain of the published eUICC on one curve."""
    end = _SUFFIX[curve]
    key = load_pem_private_key((folder / "eUICC" / f"SK_EUICC_{end}.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return CardCredentials(
        euicc_certificate=(folder / "eUICC" / f"CERT_EUICC_{end}.der").read_bytes(),
        eum_certificate=(folder / "EUM" / f"CERT_EUM_{end}.der").read_bytes(),
        ci_certificates=((folder / "CertificateIssuer" / f"CERT_CI_{end}.der").read_bytes(),),
        private_key=key,
    )
