"""A profile that its SM-DP+ did not take back may be ordered again once it does."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

_INDEX = "CREATE UNIQUE INDEX uq_foreign_orders_open ON foreign_orders (carrier_id, iccid) WHERE {where}"


def upgrade() -> None:
    """Makes room beside one that is kept."""
    op.execute("DROP INDEX uq_foreign_orders_open")
    op.execute(_INDEX.format(where="ended_at IS NULL AND ending = ''"))


def downgrade() -> None:
    """Ends those that are kept: they have no room there."""
    op.execute("UPDATE foreign_orders SET ended_at = now() WHERE ended_at IS NULL AND ending <> ''")
    op.execute("DROP INDEX uq_foreign_orders_open")
    op.execute(_INDEX.format(where="ended_at IS NULL"))
