"""A carrier swap: allocation, download, activation. Its states, its events, one table, and where each step belongs."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """The three stages every swap is told in."""

    ALLOCATION = "allocation"
    DOWNLOAD = "download"
    ACTIVATION = "activation"


class SwapState(StrEnum):
    """Where a swap stands. Up to ENABLING it can be undone; from VERIFYING on it goes forward.

    The pivot lies between the two: the card's signed result of the enable has been committed and acknowledged, which
    takes the card's permission to go back (SGP.32 3.4). Should the acknowledgement never have reached it, the card goes
    back and says so under its signature; only that word leads from VERIFYING or COMMITTING to UNDOING.
    """

    ALLOCATING = "allocating"
    AWAITING_CUSTOMER = "awaiting_customer"
    PREPARING = "preparing"
    DOWNLOADING = "downloading"
    INSTALLED = "installed"
    ENABLING = "enabling"
    VERIFYING = "verifying"
    COMMITTING = "committing"
    COMPLETED = "completed"
    UNDOING = "undoing"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    CANCELLED = "cancelled"


class SwapEvent(StrEnum):
    """What moves a swap on: the next part begins, or it has to be undone."""

    PREPARE = "SIM in the enterprise's account"
    DOWNLOAD = "activation code at hand"
    CONFIRM = "installed"
    ENABLE = "on the card, disabled"
    VERIFY = "enable result acknowledged (pivot)"
    COMMIT = "new line in use"
    COMPLETE = "all done"
    UNDO = "refused, rolled back, cancelled or out of time"
    FALL_BACK = "signed word of the card: it went back after all"
    UNDONE_FAILED = "undone after a refusal"
    UNDONE_ROLLED_BACK = "undone after a rollback"
    UNDONE_CANCELLED = "undone after a cancellation"


_S, _E = SwapState, SwapEvent

UNDOABLE = (_S.ALLOCATING, _S.AWAITING_CUSTOMER, _S.PREPARING, _S.DOWNLOADING, _S.INSTALLED, _S.ENABLING)
"""The states before the pivot."""

TRANSITIONS: dict[tuple[SwapState, SwapEvent], SwapState] = {
    (_S.ALLOCATING, _E.PREPARE): _S.PREPARING,
    # The card holds the profile already, and its SIM is in the enterprise's account: activation only.
    (_S.ALLOCATING, _E.CONFIRM): _S.INSTALLED,
    (_S.AWAITING_CUSTOMER, _E.DOWNLOAD): _S.DOWNLOADING,
    (_S.AWAITING_CUSTOMER, _E.CONFIRM): _S.INSTALLED,
    (_S.PREPARING, _E.DOWNLOAD): _S.DOWNLOADING,
    (_S.DOWNLOADING, _E.CONFIRM): _S.INSTALLED,
    (_S.INSTALLED, _E.ENABLE): _S.ENABLING,
    (_S.ENABLING, _E.VERIFY): _S.VERIFYING,
    (_S.VERIFYING, _E.COMMIT): _S.COMMITTING,
    (_S.COMMITTING, _E.COMPLETE): _S.COMPLETED,
    (_S.VERIFYING, _E.FALL_BACK): _S.UNDOING,
    (_S.COMMITTING, _E.FALL_BACK): _S.UNDOING,
    (_S.UNDOING, _E.UNDONE_FAILED): _S.FAILED,
    (_S.UNDOING, _E.UNDONE_ROLLED_BACK): _S.ROLLED_BACK,
    (_S.UNDOING, _E.UNDONE_CANCELLED): _S.CANCELLED,
} | {(state, _E.UNDO): _S.UNDOING for state in UNDOABLE}

ENDED = frozenset({_S.COMPLETED, _S.ROLLED_BACK, _S.FAILED, _S.CANCELLED})
PAST_PIVOT = frozenset({_S.VERIFYING, _S.COMMITTING, _S.COMPLETED})
BEGINNINGS = (_S.ALLOCATING, _S.AWAITING_CUSTOMER)
"""Where a swap begins: with a platform of ours, or with the customer."""


class ImpossibleTransition(Exception):  # noqa: N818 -- the name is the fact
    """The table has no such step: the caller asked for something this state does not allow."""


def after(state: SwapState, event: SwapEvent) -> SwapState:
    """The state that follows. Raises ImpossibleTransition when the table has no such step."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ImpossibleTransition(f"a swap that is {state} has no step '{event}'") from None


