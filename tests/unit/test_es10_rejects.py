"""ES10 readers against bytes that do not fit: Malformed and nothing else, and unknown members are skipped."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp import es10, tlv
from rsp.errors import Malformed
from rsp.identifiers import TransactionId
from rsp.tlv import Tlv, wrap

few = settings(max_examples=100, deadline=None)

TRANSACTION_ID = wrap(0x80, bytes(range(16)))
SIGNATURE = wrap(0x5F37, bytes(64))
CERTIFICATES = wrap(0x30, b"\x02\x01\x01") + wrap(0x30, b"\x02\x01\x02")
ICCID = wrap(0x5A, bytes.fromhex("98001032547698103214"))
INFO2 = wrap(
    0xBF22,
    bytes.fromhex("8103020301 8203020500 8303010203"),
    wrap(0x84, bytes.fromhex("810102 82023000 83020800")),
    bytes.fromhex("85020780 88020490"),
    wrap(0xA9, wrap(0x04, bytes(20))),
    wrap(0xAA, wrap(0x04, bytes(20))),
    bytes.fromhex("8b0102 99020640 0403010000 0c00"),
    wrap(0xAF, bytes.fromhex("0403020200")),
)
INFO1 = wrap(0xBF20, bytes.fromhex("8203020500"), wrap(0xA9, wrap(0x04, bytes(20))), wrap(0xAA, wrap(0x04, bytes(20))))
DEVICE = wrap(0xA1, bytes.fromhex("800453920611"), wrap(0xA1), bytes.fromhex("8208539206111234560f"))
SIGNED1 = wrap(
    0x30,
    TRANSACTION_ID,
    wrap(0x83, b"smdp.example.com"),
    wrap(0x84, bytes(16)),
    INFO2,
    wrap(0xA0, wrap(0x80, b"ABC-1"), DEVICE),
)
METADATA = wrap(0xBF2F, bytes.fromhex("800107 81020640"), wrap(0x0C, b"smdp.example.com"), ICCID)
AUTHENTICATED = wrap(0xBF38, wrap(0xA0, SIGNED1, SIGNATURE, CERTIFICATES))
NOT_AUTHENTICATED = wrap(0xBF38, wrap(0xA1, TRANSACTION_ID, b"\x02\x01\x02"))
DOWNLOAD = wrap(
    0xBF21,
    wrap(0xA0, wrap(0x30, TRANSACTION_ID, wrap(0x5F49, b"\x04" + bytes(64)), wrap(0x04, bytes(32))), SIGNATURE),
)
NO_DOWNLOAD = wrap(0xBF21, wrap(0xA1, TRANSACTION_ID, b"\x02\x01\x05"))
CANCELLED = wrap(0xBF41, wrap(0xA0, wrap(0x30, TRANSACTION_ID, bytes.fromhex("810388370a 820100")), SIGNATURE))
NOT_CANCELLED = wrap(0xBF41, b"\x81\x01\x05")


def installation(result: bytes) -> bytes:
    return wrap(
        0xBF37, wrap(0xBF27, TRANSACTION_ID, METADATA, bytes.fromhex("060388370a"), wrap(0xA2, result)), SIGNATURE
    )


INSTALLED = installation(wrap(0xA0, wrap(0x4F, bytes(16)), wrap(0x04, b"\x30\x00")))
NOT_INSTALLED = installation(wrap(0xA1, bytes.fromhex("800105 81010a 82023000")))
ENABLED = wrap(0x30, METADATA, SIGNATURE, CERTIFICATES)

Reader = Callable[[bytes], object]
MESSAGES: list[tuple[Reader, bytes]] = [
    (es10.parse_euicc_info1, INFO1),
    (es10.parse_euicc_info2, INFO2),
    (es10.parse_authenticate_server_response, AUTHENTICATED),
    (es10.parse_authenticate_server_response, NOT_AUTHENTICATED),
    (es10.parse_prepare_download_response, DOWNLOAD),
    (es10.parse_prepare_download_response, NO_DOWNLOAD),
    (es10.parse_cancel_session_response, CANCELLED),
    (es10.parse_cancel_session_response, NOT_CANCELLED),
    (es10.parse_pending_notification, INSTALLED),
    (es10.parse_pending_notification, NOT_INSTALLED),
    (es10.parse_pending_notification, ENABLED),
]
READERS = list(dict.fromkeys(reader for reader, _ in MESSAGES))

every_message = pytest.mark.parametrize(("read", "message"), MESSAGES)


def rebuilt(found: Tlv, change: Callable[[Tlv], list[bytes]]) -> bytes:
    """`found` with `change` applied to each of its members, at every depth."""
    if not found.raw[0] & 0x20:
        return found.raw
    return wrap(found.tag, *(part for child in found.children() for part in change(child)))


def constructed(found: Tlv) -> list[Tlv]:
    inner = [deep for child in found.children() for deep in constructed(child)] if found.raw[0] & 0x20 else []
    return [found, *inner] if found.raw[0] & 0x20 else []


def replaced(message: bytes, part: Tlv, new: bytes) -> bytes:
    """`message` with `new` in the place of `part`, all lengths around it put right."""

    def change(found: Tlv) -> list[bytes]:
        if found.start == part.start and found.tag == part.tag:
            return [new]
        return [rebuilt(found, change)]

    return change(tlv.read(message))[0]


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
@given(st.binary(max_size=120))
def test_any_bytes_read_or_are_malformed(read: Reader, data: bytes) -> None:
    for candidate in (data, wrap(0x30, data), *(wrap(tlv.read(message).tag, data) for _, message in MESSAGES)):
        try:
            read(candidate)
        except Malformed:
            continue


def is_choice(found: Tlv) -> bool:
    return found.tag in (0xBF38, 0xBF21, 0xBF41, 0xA2)


@every_message
def test_unknown_members_are_skipped_at_every_depth(read: Reader, message: bytes) -> None:
    plain = repr(read(message))
    for part in constructed(tlv.read(message)):
        if is_choice(part) or part.tag in (0xA9, 0xAA, 0xAF):
            continue
        longer = replaced(message, part, wrap(part.tag, part.value, wrap(0x9F70, b"new"), wrap(0xBF71, b"\x04\x00")))
        assert longer != message
        assert type(read(longer)).__name__ in plain


@every_message
def test_a_second_alternative_is_malformed(read: Reader, message: bytes) -> None:
    for part in constructed(tlv.read(message)):
        if is_choice(part):
            with pytest.raises(Malformed):
                read(replaced(message, part, wrap(part.tag, part.value, part.value)))


@every_message
def test_an_unknown_alternative_is_malformed(read: Reader, message: bytes) -> None:
    for part in constructed(tlv.read(message)):
        if is_choice(part):
            with pytest.raises(Malformed):
                read(replaced(message, part, wrap(part.tag, wrap(0xA7, next(part.children()).value))))


MANDATORY = [
    (INFO1, {0x82, 0xA9, 0xAA}),
    (INFO2, {0x81, 0x82, 0x83, 0x84, 0x85, 0x88, 0xA9, 0xAA}),
    (NOT_AUTHENTICATED, {0x80, 0x02}),
    (NO_DOWNLOAD, {0x80, 0x02}),
    (CANCELLED, {0x30, 0x5F37, 0x80, 0x81, 0x82}),
    (DOWNLOAD, {0x30, 0x5F37, 0x80, 0x5F49}),
    (INSTALLED, {0xBF27, 0x5F37, 0xBF2F, 0x80, 0x06, 0xA2, 0x81, 0x0C, 0x4F, 0x04}),
    (NOT_INSTALLED, {0x80, 0x81}),
    (ENABLED, {0xBF2F, 0x5F37, 0x30, 0x80, 0x81, 0x0C}),
    (AUTHENTICATED, {0x30, 0x5F37, 0x83, 0x84, 0xBF22, 0xA0, 0xA1}),
]


def descendants(found: Tlv) -> list[Tlv]:
    """All that is inside; lists and an EUICCInfo2 kept as it came count as leaves."""
    kept = found.tag in (0xA9, 0xAA, 0xAF) or (found.tag == 0xBF22 and found.start > 0)
    if kept or not found.raw[0] & 0x20:
        return []
    return [deep for child in found.children() for deep in (child, *descendants(child))]


@pytest.mark.parametrize(("message", "tags"), MANDATORY)
def test_a_missing_member_is_malformed(message: bytes, tags: set[int]) -> None:
    read = next(reader for reader, known in MESSAGES if known == message)
    places = [part for part in descendants(tlv.read(message)) if part.tag in tags]
    assert {part.tag for part in places} == tags
    for part in places:
        with pytest.raises(Malformed):
            read(replaced(message, part, b""))


@pytest.mark.parametrize(
    ("read", "message", "old", "new"),
    [
        (es10.parse_euicc_info1, INFO1, "8203020500", "82020205"),
        (es10.parse_euicc_info1, INFO1, "0414", "0514"),
        (es10.parse_euicc_info2, INFO2, "85020780", "85020880"),
        (es10.parse_euicc_info2, INFO2, "85020780", "850107"),
        (es10.parse_euicc_info2, INFO2, "85020780", "8500"),
        (es10.parse_euicc_info2, INFO2, "8b0102", "8b0a00ffffffffffffffffff"),
        (es10.parse_pending_notification, ENABLED, "81020640", "810206c0"),
        (es10.parse_pending_notification, ENABLED, "81020640", "81020600"),
        (es10.parse_pending_notification, ENABLED, "81020640", "81020308"),
        (es10.parse_pending_notification, INSTALLED, "98001032547698103214", "98001032547698ab3214"),
        (es10.parse_pending_notification, INSTALLED, "060388370a", "060388378a"),
        (es10.parse_pending_notification, INSTALLED, wrap(0x4F, bytes(16)).hex(), wrap(0x4F, bytes(17)).hex()),
        (es10.parse_pending_notification, INSTALLED, wrap(0x4F, bytes(16)).hex(), wrap(0x4F, bytes(4)).hex()),
        (es10.parse_authenticate_server_response, AUTHENTICATED, "8208539206111234560f", "820753920611123456"),
        (es10.parse_authenticate_server_response, AUTHENTICATED, "800453920611", "80055392061100"),
        (es10.parse_authenticate_server_response, AUTHENTICATED, wrap(0x84, bytes(16)).hex(), "8400"),
        (es10.parse_prepare_download_response, DOWNLOAD, "5f494104" + "00" * 64, "5f494004" + "00" * 63),
        (es10.parse_prepare_download_response, DOWNLOAD, "5f494104" + "00" * 64, "5f494204" + "00" * 65),
    ],
)
def test_values_that_do_not_fit_are_malformed(read: Reader, message: bytes, old: str, new: str) -> None:
    part = next(part for part in [tlv.read(message), *descendants(tlv.read(message))] if bytes.fromhex(old) in part.raw)
    found = [part, *descendants(part)]
    smallest = min((one for one in found if bytes.fromhex(old) in one.raw), key=lambda one: len(one.raw))
    with pytest.raises(Malformed):
        read(replaced(message, smallest, smallest.raw.replace(bytes.fromhex(old), bytes.fromhex(new))))


@pytest.mark.parametrize(
    ("read", "message", "tag"),
    [
        (es10.parse_authenticate_server_response, AUTHENTICATED, 0xA0),
        (es10.parse_prepare_download_response, DOWNLOAD, 0xA0),
        (es10.parse_cancel_session_response, CANCELLED, 0xA0),
        (es10.parse_pending_notification, ENABLED, 0x30),
    ],
)
def test_members_out_of_their_order_are_malformed(read: Reader, message: bytes, tag: int) -> None:
    part = next(part for part in (tlv.read(message), *descendants(tlv.read(message))) if part.tag == tag)
    first, second, *others = (child.raw for child in part.children())
    with pytest.raises(Malformed, match="place"):
        read(replaced(message, part, wrap(tag, second, first, *others)))


def test_a_signature_in_der_is_malformed() -> None:
    part = next(part for part in descendants(tlv.read(DOWNLOAD)) if part.tag == 0x5F37)
    with pytest.raises(Malformed, match="64"):
        es10.parse_prepare_download_response(replaced(DOWNLOAD, part, wrap(0x5F37, bytes(70))))
    with pytest.raises(Malformed, match="64"):
        es10.signature_object(bytes(70))


@pytest.mark.parametrize("sizes", [(15, 16), (16, 17)])
def test_challenges_are_sixteen_bytes(sizes: tuple[int, int]) -> None:
    with pytest.raises(Malformed, match="16"):
        es10.server_signed1(
            transaction_id=TransactionId(b"1"),
            euicc_challenge=bytes(sizes[0]),
            server_address="smdp.example.com",
            server_challenge=bytes(sizes[1]),
        )
