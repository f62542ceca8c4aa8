"""What a virtual eUICC keeps when it is switched off, and its form on disk (JSON)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from rsp.identifiers import Eid, Iccid
from simulator.credentials import CardCredentials
from simulator.euicc_info import EuiccProperties
from simulator.installer import KeyReuse
from simulator.metadata import AuthorisationRule, OperatorId
from simulator.notifications import Event, Notification, NotificationList
from simulator.profiles import Profile, ProfileRegistry, ProfileState

_FORMAT = 1


@dataclass(slots=True, kw_only=True)
class CardMemory:
    """Non-volatile memory: profiles, pending notifications, one-time keys by server OID, counters."""

    profiles: ProfileRegistry = field(default_factory=ProfileRegistry)
    notifications: NotificationList = field(default_factory=NotificationList)
    next_sequence: int = 0
    one_time_keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict, repr=False)
    key_reuse: KeyReuse = field(default_factory=KeyReuse)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardImage:
    """Everything that makes one card, as it is written to disk; it holds private keys."""

    eid: Eid
    credentials: tuple[CardCredentials, ...] = field(repr=False)
    free_memory: int
    default_smdp_address: str
    rat: tuple[AuthorisationRule, ...]
    properties: EuiccProperties
    check_profile_elements: bool
    memory: CardMemory

    def to_bytes(self) -> bytes:
        """JSON text in UTF-8; binary values in hexadecimal."""
        return json.dumps(
            {
                "format": _FORMAT,
                "eid": str(self.eid),
                "credentials": [_credentials_out(entry) for entry in self.credentials],
                "free_memory": self.free_memory,
                "default_smdp_address": self.default_smdp_address,
                "rat": [_plain(asdict(rule)) for rule in self.rat],
                "properties": _plain(asdict(self.properties)),
                "check_profile_elements": self.check_profile_elements,
                "memory": _memory_out(self.memory),
            },
            indent=1,
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> CardImage:
        """Read what `to_bytes` wrote. Raises ValueError when it is no card state of this format."""
        try:
            state = json.loads(data)
            if state["format"] != _FORMAT:
                raise ValueError(f"card state format {state['format']} is not {_FORMAT}: make the card again")
            return cls(
                eid=Eid(state["eid"]),
                credentials=tuple(_credentials_in(entry) for entry in state["credentials"]),
                free_memory=int(state["free_memory"]),
                default_smdp_address=state["default_smdp_address"],
                rat=tuple(_rule_in(entry) for entry in state["rat"]),
                properties=_properties_in(state["properties"]),
                check_profile_elements=bool(state["check_profile_elements"]),
                memory=_memory_in(state["memory"]),
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("this is not the state of a card: make the card again") from error


def _plain(value: Any) -> Any:
    """Bytes as hexadecimal text, sets and tuples as lists, all the way down."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, frozenset)):
        return [_plain(item) for item in value]
    return value


def _credentials_out(entry: CardCredentials) -> dict[str, Any]:
    return {
        "euicc_certificate": entry.euicc_certificate.hex(),
        "eum_certificate": entry.eum_certificate.hex(),
        "ci_certificates": [certificate.hex() for certificate in entry.ci_certificates],
        "key": entry.key_to_bytes().hex(),
    }


def _credentials_in(entry: Mapping[str, Any]) -> CardCredentials:
    return CardCredentials.from_bytes(
        euicc_certificate=bytes.fromhex(entry["euicc_certificate"]),
        eum_certificate=bytes.fromhex(entry["eum_certificate"]),
        ci_certificates=tuple(bytes.fromhex(certificate) for certificate in entry["ci_certificates"]),
        key=bytes.fromhex(entry["key"]),
    )


def _rule_in(entry: Mapping[str, Any]) -> AuthorisationRule:
    return AuthorisationRule(
        policy_rules=frozenset(entry["policy_rules"]),
        operators=tuple(_operator_in(operator) for operator in entry["operators"]),
        consent_required=entry["consent_required"],
    )


def _operator_in(entry: Mapping[str, Any]) -> OperatorId:
    gid1, gid2 = (None if entry[name] is None else bytes.fromhex(entry[name]) for name in ("gid1", "gid2"))
    return OperatorId(mcc_mnc=bytes.fromhex(entry["mcc_mnc"]), gid1=gid1, gid2=gid2)


def _properties_in(entry: Mapping[str, Any]) -> EuiccProperties:
    default = EuiccProperties()
    read: dict[str, Any] = {}
    for name, value in entry.items():
        kind = type(getattr(default, name))
        read[name] = bytes.fromhex(value) if kind is bytes else kind(value)
    return EuiccProperties(**read)


def _memory_out(memory: CardMemory) -> dict[str, Any]:
    return {
        "profiles": [_plain(asdict(profile)) | {"iccid": str(profile.iccid)} for profile in memory.profiles],
        "notifications": [_plain(asdict(entry)) for entry in memory.notifications],
        "next_sequence": memory.next_sequence,
        "one_time_keys": {
            oid: key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()).hex()
            for oid, key in memory.one_time_keys.items()
        },
        "key_reuse": memory.key_reuse,
    }


def _memory_in(state: Mapping[str, Any]) -> CardMemory:
    return CardMemory(
        profiles=ProfileRegistry(_profile_in(entry) for entry in state["profiles"]),
        notifications=NotificationList(_notification_in(entry) for entry in state["notifications"]),
        next_sequence=int(state["next_sequence"]),
        one_time_keys={oid: _key_in(text) for oid, text in state["one_time_keys"].items()},
        key_reuse=KeyReuse(state["key_reuse"]),
    )


def _profile_in(entry: Mapping[str, Any]) -> Profile:
    return Profile(
        iccid=Iccid(entry["iccid"]),
        state=ProfileState(entry["state"]),
        smdp_oid=entry["smdp_oid"],
        nickname=entry["nickname"],
        **{
            name: bytes.fromhex(entry[name]) for name in ("aid", "metadata", "package", "proprietary_data", "ci_key_id")
        },
    )


def _notification_in(entry: Mapping[str, Any]) -> Notification:
    return Notification(
        sequence=entry["sequence"],
        event=Event(entry["event"]),
        metadata=bytes.fromhex(entry["metadata"]),
        raw=bytes.fromhex(entry["raw"]),
    )


def _key_in(text: str) -> ec.EllipticCurvePrivateKey:
    key = load_der_private_key(bytes.fromhex(text), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("a one-time key is an elliptic-curve key")
    return key
