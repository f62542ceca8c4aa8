"""Writes that leave an audit row in the same commit, and that happen once for each request."""

from __future__ import annotations

from sqlalchemy import CTE, BigInteger, Column, Integer, Table, Text, bindparam, insert, literal, literal_column, select
from sqlalchemy import update as sql_update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert

from store.compiled import Statement, compiled
from store.tenancy_tables import audit
from tenancy.principal import Act

NOTE = compiled(
    insert(audit).values(
        kind=bindparam("act_kind", type_=Text),
        party_id=bindparam("act_party", type_=BigInteger),
        key_id=bindparam("act_key", type_=BigInteger),
        correlator=bindparam("act_correlator", type_=Text),
        action=bindparam("noted_action", type_=Text),
        subject=bindparam("noted_subject", type_=Text),
        detail=bindparam("noted_detail", type_=Text),
    )
)
"""A row for a write that another role has stored; takes `act_arguments`, too."""

_AUDITED = ("kind", "party_id", "key_id", "correlator", "action", "subject", "detail")
_WITHOUT = " - 'platform_secret_sealed' - 'smdp_key_sealed' - 'digest' - 'made_by'"


def addition(table: Table, names: tuple[str, ...]) -> Statement:
    """Adds a row of `names`, unless its `made_by` has one; returns what it added. Takes `act_arguments`, too."""
    values = {name: _new(table.c[name]) for name in (*names, "made_by")}
    made = postgresql_insert(table).values(values).on_conflict_do_nothing(index_elements=[table.c.made_by])
    return _told(table, made.returning(*table.c).cte("made"), "created")


def change(table: Table, names: tuple[str, ...]) -> Statement:
    """Replaces `names` of the row of `row_id` that still has `row_version`; returns it. Takes `act_arguments`, too."""
    changed = (
        sql_update(table)
        .where(
            table.c.id == bindparam("row_id", type_=BigInteger),
            table.c.version == bindparam("row_version", type_=Integer),
        )
        .values({name: _new(table.c[name]) for name in names} | {"version": table.c.version + 1})
        .returning(*table.c)
        .cte("made")
    )
    return _told(table, changed, "changed")


def new_arguments(values: dict[str, object]) -> dict[str, object]:
    """Parameters for the columns of an addition or a change."""
    return {f"new_{name}": value for name, value in values.items()}


def act_arguments(act: Act) -> dict[str, object]:
    """Parameters of the audit row."""
    return {
        "act_kind": act.principal.kind.value,
        "act_party": act.principal.party_id,
        "act_key": act.key_id,
        "act_correlator": act.correlator,
    }


def _new(column: Column[object]) -> object:
    return bindparam(f"new_{column.name}", type_=column.type)


def _told(table: Table, made: CTE, verb: str) -> Statement:
    told = insert(audit).from_select(
        list(_AUDITED),
        select(
            bindparam("act_kind", type_=Text),
            bindparam("act_party", type_=BigInteger),
            bindparam("act_key", type_=BigInteger),
            bindparam("act_correlator", type_=Text),
            literal(verb),
            literal(f"{table.name}/").concat(made.c.id.cast(Text)),
            literal_column(f"(to_jsonb(made){_WITHOUT})::text"),
        ).select_from(made),
    )
    return compiled(select(*made.c).add_cte(told.cte("told")))
