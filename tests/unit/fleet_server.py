"""A scripted SM-DP+ that checks what a fleet's cards sign, with verification code of its own."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier
from lpa_script import (
    METADATA,
    SIGNATURE,
    Reply,
    Seen,
    b64,
    failure,
    good,
    package,
    server_signed1,
    smdp_signed2,
)

from rsp import tlv

SMDP_OID = "2.999.10"


@dataclass(frozen=True, kw_only=True)
class TestEum:
    """A CI and an EUM of one range, on one curve; `anchor` is the EUM's name and key without any constraint."""

    __test__ = False
    certificate: bytes
    key: ec.EllipticCurvePrivateKey
    ci_certificate: bytes
    anchor: bytes


def make_eum(curve: ec.EllipticCurve | None = None, *, constrained: bool = True) -> TestEum:
    ci_key = ec.generate_private_key(curve or ec.SECP256R1())
    ci_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CI")])
    ci = _sign(ci_name, ci_key, ci_name, ci_key, [x509.BasicConstraints(ca=True, path_length=None)])
    return make_eum_under(ci, ci_key, constrained=constrained)


def make_eum_under(ci: bytes, ci_key: ec.EllipticCurvePrivateKey, *, constrained: bool = True) -> TestEum:
    eum_key = ec.generate_private_key(ci_key.curve)
    ci_name = x509.load_der_x509_certificate(ci).subject
    eum_name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "ES"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test EUM"),
            x509.NameAttribute(NameOID.COMMON_NAME, "EUM"),
        ]
    )
    permitted = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test EUM"),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, "89049032"),
        ]
    )
    limits = [x509.NameConstraints([x509.DirectoryName(permitted)], None)] if constrained else []
    authority = x509.BasicConstraints(ca=True, path_length=0)
    eum = _sign(eum_name, eum_key, ci_name, ci_key, [authority, *limits])
    anchor = _sign(eum_name, eum_key, ci_name, ci_key, [authority])
    return TestEum(certificate=eum, key=eum_key, ci_certificate=ci, anchor=anchor)


def smdp_certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "DP")])
    owner = x509.SubjectAlternativeName([x509.RegisteredID(ObjectIdentifier(SMDP_OID))])
    return _sign(name, key, name, key, [owner])


def _sign(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    extensions: list[Any],
) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2054, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.DER)


class CheckingServer:
    """The `judge` of a Script: answers sessions under fresh transactionIds and verifies all the cards sign."""

    def __init__(self, eum: TestEum) -> None:
        self.eids: list[str] = []
        self.matching_ids: list[str] = []
        self.results: list[bytes] = []
        self.refuse: set[str] = set()
        self._eum = x509.load_der_x509_certificate(eum.certificate)
        self._certificate = smdp_certificate()
        self._keys: dict[str, ec.EllipticCurvePublicKey] = {}

    def __call__(self, seen: Seen) -> Reply | None:
        answer: Reply = getattr(self, f"_{seen.function}")(seen.json)
        return answer

    def _initiateAuthentication(self, body: dict[str, Any]) -> Reply:  # noqa: N802 -- the word of the standard
        transaction = secrets.token_bytes(16)
        challenge = base64.b64decode(body["euiccChallenge"])
        return good(
            "initiateAuthentication",
            transactionId=transaction.hex().upper(),
            serverSigned1=b64(server_signed1(transaction, challenge, body["smdpAddress"])),
            serverCertificate=b64(self._certificate),
        )

    def _authenticateClient(self, body: dict[str, Any]) -> Reply:  # noqa: N802 -- the word of the standard
        outer = tlv.read_only(base64.b64decode(body["authenticateServerResponse"]), 0xBF38)
        if 0xA0 not in outer.members():
            return failure("8.1", "6.1", "The card refused this server.")
        signed, signature, euicc, eum = outer.members()[0xA0].children()
        certificate = x509.load_der_x509_certificate(euicc.raw)
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(eum.raw))
        assert x509.load_der_x509_certificate(eum.raw) == self._eum
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        _verify(key, signature.value, signed.raw)
        parts = signed.members()
        assert parts[0x80].value.hex().upper() == body["transactionId"]
        assert set(parts) == {0x80, 0x83, 0x84, 0xBF22, 0xA0}
        matching_id = parts[0xA0].members()[0x80].text()
        if matching_id in self.refuse:
            return failure("8.2.6", "3.8", "No order has this MatchingID.")
        self.eids.append(str(certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)[0].value))
        self.matching_ids.append(matching_id)
        self._keys[body["transactionId"]] = key
        signed2 = smdp_signed2(parts[0x80].value, code=True)
        return good("authenticateClient", transactionId=body["transactionId"], smdpSigned2=b64(signed2))

    def _getBoundProfilePackage(self, body: dict[str, Any]) -> Reply:  # noqa: N802 -- the word of the standard
        transaction = bytes.fromhex(body["transactionId"])
        outer = tlv.read_only(base64.b64decode(body["prepareDownloadResponse"]), 0xBF21)
        signed, signature = outer.members()[0xA0].children()
        _verify(self._keys[body["transactionId"]], signature.value, signed.raw + SIGNATURE)
        parts = signed.members()
        assert parts[0x80].value == transaction
        key = self._keys[body["transactionId"]]
        ec.EllipticCurvePublicKey.from_encoded_point(key.curve, parts[0x5F49].value)
        assert len(parts[0x04].value) == 32
        bound = b64(package(transaction))
        return good("getBoundProfilePackage", transactionId=body["transactionId"], boundProfilePackage=bound)

    def _handleNotification(self, body: dict[str, Any]) -> Reply:  # noqa: N802 -- the word of the standard
        result = tlv.read_only(base64.b64decode(body["pendingNotification"]), 0xBF37)
        data, signature = result.children()
        transaction = data.members()[0x80].value.hex().upper()
        _verify(self._keys[transaction], signature.value, data.raw)
        assert tlv.oid_from_bytes(data.members()[0x06].value) == SMDP_OID
        metadata = tlv.read_only(METADATA, 0xBF25).members()
        assert data.members()[0xBF2F].members()[0x5A].value == metadata[0x5A].value
        self.results.append(result.raw)
        return Reply(status=204)

    def _cancelSession(self, body: dict[str, Any]) -> Reply:  # noqa: N802 -- the word of the standard
        return good("cancelSession")


def _verify(key: ec.EllipticCurvePublicKey, plain: bytes, data: bytes) -> None:
    assert len(plain) == 64
    signature = encode_dss_signature(int.from_bytes(plain[:32], "big"), int.from_bytes(plain[32:], "big"))
    key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
