"""Structured logs on standard error: one JSON object a line, named by ids, never holding content or secrets."""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from enum import Enum
from pathlib import PurePath
from types import TracebackType
from typing import TextIO
from uuid import UUID

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "***"

# Names of values that open something. A MatchingID and an activation code let their bearer download a profile.
_SECRET_NAME = re.compile(
    r"pass(phrase|word|wd)?$|secret|token|credential|authorization|cookie|private|(^|_)dsn$|database_url|otsk|(^|_)pin$"
    r"|(^|_|api)keys?$|confirmation_code|matching_?id|activation_code",
    re.IGNORECASE,
)
_PLAIN = (str, int, float, bool, type(None))
_READABLE = (datetime, date, UUID, PurePath)
_DEEPEST = 4
_CHATTY = ("alembic",)
"""Libraries whose everyday records are of use to a developer only."""


def configure(level: str = "info", form: str = "json", stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's records through one chain to `stream` (standard error).

    `level` is debug, info, warning or error; `form` is json or console.
    """
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _signed,
        tell_exception,
        withhold,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        # What the level leaves out is dropped before the other processors spend time on it.
        processors=[structlog.stdlib.filter_by_level, *chain, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.addFilter(_withhold_arguments)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=chain,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for one part of the product; `name` is its module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


@contextmanager
def bound(**ids: object) -> Iterator[None]:
    """Put ids (transaction_id, order_id, request_id) on every record made inside the block, also in its tasks."""
    with structlog.contextvars.bound_contextvars(**ids):
        yield


def _signed(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Processor: says which process speaks."""
    event["pid"] = os.getpid()
    return event


def tell_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Processor: where an exception came from and of what class it is, without its words.

    The words of a driver or a parser may repeat the row or the request they failed on, and that may hold a secret.
    """
    found = event.pop("exc_info", None)
    if found is True or (isinstance(found, tuple) and found):
        found = sys.exc_info()[1] if found is True else found[1]
    if isinstance(found, BaseException):
        event["exception"] = "\n".join(_told(found, 0))
    return event


def _told(error: BaseException, depth: int) -> Iterator[str]:
    """The lines about one exception, those about what caused it first, as a traceback has them."""
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if depth < _DEEPEST and earlier is not None:
        yield from _told(earlier, depth + 1)
        yield "which led to"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
    code = getattr(error, "sqlstate", None) or getattr(error, "errno", None)
    yield f"{type(error).__module__}.{type(error).__qualname__}" + (f" ({code})" if code else "")
    if isinstance(error, BaseExceptionGroup) and depth < _DEEPEST:
        for part in error.exceptions:
            yield "of which"
            yield from _told(part, depth + 1)


def report_crash(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """`sys.excepthook` of a process: what ends it is told like everything else, on one line and without its words."""
    get("server").critical("process failed", exc_info=error)


def withhold(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Processor: drops values of keys that name secrets, bytes, and objects that do not say how they read."""
    return {key: value if key.startswith("_") else _safe(key, value, 0) for key, value in event.items()}


def _safe(key: str, value: object, depth: int) -> object:
    if _SECRET_NAME.search(key):
        return REDACTED
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes withheld>"
    return _safe_object(key, value, depth)


def _safe_object(key: str, value: object, depth: int) -> object:
    if depth >= _DEEPEST:
        return "<too deep>"
    if isinstance(value, Mapping):
        return {str(name): _safe(str(name), item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_safe(key, item, depth + 1) for item in value]
    if isinstance(value, _READABLE) or _has_own_text(value):
        return str(value)
    return f"<{type(value).__name__} withheld>"


def _has_own_text(value: object) -> bool:
    """Whether the class says itself how it reads: a plain `repr` would show every field, secret or not."""
    return type(value).__str__ is not object.__str__


def _withhold_arguments(record: logging.LogRecord) -> bool:
    """The same care for the arguments of a standard library record, before they are put into its message."""
    if isinstance(record.args, Mapping):
        record.args = {str(key): _safe(str(key), value, 0) for key, value in record.args.items()}
    elif record.args:
        record.args = tuple(_argument(value) for value in record.args)
    return True


def _argument(value: object) -> object:
    return _safe("", value, 0) if isinstance(value, bytes | bytearray | memoryview) else value
