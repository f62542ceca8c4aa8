"""Carriers, enterprises, partnerships, API keys, requests that are done once, and the audit of writes."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_PARTIES = """
CREATE TABLE carriers (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    operator_id BIGINT,
    profile_type TEXT DEFAULT '' NOT NULL,
    inventory_account TEXT DEFAULT '' NOT NULL,
    platform_kind TEXT NOT NULL,
    platform_url TEXT DEFAULT '' NOT NULL,
    platform_username TEXT DEFAULT '' NOT NULL,
    platform_secret_sealed BYTEA,
    made_by TEXT,
    version INTEGER DEFAULT 0 NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_carriers PRIMARY KEY (id),
    CONSTRAINT ck_carriers_role CHECK (role IN ('lead', 'partner', 'both')),
    CONSTRAINT uq_carriers_name UNIQUE (name),
    CONSTRAINT fk_carriers_operator_id FOREIGN KEY(operator_id) REFERENCES tenants (id),
    CONSTRAINT uq_carriers_made_by UNIQUE (made_by)
);
CREATE TABLE enterprises (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    lead_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    rate_plan TEXT DEFAULT '' NOT NULL,
    communication_plan TEXT DEFAULT '' NOT NULL,
    made_by TEXT,
    version INTEGER DEFAULT 0 NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_enterprises PRIMARY KEY (id),
    CONSTRAINT uq_enterprises_lead_id_name UNIQUE (lead_id, name),
    CONSTRAINT fk_enterprises_lead_id FOREIGN KEY(lead_id) REFERENCES carriers (id),
    CONSTRAINT uq_enterprises_made_by UNIQUE (made_by)
);
CREATE TABLE partnerships (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    enterprise_id BIGINT NOT NULL,
    lead_id BIGINT NOT NULL,
    partner_id BIGINT NOT NULL,
    model TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    rate_plan TEXT DEFAULT '' NOT NULL,
    communication_plan TEXT DEFAULT '' NOT NULL,
    territory TEXT[] NOT NULL,
    enterprise_may_order BOOLEAN DEFAULT false NOT NULL,
    lead_agrees BOOLEAN DEFAULT false NOT NULL,
    partner_agrees BOOLEAN DEFAULT false NOT NULL,
    made_by TEXT,
    version INTEGER DEFAULT 0 NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_partnerships PRIMARY KEY (id),
    CONSTRAINT uq_partnerships_enterprise_id_partner_id UNIQUE (enterprise_id, partner_id),
    CONSTRAINT ck_partnerships_model CHECK (model IN ('handover', 'resale')),
    CONSTRAINT ck_partnerships_two_carriers CHECK (lead_id <> partner_id),
    CONSTRAINT fk_partnerships_enterprise_id FOREIGN KEY(enterprise_id) REFERENCES enterprises (id),
    CONSTRAINT fk_partnerships_lead_id FOREIGN KEY(lead_id) REFERENCES carriers (id),
    CONSTRAINT fk_partnerships_partner_id FOREIGN KEY(partner_id) REFERENCES carriers (id),
    CONSTRAINT uq_partnerships_made_by UNIQUE (made_by)
);
CREATE INDEX ix_partnerships_lead_id ON partnerships (lead_id);
CREATE INDEX ix_partnerships_partner_id ON partnerships (partner_id);
"""

_API = """
CREATE TABLE api_keys (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    party_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT[] NOT NULL,
    digest BYTEA NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    made_by TEXT,
    version INTEGER DEFAULT 0 NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT ck_api_keys_kind CHECK (kind IN ('admin', 'carrier', 'enterprise')),
    CONSTRAINT ck_api_keys_digest CHECK (octet_length(digest) = 32),
    CONSTRAINT uq_api_keys_made_by UNIQUE (made_by)
);
CREATE INDEX ix_api_keys_kind_party_id ON api_keys (kind, party_id);
CREATE TABLE api_requests (
    kind TEXT NOT NULL,
    party_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    digest BYTEA NOT NULL,
    status SMALLINT,
    location TEXT DEFAULT '' NOT NULL,
    body BYTEA,
    claimed_until timestamptz NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_api_requests PRIMARY KEY (kind, party_id, key)
);
CREATE INDEX ix_api_requests_created_at ON api_requests (created_at);
CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    at timestamptz DEFAULT now() NOT NULL,
    kind TEXT NOT NULL,
    party_id BIGINT NOT NULL,
    key_id BIGINT,
    correlator TEXT DEFAULT '' NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    CONSTRAINT pk_audit PRIMARY KEY (id)
);
CREATE INDEX ix_audit_kind_party_id_id ON audit (kind, party_id, id);
"""


def upgrade() -> None:
    """Makes the tables of tenancy and of the API."""
    for group in (_PARTIES, _API):
        for statement in filter(str.strip, group.split(";\n")):
            op.execute(statement)


def downgrade() -> None:
    """Drops the tables of tenancy and of the API; keys and the audit are lost."""
    op.execute("DROP TABLE audit, api_requests, api_keys, partnerships, enterprises, carriers")
