"""GetBoundProfilePackage: confirmation code, binding, hand-over (SGP.22 5.6.2, 3.1.3 steps 7 to 9)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec
from msgspec.structs import replace

from crypto.agreement import BadPoint, OneTimeKey, SessionKeys, card_key, derive_session_keys
from crypto.confirmation import hash_for_session, matches
from crypto.curves import Curve
from crypto.sealing import SealingKey
from crypto.signatures import BadSignature, verify
from crypto.vault import Vault
from rsp import es8plus, es10
from rsp.errors import Refused
from rsp.identifiers import TransactionId
from rsp.status import Status
from smdp.binding import Content, Package, bound_profile_package
from smdp.credentials import Credentials, Wallet
from smdp.eligibility import DOWNLOADABLE, has_expired
from smdp.order import Binding, Order, OrderChange, OrderEvent
from smdp.policy import Policy
from smdp.ports import DownloadFacts, DownloadStore, DownloadWrite, ProtectedPackage, TransitionLost
from smdp.progress import NotificationPoint, report
from smdp.recent import Recent
from smdp.sealing import confirmation_context, one_time_key_context, order_key, package_key_context
from smdp.session import Session, SessionChange, SessionEvent, SessionState


class _Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a package with all that was loaded for it."""

    facts: DownloadFacts
    session: Session
    order: Order
    credentials: Credentials
    package: ProtectedPackage
    digest: bytes
    remembered: bool

    def doubt(self) -> None:
        """Called before a refusal: by what is only remembered nobody is refused. Raises TransitionLost."""
        if self.remembered:
            raise TransitionLost("what is remembered of the session may be out of date")


