"""The state table of the eIM's operations: what is in it happens, what is not is refused."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eim import operation
from eim.operation import OPEN, Operation, OperationChange, OperationEvent, OperationKind, OperationState
from rsp.identifiers import Eid, TransactionId

CARDS_WORD = {OperationEvent.SUCCEED, OperationEvent.FAIL, OperationEvent.ROLL_BACK, OperationEvent.DOUBT}


@given(st.sampled_from(OperationState), st.sampled_from(OperationEvent))
def test_an_operation_moves_by_its_table_and_in_no_other_way(state: OperationState, event: OperationEvent) -> None:
    if (state, event) in operation.TRANSITIONS:
        assert operation.after(state, event) is operation.TRANSITIONS[state, event]
    else:
        with pytest.raises(operation.ImpossibleTransition, match=state):
            operation.after(state, event)


@given(st.lists(st.sampled_from(OperationEvent), max_size=30))
def test_what_was_never_handed_over_is_never_done(events: list[OperationEvent]) -> None:
    state, sent = OperationState.QUEUED, False
    for event in events:
        if (state, event) not in operation.TRANSITIONS:
            continue
        if not sent and state is OperationState.EXPIRED:
            return  # The table cannot tell; a card's signed word about something never sent does not exist.
        state = operation.after(state, event)
        sent |= state is OperationState.SENT
        assert sent or state not in (OperationState.DONE, OperationState.ROLLED_BACK, OperationState.DOUBTFUL)


def test_what_was_handed_over_cannot_be_withdrawn() -> None:
    cancelled = {state for state, event in operation.TRANSITIONS if event is OperationEvent.CANCEL}
    assert cancelled == {OperationState.QUEUED}


def test_what_was_handed_over_ends_by_the_card_or_the_clock_alone() -> None:
    leaving = {event for state, event in operation.TRANSITIONS if state is OperationState.SENT}
    # What is abandoned is waited for no longer, as what has run out of time: the card's word still counts.
    assert leaving == CARDS_WORD | {OperationEvent.EXPIRE, OperationEvent.ABANDON}
    abandoned = operation.after(OperationState.SENT, OperationEvent.ABANDON)
    assert abandoned is operation.after(OperationState.SENT, OperationEvent.EXPIRE)


def test_every_state_can_be_reached_and_every_event_has_a_step() -> None:
    reached = {OperationState.QUEUED}
    for _ in OperationState:
        reached |= {to for (start, _event), to in operation.TRANSITIONS.items() if start in reached}
    assert reached == set(OperationState)
    assert {event for _, event in operation.TRANSITIONS} == set(OperationEvent)


def test_every_open_state_runs_out_of_time_and_no_other_does() -> None:
    assert {state for state, event in operation.TRANSITIONS if event is OperationEvent.EXPIRE} == OPEN


def test_a_step_is_guarded_by_the_state_it_starts_from() -> None:
    sent = Operation(
        id=7,
        tenant_id=1,
        key="k",
        eid=Eid("89049032123451234512345678901235"),
        kind=OperationKind.LIST,
        state=OperationState.SENT,
        transaction_id=TransactionId(b"t" * 16),
        expires_at=datetime(2026, 11, 22, tzinfo=UTC),
    )
    change = OperationChange.of(sent, OperationEvent.FAIL, code=1, detail="no")
    assert change == OperationChange(
        operation_id=7, expected=OperationState.SENT, state=OperationState.FAILED, result_code=1, detail="no"
    )
    with pytest.raises(operation.ImpossibleTransition):
        OperationChange.of(sent, OperationEvent.CANCEL)
