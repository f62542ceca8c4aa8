"""Statements of SQLAlchemy Core as asyncpg takes them: SQL with `$n`, made once at import, and its names in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, ClauseElement
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.sql.compiler import SQLCompiler


class _Compiler(asyncpg.PGCompiler_asyncpg):
    """Writes constants of a statement into its text, so that PostgreSQL can plan with them; named parameters stay."""

    def visit_bindparam(self, bindparam: BindParameter[Any], *args: Any, **kw: Any) -> str:
        kw["literal_binds"] = kw.get("literal_binds", False) or not bindparam.required
        return str(super().visit_bindparam(bindparam, *args, **kw))  # type: ignore[no-untyped-call]  # not typed there


_DIALECT = asyncpg.dialect()  # type: ignore[no-untyped-call]  # its constructor is not typed
_DIALECT.statement_compiler = _Compiler


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text with numbered parameters, and the name of each in order.

    One that is `planned_by_values` is planned anew at each call, for the values it is given; see `store.pool`.
    """

    sql: str
    names: tuple[str, ...]
    planned_by_values: bool = False

    def arguments(self, values: dict[str, object]) -> list[object]:
        """The values in the order of their numbers. A missing or surplus name is our bug and raises KeyError."""
        if len(values) != len(self.names):
            raise KeyError(f"parameters {sorted(set(self.names) ^ set(values))} are missing or not known")
        return [values[name] for name in self.names]


def compiled(statement: ClauseElement, *, planned_by_values: bool = False) -> Statement:
    """`statement` compiled for asyncpg; its bound parameters, each of which needs a name, become the arguments."""
    made = statement.compile(dialect=_DIALECT)
    assert isinstance(made, SQLCompiler)
    return Statement(str(made), tuple(made.positiontup or ()), planned_by_values)
