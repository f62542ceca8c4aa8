"""Carriers with an SM-DP+ of their own, and our orders there."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

_UP = """
ALTER TABLE carriers
    ADD COLUMN smdp_url TEXT DEFAULT '' NOT NULL,
    ADD COLUMN smdp_requester_id TEXT DEFAULT '' NOT NULL,
    ADD COLUMN smdp_certificate TEXT DEFAULT '' NOT NULL,
    ADD COLUMN smdp_ca TEXT DEFAULT '' NOT NULL,
    ADD COLUMN smdp_address TEXT DEFAULT '' NOT NULL,
    ADD COLUMN smdp_caller_certificate TEXT DEFAULT '' NOT NULL,
    ADD COLUMN smdp_caller BYTEA,
    ADD COLUMN smdp_key_sealed BYTEA,
    ADD CONSTRAINT uq_carriers_smdp_caller UNIQUE (smdp_caller),
    ADD CONSTRAINT ck_carriers_one_source CHECK (smdp_url = '' OR operator_id IS NULL),
    ADD CONSTRAINT ck_carriers_smdp_caller CHECK (octet_length(smdp_caller) = 32);
CREATE TABLE foreign_orders (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    carrier_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    token TEXT NOT NULL,
    eid TEXT NOT NULL,
    profile_type TEXT NOT NULL,
    iccid TEXT,
    asks INTEGER DEFAULT 0 NOT NULL,
    confirms INTEGER DEFAULT 0 NOT NULL,
    cancels INTEGER DEFAULT 0 NOT NULL,
    matching_sealed BYTEA,
    address TEXT DEFAULT '' NOT NULL,
    released BOOLEAN DEFAULT false NOT NULL,
    out BOOLEAN DEFAULT false NOT NULL,
    surplus BOOLEAN DEFAULT false NOT NULL,
    told TEXT DEFAULT '' NOT NULL,
    told_detail TEXT DEFAULT '' NOT NULL,
    told_at timestamptz,
    word TEXT DEFAULT '' NOT NULL,
    ending TEXT DEFAULT '' NOT NULL,
    ended_key TEXT DEFAULT '' NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    CONSTRAINT pk_foreign_orders PRIMARY KEY (id),
    CONSTRAINT fk_foreign_orders_carrier_id FOREIGN KEY(carrier_id) REFERENCES carriers (id),
    CONSTRAINT uq_foreign_orders_token UNIQUE (token),
    CONSTRAINT uq_foreign_orders_carrier_id_key UNIQUE (carrier_id, key),
    CONSTRAINT ck_foreign_orders_told CHECK (told IN ('', 'failed', 'handed_out', 'installed')),
    CONSTRAINT ck_foreign_orders_secrets_end CHECK (ended_at IS NULL OR matching_sealed IS NULL)
);
CREATE UNIQUE INDEX uq_foreign_orders_open ON foreign_orders (carrier_id, iccid) WHERE ended_at IS NULL;
CREATE INDEX ix_foreign_orders_ended_key ON foreign_orders (carrier_id, ended_key) WHERE ended_key <> '';
CREATE INDEX ix_foreign_orders_surplus ON foreign_orders (id) WHERE surplus AND ended_at IS NULL;
"""
_DOWN = """
DROP TABLE foreign_orders;
ALTER TABLE carriers
    DROP COLUMN smdp_url,
    DROP COLUMN smdp_requester_id,
    DROP COLUMN smdp_certificate,
    DROP COLUMN smdp_ca,
    DROP COLUMN smdp_address,
    DROP COLUMN smdp_caller_certificate,
    DROP COLUMN smdp_caller,
    DROP COLUMN smdp_key_sealed;
"""


def upgrade() -> None:
    """Make it so."""
    for statement in filter(str.strip, _UP.split(";\n")):
        op.execute(statement)


def downgrade() -> None:
    """Take it back."""
    for statement in filter(str.strip, _DOWN.split(";\n")):
        op.execute(statement)
