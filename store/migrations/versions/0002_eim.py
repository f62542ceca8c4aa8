"""eSIMs under an eIM: associations, contacts, profiles, operations, results (SGP.32)."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

_ESIMS = """
CREATE TABLE esims (
    eid TEXT NOT NULL,
    tenant_id BIGINT NOT NULL,
    eim_id TEXT NOT NULL,
    token BIGINT,
    counter BIGINT NOT NULL,
    eum_certificate BYTEA NOT NULL,
    euicc_certificate BYTEA NOT NULL,
    features SMALLINT[],
    euicc_info2 BYTEA,
    device_info BYTEA,
    content_version INTEGER DEFAULT 0 NOT NULL,
    content_seq BIGINT,
    content_at timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_esims PRIMARY KEY (eid),
    CONSTRAINT ck_esims_counter CHECK (counter >= 0)
);
CREATE INDEX ix_esims_tenant_id_eid ON esims (tenant_id, eid);
CREATE TABLE esim_contacts (
    eid TEXT NOT NULL,
    tenant_id BIGINT NOT NULL,
    polled_at timestamptz,
    rplmn BYTEA,
    state_change_cause SMALLINT,
    CONSTRAINT pk_esim_contacts PRIMARY KEY (eid),
    CONSTRAINT fk_esim_contacts_eid FOREIGN KEY(eid) REFERENCES esims (eid)
) WITH (fillfactor = 50);
CREATE TABLE esim_profiles (
    eid TEXT NOT NULL,
    iccid TEXT NOT NULL,
    tenant_id BIGINT NOT NULL,
    enabled BOOLEAN NOT NULL,
    as_of timestamptz NOT NULL,
    CONSTRAINT pk_esim_profiles PRIMARY KEY (eid, iccid),
    CONSTRAINT fk_esim_profiles_eid FOREIGN KEY(eid) REFERENCES esims (eid)
);
"""

_OPERATIONS = """
CREATE TABLE esim_operations (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    tenant_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    eid TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    transaction_id BYTEA NOT NULL,
    iccid TEXT,
    rollback BOOLEAN DEFAULT false NOT NULL,
    activation_sealed BYTEA,
    counter BIGINT,
    request BYTEA,
    about BIGINT,
    previous TEXT,
    installation BYTEA,
    result_code INTEGER,
    detail TEXT DEFAULT '' NOT NULL,
    expires_at timestamptz NOT NULL,
    sent_at timestamptz,
    ended_at timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_esim_operations PRIMARY KEY (id),
    CONSTRAINT uq_esim_operations_tenant_id_key UNIQUE (tenant_id, key),
    CONSTRAINT uq_esim_operations_eid_counter UNIQUE (eid, counter),
    CONSTRAINT uq_esim_operations_eid_installation UNIQUE (eid, installation),
    CONSTRAINT uq_esim_operations_transaction_id UNIQUE (transaction_id),
    CONSTRAINT ck_esim_operations_kind CHECK (kind IN ('download', 'enable', 'disable', 'delete', 'list', 'read')),
    CONSTRAINT ck_esim_operations_state CHECK (
        state IN ('queued', 'sent', 'doubtful', 'done', 'failed', 'rolled_back', 'expired', 'cancelled')
    ),
    CONSTRAINT ck_esim_operations_counted CHECK (request IS NULL OR counter IS NOT NULL),
    CONSTRAINT ck_esim_operations_secrets_end CHECK (ended_at IS NULL OR activation_sealed IS NULL),
    CONSTRAINT fk_esim_operations_eid FOREIGN KEY(eid) REFERENCES esims (eid),
    CONSTRAINT fk_esim_operations_about FOREIGN KEY(about) REFERENCES esim_operations (id)
);
CREATE UNIQUE INDEX uq_esim_operations_in_flight ON esim_operations (eid) WHERE state = 'sent';
CREATE INDEX ix_esim_operations_open ON esim_operations (eid, id) WHERE ended_at IS NULL;
CREATE INDEX ix_esim_operations_due ON esim_operations (expires_at) WHERE ended_at IS NULL;
CREATE INDEX ix_esim_operations_eid_id ON esim_operations (eid, id);
CREATE INDEX ix_esim_operations_tenant_id_id ON esim_operations (tenant_id, id);
CREATE TABLE eim_results (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    tenant_id BIGINT,
    eid TEXT,
    raw BYTEA NOT NULL,
    received_at timestamptz NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    claimed_until timestamptz,
    judged_at timestamptz,
    verified BOOLEAN DEFAULT false NOT NULL,
    outcome TEXT,
    operation_id BIGINT,
    CONSTRAINT pk_eim_results PRIMARY KEY (id),
    CONSTRAINT ck_eim_results_raw_size CHECK (octet_length(raw) <= 262144),
    CONSTRAINT fk_eim_results_operation_id FOREIGN KEY(operation_id) REFERENCES esim_operations (id)
);
CREATE INDEX ix_eim_results_unjudged ON eim_results (id) WHERE judged_at IS NULL;
CREATE INDEX ix_eim_results_waiting ON eim_results (eid) WHERE judged_at IS NULL;
CREATE INDEX ix_eim_results_unverified ON eim_results (judged_at) WHERE NOT verified;
CREATE INDEX ix_eim_results_operation_id ON eim_results (operation_id);
"""


def upgrade() -> None:
    """Makes the tables of the eIM."""
    for group in (_ESIMS, _OPERATIONS):
        for statement in filter(str.strip, group.split(";\n")):
            op.execute(statement)


def downgrade() -> None:
    """Drops the tables of the eIM; associations are lost, and cards obey no other eIM."""
    op.execute("DROP TABLE eim_results, esim_operations, esim_profiles, esim_contacts, esims")
