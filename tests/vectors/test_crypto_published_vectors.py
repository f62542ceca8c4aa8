"""Published vectors: NIST CAVP (ECDSA, ANSI X9.63 KDF), RFC 4493 (AES-CMAC), RFC 6979 and RFC 7027."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.agreement import OneTimeKey, SessionKeys, expand, read_point
from crypto.bsp import Bsp
from crypto.curves import Curve
from crypto.signatures import BadSignature, verify

h = bytes.fromhex

SIGNED = {
    # FIPS 186-3 SigGen.txt, [P-256,SHA-256], first case.
    "cavp": (
        "1ccbe91c075fc7f4f033bfa248db8fccd3565de94bbfb12f3c59ff46c271bf83",
        "ce4014c68811f9a21a1fdb2c0e6113e06db7ca93b7404e78dc7ccd5ca89a4ca9",
        "5905238877c77421f73e43ee3da6f2d9e2ccad5fc942dcec0cbd25482935faaf416983fe165b1a045ee2bcd2e6dca3bdf46c4310a7461f"
        "9a37960ca672d3feb5473e253605fb1ddfd28065b53cb5858a8ad28175bf9bd386a5e471ea7a65c17cc934a9d791e91491eb3754d03799"
        "790fe2d308d16146d5c9b0d0debd97d79ce8",
        "f3ac8061b514795b8843e3d6629527ed2afd6b1f6a555a7acabb5e6f79c8c2ac",
        "8bf77819ca05a6b2786c76262bf7371cef97b218e96f175a3ccdda2acc058903",
    ),
    # RFC 6979, A.2.5, SHA-256, message "sample".
    "rfc6979": (
        "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
        b"sample".hex(),
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
        "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    ),
}


def public_key(x: str, y: str) -> ec.EllipticCurvePublicKey:
    return read_point(Curve.P256, b"\x04" + h(x) + h(y))


@pytest.mark.parametrize("name", SIGNED)
def test_published_signature_verifies(name: str) -> None:
    x, y, message, r, s = SIGNED[name]
    verify(public_key(x, y), h(r) + h(s), h(message))


@pytest.mark.parametrize("name", SIGNED)
def test_published_signature_of_an_altered_message_is_refused(name: str) -> None:
    x, y, message, r, s = SIGNED[name]
    with pytest.raises(BadSignature):
        verify(public_key(x, y), h(r) + h(s), h(message) + b"\x00")


def test_key_derivation_without_shared_info_gives_the_published_bytes() -> None:
    # CAVS 12.0 ansx963_2001.rsp: SHA-256, shared secret 192 bits, no SharedInfo, 128 bits of key, COUNT 0.
    secret = h("96c05619d56c328ab95fe84b18264b08725b85e33fd34f08")
    assert expand(secret, b"", 16) == h("443024c3dae66b95e6f5670601558f71")


def test_key_derivation_with_shared_info_gives_the_published_bytes() -> None:
    # CAVS 12.0 ansx963_2001.rsp: SHA-256, shared secret 192 bits, SharedInfo 128 bits, 1024 bits of key, COUNT 0.
    secret = h("22518b10e70f2a3f243810ae3254139efbee04aa57c7af7d")
    shared_info = h("75eef81aa3041e33b80971203d2c0c52")
    assert expand(secret, shared_info, 128) == h(
        "c498af77161cc59f2962b9a713e2b215152d139766ce34a776df11866a69bf2e52a13d9c7c6fc878c50c5ea0bc7b00e0da2447cfd874f6"
        "cf92f30d0097111485500c90c3af8b487872d04685d14c8d1dc8d7fa08beb0ce0ababc11f0bd496269142d43525a78e5bc79a17f59676a"
        "5706dc54d54d4d1f0bd7e386128ec26afc21"
    )


def test_brainpool_agreement_gives_the_published_coordinate() -> None:
    # RFC 7027, A.1.
    ours = OneTimeKey.from_bytes(
        Curve.BRAINPOOL_P256R1, h("81db1ee100150ff2ea338d708271be38300cb54241d79950f77b063039804f1d")
    )
    assert ours.public == h(
        "0444106e913f92bc02a1705d9953a8414db95e1aaa49e81d9e85f929a8e3100be5"
        "8ab4846f11caccb73ce49cbdd120f5a900a69fd32c272223f789ef10eb089bdc"
    )
    theirs = h(
        "048d2d688c6cf93e1160ad04cc4429117dc2c41825e1e9fca0addd34e6f1b39f7b"
        "990c57520812be512641e47034832106bc7d3e8dd0e4c7f1136d7006547cec6a"
    )
    assert ours.shared_x(theirs) == h("89afc39d41d3b327814b80940b042590f96556ec91e6ae7939bce31f3a18bf2b")


@pytest.mark.parametrize(
    ("message", "mac"),
    [
        ("6bc1bee22e409f96e93d7e117393172a", "070a16b46b4d4144f79bdd9dd04a287c"),
        (
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
            "dfa66747de9ae63030ca32611497c827",
        ),
        (
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
            "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
            "51f0bebf7e3b9d92fc49741779363cfe",
        ),
    ],
)
def test_segment_mac_is_the_cmac_of_rfc_4493(message: str, mac: str) -> None:
    # RFC 4493, section 4, examples 2 to 4. The chaining value is chosen to be the first block of the message; the
    # rest of the message stands for tag, length and data.
    key = h("2b7e151628aed2a6abf7158809cf4f3c")
    chain, rest = h(message)[:16], h(message)[16:]
    bsp = Bsp(SessionKeys(mac_chaining_value=chain, s_enc=bytes(16), s_mac=key))
    assert bsp._next_chain(rest) == h(mac)
