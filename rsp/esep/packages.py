"""What the eIM signs for an eUICC: packages of profile state management operations (SGP.32 v1.2, 2.11.1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rsp import tlv
from rsp.errors import Malformed
from rsp.es10.signed import signature_object
from rsp.esep.members import checked_eim_id, wrap_text
from rsp.identifiers import Eid, Iccid, TransactionId

MAX_COUNTER = 8_388_607


@dataclass(frozen=True, slots=True, kw_only=True)
class Enable:
    """Enable a profile; with `rollback` the device may go back to the one before if the result reaches nobody."""

    iccid: Iccid
    rollback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Disable:
    """Disable the enabled profile."""

    iccid: Iccid


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete a disabled profile."""

    iccid: Iccid


@dataclass(frozen=True, slots=True, kw_only=True)
class ListProfileInfo:
    """Tell the profiles on the card. `tags` are the members wanted, one after another; none means the usual ones."""

    tags: bytes = b""


Psmo = Enable | Disable | Delete | ListProfileInfo


def euicc_package_signed(
    *, eim_id: str, eid: Eid, counter: int, transaction_id: TransactionId, commands: Sequence[Psmo]
) -> bytes:
    """EuiccPackageSigned (2.11.1.1), the object an eIM signs; the commands are executed in their order.

    `counter` is greater than every one this eIM signed for this eUICC before. Raises Malformed when it is out of the
    range of cards, when there is no command, or when `eim_id` is not 1 to 128 characters.
    """
    if not 0 <= counter <= MAX_COUNTER:
        raise Malformed(f"the counter {counter} of an eUICC package is not 0 to {MAX_COUNTER}: repair it by updateEim")
    if not commands:
        raise Malformed("an eUICC package holds at least one command")
    return tlv.wrap(
        0x30,
        wrap_text(0x80, checked_eim_id(eim_id), "eimId"),
        tlv.wrap(0x5A, eid.to_bytes()),
        tlv.wrap_integer(0x81, counter),
        tlv.wrap(0x82, transaction_id.value),
        tlv.wrap(0xA0, *map(_command, commands)),
    )


def _command(command: Psmo) -> bytes:
    match command:
        case Enable(iccid=iccid, rollback=rollback):
            return tlv.wrap(0xA3, _iccid(iccid), b"\x05\x00" if rollback else b"")
        case Disable(iccid=iccid):
            return tlv.wrap(0xA4, _iccid(iccid))
        case Delete(iccid=iccid):
            return tlv.wrap(0xA5, _iccid(iccid))
        case ListProfileInfo(tags=tags):
            return tlv.wrap(0xBF2D, tlv.wrap(0x5C, tags) if tags else b"")


def _iccid(iccid: Iccid) -> bytes:
    return tlv.wrap(0x5A, iccid.to_bytes())


def euicc_package_signature_input(signed: bytes, token: int | None) -> bytes:
    """What eimSignature is computed over (2.11.1.1): the package, then the association token, 0 if there is none."""
    return signed + _association_token(token)


def package_result_signature_input(signed: bytes, token: int | None) -> bytes:
    """What the eUICC signs of a result or a signed error (2.11.2.1): the data as received and the association token."""
    return signed + _association_token(token)


def package_result_signature_input_1_0(signed: bytes, eim_signature: bytes) -> bytes:
    """The same in SGP.32 v1.0.1: the data as received and our signature of the package it answers, 64 bytes."""
    return signed + signature_object(eim_signature)


def _association_token(token: int | None) -> bytes:
    return tlv.wrap_integer(0x84, token or 0)


def euicc_package_request(signed: bytes, signature: bytes) -> bytes:
    """EuiccPackageRequest (BF51, 2.11.1.1): EuiccPackageSigned and its signature of 64 bytes, r and s side by side."""
    return tlv.wrap(0xBF51, signed, signature_object(signature))