class Delivery:
    """Hands a bound profile package over, once the session is authenticated."""

    def __init__(
        self,
        store: DownloadStore,
        vault: Vault,
        wallet: Wallet,
        policy: Policy,
        now: Callable[[], datetime],
        recent: Recent,
    ) -> None:
        self._store = store
        self._recent = recent
        self._vault = vault
        self._wallet = wallet
        self._policy = policy
        self._now = now

    async def deliver(
        self,
        transaction_id: TransactionId,
        response: es10.PrepareDownloadOk | es10.PrepareDownloadError,
        digest: bytes,
    ) -> bytes:
        """BF36 for a verified request. Raises Refused, TransitionLost."""
        attempt = await self._load(transaction_id, digest)
        if attempt.session.download_digest == digest:
            return await self._again(attempt, response)
        if attempt.session.state is not SessionState.AUTHENTICATED or attempt.session.expires_at <= self._now():
            raise Refused(Status.TRANSACTION_UNKNOWN)
        try:
            confirmed = _verified(attempt, response, self._wallet.curve_of(attempt.session.ci_key_id))
            if not _is_open(attempt.order):
                raise Refused(Status.NOT_RELEASED, f"The order is {attempt.order.state}.")
        except Refused as refusal:
            await self._refuse(attempt, refusal.status)
            raise
        key = await order_key(self._vault, attempt.order)
        await self._check_code(attempt, confirmed, key)
        if has_expired(attempt.order, self._now()):
            await self._refuse(attempt, Status.ORDER_EXPIRED)
            raise Refused(Status.ORDER_EXPIRED)
        return await self._bind(attempt, confirmed, key)

    async def _load(self, transaction_id: TransactionId, digest: bytes) -> _Attempt:
        remembered = self._recent.take(transaction_id)
        facts = remembered or await self._store.find_for_delivery(transaction_id)
        if facts is None:
            raise Refused(Status.TRANSACTION_UNKNOWN)
        credentials = self._wallet.of(facts.session.server_ci_key_id)
        if facts.order is None or facts.profile is None or facts.package is None or credentials is None:
            raise Refused(Status.TRANSACTION_UNKNOWN)
        return _Attempt(
            facts=facts,
            session=facts.session,
            order=facts.order,
            credentials=credentials,
            package=facts.package,
            digest=digest,
            remembered=remembered is not None,
        )

    async def _again(self, attempt: _Attempt, response: es10.PrepareDownloadOk | es10.PrepareDownloadError) -> bytes:
        """The answer to a request that was answered before, whose answer may have been lost."""
        session, order = attempt.session, attempt.order
        delivered = session.state is SessionState.DELIVERED and session.secure_channel and order.binding
        # A session that has delivered may still remember an earlier wrong code.
        if session.refusal and not delivered:
            raise Refused(Status[session.refusal])
        if not delivered or not _is_open(order) or not isinstance(response, es10.PrepareDownloadOk):
            raise Refused(Status.TRANSACTION_UNKNOWN)
        assert order.binding is not None
        assert session.secure_channel is not None
        same = order.binding.host_id in session.secure_channel and order.binding.euicc_otpk == response.euicc_otpk
        if not same:
            raise Refused(Status.TRANSACTION_UNKNOWN, "A later session has bound the profile anew.")
        content = self._content(attempt).kept(order.binding.host_id)
        if content is None:
            raise Refused(Status.TRANSACTION_UNKNOWN, "The profile has changed since: begin a new session.")
        one_time_key = await self._stored_key(attempt, order.binding, await order_key(self._vault, order))
        keys = _session_keys(one_time_key, order.binding, session)
        return await self._assemble(attempt, keys, session.secure_channel, content)

    async def _check_code(self, attempt: _Attempt, response: es10.PrepareDownloadOk, key: SealingKey) -> None:
        """Missing codes cost nothing; wrong ones are counted, and the last one ends the order (SGP.22 5.6.2)."""
        order = attempt.order
        if order.confirmation_sealed is None:
            return
        if not response.hash_cc:
            attempt.doubt()
            raise Refused(Status.CONFIRMATION_CODE_MISSING)
        code = key.open(order.confirmation_sealed, confirmation_context(order.id))
        if matches(hash_for_session(code, bytes(response.transaction_id.value)), response.hash_cc):
            return
        attempt.doubt()
        limit = attempt.facts.limits.confirmation_attempts or self._policy.confirmation_attempts
        spent = order.confirmation_attempts + 1 >= limit
        status = Status.CONFIRMATION_CODE_RETRIES_EXCEEDED if spent else Status.CONFIRMATION_CODE_REFUSED
        event = OrderEvent.FAIL if spent else OrderEvent.REFUSE_CODE
        step = SessionEvent.END if spent else SessionEvent.REFUSE_CODE
        change = SessionChange.of(attempt.session, step)
        await self._store.write(
            DownloadWrite(
                session=replace(change, download_digest=attempt.digest, refusal=status.name),
                order=replace(OrderChange.of(order, event), count_confirmation=True),
                messages=(report(order, NotificationPoint.CONFIRMATION_FAILURE, self._now(), status),),
            )
        )
        raise Refused(status)

    async def _bind(self, attempt: _Attempt, response: es10.PrepareDownloadOk, key: SealingKey) -> bytes:
        """Everything that can fail comes before the commit; the answer leaves after it."""
        session, order = attempt.session, attempt.order
        binding, content = order.binding, self._content(attempt)
        kept = content.kept(binding.host_id) if binding and _is_for(binding, response, session) else None
        if binding and kept:
            one_time_key, content = await self._stored_key(attempt, binding, key), kept
        elif binding and not attempt.facts.limits.rebinding and not _is_for(binding, response, session):
            await self._refuse(attempt, Status.REBINDING_REFUSED)
            raise Refused(Status.REBINDING_REFUSED)
        else:
            one_time_key = OneTimeKey.generate(attempt.credentials.curve)
            binding = _fresh_binding(attempt, one_time_key, response.euicc_otpk, content.new_host_id(), key)
        try:
            keys = _session_keys(one_time_key, binding, session)
        except BadPoint as bad:
            await self._refuse(attempt, Status.EUICC_SIGNATURE_INVALID)
            raise Refused(Status.EUICC_SIGNATURE_INVALID, "euiccOtpk is not a point of the agreed curve.") from bad
        secure_channel = await self._secure_channel(attempt, one_time_key, binding)
        answer = await self._assemble(attempt, keys, secure_channel, content)
        delivered = SessionChange.of(
            session, SessionEvent.DELIVER, download_digest=attempt.digest, secure_channel=secure_channel
        )
        await self._store.write(
            DownloadWrite(
                session=delivered,
                order=OrderChange.of(
                    order,
                    OrderEvent.DELIVER,
                    binding=binding,
                    handed_out=True,
                    awaiting=session.transaction_id.value,
                ),
                messages=(report(order, NotificationPoint.BPP_DOWNLOAD, self._now()),),
            )
        )
        return answer

    async def _stored_key(self, attempt: _Attempt, binding: Binding, key: SealingKey) -> OneTimeKey:
        secret = key.open(binding.otsk_sealed, one_time_key_context(attempt.order.id, binding.euicc_otpk))
        return OneTimeKey.from_bytes(attempt.credentials.curve, secret)

    async def _secure_channel(self, attempt: _Attempt, one_time_key: OneTimeKey, binding: Binding) -> bytes:
        """BF23 with its signature by SK.DPpb."""
        transaction_id = attempt.session.transaction_id
        to_sign = es8plus.initialise_secure_channel_signed_part(
            transaction_id=transaction_id,
            host_id=binding.host_id,
            smdp_otpk=one_time_key.public,
            euicc_otpk=binding.euicc_otpk,
        )
        return es8plus.initialise_secure_channel(
            transaction_id=transaction_id,
            host_id=binding.host_id,
            smdp_otpk=one_time_key.public,
            smdp_sign=await self._vault.sign(attempt.credentials.pb_key, to_sign),
        )

    def _content(self, attempt: _Attempt) -> Content:
        """What is to be protected, by the rules of today."""
        profile = attempt.facts.profile
        assert profile is not None
        return Content(
            proprietary=self._policy.dp_proprietary,
            metadata=profile.metadata,
            package_id=profile.package_id,
            protection=self._policy.protection,
        )

    async def _assemble(self, attempt: _Attempt, keys: SessionKeys, secure_channel: bytes, content: Content) -> bytes:
        context = package_key_context(content.package_id)
        own = SessionKeys.from_bytes(await self._vault.unwrap(attempt.package.key_sealed, context))
        return bound_profile_package(
            secure_channel=secure_channel,
            keys=keys,
            content=content,
            package=Package(segments=attempt.package.segments, keys=own),
        )

    async def _refuse(self, attempt: _Attempt, status: Status) -> None:
        """End the session; an expired order fails with it. Its owner is told of that, and of a refused binding."""
        attempt.doubt()
        order = attempt.order
        told = report(order, NotificationPoint.BPP_DOWNLOAD, self._now(), status)
        change = replace(
            SessionChange.of(attempt.session, SessionEvent.END), download_digest=attempt.digest, refusal=status.name
        )
        if status is Status.REBINDING_REFUSED:
            await self._store.write(DownloadWrite(session=change, messages=(told,)))
        elif status is Status.ORDER_EXPIRED and _is_open(order):
            failed = OrderChange.of(order, OrderEvent.FAIL)
            await self._store.write(DownloadWrite(session=change, order=failed, messages=(told,)))
        else:
            await self._store.write(DownloadWrite(session=change))


