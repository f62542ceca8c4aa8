"""Use cases of ES9+: a profile from order to card (SGP.22 3.1.3, 5.6); a step is one read, one decision, one commit."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime

import msgspec
from msgspec.structs import replace

from crypto.certificates import BadCertificate, CertificateRejected, EuiccIdentity, Fault, TrustStore, parse_certificate
from crypto.signatures import BadSignature, verify
from crypto.vault import Vault
from rsp import es10
from rsp.errors import Malformed, Refused
from rsp.identifiers import Eid, MatchingId, TransactionId, fqdn
from rsp.status import Status
from smdp.credentials import Credentials, Wallet
from smdp.delivery import Delivery
from smdp.device_rules import Requester
from smdp.eligibility import judge
from smdp.order import OrderChange
from smdp.policy import Policy
from smdp.ports import DownloadFacts, DownloadStore, DownloadWrite, TransitionLost
from smdp.recent import Recent
from smdp.session import Session, SessionChange, SessionEvent, SessionState

_CHALLENGE_BYTES = 16
_RACES = 5

_CERTIFICATE_FAULTS = {
    Fault.CI_UNKNOWN: Status.CI_UNKNOWN,
    Fault.EUM_INVALID: Status.EUM_CERTIFICATE_INVALID,
    Fault.EUM_EXPIRED: Status.EUM_CERTIFICATE_EXPIRED,
    Fault.EUM_REVOKED: Status.EUM_CERTIFICATE_INVALID,
    Fault.EUICC_INVALID: Status.EUICC_CERTIFICATE_INVALID,
    Fault.EUICC_EXPIRED: Status.EUICC_CERTIFICATE_EXPIRED,
}


class Initiated(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of InitiateAuthentication: raw objects, ready for either binding."""

    transaction_id: TransactionId
    server_signed1: bytes
    server_signature1: bytes
    ci_key_id: bytes
    certificate: bytes


