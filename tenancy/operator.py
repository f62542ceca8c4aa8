"""An operator: the tenant that orders profiles over ES2+ and is told about their downloads (SGP.22 2.6, 5.3)."""

from __future__ import annotations

from dataclasses import dataclass
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

    An empty `callback_url` means it is not told. Limits that are None follow the server's defaults.
    """

    id: int
    name: str
    requester_id: str
    callback_url: str = ""
    download_attempts: int | None = None
    confirmation_attempts: int | None = None
    active: bool = True


class Directory(Protocol):
    """Finds operators. Raises rsp.errors.Unavailable when the database is away."""

    async def by_certificate(self, fingerprint: bytes) -> Operator | None:
        """The active operator whose client certificate has this SHA-256 fingerprint."""

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
        """Store callback address, limits and activity of `operator`; an inactive one may not call."""


class OperatorExists(Exception):  # noqa: N818 -- the name is the fact
    """Name, requester id or certificate already belong to an operator."""
