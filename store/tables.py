"""The schema: every table and index, as SQLAlchemy Core. Migrations bring a database here; a test compares the two.

Every row that belongs to somebody carries its tenant. Columns named `*_sealed` hold ciphertext only.
"""

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
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from smdp.event import EventState
from smdp.order import CardState, OrderState, ProfileState
from smdp.ports import LARGEST_NOTIFICATION
from smdp.session import SessionState
from store.words import Word, defined

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _tenant(*, foreign_key: bool = True) -> Column[int]:
    """The owner. Without the key where each write would lock the tenant's row, which every download would wait for."""
    keys = (ForeignKey("tenants.id"),) if foreign_key else ()
    return Column("tenant_id", BigInteger, *keys, nullable=False)


def _moment(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True))


def _created() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()"))


def _state(states: Word) -> Column[str]:
    return Column("state", states, nullable=False)


_PROFILE_STATE, _ORDER_STATE, _CARD_STATE = Word(ProfileState), Word(OrderState), Word(CardState)
_EVENT_STATE, _SESSION_STATE = Word(EventState), Word(SessionState)
defined(metadata, _PROFILE_STATE, _ORDER_STATE, _CARD_STATE, _EVENT_STATE, _SESSION_STATE)


# Operators: who may order, where they are told, and the limits and rules they chose. NULL is the server's default.
tenants = Table(
    "tenants",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("requester_id", Text, nullable=False, unique=True),
    Column("callback_url", Text, nullable=False, server_default=""),
    Column("download_attempts", Integer),
    Column("confirmation_attempts", Integer),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    _created(),
    Column("order_days", Integer),
    Column("after_deletion", Text, nullable=False, server_default="retire"),
    Column("redownloads", Integer),
    Column("rebinding", Boolean, nullable=False, server_default=text("true")),
    Column("bind_imei", Boolean, nullable=False, server_default=text("false")),
    Column("iot_euiccs", Boolean, nullable=False, server_default=text("true")),
    Column("minimum_saip", Text),
    Column("tacs_allowed", ARRAY(Text)),
    Column("tacs_denied", ARRAY(Text)),
    Column("eums_allowed", ARRAY(Text)),
    Column("eums_denied", ARRAY(Text)),
    Column("notification_points", Text, nullable=False, server_default=""),
    CheckConstraint("after_deletion IN ('retire', 'reuse', 'stock')", name="after_deletion"),
)

# The client certificates an operator calls with; fingerprint is SHA-256 of the DER.
tenant_certificates = Table(
    "tenant_certificates",
    metadata,
    Column("fingerprint", LargeBinary, primary_key=True),
    _tenant(),
    _created(),
    CheckConstraint("octet_length(fingerprint) = 32", name="fingerprint"),
    Index(None, "tenant_id"),
)

# What an operator calls its kinds of profile; one that is not open is not ordered.
profile_types = Table(
    "profile_types",
    metadata,
    _id(),
    _tenant(),
    Column("name", Text, nullable=False),
    _created(),
    Column("open", Boolean, nullable=False, server_default=text("true")),
    UniqueConstraint("tenant_id", "name"),
)

