"""Rows of the store as the values of the roles, and back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Table

from rsp.identifiers import Eid, Iccid, MatchingId, TransactionId
from smdp.order import Binding, CardReport, CardState, Order, OrderState
from smdp.policy import AfterDeletion, DeviceRules
from smdp.ports import DownloadFacts, Limits, ProfileFacts, ProtectedPackage
from smdp.session import Session, SessionState
from store.pool import Row

# An enumeration that is called takes five times as long.
_SESSION_STATES = {state.value: state for state in SessionState}
_ORDER_STATES = {state.value: state for state in OrderState}
_AFTER_DELETION = {rule.value: rule for rule in AfterDeletion}


def labelled(table: Table, prefix: str, *names: str) -> list[ColumnElement[Any]]:
    """The columns `names` of `table` (all when none are given), each named prefix_column: a join has some twice."""
    return [table.c[name].label(f"{prefix}_{name}") for name in names or table.c.keys()]


def session_from(row: Row) -> Session:
    """The session in the columns `session_*`."""
    return Session(
        transaction_id=TransactionId(row["session_transaction_id"]),
        state=_SESSION_STATES[row["session_state"]],
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
        state=_ORDER_STATES[row["order_state"]],
        version=row["order_version"],
        eid=_eid(row["order_eid"]),
        matching_id=MatchingId(matching_id) if matching_id else None,
        key_sealed=row["order_key_sealed"],
        confirmation_sealed=row["order_confirmation_sealed"],
        confirmation_attempts=row["order_confirmation_attempts"],
        download_attempts=row["order_download_attempts"],
        binding=_binding(row),
        expires_at=row["order_expires_at"],
        ended=row["order_ended_at"] is not None,
        eid_named=row["order_eid_named"],
        imei=row["order_imei"],
        handed_out=row["order_handed_out"],
        awaiting=row["order_awaiting"],
        redownloads=row["order_redownloads"],
        installed_seq=row["order_installed_seq"],
        card=_card(row),
        smds_address=row["order_smds_address"],
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
        "eid_named": order.eid_named,
    }


def facts_from(row: Row, *, with_profile: bool = True) -> DownloadFacts:
    """Session, order and, where the row holds them, profile and package of one row of the download path."""
    if row["order_id"] is None:
        return DownloadFacts(session=session_from(row))
    if not with_profile:
        return DownloadFacts(session=session_from(row), order=order_from(row), limits=limits_from(row))
    return DownloadFacts(
        session=session_from(row),
        order=order_from(row),
        profile=ProfileFacts(
            metadata=row["profile_metadata"],
            package_id=row["package_id"],
            saip_version=(row["package_saip_major"], row["package_saip_minor"]),
            size=row["package_size"],
            policy_rules=frozenset(row["profile_policy_rules"]),
            services=frozenset(row["package_services"]),
        ),
        limits=limits_from(row),
        package=ProtectedPackage(segments=row["package_segments"], key_sealed=row["package_key_sealed"]),
    )


LIMITS = (
    "download_attempts",
    "confirmation_attempts",
    "order_days",
    "redownloads",
    "after_deletion",
    "rebinding",
    "bind_imei",
    "iot_euiccs",
    "minimum_saip",
    "tacs_allowed",
    "tacs_denied",
    "eums_allowed",
    "eums_denied",
)
"""Columns of an operator that say what it lets its orders do."""


def limits_from(row: Row) -> Limits:
    """What the owner of an order has set, in the columns `tenant_*`."""
    return Limits(
        download_attempts=row["tenant_download_attempts"],
        confirmation_attempts=row["tenant_confirmation_attempts"],
        order_days=row["tenant_order_days"],
        redownloads=row["tenant_redownloads"],
        after_deletion=_AFTER_DELETION[row["tenant_after_deletion"]],
        rebinding=row["tenant_rebinding"],
        devices=DeviceRules(
            bind_imei=row["tenant_bind_imei"],
            iot_euiccs=row["tenant_iot_euiccs"],
            minimum_saip=saip_version(row["tenant_minimum_saip"]),
            tacs_allowed=_set(row["tenant_tacs_allowed"]),
            tacs_denied=_set(row["tenant_tacs_denied"]) or frozenset(),
            eums_allowed=tuple(row["tenant_eums_allowed"]) if row["tenant_eums_allowed"] is not None else None,
            eums_denied=tuple(row["tenant_eums_denied"] or ()),
        ),
    )


def saip_version(text: str | None) -> tuple[int, int] | None:
    """`major.minor` as stored."""
    if text is None:
        return None
    major, minor = text.split(".")
    return int(major), int(minor)


def _set(values: list[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)


def _eid(digits: str | None) -> Eid | None:
    return Eid(digits) if digits else None


def _card(row: Row) -> CardReport | None:
    if row["order_card_state"] is None:
        return None
    state = CardState(row["order_card_state"])
    return CardReport(state=state, seq_number=row["order_card_seq"], at=row["order_card_at"])


def _binding(row: Row) -> Binding | None:
    if row["order_otsk_sealed"] is None:
        return None
    return Binding(
        euicc_otpk=row["order_euicc_otpk"],
        otsk_sealed=row["order_otsk_sealed"],
        host_id=row["order_host_id"],
        ci_key_id=row["order_ci_key_id"],
    )
