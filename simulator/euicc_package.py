"""eUICC packages as a card reads and answers them (SGP.32 2.11.1, 2.11.2; tag BF51)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from rsp import tlv
from simulator import der

TAG = 0xBF51
_EIM_ID, _EID, _COUNTER, _TRANSACTION_ID, _SEQUENCE = 0x80, 0x5A, 0x81, 0x82, 0x83
_PSMO_LIST, _ECO_LIST = 0xA0, 0xA1
_SIGNED_ARM, _ERROR_ARM, _UNSIGNED_ARM = 0xA0, 0xA1, 0xA2


class PackageError(IntEnum):
    """Why a package of a known eIM, rightly signed, is not executed."""

    INVALID_EID = 3
    REPLAY = 4
    COUNTER_OUT_OF_RANGE = 6
    SIZE_OVERFLOW = 15
    ECALL_ACTIVE = 104
    UNDEFINED = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class EuiccPackage:
    """A received package: the raw signed part and signature, and what identifies it.

    `transaction_id` is the raw object 82 or nothing; `commands` the PSMO list (A0) or eCO list (A1).
    """

    size: int
    signed: tlv.Tlv
    signature: tlv.Tlv
    eim_id: str
    eid: bytes
    counter: int
    transaction_id: bytes
    commands: tlv.Tlv

    @property
    def reference(self) -> Reference:
        """What an answer repeats of it."""
        return Reference(eim_id=self.eim_id, counter=self.counter, transaction_id=self.transaction_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What an answer repeats of its package; `transaction_id` is the raw object 82 or nothing."""

    eim_id: str
    counter: int
    transaction_id: bytes

    def to_bytes(self) -> bytes:
        """Members 80, 81, 82."""
        return eim_id_tlv(self.eim_id) + tlv.wrap_integer(_COUNTER, self.counter) + self.transaction_id


def parse(request: bytes) -> EuiccPackage:
    """Read a BF51 request; the commands inside stay unread. Raises ValueError."""
    outer = der.parse(request, TAG)
    found = der.members(outer, 0x30, 0x5F37)
    signed = found[0x30]
    order = (_EIM_ID, _EID, _COUNTER, _TRANSACTION_ID, _PSMO_LIST, _ECO_LIST)
    inner = der.members(signed, *order, optional=order[3:])
    lists = [inner[tag] for tag in (_PSMO_LIST, _ECO_LIST) if tag in inner]
    if len(lists) != 1:
        raise ValueError("a package holds a list of PSMOs or a list of eCOs")
    if _TRANSACTION_ID in inner:
        der.sized(inner[_TRANSACTION_ID], 1, 16)
    der.sized(inner[_EIM_ID], 1, 4 * 128)
    return EuiccPackage(
        size=len(request),
        signed=signed,
        signature=found[0x5F37],
        eim_id=der.text(inner[_EIM_ID], 128),
        eid=der.sized(inner[_EID], 16),
        counter=der.integer(inner[_COUNTER]),
        transaction_id=inner[_TRANSACTION_ID].raw if _TRANSACTION_ID in inner else b"",
        commands=lists[0],
    )


def eim_id_tlv(eim_id: str) -> bytes:
    """Member 80."""
    return tlv.wrap(_EIM_ID, eim_id.encode())


def result_data(reference: Reference, sequence: int, results: Iterable[bytes]) -> bytes:
    """EuiccPackageResultDataSigned (30), the part that is signed."""
    number = tlv.wrap_integer(_SEQUENCE, sequence)
    return tlv.wrap(0x30, reference.to_bytes(), number, tlv.wrap(0x30, *results))


def error_data(reference: Reference, code: PackageError) -> bytes:
    """EuiccPackageErrorDataSigned (30), the part that is signed."""
    return tlv.wrap(0x30, reference.to_bytes(), tlv.wrap_integer(0x02, code))


def signed_result(data: bytes, signature: bytes) -> bytes:
    """EuiccPackageResult BF51 with the result arm; `signature` is a 5F37 object."""
    return tlv.wrap(TAG, tlv.wrap(_SIGNED_ARM, data, signature))


def signed_error(data: bytes, signature: bytes) -> bytes:
    """EuiccPackageResult BF51 with the signed error arm; `signature` is a 5F37 object."""
    return tlv.wrap(TAG, tlv.wrap(_ERROR_ARM, data, signature))


def unsigned_error(package: EuiccPackage, token_tlv: bytes) -> bytes:
    """EuiccPackageResult BF51 with the unsigned error arm; `token_tlv` is 84 or nothing."""
    return tlv.wrap(TAG, tlv.wrap(_UNSIGNED_ARM, eim_id_tlv(package.eim_id), package.transaction_id, token_tlv))
