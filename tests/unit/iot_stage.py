"""A tiny eIM and a card under it, for tests of the SGP.32 side: its packages are its own work, right or wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from card_test_pki import CURVES, EID, NOW, pki
from card_test_server import metadata, notify, profile_package, sign
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rsp.identifiers import Eid, Iccid
from rsp.tlv import Tlv, objects, read_only, wrap, wrap_integer
from simulator.iot_card import IotCard
from simulator.iot_factory import FactoryProfile, association_token, eim_configuration, made_in_factory
from simulator.misbehaviour import Misbehaviour
from simulator.profiles import Profile, ProfileState

EIM_ID, EIM_HOST = "2.25.7", "eim.example.com"
LEAD, PARTNER, THIRD = Iccid("8901234567012345678"), Iccid("8900012345678901234"), Iccid("8944000000000000012")
TRANSACTION = bytes(range(1, 9))
EIM_KEYS = {name: ec.generate_private_key(pki(name).curve) for name in CURVES}
LIST = wrap(0xBF2D)
OWNER = wrap(0xB7, wrap(0x80, b"\x09\xf1\x07"))
NO_DISABLING = (OWNER, wrap(0x99, b"\x06\x40"))


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def iccid_tlv(iccid: Iccid) -> bytes:
    return wrap(0x5A, iccid.to_bytes())


def enable(iccid: Iccid, *, rollback: bool = False) -> bytes:
    return wrap(0xA3, iccid_tlv(iccid), b"\x05\x00" if rollback else b"")


def disable(iccid: Iccid) -> bytes:
    return wrap(0xA4, iccid_tlv(iccid))


def delete(iccid: Iccid) -> bytes:
    return wrap(0xA5, iccid_tlv(iccid))


def iot_card(
    curve: str = "nist",
    *,
    token: bool = True,
    misbehave: Iterable[Misbehaviour] = (),
    lead_rules: tuple[bytes, ...] = (),
) -> IotCard:
    """A card from the factory with the lead profile enabled, and a partner's profile on it, disabled."""
    card = made_in_factory(
        Eid(EID),
        [pki(curve).credentials()],
        lead=FactoryProfile(iccid=LEAD, provider="Lead", name="Lead profile"),
        configurations=[
            eim_configuration(eim_id=EIM_ID, fqdn=EIM_HOST, public_key=spki(EIM_KEYS[curve]), ask_for_token=token)
        ],
    )
    card.now = lambda: NOW
    card.misbehave = frozenset(misbehave)
    if lead_rules:
        card.memory.profiles.clear()
        add_profile(card, LEAD, *lead_rules, state=ProfileState.ENABLED)
    add_profile(card, PARTNER)
    return card


def add_profile(card: IotCard, iccid: Iccid, *more: bytes, state: ProfileState = ProfileState.DISABLED) -> None:
    card.memory.profiles.append(
        Profile(
            iccid=iccid,
            aid=card.memory.profiles.free_aid(),
            state=state,
            metadata=metadata(iccid, *more, notifications=notify(b"\x04\xf0", "smdp.example.com")),
            package=profile_package(iccid),
            smdp_oid="2.999.10",
            proprietary_data=b"",
            ci_key_id=card.credentials[0].ci_key_id,
        )
    )


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a package shall look like; a test changes one field to make it wrong."""

    eim_id: str = EIM_ID
    eid: str = EID
    transaction_id: bytes | None = TRANSACTION
    list_tag: int = 0xA0
    key: ec.EllipticCurvePrivateKey | None = None
    token: int | None = None
    padding: bytes = b""


def package(card: IotCard, counter: int, *commands: bytes, wish: Wish | None = None, curve: str = "nist") -> bytes:
    wanted = wish or Wish()
    signed = wrap(
        0x30,
        wrap(0x80, wanted.eim_id.encode()),
        wrap(0x5A, bytes.fromhex(wanted.eid)),
        wrap_integer(0x81, counter),
        b"" if wanted.transaction_id is None else wrap(0x82, wanted.transaction_id),
        wrap(wanted.list_tag, *commands),
    )
    token = (association_token(card, EIM_ID) or 0) if wanted.token is None else wanted.token
    return wrap(0xBF51, signed, sign(wanted.key or EIM_KEYS[curve], signed + wrap_integer(0x84, token)))


@dataclass(frozen=True, kw_only=True)
class Result:
    """A result as an eIM reads it: the arm, the signed part, the signature, members by tag, the results in order."""

    arm: int
    signed: bytes
    signature: bytes
    members: dict[int, Tlv]
    commands: list[bytes] = field(default_factory=list)

    @property
    def sequence(self) -> int:
        return self.members[0x83].integer()

    @property
    def code(self) -> int:
        return self.members[0x02].integer()


def read_result(raw: bytes) -> Result:
    (arm,) = read_only(raw, 0xBF51).children()
    if arm.tag == 0xA2:
        return Result(arm=arm.tag, signed=b"", signature=b"", members=arm.members())
    signed, signature = arm.children()
    members = signed.members()
    commands = [entry.raw for entry in members[0x30].children()] if arm.tag == 0xA0 else []
    return Result(arm=arm.tag, signed=signed.raw, signature=signature.value, members=members, commands=commands)


def check_signature(result: Result, curve: str, *more: bytes) -> None:
    """Raises InvalidSignature unless the card of the test PKI signed the result and `more`."""
    r, s = int.from_bytes(result.signature[:32], "big"), int.from_bytes(result.signature[32:], "big")
    key = pki(curve).euicc.key.public_key()
    key.verify(utils.encode_dss_signature(r, s), result.signed + b"".join(more), ec.ECDSA(hashes.SHA256()))


def token_tlv(card: IotCard) -> bytes:
    return wrap_integer(0x84, association_token(card, EIM_ID) or 0)


def run(card: IotCard, counter: int, *commands: bytes) -> list[str]:
    """The results of one package, in hexadecimal."""
    return [entry.hex() for entry in read_result(card.load_euicc_package(package(card, counter, *commands))).commands]


def states(card: IotCard) -> dict[Iccid, bool]:
    return {profile.iccid: profile.state is ProfileState.ENABLED for profile in card.profiles}


def stored(card: IotCard) -> list[bytes]:
    (listed,) = read_only(card.retrieve_notifications(bytes.fromhex("bf2b04a0028200")), 0xBF2B).children()
    assert listed.tag == 0xA2
    return [entry.raw for entry in objects(listed.value)]


def remove(card: IotCard, sequence: int) -> int:
    answer = card.remove_notification(wrap(0xBF30, wrap_integer(0x80, sequence)))
    return read_only(answer, 0xBF30).members()[0x80].integer()
