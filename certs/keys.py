"""Puts the SM-DP+'s signing keys into the vault and names them: the folder holds labels, never these keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from certs.errors import BadPki
from crypto.vault import Vault

EIM_SIGNING = "eim-signing"
"""The vault label of the key with which the eIM signs packages; cards are configured with its public half."""


class KeyVault(Vault, Protocol):
    """A vault that takes in keys made elsewhere."""

    def import_key(self, label: str, private_key: ec.EllipticCurvePrivateKey) -> None:
        """Keep `private_key` under `label`."""


def label(kind: str, ci_key_id: bytes, key_id: bytes) -> str:
    """The vault label of a key: its kind (`dpauth`, `dppb`), its CI, itself; eight hexadecimal digits each."""
    return f"{kind}-{ci_key_id.hex()[:8]}-{key_id.hex()[:8]}"


async def keep(vault: KeyVault, wanted: Mapping[str, ec.EllipticCurvePrivateKey]) -> None:
    """Import the keys under their labels, those there already left alone.

    Raises BadPki, before anything is imported, when a label holds another key.
    """
    present = await vault.labels()
    for name, key in wanted.items():
        if name in present and await vault.public_key(name) != key.public_key():
            raise BadPki(f"the vault holds another key under {name}: use a fresh vault file or remove that key first")
    for name, key in wanted.items():
        if name not in present:
            vault.import_key(name, key)