def _is_open(order: Order) -> bool:
    return order.state in DOWNLOADABLE


def _verified(
    attempt: _Attempt, response: es10.PrepareDownloadOk | es10.PrepareDownloadError, curve: Curve
) -> es10.PrepareDownloadOk:
    """Inner transactionId, then the eUICC's signature over what it answers to. Raises Refused."""
    session = attempt.session
    if response.transaction_id != session.transaction_id:
        raise Refused(Status.TRANSACTION_UNKNOWN)
    if isinstance(response, es10.PrepareDownloadError):
        raise Refused(Status.EXECUTION_ERROR, f"The eUICC answered PrepareDownload with error {response.code}.")
    assert session.euicc_key is not None
    assert session.smdp_signature2 is not None
    try:
        public_key = card_key(curve, session.euicc_key)
        verify(public_key, response.signature, es10.euicc_signature2_input(response.signed, session.smdp_signature2))
    except (BadSignature, BadPoint) as bad:
        raise Refused(Status.EUICC_SIGNATURE_INVALID) from bad
    return response


def _is_for(binding: Binding, response: es10.PrepareDownloadOk, session: Session) -> bool:
    """Whether the card still holds the one-time key of this binding and signs under the same CI."""
    return binding.euicc_otpk == response.euicc_otpk and binding.ci_key_id == session.server_ci_key_id


def _fresh_binding(
    attempt: _Attempt, one_time_key: OneTimeKey, euicc_otpk: bytes, host_id: bytes, key: SealingKey
) -> Binding:
    context = one_time_key_context(attempt.order.id, euicc_otpk)
    return Binding(
        euicc_otpk=euicc_otpk,
        otsk_sealed=key.seal(one_time_key.to_bytes(), context),
        host_id=host_id,
        ci_key_id=attempt.session.server_ci_key_id,
    )


def _session_keys(one_time_key: OneTimeKey, binding: Binding, session: Session) -> SessionKeys:
    assert session.eid is not None
    return derive_session_keys(one_time_key, binding.euicc_otpk, binding.host_id, session.eid.to_bytes())