# Profile packages protected ahead of time: 86 segments under their own keys, and those keys wrapped by the vault.
packages = Table(
    "packages",
    metadata,
    Column("id", Uuid, primary_key=True),
    _tenant(),
    Column("segments", LargeBinary, nullable=False),
    Column("key_sealed", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("saip_major", SmallInteger, nullable=False),
    Column("saip_minor", SmallInteger, nullable=False),
    _created(),
    Column("services", ARRAY(SmallInteger), nullable=False, server_default="{}"),
)

# Profiles in stock. An ICCID exists once in the world, whoever owns it.
profiles = Table(
    "profiles",
    metadata,
    _id(),
    _tenant(),
    Column("iccid", Text, nullable=False, unique=True),
    Column("profile_type_id", BigInteger, ForeignKey("profile_types.id"), nullable=False),
    Column("package_id", Uuid, ForeignKey("packages.id"), nullable=False),
    Column("metadata", LargeBinary, nullable=False),
    Column("policy_rules", ARRAY(SmallInteger), nullable=False),
    _state(_PROFILE_STATE),
    _created(),
    Index(None, "tenant_id", "id"),
    Index("ix_profiles_in_stock", "profile_type_id", "created_at", postgresql_where=text("state = 'available'")),
    Index(None, "package_id"),
)

# Download orders. When one ends, its key goes, and with it everything sealed under that key.
# The predicates below say ended_at and not state: a column in a predicate makes each of its updates write every index.
orders = Table(
    "orders",
    metadata,
    _id(),
    _tenant(),
    Column("iccid", Text, ForeignKey("profiles.iccid"), nullable=False),
    Column("profile_type", Text, nullable=False),
    _state(_ORDER_STATE),
    Column("version", Integer, nullable=False, server_default=text("0")),
    Column("eid", Text),
    Column("matching_id", Text),
    Column("key_sealed", LargeBinary),
    Column("confirmation_sealed", LargeBinary),
    Column("confirmation_attempts", Integer, nullable=False, server_default=text("0")),
    Column("download_attempts", Integer, nullable=False, server_default=text("0")),
    Column("euicc_otpk", LargeBinary),
    Column("otsk_sealed", LargeBinary),
    Column("host_id", LargeBinary),
    Column("ci_key_id", LargeBinary),
    _moment("expires_at"),
    _moment("ended_at"),
    Column("smds_address", Text),
    _created(),
    Column("eid_named", Boolean, nullable=False, server_default=text("false")),
    Column("imei", Text),
    Column("handed_out", Boolean, nullable=False, server_default=text("false")),
    Column("awaiting", LargeBinary),
    Column("redownloads", Integer, nullable=False, server_default=text("0")),
    Column("installed_seq", BigInteger),
    Column("card_state", _CARD_STATE),
    Column("card_seq", BigInteger),
    _moment("card_at"),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    CheckConstraint(
        "ended_at IS NULL OR num_nonnulls(key_sealed, confirmation_sealed, otsk_sealed) = 0", name="secrets_end"
    ),
    CheckConstraint("num_nulls(euicc_otpk, otsk_sealed, host_id, ci_key_id) IN (0, 4)", name="binding_whole"),
    CheckConstraint("num_nulls(card_state, card_seq, card_at) IN (0, 3)", name="card_whole"),
    Index("uq_orders_open_iccid", "iccid", unique=True, postgresql_where=text("ended_at IS NULL")),
    Index("uq_orders_open_matching_id", "matching_id", unique=True, postgresql_where=text("ended_at IS NULL")),
    Index("ix_orders_open_eid", "eid", "id", postgresql_where=text("ended_at IS NULL")),
    Index("ix_orders_open_expiry", "expires_at", postgresql_where=text("ended_at IS NULL")),
    Index(None, "iccid", "id"),
    Index(None, "matching_id", "id"),
    Index("ix_orders_open_smds", "id", postgresql_where=text("smds_address IS NOT NULL AND ended_at IS NULL")),
    postgresql_with={"fillfactor": "70"},
)

# Events of orders at SM-DS. An SM-DS knows one by EID and EventID, so a name has one live row.
smds_events = Table(
    "smds_events",
    metadata,
    _id(),
    _tenant(foreign_key=False),
    Column("order_id", BigInteger, ForeignKey("orders.id"), nullable=False),
    Column("smds_address", Text, nullable=False),
    Column("eid", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    _state(_EVENT_STATE),
    Column("attempt", Integer, nullable=False, server_default=text("1")),
    _moment("due_at"),
    _moment("doubt_until"),
    _moment("removing_until"),
    Column("last_error", Text),
    _created(),
    Index(
        "uq_smds_events_live",
        "smds_address",
        "eid",
        "event_id",
        unique=True,
        postgresql_where=text("state <> 'withdrawn'"),
    ),
    Index(None, "order_id"),
    Index("ix_smds_events_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    Index("ix_smds_events_registered", "id", postgresql_where=text("state = 'registered'")),
)

# Download attempts. They outlive their minutes: a card may report the installation weeks later.
sessions = Table(
    "sessions",
    metadata,
    Column("transaction_id", LargeBinary, primary_key=True),
    _state(_SESSION_STATE),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("server_address", Text, nullable=False),
    Column("server_challenge", LargeBinary, nullable=False),
    Column("ci_key_id", LargeBinary, nullable=False),
    Column("server_ci_key_id", LargeBinary, nullable=False),
    Column("order_id", BigInteger, ForeignKey("orders.id")),
    Column("eid", Text),
    Column("euicc_key", LargeBinary),
    Column("smdp_signed2", LargeBinary),
    Column("smdp_signature2", LargeBinary),
    Column("authenticate_digest", LargeBinary),
    Column("download_digest", LargeBinary),
    Column("secure_channel", LargeBinary),
    Column("refusal", Text),
    _created(),
    postgresql_with={"fillfactor": "50"},
)

# ES2+ calls of operators with their results, so that a repeated call gets the same answer (idempotency).
es2_calls = Table(
    "es2_calls",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("call_id", Text, primary_key=True),
    Column("function", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("result", Text),
    _created(),
)

# Messages on their way to operators. Those of one line leave in the order of their ids.
outbox = Table(
    "outbox",
    metadata,
    _id(),
    _tenant(foreign_key=False),
    Column("line", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    _moment("claimed_until"),
    Column("claimed_by", Uuid),
    Column("last_error", Text),
    _moment("sent_at"),
    _moment("buried_at"),
    _created(),
    Index("ix_outbox_lines", "line", "id", postgresql_where=text("sent_at IS NULL AND buried_at IS NULL")),
    Index("ix_outbox_due", "due_at", "id", postgresql_where=text("sent_at IS NULL AND buried_at IS NULL")),
    Index("ix_outbox_buried", "tenant_id", "id", postgresql_where=text("buried_at IS NOT NULL")),
)

# Notifications as cards signed them: bytes first, judgement after. The identity of a verified one is taken once.
notifications = Table(
    "notifications",
    metadata,
    _id(),
    Column("raw", LargeBinary, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    _moment("claimed_until"),
    _moment("judged_at"),
    Column("verified", Boolean, nullable=False, server_default=text("false")),
    Column("outcome", Text),
    Column("transaction_id", LargeBinary),
    Column("eid", Text),
    Column("seq_number", BigInteger),
    Column("iccid", Text),
    CheckConstraint(f"octet_length(raw) <= {LARGEST_NOTIFICATION}", name="raw_size"),
    Index("ix_notifications_unjudged", "id", postgresql_where=text("judged_at IS NULL")),
    Index(
        "uq_notifications_result",
        "transaction_id",
        unique=True,
        postgresql_where=text("verified AND outcome <> 'duplicate'"),
    ),
    Index(
        "uq_notifications_event",
        "eid",
        "seq_number",
        unique=True,
        postgresql_where=text("verified AND outcome <> 'duplicate' AND transaction_id IS NULL"),
    ),
)
