"""Operators, profiles, orders and sessions for tests of the store: valid, and different for every number."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from rsp.identifiers import Eid, Iccid, MatchingId, TransactionId
from smdp.order import Order, OrderChange, OrderEvent, OrderState, ProfileState
from smdp.ports import NewProfile, ProfileFacts, ProtectedPackage
from smdp.progress import KIND, Message, ProgressInfo
from smdp.session import Session, SessionState
from store.directory import Operators
from store.downloads import Downloads
from store.ordering import Orderings
from store.pool import Pool
from store.stock import Stock
from tenancy.operator import Operator

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EID = Eid("89049032123451234512345678901235")
OTHER_EID = Eid("89049032123451234512345678901236")


async def new_tenant(
    pool: Pool,
    name: str = "Operator One",
    download_attempts: int | None = None,
    callback_url: str = "https://operator.example.com",
) -> int:
    """Stores an operator and returns its id."""
    operator = Operator(
        id=0,
        name=name,
        requester_id=f"id-of-{name}",
        callback_url=callback_url,
        download_attempts=download_attempts,
    )
    return (await Operators(pool).add_operator(operator, (hashlib.sha256(name.encode()).digest(),))).id


def iccid(number: int = 1) -> Iccid:
    """An ICCID."""
    return Iccid(f"8988211{number:012d}")


def new_profile(tenant_id: int, number: int = 1, profile_type: str = "prepaid") -> NewProfile:
    """A profile to be stored."""
    return NewProfile(
        tenant_id=tenant_id,
        iccid=iccid(number),
        profile_type=profile_type,
        facts=ProfileFacts(
            metadata=b"\xbf\x25" + bytes([number % 256]),
            package_id=UUID(int=number),
            saip_version=(2, 3),
            size=12345,
            policy_rules=frozenset({1, 2}),
        ),
        package=ProtectedPackage(segments=b"segments" * number, key_sealed=b"sealed"),
    )


async def new_order(pool: Pool, tenant_id: int, number: int = 1, *, event: OrderEvent | None = None) -> Order:
    """Stores a profile with an order; with `event` also takes that step, a confirmation with key and MatchingID."""
    await Stock(pool).add_profile(new_profile(tenant_id, number))
    async with Orderings(pool).begin(tenant_id) as work:
        await work.change_profile(iccid(number), ProfileState.AVAILABLE, ProfileState.ORDERED)
        order = await work.add_order(
            Order(
                id=0,
                tenant_id=tenant_id,
                iccid=iccid(number),
                profile_type="prepaid",
                state=OrderState.ALLOCATED,
                version=0,
            )
        )
        if event is not None:
            await work.change_order(
                replace(
                    OrderChange.of(order, event),
                    matching_id=MatchingId(f"TOKEN-{number}"),
                    key_sealed=b"order key",
                    confirmation_sealed=b"code",
                    expires_at=NOW + timedelta(days=90),
                )
            )
        found = await work.open_order(iccid(number))
        assert found is not None
        return found


def transaction(number: int = 1) -> TransactionId:
    """A transactionId."""
    return TransactionId(bytes([number]) * 16)


def session(number: int = 1, state: SessionState = SessionState.INITIATED, order_id: int | None = None) -> Session:
    """A session."""
    return Session(
        transaction_id=transaction(number),
        state=state,
        expires_at=NOW + timedelta(minutes=10),
        server_address="smdp.example.com",
        server_challenge=b"c" * 16,
        ci_key_id=b"k" * 20,
        server_ci_key_id=b"s" * 20,
        order_id=order_id,
    )


async def new_session(
    pool: Pool, number: int = 1, state: SessionState = SessionState.INITIATED, order_id: int | None = None
) -> Session:
    """Stores a session and returns it."""
    opened = session(number, state, order_id)
    await Downloads(pool).open_session(opened)
    return opened


def message(line: str = "line", text: str = "", tenant_id: int = 1) -> Message:
    """A message for the outbox, recognisable by its `detail`."""
    body = ProgressInfo(
        iccid=str(iccid()),
        profile_type="prepaid",
        eid="",
        timestamp="2026-11-22T12:00:00Z",
        point=3,
        detail=text,
    )
    return Message(tenant_id=tenant_id, line=line, kind=KIND, body=body)
