"""Rules of operators for their orders, what cards tell of installed profiles, expiry of orders."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

_UP = """
ALTER TABLE tenants
    ADD COLUMN order_days INTEGER,
    ADD COLUMN after_deletion TEXT DEFAULT 'retire' NOT NULL,
    ADD COLUMN redownloads INTEGER,
    ADD COLUMN rebinding BOOLEAN DEFAULT true NOT NULL,
    ADD COLUMN bind_imei BOOLEAN DEFAULT false NOT NULL,
    ADD COLUMN iot_euiccs BOOLEAN DEFAULT true NOT NULL,
    ADD COLUMN minimum_saip TEXT,
    ADD COLUMN tacs_allowed TEXT[],
    ADD COLUMN tacs_denied TEXT[],
    ADD COLUMN eums_allowed TEXT[],
    ADD COLUMN eums_denied TEXT[],
    ADD COLUMN notification_points TEXT DEFAULT '' NOT NULL,
    ADD CONSTRAINT ck_tenants_after_deletion CHECK (after_deletion IN ('retire', 'reuse', 'stock'));
ALTER TABLE profile_types ADD COLUMN open BOOLEAN DEFAULT true NOT NULL;
ALTER TABLE packages ADD COLUMN services SMALLINT[] DEFAULT '{}' NOT NULL;
ALTER TABLE orders
    ADD COLUMN eid_named BOOLEAN DEFAULT false NOT NULL,
    ADD COLUMN imei TEXT,
    ADD COLUMN handed_out BOOLEAN DEFAULT false NOT NULL,
    ADD COLUMN awaiting BYTEA,
    ADD COLUMN redownloads INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN installed_seq BIGINT,
    ADD COLUMN card_state TEXT,
    ADD COLUMN card_seq BIGINT,
    ADD COLUMN card_at timestamptz,
    ADD COLUMN changed_at timestamptz DEFAULT now() NOT NULL,
    ADD CONSTRAINT ck_orders_card_state CHECK (card_state IN ('enabled', 'disabled', 'deleted')),
    ADD CONSTRAINT ck_orders_card_whole CHECK (num_nulls(card_state, card_seq, card_at) IN (0, 3));
UPDATE orders SET handed_out = true WHERE otsk_sealed IS NOT NULL;
UPDATE orders SET installed_seq = told.seq_number
    FROM sessions, notifications told
    WHERE orders.state = 'installed' AND sessions.order_id = orders.id AND told.verified
        AND told.transaction_id = sessions.transaction_id AND told.outcome = 'installed';
CREATE INDEX ix_orders_open_expiry ON orders (expires_at) WHERE ended_at IS NULL;
CREATE INDEX ix_outbox_buried ON outbox (tenant_id, id) WHERE buried_at IS NOT NULL;
"""
_DOWN = """
DROP INDEX ix_outbox_buried;
DROP INDEX ix_orders_open_expiry;
UPDATE orders SET ended_at = now(), key_sealed = NULL, confirmation_sealed = NULL, euicc_otpk = NULL,
    otsk_sealed = NULL, host_id = NULL, ci_key_id = NULL WHERE state = 'installed' AND ended_at IS NULL;
ALTER TABLE orders
    DROP COLUMN eid_named,
    DROP COLUMN imei,
    DROP COLUMN handed_out,
    DROP COLUMN awaiting,
    DROP COLUMN redownloads,
    DROP COLUMN installed_seq,
    DROP COLUMN card_state,
    DROP COLUMN card_seq,
    DROP COLUMN card_at,
    DROP COLUMN changed_at;
ALTER TABLE packages DROP COLUMN services;
ALTER TABLE profile_types DROP COLUMN open;
ALTER TABLE tenants
    DROP COLUMN order_days,
    DROP COLUMN after_deletion,
    DROP COLUMN redownloads,
    DROP COLUMN rebinding,
    DROP COLUMN bind_imei,
    DROP COLUMN iot_euiccs,
    DROP COLUMN minimum_saip,
    DROP COLUMN tacs_allowed,
    DROP COLUMN tacs_denied,
    DROP COLUMN eums_allowed,
    DROP COLUMN eums_denied,
    DROP COLUMN notification_points;
"""


def upgrade() -> None:
    """Adds the columns; orders that were installed before learn their report's number."""
    for statement in filter(str.strip, _UP.split(";\n")):
        op.execute(statement)


def downgrade() -> None:
    """Drops them; installed orders that were kept open for another download end."""
    for statement in filter(str.strip, _DOWN.split(";\n")):
        op.execute(statement)
