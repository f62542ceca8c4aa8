"""Rows of the role eIM as its values, and back."""

from __future__ import annotations

from eim.operation import Operation, OperationKind, OperationState
from eim.ports import Association, CardContent, CardProfile, NewOperation
from rsp.identifiers import Eid, Iccid, TransactionId
from store.eim_tables import esim_operations, esims
from store.pool import Row
from store.rows import labelled

ASSOCIATION = labelled(
    esims, "esim", "eid", "tenant_id", "eim_id", "token", "counter", "eum_certificate", "euicc_certificate", "features"
)
OPERATION = labelled(esim_operations, "op")


def association_from(row: Row) -> Association:
    """The association in the columns `esim_*`."""
    features = row["esim_features"]
    return Association(
        eid=Eid(row["esim_eid"]),
        tenant_id=row["esim_tenant_id"],
        eim_id=row["esim_eim_id"],
        token=row["esim_token"],
        counter=row["esim_counter"],
        eum_certificate=row["esim_eum_certificate"],
        euicc_certificate=row["esim_euicc_certificate"],
        features=None if features is None else frozenset(features),
    )


def operation_from(row: Row) -> Operation:
    """The operation in the columns `op_*`."""
    return Operation(
        id=row["op_id"],
        tenant_id=row["op_tenant_id"],
        key=row["op_key"],
        eid=Eid(row["op_eid"]),
        kind=OperationKind(row["op_kind"]),
        state=OperationState(row["op_state"]),
        transaction_id=TransactionId(row["op_transaction_id"]),
        expires_at=row["op_expires_at"],
        iccid=_iccid(row["op_iccid"]),
        rollback=row["op_rollback"],
        activation_sealed=row["op_activation_sealed"],
        counter=row["op_counter"],
        request=row["op_request"],
        about=row["op_about"],
        previous=_iccid(row["op_previous"]),
        result_code=row["op_result_code"],
        detail=row["op_detail"],
        created_at=row["op_created_at"],
        sent_at=row["op_sent_at"],
        ended_at=row["op_ended_at"],
        hearsay=row["op_hearsay"],
        heard_at=row["op_heard_at"],
    )


def operation_values(new: NewOperation) -> dict[str, object]:
    """The columns of an operation to be queued."""
    return {
        "tenant_id": new.tenant_id,
        "key": new.key,
        "eid": str(new.eid),
        "kind": new.kind.value,
        "state": OperationState.QUEUED.value,
        "transaction_id": new.transaction_id.value,
        "iccid": str(new.iccid) if new.iccid else None,
        "rollback": new.rollback,
        "activation_sealed": new.activation_sealed,
        "about": new.about,
        "expires_at": new.expires_at,
    }


def content_from(row: Row, profiles: list[Row]) -> CardContent:
    """The content in the columns `content_*` and the rows of its profiles."""
    return CardContent(
        version=row["content_version"],
        seq=row["content_seq"],
        listed_at=row["content_at"],
        profiles=tuple(map(profile_from, profiles)),
    )


def profile_from(row: Row) -> CardProfile:
    """One profile of a card."""
    return CardProfile(iccid=Iccid(row["iccid"]), enabled=row["enabled"], as_of=row["as_of"])


def _iccid(digits: str | None) -> Iccid | None:
    return Iccid(digits) if digits else None
