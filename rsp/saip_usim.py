"""The files of the USIM element: subscriber, services, location (3GPP TS 31.102; template 2.23.143.1.2.4)."""

from __future__ import annotations

from collections.abc import Iterable

from rsp.personalisation import Personalisation, spn_bytes
from rsp.plmn import plmn_to_bytes
from rsp.saip_files import ARR_RECORD, TRANSPARENT, Access, Fcp, Key, access_rules, file, linear_fixed, rule_reference

_ARR = 0x6F06
_PUBLIC = Access(Key.ALWAYS, Key.ADM1)
_PRIVATE = Access(Key.PIN1, Key.ADM1)
_USER = Access(Key.PIN1, Key.PIN1)
_LOCKED = Access(Key.PIN1, Key.PIN2)
_BUSY = 0x80  # specialFileInformation: high update activity


def usim_files(person: Personalisation) -> Iterable[bytes]:
    """Every file of the template after the ADF, in order of tags: those left out would take rules we do not write."""
    yield from _subscriber_files(person)
    yield from _location_files(person)


def _transparent(
    tag: int, file_id: int, access: Access, content: bytes | None = None, *, size: int | None = None, special: int = 0
) -> bytes:
    rule = rule_reference(_ARR, access)
    return file(tag, Fcp(descriptor=TRANSPARENT, file_id=file_id, rule=rule, size=size, special=special), content)


def _records(
    tag: int,
    file_id: int,
    access: Access,
    shape: tuple[int, int],
    content: bytes | None = None,
    *,
    fill: bytes | None = None,
) -> bytes:
    """A linear fixed EF of `shape`: record size and number of records."""
    size, count = shape
    rule = rule_reference(_ARR, access)
    return file(
        tag, Fcp(descriptor=linear_fixed(size), file_id=file_id, rule=rule, size=size * count, fill=fill), content
    )


def _subscriber_files(person: Personalisation) -> Iterable[bytes]:
    rules = access_rules()
    services = _service_table(person)
    yield _transparent(0xA3, 0x6F07, _PRIVATE, _imsi(person.imsi))
    yield _records(0xA4, _ARR, _PUBLIC, (ARR_RECORD, len(rules)), b"".join(rules))
    yield _transparent(0xA5, 0x6F08, _USER, b"\x07" + b"\xff" * 32, special=_BUSY)
    yield _transparent(0xA6, 0x6F09, _USER, b"\x07" + b"\xff" * 32, special=_BUSY)
    yield _transparent(0xA7, 0x6F31, _PRIVATE, b"\x0a")
    yield _transparent(0xA8, 0x6F38, _PRIVATE, services, size=len(services))
    yield _records(0xA9, 0x6F3B, _LOCKED, (0x1C, 5))
    yield _records(0xAA, 0x6F3C, _USER, (0xB0, 10), fill=b"\x00\xff")
    yield _records(0xAB, 0x6F42, _USER, (0x2A, 2))
    yield _transparent(0xAC, 0x6F43, _USER)
    yield _transparent(0xAD, 0x6F46, _PUBLIC, b"\x01" + spn_bytes(person.service_provider_name))
    yield _transparent(0xAE, 0x6F56, _LOCKED, b"\x00")
    yield _transparent(0xAF, 0x6F5B, _USER, bytes.fromhex("f00000f00000"), special=_BUSY)
    yield _transparent(0xB0, 0x6F5C, _PRIVATE, bytes.fromhex("ffffff"))


def _location_files(person: Personalisation) -> Iterable[bytes]:
    # The home network, location area FFFE (no valid one) and status 1: not updated.
    home = plmn_to_bytes(person.imsi[: 3 + person.mnc_digits])
    area = home + bytes.fromhex("fffe")
    yield _transparent(0xB1, 0x6F73, _USER, b"\xff" * 7 + area + b"\xff\x01", special=_BUSY)
    yield _transparent(0xB2, 0x6F78, _PRIVATE, (1 << int(person.imsi[-1])).to_bytes(2, "big"))
    yield _transparent(0xB3, 0x6F7B, _USER)
    yield _transparent(0xB4, 0x6F7E, _USER, b"\xff" * 4 + area + b"\xff\x01", special=_BUSY)
    yield _transparent(0xB5, 0x6FAD, _PUBLIC, bytes((0, 0, 0, person.mnc_digits)))
    yield _records(0xB6, 0x6FB7, _PUBLIC, (4, 2), bytes.fromhex("11f2ff0019f1ff00"))
    yield _transparent(0xB7, 0x6FC4, _USER, size=0x32, special=_BUSY)
    yield _transparent(0xB8, 0x6FE3, _USER, b"\xff" * 12 + area + b"\x01", special=_BUSY)
    yield _records(0xB9, 0x6FE4, _USER, (0x36, 1))


def _service_table(person: Personalisation) -> bytes:
    """EF UST: fixed dialling (2), SMS (10, 12), name (19), EST (34), EPS mobility (85); 28 is remote management."""
    services = {2, 10, 12, 19, 33, 34, 85} | ({28} if person.ota_keys else set())
    return sum(1 << (number - 1) for number in services).to_bytes(11, "little")


def _imsi(digits: str) -> bytes:
    nibbles = ("9" if len(digits) % 2 else "1") + digits
    nibbles += "f" * (len(nibbles) % 2)
    coded = bytes.fromhex("".join(nibbles[place + 1] + nibbles[place] for place in range(0, len(nibbles), 2)))
    return bytes((len(coded),)) + coded.ljust(8, b"\xff")
