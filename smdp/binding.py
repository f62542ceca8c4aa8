"""Binds a profile to one card: protected package and session keys in, Bound Profile Package out (SGP.22 2.5, 5.6.2)."""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum
from hmac import compare_digest
from uuid import UUID

import msgspec
from msgspec.structs import replace

from crypto.agreement import SessionKeys
from crypto.bsp import Bsp
from rsp import es8plus

_FIRST_87 = _SECOND_87 = 0x87
_METADATA = 0x88
_PROFILE = 0x86
_DIGEST = 8


class Protection(StrEnum):
    """Under which keys the profile travels (SGP.22 2.5.3)."""

    PPK = "ppk"
    """Keys of the package: protected once, ahead of time; only A0 to A2 are made per card."""
    SESSION = "session"
    """Session keys of the card: the whole profile is encrypted again at each download."""


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A protected package with its keys in the clear, for the moment of binding."""

    segments: bytes
    keys: SessionKeys


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """All that the session keys of one binding protect; the package by its id.

    Other content needs other keys: they must never encrypt two texts (SGP.22 2.5.4). So the host id, which goes into
    the keys, says what they are for.
    """

    proprietary: bytes
    """DpProprietaryData (B8) of ConfigureISDP, or nothing."""
    metadata: bytes
    package_id: UUID
    protection: Protection

    def new_host_id(self) -> bytes:
        """A host id for a fresh binding of this content: 8 random bytes, 8 that name it."""
        return secrets.token_bytes(_DIGEST) + self._digest()

    def kept(self, host_id: bytes) -> Content | None:
        """The content that was bound under `host_id`: this one, whatever its protection is now; None when neither."""
        same = (replace(self, protection=protection) for protection in Protection)
        return next((one for one in same if compare_digest(host_id[_DIGEST:], one._digest())), None)

    def _digest(self) -> bytes:
        parts = (self.proprietary, self.metadata, self.package_id.bytes, self.protection.encode())
        sized = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hashlib.sha256(sized).digest()[:_DIGEST]


def protect(upp: bytes, keys: SessionKeys) -> bytes:
    """The profile package as concatenated 86 TLVs under `keys`, which must never protect anything else."""
    return Bsp(keys).encrypt_and_mac(_PROFILE, upp)


def bound_profile_package(*, secure_channel: bytes, keys: SessionKeys, content: Content, package: Package) -> bytes:
    """BF36 for one card. The same arguments give the same bytes, so that a retry changes nothing but BF23.

    `secure_channel` is the signed BF23; the metadata is the BF25 shown before.
    """
    bsp = Bsp(keys)
    first87 = bsp.encrypt_and_mac(_FIRST_87, es8plus.configure_isdp(content.proprietary))
    segments88 = bsp.mac_only(_METADATA, content.metadata)
    if content.protection is Protection.PPK:
        own = package.keys
        replace = es8plus.replace_session_keys(
            initial_mcv=own.mac_chaining_value, ppk_enc=own.s_enc, ppk_cmac=own.s_mac
        )
        second87 = bsp.encrypt_and_mac(_SECOND_87, replace)
        segments86 = package.segments
    else:
        second87 = b""
        segments86 = bsp.encrypt_and_mac(_PROFILE, Bsp(package.keys).decrypt_and_verify(_PROFILE, package.segments))
    return es8plus.bound_profile_package(
        bf23=secure_channel, first87=first87, segments88=segments88, second87=second87, segments86=segments86
    )
