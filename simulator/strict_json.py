"""Reads the JSON binding as the strictest client does: exactly the members of the standard (SGP.22 6.5.1, 6.5.2)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from rsp import tlv
from rsp.identifiers import TransactionId
from simulator.exchange import Answer, FunctionFailed, ProtocolFault, StatusCodes

_SUCCESS = frozenset({"Executed-Success", "Executed-WithWarning"})
_FAILURE = frozenset({"Failed", "Expired"})
_CODE = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_TRANSACTION_ID = re.compile(r"([0-9A-F]{2}){1,16}", re.ASCII)
# A common client keeps the message in a buffer of 128 bytes with its terminating zero.
_LONGEST_MESSAGE = 127
_JSON_TYPE = re.compile(r"application/json(\s*;\s*charset=utf-8)?", re.IGNORECASE)


class Body:
    """The members of one reply besides its header, read with their formats. `function` names the reply in faults."""

    def __init__(self, function: str, members: Mapping[str, Any]) -> None:
        self._function = function
        self._members = members

    def text(self, name: str) -> str:
        """A text member."""
        value = self._members[name]
        if not isinstance(value, str):
            raise ProtocolFault(self._function, f"{name} is not text")
        return value

    def optional_text(self, name: str) -> str | None:
        """A text member that may be absent."""
        return self.text(name) if name in self._members else None

    def objects(self, name: str) -> list[dict[str, object]]:
        """A list of objects."""
        value = self._members[name]
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise ProtocolFault(self._function, f"{name} is not a list of objects")
        return value

    def transaction_id(self) -> TransactionId:
        """`transactionId`: 1 to 16 bytes in upper-case hexadecimal."""
        text = self.text("transactionId")
        if not _TRANSACTION_ID.fullmatch(text):
            raise ProtocolFault(self._function, f"transactionId {text!r} is not 2 to 32 upper-case hexadecimal digits")
        return TransactionId.parse(text)

    def tlv(self, name: str, tag: int, size: int | None = None) -> bytes:
        """A binary member: padded base64 of one DER object of `tag`, its value `size` bytes long when given."""
        try:
            found = tlv.read_only(from_base64(self.text(name)), tag)
        except ValueError as error:
            raise ProtocolFault(self._function, f"{name}: {error}") from error
        if size is not None and len(found.value) != size:
            raise ProtocolFault(self._function, f"{name} holds {len(found.value)} bytes instead of {size}")
        return found.data


def from_base64(text: str) -> bytes:
    """The bytes of padded base64 (RFC 4648, 4). Raises ValueError for anything else, line breaks included."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"not padded base64: {error}") from error


def to_base64(value: bytes) -> str:
    """Padded base64 without line breaks."""
    return base64.b64encode(value).decode()


def request_body(members: Mapping[str, object]) -> bytes:
    """A JSON object as bytes."""
    return json.dumps(members, separators=(",", ":")).encode()


def load_object(data: bytes) -> dict[str, Any]:
    """A JSON object in ASCII without repeated members. Raises ValueError saying what is wrong."""
    if not data.isascii():
        raise ValueError("the body holds characters outside ASCII")
    try:
        found = json.loads(data, object_pairs_hook=_once_each)
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("the body is not a JSON object")
    return found


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member occurs twice")
    return found


def read_reply(function: str, answer: Answer, required: Collection[str], optional: Collection[str] = ()) -> Body:
    """The body of a successful reply: HTTP 200, JSON, a header, `required` members, perhaps `optional` ones, no other.

    Raises FunctionFailed when the header says so, ProtocolFault when the answer breaks the standard.
    """
    check_head(function, answer, 200)
    if not _JSON_TYPE.fullmatch(answer.headers.get("Content-Type", "")):
        raise ProtocolFault(function, f"Content-Type {answer.headers.get('Content-Type')!r} is not application/json")
    try:
        members = load_object(answer.body)
    except ValueError as error:
        raise ProtocolFault(function, str(error)) from error
    header = members.pop("header", None)
    if not isinstance(header, dict) or list(header) != ["functionExecutionStatus"]:
        raise ProtocolFault(function, "the header does not hold exactly functionExecutionStatus")
    failed = execution_status(function, header["functionExecutionStatus"])
    if failed is not None:
        check_members(function, members, (), ())
        raise FunctionFailed(function, failed)
    check_members(function, members, required, optional)
    return Body(function, members)


def check_accepted(function: str, answer: Answer) -> None:
    """Check the answer to a notification: exactly 204, no body, no announcement of one."""
    check_head(function, answer, 204)
    announced = answer.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in answer.headers
    if answer.body or announced:
        raise ProtocolFault(function, "an HTTP 204 carries a body")


def check_head(function: str, answer: Answer, status: int) -> None:
    """Check what every answer owes, whatever its binding: status, X-Admin-Protocol, no compression."""
    if answer.status != status:
        raise ProtocolFault(function, f"HTTP status {answer.status} instead of {status}")
    if not answer.headers.get("X-Admin-Protocol", "").startswith("gsma/rsp/v"):
        raise ProtocolFault(function, "X-Admin-Protocol: gsma/rsp/v<x.y.z> is missing from the answer")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise ProtocolFault(function, "the answer is compressed though nothing asked for it")


def check_members(
    function: str, found: Mapping[str, Any], required: Collection[str], optional: Collection[str]
) -> None:
    """Check that `found` has all `required` members, perhaps `optional` ones, and no other. Raises ProtocolFault."""
    missing = [name for name in required if name not in found]
    extra = [name for name in found if name not in required and name not in optional]
    if missing or extra:
        raise ProtocolFault(function, f"members missing: {missing}, members not of the standard: {extra}")


def execution_status(function: str, execution: object) -> StatusCodes | None:
    """The status codes of a failed functionExecutionStatus or notificationPointStatus, or None on success.

    Raises ProtocolFault.
    """
    if not isinstance(execution, dict):
        raise ProtocolFault(function, "the status is not an object")
    check_members(function, execution, ("status",), ("statusCodeData",))
    status = execution["status"]
    if not isinstance(status, str):
        raise ProtocolFault(function, "status is not text")
    if status in _FAILURE:
        return _codes(function, execution.get("statusCodeData"))
    if status not in _SUCCESS:
        raise ProtocolFault(function, f"status {status!r} is not one of the standard")
    if status == "Executed-Success" and "statusCodeData" in execution:
        raise ProtocolFault(function, "a success carries statusCodeData")
    return None


def _codes(function: str, data: object) -> StatusCodes:
    if not isinstance(data, dict):
        raise ProtocolFault(function, "a failure carries no statusCodeData")
    check_members(function, data, ("subjectCode", "reasonCode", "message"), ("subjectIdentifier",))
    body = Body(function, data)
    codes = StatusCodes(
        subject=body.text("subjectCode"),
        reason=body.text("reasonCode"),
        message=body.text("message"),
        subject_identifier=body.optional_text("subjectIdentifier") or "",
    )
    if not _CODE.fullmatch(codes.subject) or not _CODE.fullmatch(codes.reason):
        raise ProtocolFault(function, f"{codes.subject!r}/{codes.reason!r} are not dotted numbers")
    if not 0 < len(codes.message) <= _LONGEST_MESSAGE:
        raise ProtocolFault(function, f"a message of {len(codes.message)} characters: give 1 to {_LONGEST_MESSAGE}")
    return codes
