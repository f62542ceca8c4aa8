"""Reports of a card in any order lead an order to the same end, by the rule of its owner; no input or output."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rsp import es10
from rsp.identifiers import Eid, Iccid, TransactionId
from smdp.card_reports import CardReports
from smdp.order import CardReport, CardState, Order, OrderState
from smdp.policy import AfterDeletion, Policy
from smdp.ports import DownloadWrite, Limits
from smdp.progress import NotificationPoint
from smdp.session import Session, SessionState

NOW = datetime(2026, 11, 28, tzinfo=UTC)
EID = Eid("89049032123451234512345678901235")
ICCID = Iccid("8988211000000000001")
REPORTS = CardReports(Policy(server_names=("smdp.example.com",)), lambda: NOW)


class World:
    """An order as the store would keep it, and what its owner was told."""

    def __init__(self, rule: AfterDeletion, downloads: int) -> None:
        self.limits = Limits(after_deletion=rule, redownloads=10)
        self.order = Order(
            id=1,
            tenant_id=1,
            iccid=ICCID,
            profile_type="t",
            state=OrderState.DOWNLOADED,
            version=0,
            eid=EID,
            eid_named=True,
            key_sealed=b"key",
            handed_out=True,
            awaiting=bytes([downloads]),
        )
        self.sessions = dict.fromkeys(range(1, downloads + 1), SessionState.DELIVERED)
        self.told: list[NotificationPoint] = []
        self.returned = 0

    def apply(self, write: DownloadWrite | None) -> None:
        """As `store.changes` does."""
        if write is None:
            return
        self.told += [NotificationPoint(message.body.point) for message in write.messages]
        self.returned += write.returned is not None
        change = write.order
        if write.session is not None:
            self.sessions[write.session.transaction_id.value[0]] = write.session.state
        if change is None:
            return
        order = self.order
        assert (change.expected, change.version) == (order.state, order.version)
        self.order = replace(
            order,
            state=change.state,
            version=order.version + 1,
            ended=order.ended or change.ends,
            key_sealed=None if change.ends else order.key_sealed,
            awaiting=None if change.settle else order.awaiting,
            installed_seq=order.installed_seq if change.installed_seq is None else change.installed_seq,
            card=change.card or order.card,
            redownloads=order.redownloads + change.count_redownload,
        )

    def installed(self, session: int, seq: int, reason: int | None = None) -> None:
        """The report of a session: success, or an error with this reason."""
        transaction_id = TransactionId(bytes([session]))
        found = Session(
            transaction_id=transaction_id,
            state=self.sessions[session],
            expires_at=NOW,
            server_address="",
            server_challenge=b"",
            ci_key_id=b"",
            server_ci_key_id=b"",
            order_id=1,
            eid=EID,
        )
        result: es10.Installed | es10.InstallationError = es10.Installed(aid=b"12345", sima_response=b"")
        if reason is not None:
            result = es10.InstallationError(command_id=5, reason=reason, sima_response=None)
        report = es10.ProfileInstallationResult(
            transaction_id=transaction_id,
            signed=b"",
            signature=b"",
            seq_number=seq,
            events=1,
            notification_address="",
            iccid=ICCID,
            smdp_oid="2.999.10",
            result=result,
        )
        self.apply(REPORTS.installation(found, self.order, self.limits, report, b"raw"))

    def event(self, state: CardState, seq: int) -> None:
        """Enabled, disabled or deleted."""
        self.apply(REPORTS.event(self.order, self.limits, CardReport(state=state, seq_number=seq, at=NOW)))


ONE_LIFE = [("installed", 0), (CardState.ENABLED, 1), (CardState.DISABLED, 2), (CardState.DELETED, 3)]
END = {
    AfterDeletion.RETIRE: (OrderState.INSTALLED, 0),
    AfterDeletion.REUSE: (OrderState.RELEASED, 0),
    AfterDeletion.STOCK: (OrderState.DELETED, 1),
}


@pytest.mark.parametrize("rule", list(AfterDeletion))
@given(st.permutations(ONE_LIFE))
def test_one_life_of_a_profile_ends_the_same_in_whatever_order_it_is_told(
    rule: AfterDeletion, reports: list[tuple[object, int]]
) -> None:
    world = World(rule, downloads=1)
    for what, seq in (*reports, *reports):
        if isinstance(what, CardState):
            world.event(what, seq)
        else:
            world.installed(1, seq)
    assert (world.order.state, world.returned) == END[rule]
    assert world.order.awaiting is None
    assert world.told.count(NotificationPoint.BPP_INSTALLATION) == 1
    assert world.told[-1] is NotificationPoint.DELETED
    assert len(set(world.told)) == len(world.told)
    assert (world.order.key_sealed is None) == (rule is not AfterDeletion.REUSE)


TWO_LIVES = [
    ("first", 0),
    (CardState.DELETED, 1),
    ("second", 2),
]


@pytest.mark.parametrize("rule", list(AfterDeletion))
@given(st.permutations(TWO_LIVES))
def test_profile_that_is_on_its_card_again_is_never_freed(
    rule: AfterDeletion, reports: list[tuple[object, int]]
) -> None:
    """Both packages were handed out before any report came: the deletion is of the first installation."""
    world = World(rule, downloads=2)
    for what, seq in reports:
        if isinstance(what, CardState):
            world.event(what, seq)
        else:
            world.installed(1 if what == "first" else 2, seq)
    assert (world.order.state, world.returned) == (OrderState.INSTALLED, 0)
    assert (world.order.installed_seq, world.order.card_state) == (2, None)
    world.event(CardState.DELETED, 3)
    assert (world.order.state, world.returned) == END[rule]


@given(st.lists(st.tuples(st.sampled_from(CardState), st.integers(0, 9)), max_size=12), st.integers(0, 9))
def test_what_is_told_of_a_card_never_goes_back_in_time(events: list[tuple[CardState, int]], installed: int) -> None:
    world = World(AfterDeletion.RETIRE, downloads=1)
    world.installed(1, installed)
    numbers = []
    for state, seq in events:
        before = len(world.told)
        world.event(state, seq)
        numbers += [seq] * (len(world.told) - before)
    assert all(one < next_ for one, next_ in pairwise(numbers))
    assert all(number > installed for number in numbers)


@pytest.mark.parametrize("state", [OrderState.ERROR, OrderState.RELEASED])
@pytest.mark.parametrize("reason", [10, 12])
def test_failure_after_the_device_cancelled_is_told_and_moves_nothing(state: OrderState, reason: int) -> None:
    world = World(AfterDeletion.RETIRE, downloads=1)
    world.order = replace(world.order, state=state)
    world.installed(1, 0, reason)
    assert (world.order.state, world.order.awaiting) == (state, None)
    assert world.told == [NotificationPoint.BPP_INSTALLATION]
