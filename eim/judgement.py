"""What a verified result means: for its operation, for the known profiles of the card (SGP.32 2.11.2, 6.7 of rollback).

Pure: facts and a result in, a write out. None means that it changes nothing, such as a repeated result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum

from eim.operation import TRANSITIONS, Operation, OperationChange, OperationEvent, OperationKind, OperationState
from eim.ports import CardContent, CardProfile, ContentChange, NewOperation, ResultFacts, ResultWrite
from rsp import es10, esep
from rsp.identifiers import Iccid, TransactionId

_ALREADY_INSTALLED = 9
_E, _K = OperationEvent, OperationKind
_OK = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a result says: the event, the card's code, words for people, and the card's profiles if it tells them."""

    event: OperationEvent
    code: int
    detail: str = ""
    listed: tuple[esep.ProfileInfo, ...] | None = None


def judge_package(
    facts: ResultFacts,
    answer: esep.PackageResult | esep.PackageErrorSigned,
    at: datetime,
    ask: TransactionId,
    doubtful: Operation | None = None,
) -> ResultWrite | None:
    """The consequence of a signed answer received at `at`.

    `ask` names the READ that a replay may need; `doubtful` is the operation that a LIST is about.
    """
    if isinstance(answer, esep.PackageErrorSigned):
        write = _refused(facts, answer, ask)
        return replace(write, settled=_clear_up(doubtful, None)) if write else None
    meaning = _meaning(facts.operation, answer)
    if (facts.operation.state, meaning.event) not in TRANSITIONS:
        return None
    previous = _enabled(facts.content) if meaning.event is _E.SUCCEED and facts.operation.kind is _K.ENABLE else None
    change = OperationChange.of(
        facts.operation, meaning.event, code=meaning.code, detail=meaning.detail, previous=previous
    )
    content = _content(facts, meaning, answer.seq_number, at)
    return ResultWrite(operation=change, content=content, settled=_clear_up(doubtful, meaning.listed))


def _refused(facts: ResultFacts, answer: esep.PackageErrorSigned, ask: TransactionId) -> ResultWrite | None:
    operation = facts.operation
    if answer.code == esep.PackageErrorCode.ECALL_ACTIVE:
        return None  # The card is busy with an emergency call: it gets the same package again at its next poll.
    replay = answer.code == esep.PackageErrorCode.REPLAY_ERROR
    event = _E.DOUBT if replay and operation.about is None else _E.FAIL
    if (operation.state, event) not in TRANSITIONS or (replay and operation.state is not OperationState.SENT):
        return None
    name = _named(esep.PackageErrorCode, answer.code)
    change = OperationChange.of(operation, event, code=answer.code, detail=f"the card refused the package: {name}")
    if event is _E.DOUBT:
        return ResultWrite(operation=change, ask=question(operation, _K.READ, ask))
    return ResultWrite(operation=change)


def question(operation: Operation, kind: OperationKind, transaction_id: TransactionId) -> NewOperation:
    """The READ or LIST by which we ask what became of a doubtful operation; it lives as long as that one."""
    return NewOperation(
        tenant_id=operation.tenant_id,
        key=f"eim:{kind}:{operation.id}",
        eid=operation.eid,
        kind=kind,
        transaction_id=transaction_id,
        expires_at=operation.expires_at,
        about=operation.id,
    )


Unsigned = esep.TriggerResult | esep.ResponseError | esep.PackageErrorUnsigned | esep.DataError
"""What a device says in its own name."""


def hearsay(error: Unsigned) -> str:
    """An unsigned error in words; of what the device put beside it nothing is taken over."""
    match error:
        case esep.TriggerResult():
            code = error.error[0] if error.error else int(esep.TriggerErrorCode.UNDEFINED_ERROR)
            return f"it could not download: {_named(esep.TriggerErrorCode, code)}"
        case esep.ResponseError():
            return f"it could not use what it was given: {_named(esep.ResponseErrorCode, error.code)}"
        case esep.PackageErrorUnsigned():
            return "its card does not accept this eIM or its signature"
        case _:
            return "it could not tell what it was asked"


def judge_installation(facts: ResultFacts, result: es10.ProfileInstallationResult, at: datetime) -> ResultWrite | None:
    """The consequence of a signed installation result for the DOWNLOAD it answers."""
    operation = facts.operation
    error = result.result if isinstance(result.result, es10.InstallationError) else None
    installed = error is None or error.reason == _ALREADY_INSTALLED
    event = _E.SUCCEED if installed else _E.FAIL
    if operation.kind is not _K.DOWNLOAD or (operation.state, event) not in TRANSITIONS:
        return None
    detail = "" if error is None else f"bppCommandId {error.command_id}, errorReason {error.reason}"
    change = OperationChange.of(
        operation,
        event,
        code=error.reason if error else _OK,
        detail=detail,
        installation=result.transaction_id.value,
    )
    content = _with_profile(facts, result.iccid, at) if installed and result.iccid else None
    return ResultWrite(operation=change, content=content)


def _clear_up(doubtful: Operation | None, listed: tuple[esep.ProfileInfo, ...] | None) -> OperationChange | None:
    """What the card's signed list says about an operation whose result is lost; no list at all says it failed."""
    if doubtful is None or doubtful.state is not OperationState.DOUBTFUL:
        return None
    states = {info.iccid: info.state for info in listed or ()}
    state = states.get(doubtful.iccid) if doubtful.iccid else None
    done = listed is not None and {
        _K.ENABLE: state is esep.ProfileState.ENABLED,
        _K.DISABLE: state is esep.ProfileState.DISABLED,
        _K.DELETE: doubtful.iccid not in states,
    }.get(doubtful.kind, False)
    event, code = (_E.SUCCEED, _OK) if done else (_E.FAIL, int(esep.PackageErrorCode.REPLAY_ERROR))
    detail = "its result was lost; " + ("told by the card's list of profiles" if listed else "the card tells nothing")
    return OperationChange.of(doubtful, event, code=code, detail=detail)


