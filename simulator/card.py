"""A strict virtual eUICC: the remote provisioning functions of ES10b (SGP.22 v2.5, 5.7), raw TLVs in and out."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec

from rsp import tlv
from rsp.identifiers import Iccid, fqdn
from simulator import der, ecc, notifications, profile_package, server_certificates
from simulator.admission import Admission
from simulator.card_management import LocalManagement, spoil, utc_now
from simulator.card_memory import CardImage
from simulator.credentials import CardCredentials, forge
from simulator.es10b import (
    AUTHENTICATE_FAULTS,
    CANCEL_REASONS,
    AuthenticateError,
    CancelError,
    DownloadError,
    Rejected,
    check_context_parameters,
    read_transaction_id,
)
from simulator.installer import BppReceiver, DownloadContext, InstallationFailed, ReceivedProfile
from simulator.mangling import curve_for, extra_members, mangled
from simulator.misbehaviour import InstallFailure, Misbehaviour
from simulator.notifications import Event, Notification
from simulator.profiles import Profile, ProfileState
from simulator.server_certificates import (
    ROLE_DP_AUTH,
    ROLE_DP_BINDING,
    ROLE_DS_AUTH,
    CertificateRefused,
    Fault,
    ServerCertificate,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """What AuthenticateServer established."""

    transaction_id: bytes
    server_address: str
    server: ServerCertificate
    credentials: CardCredentials = field(repr=False)
    signature1: bytes


@dataclass(slots=True, eq=False)
class Card(LocalManagement):
    """A virtual eUICC. Methods take and return what an LPA exchanges with a card after ES10 transport.

    They raise ValueError on a command no card would take: malformed, or a package piece without a prepared download.
    `last_fault` says in words why the card answered with an error code the last time; `fail_install` makes the next
    installation fail.
    """

    last_fault: str = field(default="", init=False)
    fail_install: InstallFailure | None = field(default=None, init=False)
    _challenge: bytes | None = field(default=None, init=False, repr=False)
    _session: _Session | None = field(default=None, init=False, repr=False)
    _receiver: BppReceiver | None = field(default=None, init=False, repr=False)

    # Session -----------------------------------------------------------------------------------------------------

    def get_euicc_challenge(self) -> bytes:
        """A fresh challenge, tag BF2E; it ends any session that was open."""
        self._end_session()
        self._challenge = self.random(16)
        return tlv.wrap(0xBF2E, tlv.wrap(0x80, self._challenge))

    def _end_session(self) -> None:
        self._challenge = self._session = self._receiver = None

    # AuthenticateServer ------------------------------------------------------------------------------------------

    def authenticate_server(self, request: bytes) -> bytes:
        """ES10b.AuthenticateServer, tag BF38 (SGP.22 5.7.13)."""
        outer = tlv.read_only(request, 0xBF38)
        transaction_id = read_transaction_id(outer)
        try:
            answer = self._authenticate(outer)
        except (Rejected, ValueError) as error:
            return self._refusal(0xBF38, transaction_id, error, AuthenticateError.UNDEFINED)
        return mangled(answer, self.misbehave)

    def _refusal(self, tag: int, transaction_id: bytes, error: Exception, default: IntEnum) -> bytes:
        self.last_fault = str(error)
        code = error.code if isinstance(error, Rejected) else default
        return tlv.wrap(tag, tlv.wrap(0xA1, tlv.wrap(0x80, transaction_id), tlv.wrap_integer(0x02, code)))

    def _authenticate(self, outer: tlv.Tlv) -> bytes:
        if Misbehaviour.REFUSE_AUTHENTICATION in self.misbehave:
            raise Rejected(AuthenticateError.UNDEFINED, "told to refuse")
        if self._challenge is None:
            raise Rejected(AuthenticateError.NO_SESSION_CONTEXT, "no challenge was asked for")
        der.check_shortest(outer)
        children = list(outer.children())
        if [child.tag for child in children] != [0x30, 0x5F37, 0x04, 0x30, 0xA0]:
            raise ValueError("AuthenticateServer is serverSigned1, signature, CI key id, certificate, ctxParams1")
        signed, signature, ci_key_id, certificate, parameters = children
        server = self._check_server(certificate.raw, signed, signature)
        session = self._open_session(signed, server, ci_key_id)
        check_context_parameters(parameters)
        euicc_signed = self._euicc_signed1(signed, parameters)
        signature1 = self._signed_by(session, Misbehaviour.WRONG_SIGNATURE1, euicc_signed)
        self._challenge = None
        self._session = replace(session, signature1=signature1)
        chain = self._chain(session.credentials)
        return tlv.wrap(0xBF38, tlv.wrap(0xA0, euicc_signed, signature1, *chain))

    def _check_server(self, certificate: bytes, signed: tlv.Tlv, signature: tlv.Tlv) -> ServerCertificate:
        try:
            server = server_certificates.check(
                certificate, roles=(ROLE_DP_AUTH, ROLE_DS_AUTH), trusted=self._trusted(), now=self.now()
            )
            ecc.verify(server.key, signature, signed.raw)
        except CertificateRefused as error:
            raise Rejected(AUTHENTICATE_FAULTS[error.fault], str(error)) from error
        except ecc.SignatureWrong as error:
            raise Rejected(AuthenticateError.INVALID_SIGNATURE, "serverSignature1 is wrong") from error
        return server

    def _open_session(self, signed: tlv.Tlv, server: ServerCertificate, ci_key_id: tlv.Tlv) -> _Session:
        found = der.members(signed, 0x80, 0x81, 0x83, 0x84)
        if found[0x81].value != self._challenge:
            raise Rejected(AuthenticateError.CHALLENGE_MISMATCH, "the server signed another challenge")
        der.sized(found[0x84], 16)
        address = found[0x83].text()
        if fqdn(address) != address.lower():
            raise ValueError("serverAddress is a host name")
        credentials = self._signing_for(der.sized(ci_key_id, 20))
        if credentials is None:
            raise Rejected(AuthenticateError.CI_KEY_UNKNOWN, "the card signs under no such CI")
        return _Session(
            transaction_id=der.sized(found[0x80], 1, 16),
            server_address=address,
            server=server,
            credentials=credentials,
            signature1=b"",
        )

    def _euicc_signed1(self, signed: tlv.Tlv, parameters: tlv.Tlv) -> bytes:
        found = signed.members()
        faults = {
            0x80: Misbehaviour.WRONG_TRANSACTION_ID,
            0x83: Misbehaviour.WRONG_SERVER_ADDRESS,
            0x84: Misbehaviour.WRONG_SERVER_CHALLENGE,
        }
        echoed = [spoil(found[tag].raw) if fault in self.misbehave else found[tag].raw for tag, fault in faults.items()]
        return tlv.wrap(0x30, *echoed, self.get_euicc_info2(), parameters.raw, extra_members(self.misbehave))

    def _signed_by(self, session: _Session, fault: Misbehaviour, *parts: bytes) -> bytes:
        signature = ecc.sign(session.credentials.private_key, *parts)
        return spoil(signature) if fault in self.misbehave else signature

    def _chain(self, credentials: CardCredentials) -> tuple[bytes, bytes]:
        euicc, eum = credentials.euicc_certificate, credentials.eum_certificate
        if Misbehaviour.FOREIGN_EUM in self.misbehave:
            eum = forge(eum, issuer_key_id=spoil(credentials.ci_key_id))
        elif Misbehaviour.FORGED_EUM in self.misbehave:
            eum = forge(eum)
        if Misbehaviour.FORGED_EUICC in self.misbehave:
            euicc = forge(euicc)
        return euicc, eum

    # PrepareDownload ---------------------------------------------------------------------------------------------

    def prepare_download(self, request: bytes) -> bytes:
        """ES10b.PrepareDownload, tag BF21 (SGP.22 5.7.5)."""
        outer = tlv.read_only(request, 0xBF21)
        transaction_id = read_transaction_id(outer)
        try:
            return mangled(self._prepare(outer), self.misbehave)
        except (Rejected, ValueError) as error:
            return self._refusal(0xBF21, transaction_id, error, DownloadError.UNDEFINED)

    def _prepare(self, outer: tlv.Tlv) -> bytes:
        if Misbehaviour.REFUSE_DOWNLOAD in self.misbehave:
            raise Rejected(DownloadError.UNDEFINED, "told to refuse")
        session = self._session
        if session is None:
            raise Rejected(DownloadError.NO_SESSION_CONTEXT, "no server is authenticated")
        der.check_shortest(outer)
        children = list(outer.children())
        if [child.tag for child in children] not in ([0x30, 0x5F37, 0x30], [0x30, 0x5F37, 0x04, 0x30]):
            raise ValueError("PrepareDownload is smdpSigned2, signature, hash of the confirmation code, certificate")
        signed, signature, *hash_cc, certificate = children
        binding = self._check_binding(session, certificate.raw, signed, signature)
        found = der.members(signed, 0x80, 0x01, 0x5F49, optional=(0x5F49,))
        if found[0x80].value != session.transaction_id:
            raise Rejected(DownloadError.INVALID_TRANSACTION_ID, "smdpSigned2 belongs to another transaction")
        if (der.boolean(found[0x01]) and not hash_cc) or any(len(entry.value) != 32 for entry in hash_cc):
            raise ValueError("a confirmation code is asked for: send its 32-byte hash")
        one_time_key = self._one_time_key(binding, found.get(0x5F49))
        context = self._context(session, binding, one_time_key)
        self._receiver = BppReceiver(context, self._admission(), self.memory.key_reuse, self.fail_install)
        return self._prepared(session, one_time_key, signature.raw, hash_cc)

    def _context(
        self, session: _Session, binding: ServerCertificate, one_time_key: ec.EllipticCurvePrivateKey
    ) -> DownloadContext:
        return DownloadContext(
            transaction_id=session.transaction_id,
            binding_key=binding.key,
            one_time_key=one_time_key,
            eid=self.eid.to_bytes(),
        )

    def _admission(self) -> Admission:
        return Admission(
            profiles=self.memory.profiles,
            rat=self.rat,
            properties=self.properties,
            free_memory=self.free_memory,
            check_profile_elements=self.check_profile_elements,
            misbehave=self.misbehave,
        )

    def _check_binding(
        self, session: _Session, certificate: bytes, signed: tlv.Tlv, signature: tlv.Tlv
    ) -> ServerCertificate:
        try:
            binding = server_certificates.check(
                certificate, roles=(ROLE_DP_BINDING,), trusted=self._trusted(), now=self.now()
            )
        except CertificateRefused as error:
            curve = error.fault is Fault.UNSUPPORTED_CURVE
            code = DownloadError.UNSUPPORTED_CURVE if curve else DownloadError.INVALID_CERTIFICATE
            raise Rejected(code, str(error)) from error
        if (binding.owner_oid, binding.ci_key_id) != (session.server.owner_oid, session.server.ci_key_id):
            raise Rejected(DownloadError.INVALID_CERTIFICATE, "DPpb and DPauth differ in owner or CI")
        try:
            ecc.verify(binding.key, signature, signed.raw, session.signature1)
        except ecc.SignatureWrong as error:
            raise Rejected(DownloadError.INVALID_SIGNATURE, "smdpSignature2 is wrong") from error
        return binding

    def _one_time_key(self, binding: ServerCertificate, offered: tlv.Tlv | None) -> ec.EllipticCurvePrivateKey:
        """The stored key when the server names it, else a new one on the server's curve, stored for the next time."""
        stored = self.memory.one_time_keys.get(binding.owner_oid)
        known = stored is not None and offered is not None and ecc.public_point(stored) == offered.value
        if stored is not None and known and Misbehaviour.NEW_ONE_TIME_KEY not in self.misbehave:
            return stored
        fresh = ecc.one_time_key(curve_for(binding.key.curve, self.misbehave), self.random)
        self.memory.one_time_keys[binding.owner_oid] = fresh
        return fresh

    def _prepared(
        self, session: _Session, one_time_key: ec.EllipticCurvePrivateKey, signature2: bytes, hash_cc: list[tlv.Tlv]
    ) -> bytes:
        transaction_id = session.transaction_id
        if Misbehaviour.WRONG_TRANSACTION_ID2 in self.misbehave:
            transaction_id = spoil(transaction_id)
        euicc_signed = tlv.wrap(
            0x30,
            tlv.wrap(0x80, transaction_id),
            tlv.wrap(ecc.ONE_TIME_KEY_TAG, ecc.public_point(one_time_key)),
            *(entry.raw for entry in hash_cc),
            extra_members(self.misbehave),
        )
        signature = self._signed_by(session, Misbehaviour.WRONG_SIGNATURE2, euicc_signed, signature2)
        return tlv.wrap(0xBF21, tlv.wrap(0xA0, euicc_signed, signature))

    # LoadBoundProfilePackage -------------------------------------------------------------------------------------

    def load_bound_profile_package(self, segment: bytes) -> bytes:
        """ES10b.LoadBoundProfilePackage, one piece of the package (SGP.22 2.5.5): b"" or the installation result BF37.

        The result ends the session, wherever in the package it comes.
        """
        session, receiver = self._session, self._receiver
        if session is None or receiver is None:
            raise ValueError("no download is prepared: call PrepareDownload first")
        try:
            received = receiver.feed(segment)
        except InstallationFailed as failure:
            self.last_fault = str(failure)
            answer = tlv.wrap(0x82, failure.answer) if failure.answer else b""
            members = tlv.wrap_integer(0x80, failure.command), tlv.wrap_integer(0x81, failure.reason), answer
            return self._installation_result(session, receiver.iccid, tlv.wrap(0xA1, *members))
        return b"" if received is None else self._install(session, received)

    def _install(self, session: _Session, received: ReceivedProfile) -> bytes:
        profile = Profile(
            iccid=received.metadata.iccid,
            aid=self.memory.profiles.free_aid(),
            state=ProfileState.DISABLED,
            metadata=received.metadata.raw,
            package=received.package,
            smdp_oid=session.server.owner_oid,
            proprietary_data=received.proprietary_data,
            ci_key_id=session.credentials.ci_key_id,
        )
        self.memory.profiles.append(profile)
        self.free_memory -= len(received.package)
        self.memory.one_time_keys.pop(session.server.owner_oid, None)
        answer = tlv.wrap(0x04, profile_package.response())
        result = self._installation_result(session, profile.iccid, tlv.wrap(0xA0, tlv.wrap(0x4F, profile.aid), answer))
        # The SM-DP+ of the session learns of the installation by the result; others that asked for it get their own.
        self._notify(profile, Event.INSTALL, skip=session.server_address)
        return result

    def _installation_result(self, session: _Session, iccid: Iccid | None, final_result: bytes) -> bytes:
        number = self._next_sequence()
        described = notifications.metadata(number, Event.INSTALL, session.server_address, iccid)
        owner = tlv.wrap(0x06, tlv.oid_to_bytes(session.server.owner_oid))
        transaction_id = tlv.wrap(0x80, session.transaction_id)
        data = tlv.wrap(0xBF27, transaction_id, described, owner, tlv.wrap(0xA2, final_result))
        signature = self._signed_by(session, Misbehaviour.WRONG_PIR_SIGNATURE, data)
        result = tlv.wrap(0xBF37, data, signature)
        self.memory.notifications.append(
            Notification(sequence=number, event=Event.INSTALL, metadata=described, raw=result)
        )
        self._end_session()
        return result

    # CancelSession -----------------------------------------------------------------------------------------------

    def cancel_session(self, request: bytes) -> bytes:
        """ES10b.CancelSession, tag BF41 (SGP.22 5.7.14); it ends the session."""
        found = der.members(der.parse(request, 0xBF41), 0x80, 0x81)
        transaction_id, reason = der.sized(found[0x80], 1, 16), der.integer(found[0x81])
        if reason not in CANCEL_REASONS:
            raise ValueError(f"{reason} is no cancel session reason")
        session = self._session
        if session is None or session.transaction_id != transaction_id:
            return tlv.wrap(0xBF41, tlv.wrap_integer(0x81, CancelError.INVALID_TRANSACTION_ID))
        self._end_session()
        if Misbehaviour.REFUSE_CANCEL in self.misbehave:
            return tlv.wrap(0xBF41, tlv.wrap_integer(0x81, CancelError.UNDEFINED))
        owner = tlv.wrap(0x81, tlv.oid_to_bytes(session.server.owner_oid))
        if Misbehaviour.WRONG_CANCEL_OID in self.misbehave:
            owner = spoil(owner)
        parts = (tlv.wrap(0x80, transaction_id), owner, tlv.wrap_integer(0x82, reason), extra_members(self.misbehave))
        signed = tlv.wrap(0x30, *parts)
        signature = self._signed_by(session, Misbehaviour.WRONG_CANCEL_SIGNATURE, signed)
        return mangled(tlv.wrap(0xBF41, tlv.wrap(0xA0, signed, signature)), self.misbehave)

    # Persistence -------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The whole card as JSON, private keys included; an open session is lost, as when power goes."""
        return CardImage(
            eid=self.eid,
            credentials=tuple(self.credentials),
            free_memory=self.free_memory,
            default_smdp_address=self.default_smdp_address,
            rat=tuple(self.rat),
            properties=self.properties,
            check_profile_elements=self.check_profile_elements,
            memory=self.memory,
        ).to_bytes()

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        *,
        random: Callable[[int], bytes] = secrets.token_bytes,
        now: Callable[[], datetime] = utc_now,
        misbehave: frozenset[Misbehaviour] = frozenset(),
    ) -> Self:
        """A card from what `to_bytes` wrote. Raises ValueError when `data` is something else."""
        image = CardImage.from_bytes(data)
        return cls(
            image.eid,
            image.credentials,
            random=random,
            now=now,
            free_memory=image.free_memory,
            default_smdp_address=image.default_smdp_address,
            misbehave=misbehave,
            rat=image.rat,
            properties=image.properties,
            check_profile_elements=image.check_profile_elements,
            memory=image.memory,
        )

    def save(self, path: Path) -> None:
        """Write the card to a file that its owner alone can read; the old file stays whole until the new one is."""
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_bytes(self.to_bytes())
        fresh.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The card that `save` wrote."""
        return cls.from_bytes(path.read_bytes())
