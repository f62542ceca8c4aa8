"""Reads profile packages: sequences of profile elements (TCA Interoperable Profile, PEDefinitions).

Only what an SM-DP+ must know is read: the header, whether the sequence is well formed, and the subscriber identity.
"""

from __future__ import annotations

from dataclasses import dataclass

from rsp import tlv
from rsp.errors import Malformed
from rsp.identifiers import Iccid
from rsp.tlv import Tlv

HEADER = 0xA0
END = 0xAA
MF = 0xB0
USIM = 0xB3
IOT = 0xBF20

# Elements by tag. AB to AF are reserved by the standard and therefore not here.
ELEMENTS = {
    HEADER: "header",
    0xA1: "genericFileManagement",
    0xA2: "pinCodes",
    0xA3: "pukCodes",
    0xA4: "akaParameter",
    0xA5: "cdmaParameter",
    0xA6: "securityDomain",
    0xA7: "rfm",
    0xA8: "application",
    0xA9: "nonStandard",
    END: "end",
    MF: "mf",
    0xB1: "cd",
    0xB2: "telecom",
    USIM: "usim",
    0xB4: "opt-usim",
    0xB5: "isim",
    0xB6: "opt-isim",
    0xB7: "phonebook",
    0xB8: "gsm-access",
    0xB9: "csim",
    0xBA: "opt-csim",
    0xBB: "eap",
    0xBC: "df-5gs",
    0xBD: "df-saip",
    0xBE: "df-snpn",
    0xBF1F: "df-5gprose",
    IOT: "iot",
    0xBF21: "opt-iot",
}

# Names of eUICC-Mandatory-services in the order of their context tags.
SERVICES = (
    "contactless",
    "usim",
    "isim",
    "csim",
    "milenage",
    "tuak128",
    "cave",
    "gba-usim",
    "gba-isim",
    "mbms",
    "eap",
    "javacard",
    "multos",
    "multiple-usim",
    "multiple-isim",
    "multiple-csim",
    "tuak256",
    "usim-test-algorithm",
    "ber-tlv",
    "dfLink",
    "cat-tp",
    "get-identity",
    "profile-a-x25519",
    "profile-b-p256",
    "suciCalculatorApi",
    "dns-resolution",
    "scp11ac",
    "scp11c-authorization-mechanism",
    "s16mode",
    "eaka",
)

_CAPABILITIES = {
    "contactless": 0,
    "usim": 1,
    "isim": 2,
    "csim": 3,
    "milenage": 4,
    "cave": 5,
    "tuak128": 6,
    "tuak256": 7,
    "usim-test-algorithm": 8,
    "gba-usim": 10,
    "gba-isim": 11,
    "mbms": 12,
    "eap": 13,
    "javacard": 14,
    "multos": 15,
    "multiple-usim": 16,
    "multiple-isim": 17,
    "multiple-csim": 18,
    "ber-tlv": 19,
    "dfLink": 20,
    "cat-tp": 21,
    "get-identity": 22,
    "profile-a-x25519": 23,
    "profile-b-p256": 24,
    "suciCalculatorApi": 25,
    "dns-resolution": 26,
    "scp11ac": 27,
    "scp11c-authorization-mechanism": 28,
    "s16mode": 29,
    "eaka": 30,
}
"""The bit of UICCCapability by which an eUICC announces each service."""

_EF_ICCID = 0xA4
_EF_IMSI = {USIM: 0xA3, IOT: 0xA9}
_FILE_OFFSET = 0x82
_FILE_CONTENT = 0x83
_MAX_FILE = 0xFFFF
_MAX_PROFILE_TYPE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileHeader:
    """What a package says of itself.

    `major` and `minor` are the version of the profile format, `mandatory_services` names from `SERVICES` (a service
    this release does not know appears as `service-<number>`), `mandatory_templates` dotted object identifiers.
    """

    major: int
    minor: int
    profile_type: str | None
    iccid: Iccid
    mandatory_services: frozenset[str]
    mandatory_templates: tuple[str, ...]

    @property
    def capabilities(self) -> frozenset[int]:
        """The bits of UICCCapability that an eUICC must announce for this package, as far as they are known here."""
        return frozenset(_CAPABILITIES[name] for name in self.mandatory_services if name in _CAPABILITIES)


def split_elements(upp: bytes) -> tuple[Tlv, ...]:
    """The profile elements in order; their content and order are not judged here. Raises Malformed."""
    elements = tuple(tlv.objects(upp))
    if not elements:
        raise Malformed("the profile package is empty: send a sequence of profile elements")
    return elements


def read_header(upp: bytes) -> ProfileHeader:
    """The ProfileHeader, which must come first. Raises Malformed."""
    if not upp.startswith(bytes((HEADER,))):
        raise Malformed("a profile package starts with its header, tag A0: this is no SAIP package in DER")
    return _header(tlv.read(upp))


def validate(upp: bytes) -> ProfileHeader:
    """Check the sequence of elements and return the header.

    A valid package has the header first and nowhere else, known elements with a PE header each, the end last and
    nowhere else, and in EF ICCID (when the MF element fills it in one piece) the number of the header. Raises Malformed
    that names the element and its byte.
    """
    header = read_header(upp)
    elements = split_elements(upp)
    if elements[-1].tag != END:
        raise Malformed(f"the profile package ends with {_place(elements[-1])}: its last element must be end, tag AA")
    for element in elements[1:]:
        if element.tag == END and element is not elements[-1]:
            raise Malformed(f"{_place(element)} is followed by other elements: end comes last")
        _check_element(element)
        if element.tag == MF:
            _check_iccid(element, header.iccid)
    return header


