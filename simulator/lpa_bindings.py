"""The two spellings of ES9+ as an LPA writes and reads them: JSON, and ASN.1 (SGP.22 v2.5, 6.5.2, 6.6, annex H)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Protocol

from rsp import tlv
from rsp.identifiers import TransactionId
from rsp.status import Status
from simulator import der
from simulator.exchange import Answer, FunctionFailed, ProtocolFault, StatusCodes
from simulator.strict_json import check_head, read_reply, request_body, to_base64

Members = Mapping[str, str | bytes | TransactionId]
"""A request by the names of the JSON binding; bytes are the eUICC's raw TLVs, the challenge 16 raw bytes."""


class Reply(Protocol):
    """The members of a successful answer."""

    def transaction_id(self) -> TransactionId:
        """`transactionId`. Raises ProtocolFault."""
        ...

    def tlv(self, name: str, tag: int, size: int | None = None) -> bytes:
        """A raw TLV of `tag`, its value `size` bytes long when given. Raises ProtocolFault."""
        ...


class LpaBinding(Protocol):
    """How functions are spelt."""

    content_type: str

    def path(self, function: str) -> str:
        """Where the function is called."""
        ...

    def request(self, function: str, members: Members) -> bytes:
        """The body of a request."""
        ...

    def reply(self, function: str, answer: Answer, required: Collection[str]) -> Reply:
        """A successful answer of exactly the `required` members. Raises FunctionFailed, ProtocolFault."""
        ...

    def lost_session(self, failure: FunctionFailed) -> bool:
        """Whether the server does not know the session."""
        ...


class JsonBinding:
    """One path for each function, members in JSON (6.5)."""

    content_type = "application/json"

    def path(self, function: str) -> str:
        """Where the function is called."""
        return f"/gsma/rsp2/es9plus/{function}"

    def request(self, function: str, members: Members) -> bytes:  # noqa: ARG002 -- the path says the function
        """A JSON object: hexadecimal, text, base64."""
        return request_body(
            {name: to_base64(value) if isinstance(value, bytes) else str(value) for name, value in members.items()}
        )

    def reply(self, function: str, answer: Answer, required: Collection[str]) -> Reply:
        """The members beside the header."""
        return read_reply(function, answer, required)

    def lost_session(self, failure: FunctionFailed) -> bool:
        """8.10.1/3.9."""
        unknown = Status.TRANSACTION_UNKNOWN
        return (failure.codes.subject, failure.codes.reason) == (unknown.subject, unknown.reason)


_TAGS = {
    "initiateAuthentication": 0xBF39,
    "authenticateClient": 0xBF3B,
    "getBoundProfilePackage": 0xBF3A,
    "handleNotification": 0xBF3D,
    "cancelSession": 0xBF41,
}
_REQUEST_ORDER = ("euiccChallenge", "smdpAddress", "euiccInfo1")
"""InitiateAuthentication; the members of the others stand as in JSON."""

_ANSWER_MEMBERS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "initiateAuthentication": (
        ("transactionId", 0x80),
        ("serverSigned1", 0x30),
        ("serverSignature1", 0x5F37),
        ("euiccCiPKIdToBeUsed", 0x04),
        ("serverCertificate", 0x30),
    ),
    "authenticateClient": (
        ("transactionId", 0x80),
        ("profileMetadata", 0xBF25),
        ("smdpSigned2", 0x30),
        ("smdpSignature2", 0x5F37),
        ("smdpCertificate", 0x30),
    ),
    "getBoundProfilePackage": (("transactionId", 0x80), ("boundProfilePackage", 0xBF36)),
    "cancelSession": (),
}
_UNDEFINED = 127
_ERRORS: Mapping[str, Mapping[int, str]] = {
    "initiateAuthentication": {1: "invalidDpAddress", 2: "euiccVersionNotSupportedByDp", 3: "ciPKNotSupported"},
    "authenticateClient": {
        1: "eumCertificateInvalid",
        2: "eumCertificateExpired",
        3: "euiccCertificateInvalid",
        4: "euiccCertificateExpired",
        5: "euiccSignatureInvalid",
        6: "matchingIdRefused",
        7: "eidMismatch",
        8: "noEligibleProfile",
        9: "ciPKUnknown",
        10: "invalidTransactionId",
        11: "insufficientMemory",
    },
    "getBoundProfilePackage": {
        1: "euiccSignatureInvalid",
        2: "confirmationCodeMissing",
        3: "confirmationCodeRefused",
        4: "confirmationCodeRetriesExceeded",
        5: "bppRebindingRefused",
        6: "downloadOrderExpired",
        95: "invalidTransactionId",
    },
    "cancelSession": {1: "invalidTransactionId", 2: "euiccSignatureInvalid"},
}


