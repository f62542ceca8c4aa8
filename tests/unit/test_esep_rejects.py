"""Readers of the eIM against bytes that do not fit: Malformed and nothing else, and unknown members are skipped."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp import esep, tlv
from rsp.errors import Malformed
from rsp.tlv import Tlv, wrap

few = settings(max_examples=100, deadline=None)

EID = bytes.fromhex("5a10 89049032123451234512345678901235")
ICCID = bytes.fromhex("5a0a 98001032547698103214")
SIGNATURE = wrap(0x5F37, bytes(64))
CERTIFICATE = bytes.fromhex("3000 3000 0303000102")
PROFILE = wrap(
    0xE3, ICCID, wrap(0x4F, bytes(16)), bytes.fromhex("9f700101 90014e 910153 920150 950102 99020640 9f2601ff")
)
LISTED = wrap(0xBF2D, wrap(0xA0, PROFILE))
RESULT_DATA = wrap(
    0x30, bytes.fromhex("8003652e61 810105 82020a0b 830109"), wrap(0x30, b"\x83\x01\x00", LISTED, b"\x02\x01\x03")
)
RESULT = wrap(0xBF51, wrap(0xA0, RESULT_DATA, SIGNATURE))
REFUSED = wrap(0xBF51, wrap(0xA1, wrap(0x30, bytes.fromhex("8003652e61 810105 82020a0b 020104")), SIGNATURE))
UNSIGNED = wrap(0xBF51, wrap(0xA2, bytes.fromhex("8003652e61 82020a0b 840105")))
INSTALLATION = wrap(0xBF37, wrap(0xBF27, wrap(0xBF2F, b"\x80\x01\x0c")), SIGNATURE)
INFO2 = wrap(0xBF22, wrap(0xB4, wrap(0xA0, bytes.fromhex("0403010200"))))
DATA = wrap(
    0xA0,
    wrap(0xA0, INSTALLATION),
    wrap(0x81, b"d.p"),
    wrap(0xA2, RESULT),
    INFO2,
    bytes.fromhex("84020080"),
    wrap(0xA5, CERTIFICATE),
    wrap(0xA6, CERTIFICATE),
    bytes.fromhex("87020a0b a808 8002 02c4 8102 0780"),
)
BARE = wrap(0xBF52, *(child.raw for child in tlv.read(DATA).children() if child.tag != 0xA0))

Reader = Callable[[bytes], object]
provide = esep.parse_provide_eim_package_result
MESSAGES: list[tuple[Reader, bytes]] = [
    (esep.parse_get_eim_package, wrap(0xBF4F, EID, bytes.fromhex("8000 810101 820362f220"))),
    (provide, wrap(0xBF50, EID, RESULT)),
    (provide, wrap(0xBF50, EID, REFUSED)),
    (provide, wrap(0xBF50, EID, UNSIGNED)),
    (provide, wrap(0xBF50, EID, wrap(0x30, RESULT, wrap(0xA0, INSTALLATION)))),
    (provide, wrap(0xBF50, EID, wrap(0xBF52, DATA))),
    (provide, wrap(0xBF50, EID, BARE)),
    (provide, wrap(0xBF50, wrap(0xBF52, bytes.fromhex("a107 80020a0b 020101")))),
    (provide, wrap(0xBF50, EID, wrap(0xBF54, bytes.fromhex("82020a0b"), INSTALLATION))),
    (provide, wrap(0xBF50, EID, wrap(0xBF54, bytes.fromhex("82020a0b 3007 80017f 0402aabb")))),
    (provide, wrap(0xBF50, EID, bytes.fromhex("a007 80020a0b 020101"))),
    (esep.parse_package_result, RESULT),
    (esep.parse_handle_notification, wrap(0xBF3D, wrap(0xBF50, RESULT))),
    (esep.parse_handle_notification, wrap(0xBF3D, wrap(0xA0, INSTALLATION))),
    (esep.iot_versions, INFO2),
    (esep.sequence_numbers, wrap(0xBF50, EID, RESULT)),
]
READERS = list(dict.fromkeys(reader for reader, _ in MESSAGES))

every_message = pytest.mark.parametrize(("read", "message"), MESSAGES)


def replaced(found: Tlv, part: Tlv, new: bytes) -> bytes:
    """`found` with `new` in the place of `part`, all lengths around it put right."""
    if (found.start, found.end) == (part.start, part.end):
        return new
    if not found.raw[0] & 0x20:
        return found.raw
    return wrap(found.tag, *(replaced(child, part, new) for child in found.children()))


def descendants(found: Tlv) -> list[Tlv]:
    if not found.raw[0] & 0x20:
        return []
    return [deep for child in found.children() for deep in (child, *descendants(child))]


def place_of(message: bytes, part: str) -> Tlv:
    """The smallest object of `message` that holds the bytes of `part`."""
    whole = tlv.read(message)
    holders = [one for one in (whole, *descendants(whole)) if bytes.fromhex(part) in one.raw]
    return min(holders, key=lambda one: len(one.raw))


@every_message
def test_the_message_itself_reads(read: Reader, message: bytes) -> None:
    read(message)


@every_message
def test_a_message_cut_at_any_byte_is_malformed(read: Reader, message: bytes) -> None:
    for length in range(len(message)):
        with pytest.raises(Malformed):
            read(message[:length])


@every_message
def test_a_byte_behind_the_message_is_malformed(read: Reader, message: bytes) -> None:
    with pytest.raises(Malformed):
        read(message + b"\x00")


@every_message
def test_any_changed_byte_reads_or_is_malformed(read: Reader, message: bytes) -> None:
    for place in range(len(message)):
        for value in (0x00, 0x7F, 0x80, 0xFF, message[place] ^ 0x01, message[place] ^ 0x20):
            try:
                read(message[:place] + bytes((value,)) + message[place + 1 :])
            except Malformed:
                continue


@pytest.mark.parametrize("read", READERS)
@few
@given(st.binary(max_size=120), st.sampled_from([0xA0, 0xA1, 0xA2, 0x30, 0xBF51, 0xBF52, 0xBF54, 0xBF2B, 0xBF37]))
def test_any_bytes_read_or_are_malformed(read: Reader, data: bytes, inner: int) -> None:
    for tag in dict.fromkeys(tlv.read(message).tag for _, message in MESSAGES):
        for candidate in (
            data,
            wrap(tag, data),
            wrap(tag, wrap(inner, data)),
            wrap(tag, wrap(inner, wrap(inner, data))),
        ):
            try:
                read(candidate)
            except Malformed:
                continue


@pytest.mark.parametrize(
    ("read", "message", "places"),
    [
        (provide, wrap(0xBF50, EID, RESULT), [wrap(0xBF50, EID, RESULT), wrap(0xA0, RESULT_DATA, SIGNATURE)]),
        (provide, wrap(0xBF50, EID, REFUSED), [wrap(0xBF50, EID, REFUSED)]),
        (provide, wrap(0xBF50, EID, wrap(0xBF52, DATA)), [DATA, wrap(0xBF50, EID, wrap(0xBF52, DATA))]),
        (provide, wrap(0xBF50, EID, RESULT), [PROFILE]),
        (esep.parse_get_eim_package, MESSAGES[0][1], [MESSAGES[0][1]]),
    ],
)
def test_unknown_members_are_skipped(read: Reader, message: bytes, places: list[bytes]) -> None:
    plain = read(message)
    for place in places:
        part = place_of(message, place.hex())
        extended = replaced(tlv.read(message), part, wrap(part.tag, part.value, bytes.fromhex("9f8501020304")))
        assert without_signed(read(extended)) == without_signed(plain)


def without_signed(answer: object) -> str:
    return repr(answer).partition("signed=")[0] + repr(answer).partition("signature=")[2]


@pytest.mark.parametrize(
    ("message", "missing"),
    [
        (wrap(0xBF50, EID, RESULT), "8003652e61"),
        (wrap(0xBF50, EID, RESULT), "810105"),
        (wrap(0xBF50, EID, RESULT), "830109"),
        (wrap(0xBF50, EID, RESULT), RESULT_DATA.hex()),
        (wrap(0xBF50, EID, RESULT), SIGNATURE.hex()),
        (wrap(0xBF50, EID, RESULT), ICCID.hex()),
        (wrap(0xBF50, EID, RESULT), RESULT.hex()),
        (wrap(0xBF50, EID, REFUSED), "8003652e61"),
        (wrap(0xBF50, EID, REFUSED), "810105"),
        (wrap(0xBF50, EID, REFUSED), "020104"),
        (wrap(0xBF50, EID, UNSIGNED), "8003652e61"),
        (wrap(0xBF50, EID, wrap(0x30, RESULT, wrap(0xA0, INSTALLATION))), RESULT.hex()),
        (wrap(0xBF50, EID, wrap(0x30, RESULT, wrap(0xA0, INSTALLATION))), wrap(0xA0, INSTALLATION).hex()),
        (wrap(0xBF50, EID, wrap(0xBF52, DATA)), "800202c4"),
        (wrap(0xBF50, EID, wrap(0xBF54, b"\x82\x01\x0a", INSTALLATION)), INSTALLATION.hex()),
        (wrap(0xBF50, EID, wrap(0xBF54, bytes.fromhex("3003 80017f"))), "80017f"),
        (wrap(0xBF50, EID, bytes.fromhex("a003 020101")), "020101"),
    ],
)
def test_a_missing_member_is_malformed(message: bytes, missing: str) -> None:
    provide(message)
    part = place_of(message, missing)
    assert part.raw == bytes.fromhex(missing)
    with pytest.raises(Malformed):
        provide(replaced(tlv.read(message), part, b""))


@pytest.mark.parametrize(
    ("message", "old", "new"),
    [
        (wrap(0xBF50, EID, RESULT), "810105", "8100"),
        (wrap(0xBF50, EID, RESULT), "810105", "8109010000000000000000"),
        (wrap(0xBF50, EID, RESULT), "830109", "8300"),
        (wrap(0xBF50, EID, RESULT), "82020a0b", "8200"),
        (wrap(0xBF50, EID, RESULT), "82020a0b", "8211" + "00" * 17),
        (wrap(0xBF50, EID, RESULT), "8003652e61", "8000"),
        (wrap(0xBF50, EID, RESULT), "8003652e61", "8001ff"),
        (wrap(0xBF50, EID, RESULT), "8003652e61", wrap(0x80, b"e" * 129).hex()),
        (wrap(0xBF50, EID, RESULT), "830100", "8300"),
        (wrap(0xBF50, EID, RESULT), "9f700101", "9f700102"),
        (wrap(0xBF50, EID, RESULT), "9f2601ff", "9f2600"),
        (wrap(0xBF50, EID, RESULT), "99020640", "99020940"),
        (wrap(0xBF50, EID, RESULT), "90014e", "9001ff"),
        (wrap(0xBF50, EID, RESULT), ICCID.hex(), "5a0998001032547698103214"[:-2]),
        (wrap(0xBF50, EID, RESULT), PROFILE.hex(), wrap(0x31, PROFILE).hex()),
        (wrap(0xBF50, EID, RESULT), SIGNATURE.hex(), wrap(0x5F37, bytes(63)).hex()),
        (wrap(0xBF50, EID, RESULT), EID.hex(), EID.hex() * 2),
        (wrap(0xBF50, EID, wrap(0xBF52, DATA)), CERTIFICATE.hex(), "a600"),
        (wrap(0xBF50, EID, wrap(0xBF52, DATA)), "84020080", "8400"),
    ],
)
def test_values_that_do_not_fit_are_malformed(message: bytes, old: str, new: str) -> None:
    part = place_of(message, old)
    with pytest.raises(Malformed):
        provide(replaced(tlv.read(message), part, part.raw.replace(bytes.fromhex(old), bytes.fromhex(new))))


@pytest.mark.parametrize(
    ("read", "message", "words"),
    [
        (provide, "bf5000", "BF51, 30, BF52"),
        (provide, "bf4f00", "BF50"),
        (provide, "bf5005 bf51028000", "eimId"),
        (esep.parse_package_result, "bf5200", "BF51"),
        (esep.parse_handle_notification, "bf3d03 bf5100", "A0 or BF50"),
        (esep.parse_handle_notification, "bf3d04 a0008000", "one alternative"),
        (esep.parse_get_eim_package, "bf4f00", "5A"),
        (esep.iot_versions, "bf2206 b404 a0020400", "3 to 3"),
        (esep.iot_versions, "bf2209 b407 a0050503010200", "octet strings"),
        (esep.sequence_numbers, "bf4f00", "BF50"),
    ],
)
def test_the_error_says_what_to_send(read: Reader, message: str, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        read(bytes.fromhex(message))


def test_a_poll_with_a_network_of_other_length_is_malformed() -> None:
    for wrong in ("820262f2", "820462f22000", "8109010203040506070809"):
        with pytest.raises(Malformed):
            esep.parse_get_eim_package(wrap(0xBF4F, EID, bytes.fromhex(wrong)))


HEAD = bytes.fromhex("8003652e61 810105")


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (esep.parse_get_eim_package, wrap(0xBF4F, EID, bytes.fromhex("8000 810203e4 820362f220"))),
        (esep.parse_get_eim_package, wrap(0xBF4F, EID, wrap(0x81, b"\x7f" * 8))),
        (esep.parse_get_eim_package, wrap(0xBF4F, EID, wrap(0x81))),
        (provide, wrap(0xBF50, EID, wrap(0xA0, b"\x80\x02\x0a\x0b", wrap(0x02, b"\x7f" * 5)))),
        (provide, wrap(0xBF50, EID, wrap(0xBF54, wrap(0x30, wrap(0x80, b"\x7f" * 5))))),
        (provide, wrap(0xBF50, wrap(0xBF52, wrap(0xA1, b"\x80\x02\x0a\x0b", wrap(0x02, b"\x7f" * 5))))),
        (
            esep.parse_package_result,
            wrap(
                0xBF51,
                wrap(
                    0xA0,
                    wrap(0x30, bytes.fromhex("8003652e61 810105 830109"), wrap(0x30, wrap(0x83, b"\x7f" * 5))),
                    SIGNATURE,
                ),
            ),
        ),
        (
            esep.parse_package_result,
            wrap(
                0xBF51, wrap(0xA1, wrap(0x30, bytes.fromhex("8003652e61 810105"), wrap(0x02, b"\x7f" * 5)), SIGNATURE)
            ),
        ),
    ],
)
def test_a_code_larger_than_any_store_takes_is_malformed(read: Reader, data: bytes) -> None:
    with pytest.raises(Malformed, match="bytes: send 1 to"):
        read(data)
