"""Sessions remembered from one request to the next: once each, and no more of them than fit."""

from __future__ import annotations

from datetime import UTC, datetime

from rsp.identifiers import TransactionId
from smdp.ports import DownloadFacts, ProtectedPackage
from smdp.recent import Recent
from smdp.session import Session, SessionState


def facts(number: int, size: int) -> DownloadFacts:
    session = Session(
        transaction_id=TransactionId(bytes([number]) * 16),
        state=SessionState.AUTHENTICATED,
        expires_at=datetime(2026, 11, 29, tzinfo=UTC),
        server_address="smdp.example.com",
        server_challenge=b"c" * 16,
        ci_key_id=b"k" * 20,
        server_ci_key_id=b"k" * 20,
    )
    return DownloadFacts(session=session, package=ProtectedPackage(segments=bytes(size), key_sealed=b""))


def test_what_is_remembered_is_taken_once() -> None:
    recent, one = Recent(), facts(1, 10)
    recent.keep(one)
    assert recent.take(facts(2, 10).session.transaction_id) is None
    assert recent.take(one.session.transaction_id) is one
    assert recent.take(one.session.transaction_id) is None


def test_the_oldest_make_room_for_the_newest() -> None:
    recent = Recent(most_bytes=50_000)
    for number in range(100):
        recent.keep(facts(number, 9000))
    assert len(recent) == 5
    assert [recent.take(facts(number, 0).session.transaction_id) is not None for number in (94, 95, 99)] == [
        False,
        True,
        True,
    ]
    for number in range(100, 200):
        recent.keep(facts(number, 9000))
    assert len(recent) == 5


def test_what_does_not_fit_at_all_is_not_remembered() -> None:
    recent = Recent(most_bytes=50_000)
    recent.keep(facts(1, 60_000))
    assert len(recent) == 0
    recent.keep(facts(2, 10))
    assert len(recent) == 1
