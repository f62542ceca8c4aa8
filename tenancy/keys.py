"""API keys: 32 random bytes shown once and stored as a hash; each belongs to a principal and has scopes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime

from tenancy.principal import Principal, Scope

SECRET_BYTES = 32
_TOKEN = re.compile(r"smdp_([0-9]{1,18})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is stored. `digest` is SHA-256 of its secret."""

    id: int
    principal: Principal
    name: str
    scopes: frozenset[Scope]
    digest: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def opens(self, secret: bytes, now: datetime) -> bool:
        """Whether `secret` is this key's and the key is good at `now`; compared in constant time."""
        same = hmac.compare_digest(hashlib.sha256(secret).digest(), self.digest)
        return same and self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key to be stored."""

    principal: Principal
    name: str
    scopes: frozenset[Scope]
    digest: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None


def token(key_id: int, secret: bytes) -> str:
    """What a client sends: `smdp_`, the id, `_`, the secret in base64url."""
    return f"smdp_{key_id}_{base64.urlsafe_b64encode(secret).rstrip(b'=').decode()}"


def parse_token(text: str) -> tuple[int, bytes] | None:
    """Id and secret of a token; None for anything else."""
    found = _TOKEN.fullmatch(text)
    if found is None:
        return None
    secret = base64.urlsafe_b64decode(found[2] + "=")
    return (int(found[1]), secret) if len(secret) == SECRET_BYTES else None
