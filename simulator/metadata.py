"""Profile metadata as the card reads it, and the profile policy rules it allows (SGP.22 5.5.3, 2.9; tag BF25).

The flags of emergency and fallback profiles are members of SGP.32.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rsp import tlv
from rsp.identifiers import Iccid, fqdn
from simulator import der

CLASS_TEST, CLASS_OPERATIONAL = 0, 2
PPR_NO_DISABLING, PPR_NO_DELETION = 1, 2

_ICCID, _PROVIDER, _NAME, _ICON_TYPE, _ICON, _CLASS = 0x5A, 0x91, 0x92, 0x93, 0x94, 0x95
_NOTIFICATIONS, _OWNER, _RULES, _STORED_EXTENSION, _OTHER_EXTENSION = 0xB6, 0xB7, 0x99, 0xBF22, 0xBF23
_ECALL, _FALLBACK = 0x9F7B, 0x9F67
_TEXTS = (_ICCID, _PROVIDER, _NAME, _ICON_TYPE, _ICON, _CLASS)
_ORDER = (*_TEXTS, _NOTIFICATIONS, _OWNER, _RULES, _STORED_EXTENSION, _OTHER_EXTENSION, _ECALL, _FALLBACK)
_PICTURES = {0: b"\xff\xd8\xff", 1: b"\x89PNG\r\n\x1a\n"}
_REQUIRED = (_ICCID, _PROVIDER, _NAME)
_ANY_OPERATOR_DIGIT = "e"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorId:
    """A profile owner: 3 bytes MCC and MNC as in TS 24.008, group identifiers when they matter."""

    mcc_mnc: bytes
    gid1: bytes | None = None
    gid2: bytes | None = None

    def covers(self, owner: OperatorId) -> bool:
        """Whether this entry of a rule means `owner`: digit E stands for any digit, an absent group for any group."""
        digits = zip(self.mcc_mnc.hex(), owner.mcc_mnc.hex(), strict=True)
        return (
            all(ours in (_ANY_OPERATOR_DIGIT, theirs) for ours, theirs in digits)
            and self.gid1 in (None, owner.gid1)
            and self.gid2 in (None, owner.gid2)
        )

    def to_bytes(self, tag: int = 0x30) -> bytes:
        """OperatorId under `tag`."""
        groups = ((0x81, self.gid1), (0x82, self.gid2))
        return tlv.wrap(
            tag,
            tlv.wrap(0x80, self.mcc_mnc),
            *(tlv.wrap(number, group) for number, group in groups if group is not None),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorisationRule:
    """One line of the rules authorisation table: which policy rules (bit numbers) which operators may use."""

    policy_rules: frozenset[int]
    operators: tuple[OperatorId, ...]
    consent_required: bool = False

    def to_bytes(self) -> bytes:
        """ProfilePolicyAuthorisationRule."""
        return tlv.wrap(
            0x30,
            der.wrap_bits(0x80, self.policy_rules),
            tlv.wrap(0xA1, *(operator.to_bytes() for operator in self.operators)),
            der.wrap_bits(0x82, (0,) if self.consent_required else ()),
        )


ANY_OPERATOR = OperatorId(mcc_mnc=b"\xee\xee\xee")
ALLOW_ALL_RULES = (
    AuthorisationRule(policy_rules=frozenset({PPR_NO_DISABLING, PPR_NO_DELETION}), operators=(ANY_OPERATOR,)),
)


def is_authorised(rule: int, owner: OperatorId, table: Iterable[AuthorisationRule]) -> bool:
    """Whether the table lets `owner` use the policy rule with this bit number (SGP.22 2.9.2.4)."""
    return any(rule in line.policy_rules and any(entry.covers(owner) for entry in line.operators) for line in table)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationConfiguration:
    """Which events (bit numbers) are told to which address."""

    events: frozenset[int]
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileMetadata:
    """A StoreMetadata request: the raw BF25 object and what the card acts on.

    `fallback_allowed` says whether an eIM may set the fallback attribute, `ecall` that it is an emergency profile.
    """

    raw: bytes
    iccid: Iccid
    profile_class: int
    notifications: tuple[NotificationConfiguration, ...]
    owner: OperatorId | None
    policy_rules: frozenset[int]
    fallback_allowed: bool = False
    ecall: bool = False

    def addresses(self, event: int) -> list[str]:
        """Whom to tell about the event, each address once, in the order of the metadata."""
        return list(dict.fromkeys(entry.address for entry in self.notifications if event in entry.events))


def parse(raw: bytes) -> ProfileMetadata:
    """Read a BF25 object; members of later versions may follow the known ones. Raises ValueError."""
    found = _known_members(der.parse(raw, 0xBF25))
    rules = der.bits(found[_RULES]) if _RULES in found else frozenset[int]()
    owner = _owner(found[_OWNER]) if _OWNER in found else None
    if rules & {PPR_NO_DISABLING, PPR_NO_DELETION} and owner is None:
        raise ValueError("a profile with policy rules names its owner (tag B7)")
    _check_texts(found)
    for tag in (_STORED_EXTENSION, _OTHER_EXTENSION):
        if tag in found:
            _check_extension(found[tag])
    profile_class = der.integer(found[_CLASS]) if _CLASS in found else CLASS_OPERATIONAL
    if profile_class > CLASS_OPERATIONAL:
        raise ValueError("profileClass is test 0, provisioning 1 or operational 2")
    return ProfileMetadata(
        raw=raw,
        iccid=Iccid.from_bytes(found[_ICCID].value),
        profile_class=profile_class,
        notifications=_notifications(found[_NOTIFICATIONS]) if _NOTIFICATIONS in found else (),
        owner=owner,
        policy_rules=rules,
        fallback_allowed=_FALLBACK in found and der.boolean(found[_FALLBACK]),
        ecall=_ECALL in found and der.boolean(found[_ECALL]),
    )


def _known_members(parent: tlv.Tlv) -> dict[int, tlv.Tlv]:
    found = parent.members()
    if list(found)[: len(known := [tag for tag in _ORDER if tag in found])] != known:
        raise ValueError("the members of the metadata are not in the order of the standard")
    missing = [tag for tag in _REQUIRED if tag not in found]
    if missing:
        raise ValueError(f"tag {missing[0]:X} is missing in the metadata")
    return found


def _check_texts(found: dict[int, tlv.Tlv]) -> None:
    der.text(found[_PROVIDER], 32)
    der.text(found[_NAME], 64)
    if (_ICON in found) != (_ICON_TYPE in found):
        raise ValueError("icon and iconType belong together")
    if _ICON in found:
        picture = der.sized(found[_ICON], 0, 1024)
        first = _PICTURES.get(der.integer(found[_ICON_TYPE]))
        if first is None or not picture.startswith(first):
            raise ValueError("iconType is jpg 0 or png 1, and the icon is such a picture")


def _check_extension(parent: tlv.Tlv) -> None:
    for entry in parent.children():
        found = list(entry.children()) if entry.tag == 0x30 else []
        if len(found) != 2 or found[0].tag != 0x80 or found[1].tag not in (0xA1, 0x81):
            raise ValueError(f"{parent.tag:X} is a sequence of pairs: vendor's OID and data")
        tlv.oid_from_bytes(found[0].value)


def _notifications(parent: tlv.Tlv) -> tuple[NotificationConfiguration, ...]:
    entries = []
    for entry in parent.children():
        if entry.tag != 0x30:
            raise ValueError("notificationConfigurationInfo is a sequence of sequences")
        found = der.members(entry, 0x80, 0x81)
        address = found[0x81].text()
        if fqdn(address) != address.lower():
            raise ValueError("a notification address is a host name")
        entries.append(NotificationConfiguration(events=der.bits(found[0x80]), address=address))
    return tuple(entries)


def _owner(parent: tlv.Tlv) -> OperatorId:
    found = der.members(parent, 0x80, 0x81, 0x82, optional=(0x81, 0x82))
    return OperatorId(
        mcc_mnc=der.sized(found[0x80], 3),
        gid1=found[0x81].value if 0x81 in found else None,
        gid2=found[0x82].value if 0x82 in found else None,
    )