def read_imsi(upp: bytes) -> str | None:
    """The IMSI in EF IMSI of the first USIM, 6 to 15 digits; None when there is none or it is blank. Raises Malformed.

    Coding: length byte, then nibble-swapped digits after an identity nibble (3GPP TS 31.102, 4.2.2).
    """
    for element in split_elements(upp):
        found = element.members().get(_EF_IMSI[element.tag]) if element.tag in _EF_IMSI else None
        if found is not None:
            return _imsi(_content(found))
    return None


def _header(element: Tlv) -> ProfileHeader:
    members = element.members()
    try:
        major, minor, iccid, services, templates = (members[tag] for tag in (0x80, 0x81, 0x83, 0xA5, 0xA6))
    except KeyError as missing:
        raise Malformed(f"the profile header has no member {missing.args[0]:X}") from None
    profile_type = members[0x82].text() if 0x82 in members else None
    if profile_type is not None and not 1 <= len(profile_type) <= _MAX_PROFILE_TYPE:
        raise Malformed(f"profileType in the profile header is 1 to {_MAX_PROFILE_TYPE} characters")
    return ProfileHeader(
        major=_version(major),
        minor=_version(minor),
        profile_type=profile_type,
        iccid=_header_iccid(iccid.value),
        mandatory_services=frozenset(map(_service, services.children())),
        mandatory_templates=tuple(map(_template, templates.children())),
    )


def _version(found: Tlv) -> int:
    number = found.integer()
    if not 0 <= number <= 0xFF:
        raise Malformed(f"the profile version in member {found.tag:X} of the header is not between 0 and 255")
    return number


def _header_iccid(value: bytes) -> Iccid:
    # The header holds the digits in reading order, unlike EF ICCID and tag 5A, which swap the nibbles.
    digits = value.hex()
    if len(value) != 10:
        raise Malformed(f"the ICCID in the profile header is 10 bytes, found {len(value)}")
    try:
        return Iccid(digits.rstrip("f"))
    except Malformed:
        raise Malformed("the ICCID in the profile header is 18 to 20 decimal digits, padded with F") from None


def _service(found: Tlv) -> str:
    first, *more = found.tag.to_bytes((found.tag.bit_length() + 7) // 8 or 1, "big")
    if first & 0xE0 != 0x80 or found.value:
        raise Malformed(f"eUICC-Mandatory-services holds tag {found.tag:X}: a service is an empty context tag")
    number = first & 0x1F
    if more:
        number = int("".join(f"{byte & 0x7F:07b}" for byte in more), 2)
    return SERVICES[number] if number < len(SERVICES) else f"service-{number}"


def _template(found: Tlv) -> str:
    if found.tag != 0x06:
        raise Malformed(f"eUICC-Mandatory-GFSTEList holds tag {found.tag:X}: it lists object identifiers")
    return tlv.oid_from_bytes(found.value)


def _place(element: Tlv) -> str:
    return f"{ELEMENTS.get(element.tag, 'an unknown element')} (tag {element.tag:X}) at byte {element.start}"


def _check_element(element: Tlv) -> None:
    if element.tag not in ELEMENTS:
        raise Malformed(f"{_place(element)} is not a profile element of this standard: remove it or use nonStandard")
    if element.tag == HEADER:
        raise Malformed(f"{_place(element)} is a second header: a package has one")
    try:
        first = next(element.children(), None)
        identification = first.members().get(0x81) if first and first.tag == 0xA0 else None
        if identification is None or not 0 <= identification.integer() <= 0x7FFF:
            raise Malformed("it has no PE header with an identification number")
        for _ in element.children():
            pass
    except Malformed as error:
        raise Malformed(f"{_place(element)}: {error}") from None


def _check_iccid(mf: Tlv, iccid: Iccid) -> None:
    file = mf.members().get(_EF_ICCID)
    content = [item.value for item in file.children() if item.tag == _FILE_CONTENT] if file else []
    if len(content) == 1 and len(content[0]) == 10 and content[0] != iccid.to_bytes():
        raise Malformed(f"EF ICCID in {_place(mf)} is another number than the profile header: personalise both")


def _content(file: Tlv) -> bytes:
    """What a File writes: offsets skip bytes (left as FF), contents follow each other."""
    image = bytearray()
    for item in file.children():
        if item.tag == _FILE_CONTENT:
            image += item.value
        elif item.tag == _FILE_OFFSET:
            skip = item.integer()
            if not 0 <= skip <= _MAX_FILE - len(image):
                raise Malformed(f"fillFileOffset at byte {item.start} is negative or leads past {_MAX_FILE} bytes")
            image += b"\xff" * skip
    return bytes(image)


def _imsi(content: bytes) -> str | None:
    size = content[0] if content else 0xFF
    if size in (0x00, 0xFF):
        return None
    coded = content[1 : 1 + size]
    digits = "".join(f"{byte & 0x0F:x}{byte >> 4:x}" for byte in coded)[1:].rstrip("f")
    if len(coded) != size or not 6 <= len(digits) <= 15 or not digits.isdecimal():
        raise Malformed("EF IMSI holds no number of 6 to 15 digits")
    return digits