class Asn1Binding:
    """One path for all functions, told apart by their tags inside A2 (6.6)."""

    content_type = "application/x-gsma-rsp-asn1"

    def path(self, function: str) -> str:  # noqa: ARG002 -- the tag says the function
        """The same for all."""
        return "/gsma/rsp2/asn1"

    def request(self, function: str, members: Members) -> bytes:
        """RemoteProfileProvisioningRequest."""
        names = [name for name in _REQUEST_ORDER if name in members] or list(members)
        return tlv.wrap(0xA2, tlv.wrap(_TAGS[function], *(_member(name, members[name]) for name in names)))

    def reply(self, function: str, answer: Answer, required: Collection[str]) -> Reply:
        """The one function inside A2, and in it the members of the alternative A0, or an error under 81."""
        check_head(function, answer, 200)
        if answer.headers.get("Content-Type", "") != self.content_type:
            raise ProtocolFault(function, f"Content-Type is not {self.content_type}")
        try:
            called = der.only_child(der.parse(answer.body, 0xA2))
            if called.tag != _TAGS[function]:
                raise ValueError(f"the answer is that of function {called.tag:X}")
            arm = der.only_child(called)
            if arm.tag == 0x81:
                raise FunctionFailed(function, _error(function, der.integer(arm)))
            if arm.tag != 0xA0:
                raise ValueError(f"the answer has no alternative {arm.tag:X}")
            return _Answer(function, arm, required)
        except ValueError as error:
            raise ProtocolFault(function, str(error)) from error

    def lost_session(self, failure: FunctionFailed) -> bool:
        """invalidTransactionId, whatever its number in the function."""
        return failure.codes.message == "invalidTransactionId"


def _member(name: str, value: str | bytes | TransactionId) -> bytes:
    if isinstance(value, TransactionId):
        return tlv.wrap(0x80, value.value)
    if isinstance(value, str):
        return tlv.wrap(0x83, value.encode())
    if name == "euiccChallenge":
        return tlv.wrap(0x81, value)
    if name == "pendingNotification":
        return tlv.wrap(0xA0, value)
    if name == "cancelSessionResponse":
        # The list has no tags of its own, so the member's automatic tag takes the place of the type's BF41.
        return tlv.wrap(0xA1, tlv.read_only(value, 0xBF41).value)
    return value


def _error(function: str, number: int) -> StatusCodes:
    name = _ERRORS[function].get(number, "undefinedError" if number == _UNDEFINED else "")
    if not name:
        raise ValueError(f"{number} is no error of this function")
    return StatusCodes(subject="", reason=str(number), message=name)


class _Answer:
    """The members of an alternative A0: exactly those of the standard, in its order."""

    def __init__(self, function: str, arm: tlv.Tlv, required: Collection[str]) -> None:
        expected = _ANSWER_MEMBERS[function]
        found = list(arm.children())
        if [child.tag for child in found] != [tag for _, tag in expected] or {name for name, _ in expected} != set(
            required
        ):
            raise ValueError("the answer does not hold exactly the members of the standard")
        self._function = function
        self._members = {name: child for (name, _), child in zip(expected, found, strict=True)}

    def transaction_id(self) -> TransactionId:
        """80."""
        try:
            return TransactionId(self._members["transactionId"].value)
        except ValueError as error:
            raise ProtocolFault(self._function, str(error)) from error

    def tlv(self, name: str, tag: int, size: int | None = None) -> bytes:
        """The member as it came."""
        found = self._members[name]
        if found.tag != tag or (size is not None and len(found.value) != size):
            raise ProtocolFault(self._function, f"{name} is not what the standard asks for")
        return found.raw


class Spelling(Enum):
    """The bindings by name."""

    JSON = "json"
    ASN1 = "asn1"


BINDINGS: Mapping[Spelling, LpaBinding] = MappingProxyType({Spelling.JSON: JsonBinding(), Spelling.ASN1: Asn1Binding()})
