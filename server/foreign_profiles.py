"""Profiles at a carrier's own SM-DP+ for swaps: `swap.ports.ProfileSource` by ES2+ as a client (SGP.22 5.3).

What is about to be asked is written down first, and call ids come from what was written; an answer is written down
before it is used. An outcome that is not known is asked for again under the same call id, after reading back where the
server can be read. Servers that forget call ids are met in three places:

- A second DownloadOrder may reserve a second profile. The first that was written down counts; any other is kept as
  surplus and cancelled until the server has it back.
- A second ConfirmOrder may be refused because the first one worked. The MatchingID is our own choice and written down,
  so a server that refuses it as taken, or the order as no longer to be confirmed, has told that it did.
- A second CancelOrder may be refused because the first one worked. Unless the server can be read, a card may then hold
  the profile: the card is asked, and its signed word decides.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Protocol

from crypto.vault import Vault
from es2plus.client import Es2PlusClient, OrderRefused
from rsp.errors import Unreachable
from rsp.identifiers import ActivationCode, Eid, Iccid, MatchingId
from rsp.status import Status
from server import logs
from swap.foreign import (
    ForeignOrder,
    ForeignOrders,
    Reading,
    Standing,
    Uncancelled,
    confirmed_before,
    standing,
    state_of,
    uncancelled,
)
from swap.plan import Stock
from swap.ports import ProfileRefused, ProfileState, Returned
from transport.client import NotOffered

_log = logs.get("server.foreign_profiles")

_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_MATCHING_ID_LENGTH = 25
_AVAILABLE, _UNAVAILABLE = "Available", "Unavailable"
_BATCH = 20


@dataclass(slots=True, kw_only=True)
class Peer:
    """A carrier's SM-DP+. `address` goes into activation codes where its answers name none.

    `readable` becomes False when it turns out to have no getProfileStatus.
    """

    client: Es2PlusClient
    address: str
    readable: bool = True


class Peers(Protocol):
    """The SM-DP+ of carriers."""

    async def peer(self, carrier_id: int) -> Peer:
        """The SM-DP+ of a carrier. Raises Unreachable when its configuration cannot be used (any more)."""


class ForeignProfiles:
    """Orders at the SM-DP+ of the carrier that `stock.peer_id` names."""

    def __init__(self, peers: Peers, orders: ForeignOrders, vault: Vault) -> None:
        self._peers = peers
        self._orders = orders
        self._vault = vault

    async def available(self, stock: Stock) -> bool:  # noqa: ARG002 -- ES2+ has no such question
        """Always: whether a profile is left shows when one is ordered, and a swap begins with that."""
        return True

    async def reserve(self, key: str, stock: Stock, eid: Eid) -> Iccid:
        """DownloadOrder for this eSIM alone. Raises ProfileRefused, Unreachable."""
        order = await self._orders.asked(stock.peer_id, key, eid, stock.profile_type)
        if order.iccid is not None:
            return order.iccid
        client = (await self._peers.peer(stock.peer_id)).client
        try:
            iccid = await client.download_order(f"{order.token}-order", eid=eid, profile_type=stock.profile_type)
        except OrderRefused as refused:
            await self._not_reserved(order, refused)
            raise ProfileRefused(str(refused)) from None
        kept = await self._orders.reserved(order.id, iccid)
        if kept is None:
            raise ProfileRefused(f"it gave out profile {iccid}, which it has given us for another order already")
        if kept != iccid:
            _log.warning("surplus profile", carrier=order.carrier_id, iccid=str(iccid), kept=str(kept))
            surplus = await self._orders.add_surplus(order, iccid)
            if surplus is not None:
                await self._cancel_surplus(surplus)
        return kept

    async def _not_reserved(self, order: ForeignOrder, refused: OrderRefused) -> None:
        if order.asks == 1:
            await self._orders.forget(order.id)
            return
        # An earlier ask had no answer. It may have reserved a profile whose ICCID nobody told us.
        _log.warning(
            "perhaps reserved",
            carrier=order.carrier_id,
            eid=str(order.eid),
            call_id=f"{order.token}-order",
            why=refused,
        )
        await self._orders.ended(order.id, f"refused after a lost answer: {refused}", order.key)

    async def release(self, key: str, stock: Stock, iccid: Iccid, eid: Eid) -> str:  # noqa: ARG002 -- one call id does
        """ConfirmOrder with release; the activation code. Raises ProfileRefused, Unreachable."""
        order = await self._order(stock, iccid, eid)
        if order is None:
            raise ProfileRefused(f"there is no order of profile {iccid} for this eSIM")
        peer = await self._peers.peer(stock.peer_id)
        if not order.released:
            order = await self._confirmed(peer, order, iccid)
        matching_id = await self._matching_id(order)
        address = order.address or peer.address
        return str(ActivationCode(smdp_address=address, matching_id=MatchingId(matching_id) if matching_id else None))

    async def _confirmed(self, peer: Peer, order: ForeignOrder, iccid: Iccid) -> ForeignOrder:
        """The order once it is released, with the MatchingID it has there."""
        chosen = "".join(secrets.choice(_ALPHABET) for _ in range(_MATCHING_ID_LENGTH))
        order = await self._orders.confirming(order.id, await self._sealed(order, chosen))
        ours = await self._matching_id(order)
        try:
            confirmation = await peer.client.confirm_order(
                f"{order.token}-confirm", iccid, release=True, eid=order.eid, matching_id=ours
            )
        except OrderRefused as refused:
            said = standing(order, await self._read(peer, order))
            released = said is Standing.RELEASED and order.confirms > 1
            if not released and not (said is Standing.UNCLEAR and confirmed_before(order, refused.codes)):
                raise ProfileRefused(str(refused)) from None
            return await self._orders.released(order.id, await self._sealed(order, ours), "")
        sealed = await self._sealed(order, confirmation.matching_id)
        return await self._orders.released(order.id, sealed, confirmation.smdp_address)

    async def state(self, stock: Stock, iccid: Iccid, eid: Eid) -> ProfileState | None:
        """Where the order stands by our record, its reports, and what it answers; a server that is away is no news."""
        order = await self._order(stock, iccid, eid)
        if order is None:
            return None
        try:
            reading = await self._read(await self._peers.peer(stock.peer_id), order)
        except Unreachable:
            reading = None
        return state_of(order, reading)

    async def recall(self, key: str, stock: Stock, iccid: Iccid, eid: Eid) -> bool:
        """CancelOrder, back into stock; False when a card may hold the profile. Raises ProfileRefused, Unreachable."""
        order = await self._order(stock, iccid, eid)
        if order is None:
            return True
        if order.may_be_on_a_card:
            return False
        peer = await self._peers.peer(stock.peer_id)
        order = await self._orders.cancelling(order.id)
        refused = await self._cancel(peer, order, "cancel", _AVAILABLE)
        if refused is None:
            await self._orders.ended(order.id, Returned.IN_STOCK.value, key)
            return True
        why = uncancelled(order, refused.codes, standing(order, await self._read(peer, order)))
        if why is Uncancelled.OTHER:
            raise ProfileRefused(str(refused))
        if why is Uncancelled.OVER:
            await self._orders.ended(order.id, Returned.IN_STOCK.value, key)
            return True
        await self._orders.kept_out(order.id)
        return False

    async def give_back(self, key: str, stock: Stock, iccid: Iccid, eid: Eid, *, reusable: bool) -> Returned:
        """Have the server take back a profile that the card has told it holds no more. Raises ProfileRefused."""
        ended = await self._orders.ended_by(stock.peer_id, key)
        if ended is not None:
            return Returned(ended.ending)
        order = await self._order(stock, iccid, eid)
        if order is None:
            raise ProfileRefused(f"there is no order of profile {iccid} for this eSIM")
        peer = await self._peers.peer(stock.peer_id)
        reading = await self._read(peer, order)
        if not order.kept and state_of(order, reading) in (ProfileState.RESERVED, ProfileState.RELEASED):
            raise ProfileRefused(f"no card got profile {iccid}: it is recalled, not given back")
        # A server that heard of the deletion may have acted on it by itself.
        came = Returned.IN_STOCK if reusable else Returned.WITHDRAWN
        if standing(order, reading) is not Standing.GONE:
            came = await self._returned(peer, order, iccid, reusable=reusable)
        if came is Returned.KEPT:
            _log.warning("profile kept", carrier=order.carrier_id, iccid=str(iccid), state=order.word)
            await self._orders.kept_back(order.id)
        else:
            await self._orders.ended(order.id, came.value, key)
        return came

    async def _returned(self, peer: Peer, order: ForeignOrder, iccid: Iccid, *, reusable: bool) -> Returned:
        """Ask for it by all that the server may offer.

        Once it has refused, only by what names the eSIM: the profile may have been given to another one since.
        """
        wanted = _AVAILABLE if reusable else _UNAVAILABLE
        if not order.kept and await self._recovered(peer, order, iccid, wanted):
            refused = None
        else:
            refused = await self._cancel(peer, order, "return", wanted)
        if refused is not None:
            return Returned.KEPT
        return Returned.IN_STOCK if reusable else Returned.WITHDRAWN

    async def _recovered(self, peer: Peer, order: ForeignOrder, iccid: Iccid, wanted: str) -> bool:
        try:
            await peer.client.recover_profile(f"{order.token}-recover", iccid, wanted)
        except (OrderRefused, NotOffered):
            return False
        return True

    async def return_surplus(self) -> int:
        """Cancel profiles that were reserved once too often; how many were looked at."""
        found = await self._orders.surplus(_BATCH)
        for order in found:
            await self._cancel_surplus(order)
        return len(found)

    async def _cancel_surplus(self, order: ForeignOrder) -> None:
        """Tried again later when its outcome is not known."""
        try:
            refused = await self._cancel(await self._peers.peer(order.carrier_id), order, "surplus", _AVAILABLE)
        except Unreachable as away:
            _log.warning(
                "surplus profile stays for now", carrier=order.carrier_id, iccid=str(order.iccid), why=str(away)
            )
            return
        if refused is not None:
            _log.warning("surplus profile kept", carrier=order.carrier_id, iccid=str(order.iccid), why=str(refused))
        ending = Returned.IN_STOCK if refused is None else Returned.KEPT
        await self._orders.ended(order.id, ending.value, "")

    async def _cancel(self, peer: Peer, order: ForeignOrder, what: str, final: str) -> OrderRefused | None:
        """CancelOrder; the refusal, if it was refused. Raises Unreachable.

        Some servers want the MatchingID of a confirmed order, others refuse one that they did not keep: a refusal for
        its sake is answered by the other form.
        """
        assert order.iccid is not None, "only orders with a profile are cancelled"
        ours = await self._matching_id(order)
        forms = [ours or None] if not ours else [ours, None] if order.released else [None, ours]
        refused = None
        for matching_id in forms:
            call_id = f"{order.token}-{what}" + ("-m" if matching_id else "")
            try:
                await peer.client.cancel_order(call_id, order.iccid, final, eid=order.eid, matching_id=matching_id)
            except OrderRefused as error:
                refused = error
                if error.codes[0] != Status.MATCHING_ID_ASSOCIATED_OTHERWISE.subject:
                    break
            else:
                return None
        return refused

    async def _read(self, peer: Peer, order: ForeignOrder) -> Reading | None:
        """What the server tells of the profile; None when it does not tell. Raises Unreachable."""
        if not peer.readable or order.iccid is None:
            return None
        try:
            found = await peer.client.profile_status(f"{order.token}-status-{secrets.token_hex(8)}", [order.iccid])
        except NotOffered:
            peer.readable = False
            return None
        except OrderRefused:
            return None
        status = next((one for one in found if one.iccid == order.iccid), None)
        if status is None:
            return None
        if status.state != order.word:
            await self._orders.noted(order.id, status.state)
        return Reading(word=status.state, eid=status.eid)

    async def _order(self, stock: Stock, iccid: Iccid, eid: Eid) -> ForeignOrder | None:
        return await self._orders.open_order(stock.peer_id, iccid, eid)

    async def _sealed(self, order: ForeignOrder, matching_id: str) -> bytes:
        return await self._vault.wrap(matching_id.encode(), _context(order))

    async def _matching_id(self, order: ForeignOrder) -> str:
        """The MatchingID of an order; empty while it has none."""
        if order.matching_sealed is None:
            return ""
        return (await self._vault.unwrap(order.matching_sealed, _context(order))).decode()


def _context(order: ForeignOrder) -> bytes:
    """Context of the sealed MatchingID."""
    return f"foreign-matching-id:{order.token}".encode()
