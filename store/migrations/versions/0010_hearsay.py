"""What devices say of operations without their cards' signatures."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

_COLUMNS = "ALTER TABLE esim_operations ADD COLUMN hearsay TEXT DEFAULT '' NOT NULL, ADD COLUMN heard_at timestamptz"
_BESIDE = """
UPDATE esim_operations SET state = 'expired', ended_at = now()
WHERE state = 'sent' AND heard_at IS NULL AND about IS NOT NULL
"""
_INDEX = "CREATE UNIQUE INDEX uq_esim_operations_in_flight ON esim_operations (eid) WHERE {where}"


def upgrade() -> None:
    """Adds the columns; an operation of which a device has spoken lets the question about it pass."""
    op.execute(_COLUMNS)
    op.execute("DROP INDEX uq_esim_operations_in_flight")
    op.execute(_INDEX.format(where="state = 'sent' AND heard_at IS NULL"))


def downgrade() -> None:
    """Drops them; a question that is on its way beside its download is forgotten and asked for again."""
    op.execute("DROP INDEX uq_esim_operations_in_flight")
    op.execute(_BESIDE)
    op.execute("ALTER TABLE esim_operations DROP COLUMN hearsay, DROP COLUMN heard_at")
    op.execute(_INDEX.format(where="state = 'sent'"))
