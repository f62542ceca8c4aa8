"""A limit on requests for each client address, in bounded memory (generic cell rate algorithm)."""

from __future__ import annotations

import socket
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_ADDRESSES = 65_536
_BURST = 10
"""One download takes about five requests in a row, so even a low limit lets two of them through at once."""
_IPV6_SUBSCRIBER = 8
"""Bytes: a /64."""
_IPV4_INSIDE = bytes(10) + b"\xff\xff"


class Throttle:
    """Admits `per_second` requests from one address in the long run, and at least ten at once.

    Each process counts for itself. An IPv6 client counts by its /64, because it may choose any address in there. Cards
    behind one NAT share an address and therefore the limit: size it for the largest of them. When more addresses come
    than are remembered, the one that was silent longest is forgotten.
    """

    def __init__(
        self, per_second: float, clock: Callable[[], float] = time.monotonic, most_addresses: int = _MOST_ADDRESSES
    ) -> None:
        self._interval = 1.0 / per_second
        self._tolerance = self._interval * (max(per_second, _BURST) - 1)
        self._clock = clock
        self._most = most_addresses
        self._free_at: OrderedDict[str | bytes, float] = OrderedDict()
        """For each address the moment at which it would have used up what it has asked for so far."""

    def __len__(self) -> int:
        return len(self._free_at)

    def wait(self, address: str) -> float:
        """0.0 and the request is counted; else the seconds until one would be admitted."""
        now = self._clock()
        key = _subscriber(address)
        free_at = max(self._free_at.get(key, now), now)
        early = free_at - now - self._tolerance
        if early > 0.0:
            return early
        self._free_at[key] = free_at + self._interval
        self._free_at.move_to_end(key)
        if len(self._free_at) > self._most:
            self._free_at.popitem(last=False)
        return 0.0


def _subscriber(address: str) -> str | bytes:
    """What is counted: an IPv4 address (also one inside IPv6), or the /64 of an IPv6 address."""
    if ":" not in address:
        return address
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        return address
    return socket.inet_ntoa(packed[-4:]) if packed.startswith(_IPV4_INSIDE) else packed[:_IPV6_SUBSCRIBER]
