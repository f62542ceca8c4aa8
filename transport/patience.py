"""How long a listener waits for its clients."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a connection may stay without progress, in seconds.

    `handshake_seconds` bounds TLS, `idle_seconds` the wait for a complete request header (the first, and each one
    after an answer), `stall_seconds` the wait for a client to acknowledge what it was sent (Linux only) and to end the
    connection with us, `drain_seconds` what running requests get when the listener closes.
    """

    handshake_seconds: float
    idle_seconds: float
    stall_seconds: float
    drain_seconds: float
