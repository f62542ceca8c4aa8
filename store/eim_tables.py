"""The schema of the role eIM: eSIMs with their associations, what is asked of them, what they hand in (SGP.32)."""

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

from eim.operation import OperationKind, OperationState
from eim.ports import LARGEST_RESULT
from store.tables import metadata


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _tenant() -> Column[int]:
    return Column("tenant_id", BigInteger, nullable=False)


def _moment(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True))


def _created() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()"))


def _one_of(name: str, values: type[OperationKind] | type[OperationState]) -> tuple[Column[str], CheckConstraint]:
    words = ", ".join(f"'{value.value}'" for value in values)
    return Column(name, Text, nullable=False), CheckConstraint(f"{name} IN ({words})", name=name)


# eUICCs this eIM is associated with. `counter` is the last one given to a package; every card obeys each once only.
# `content_seq` is the sequence number of the card's result that esim_profiles goes back to, None while never listed.
esims = Table(
    "esims",
    metadata,
    Column("eid", Text, primary_key=True),
    _tenant(),
    Column("eim_id", Text, nullable=False),
    Column("token", BigInteger),
    Column("counter", BigInteger, nullable=False),
    Column("eum_certificate", LargeBinary, nullable=False),
    Column("euicc_certificate", LargeBinary, nullable=False),
    Column("features", ARRAY(SmallInteger)),
    Column("euicc_info2", LargeBinary),
    Column("device_info", LargeBinary),
    Column("content_version", Integer, nullable=False, server_default=text("0")),
    Column("content_seq", BigInteger),
    _moment("content_at"),
    _created(),
    CheckConstraint("counter >= 0", name="counter"),
    Index(None, "tenant_id", "eid"),
)

# When a device last polled, and over which network. Apart from `esims`, so that a poll writes a narrow row in place.
esim_contacts = Table(
    "esim_contacts",
    metadata,
    Column("eid", Text, ForeignKey("esims.eid"), primary_key=True),
    _tenant(),
    _moment("polled_at"),
    Column("rplmn", LargeBinary),
    Column("state_change_cause", SmallInteger),
    postgresql_with={"fillfactor": "50"},
)

# The profiles on a card, as far as its signed results tell.
esim_profiles = Table(
    "esim_profiles",
    metadata,
    Column("eid", Text, ForeignKey("esims.eid"), primary_key=True),
    Column("iccid", Text, primary_key=True),
    _tenant(),
    Column("enabled", Boolean, nullable=False),
    Column("as_of", DateTime(timezone=True), nullable=False),
)

# What is asked of eSIMs. One at a time is in the hands of a device, and no counter is used twice: the indexes say so.
# A download of which the device has said, unsigned, that it could not do it, lets the question about it pass.
esim_operations = Table(
    "esim_operations",
    metadata,
    _id(),
    _tenant(),
    Column("key", Text, nullable=False),
    Column("eid", Text, ForeignKey("esims.eid"), nullable=False),
    *_one_of("kind", OperationKind),
    *_one_of("state", OperationState),
    Column("transaction_id", LargeBinary, nullable=False, unique=True),
    Column("iccid", Text),
    Column("rollback", Boolean, nullable=False, server_default=text("false")),
    Column("activation_sealed", LargeBinary),
    Column("counter", BigInteger),
    Column("request", LargeBinary),
    Column("about", BigInteger, ForeignKey("esim_operations.id")),
    Column("previous", Text),
    Column("installation", LargeBinary),
    Column("result_code", Integer),
    Column("detail", Text, nullable=False, server_default=""),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    _moment("sent_at"),
    _moment("ended_at"),
    _created(),
    Column("hearsay", Text, nullable=False, server_default=""),
    _moment("heard_at"),
    UniqueConstraint("tenant_id", "key"),
    UniqueConstraint("eid", "counter"),
    UniqueConstraint("eid", "installation"),
    CheckConstraint("request IS NULL OR counter IS NOT NULL", name="counted"),
    CheckConstraint("ended_at IS NULL OR activation_sealed IS NULL", name="secrets_end"),
    Index(
        "uq_esim_operations_in_flight", "eid", unique=True, postgresql_where=text("state = 'sent' AND heard_at IS NULL")
    ),
    Index("ix_esim_operations_open", "eid", "id", postgresql_where=text("ended_at IS NULL")),
    Index("ix_esim_operations_due", "expires_at", postgresql_where=text("ended_at IS NULL")),
    Index(None, "eid", "id"),
    Index(None, "tenant_id", "id"),
)

# What devices hand in, as received: bytes first, judgement after. Its tenant is known once it is judged; `eid` is what
# the device calls itself, proven by nothing.
eim_results = Table(
    "eim_results",
    metadata,
    _id(),
    Column("tenant_id", BigInteger),
    Column("eid", Text),
    Column("raw", LargeBinary, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    _moment("claimed_until"),
    _moment("judged_at"),
    Column("verified", Boolean, nullable=False, server_default=text("false")),
    Column("outcome", Text),
    Column("operation_id", BigInteger, ForeignKey("esim_operations.id")),
    CheckConstraint(f"octet_length(raw) <= {LARGEST_RESULT}", name="raw_size"),
    Index("ix_eim_results_unjudged", "id", postgresql_where=text("judged_at IS NULL")),
    Index("ix_eim_results_waiting", "eid", postgresql_where=text("judged_at IS NULL")),
    Index("ix_eim_results_unverified", "judged_at", postgresql_where=text("NOT verified")),
    Index(None, "operation_id"),
)
