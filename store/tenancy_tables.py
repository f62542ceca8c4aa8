"""The schema of the role tenancy and of the API: carriers, enterprises, partnerships, keys, requests, audit."""

from __future__ import annotations

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
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from store.tables import metadata


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text("false"))


def _party(name: str, table: str) -> Column[int]:
    return Column(name, BigInteger, ForeignKey(f"{table}.id"), nullable=False)


def _written() -> tuple[Column[object], ...]:
    """What guards a row: the request that made it, which makes it once, and a version that grows with each change."""
    return (
        Column("made_by", Text, unique=True),
        Column("version", Integer, nullable=False, server_default=text("0")),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    )


# Carriers between which eSIMs are swapped. `operator_id` is the operator of the SM-DP+ whose stock has their profiles;
# `smdp_*` an SM-DP+ of their own that has them instead. It is known by `smdp_caller`, SHA-256 of a certificate.
carriers = Table(
    "carriers",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("operator_id", BigInteger, ForeignKey("tenants.id")),
    _text("profile_type"),
    _text("inventory_account"),
    Column("platform_kind", Text, nullable=False),
    _text("platform_url"),
    _text("platform_username"),
    Column("platform_secret_sealed", LargeBinary),
    _text("smdp_url"),
    _text("smdp_requester_id"),
    _text("smdp_certificate"),
    _text("smdp_ca"),
    _text("smdp_address"),
    _text("smdp_caller_certificate"),
    Column("smdp_caller", LargeBinary, unique=True),
    Column("smdp_key_sealed", LargeBinary),
    *_written(),
    CheckConstraint("role IN ('lead', 'partner', 'both')", name="role"),
    CheckConstraint("smdp_url = '' OR operator_id IS NULL", name="one_source"),
    CheckConstraint("octet_length(smdp_caller) = 32", name="smdp_caller"),
)

# Enterprises, each under its lead carrier; account and plans are those at the lead.
enterprises = Table(
    "enterprises",
    metadata,
    _id(),
    _party("lead_id", "carriers"),
    Column("name", Text, nullable=False),
    _text("account"),
    _text("rate_plan"),
    _text("communication_plan"),
    *_written(),
    UniqueConstraint("lead_id", "name"),
)

# What lead and partner have agreed on for one enterprise. An empty territory means everywhere.
partnerships = Table(
    "partnerships",
    metadata,
    _id(),
    _party("enterprise_id", "enterprises"),
    _party("lead_id", "carriers"),
    _party("partner_id", "carriers"),
    Column("model", Text, nullable=False),
    _text("account"),
    _text("rate_plan"),
    _text("communication_plan"),
    Column("territory", ARRAY(Text), nullable=False),
    _flag("enterprise_may_order"),
    _flag("lead_agrees"),
    _flag("partner_agrees"),
    *_written(),
    UniqueConstraint("enterprise_id", "partner_id"),
    CheckConstraint("model IN ('handover', 'resale')", name="model"),
    CheckConstraint("lead_id <> partner_id", name="two_carriers"),
    Index(None, "lead_id"),
    Index(None, "partner_id"),
)

# API keys: the hash of each secret. `party_id` is a carrier or an enterprise by `kind`, 0 for admins.
api_keys = Table(
    "api_keys",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    Column("party_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    *_written(),
    CheckConstraint("kind IN ('admin', 'carrier', 'enterprise')", name="kind"),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    Index(None, "kind", "party_id"),
)

# Requests that make something, by their Idempotency-Key, with the answer once it is there.
api_requests = Table(
    "api_requests",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("party_id", BigInteger, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("status", SmallInteger),
    _text("location"),
    Column("body", LargeBinary),
    Column("claimed_until", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Index(None, "created_at"),
)

# Every write through the API: who, what, and the row afterwards without its secrets.
audit = Table(
    "audit",
    metadata,
    _id(),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("kind", Text, nullable=False),
    Column("party_id", BigInteger, nullable=False),
    Column("key_id", BigInteger),
    _text("correlator"),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index(None, "kind", "party_id", "id"),
)

# Who calls a carrier's platform with which credential, who waits, and when the latest calls ended: a document that its
# readers replace under a guard. One row for each credential; it belongs to no tenant.
platform_lines = Table(
    "platform_lines",
    metadata,
    Column("credential", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("line", Text, nullable=False),
)
