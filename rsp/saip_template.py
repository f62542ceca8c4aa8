"""Makes a small complete profile package from personal data: one USIM with Milenage (TCA Interoperable Profile 2.3).

The elements follow the order of the GSMA TS.48 test profile; file contents follow 3GPP TS 31.102.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from rsp import tlv
from rsp.personalisation import OtaKeys, Personalisation
from rsp.saip import SERVICES
from rsp.saip_files import (
    ARR_RECORD,
    DIRECTORY,
    TRANSPARENT,
    Access,
    Fcp,
    Key,
    access_rules,
    file,
    linear_fixed,
    rule_reference,
)
from rsp.saip_usim import usim_files

_MF_TEMPLATE = "2.23.143.1.2.1"
_USIM_TEMPLATE = "2.23.143.1.2.4"
_MF_ARR = 0x2F06
_USIM_AID = bytes.fromhex("a0000000871002ffffffff89")
_FILLER_DIRECTORY = 0x7F40  # reserved for the issuer's administrative files (3GPP TS 51.011, 6.6)
_FILLER_SIZE = 1000
# Wanted of every remote command: cryptographic checksum, ciphering, a counter that is higher (ETSI TS 102 225, SPI).
_SECURITY_LEVEL = bytes.fromhex("16")

_PUBLIC = Access(Key.ALWAYS, Key.ADM1)
_FIXED = Access(Key.ALWAYS, Key.NEVER)
_LANGUAGE = Access(Key.ALWAYS, Key.PIN1)


def generate(person: Personalisation) -> bytes:
    """The profile package in DER: elements from header to end, all mandated, numbered from 1."""
    makers: list[tuple[int, Callable[[Personalisation], bytes]]] = [
        (0xB0, _mf),
        (0xA3, _puk_codes),
        (0xA2, _global_pins),
        (0xB3, _usim),
        (0xA2, _local_pins),
        (0xA4, _aka),
    ]
    if person.padding:
        makers.append((0xA1, _filler))
    makers.append((0xA6, _security_domain))
    if person.ota_keys:
        makers += [(0xA7, _rfm_uicc), (0xA7, _rfm_usim)]
    makers.append((0xAA, lambda _: b""))
    elements = (tlv.wrap(tag, _pe_header(number), make(person)) for number, (tag, make) in enumerate(makers, start=1))
    return b"".join((_header(person), *elements))


def _pe_header(number: int) -> bytes:
    return tlv.wrap(0xA0, tlv.wrap(0x80), tlv.wrap_integer(0x81, number))


def _template(oid: str) -> bytes:
    return tlv.wrap(0x81, tlv.oid_to_bytes(oid))


def _header(person: Personalisation) -> bytes:
    # The ICCID of the header is in reading order, that of EF ICCID has swapped nibbles.
    iccid = bytes.fromhex(person.iccid.digits.ljust(20, "f"))
    services = (tlv.wrap(0x80 | SERVICES.index(name)) for name in ("usim", "milenage"))
    templates = (tlv.wrap(0x06, tlv.oid_to_bytes(oid)) for oid in (_MF_TEMPLATE, _USIM_TEMPLATE))
    return tlv.wrap(
        0xA0,
        tlv.wrap_integer(0x80, 2),
        tlv.wrap_integer(0x81, 3),
        tlv.wrap(0x82, person.profile_type.encode()),
        tlv.wrap(0x83, iccid),
        tlv.wrap(0xA5, *services),
        tlv.wrap(0xA6, *templates),
    )


def _mf(person: Personalisation) -> bytes:
    directory = rule_reference(_MF_ARR, None)
    rules = b"".join(access_rules())
    entry = tlv.wrap(0x61, tlv.wrap(0x4F, _USIM_AID), tlv.wrap(0x50, b"USIM"))

    def rule(access: Access) -> bytes:
        return rule_reference(_MF_ARR, access)

    return b"".join(
        (
            _template(_MF_TEMPLATE),
            file(0xA2, Fcp(rule=directory, pin_status=bytes((Key.PIN1.value, Key.ADM1.value)))),
            file(0xA3, Fcp(descriptor=TRANSPARENT, file_id=0x2F05, rule=rule(_LANGUAGE), size=2), b"en"),
            file(0xA4, Fcp(descriptor=TRANSPARENT, file_id=0x2FE2, rule=rule(_FIXED)), person.iccid.to_bytes()),
            file(0xA5, Fcp(descriptor=linear_fixed(0x21), file_id=0x2F00, rule=rule(_PUBLIC), size=0x21), entry),
            file(
                0xA6,
                Fcp(descriptor=linear_fixed(ARR_RECORD), file_id=_MF_ARR, rule=rule(_PUBLIC), size=len(rules)),
                rules,
            ),
            file(0xA7, Fcp(descriptor=TRANSPARENT, file_id=0x2F08, rule=rule(_PUBLIC)), bytes.fromhex("3c3c000000")),
        )
    )


def _puk_codes(person: Personalisation) -> bytes:
    codes = ((0x01, person.puk1), (0x81, person.puk2))
    return tlv.wrap(
        0xA1, *(tlv.wrap(0x30, tlv.wrap_integer(0x80, key), tlv.wrap(0x81, puk.encode())) for key, puk in codes)
    )


def _pin(key: Key, value: bytes, *more: bytes) -> bytes:
    return tlv.wrap(0x30, tlv.wrap_integer(0x80, key.value), tlv.wrap(0x81, value.ljust(8, b"\xff")), *more)


def _global_pins(person: Personalisation) -> bytes:
    # PIN1 starts disabled and may be switched on by the user; ADM1 is on for good, with ten attempts.
    pin1 = _pin(Key.PIN1, person.pin1.encode(), tlv.wrap_integer(0x82, 0x01), tlv.wrap_integer(0x83, 6))
    adm1 = _pin(Key.ADM1, person.adm1, tlv.wrap_integer(0x83, 3), tlv.wrap_integer(0x84, 0xAA))
    return tlv.wrap(0xA1, tlv.wrap(0xA0, pin1, adm1))


def _local_pins(person: Personalisation) -> bytes:
    pin2 = _pin(Key.PIN2, person.pin2.encode(), tlv.wrap_integer(0x82, 0x81), tlv.wrap_integer(0x83, 3))
    return tlv.wrap(0xA1, tlv.wrap(0xA0, pin2))


def _usim(person: Personalisation) -> bytes:
    keys = bytes((Key.PIN2.value, Key.PIN1.value, Key.ADM1.value))
    adf = Fcp(file_id=0x7FD0, df_name=_USIM_AID, rule=rule_reference(_MF_ARR, None), pin_status=keys)
    return b"".join((_template(_USIM_TEMPLATE), file(0xA2, adf), *usim_files(person)))


def _aka(person: Personalisation) -> bytes:
    # Option 1 is a response of 64 bits. Rotations, constants and sequence numbers are the defaults of the standard.
    algorithm = (
        tlv.wrap_integer(0x80, 1),
        tlv.wrap(0x81, b"\x01"),
        tlv.wrap(0x82, person.ki),
        tlv.wrap(0x83, person.opc),
    )
    return tlv.wrap(0xA1, tlv.wrap(0xA1, *algorithm))


def _filler(person: Personalisation) -> bytes:
    directory = Fcp(
        descriptor=DIRECTORY,
        file_id=_FILLER_DIRECTORY,
        rule=rule_reference(_MF_ARR, None),
        pin_status=bytes((Key.PIN1.value, Key.ADM1.value)),
    )
    commands = [
        tlv.wrap(0x80),
        tlv.wrap(0x62, directory.encode()),
        tlv.wrap(0x80, _FILLER_DIRECTORY.to_bytes(2, "big")),
    ]
    content = hashlib.shake_128(person.iccid.digits.encode()).digest(person.padding)
    for place in range(0, person.padding, _FILLER_SIZE):
        part = content[place : place + _FILLER_SIZE]
        fcp = Fcp(
            descriptor=TRANSPARENT,
            file_id=0x6F01 + place // _FILLER_SIZE,
            rule=rule_reference(_MF_ARR, _PUBLIC),
            size=len(part),
            short_id=b"",
        )
        commands += [tlv.wrap(0x62, fcp.encode()), tlv.wrap(0x81, part)]
    return tlv.wrap(0xA1, tlv.wrap(0x30, *commands))


def _security_domain(person: Personalisation) -> bytes:
    # Load file, module and instance of the operator's security domain, and its toolkit parameters with TAR B20100.
    toolkit = bytes.fromhex("0100000000000201") + _SECURITY_LEVEL + bytes.fromhex("06b2010000000000")
    instance = (
        tlv.wrap(0x4F, bytes.fromhex("a0000001515350")),
        tlv.wrap(0x4F, bytes.fromhex("a000000151535041")),
        tlv.wrap(0x4F, bytes.fromhex("a000000151000000")),
        tlv.wrap(0x82, bytes.fromhex("82dc00")),
        tlv.wrap(0x83, b"\x0f"),
        tlv.wrap(0xC9, bytes.fromhex("810280008201f08301f08701f0")),
        tlv.wrap(0xEA, tlv.wrap(0x80, toolkit)),
    )
    keys = tlv.wrap(0xA2, *_key_list(person.ota_keys)) if person.ota_keys else b""
    return b"".join((tlv.wrap(0xA1, *instance), keys, tlv.wrap(0xA3, tlv.wrap(0x04, _recognition_data()))))


def _key_list(keys: OtaKeys) -> Iterable[bytes]:
    # Use: 18 ciphering, 14 checksum, 48 key encryption; type 88 is AES (GlobalPlatform 11.1.8 and 11.1.9).
    for identifier, (usage, key) in enumerate(((0x18, keys.kic), (0x14, keys.kid), (0x48, keys.kik)), start=1):
        component = tlv.wrap(0x30, tlv.wrap(0x80, b"\x88"), tlv.wrap(0x86, key))
        yield tlv.wrap(
            0x30,
            tlv.wrap(0x95, bytes((usage,))),
            tlv.wrap(0x82, bytes((identifier,))),
            tlv.wrap(0x83, b"\x01"),
            tlv.wrap(0x30, component),
        )


def _recognition_data() -> bytes:
    """STORE DATA block 0070 with the card recognition data (GlobalPlatform H.2): version 2.2, SCP80 alone."""
    root = bytes.fromhex("2a864886fc6b")
    # The last arcs are the protocol number as GlobalPlatform writes it, which is not how X.690 would write 128.
    protocol = tlv.wrap(0x64, tlv.wrap(0x06, root + bytes.fromhex("048000")))
    data = tlv.wrap(
        0x73,
        tlv.wrap(0x06, root + b"\x01"),
        tlv.wrap(0x60, tlv.wrap(0x06, root + bytes.fromhex("020202"))),
        tlv.wrap(0x63, tlv.wrap(0x06, root + b"\x03")),
        protocol,
    )
    return b"\x00" + tlv.wrap(0x70, tlv.wrap(0x66, data))


def _rfm_uicc(_: Personalisation) -> bytes:
    return _rfm("a00000055910100001", "b00120")


def _rfm_usim(_: Personalisation) -> bytes:
    adf = tlv.wrap(0x30, tlv.wrap(0x80, _USIM_AID), tlv.wrap(0x81, b"\x00"), tlv.wrap(0x82, b"\x00"))
    return _rfm("a00000055910100002", "b00140", adf)


def _rfm(aid: str, target: str, *adf: bytes) -> bytes:
    """Remote file management with full access for whoever holds the OTA keys, under one toolkit reference."""
    return b"".join(
        (
            tlv.wrap(0x4F, bytes.fromhex(aid)),
            tlv.wrap(0xA0, tlv.wrap(0x04, bytes.fromhex(target))),
            tlv.wrap(0x81, _SECURITY_LEVEL),
            tlv.wrap(0x04, b"\x00"),
            tlv.wrap(0x04, b"\x00"),
            *adf,
        )
    )
