"""Operators, stock, orders, sessions, and the two queues: the first schema."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

_OPERATORS = """
CREATE TABLE tenants (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    name TEXT NOT NULL,
    requester_id TEXT NOT NULL,
    callback_url TEXT DEFAULT '' NOT NULL,
    download_attempts INTEGER,
    confirmation_attempts INTEGER,
    active BOOLEAN DEFAULT true NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_tenants PRIMARY KEY (id),
    CONSTRAINT uq_tenants_name UNIQUE (name),
    CONSTRAINT uq_tenants_requester_id UNIQUE (requester_id)
);
CREATE TABLE tenant_certificates (
    fingerprint BYTEA NOT NULL,
    tenant_id BIGINT NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_tenant_certificates PRIMARY KEY (fingerprint),
    CONSTRAINT ck_tenant_certificates_fingerprint CHECK (octet_length(fingerprint) = 32),
    CONSTRAINT fk_tenant_certificates_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX ix_tenant_certificates_tenant_id ON tenant_certificates (tenant_id);
"""

_STOCK = """
CREATE TABLE profile_types (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    tenant_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_profile_types PRIMARY KEY (id),
    CONSTRAINT uq_profile_types_tenant_id_name UNIQUE (tenant_id, name),
    CONSTRAINT fk_profile_types_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE TABLE packages (
    id UUID NOT NULL,
    tenant_id BIGINT NOT NULL,
    segments BYTEA NOT NULL,
    key_sealed BYTEA NOT NULL,
    size INTEGER NOT NULL,
    saip_major SMALLINT NOT NULL,
    saip_minor SMALLINT NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_packages PRIMARY KEY (id),
    CONSTRAINT fk_packages_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE TABLE profiles (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    tenant_id BIGINT NOT NULL,
    iccid TEXT NOT NULL,
    profile_type_id BIGINT NOT NULL,
    package_id UUID NOT NULL,
    metadata BYTEA NOT NULL,
    policy_rules SMALLINT[] NOT NULL,
    state TEXT NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_profiles PRIMARY KEY (id),
    CONSTRAINT ck_profiles_state CHECK (state IN ('available', 'ordered', 'unavailable')),
    CONSTRAINT fk_profiles_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT uq_profiles_iccid UNIQUE (iccid),
    CONSTRAINT fk_profiles_profile_type_id FOREIGN KEY(profile_type_id) REFERENCES profile_types (id),
    CONSTRAINT fk_profiles_package_id FOREIGN KEY(package_id) REFERENCES packages (id)
);
CREATE INDEX ix_profiles_in_stock ON profiles (profile_type_id, created_at) WHERE state = 'available';
CREATE INDEX ix_profiles_package_id ON profiles (package_id);
CREATE INDEX ix_profiles_tenant_id_id ON profiles (tenant_id, id);
-- Ciphertext does not shrink: do not try to compress it.
ALTER TABLE packages ALTER COLUMN segments SET STORAGE EXTERNAL;
"""

_DOWNLOADS = """
CREATE TABLE orders (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    tenant_id BIGINT NOT NULL,
    iccid TEXT NOT NULL,
    profile_type TEXT NOT NULL,
    state TEXT NOT NULL,
    version INTEGER DEFAULT 0 NOT NULL,
    eid TEXT,
    matching_id TEXT,
    key_sealed BYTEA,
    confirmation_sealed BYTEA,
    confirmation_attempts INTEGER DEFAULT 0 NOT NULL,
    download_attempts INTEGER DEFAULT 0 NOT NULL,
    euicc_otpk BYTEA,
    otsk_sealed BYTEA,
    host_id BYTEA,
    ci_key_id BYTEA,
    expires_at timestamptz,
    ended_at timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_orders PRIMARY KEY (id),
    CONSTRAINT ck_orders_state CHECK (
        state IN ('allocated', 'linked', 'confirmed', 'released', 'downloaded', 'installed', 'error', 'cancelled')
    ),
    CONSTRAINT ck_orders_secrets_end CHECK (
        ended_at IS NULL OR num_nonnulls(key_sealed, confirmation_sealed, otsk_sealed) = 0
    ),
    CONSTRAINT ck_orders_binding_whole CHECK (num_nulls(euicc_otpk, otsk_sealed, host_id, ci_key_id) IN (0, 4)),
    CONSTRAINT fk_orders_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT fk_orders_iccid FOREIGN KEY(iccid) REFERENCES profiles (iccid)
) WITH (fillfactor = 70);
CREATE INDEX ix_orders_iccid_id ON orders (iccid, id);
CREATE INDEX ix_orders_matching_id_id ON orders (matching_id, id);
CREATE INDEX ix_orders_open_eid ON orders (eid, id) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX uq_orders_open_iccid ON orders (iccid) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX uq_orders_open_matching_id ON orders (matching_id) WHERE ended_at IS NULL;
CREATE TABLE sessions (
    transaction_id BYTEA NOT NULL,
    state TEXT NOT NULL,
    expires_at timestamptz NOT NULL,
    server_address TEXT NOT NULL,
    server_challenge BYTEA NOT NULL,
    ci_key_id BYTEA NOT NULL,
    server_ci_key_id BYTEA NOT NULL,
    order_id BIGINT,
    eid TEXT,
    euicc_key BYTEA,
    smdp_signed2 BYTEA,
    smdp_signature2 BYTEA,
    authenticate_digest BYTEA,
    download_digest BYTEA,
    secure_channel BYTEA,
    refusal TEXT,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_sessions PRIMARY KEY (transaction_id),
    CONSTRAINT ck_sessions_state CHECK (state IN ('initiated', 'authenticated', 'delivered', 'reported', 'ended')),
    CONSTRAINT fk_sessions_order_id FOREIGN KEY(order_id) REFERENCES orders (id)
) WITH (fillfactor = 50);
"""

_QUEUES = """
CREATE TABLE es2_calls (
    tenant_id BIGINT NOT NULL,
    call_id TEXT NOT NULL,
    function TEXT NOT NULL,
    digest BYTEA NOT NULL,
    result TEXT,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_es2_calls PRIMARY KEY (tenant_id, call_id)
);
CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    tenant_id BIGINT NOT NULL,
    line TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    due_at timestamptz DEFAULT now() NOT NULL,
    claimed_until timestamptz,
    claimed_by UUID,
    last_error TEXT,
    sent_at timestamptz,
    buried_at timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_outbox PRIMARY KEY (id)
);
CREATE INDEX ix_outbox_due ON outbox (due_at, id) WHERE sent_at IS NULL AND buried_at IS NULL;
CREATE INDEX ix_outbox_lines ON outbox (line, id) WHERE sent_at IS NULL AND buried_at IS NULL;
CREATE TABLE notifications (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    raw BYTEA NOT NULL,
    received_at timestamptz NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    claimed_until timestamptz,
    judged_at timestamptz,
    verified BOOLEAN DEFAULT false NOT NULL,
    outcome TEXT,
    transaction_id BYTEA,
    eid TEXT,
    seq_number BIGINT,
    iccid TEXT,
    CONSTRAINT pk_notifications PRIMARY KEY (id),
    CONSTRAINT ck_notifications_raw_size CHECK (octet_length(raw) <= 262144)
);
CREATE INDEX ix_notifications_unjudged ON notifications (id) WHERE judged_at IS NULL;
CREATE UNIQUE INDEX uq_notifications_event ON notifications (eid, seq_number)
    WHERE verified AND outcome <> 'duplicate' AND transaction_id IS NULL;
CREATE UNIQUE INDEX uq_notifications_result ON notifications (transaction_id) WHERE verified AND outcome <> 'duplicate';
"""

# One statement writes several rows; this makes it all or nothing. The code of the error is ours: store.errors knows it.
_GUARD = """
CREATE FUNCTION require_rows(met bigint, wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF met <> wanted THEN
        RAISE EXCEPTION 'a row is not in the expected state' USING ERRCODE = 'SM001';
    END IF;
END $$;
"""

_TABLES = """
notifications, outbox, es2_calls, sessions, orders, profiles, packages, profile_types, tenant_certificates, tenants
"""


def upgrade() -> None:
    """Makes the first schema."""
    for group in (_OPERATORS, _STOCK, _DOWNLOADS, _QUEUES):
        for statement in filter(str.strip, group.split(";\n")):
            op.execute(statement)
    op.execute(_GUARD)


def downgrade() -> None:
    """Drops everything; the rows are lost."""
    op.execute("DROP FUNCTION require_rows(bigint, bigint)")
    op.execute(f"DROP TABLE {_TABLES}")
