"""What each sealed secret is bound to: the context without which it does not open."""

from __future__ import annotations

from uuid import UUID

from crypto.sealing import SealingKey
from crypto.vault import Vault
from smdp.order import Order


def order_key_context(order_id: int) -> bytes:
    """Context of the key of an order, wrapped by the vault."""
    return f"order-key:{order_id}".encode()


def confirmation_context(order_id: int) -> bytes:
    """Context of the hash of a confirmation code, sealed under the order's key."""
    return f"confirmation:{order_id}".encode()


def one_time_key_context(order_id: int, euicc_otpk: bytes) -> bytes:
    """Context of the one-time secret key, sealed under the order's key and tied to the card's one-time key."""
    return f"one-time-key:{order_id}:".encode() + euicc_otpk


def package_key_context(package_id: UUID) -> bytes:
    """Context of the protection keys of a package, wrapped by the vault."""
    return b"package-key:" + package_id.bytes


async def order_key(vault: Vault, order: Order) -> SealingKey:
    """The key of an open order. Raises VaultUnavailable; an ended order has none, which is a bug of the caller."""
    if order.key_sealed is None:
        raise ValueError(f"order {order.id} has no key: it was never confirmed or has ended")
    return SealingKey.from_bytes(await vault.unwrap(order.key_sealed, order_key_context(order.id)))
