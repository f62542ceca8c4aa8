"""The schema of orders at carriers' own SM-DP+."""

from __future__ import annotations

from sqlalchemy import (
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
    text,
)

from store.tables import metadata
from swap.foreign import Told

_SAID = ", ".join(f"'{told.value}'" for told in Told)


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text("false"))


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


# Orders of ours at SM-DP+ of carriers: written before each call, so that a lost answer is known to have been asked for.
foreign_orders = Table(
    "foreign_orders",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("carrier_id", BigInteger, ForeignKey("carriers.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("token", Text, nullable=False, unique=True),
    Column("eid", Text, nullable=False),
    Column("profile_type", Text, nullable=False),
    Column("iccid", Text),
    _count("asks"),
    _count("confirms"),
    _count("cancels"),
    Column("matching_sealed", LargeBinary),
    _text("address"),
    _flag("released"),
    _flag("out"),
    _flag("surplus"),
    _text("told"),
    _text("told_detail"),
    Column("told_at", DateTime(timezone=True)),
    _text("word"),
    _text("ending"),
    _text("ended_key"),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    CheckConstraint(f"told IN ({_SAID})", name="told"),
    CheckConstraint("ended_at IS NULL OR matching_sealed IS NULL", name="secrets_end"),
    UniqueConstraint("carrier_id", "key"),
    Index(
        "uq_foreign_orders_open",
        "carrier_id",
        "iccid",
        unique=True,
        postgresql_where=text("ended_at IS NULL AND ending = ''"),
    ),
    Index("ix_foreign_orders_ended_key", "carrier_id", "ended_key", postgresql_where=text("ended_key <> ''")),
    Index("ix_foreign_orders_surplus", "id", postgresql_where=text("surplus AND ended_at IS NULL")),
)
