"""An operator: the tenant that orders profiles over ES2+ and is told about their downloads (SGP.22 2.6, 5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rsp.errors import Malformed

LONGEST_NAME = 64
"""Characters: an operator's certificate carries its name as common name, which has room for so many (X.520)."""


def operator_name(text: str) -> str:
    """The name of a new operator: 1 to 64 printable characters, no space at either end. Raises Malformed."""
    if not 1 <= len(text) <= LONGEST_NAME or not text.isprintable() or text != text.strip():
        raise Malformed(f"an operator's name is 1 to {LONGEST_NAME} printable characters without a space at either end")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator. `requester_id` is its functionRequesterIdentifier, `callback_url` the base of its ES2+ server.

    An empty `callback_url` means it is not told. Limits that are None follow the server's defaults; a list of what is
    allowed that is None allows all. `notification_points` are its own numbers of what it is told, by name
    (tenancy.rules): what is not among them has the number of SGP.22, or is not told when it has none there.
    """

    id: int
    name: str
    requester_id: str
    callback_url: str = ""
    download_attempts: int | None = None
    confirmation_attempts: int | None = None
    active: bool = True
    order_days: int | None = None
    after_deletion: str = "retire"
    redownloads: int | None = None
    rebinding: bool = True
    bind_imei: bool = False
    iot_euiccs: bool = True
    minimum_saip: str | None = None
    tacs_allowed: tuple[str, ...] | None = None
    tacs_denied: tuple[str, ...] | None = None
    eums_allowed: tuple[str, ...] | None = None
    eums_denied: tuple[str, ...] | None = None
    notification_points: Mapping[str, int] = field(default_factory=dict)


class Directory(Protocol):
    """Finds operators. Raises rsp.errors.Unavailable when the database is away."""

    async def by_certificate(self, fingerprint: bytes) -> Operator | None:
        """The active operator whose client certificate has this SHA-256 fingerprint."""

    async def is_inactive(self, fingerprint: bytes) -> bool:
        """Whether this is a client certificate of an operator that is not active."""

    async def by_id(self, operator_id: int) -> Operator | None:
        """The operator with this id."""

    async def by_name(self, name: str) -> Operator | None:
        """The operator with this name."""

    async def list_operators(self, *, name_contains: str = "") -> list[Operator]:
        """Operators in order of their names."""

    async def add_operator(self, operator: Operator, fingerprints: tuple[bytes, ...]) -> Operator:
        """Store a new operator (its `id` is ignored) and the certificates it may call with. Raises OperatorExists."""

    async def add_certificate(self, operator_id: int, fingerprint: bytes) -> None:
        """Let the operator call with one more certificate. Raises OperatorExists when another one holds it."""

    async def remove_certificate(self, operator_id: int, fingerprint: bytes) -> bool:
        """The operator calls with this certificate no longer; False when it never did."""

    async def change_operator(self, operator: Operator) -> None:
        """Store callback address, limits, rules and activity of `operator`; an inactive one may not call."""


class OperatorExists(Exception):  # noqa: N818 -- the name is the fact
    """Name, requester id or certificate already belong to an operator."""
