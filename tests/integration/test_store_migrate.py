"""Migrations: they lead to the schema that the tables describe, and back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import ProgrammingError

from rsp.errors import Unavailable
from store import inspection, migrate
from store.embedded import EmbeddedPostgres
from store.tables import metadata


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


def constraints(connection: Connection) -> set[tuple[str, str]]:
    """Check constraints and predicates of indexes, which Alembic does not compare."""
    rows = connection.execute(
        text(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace "
            "UNION SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        )
    )
    return {(row[0], row[1]) for row in rows if "alembic" not in row[0]}


def execute(database: str, statement: str) -> None:
    migrate.inspect(database, lambda connection: connection.execute(text(statement)))


def test_a_migrated_database_is_what_the_tables_say(database: str) -> None:
    assert migrate.inspect(database, differences) == []


def test_checks_and_index_predicates_are_the_same_too(database: str, empty_database: str) -> None:
    migrate.inspect(empty_database, metadata.create_all)
    assert migrate.inspect(database, constraints) == migrate.inspect(empty_database, constraints)


def test_a_fresh_database_has_no_revision_and_a_migrated_one_the_head(empty_database: str) -> None:
    assert migrate.current(empty_database) is None
    migrate.upgrade(empty_database)
    assert migrate.current(empty_database) == migrate.head()


def test_upgrading_twice_changes_nothing(database: str) -> None:
    migrate.upgrade(database)
    assert migrate.current(database) == migrate.head()


def test_two_servers_may_upgrade_at_once(empty_database: str) -> None:
    with ThreadPoolExecutor(2) as executor:
        list(executor.map(migrate.upgrade, [empty_database] * 2))
    assert migrate.inspect(empty_database, differences) == []


def test_going_down_leaves_nothing_behind(database: str) -> None:
    migrate.downgrade(database, "base")
    left = migrate.inspect(database, lambda connection: inspect(connection).get_table_names())
    functions = migrate.inspect(
        database,
        lambda connection: connection.scalar(
            text("SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
        ),
    )
    assert (left, functions) == (["alembic_version"], 0)


def test_an_absent_server_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="database_url"):
        migrate.current("postgresql://smdp@/smdp?host=/nonexistent")


def test_an_unknown_database_is_unavailable(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(Unavailable, match="does not exist"):
        migrate.current(postgres.dsn("unknown"))


def test_a_database_of_a_later_release_is_left_alone(database: str) -> None:
    execute(database, "UPDATE alembic_version SET version_num = '9'")
    with pytest.raises(migrate.SchemaTooNew, match="newer release"):
        migrate.upgrade(database)
    assert migrate.current(database) == "9"


def test_a_failing_upgrade_changes_nothing(empty_database: str) -> None:
    execute(empty_database, "CREATE TABLE outbox ()")
    with pytest.raises(ProgrammingError):
        migrate.upgrade(empty_database)
    tables = migrate.inspect(empty_database, lambda connection: inspect(connection).get_table_names())
    assert tables == ["outbox"]


def test_a_sound_database_has_no_problems(database: str) -> None:
    assert inspection.problems(database) == []
    assert inspection.status(database).is_current


def test_an_empty_database_is_to_be_upgraded(empty_database: str) -> None:
    assert inspection.problems(empty_database) == [
        f"the schema is at nothing, not {migrate.head()}: run smdp db upgrade"
    ]
    assert not inspection.status(empty_database).is_current


def test_a_schema_that_was_meddled_with_is_a_problem(database: str) -> None:
    execute(database, "ALTER TABLE orders DROP COLUMN host_id CASCADE")
    (problem,) = inspection.problems(database)
    assert "orders" in problem
    assert "host_id" in problem


def test_a_server_that_may_lose_commits_is_a_problem(database: str) -> None:
    name = database.partition("?")[0].rpartition("/")[2]
    execute(database, f"ALTER DATABASE {name} SET synchronous_commit = off")
    (problem,) = inspection.problems(database)
    assert "synchronous_commit is off" in problem
