"""The two state tables: what is in them happens, what is not is refused, and every state can be reached and left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smdp import order, session
from smdp.order import CLOSED, OrderEvent, OrderState
from smdp.session import SessionEvent, SessionState

AFTER_INSTALLATION = {OrderEvent.CONFIRM_DELETION, OrderEvent.REOPEN, OrderEvent.NOTE}
"""All that can happen to an installed order: the card's own word about its profile."""


@given(st.sampled_from(OrderState), st.sampled_from(OrderEvent))
def test_an_order_moves_by_its_table_and_in_no_other_way(state: OrderState, event: OrderEvent) -> None:
    if (state, event) in order.TRANSITIONS:
        assert order.after(state, event) is order.TRANSITIONS[state, event]
    else:
        with pytest.raises(order.ImpossibleTransition, match=state):
            order.after(state, event)


@given(st.sampled_from(SessionState), st.sampled_from(SessionEvent))
def test_a_session_moves_by_its_table_and_in_no_other_way(state: SessionState, event: SessionEvent) -> None:
    if (state, event) in session.TRANSITIONS:
        assert session.after(state, event) is session.TRANSITIONS[state, event]
    else:
        with pytest.raises(session.ImpossibleTransition, match=state):
            session.after(state, event)


@given(st.lists(st.sampled_from(OrderEvent), max_size=30), st.sampled_from([OrderState.ALLOCATED, OrderState.LINKED]))
def test_a_closed_order_never_moves_again_and_only_a_released_one_is_downloaded(
    events: list[OrderEvent], start: OrderState
) -> None:
    state, released = start, False
    for event in events:
        try:
            following = order.after(state, event)
        except order.ImpossibleTransition:
            continue
        assert state not in CLOSED or following is state
        assert state is not OrderState.INSTALLED or event in AFTER_INSTALLATION
        released |= following is OrderState.RELEASED
        if following in (OrderState.DOWNLOADED, OrderState.INSTALLED):
            assert released
        state = following


def test_every_state_of_an_order_can_be_reached() -> None:
    reached = {OrderState.ALLOCATED, OrderState.LINKED}
    for _ in OrderState:
        reached |= {to for (start, _event), to in order.TRANSITIONS.items() if start in reached}
    assert reached == set(OrderState)


def test_every_state_of_a_session_can_be_reached() -> None:
    reached = {SessionState.INITIATED}
    for _ in SessionState:
        reached |= {to for (start, _event), to in session.TRANSITIONS.items() if start in reached}
    assert reached == set(SessionState)


def test_every_event_has_a_step() -> None:
    assert {event for _, event in order.TRANSITIONS} == set(OrderEvent)
    assert {event for _, event in session.TRANSITIONS} == set(SessionEvent)


def test_only_a_profile_that_a_card_was_handed_can_be_told_to_be_deleted() -> None:
    told = {state for state, event in order.TRANSITIONS if event is OrderEvent.CONFIRM_DELETION}
    assert told == {OrderState.DOWNLOADED, OrderState.INSTALLED, OrderState.ERROR}


def test_a_report_that_moves_nothing_moves_nothing() -> None:
    for state in OrderState:
        if (state, OrderEvent.NOTE) in order.TRANSITIONS:
            assert order.after(state, OrderEvent.NOTE) is state


def test_only_a_failed_order_is_recovered_and_only_an_installed_one_is_opened_again() -> None:
    for event, origin in ((OrderEvent.RECOVER, OrderState.ERROR), (OrderEvent.REOPEN, OrderState.INSTALLED)):
        assert {state for state, each in order.TRANSITIONS if each is event} == {origin}
        assert order.after(origin, event) is OrderState.RELEASED


def test_an_installed_profile_cannot_be_cancelled_away() -> None:
    for state in (OrderState.DOWNLOADED, OrderState.INSTALLED):
        assert (state, OrderEvent.CANCEL) not in order.TRANSITIONS
