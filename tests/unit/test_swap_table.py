"""The state table of swaps: what is in it happens, what is not is refused; nothing is undone once it counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swap import swap
from swap.swap import (
    BEGINNINGS,
    ENDED,
    PAST_PIVOT,
    STAGE_OF,
    STATE_OF,
    UNDOABLE,
    Stage,
    StepName,
    SwapEvent,
    SwapState,
)

_UNDONE_ENDS = (SwapState.FAILED, SwapState.ROLLED_BACK, SwapState.CANCELLED)


@given(st.sampled_from(SwapState), st.sampled_from(SwapEvent))
def test_a_swap_moves_by_its_table_and_in_no_other_way(state: SwapState, event: SwapEvent) -> None:
    if (state, event) in swap.TRANSITIONS:
        assert swap.after(state, event) is swap.TRANSITIONS[state, event]
    else:
        with pytest.raises(swap.ImpossibleTransition, match=state):
            swap.after(state, event)


@given(st.lists(st.sampled_from(SwapEvent), max_size=40), st.sampled_from(BEGINNINGS))
def test_past_the_pivot_only_the_cards_word_leads_back(events: list[SwapEvent], start: SwapState) -> None:
    state = start
    for event in events:
        if (state, event) not in swap.TRANSITIONS:
            continue
        before, state = state, swap.after(state, event)
        assert before not in ENDED
        if before in PAST_PIVOT and state not in PAST_PIVOT:
            assert event is SwapEvent.FALL_BACK


@given(st.lists(st.sampled_from(SwapEvent), max_size=40), st.sampled_from(BEGINNINGS))
def test_completion_comes_after_enabling_verifying_and_committing(events: list[SwapEvent], start: SwapState) -> None:
    state, passed = start, [start]
    for event in events:
        if (state, event) in swap.TRANSITIONS:
            state = swap.after(state, event)
            passed.append(state)
    if state is SwapState.COMPLETED:
        assert passed[-4:-1] == [SwapState.ENABLING, SwapState.VERIFYING, SwapState.COMMITTING]
        assert SwapState.UNDOING not in passed


def test_every_state_can_be_reached_and_left_unless_it_is_an_end() -> None:
    reached = set(BEGINNINGS)
    for _ in SwapState:
        reached |= {to for (start, _event), to in swap.TRANSITIONS.items() if start in reached}
    assert reached == set(SwapState)
    assert {state for state, _ in swap.TRANSITIONS} == set(SwapState) - ENDED


def test_every_event_has_a_step() -> None:
    assert {event for _, event in swap.TRANSITIONS} == set(SwapEvent)


def test_every_step_has_a_state_and_every_state_of_a_step_but_undoing_a_stage() -> None:
    assert set(STATE_OF) == set(StepName)
    assert set(STAGE_OF) == set(STATE_OF.values()) - {SwapState.UNDOING}
    assert set(STAGE_OF.values()) == set(Stage)


def test_exactly_the_states_before_the_pivot_can_be_undone() -> None:
    assert {state for state, event in swap.TRANSITIONS if event is SwapEvent.UNDO} == set(UNDOABLE)
    assert not set(UNDOABLE) & PAST_PIVOT


@pytest.mark.parametrize("ending", _UNDONE_ENDS)
def test_an_undone_swap_ends_as_was_decided_when_undoing_began(ending: SwapState) -> None:
    assert swap.undone(ending) is ending


def test_a_step_of_the_same_state_moves_nothing_and_one_of_a_later_state_moves_on() -> None:
    assert swap.onward(SwapState.ALLOCATING, StepName.ALLOCATE) is SwapState.ALLOCATING
    assert swap.onward(SwapState.ALLOCATING, StepName.PREPARE) is SwapState.PREPARING
    with pytest.raises(swap.ImpossibleTransition):
        swap.onward(SwapState.ALLOCATING, StepName.COMMIT)
