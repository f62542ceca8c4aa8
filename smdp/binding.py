"""Binds a profile to one card: protected package and session keys in, Bound Profile Package out (SGP.22 2.5, 5.6.2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from crypto.agreement import SessionKeys
from crypto.bsp import Bsp
from rsp import es8plus

_FIRST_87 = _SECOND_87 = 0x87
_METADATA = 0x88
_PROFILE = 0x86


class Protection(StrEnum):
    """Under which keys the profile travels (SGP.22 2.5.3)."""

    PPK = "ppk"
    """Keys of the package: protected once, ahead of time; only A0 to A2 are made per card."""
    SESSION = "session"
    """Session keys of the card: the whole profile is encrypted again at each download."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A protected package with its keys in the clear, for the moment of binding."""

    segments: bytes
    keys: SessionKeys


def protect(upp: bytes, keys: SessionKeys) -> bytes:
    """The profile package as concatenated 86 TLVs under `keys`, which must never protect anything else."""
    return Bsp(keys).encrypt_and_mac(_PROFILE, upp)


def bound_profile_package(
    *, secure_channel: bytes, keys: SessionKeys, metadata: bytes, package: Package, protection: Protection
) -> bytes:
    """BF36 for one card. The same arguments give the same bytes, so that a retry changes nothing but BF23.

    `secure_channel` is the signed BF23; `metadata` the BF25 shown before.
    """
    bsp = Bsp(keys)
    first87 = bsp.encrypt_and_mac(_FIRST_87, es8plus.configure_isdp())
    segments88 = bsp.mac_only(_METADATA, metadata)
    if protection is Protection.PPK:
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
