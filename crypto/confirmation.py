"""Hashes of a confirmation code (SGP.22 v2.5, 5.3.2 and 5.6.2): hashes are stored and compared, never the code."""

from __future__ import annotations

import hashlib
import hmac


def hash_of_code(code: str) -> bytes:
    """SHA-256 of the code's UTF-8 text as typed, 32 bytes. Codes are short: treat the hash as a secret."""
    return hashlib.sha256(code.encode()).digest()


def hash_for_session(code_hash: bytes, transaction_id: bytes) -> bytes:
    """What the eUICC sends as hashCc: SHA-256 of `code_hash` followed by the transaction id, 32 bytes."""
    return hashlib.sha256(code_hash + transaction_id).digest()


def matches(expected: bytes, received: bytes) -> bool:
    """Whether two hashes are equal, in constant time."""
    return hmac.compare_digest(expected, received)