class StepName(StrEnum):
    """The steps of which plans are made, and those that undo them."""

    RESERVE = "reserve_profile"
    ALLOCATE = "allocate_sim"
    CHECK = "check_allocation"
    CUSTOMER = "await_customer"
    PREPARE = "prepare_profile"
    DOWNLOAD = "download_profile"
    CONFIRM = "confirm_on_card"
    ENABLE = "enable_profile"
    VERIFY = "verify_line"
    COMMIT = "commit_billing"
    CLOSE = "close"
    WITHDRAW = "withdraw_operations"
    RECALL = "recall_profile"
    DELETE = "delete_on_card"
    RETURN = "return_profile"
    RELEASE = "release_sim"


STATE_OF: dict[StepName, SwapState] = {
    StepName.RESERVE: _S.ALLOCATING,
    StepName.ALLOCATE: _S.ALLOCATING,
    StepName.CHECK: _S.ALLOCATING,
    StepName.CUSTOMER: _S.AWAITING_CUSTOMER,
    StepName.PREPARE: _S.PREPARING,
    StepName.DOWNLOAD: _S.DOWNLOADING,
    StepName.CONFIRM: _S.INSTALLED,
    StepName.ENABLE: _S.ENABLING,
    StepName.VERIFY: _S.VERIFYING,
    StepName.COMMIT: _S.COMMITTING,
    StepName.CLOSE: _S.COMMITTING,
    StepName.WITHDRAW: _S.UNDOING,
    StepName.RECALL: _S.UNDOING,
    StepName.DELETE: _S.UNDOING,
    StepName.RETURN: _S.UNDOING,
    StepName.RELEASE: _S.UNDOING,
}
"""The state a swap is in while it runs a step."""

STAGE_OF: dict[SwapState, Stage] = {
    _S.ALLOCATING: Stage.ALLOCATION,
    _S.AWAITING_CUSTOMER: Stage.ALLOCATION,
    _S.PREPARING: Stage.ALLOCATION,
    _S.DOWNLOADING: Stage.DOWNLOAD,
    _S.INSTALLED: Stage.DOWNLOAD,
    _S.ENABLING: Stage.ACTIVATION,
    _S.VERIFYING: Stage.ACTIVATION,
    _S.COMMITTING: Stage.ACTIVATION,
}
"""The stage under which a state is told; undoing belongs to none."""

_BEGINNING_OF: dict[SwapState, SwapEvent] = {
    _S.PREPARING: _E.PREPARE,
    _S.DOWNLOADING: _E.DOWNLOAD,
    _S.INSTALLED: _E.CONFIRM,
    _S.ENABLING: _E.ENABLE,
    _S.VERIFYING: _E.VERIFY,
    _S.COMMITTING: _E.COMMIT,
}
_UNDONE: dict[SwapState, SwapEvent] = {
    _S.FAILED: _E.UNDONE_FAILED,
    _S.ROLLED_BACK: _E.UNDONE_ROLLED_BACK,
    _S.CANCELLED: _E.UNDONE_CANCELLED,
}


def onward(state: SwapState, step: StepName) -> SwapState:
    """The state in which `step` runs, coming from `state`. Raises ImpossibleTransition."""
    wanted = STATE_OF[step]
    return state if wanted is state else after(state, _BEGINNING_OF[wanted])


def undone(ending: SwapState) -> SwapState:
    """The end of an undone swap: FAILED, ROLLED_BACK or CANCELLED, as it was decided when undoing began."""
    return after(_S.UNDOING, _UNDONE[ending])
