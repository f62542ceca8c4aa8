"""The JSON binding's own forms: base64 members and the header of an answer (SGP.22 v2.5, 6.5.1)."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

import msgspec

from rsp.errors import Malformed
from rsp.status import Status

_WHITESPACE = b" \t\r\n"
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_LONGEST_MESSAGE = 127


class Execution(StrEnum):
    """How a function ended, in the spelling of functionExecutionStatus."""

    SUCCESS = "Executed-Success"
    WITH_WARNING = "Executed-WithWarning"
    FAILED = "Failed"
    EXPIRED = "Expired"


class _StatusCodeData(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    subject_code: str
    reason_code: str
    subject_identifier: str = ""
    message: str


class _FunctionExecutionStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    status: str
    status_code_data: _StatusCodeData | None = None


class _Header(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    function_execution_status: _FunctionExecutionStatus


def decode_base64(text: str, member: str) -> bytes:
    """Bytes of a base64 member (RFC 4648 section 4, padded). White space and line breaks are accepted.

    Raises Malformed naming `member`; the text itself is never repeated.
    """
    if len(text) % 4 == 0 and "=" not in text[:-2]:
        with suppress(msgspec.ValidationError):  # As nearly everybody sends it; this alone allows too much padding.
            return msgspec.convert(text, type=bytes)
    packed = text.encode("ascii", "replace").translate(None, _WHITESPACE)
    if len(packed) % 4 or not _BASE64.fullmatch(packed):
        raise Malformed(f"{member} is not base64: send RFC 4648 section 4, with padding")
    return binascii.a2b_base64(packed)


def encode_base64(data: bytes) -> str:
    """Base64 with padding, on one line."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


base64_json: Callable[[bytes], bytes] = msgspec.json.Encoder().encode
"""The same as a JSON string with its quotation marks, for an answer that is put together of bytes."""


def _ascii(text: str) -> str:
    """Plain ASCII: some clients keep messages in narrow buffers and know no other character set."""
    return text.encode("ascii", "replace").decode("ascii")


def execution_header(execution: Execution = Execution.SUCCESS) -> bytes:
    """JSON value of the `header` member of an answer that is no failure; it carries no statusCodeData."""
    if execution is Execution.FAILED:
        raise ValueError("a failure carries a status code: use failure_header")
    return msgspec.json.encode(_Header(function_execution_status=_FunctionExecutionStatus(status=execution.value)))


def failure_header(status: Status, detail: str = "", subject_identifier: str = "") -> bytes:
    """JSON value of the `header` member of a refusal.

    `detail` replaces the message of `status` where given. A message is ASCII and shorter than 128 characters, because
    a widespread LPA keeps it in a buffer of that size; `subject_identifier` is left out when empty.
    """
    data = _StatusCodeData(
        subject_code=status.subject,
        reason_code=status.reason,
        subject_identifier=_ascii(subject_identifier),
        message=_ascii(detail or status.message)[:_LONGEST_MESSAGE],
    )
    failed = _FunctionExecutionStatus(status=Execution.FAILED.value, status_code_data=data)
    return msgspec.json.encode(_Header(function_execution_status=failed))
