"""Carrier swaps, and orders whose profile a card has deleted again."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

_SWAPS = """
CREATE TABLE swaps (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    tenant_id BIGINT NOT NULL,
    eid TEXT NOT NULL,
    request TEXT NOT NULL,
    target_id BIGINT NOT NULL,
    target_name TEXT NOT NULL,
    plan TEXT NOT NULL,
    state TEXT NOT NULL,
    step TEXT NOT NULL,
    attempt INTEGER DEFAULT 1 NOT NULL,
    version INTEGER DEFAULT 0 NOT NULL,
    iccid TEXT,
    activation_sealed BYTEA,
    confirmed BOOLEAN DEFAULT false NOT NULL,
    cancel_requested BOOLEAN DEFAULT false NOT NULL,
    ending TEXT,
    reason TEXT DEFAULT '' NOT NULL,
    attention TEXT DEFAULT '' NOT NULL,
    enabled_at timestamptz,
    source_billed TEXT DEFAULT '' NOT NULL,
    target_billed TEXT DEFAULT '' NOT NULL,
    ordered_by TEXT NOT NULL,
    due_at timestamptz NOT NULL,
    deadline_at timestamptz NOT NULL,
    claimed_until timestamptz,
    claimed_by UUID,
    attempts INTEGER DEFAULT 0 NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    CONSTRAINT pk_swaps PRIMARY KEY (id),
    CONSTRAINT ck_swaps_state CHECK (state IN (
        'allocating', 'awaiting_customer', 'preparing', 'downloading', 'installed', 'enabling', 'verifying',
        'committing', 'completed', 'undoing', 'rolled_back', 'failed', 'cancelled'
    )),
    CONSTRAINT ck_swaps_step CHECK (step IN (
        'reserve_profile', 'allocate_sim', 'check_allocation', 'await_customer', 'prepare_profile',
        'download_profile', 'confirm_on_card', 'enable_profile', 'verify_line', 'commit_billing', 'close',
        'withdraw_operations', 'recall_profile', 'delete_on_card', 'return_profile', 'release_sim'
    )),
    CONSTRAINT ck_swaps_ending CHECK (ending IN (
        'allocating', 'awaiting_customer', 'preparing', 'downloading', 'installed', 'enabling', 'verifying',
        'committing', 'completed', 'undoing', 'rolled_back', 'failed', 'cancelled'
    )),
    CONSTRAINT ck_swaps_secrets_end CHECK (ended_at IS NULL OR activation_sealed IS NULL),
    CONSTRAINT uq_swaps_request UNIQUE (request)
);
CREATE INDEX ix_swaps_due ON swaps (due_at, id) WHERE ended_at IS NULL;
CREATE INDEX ix_swaps_eid_id ON swaps (eid, id);
CREATE INDEX ix_swaps_tenant_id_id ON swaps (tenant_id, id);
CREATE UNIQUE INDEX uq_swaps_running ON swaps (eid) WHERE ended_at IS NULL;
"""

_HISTORY = """
CREATE TABLE swap_steps (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    tenant_id BIGINT NOT NULL,
    swap_id BIGINT NOT NULL,
    step TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    key TEXT NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    outcome TEXT,
    evidence TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_swap_steps PRIMARY KEY (id),
    CONSTRAINT ck_swap_steps_step CHECK (step IN (
        'reserve_profile', 'allocate_sim', 'check_allocation', 'await_customer', 'prepare_profile',
        'download_profile', 'confirm_on_card', 'enable_profile', 'verify_line', 'commit_billing', 'close',
        'withdraw_operations', 'recall_profile', 'delete_on_card', 'return_profile', 'release_sim'
    )),
    CONSTRAINT ck_swap_steps_outcome CHECK (outcome IN ('done', 'refused', 'given_up')),
    CONSTRAINT uq_swap_steps_swap_id_step_attempt UNIQUE (swap_id, step, attempt),
    CONSTRAINT fk_swap_steps_swap_id FOREIGN KEY(swap_id) REFERENCES swaps (id)
);
CREATE TABLE swap_events (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    tenant_id BIGINT NOT NULL,
    swap_id BIGINT NOT NULL,
    at timestamptz NOT NULL,
    stage TEXT,
    text TEXT NOT NULL,
    evidence TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_swap_events PRIMARY KEY (id),
    CONSTRAINT ck_swap_events_stage CHECK (stage IN ('allocation', 'download', 'activation')),
    CONSTRAINT fk_swap_events_swap_id FOREIGN KEY(swap_id) REFERENCES swaps (id)
);
CREATE INDEX ix_swap_events_swap_id_id ON swap_events (swap_id, id);
CREATE TABLE swap_actions (
    tenant_id BIGINT NOT NULL,
    swap_id BIGINT NOT NULL,
    number INTEGER NOT NULL,
    about TEXT NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    options TEXT[] NOT NULL,
    created_at timestamptz NOT NULL,
    chosen TEXT DEFAULT '' NOT NULL,
    chosen_by TEXT DEFAULT '' NOT NULL,
    chosen_at timestamptz,
    CONSTRAINT pk_swap_actions PRIMARY KEY (swap_id, number),
    CONSTRAINT ck_swap_actions_about CHECK (about IN (
        'source_line', 'billing', 'no_session', 'allocation', 'kept_profile', 'kept_sim'
    )),
    CONSTRAINT ck_swap_actions_kind CHECK (kind IN ('task', 'decision')),
    CONSTRAINT fk_swap_actions_swap_id FOREIGN KEY(swap_id) REFERENCES swaps (id)
);
CREATE INDEX ix_swap_actions_open ON swap_actions (tenant_id, swap_id) WHERE chosen = '';
"""

_ORDER_STATES = """
ALTER TABLE orders DROP CONSTRAINT ck_orders_state;
ALTER TABLE orders ADD CONSTRAINT ck_orders_state CHECK (state IN ({states}));
"""
_BEFORE = ("allocated", "linked", "confirmed", "released", "downloaded", "installed", "error", "cancelled")


def _states(*states: str) -> str:
    return _ORDER_STATES.format(states=", ".join(f"'{state}'" for state in states))


def upgrade() -> None:
    """Makes the tables of swaps."""
    for statement in filter(str.strip, _states(*_BEFORE, "deleted").split(";\n")):
        op.execute(statement)
    for group in (_SWAPS, _HISTORY):
        for statement in filter(str.strip, group.split(";\n")):
            op.execute(statement)


def downgrade() -> None:
    """Drops the tables of swaps, and with them what running ones have taken and not given back."""
    op.execute("DROP TABLE swap_actions, swap_events, swap_steps, swaps")
    op.execute("UPDATE orders SET state = 'cancelled' WHERE state = 'deleted'")
    for statement in filter(str.strip, _states(*_BEFORE).split(";\n")):
        op.execute(statement)
