"""A scripted SM-DP+ for tests of the virtual eUICC: its messages are its own work, right or wrong on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from card_test_pki import EID, NOW, Entity, Wish, pki, server_entity
from cryptography.hazmat.primitives import cmac, hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rsp.identifiers import Eid, Iccid
from rsp.tlv import read, wrap, wrap_integer
from simulator.bpp_segments import split_bound_profile_package
from simulator.card import Card
from simulator.metadata import AuthorisationRule
from simulator.misbehaviour import Misbehaviour

ADDRESS = "smdp.example.com"
ICCID = Iccid("8900012345678901234")
CONTEXT = wrap(
    0xA0, wrap(0x80, b"TOKEN-1"), wrap(0xA1, wrap(0x80, b"\x35\x12\x34\x56"), wrap(0xA1, wrap(0x80, b"\x05\0\0")))
)
ALL_EVENTS = b"\x04\xf0"
Change = Callable[[bytes], bytes]


def same(data: bytes) -> bytes:
    return data


def notify(events: bytes, address: str) -> bytes:
    return wrap(0x30, wrap(0x80, events), wrap(0x81, address.encode()))


def metadata(
    iccid: Iccid = ICCID,
    *more: bytes,
    notifications: bytes = notify(ALL_EVENTS, ADDRESS),
    provider: bytes = b"Operator",
    name: bytes = b"Test profile",
) -> bytes:
    head = wrap(0x5A, iccid.to_bytes()), wrap(0x91, provider), wrap(0x92, name)
    return wrap(0xBF25, *head, wrap(0xB6, notifications) if notifications else b"", *more)


def profile_package(iccid: Iccid = ICCID, size: int = 2500) -> bytes:
    header = wrap(
        0xA0,
        wrap(0x80, b"\x02"),
        wrap(0x81, b"\x03"),
        wrap(0x83, bytes.fromhex(iccid.digits.ljust(20, "f"))),
        wrap(0xA5),
        wrap(0xA6),
    )
    return header + wrap(0xA8, wrap(0x80, bytes(index % 251 for index in range(size)))) + wrap(0xAA, wrap(0xA0))


def sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    size = (key.key_size + 7) // 8
    return wrap(0x5F37, r.to_bytes(size, "big") + s.to_bytes(size, "big"))


@dataclass(slots=True)
class Protection:
    """Makes protected segments: one MAC chain and one counter, encryption at will."""

    encryption: bytes
    mac: bytes
    chain: bytes
    counter: int = 0

    def segment(self, tag: int, data: bytes) -> bytes:
        self.counter += 1
        if tag != 0x88:
            padded = self.pad(data)
            block = (
                Cipher(algorithms.AES(self.encryption), modes.ECB())
                .encryptor()
                .update(self.counter.to_bytes(16, "big"))
            )
            data = Cipher(algorithms.AES(self.encryption), modes.CBC(block)).encryptor().update(padded)
        head = wrap(tag, data + bytes(8))[: -len(data) - 8]
        code = cmac.CMAC(algorithms.AES(self.mac))
        code.update(self.chain + head + data)
        self.chain = code.finalize()
        return head + data + self.chain[:8]

    def pad(self, data: bytes) -> bytes:
        return data + b"\x80" + bytes(-(len(data) + 1) % 16)

    def segments(self, tag: int, data: bytes, size: int) -> bytes:
        return b"".join(self.segment(tag, data[start : start + size]) for start in range(0, len(data), size))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageWish:
    """What a bound profile package shall hold; a test changes one field to make it wrong."""

    metadata: bytes = field(default_factory=metadata)
    package: bytes = field(default_factory=profile_package)
    configuration: bytes = wrap(0xBF24)
    remote_operation: int = 1
    transaction_id: bytes | None = None
    template: bytes = wrap(0x80, b"\x88") + wrap(0x81, b"\x10") + wrap(0x84, b"host")
    secret: int = 12345
    point: Change = same
    open_signature: Change = same
    eid: str = EID
    replacement: bytes | None = None
    size: int = 1007
    metadata_size: int = 1008


class ScriptedServer:
    """One session of a server. Public fields may be changed before the message that uses them is built."""

    def __init__(self, curve: str = "nist") -> None:
        self.curve = curve
        self.transaction_id = bytes(range(16))
        self.server_challenge = bytes(range(16, 32))
        self.address = ADDRESS
        self.auth: Entity = server_entity(curve, Wish())
        self.binding: Entity = server_entity(curve, Wish(role="dp_pb"))

    def authenticate_request(
        self,
        challenge: bytes,
        *,
        sign_with: ec.EllipticCurvePrivateKey | None = None,
        ci_key_id: bytes | None = None,
        signature: Change = same,
        context: bytes = CONTEXT,
        signed: Change = same,
    ) -> bytes:
        body = signed(
            wrap(
                0x30,
                wrap(0x80, self.transaction_id),
                wrap(0x81, challenge),
                wrap(0x83, self.address.encode()),
                wrap(0x84, self.server_challenge),
            )
        )
        made = signature(sign(sign_with or self.auth.key, body))
        key_id = wrap(0x04, ci_key_id or pki(self.curve).ci.key_id)
        return wrap(0xBF38, body, made, key_id, self.auth.der, context)

    def prepare_request(
        self,
        authenticate_response: bytes,
        *,
        hash_cc: bytes | None = None,
        cc_required: bytes = b"\x00",
        euicc_point: bytes | None = None,
        transaction_id: bytes | None = None,
        signature: Change = same,
    ) -> bytes:
        signature1 = list(next(read(authenticate_response).children()).children())[1].raw
        offered = wrap(0x5F49, euicc_point) if euicc_point else b""
        body = wrap(0x30, wrap(0x80, transaction_id or self.transaction_id), wrap(0x01, cc_required), offered)
        made = signature(sign(self.binding.key, body + signature1))
        return wrap(0xBF21, body, made, wrap(0x04, hash_cc) if hash_cc else b"", self.binding.der)

    def bound_package(self, prepare_response: bytes, wish: PackageWish) -> bytes:
        point = read_point(prepare_response)
        own = ec.derive_private_key(wish.secret, pki(self.curve).curve)
        opening, protection = self._open(own, point, wish)
        first = wrap(0xA0, protection.segments(0x87, wish.configuration, wish.size))
        second = wrap(0xA1, protection.segments(0x88, wish.metadata, wish.metadata_size))
        third = b""
        if wish.replacement is not None:
            third = wrap(0xA2, protection.segments(0x87, wish.replacement, wish.size))
            found = read(wish.replacement).members()
            protection = Protection(found[0x81].value[:16], found[0x82].value[:16], found[0x80].value)
        fourth = wrap(0xA3, protection.segments(0x86, wish.package, wish.size))
        return wrap(0xBF36, opening, first, second, third, fourth)

    def _open(self, own: ec.EllipticCurvePrivateKey, point: bytes, wish: PackageWish) -> tuple[bytes, Protection]:
        peer = ec.EllipticCurvePublicKey.from_encoded_point(own.curve, point)
        host_id = read(wrap(0xA6, wish.template)).members()[0x84].value if wish.template else b""
        eid = bytes.fromhex(wish.eid)
        shared = b"\x88\x10" + bytes((len(host_id),)) + host_id + bytes((len(eid),)) + eid
        keys = X963KDF(hashes.SHA256(), 48, shared).derive(own.exchange(ec.ECDH(), peer))
        own_point = wish.point(own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
        body = (
            wrap_integer(0x82, wish.remote_operation)
            + wrap(0x80, wish.transaction_id or self.transaction_id)
            + wrap(0xA6, wish.template)
            + wrap(0x5F49, own_point)
        )
        signature = wish.open_signature(sign(self.binding.key, body + wrap(0x5F49, point)))
        return wrap(0xBF23, body, signature), Protection(keys[16:32], keys[32:], keys[:16])


def read_point(prepare_response: bytes) -> bytes:
    ok = next(read(prepare_response).children())
    return next(ok.children()).members()[0x5F49].value


def replacement_keys(seed: bytes = b"ppk") -> bytes:
    digest = hashlib.sha512(seed).digest()
    return wrap(0xBF26, wrap(0x80, digest[:16]), wrap(0x81, digest[16:32]), wrap(0x82, digest[32:48]))


def card(
    *curves: str,
    misbehave: tuple[Misbehaviour, ...] = (),
    free_memory: int = 100_000,
    rat: tuple[AuthorisationRule, ...] = (),
    check_profile_elements: bool = True,
) -> Card:
    credentials = [pki(curve).credentials() for curve in curves or ("nist",)]
    return Card(
        Eid(EID),
        credentials,
        now=lambda: NOW,
        misbehave=frozenset(misbehave),
        free_memory=free_memory,
        rat=rat,
        check_profile_elements=check_profile_elements,
    )


def challenge_of(target: Card) -> bytes:
    return read(target.get_euicc_challenge()).members()[0x80].value


def authenticate(target: Card, server: ScriptedServer) -> bytes:
    return target.authenticate_server(server.authenticate_request(challenge_of(target)))


def prepare(target: Card, server: ScriptedServer) -> bytes:
    return target.prepare_download(server.prepare_request(authenticate(target, server)))


def load(target: Card, pieces: list[bytes]) -> bytes:
    """Send the pieces until the card answers."""
    for piece in pieces:
        if answer := target.load_bound_profile_package(piece):
            return answer
    return b""


def install(target: Card, server: ScriptedServer, wish: PackageWish) -> bytes:
    package = server.bound_package(prepare(target, server), wish)
    return load(target, split_bound_profile_package(package))


def error_code(answer: bytes) -> int:
    """The code of an A1 arm; -1 for a success."""
    arm = next(read(answer).children())
    return arm.members()[0x02].integer() if arm.tag == 0xA1 else -1


def failure(result: bytes) -> tuple[int, int]:
    """bppCommandId and errorReason of an installation result; (-1, 0) for a success."""
    final = next(read(result).members()[0xBF27].members()[0xA2].children())
    if final.tag == 0xA0:
        return -1, 0
    found = final.members()
    return found[0x80].integer(), found[0x81].integer()
