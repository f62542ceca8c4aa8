"""Carriers' own SM-DP+: clients for them, with the certificate that each of them knows us by."""

from __future__ import annotations

import aiohttp

from crypto.vault import Vault
from es2plus.client import Es2PlusClient
from rsp.errors import Unreachable
from server.foreign_profiles import Peer
from tenancy.desk import smdp_key_context
from tenancy.partners import Carrier, SmdpAccess
from tenancy.ports import TenancyStore
from tenancy.principal import Principal, PrincipalKind
from transport.client import GsmaClient
from transport.tls import BadTls, peer_context

_SERVER = Principal(kind=PrincipalKind.ADMIN)
_LARGEST_ANSWER = 1024 * 1024
_LONGEST_SECONDS = 30.0
"""So that the calls of one step of a swap end within its lease."""


class CarrierPeers:
    """`server.foreign_profiles.Peers` by the configuration of carriers; a changed carrier gets a new client."""

    def __init__(
        self, store: TenancyStore, vault: Vault, session: aiohttp.ClientSession, timeout_seconds: float
    ) -> None:
        self._store = store
        self._vault = vault
        self._session = session
        self._timeout = min(timeout_seconds, _LONGEST_SECONDS)
        self._made: dict[int, tuple[int, Peer]] = {}

    async def peer(self, carrier_id: int) -> Peer:
        """The SM-DP+ of a carrier. Raises Unreachable when its configuration cannot be used: it may be mended."""
        carrier = await self._store.carrier(_SERVER, carrier_id)
        if carrier is None or carrier.smdp is None:
            raise Unreachable(f"carrier {carrier_id} has no SM-DP+ of its own configured (any more)")
        made = self._made.get(carrier.id)
        if made is not None and made[0] == carrier.version:
            return made[1]
        peer = await self._opened(carrier, carrier.smdp)
        self._made[carrier.id] = carrier.version, peer
        return peer

    async def _opened(self, carrier: Carrier, access: SmdpAccess) -> Peer:
        key = b""
        if access.key_sealed is not None:
            key = await self._vault.unwrap(access.key_sealed, smdp_key_context(carrier.name))
        try:
            tls = peer_context(access.ca, access.certificate, key.decode())
        except BadTls as error:
            raise Unreachable(f"the SM-DP+ of {carrier.name} cannot be called: {error}") from None
        gsma = GsmaClient(self._session, access.base_url, self._timeout, None, tls, _LARGEST_ANSWER)
        return Peer(client=Es2PlusClient(gsma, access.requester_id), address=access.address)
