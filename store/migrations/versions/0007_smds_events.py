"""Events of orders at SM-DS, and the SM-DS an order names."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

_EVENTS = """
ALTER TABLE orders ADD COLUMN smds_address TEXT;
CREATE INDEX ix_orders_open_smds ON orders (id) WHERE smds_address IS NOT NULL AND ended_at IS NULL;
CREATE TABLE smds_events (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    tenant_id BIGINT NOT NULL,
    order_id BIGINT NOT NULL,
    smds_address TEXT NOT NULL,
    eid TEXT NOT NULL,
    event_id TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER DEFAULT 1 NOT NULL,
    due_at timestamptz,
    doubt_until timestamptz,
    removing_until timestamptz,
    last_error TEXT,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_smds_events PRIMARY KEY (id),
    CONSTRAINT ck_smds_events_state CHECK (state IN ('registering', 'registered', 'withdrawing', 'withdrawn')),
    CONSTRAINT fk_smds_events_order_id FOREIGN KEY(order_id) REFERENCES orders (id)
);
CREATE UNIQUE INDEX uq_smds_events_live ON smds_events (smds_address, eid, event_id) WHERE state <> 'withdrawn';
CREATE INDEX ix_smds_events_order_id ON smds_events (order_id);
CREATE INDEX ix_smds_events_due ON smds_events (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX ix_smds_events_registered ON smds_events (id) WHERE state = 'registered'
"""


def upgrade() -> None:
    """Makes the table of events."""
    for statement in filter(str.strip, _EVENTS.split(";\n")):
        op.execute(statement)


def downgrade() -> None:
    """Drops the table of events: what is registered at SM-DS then stays there."""
    op.execute("DROP TABLE smds_events")
    op.execute("DELETE FROM outbox WHERE kind = 'es12.deleteEvent'")
    op.execute("DROP INDEX ix_orders_open_smds")
    op.execute("ALTER TABLE orders DROP COLUMN smds_address")
