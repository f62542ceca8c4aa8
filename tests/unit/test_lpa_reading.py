"""Readers of the LPA against anything at all: they raise what they declare and nothing else."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lpa_script import METADATA, TRANSACTION, ConstantCard, package, server_signed1

from rsp import tlv
from rsp.identifiers import TransactionId
from simulator import lpa_messages as messages
from simulator.exchange import Answer, FunctionFailed, ProtocolFault
from simulator.lpa_messages import CancelReason, Capability, Device
from simulator.strict_json import check_accepted, from_base64, load_object, read_reply, request_body, to_base64

HEADERS = {"Content-Type": "application/json", "X-Admin-Protocol": "gsma/rsp/v2.5.0"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FAILED = {
    "status": "Failed",
    "statusCodeData": {"subjectCode": "8.1", "reasonCode": "6.1", "message": "No."},
}
REPLY: dict[str, Any] = {"header": {"functionExecutionStatus": FAILED}}
READERS = [
    messages.euicc_challenge,
    messages.confirmation_code_required,
    messages.transaction_inside,
    messages.notifications,
    messages.sequence_and_address,
    messages.read_installation_result,
    lambda data: messages.check_server_signed1(data, TransactionId(TRANSACTION), bytes(16), "x"),
    lambda data: messages.check_bound_profile_package(data, TransactionId(TRANSACTION), METADATA),
]
SAMPLES = [package(), server_signed1(), ConstantCard(error_reason=3).result(), tlv.wrap(0xBF2B, tlv.wrap(0xA0, b""))]


def answer(body: bytes, status: int = 200) -> Answer:
    return Answer(status=status, headers=HEADERS, body=body, attempt=1)


@settings(max_examples=60)
@given(st.binary(max_size=60))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(ProtocolFault, FunctionFailed):
        read_reply("f", answer(body), ("transactionId",))
    with contextlib.suppress(ProtocolFault):
        check_accepted("f", answer(body, 204))


@settings(max_examples=100)
@given(
    JSON, st.sampled_from(["header", "functionExecutionStatus", "status", "statusCodeData", "subjectCode", "message"])
)
def test_any_value_anywhere_in_a_header_is_read_or_refused(value: Any, place: str) -> None:
    def put(holder: Any) -> Any:
        if not isinstance(holder, dict):
            return holder
        return {name: value if name == place else put(inner) for name, inner in holder.items()}

    with contextlib.suppress(ProtocolFault, FunctionFailed):
        read_reply("f", answer(json.dumps(put(REPLY)).encode()), ())


@settings(max_examples=100)
@given(st.sampled_from(READERS), st.binary(max_size=40))
def test_any_bytes_of_card_or_server_are_read_or_refused(reader: Any, data: bytes) -> None:
    with contextlib.suppress(ValueError):
        reader(data)


@settings(max_examples=100)
@given(st.sampled_from(READERS), st.sampled_from(SAMPLES), st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(reader: Any, sample: bytes, place: int, value: int) -> None:
    changed = bytearray(sample)
    changed[place % len(changed)] = value
    with contextlib.suppress(ValueError):
        reader(bytes(changed))


@pytest.mark.parametrize(
    ("body", "more"), [(b"x", {}), (b"", {"Content-Length": "2"}), (b"", {"Transfer-Encoding": "chunked"})]
)
def test_a_204_with_a_body_or_its_announcement_is_a_fault(body: bytes, more: dict[str, str]) -> None:
    check_accepted("f", answer(b"", 204))
    with pytest.raises(ProtocolFault, match="carries a body"):
        check_accepted("f", Answer(status=204, headers={**HEADERS, **more}, body=body, attempt=1))


def test_a_compressed_answer_is_a_fault() -> None:
    packed = Answer(status=204, headers={**HEADERS, "Content-Encoding": "gzip"}, body=b"", attempt=1)
    with pytest.raises(ProtocolFault, match="compressed"):
        check_accepted("f", packed)


@settings(max_examples=50)
@given(st.dictionaries(st.text(alphabet="abcXYZ", max_size=5), st.text(max_size=5) | st.booleans(), max_size=4))
def test_a_request_body_reads_back(members: dict[str, Any]) -> None:
    assert load_object(request_body(members)) == members


@settings(max_examples=50)
@given(st.binary(max_size=50))
def test_base64_reads_back(data: bytes) -> None:
    assert from_base64(to_base64(data)) == data


@pytest.mark.parametrize("text", ["AA", "AA=", "AA==\n", " AA==", "A-==", "ÄA=="])
def test_base64_of_other_kinds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not padded base64"):
        from_base64(text)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(Capability), st.tuples(*[st.integers(0, 255)] * 3)))
def test_capabilities_come_in_the_order_of_their_tags(releases: dict[Capability, tuple[int, int, int]]) -> None:
    info = tlv.read_only(Device(capabilities=releases).device_info(), 0xA1).members()
    members = list(info[0xA1].children())
    assert [(each.tag - 0x80, tuple(each.value)) for each in members] == sorted(releases.items())


def test_cancel_and_notification_requests_have_the_tags_of_the_standard() -> None:
    cancel = messages.cancel_session_request(TransactionId(b"\x01\x02"), CancelReason.UNDEFINED)
    assert cancel.hex() == "bf41078002010281017f"
    assert messages.notification_sent_request(128).hex() == "bf300480020080"


def test_the_hash_of_a_confirmation_code_is_the_known_one() -> None:
    # sha256(sha256("1234") || 0102), worked out with openssl dgst.
    found = messages.hashed_confirmation_code("1234", TransactionId(b"\x01\x02"))
    assert found.hex() == "4d29dc53049ce0086f44d2cc0c87d8c4da8b8a4a30f1f330c11af6442721c5af"


@pytest.mark.parametrize("cut", ["BF23", "A1"])
def test_a_package_without_opening_or_metadata_is_refused(cut: str) -> None:
    kept = b"".join(part.raw for part in tlv.read_only(package(), 0xBF36).children() if f"{part.tag:X}" != cut)
    with pytest.raises(ValueError, match="lacks BF23 or A1"):
        messages.check_bound_profile_package(tlv.wrap(0xBF36, kept), TransactionId(TRANSACTION), METADATA)
