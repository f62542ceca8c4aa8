"""A card for load: signs all a server verifies, and verifies nothing itself (SGP.22 5.7). The strict one is `card`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from rsp import tlv
from rsp.identifiers import Iccid
from simulator import ecc, notifications
from simulator.credentials import CardCredentials, ci_key_identifier
from simulator.euicc_info import CiLists, EuiccProperties, Resources, euicc_info1, euicc_info2
from simulator.notifications import Event

_MAC_BYTES = 8
_FREE_MEMORY = 512 * 1024
_AID = bytes.fromhex("A0000005591010FFFFFFFF8900001000")
_INVALID_TRANSACTION = tlv.wrap(0xBF41, tlv.wrap(0x81, b"\x05"))


@dataclass(frozen=True, slots=True, kw_only=True)
class EuiccInfo:
    """EUICCInfo1 (BF20) and EUICCInfo2 (BF22), made once for all cards of an EUM."""

    info1: bytes
    info2: bytes

    @classmethod
    def of(cls, credentials: CardCredentials, properties: EuiccProperties | None = None) -> EuiccInfo:
        """What cards with such credentials tell about themselves."""
        kind = properties or EuiccProperties()
        signing = credentials.ci_key_id
        trusted = [ci_key_identifier(certificate) for certificate in credentials.ci_certificates] or [signing]
        lists = CiLists(verification=trusted, signing=[signing])
        resources = Resources(applications=0, free_memory=_FREE_MEMORY)
        return cls(info1=euicc_info1(kind, lists), info2=euicc_info2(kind, lists, resources))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """What the card keeps of the server; `certificate` is that of DPauth."""

    transaction_id: bytes
    address: str
    certificate: bytes


class CheapCard:
    """A card whose work is three signatures and one key pair a download; it reports success for any package."""

    def __init__(self, credentials: CardCredentials, info: EuiccInfo) -> None:
        self._credentials = credentials
        self._info = info
        self._server: _Server | None = None
        self._sequence = 0
        self._left = -1
        self._metadata = bytearray()
        self._waiting: dict[int, bytes] = {}

    def get_euicc_info1(self) -> bytes:
        """BF20."""
        return self._info.info1

    def get_euicc_challenge(self) -> bytes:
        """BF2E with 16 random bytes; a new session begins."""
        self._server, self._left = None, -1
        self._metadata.clear()
        return tlv.wrap(0xBF2E, tlv.wrap(0x80, secrets.token_bytes(16)))

    def authenticate_server(self, request: bytes) -> bytes:
        """BF38: euiccSigned1, its signature and the chain."""
        signed1, _, _, certificate, context = tlv.read_only(request, 0xBF38).children()
        found = signed1.members()
        echoed = tlv.wrap(0x30, found[0x80].raw, found[0x83].raw, found[0x84].raw, self._info.info2, context.raw)
        self._server = _Server(
            transaction_id=found[0x80].value, address=found[0x83].text(), certificate=certificate.raw
        )
        own = self._credentials
        signature = ecc.sign(own.private_key, echoed)
        return tlv.wrap(0xBF38, tlv.wrap(0xA0, echoed, signature, own.euicc_certificate, own.eum_certificate))

    def prepare_download(self, request: bytes) -> bytes:
        """BF21: a one-time key and the hash of the confirmation code, signed."""
        signed2, signature2, *rest = tlv.read_only(request, 0xBF21).children()
        key = ec.generate_private_key(self._credentials.private_key.curve)
        hashed = b"".join(part.raw for part in rest if part.tag == 0x04)
        point = tlv.wrap(ecc.ONE_TIME_KEY_TAG, ecc.public_point(key))
        signed = tlv.wrap(0x30, signed2.members()[0x80].raw, point, hashed)
        signature = ecc.sign(self._credentials.private_key, signed, signature2.raw)
        return tlv.wrap(0xBF21, tlv.wrap(0xA0, signed, signature))

    def load_bound_profile_package(self, segment: bytes) -> bytes:
        """Collect the metadata, count the profile's bytes, and report success (BF37) after the last."""
        tag = segment[0]
        if tag == 0x88:
            self._metadata += tlv.read_only(segment, tag).value[:-_MAC_BYTES]
        elif tag == 0xA3:
            self._left = _announced(segment)
        elif tag == 0x86:
            self._left -= len(segment)
        return self._report() if self._left == 0 else b""

    def _report(self) -> bytes:
        server = self._server
        if server is None:
            raise ValueError("no server is authenticated: call AuthenticateServer first")
        number, self._sequence = self._sequence, self._sequence + 1
        iccid = Iccid.from_bytes(tlv.read_only(bytes(self._metadata), 0xBF25).members()[0x5A].value)
        data = tlv.wrap(
            0xBF27,
            tlv.wrap(0x80, server.transaction_id),
            notifications.metadata(number, Event.INSTALL, server.address, iccid),
            tlv.wrap(0x06, _owner(server.certificate)),
            tlv.wrap(0xA2, tlv.wrap(0xA0, tlv.wrap(0x4F, _AID), tlv.wrap(0x04, b"\x30\x00"))),
        )
        self._waiting[number] = tlv.wrap(0xBF37, data, ecc.sign(self._credentials.private_key, data))
        self._server = None
        return self._waiting[number]

    def cancel_session(self, request: bytes) -> bytes:
        """BF41: the signed reason, or invalidTransactionId when no such session is open."""
        found = tlv.read_only(request, 0xBF41).members()
        server, self._server = self._server, None
        if server is None or server.transaction_id != found[0x80].value:
            return _INVALID_TRANSACTION
        reason = tlv.wrap(0x82, found[0x81].value)
        signed = tlv.wrap(0x30, found[0x80].raw, tlv.wrap(0x81, _owner(server.certificate)), reason)
        return tlv.wrap(0xBF41, tlv.wrap(0xA0, signed, ecc.sign(self._credentials.private_key, signed)))

    def retrieve_notifications(self, request: bytes) -> bytes:
        """BF2B with all that waits."""
        tlv.read_only(request, 0xBF2B)
        return tlv.wrap(0xBF2B, tlv.wrap(0xA0, *self._waiting.values()))

    def remove_notification(self, request: bytes) -> bytes:
        """BF30."""
        number = tlv.read_only(request, 0xBF30).members()[0x80].integer()
        found = self._waiting.pop(number, None)
        return tlv.wrap(0xBF30, tlv.wrap_integer(0x80, 0 if found else 1))


def _announced(header: bytes) -> int:
    """The length that a header of a one-byte tag announces; its value comes in later pieces."""
    length = header[1]
    return length if length < 0x80 else int.from_bytes(header[2 : 2 + (length & 0x7F)], "big")


@lru_cache(maxsize=16)
def _owner(certificate: bytes) -> bytes:
    """The content octets of the server's OID, from the registeredID of its certificate."""
    names = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    for name in names.value:
        if isinstance(name, x509.RegisteredID):
            return tlv.oid_to_bytes(name.value.dotted_string)
    raise ValueError("the server's certificate carries no OID of its owner")
