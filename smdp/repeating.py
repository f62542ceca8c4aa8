"""ES2+ calls that come again under another call id: the same input with the same outcome is the same call (SGP.23 4.2).

The confirmation code is compared through its sealed hash, in constant time; nothing of it leaves this module.
"""

from __future__ import annotations

import secrets

from crypto.confirmation import hash_of_code
from crypto.vault import Vault
from smdp.order import Order, OrderState, ProfileState
from smdp.requests import CancelOrder, ConfirmOrder, DownloadOrder
from smdp.sealing import confirmation_context, order_key

_RESERVED = frozenset({OrderState.ALLOCATED, OrderState.LINKED})
_RELEASED = frozenset({OrderState.RELEASED, OrderState.DOWNLOADED})


def same_download_order(order: Order, request: DownloadOrder) -> bool:
    """Whether `order` is what this DownloadOrder asks for, and nothing has happened to it since."""
    return order.state in _RESERVED and order.eid == request.eid


async def same_confirmation(vault: Vault, order: Order, request: ConfirmOrder) -> bool:
    """Whether `order` was confirmed with this input. A MatchingID that is left out again is the same one.

    Raises VaultUnavailable.
    """
    if order.state not in (_RELEASED if request.release else {OrderState.CONFIRMED}):
        return False
    if (request.smds_address or "").lower() != (order.smds_address or ""):
        return False
    # At an SM-DS an empty MatchingID is as good as none: the order has one anyway.
    asked = request.matching_id or (None if request.smds_address else request.matching_id)
    chosen = None if asked is None else asked == str(order.matching_id or "")
    found_by_eid = order.matching_id is None
    if chosen is False or (chosen is None and found_by_eid):
        return False
    if request.eid is not None and request.eid != order.eid:
        return False
    if request.imei is not None and request.imei != order.imei:
        return False
    return await same_code(vault, order, request.confirmation_code)


async def same_code(vault: Vault, order: Order, code: str | None) -> bool:
    """Whether the order asks for exactly this confirmation code, or for none. Raises VaultUnavailable."""
    if order.confirmation_sealed is None or not code:
        return order.confirmation_sealed is None and not code
    key = await order_key(vault, order)
    known = key.open(order.confirmation_sealed, confirmation_context(order.id))
    return secrets.compare_digest(known, hash_of_code(code))


def same_release(order: Order) -> bool:
    """Whether ReleaseProfile has done its work already."""
    return order.state in _RELEASED


def same_cancellation(order: Order, profile: ProfileState, request: CancelOrder) -> bool:
    """Whether the latest order of the profile was cancelled with this input, and the profile still stands there."""
    if order.state is not OrderState.CANCELLED or profile is not request.final_status.profile:
        return False
    if request.eid != order.eid and (order.eid_named or request.eid is not None):
        return False
    return request.matching_id is None or request.matching_id == str(order.matching_id or "")
