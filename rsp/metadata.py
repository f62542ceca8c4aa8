"""Profile metadata: what device and card are told of a profile before it is loaded (SGP.22 5.5.3, StoreMetadata).

ecallIndication and fallbackAllowed are members of SGP.32. Unknown members are kept as received and sent on after the
known ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TypeVar

from rsp import tlv
from rsp.errors import Malformed
from rsp.identifiers import Iccid, fqdn
from rsp.plmn import plmn_to_bytes, plmn_to_text
from rsp.tlv import Tlv
from rsp.vendor_data import check_vendor_data

TAG = 0xBF25
MAX_SERVICE_PROVIDER_NAME = 32
MAX_PROFILE_NAME = 64
MAX_ICON = 1024
MAX_READY = 16 * 1024
"""Bytes of metadata that an operator may bring: many times what the members of the standard hold."""

_ICCID = 0x5A
_PROVIDER = 0x91
_NAME = 0x92
_ICON_TYPE = 0x93
_ICON = 0x94
_CLASS = 0x95
_NOTIFICATIONS = 0xB6
_OWNER = 0xB7
_RULES = 0x99
_STORED_DATA = 0xBF22
_OTHER_DATA = 0xBF23
_ECALL = 0x9F7B
_FALLBACK = 0x9F67
_AnyEnum = TypeVar("_AnyEnum", bound=Enum)
_AnyIntEnum = TypeVar("_AnyIntEnum", bound=IntEnum)
_PICTURE = (_ICON_TYPE, _ICON)
_SERVICE_DATA = (_STORED_DATA, _OTHER_DATA)
_FLAGS = (_ECALL, _FALLBACK)
_KNOWN = frozenset(
    {_ICCID, _PROVIDER, _NAME, *_PICTURE, _CLASS, _NOTIFICATIONS, _OWNER, _RULES, *_SERVICE_DATA, *_FLAGS}
)


class ProfileClass(IntEnum):
    """What a profile is for."""

    TEST = 0
    PROVISIONING = 1
    OPERATIONAL = 2


class IconType(IntEnum):
    """Picture format of the icon, which is 64 by 64 pixels."""

    JPG = 0
    PNG = 1


class NotificationEvent(Enum):
    """What a card reports, by the bit of profileManagementOperation."""

    INSTALL = 0
    ENABLE = 1
    DISABLE = 2
    DELETE = 3


class PolicyRule(Enum):
    """Profile policy rules, by the bit of PprIds."""

    UPDATE_CONTROL = 0
    PPR1_DISABLING_NOT_ALLOWED = 1
    PPR2_DELETION_NOT_ALLOWED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationConfiguration:
    """Which events the card reports to which server, a host name."""

    events: frozenset[NotificationEvent]
    address: str

    def __post_init__(self) -> None:
        if fqdn(self.address) != self.address.lower():
            raise Malformed(f"{self.address!r} is no notification address: give a host name without a port")

    def encode(self) -> bytes:
        """One NotificationConfigurationInformation."""
        return tlv.wrap(0x30, tlv.wrap(0x80, _named_bits(self.events)), tlv.wrap(0x81, self.address.encode()))

    @classmethod
    def parse(cls, data: Tlv) -> NotificationConfiguration:
        """From one NotificationConfigurationInformation."""
        members = data.members() if data.tag == 0x30 else {}
        try:
            events, address = members[0x80], members[0x81]
        except KeyError:
            raise Malformed("notificationConfigurationInfo lists sequences of operation and address") from None
        return cls(events=_read_bits(events, NotificationEvent), address=address.text())


def standard_notifications(address: str) -> tuple[NotificationConfiguration, ...]:
    """All four events reported to one server: without this a card tells nobody that it enabled or deleted a profile."""
    return (NotificationConfiguration(events=frozenset(NotificationEvent), address=fqdn(address)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorId:
    """The operator a profile belongs to: network code (TS 24.008, 3 bytes) and the contents of EF GID1 and GID2."""

    mcc_mnc: bytes
    gid1: bytes | None = None
    gid2: bytes | None = None

    def __post_init__(self) -> None:
        if len(self.mcc_mnc) != 3:
            raise Malformed(f"mccMnc is 3 bytes, found {len(self.mcc_mnc)}")

    @classmethod
    def of_network(cls, text: str, *, gid1: bytes | None = None, gid2: bytes | None = None) -> OperatorId:
        """From text such as `262-01` or `310-410`."""
        return cls(mcc_mnc=plmn_to_bytes(text), gid1=gid1, gid2=gid2)

    @property
    def network(self) -> str:
        """The network code as `MCC-MNC`. Raises Malformed when it holds wildcards or other non-decimal digits."""
        return plmn_to_text(self.mcc_mnc)

    def encode(self) -> bytes:
        """The members of OperatorId."""
        gids = ((0x81, self.gid1), (0x82, self.gid2))
        return tlv.wrap(0x80, self.mcc_mnc) + b"".join(tlv.wrap(tag, gid) for tag, gid in gids if gid is not None)

    @classmethod
    def parse(cls, data: Tlv) -> OperatorId:
        """From an object whose value is the members of OperatorId."""
        members = data.members()
        if 0x80 not in members:
            raise Malformed("profileOwner has no mccMnc")
        return cls(mcc_mnc=members[0x80].value, gid1=_value(members.get(0x81)), gid2=_value(members.get(0x82)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileMetadata:
    """StoreMetadataRequest. Names are limited in characters, the icon in bytes; `extra` is whole TLVs, as received.

    `stored_data` and `other_data` are the whole objects serviceSpecificDataStoredInEuicc (BF22) and
    serviceSpecificDataNotStoredInEuicc (BF23), the latter for the device alone.
    """

    iccid: Iccid
    service_provider_name: str
    profile_name: str
    profile_class: ProfileClass = ProfileClass.OPERATIONAL
    icon_type: IconType | None = None
    icon: bytes | None = None
    notifications: tuple[NotificationConfiguration, ...] = ()
    owner: OperatorId | None = None
    policy_rules: frozenset[PolicyRule] = frozenset()
    stored_data: bytes | None = None
    other_data: bytes | None = None
    ecall_indication: bool | None = None
    fallback_allowed: bool | None = None
    extra: bytes = b""

    def __post_init__(self) -> None:
        _check_name("service provider name", self.service_provider_name, MAX_SERVICE_PROVIDER_NAME)
        _check_name("profile name", self.profile_name, MAX_PROFILE_NAME)
        if self.icon is not None and len(self.icon) > MAX_ICON:
            raise Malformed(f"an icon is at most {MAX_ICON} bytes, this one has {len(self.icon)}")
        if self.icon is not None and self.icon_type is None:
            raise Malformed("an icon needs its iconType: state JPG or PNG")
        for tag, data in zip(_SERVICE_DATA, (self.stored_data, self.other_data), strict=True):
            if data is not None:
                check_vendor_data(tlv.read_only(data, tag))
        known = [found.tag for found in tlv.objects(self.extra) if found.tag in _KNOWN]
        if known:
            raise Malformed(f"extra holds the known member {known[0]:X}: use the field of its name")

    def encode(self) -> bytes:
        """The DER of BF25, the default profile class left out as DER demands."""
        return tlv.wrap(TAG, *self._members(), self.extra)

    def _members(self) -> Iterable[bytes]:
        yield tlv.wrap(_ICCID, self.iccid.to_bytes())
        yield tlv.wrap(_PROVIDER, self.service_provider_name.encode())
        yield tlv.wrap(_NAME, self.profile_name.encode())
        if self.icon_type is not None:
            yield tlv.wrap_integer(_ICON_TYPE, self.icon_type)
        if self.icon is not None:
            yield tlv.wrap(_ICON, self.icon)
        if self.profile_class is not ProfileClass.OPERATIONAL:
            yield tlv.wrap_integer(_CLASS, self.profile_class)
        if self.notifications:
            yield tlv.wrap(_NOTIFICATIONS, *(item.encode() for item in self.notifications))
        if self.owner:
            yield tlv.wrap(_OWNER, self.owner.encode())
        if self.policy_rules:
            yield tlv.wrap(_RULES, _named_bits(self.policy_rules))
        yield from self._optional_members()

    def _optional_members(self) -> Iterable[bytes]:
        yield self.stored_data or b""
        yield self.other_data or b""
        for tag, flag in zip(_FLAGS, (self.ecall_indication, self.fallback_allowed), strict=True):
            if flag is not None:
                yield tlv.wrap(tag, b"\xff" if flag else b"\x00")

    @classmethod
    def parse(cls, data: bytes) -> ProfileMetadata:
        """From the TLV BF25. Raises Malformed; unknown members are no fault, unknown policy rules and events are."""
        members = tlv.read_only(data, TAG).members()
        try:
            iccid, provider, name = members[_ICCID], members[_PROVIDER], members[_NAME]
        except KeyError as missing:
            raise Malformed(f"profile metadata has no member {missing.args[0]:X}") from None
        class_, icon_type, owner = members.get(_CLASS), members.get(_ICON_TYPE), members.get(_OWNER)
        notifications, rules = members.get(_NOTIFICATIONS), members.get(_RULES)
        return cls(
            iccid=Iccid.from_bytes(iccid.value),
            service_provider_name=provider.text(),
            profile_name=name.text(),
            profile_class=_read_enum(class_, ProfileClass) if class_ else ProfileClass.OPERATIONAL,
            icon_type=_read_enum(icon_type, IconType) if icon_type else None,
            icon=_value(members.get(_ICON)),
            notifications=tuple(map(NotificationConfiguration.parse, notifications.children()))
            if notifications
            else (),
            owner=OperatorId.parse(owner) if owner else None,
            policy_rules=_read_bits(rules, PolicyRule) if rules else frozenset(),
            stored_data=_raw(members.get(_STORED_DATA)),
            other_data=_raw(members.get(_OTHER_DATA)),
            ecall_indication=_read_flag(members.get(_ECALL)),
            fallback_allowed=_read_flag(members.get(_FALLBACK)),
            extra=b"".join(found.raw for tag, found in members.items() if tag not in _KNOWN),
        )


def read_ready(data: bytes) -> ProfileMetadata:
    """The metadata an operator has coded: BF25 in DER, what this release does not know behind what it knows.

    `encode` of the result is `data` again, byte for byte. Raises Malformed, also where a card would not read it.
    """
    if len(data) > MAX_READY:
        raise Malformed(f"profile metadata is at most {MAX_READY} bytes, this has {len(data)}")
    metadata = ProfileMetadata.parse(data)
    coded = metadata.encode()
    if coded != data:
        place = next(
            (place for place, (ours, theirs) in enumerate(zip(coded, data, strict=False)) if ours != theirs), 0
        )
        raise Malformed(
            f"the profile metadata is not DER at byte {place}: send the members in the order of the standard, unknown "
            "ones last, with shortest lengths and without a default value"
        )
    return metadata


def _value(found: Tlv | None) -> bytes | None:
    return None if found is None else found.value


def _raw(found: Tlv | None) -> bytes | None:
    return None if found is None else found.raw


def _read_flag(found: Tlv | None) -> bool | None:
    if found is None:
        return None
    if found.value not in (b"\x00", b"\xff"):
        raise Malformed(f"tag {found.tag:X} is not a boolean: send 00 or FF")
    return found.value == b"\xff"


def _check_name(what: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise Malformed(f"a {what} is at most {limit} characters, this one has {len(text)}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Malformed(f"the {what} cannot be written in UTF-8") from None


def _named_bits(members: Iterable[Enum]) -> bytes:
    """Content of a BIT STRING with named bits, all below 8; DER drops trailing zero bits."""
    bits = sum(0x80 >> member.value for member in members)
    if not bits:
        return b"\x00"
    unused = (bits & -bits).bit_length() - 1
    return bytes((unused, bits))


def _read_bits(found: Tlv, names: type[_AnyEnum]) -> frozenset[_AnyEnum]:
    value = found.value
    if not value or value[0] > 7 or (len(value) == 1 and value[0]):
        raise Malformed(f"tag {found.tag:X} is not a bit string")
    bits = int.from_bytes(value[1:], "big") >> value[0]
    count = 8 * (len(value) - 1) - value[0]
    if bits and count - (bits & -bits).bit_length() >= len(names):
        raise Malformed(f"tag {found.tag:X} sets a bit that SGP.22 v2 does not define: leave it out")
    return frozenset(name for name in names if name.value < count and bits >> (count - 1 - name.value) & 1)


def _read_enum(found: Tlv, names: type[_AnyIntEnum]) -> _AnyIntEnum:
    try:
        return names(found.integer())
    except ValueError:
        allowed = ", ".join(str(int(name)) for name in names)
        raise Malformed(f"tag {found.tag:X} is not one of {allowed}") from None
