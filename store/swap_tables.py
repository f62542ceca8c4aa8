"""The schema of the role swap: swaps, their ledgers of steps, their timelines, and what is asked of people."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from store.tables import metadata
from swap.record import About, ActionKind, Outcome
from swap.swap import Stage, StepName, SwapState


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _tenant() -> Column[int]:
    return Column("tenant_id", BigInteger, nullable=False)


def _swap() -> Column[int]:
    return Column("swap_id", BigInteger, ForeignKey("swaps.id"), nullable=False)


def _moment(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True))


def _when(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _one_of(name: str, values: type[StrEnum], *, nullable: bool = False) -> tuple[Column[str], CheckConstraint]:
    words = ", ".join(f"'{value.value}'" for value in values)
    return Column(name, Text, nullable=nullable), CheckConstraint(f"{name} IN ({words})", name=name)


# Swaps. A waiting one is a row with a time; one swap of an eSIM runs at a time, says the index.
swaps = Table(
    "swaps",
    metadata,
    _id(),
    _tenant(),
    Column("eid", Text, nullable=False),
    Column("request", Text, nullable=False, unique=True),
    Column("target_id", BigInteger, nullable=False),
    Column("target_name", Text, nullable=False),
    Column("plan", Text, nullable=False),
    *_one_of("state", SwapState),
    *_one_of("step", StepName),
    Column("attempt", Integer, nullable=False, server_default=text("1")),
    Column("version", Integer, nullable=False, server_default=text("0")),
    Column("iccid", Text),
    Column("activation_sealed", LargeBinary),
    Column("confirmed", Boolean, nullable=False, server_default=text("false")),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    *_one_of("ending", SwapState, nullable=True),
    _text("reason"),
    _text("attention"),
    _moment("enabled_at"),
    _text("source_billed"),
    _text("target_billed"),
    Column("ordered_by", Text, nullable=False),
    _when("due_at"),
    _when("deadline_at"),
    _moment("claimed_until"),
    Column("claimed_by", Uuid),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    _when("created_at"),
    _moment("ended_at"),
    CheckConstraint("ended_at IS NULL OR activation_sealed IS NULL", name="secrets_end"),
    Index("uq_swaps_running", "eid", unique=True, postgresql_where=text("ended_at IS NULL")),
    Index("ix_swaps_due", "due_at", "id", postgresql_where=text("ended_at IS NULL")),
    Index(None, "tenant_id", "id"),
    Index(None, "eid", "id"),
)

# The ledger: what is about to run, written before it runs, and what became of it.
swap_steps = Table(
    "swap_steps",
    metadata,
    _id(),
    _tenant(),
    _swap(),
    *_one_of("step", StepName),
    Column("attempt", Integer, nullable=False),
    Column("key", Text, nullable=False),
    _when("started_at"),
    _moment("finished_at"),
    *_one_of("outcome", Outcome, nullable=True),
    _text("evidence"),
    UniqueConstraint("swap_id", "step", "attempt"),
)

# The timeline, in words, each line with what it rests on. Lines are added and never changed.
swap_events = Table(
    "swap_events",
    metadata,
    _id(),
    _tenant(),
    _swap(),
    _when("at"),
    *_one_of("stage", Stage, nullable=True),
    Column("text", Text, nullable=False),
    _text("evidence"),
    Index(None, "swap_id", "id"),
)

# What is asked of people: open until somebody has chosen one of the options.
swap_actions = Table(
    "swap_actions",
    metadata,
    _tenant(),
    Column("swap_id", BigInteger, ForeignKey("swaps.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    *_one_of("about", About),
    *_one_of("kind", ActionKind),
    Column("text", Text, nullable=False),
    Column("options", ARRAY(Text), nullable=False),
    _when("created_at"),
    _text("chosen"),
    _text("chosen_by"),
    _moment("chosen_at"),
    Index("ix_swap_actions_open", "tenant_id", "swap_id", postgresql_where=text("chosen = ''")),
)
