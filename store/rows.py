"""Rows of the store as the values of the roles, and back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Table

from rsp.identifiers import Eid, Iccid, MatchingId, TransactionId
from smdp.order import Binding, Order, OrderState
from smdp.ports import DownloadFacts, Limits, ProfileFacts
from smdp.session import Session, SessionState
from store.pool import Row


def labelled(table: Table, prefix: str, *names: str) -> list[ColumnElement[Any]]:
    """The columns `names` of `table` (all when none are given), each named prefix_column: a join has some twice."""
    return [table.c[name].label(f"{prefix}_{name}") for name in names or table.c.keys()]


def session_from(row: Row) -> Session:
    """The session in the columns `session_*`."""
    return Session(
        transaction_id=TransactionId(row["session_transaction_id"]),
        state=SessionState(row["session_state"]),
        expires_at=row["session_expires_at"],
        server_address=row["session_server_address"],
        server_challenge=row["session_server_challenge"],
        ci_key_id=row["session_ci_key_id"],
        server_ci_key_id=row["session_server_ci_key_id"],
        order_id=row["session_order_id"],
        eid=_eid(row["session_eid"]),
        euicc_key=row["session_euicc_key"],
        smdp_signed2=row["session_smdp_signed2"],
        smdp_signature2=row["session_smdp_signature2"],
        authenticate_digest=row["session_authenticate_digest"],
        download_digest=row["session_download_digest"],
        secure_channel=row["session_secure_channel"],
        refusal=row["session_refusal"],
    )


def session_values(session: Session) -> dict[str, object]:
    """The columns of a session to be stored."""
    return {
        "transaction_id": session.transaction_id.value,
        "state": session.state.value,
        "expires_at": session.expires_at,
        "server_address": session.server_address,
        "server_challenge": session.server_challenge,
        "ci_key_id": session.ci_key_id,
        "server_ci_key_id": session.server_ci_key_id,
        "order_id": session.order_id,
        "eid": str(session.eid) if session.eid else None,
        "euicc_key": session.euicc_key,
        "smdp_signed2": session.smdp_signed2,
        "smdp_signature2": session.smdp_signature2,
        "authenticate_digest": session.authenticate_digest,
        "download_digest": session.download_digest,
        "secure_channel": session.secure_channel,
        "refusal": session.refusal,
    }


def order_from(row: Row) -> Order:
    """The order in the columns `order_*`."""
    matching_id = row["order_matching_id"]
    return Order(
        id=row["order_id"],
        tenant_id=row["order_tenant_id"],
        iccid=Iccid(row["order_iccid"]),
        profile_type=row["order_profile_type"],
        state=OrderState(row["order_state"]),
        version=row["order_version"],
        eid=_eid(row["order_eid"]),
        matching_id=MatchingId(matching_id) if matching_id else None,
        key_sealed=row["order_key_sealed"],
        confirmation_sealed=row["order_confirmation_sealed"],
        confirmation_attempts=row["order_confirmation_attempts"],
        download_attempts=row["order_download_attempts"],
        binding=_binding(row),
        expires_at=row["order_expires_at"],
    )


def order_values(order: Order) -> dict[str, object]:
    """The columns of a new order; what only a later step brings is left to its default."""
    return {
        "tenant_id": order.tenant_id,
        "iccid": str(order.iccid),
        "profile_type": order.profile_type,
        "state": order.state.value,
        "version": order.version,
        "eid": str(order.eid) if order.eid else None,
        "matching_id": str(order.matching_id) if order.matching_id else None,
        "key_sealed": order.key_sealed,
        "confirmation_sealed": order.confirmation_sealed,
        "expires_at": order.expires_at,
    }


def facts_from(row: Row) -> DownloadFacts:
    """Session, order and profile of one row of the download path."""
    if row["order_id"] is None:
        return DownloadFacts(session=session_from(row))
    return DownloadFacts(
        session=session_from(row),
        order=order_from(row),
        profile=ProfileFacts(
            metadata=row["profile_metadata"],
            package_id=row["package_id"],
            saip_version=(row["package_saip_major"], row["package_saip_minor"]),
            size=row["package_size"],
            policy_rules=frozenset(row["profile_policy_rules"]),
        ),
        limits=Limits(
            download_attempts=row["tenant_download_attempts"],
            confirmation_attempts=row["tenant_confirmation_attempts"],
        ),
    )


def _eid(digits: str | None) -> Eid | None:
    return Eid(digits) if digits else None


def _binding(row: Row) -> Binding | None:
    if row["order_otsk_sealed"] is None:
        return None
    return Binding(
        euicc_otpk=row["order_euicc_otpk"],
        otsk_sealed=row["order_otsk_sealed"],
        host_id=row["order_host_id"],
        ci_key_id=row["order_ci_key_id"],
    )