class Authenticated(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of AuthenticateClient: raw objects, ready for either binding."""

    transaction_id: TransactionId
    metadata: bytes
    smdp_signed2: bytes
    smdp_signature2: bytes
    certificate: bytes


class Downloads:
    """InitiateAuthentication, AuthenticateClient and GetBoundProfilePackage; CancelSession is in smdp.cancellation."""

    def __init__(
        self,
        store: DownloadStore,
        vault: Vault,
        trust: TrustStore,
        wallet: Wallet,
        policy: Policy,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._vault = vault
        self._trust = trust
        self._wallet = wallet
        self._policy = policy
        self._now = now
        self._recent = Recent()
        self._delivery = Delivery(store, vault, wallet, policy, now, self._recent)

    async def initiate_authentication(self, challenge: bytes, euicc_info1: bytes, address: str) -> Initiated:
        """Open a session (SGP.22 5.6.1). Raises Malformed or Refused; nothing is stored then."""
        if len(challenge) != _CHALLENGE_BYTES:
            raise Malformed("euiccChallenge must be 16 bytes")
        info = es10.parse_euicc_info1(euicc_info1)
        served = _served_address(address, self._policy.server_names)
        if info.svn[0] < self._policy.oldest_svn_major:
            raise Refused(Status.SVN_UNSUPPORTED)
        choice = self._wallet.choose(info)
        session = Session(
            transaction_id=TransactionId(secrets.token_bytes(16)),
            state=SessionState.INITIATED,
            expires_at=self._now() + self._policy.session_time,
            server_address=served,
            server_challenge=secrets.token_bytes(_CHALLENGE_BYTES),
            ci_key_id=choice.euicc_ci_key_id,
            server_ci_key_id=choice.credentials.ci_key_id,
        )
        signed = es10.server_signed1(
            transaction_id=session.transaction_id,
            euicc_challenge=challenge,
            server_address=served,
            server_challenge=session.server_challenge,
        )
        signature = await self._vault.sign(choice.credentials.auth_key, signed)
        await self._store.open_session(session)
        return Initiated(
            transaction_id=session.transaction_id,
            server_signed1=signed,
            server_signature1=es10.signature_object(signature),
            ci_key_id=choice.euicc_ci_key_id,
            certificate=choice.credentials.auth_certificate,
        )

    async def authenticate_client(self, transaction_id: TransactionId, message: bytes) -> Authenticated:
        """Verify the eUICC, find and judge its order (SGP.22 5.6.3). `message` is BF38 as received.

        The same bytes again get the same answer. Raises Malformed (nothing stored) or Refused (the session ends).
        """
        response = es10.parse_authenticate_server_response(message)
        digest = hashlib.sha256(message).digest()
        for _ in range(_RACES):
            try:
                return await self._authenticate(transaction_id, response, digest)
            except TransitionLost:
                continue
        raise Refused(Status.EXECUTION_ERROR, "Other requests for this order keep coming first.")

    async def get_bound_profile_package(self, transaction_id: TransactionId, message: bytes) -> bytes:
        """Bind the profile to the card and hand it over (SGP.22 5.6.2). `message` is BF21; the answer is BF36.

        The same bytes again get the same answer. Raises Malformed (nothing stored) or Refused.
        """
        response = es10.parse_prepare_download_response(message)
        digest = hashlib.sha256(message).digest()
        for _ in range(_RACES):
            try:
                return await self._delivery.deliver(transaction_id, response, digest)
            except TransitionLost:
                continue
        raise Refused(Status.EXECUTION_ERROR, "Other requests for this order keep coming first.")

    async def _authenticate(
        self,
        transaction_id: TransactionId,
        response: es10.AuthenticateServerOk | es10.AuthenticateServerError,
        digest: bytes,
    ) -> Authenticated:
        matching_id, eid = _wanted(response)
        facts = await self._store.find_for_authentication(transaction_id, matching_id, eid)
        if facts is None:
            raise Refused(Status.TRANSACTION_UNKNOWN)
        session = facts.session
        credentials = self._wallet.of(session.server_ci_key_id)
        if session.authenticate_digest == digest:
            return _authenticated_again(facts, credentials)
        if credentials is None or session.state is not SessionState.INITIATED or session.expires_at <= self._now():
            raise Refused(Status.TRANSACTION_UNKNOWN)
        try:
            identity = self._verify(session, response)
        except Refused as refusal:
            await self._end(session, digest, refusal.status)
            raise
        assert isinstance(response, es10.AuthenticateServerOk)
        return await self._accept(facts, response, identity, digest, credentials)

    def _verify(
        self, session: Session, response: es10.AuthenticateServerOk | es10.AuthenticateServerError
    ) -> EuiccIdentity:
        """Everything about the eUICC, nothing about the order: in the order of the steps of 5.6.3."""
        if isinstance(response, es10.AuthenticateServerError):
            if response.transaction_id != session.transaction_id:
                raise Refused(Status.TRANSACTION_UNKNOWN)
            raise Refused(Status.EUICC_SIGNATURE_INVALID, f"The eUICC answered with error {response.code}.")
        try:
            identity = self._trust.verify_euicc(
                response.eum_certificate, response.euicc_certificate, self._now(), under=session.ci_key_id
            )
            verify(identity.public_key, response.signature, response.signed)
        except CertificateRejected as rejected:
            raise Refused(_CERTIFICATE_FAULTS[rejected.fault]) from rejected
        except BadSignature as bad:
            raise Refused(Status.EUICC_SIGNATURE_INVALID) from bad
        same = secrets.compare_digest(response.server_challenge, session.server_challenge)
        if not same or response.server_address != session.server_address:
            raise Refused(Status.EUICC_SIGNATURE_INVALID)
        if response.transaction_id != session.transaction_id:
            raise Refused(Status.TRANSACTION_UNKNOWN)
        return identity

    async def _accept(
        self,
        facts: DownloadFacts,
        response: es10.AuthenticateServerOk,
        identity: EuiccIdentity,
        digest: bytes,
        credentials: Credentials,
    ) -> Authenticated:
        """The eUICC is what it says; now its order."""
        session, order, profile = facts.session, facts.order, facts.profile
        eid = Eid(identity.eid)
        info = es10.parse_euicc_info2(response.euicc_info2)
        requester = Requester(eid=eid, info=info, device=response.device_info)
        judgement = judge(facts, requester, self._now(), self._policy.download_attempts)
        if judgement.refusal is not None:
            change = _ended(session, digest, judgement.refusal)
            await self._store.write(DownloadWrite(session=change, order=judgement.order, messages=judgement.messages))
            raise Refused(judgement.refusal, judgement.detail)
        assert order is not None
        assert profile is not None
        reused = order.binding if order.binding and order.binding.ci_key_id == credentials.ci_key_id else None
        signed2 = es10.smdp_signed2(
            transaction_id=session.transaction_id,
            confirmation_code_required=order.confirmation_sealed is not None,
            bpp_euicc_otpk=reused.euicc_otpk if reused else None,
        )
        to_sign = es10.smdp_signature2_input(signed2, response.signature_tlv)
        signature2 = es10.signature_object(await self._vault.sign(credentials.pb_key, to_sign))
        change = SessionChange.of(
            session,
            SessionEvent.AUTHENTICATE,
            order_id=order.id,
            eid=eid,
            euicc_key=identity.point,
            smdp_signed2=signed2,
            smdp_signature2=signature2,
            authenticate_digest=digest,
        )
        assert judgement.order is not None
        await self._store.write(DownloadWrite(session=change, order=judgement.order, messages=judgement.messages))
        self._recent.keep(_accepted(facts, change, judgement.order))
        return Authenticated(
            transaction_id=session.transaction_id,
            metadata=profile.metadata,
            smdp_signed2=signed2,
            smdp_signature2=signature2,
            certificate=credentials.pb_certificate,
        )

    async def _end(self, session: Session, digest: bytes, status: Status) -> None:
        await self._store.write(DownloadWrite(session=_ended(session, digest, status)))


def _accepted(facts: DownloadFacts, change: SessionChange, step: OrderChange) -> DownloadFacts:
    """What a read would find now."""
    order = facts.order
    assert order is not None
    session = replace(
        facts.session,
        state=change.state,
        order_id=change.order_id,
        eid=change.eid,
        euicc_key=change.euicc_key,
        smdp_signed2=change.smdp_signed2,
        smdp_signature2=change.smdp_signature2,
        authenticate_digest=change.authenticate_digest,
    )
    accepted = replace(
        order,
        state=step.state,
        version=order.version + 1,
        eid=step.eid,
        imei=step.imei or order.imei,
        download_attempts=order.download_attempts + 1,
    )
    return replace(facts, session=session, order=accepted)


def _ended(session: Session, digest: bytes, status: Status) -> SessionChange:
    change = SessionChange.of(session, SessionEvent.END)
    return replace(change, authenticate_digest=digest, refusal=status.name)


def _authenticated_again(facts: DownloadFacts, credentials: Credentials | None) -> Authenticated:
    """The stored answer to a request that was answered before, whose answer may have been lost."""
    session = facts.session
    if session.state is SessionState.ENDED and session.smdp_signed2 is None and session.refusal:
        raise Refused(Status[session.refusal])
    if facts.profile is None or credentials is None or session.state is not SessionState.AUTHENTICATED:
        raise Refused(Status.TRANSACTION_UNKNOWN)
    assert session.smdp_signed2 is not None
    assert session.smdp_signature2 is not None
    return Authenticated(
        transaction_id=session.transaction_id,
        metadata=facts.profile.metadata,
        smdp_signed2=session.smdp_signed2,
        smdp_signature2=session.smdp_signature2,
        certificate=credentials.pb_certificate,
    )


def _wanted(
    response: es10.AuthenticateServerOk | es10.AuthenticateServerError,
) -> tuple[MatchingId | None, Eid | None]:
    """What to look for: nothing of it is trusted before the signature is verified."""
    if isinstance(response, es10.AuthenticateServerError):
        return None, None
    try:
        eid = Eid(parse_certificate(response.euicc_certificate).eid)
    except (BadCertificate, Malformed):
        eid = None
    if not response.matching_id:
        return None, eid
    try:
        return MatchingId(response.matching_id), eid
    except Malformed:
        # No order can have this token, and none bound to the EID may be taken in its place.
        return _NO_ORDER, eid


_NO_ORDER = MatchingId("-" * 255)


def _served_address(address: str, names: tuple[str, ...]) -> str:
    """The name the device asked for, if it is one of ours; case and port do not matter."""
    try:
        name = fqdn(address)
    except Malformed:
        raise Refused(Status.ADDRESS_REFUSED) from None
    if name not in names:
        raise Refused(Status.ADDRESS_REFUSED)
    return name
