"""ES11 of a simulated SM-DS: an eUICC and the SM-DS authenticate each other, then its events are told (SGP.22 5.8)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography import x509

from rsp import tlv
from rsp.identifiers import MatchingId, TransactionId
from rsp.status import Status
from simulator import ecc
from simulator.credentials import ci_key_identifier
from simulator.euicc_checks import EuiccRefused, verify_euicc
from simulator.smds_book import Book, SmdsRefused
from simulator.smds_certificates import Issued, SmdsIssuer
from simulator.strict_json import from_base64, load_object, to_base64

_OLDEST_SVN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    challenge: bytes
    signed1: bytes


@dataclass(slots=True)
class Sessions:
    """The two functions of ES11. `issuers` are the CIs under which the SM-DS has certificates, all of them trusted."""

    address: str
    book: Book
    issuers: Sequence[SmdsIssuer]
    now: Callable[[], datetime]
    _certificates: dict[bytes, Issued] = field(init=False, repr=False)
    _open: dict[TransactionId, _Session] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._certificates = {issuer.ci_key_id: issuer.auth() for issuer in self.issuers}

    def initiate_authentication(self, body: bytes) -> dict[str, Any]:
        """InitiateAuthentication: the members of the answer. Raises SmdsRefused, ValueError."""
        members = _members(body, "euiccChallenge", "euiccInfo1", "smdpAddress")
        challenge = from_base64(members["euiccChallenge"])
        if len(challenge) != 16:
            raise ValueError("euiccChallenge is 16 bytes")
        if members["smdpAddress"].lower() != self.address:
            raise SmdsRefused(Status.SMDS_ADDRESS_REFUSED)
        signing, issued = self._choice(tlv.read_only(from_base64(members["euiccInfo1"]), 0xBF20))
        transaction_id = TransactionId(secrets.token_bytes(16))
        signed1 = tlv.wrap(
            0x30,
            tlv.wrap(0x80, transaction_id.value),
            tlv.wrap(0x81, challenge),
            tlv.wrap(0x83, self.address.encode()),
            tlv.wrap(0x84, secrets.token_bytes(16)),
        )
        self._open[transaction_id] = _Session(challenge=challenge, signed1=signed1)
        return {
            "transactionId": str(transaction_id),
            "serverSigned1": to_base64(signed1),
            "serverSignature1": to_base64(ecc.sign(issued.key, signed1)),
            "euiccCiPKIdToBeUsed": to_base64(tlv.wrap(0x04, signing)),
            "serverCertificate": to_base64(issued.der),
        }

    def authenticate_client(self, body: bytes) -> dict[str, Any]:
        """AuthenticateClient: the events of the eUICC, or the one it names. Raises SmdsRefused, ValueError."""
        members = _members(body, "transactionId", "authenticateServerResponse")
        transaction_id = TransactionId.parse(members["transactionId"])
        session = self._open.pop(transaction_id, None)
        if session is None:
            raise SmdsRefused(Status.TRANSACTION_UNKNOWN)
        answer = tlv.read_only(from_base64(members["authenticateServerResponse"]), 0xBF38)
        arm = next(answer.children())
        if arm.tag != 0xA0:
            raise SmdsRefused(Status.EUICC_SIGNATURE_INVALID, "The eUICC answered with an error.")
        signed, signature, euicc, eum = arm.children()
        trusted = {ci_key_identifier(issuer.ci_certificate): issuer.ci_certificate for issuer in self.issuers}
        try:
            eid = verify_euicc(signed, signature, (euicc.raw, eum.raw), trusted, self.now())
        except EuiccRefused as refused:
            raise SmdsRefused(refused.status, str(refused)) from None
        except x509.ExtensionNotFound:
            raise SmdsRefused(Status.EUM_CERTIFICATE_INVALID) from None
        found = {child.tag: child for child in signed.children()}
        ours = tlv.read_only(session.signed1, 0x30).members()
        if any(found[tag].raw != ours[tag].raw for tag in (0x80, 0x83, 0x84)):
            raise SmdsRefused(Status.EUICC_SIGNATURE_INVALID, "The eUICC signed another session.")
        wanted = found[0xA0].members().get(0x80)
        events = self.book.of(eid)
        if wanted is not None and wanted.value:
            events = [event for event in events if event.event_id == MatchingId(wanted.text())]
            if not events:
                raise SmdsRefused(Status.EVENT_UNKNOWN)
        entries = [{"eventId": str(event.event_id), "rspServerAddress": event.rsp_server_address} for event in events]
        return {"transactionId": str(transaction_id), "eventEntries": entries}

    def _choice(self, info: tlv.Tlv) -> tuple[bytes, Issued]:
        """The CI under which the eUICC is to sign, and the certificate it is shown."""
        found = info.members()
        if found[0x82].value[0] < _OLDEST_SVN:
            raise SmdsRefused(Status.SMDS_SVN_UNSUPPORTED)
        verification, signing = ([child.value for child in found[tag].children()] for tag in (0xA9, 0xAA))
        chosen = next((key_id for key_id in signing if key_id in self._certificates), None)
        if chosen is None:
            raise SmdsRefused(Status.SMDS_CI_FOR_SIGNING_UNSUPPORTED)
        shown = next((self._certificates[key_id] for key_id in verification if key_id in self._certificates), None)
        if shown is None:
            raise SmdsRefused(Status.SMDS_CI_FOR_VERIFICATION_UNAVAILABLE)
        return chosen, shown


def _members(body: bytes, *names: str) -> dict[str, str]:
    members = load_object(body)
    if set(members) != set(names) or not all(isinstance(value, str) for value in members.values()):
        raise ValueError(f"the members are {sorted(names)}, all of them texts")
    return members
