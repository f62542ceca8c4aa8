"""What an exception of the driver means to the roles: a lost race, or a database that is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from rsp.errors import Unavailable
from smdp.ports import TransitionLost

_NOT_AS_EXPECTED = "SM001"
"""SQLSTATE of the function require_rows, made by the first migration."""

_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DiskFullError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    # The driver's state machine stumbles over a connection that breaks at the very moment it is used.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
RACES = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""PostgreSQL gave up one of two transactions that stood in each other's way; doing it again is safe."""


def meaning(error: BaseException) -> Exception | None:
    """What a role is told in place of what the driver raised; None when it is our bug and stays as it is."""
    if isinstance(error, _AWAY):
        return Unavailable(f"the database is away: {type(error).__name__}")
    if isinstance(error, asyncpg.InterfaceError):
        # The driver has one class for a closed connection and for a wrong call of ours; a wrong value is a ValueError.
        # A connection of a pool that dies between two statements is said to have been released.
        if isinstance(error, ValueError) or not any(word in str(error) for word in ("clos", "released")):
            return None
        return Unavailable("the connection to the database was lost")
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate == _NOT_AS_EXPECTED:
        return TransitionLost("a row is not in the expected state")
    return None


@contextmanager
def translated() -> Iterator[None]:
    """Raises TransitionLost and Unavailable in place of what the driver raises; everything else is our bug."""
    try:
        yield
    except Exception as error:
        meant = meaning(error)
        if meant is None:
            raise
        raise meant from (None if isinstance(meant, TransitionLost) else error)
