"""A strict virtual eUICC for the Internet of Things: eIM associations, eUICC packages, rollback (SGP.32 v1.2, 5.9)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from rsp import tlv
from simulator import der, ecc, euicc_package
from simulator.card import Card
from simulator.card_management import spoil, utc_now
from simulator.credentials import CardCredentials
from simulator.eim_association import LARGEST_COUNTER, AddEimError, AddEimRefused, AssociatedEim, associate
from simulator.euicc_info import EuiccProperties
from simulator.euicc_package import EuiccPackage, PackageError, Reference
from simulator.iot_commands import ROLLBACK_RESULT, LocalFunctions, PackageRun
from simulator.iot_memory import IotMemory, RollbackPermission, StoredResult
from simulator.misbehaviour import Misbehaviour
from simulator.notifications import Event
from simulator.profiles import Outcome

IOT_VERSION = b"\x01\x02\x00"
_IPAD = 0
_FORMAT = "SGP.32 card 1"
_MOST_EIMS = 8
_OK = 0
_INVALID_CI_KEY_ID = 1
_ROLLBACK_NOT_ALLOWED, _CAT_BUSY, _UNDEFINED = 1, 5, 127


def iot_properties() -> EuiccProperties:
    """Those of any card here, and ipaMode IPAd with iotSpecificInfo of SGP.32 1.2 in EUICCInfo2."""
    mode = tlv.wrap_integer(0x90, _IPAD)
    specific = tlv.wrap(0xB4, tlv.wrap(0xA0, tlv.wrap(0x04, IOT_VERSION)))
    return EuiccProperties(extra_info2=mode + specific)


@dataclass(slots=True, eq=False, kw_only=True)
class IotCard(Card):
    """A virtual eUICC that obeys eIMs. Methods take and return what an IPA exchanges with a card.

    They raise ValueError on a command no card would take. Sizes are in bytes; eCOs, fallback and emergency profiles
    are not supported: their commands end as unknown.
    """

    properties: EuiccProperties = field(default_factory=iot_properties)
    iot: IotMemory = field(default_factory=IotMemory, repr=False)
    largest_package: int = 16 * 1024
    largest_result: int = 16 * 1024

    # eIM configuration -------------------------------------------------------------------------------------------

    def add_initial_eim(self, request: bytes) -> bytes:
        """AddInitialEim, tag BF57: works while no eIM is associated; answers with a token for each that asked."""
        wanted = der.members(der.parse(request, 0xBF57), 0xA0)[0xA0]
        try:
            self.iot.eims = self._associate(list(wanted.children()))
        except AddEimRefused as refusal:
            self.last_fault = str(refusal)
            return tlv.wrap(0xBF57, tlv.wrap_integer(0x81, refusal.code))
        added = (tlv.wrap(0x05) if eim.token is None else eim.token_tlv for eim in self.iot.eims)
        return tlv.wrap(0xBF57, tlv.wrap(0xA0, *added))

    def _associate(self, configurations: list[tlv.Tlv]) -> list[AssociatedEim]:
        if self.iot.eims:
            raise AddEimRefused(AddEimError.ALREADY_ASSOCIATED, "an eIM is associated already")
        if not configurations or any(entry.tag != 0x30 for entry in configurations):
            raise AddEimRefused(AddEimError.COMMAND_ERROR, "the list holds one or more EimConfigurationData (30)")
        if len(configurations) > _MOST_EIMS:
            raise AddEimRefused(AddEimError.INSUFFICIENT_MEMORY, f"there is room for {_MOST_EIMS} eIMs")
        signing = {entry.ci_key_id for entry in self.credentials}
        eims = [associate(entry, signing=signing, random=self.random) for entry in configurations]
        if len({eim.eim_id for eim in eims}) < len(eims):
            raise AddEimRefused(AddEimError.ALREADY_ASSOCIATED, "an eimId occurs twice")
        return eims

    def get_eim_configuration_data(self, request: bytes = b"\xbf\x55\x00") -> bytes:
        """GetEimConfigurationData, tag BF55: all eIMs, or the one of A0{80 eimId}, with present counter and token."""
        found = der.members(der.parse(request, 0xBF55), 0xA0, optional=(0xA0,))
        wanted = self.iot.eims
        if 0xA0 in found:
            eim_id = der.text(der.members(found[0xA0], 0x80)[0x80], 128)
            wanted = [eim for eim in wanted if eim.eim_id == eim_id]
        return tlv.wrap(0xBF55, tlv.wrap(0xA0, *(eim.to_bytes() for eim in wanted)))

    def get_certs(self, request: bytes = b"\xbf\x56\x00") -> bytes:
        """GetCerts, tag BF56: A5 EUM and A6 eUICC certificate under the CI of member 80, or the first."""
        found = der.members(der.parse(request, 0xBF56), 0x80, optional=(0x80,))
        chosen: CardCredentials | None = self.credentials[0]
        if 0x80 in found:
            chosen = self._signing_for(der.sized(found[0x80], 20))
        if chosen is None:
            return tlv.wrap(0xBF56, tlv.wrap_integer(0x81, _INVALID_CI_KEY_ID))
        # The tag of the member stands in the place of the SEQUENCE tag of the certificate.
        eum, euicc = (tlv.read_only(entry, 0x30).value for entry in (chosen.eum_certificate, chosen.euicc_certificate))
        return tlv.wrap(0xBF56, tlv.wrap(0xA0, tlv.wrap(0xA5, eum), tlv.wrap(0xA6, euicc)))

    # eUICC packages ----------------------------------------------------------------------------------------------

    def load_euicc_package(self, request: bytes) -> bytes:
        """LoadEuiccPackage, tag BF51: checks and executes a package; the result stays until it is acknowledged."""
        package = euicc_package.parse(request)
        eim = self.iot.eim(package.eim_id)
        if eim is None:
            self.last_fault = f"no eIM {package.eim_id!r} is associated"
            return euicc_package.unsigned_error(package, b"")
        if not self._is_signed(package, eim):
            return euicc_package.unsigned_error(package, b"" if eim.token is None else eim.token_tlv)
        refusal = self._refusal_of(package, eim)
        if refusal is not None:
            data = euicc_package.error_data(package.reference, refusal)
            return euicc_package.signed_error(data, self._package_signature(eim, data, package.signature.raw))
        return self._execute(package, eim)

    def _is_signed(self, package: EuiccPackage, eim: AssociatedEim) -> bool:
        if Misbehaviour.UNSIGNED_PACKAGE_ERROR in self.misbehave:
            self.last_fault = "told to find the signature wrong"
            return False
        try:
            ecc.verify(eim.public_key(), package.signature, package.signed.raw, eim.token_tlv)
        except ecc.SignatureWrong as error:
            self.last_fault = f"eimSignature: {error}"
            return False
        return True

    def _refusal_of(self, package: EuiccPackage, eim: AssociatedEim) -> PackageError | None:
        checks = (
            (package.eid != self.eid.to_bytes(), PackageError.INVALID_EID),
            (package.counter > LARGEST_COUNTER, PackageError.COUNTER_OUT_OF_RANGE),
            (package.counter <= eim.counter, PackageError.REPLAY),
            (Misbehaviour.ECALL_ACTIVE in self.misbehave, PackageError.ECALL_ACTIVE),
            (package.size > self.largest_package, PackageError.SIZE_OVERFLOW),
            (Misbehaviour.PACKAGE_UNDEFINED_ERROR in self.misbehave, PackageError.UNDEFINED),
        )
        refusal = next((code for wrong, code in checks if wrong), None)
        if refusal is not None:
            self.last_fault = f"package refused: {refusal.name}"
        return refusal

    def _execute(self, package: EuiccPackage, eim: AssociatedEim) -> bytes:
        self.iot.put(replace(eim, counter=package.counter))
        self.iot.permission = None
        local = LocalFunctions(
            profiles=self.memory.profiles, enable=self._enable, disable=self._disable, delete=self._delete
        )
        run = PackageRun(card=local, misbehave=self.misbehave, largest_result=self.largest_result)
        run.execute(package.commands)
        stored = self._store_result(eim, package.reference, package.signature.raw, run.results)
        if run.previous is not None:
            self.iot.permission = RollbackPermission(
                previous=run.previous,
                reference=package.reference,
                sequence=stored.sequence,
                eim_signature=package.signature.raw,
            )
        self.refreshes += run.changed
        return stored.raw

    def _store_result(
        self, eim: AssociatedEim, reference: Reference, eim_signature: bytes, results: Iterable[bytes]
    ) -> StoredResult:
        sequence = self._next_sequence()
        data = euicc_package.result_data(reference, sequence, results)
        raw = euicc_package.signed_result(data, self._package_signature(eim, data, eim_signature))
        stored = StoredResult(sequence=sequence, raw=raw)
        self.iot.results.append(stored)
        return stored

    def _package_signature(self, eim: AssociatedEim, data: bytes, eim_signature: bytes) -> bytes:
        signer = (self._signing_for(eim.ci_key_id) if eim.ci_key_id else None) or self.credentials[0]
        old = Misbehaviour.OLD_PACKAGE_RESULT_SIGNATURE in self.misbehave
        signature = ecc.sign(signer.private_key, data, eim_signature if old else eim.token_tlv)
        return spoil(signature) if Misbehaviour.WRONG_PACKAGE_RESULT_SIGNATURE in self.misbehave else signature

    # Rollback ----------------------------------------------------------------------------------------------------

    def profile_rollback(self, request: bytes) -> bytes:
        """ProfileRollback, tag BF58: back to the profile before the last package, if that package permitted it.

        The result of that package is discarded; a new one, signed, says rollbackResult.
        """
        refresh = der.boolean(der.members(der.parse(request, 0xBF58), 0x80)[0x80])
        permission = self.iot.permission
        if permission is None:
            self.last_fault = "no package permits a rollback"
            return _rollback_answer(_ROLLBACK_NOT_ALLOWED)
        if Misbehaviour.CAT_BUSY in self.misbehave:
            return _rollback_answer(_CAT_BUSY)
        if Misbehaviour.REFUSE_ROLLBACK in self.misbehave:
            return _rollback_answer(_UNDEFINED)
        eim = self.iot.eim(permission.reference.eim_id)
        assert eim is not None, "eIMs are not dissociated here"
        self._restore(permission)
        self.iot.drop_result(permission.sequence)
        result = tlv.wrap_integer(ROLLBACK_RESULT, Outcome.OK)
        stored = self._store_result(eim, permission.reference, permission.eim_signature, [result])
        self.refreshes += refresh
        return _rollback_answer(_OK, stored.raw)

    def _restore(self, permission: RollbackPermission) -> None:
        previous = self.memory.profiles.with_iccid(permission.previous)
        assert previous is not None, "a profile that a rollback may restore is not deleted"
        disabled = self.memory.profiles.restore(previous)
        if disabled is not None:
            self._notify(disabled, Event.DISABLE)
        self._notify(previous, Event.ENABLE)

    # Results -----------------------------------------------------------------------------------------------------

    def retrieve_notifications(self, request: bytes = b"\xbf\x2b\x00") -> bytes:
        """Pending notifications, or with the criterion A0{82} the results of packages that wait, tag BF2B."""
        found = der.members(der.parse(request, 0xBF2B), 0xA0, optional=(0xA0,))
        if 0xA0 in found and der.only_child(found[0xA0]).tag == 0x82:
            der.sized(der.only_child(found[0xA0]), 0)
            return tlv.wrap(0xBF2B, tlv.wrap(0xA2, *(entry.raw for entry in self.iot.results)))
        return super(IotCard, self).retrieve_notifications(request)

    def remove_notification(self, request: bytes) -> bytes:
        """Forget a notification or a result, tag BF30; with its result goes the permission to roll back."""
        number = der.integer(der.members(der.parse(request, 0xBF30), 0x80)[0x80])
        if self.iot.drop_result(number):
            return tlv.wrap(0xBF30, tlv.wrap_integer(0x80, _OK))
        return super(IotCard, self).remove_notification(request)

    # Persistence -------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The whole card as JSON, private keys included; an open session is lost, as when power goes."""
        card = json.loads(super(IotCard, self).to_bytes())
        sizes = {"largest_package": self.largest_package, "largest_result": self.largest_result}
        return json.dumps({"format": _FORMAT, "card": card, "iot": self.iot.to_state(), **sizes}, indent=1).encode()

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
        try:
            state = json.loads(data)
            if state["format"] != _FORMAT:
                raise ValueError(f"card state format {state['format']} is not {_FORMAT!r}: make the card again")
            inner = json.dumps(state["card"]).encode()
            card = super(IotCard, cls).from_bytes(inner, random=random, now=now, misbehave=misbehave)
            card.iot = IotMemory.from_state(state["iot"])
            card.largest_package, card.largest_result = int(state["largest_package"]), int(state["largest_result"])
        except (KeyError, TypeError) as error:
            raise ValueError("this is not the state of an SGP.32 card: make the card again") from error
        return card


def _rollback_answer(code: int, result: bytes = b"") -> bytes:
    return tlv.wrap(0xBF58, tlv.wrap_integer(0x02, code), result)
