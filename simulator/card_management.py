"""The part of a virtual eUICC that needs no server: ES10a, ES10c and the notification list (SGP.22 5.7.2 to 5.7.25)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime

from rsp import tlv
from rsp.identifiers import Eid, Iccid, fqdn
from simulator import der, ecc, notifications
from simulator.card_memory import CardMemory
from simulator.credentials import CardCredentials, ci_key_identifier
from simulator.euicc_info import CiLists, EuiccProperties, Resources, euicc_info1, euicc_info2
from simulator.metadata import CLASS_TEST, AuthorisationRule
from simulator.misbehaviour import Misbehaviour
from simulator.notifications import Event, Notification
from simulator.profiles import Outcome, Profile

_NOTHING_TO_DELETE = 1
_ICCID_NOT_FOUND = 1


def utc_now() -> datetime:
    """The present, for checking the validity of server certificates."""
    return datetime.now(UTC)


def spoil(data: bytes) -> bytes:
    """The same bytes with the last one changed."""
    return data[:-1] + bytes((data[-1] ^ 1,))


@dataclass(slots=True, eq=False)
class LocalManagement:
    """A card as its device sees it without a network. Every method raises ValueError on a command that is malformed.

    `free_memory` is what is left, in bytes; `rat` the rules authorisation table; `refreshes` counts the REFRESH
    commands the card has asked the device for.
    """

    eid: Eid
    credentials: Sequence[CardCredentials] = field(repr=False)
    _: KW_ONLY
    random: Callable[[int], bytes] = secrets.token_bytes
    now: Callable[[], datetime] = utc_now
    free_memory: int = 512 * 1024
    default_smdp_address: str = ""
    misbehave: frozenset[Misbehaviour] = frozenset()
    rat: Sequence[AuthorisationRule] = ()
    properties: EuiccProperties = field(default_factory=EuiccProperties)
    check_profile_elements: bool = True
    memory: CardMemory = field(default_factory=CardMemory, repr=False)
    refreshes: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not self.credentials:
            raise ValueError("a card needs at least one set of credentials")

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The installed profiles, for whoever looks at the card from outside the protocol."""
        return tuple(self.memory.profiles)

    # ES10b: information ------------------------------------------------------------------------------------------

    def get_euicc_info1(self) -> bytes:
        """EUICCInfo1, tag BF20."""
        return euicc_info1(self.properties, self._ci_lists())

    def get_euicc_info2(self) -> bytes:
        """EUICCInfo2, tag BF22."""
        resources = Resources(applications=len(self.memory.profiles), free_memory=self.free_memory)
        return euicc_info2(self.properties, self._ci_lists(), resources)

    def get_rat(self, request: bytes = b"\xbf\x43\x00") -> bytes:
        """The rules authorisation table, tag BF43."""
        der.members(der.parse(request, 0xBF43))
        return tlv.wrap(0xBF43, tlv.wrap(0xA0, *(rule.to_bytes() for rule in self.rat)))

    def _trusted(self) -> dict[bytes, bytes]:
        certificates = (certificate for entry in self.credentials for certificate in entry.ci_certificates)
        return {ci_key_identifier(certificate): certificate for certificate in certificates}

    def _ci_lists(self) -> CiLists:
        signing = dict.fromkeys(entry.ci_key_id for entry in self.credentials)
        return CiLists(verification=list(self._trusted()), signing=list(signing))

    def _signing_for(self, ci_key_id: bytes) -> CardCredentials | None:
        return next((entry for entry in self.credentials if entry.ci_key_id == ci_key_id), None)

    # ES10a -------------------------------------------------------------------------------------------------------

    def get_configured_addresses(self, request: bytes = b"\xbf\x3c\x00") -> bytes:
        """Default SM-DP+ and root SM-DS addresses, tag BF3C."""
        der.members(der.parse(request, 0xBF3C))
        default = tlv.wrap(0x80, self.default_smdp_address.encode()) if self.default_smdp_address else b""
        return tlv.wrap(0xBF3C, default, tlv.wrap(0x81, self.properties.root_smds_address.encode()))

    def set_default_smdp_address(self, request: bytes) -> bytes:
        """Set or, with an empty text, remove the default SM-DP+ address, tag BF3F."""
        address = der.members(der.parse(request, 0xBF3F), 0x80)[0x80].text()
        self.default_smdp_address = fqdn(address) if address else ""
        return _result(0xBF3F, 0)

    # ES10b: notifications ----------------------------------------------------------------------------------------

    def list_notifications(self, request: bytes = b"\xbf\x28\x00") -> bytes:
        """Metadata of the pending notifications, tag BF28; member 81 selects events."""
        chosen = self.memory.notifications.select(der.members(der.parse(request, 0xBF28), 0x81, optional=(0x81,)))
        return tlv.wrap(0xBF28, tlv.wrap(0xA0, *(entry.metadata for entry in chosen)))

    def retrieve_notifications(self, request: bytes = b"\xbf\x2b\x00") -> bytes:
        """The pending notifications themselves, tag BF2B; A0{80 number} or A0{81 events} selects."""
        found = der.members(der.parse(request, 0xBF2B), 0xA0, optional=(0xA0,))
        criteria = der.members(found[0xA0], 0x80, 0x81, optional=(0x80, 0x81)) if 0xA0 in found else {}
        if len(criteria) != len(found):
            raise ValueError("searchCriteria holds a sequence number or events")
        chosen = self.memory.notifications.select(criteria)
        return tlv.wrap(0xBF2B, tlv.wrap(0xA0, *(entry.raw for entry in chosen)))

    def remove_notification(self, request: bytes) -> bytes:
        """Forget a delivered notification, tag BF30 (NotificationSent)."""
        number = der.integer(der.members(der.parse(request, 0xBF30), 0x80)[0x80])
        return _result(0xBF30, 0 if self.memory.notifications.drop(number) else _NOTHING_TO_DELETE)

    def _next_sequence(self) -> int:
        number = self.memory.next_sequence
        self.memory.next_sequence += 1
        return number

    def _notify(self, profile: Profile, event: Event, skip: str = "") -> None:
        """Sign an OtherSignedNotification for every address that asked for the event, except the one to skip."""
        signer = self._signing_for(profile.ci_key_id) or self.credentials[0]
        for address in profile.details().addresses(event):
            if address.lower() == skip.lower():
                continue
            number = self._next_sequence()
            signed = notifications.metadata(number, event, address, profile.iccid)
            signature = ecc.sign(signer.private_key, signed)
            if Misbehaviour.WRONG_NOTIFICATION_SIGNATURE in self.misbehave:
                signature = spoil(signature)
            raw = tlv.wrap(0x30, signed, signature, signer.euicc_certificate, signer.eum_certificate)
            self.memory.notifications.append(Notification(sequence=number, event=event, metadata=signed, raw=raw))

    # ES10c -------------------------------------------------------------------------------------------------------

    def get_eid(self, request: bytes = b"\xbf\x3e\x03\x5c\x01\x5a") -> bytes:
        """The EID, tag BF3E."""
        if der.members(der.parse(request, 0xBF3E), 0x5C)[0x5C].value != b"\x5a":
            raise ValueError("GetEUICCData asks for tag 5A")
        return tlv.wrap(0xBF3E, tlv.wrap(0x5A, self.eid.to_bytes()))

    def get_profiles_info(self, request: bytes = b"\xbf\x2d\x00") -> bytes:
        """The installed profiles, tag BF2D; A0 selects by ICCID, AID or class, 5C lists the wanted tags."""
        return self.memory.profiles.info_list(der.parse(request, 0xBF2D))

    def enable_profile(self, request: bytes) -> bytes:
        """Enable a profile, disabling the enabled one, tag BF31."""
        identifier, refresh = _target_and_refresh(request, 0xBF31)
        outcome = self._enable(identifier)
        self.refreshes += refresh and outcome is Outcome.OK
        return _result(0xBF31, outcome)

    def disable_profile(self, request: bytes) -> bytes:
        """Disable the enabled profile, tag BF32."""
        identifier, refresh = _target_and_refresh(request, 0xBF32)
        outcome = self._disable(identifier)
        self.refreshes += refresh and outcome is Outcome.OK
        return _result(0xBF32, outcome)

    def delete_profile(self, request: bytes) -> bytes:
        """Delete a disabled profile, tag BF33."""
        return _result(0xBF33, self._delete(der.only_child(der.parse(request, 0xBF33))))

    def _enable(self, identifier: tlv.Tlv) -> Outcome:
        outcome, enabled, disabled = self.memory.profiles.enable(identifier)
        if disabled is not None:
            self._notify(disabled, Event.DISABLE)
        if enabled is not None:
            self._notify(enabled, Event.ENABLE)
        return outcome

    def _disable(self, identifier: tlv.Tlv) -> Outcome:
        outcome, disabled = self.memory.profiles.disable(identifier)
        if disabled is not None:
            self._notify(disabled, Event.DISABLE)
        return outcome

    def _delete(self, identifier: tlv.Tlv) -> Outcome:
        outcome, deleted = self.memory.profiles.delete(identifier)
        if deleted is not None:
            self._deleted(deleted)
        return outcome

    def reset_memory(self, request: bytes) -> bytes:
        """Delete operational (bit 0) or test (bit 1) profiles, forget the default address (bit 2), tag BF34."""
        options = der.bits(der.members(der.parse(request, 0xBF34), 0x82)[0x82])
        doomed = [
            profile
            for profile in self.memory.profiles
            if (1 if profile.details().profile_class == CLASS_TEST else 0) in options
        ]
        for profile in doomed:
            self.memory.profiles.remove(profile)
            self._deleted(profile)
        forgotten = 2 in options and bool(self.default_smdp_address)
        if forgotten:
            self.default_smdp_address = ""
        return _result(0xBF34, 0 if doomed or forgotten else _NOTHING_TO_DELETE)

    def set_nickname(self, request: bytes) -> bytes:
        """Name a profile, tag BF29; an empty name removes it."""
        found = der.members(der.parse(request, 0xBF29), 0x5A, 0x90)
        profile = self.memory.profiles.with_iccid(Iccid.from_bytes(found[0x5A].value))
        if profile is None:
            return _result(0xBF29, _ICCID_NOT_FOUND)
        self.memory.profiles.put(replace(profile, nickname=der.text(found[0x90], 64) or None))
        return _result(0xBF29, 0)

    def _deleted(self, profile: Profile) -> None:
        self.free_memory += len(profile.package)
        self._notify(profile, Event.DELETE)


def _result(tag: int, number: int) -> bytes:
    return tlv.wrap(tag, tlv.wrap_integer(0x80, number))


def _target_and_refresh(request: bytes, tag: int) -> tuple[tlv.Tlv, bool]:
    found = der.members(der.parse(request, tag), 0xA0, 0x81)
    return der.only_child(found[0xA0]), der.boolean(found[0x81])
