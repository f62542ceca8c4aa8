"""States become domains, whose check is read once for each connection and not by each write."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

_DOMAINS = {
    "profile_state": ("available", "ordered", "unavailable"),
    "order_state": (
        "allocated",
        "linked",
        "confirmed",
        "released",
        "downloaded",
        "installed",
        "error",
        "cancelled",
        "deleted",
    ),
    "card_state": ("enabled", "disabled", "deleted"),
    "event_state": ("registering", "registered", "withdrawing", "withdrawn"),
    "session_state": ("initiated", "authenticated", "delivered", "reported", "ended"),
}
_COLUMNS = (
    ("profiles", "state", "profile_state"),
    ("orders", "state", "order_state"),
    ("orders", "card_state", "card_state"),
    ("smds_events", "state", "event_state"),
    ("sessions", "state", "session_state"),
)


def _allowed(domain: str) -> str:
    return ", ".join(f"'{word}'" for word in _DOMAINS[domain])


def upgrade() -> None:
    """Makes the domains and moves the columns to them; the tables are written anew."""
    for domain in _DOMAINS:
        op.execute(f"CREATE DOMAIN {domain} AS text CONSTRAINT {domain} CHECK (VALUE IN ({_allowed(domain)}))")
    for table, column, domain in _COLUMNS:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{column}, ALTER COLUMN {column} TYPE {domain}")


def downgrade() -> None:
    """Back to text with check constraints."""
    for table, column, domain in _COLUMNS:
        check = f"ADD CONSTRAINT ck_{table}_{column} CHECK ({column} IN ({_allowed(domain)}))"
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE text, {check}")
    for domain in _DOMAINS:
        op.execute(f"DROP DOMAIN {domain}")
