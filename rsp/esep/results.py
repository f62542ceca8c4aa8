"""The eUICC's answers to a package: signed results, signed errors, errors nobody signed (SGP.32 v1.2, 2.11.2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from rsp import tlv
from rsp.errors import Malformed
from rsp.es10.members import in_order, integer, member
from rsp.esep.members import eim_id, optional_number, optional_transaction_id, result_code, signature_value
from rsp.esep.profiles import ProfileList, ProfileListError, profile_list
from rsp.identifiers import TransactionId
from rsp.tlv import Tlv


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableResult:
    """enableResult, an `EnableCode` where named."""

    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableResult:
    """disableResult, a `DisableCode` where named."""

    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteResult:
    """deleteResult, a `DeleteCode` where named."""

    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackResult:
    """rollbackResult, a `RollbackCode` where named: the card went back to the profile before."""

    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingTerminated:
    """processingTerminated, a `TerminationCode` where named: what followed was not executed."""

    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherResult:
    """The result of a command this project does not send: its tag, and the whole TLV as received."""

    tag: int
    raw: bytes


CommandResult = (
    EnableResult
    | DisableResult
    | DeleteResult
    | ProfileList
    | ProfileListError
    | RollbackResult
    | ProcessingTerminated
    | OtherResult
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageResult:
    """EuiccPackageResultSigned. `signed` is its data as received, `results` are in the order of the commands.

    Results missing at the end belong to commands that were not executed.
    """

    signed: bytes
    signature: bytes
    eim_id: str
    counter: int
    transaction_id: TransactionId | None
    seq_number: int
    results: tuple[CommandResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageErrorSigned:
    """EuiccPackageErrorSigned. `signed` is its data as received, `code` a `PackageErrorCode` where named."""

    signed: bytes
    signature: bytes
    eim_id: str
    counter: int
    transaction_id: TransactionId | None
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageErrorUnsigned:
    """EuiccPackageErrorUnsigned: anybody can write one, so it says nothing that may change a state."""

    eim_id: str
    transaction_id: TransactionId | None
    token: int | None


PackageAnswer = PackageResult | PackageErrorSigned | PackageErrorUnsigned


def parse_package_result(data: bytes) -> PackageAnswer:
    """Read an EuiccPackageResult (BF51), with the tags of its alternatives or without. Raises Malformed."""
    found = tlv.read(data)
    if found.end != len(data):
        raise Malformed(f"{len(data) - found.end} bytes follow the result of a package: send exactly one")
    return package_answer(found)


def package_answer(found: Tlv) -> PackageAnswer:
    """The answer in a BF51, or in the bare alternative that lists of v1.0.1 hold."""
    content = package_content(found)
    members = content.members()
    if 0x5F37 not in members:
        return PackageErrorUnsigned(
            eim_id=eim_id(members),
            transaction_id=optional_transaction_id(members, 0x82),
            token=optional_number(members, 0x84, "associationToken"),
        )
    signed, signature = in_order(content, (0x30, "the signed data"), (0x5F37, "the signature of the eUICC"))
    # The tag of the alternative is not signed and some devices leave it out, so the signed data says what it is.
    if 0x30 in signed.members():
        return _package_result(signed, signature_value(signature))
    return _package_error(signed, signature_value(signature))


def package_content(found: Tlv) -> Tlv:
    """The object around the data and its signature: an alternative tagged A0 to A2 or 30, or `found` itself."""
    if found.tag not in (0xBF51, 0xA0, 0xA1, 0xA2, 0x30):
        raise Malformed(f"the result of a package has tag BF51, not {found.tag:X}")
    children = list(found.children())
    if len(children) == 1 and children[0].tag in (0xA0, 0xA1, 0xA2, 0x30):
        return children[0]
    return found


def _package_result(signed: Tlv, signature: bytes) -> PackageResult:
    members = signed.members()
    return PackageResult(
        signed=signed.raw,
        signature=signature,
        eim_id=eim_id(members),
        counter=integer(members, 0x81, "counterValue"),
        transaction_id=optional_transaction_id(members, 0x82),
        seq_number=integer(members, 0x83, "seqNumber"),
        results=tuple(map(_command_result, member(members, 0x30, "euiccResult").children())),
    )


def _package_error(signed: Tlv, signature: bytes) -> PackageErrorSigned:
    members = signed.members()
    return PackageErrorSigned(
        signed=signed.raw,
        signature=signature,
        eim_id=eim_id(members),
        counter=integer(members, 0x81, "counterValue"),
        transaction_id=optional_transaction_id(members, 0x82),
        code=result_code(member(members, 0x02, "euiccPackageErrorCode"), "euiccPackageErrorCode"),
    )


_Coded = EnableResult | DisableResult | DeleteResult | RollbackResult | ProcessingTerminated

_CODED: dict[int, type[_Coded]] = {
    0x83: EnableResult,
    0x84: DisableResult,
    0x85: DeleteResult,
    0x8C: RollbackResult,
    0x02: ProcessingTerminated,
}


def _command_result(found: Tlv) -> CommandResult:
    if found.tag == 0xBF2D:
        return profile_list(found)
    kind = _CODED.get(found.tag)
    if kind is None:
        return OtherResult(tag=found.tag, raw=found.raw)
    return kind(code=result_code(found, kind.__name__))