def _meaning(operation: Operation, answer: esep.PackageResult) -> Meaning:
    """What the results of a package say about the one command in it."""
    for result in answer.results:
        if isinstance(result, esep.RollbackResult):
            return _rolled_back(result)
        if isinstance(result, esep.ProcessingTerminated):
            name = _named(esep.TerminationCode, result.code)
            return Meaning(event=_E.FAIL, code=result.code, detail=f"the card stopped before the command: {name}")
        if operation.kind is _K.LIST and isinstance(result, esep.ProfileList):
            return Meaning(event=_E.SUCCEED, code=_OK, listed=result.profiles)
        if isinstance(result, _ANSWERS[operation.kind]):
            return _by_code(result.code, _NAMES[operation.kind])
    code = esep.PackageErrorCode.UNDEFINED_ERROR
    return Meaning(event=_E.FAIL, code=code, detail="the card's result does not answer the command")


_Coded = esep.EnableResult | esep.DisableResult | esep.DeleteResult | esep.ProfileListError
_ANSWERS: dict[OperationKind, type[_Coded]] = {
    _K.ENABLE: esep.EnableResult,
    _K.DISABLE: esep.DisableResult,
    _K.DELETE: esep.DeleteResult,
    _K.LIST: esep.ProfileListError,
}
_NAMES: dict[OperationKind, type[IntEnum]] = {
    _K.ENABLE: esep.EnableCode,
    _K.DISABLE: esep.DisableCode,
    _K.DELETE: esep.DeleteCode,
    _K.LIST: esep.ProfileListCode,
}


def _rolled_back(result: esep.RollbackResult) -> Meaning:
    if result.code == _OK:
        return Meaning(event=_E.ROLL_BACK, code=_OK, detail="the device went back to the profile before")
    return Meaning(event=_E.FAIL, code=result.code, detail="the rollback failed on the card")


def _by_code(code: int, names: type[IntEnum]) -> Meaning:
    if code == _OK and names is not esep.ProfileListCode:
        return Meaning(event=_E.SUCCEED, code=_OK)
    return Meaning(event=_E.FAIL, code=code, detail=f"the card answered {_named(names, code)}")


def _named(names: type[IntEnum], code: int) -> str:
    return names(code).name.lower().replace("_", " ") if code in list(names) else f"code {code}"


# Profiles of the card -------------------------------------------------------------------------------------------------


def _enabled(content: CardContent) -> Iccid | None:
    return next((profile.iccid for profile in content.profiles if profile.enabled), None)


def _content(facts: ResultFacts, meaning: Meaning, seq: int, at: datetime) -> ContentChange | None:
    """The profiles after a result; None when it says nothing of them, or less than a later result did already."""
    if facts.content.seq is not None and seq <= facts.content.seq:
        return None
    if meaning.listed is not None:
        profiles: tuple[CardProfile, ...] | None = tuple(
            CardProfile(iccid=info.iccid, enabled=info.state is esep.ProfileState.ENABLED, as_of=at)
            for info in meaning.listed
        )
    else:
        profiles = _moved(facts, meaning, at)
    if profiles is None:
        return None
    return ContentChange(
        eid=facts.operation.eid,
        tenant_id=facts.association.tenant_id,
        expected=facts.content.version,
        profiles=profiles,
        seq=seq,
        listed_at=at if meaning.listed is not None else None,
    )


def _moved(facts: ResultFacts, meaning: Meaning, at: datetime) -> tuple[CardProfile, ...] | None:
    operation, present = facts.operation, facts.content.profiles
    iccid = operation.iccid
    if iccid is None:
        return None
    if meaning.event is _E.ROLL_BACK:
        before = operation.previous or _enabled(facts.content)
        return _switched(present, before if before != iccid else None, iccid, at)
    if meaning.event is not _E.SUCCEED:
        return None
    if operation.kind is _K.ENABLE:
        return _switched(present, iccid, None, at)
    if operation.kind is _K.DISABLE:
        return _switched(present, None, iccid, at)
    return tuple(profile for profile in present if profile.iccid != iccid)


def _switched(
    present: tuple[CardProfile, ...], on: Iccid | None, off: Iccid | None, at: datetime
) -> tuple[CardProfile, ...]:
    """`on` enabled and every other one disabled, `off` and `on` among them even when they were not known."""
    known = {profile.iccid: profile for profile in present}
    for iccid in (on, off):
        if iccid is not None:
            known.setdefault(iccid, CardProfile(iccid=iccid, enabled=False, as_of=at))
    return tuple(replace(profile, enabled=profile.iccid == on, as_of=at) for profile in known.values())


def _with_profile(facts: ResultFacts, iccid: Iccid, at: datetime) -> ContentChange | None:
    """The profiles with a newly installed one, which is disabled. Notifications are numbered apart from results."""
    if any(profile.iccid == iccid for profile in facts.content.profiles):
        return None
    return ContentChange(
        eid=facts.operation.eid,
        tenant_id=facts.association.tenant_id,
        expected=facts.content.version,
        profiles=(*facts.content.profiles, CardProfile(iccid=iccid, enabled=False, as_of=at)),
    )
