"""Builders of the Bound Profile Package against the ASN.1 module, and the sizes they refuse."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp import es8plus, schema, tlv
from rsp.errors import Malformed
from rsp.identifiers import TransactionId

few = settings(max_examples=50, deadline=None)

KEY = b"\x04" + bytes(64)
segments = st.lists(st.binary(max_size=40), min_size=1, max_size=4)
transaction_ids = st.binary(min_size=1, max_size=16).map(TransactionId)
host_ids = st.binary(min_size=1, max_size=16)
points = st.binary(min_size=65, max_size=65)
signatures = st.binary(min_size=64, max_size=64)
keys = st.binary(min_size=16, max_size=16)


def joined(tag: int, values: list[bytes]) -> bytes:
    return b"".join(tlv.wrap(tag, value) for value in values)


@few
@given(transaction_ids, host_ids, points, signatures)
def test_initialise_secure_channel_is_what_the_schema_writes(
    transaction_id: TransactionId, host_id: bytes, smdp_otpk: bytes, smdp_sign: bytes
) -> None:
    built = es8plus.initialise_secure_channel(
        transaction_id=transaction_id, host_id=host_id, smdp_otpk=smdp_otpk, smdp_sign=smdp_sign
    )
    assert built == schema.encode(
        "InitialiseSecureChannelRequest",
        {
            "remoteOpId": 1,
            "transactionId": transaction_id.value,
            "controlRefTemplate": {"keyType": b"\x88", "keyLen": b"\x10", "hostId": host_id},
            "smdpOtpk": smdp_otpk,
            "smdpSign": smdp_sign,
        },
    )


@few
@given(transaction_ids, host_ids, points, points)
def test_the_signed_part_is_the_opening_and_the_key_of_the_euicc(
    transaction_id: TransactionId, host_id: bytes, smdp_otpk: bytes, euicc_otpk: bytes
) -> None:
    signed = es8plus.initialise_secure_channel_signed_part(
        transaction_id=transaction_id, host_id=host_id, smdp_otpk=smdp_otpk, euicc_otpk=euicc_otpk
    )
    built = es8plus.initialise_secure_channel(
        transaction_id=transaction_id, host_id=host_id, smdp_otpk=smdp_otpk, smdp_sign=bytes(64)
    )
    opening = tlv.read_only(built, 0xBF23).value.removesuffix(tlv.wrap(0x5F37, bytes(64)))
    assert signed == opening + tlv.wrap(0x5F49, euicc_otpk)


@few
@given(segments, segments, st.just([]) | segments, segments)
def test_a_package_is_what_the_schema_writes(
    first87: list[bytes], segments88: list[bytes], second87: list[bytes], segments86: list[bytes]
) -> None:
    opening = {
        "remoteOpId": 1,
        "transactionId": b"\x01",
        "controlRefTemplate": {"keyType": b"\x88", "keyLen": b"\x10", "hostId": b"h"},
        "smdpOtpk": KEY,
        "smdpSign": bytes(64),
    }
    value = {
        "initialiseSecureChannelRequest": opening,
        "firstSequenceOf87": first87,
        "sequenceOf88": segments88,
        "sequenceOf86": segments86,
    }
    built = es8plus.bound_profile_package(
        bf23=schema.encode("InitialiseSecureChannelRequest", opening),
        first87=joined(0x87, first87),
        segments88=joined(0x88, segments88),
        second87=joined(0x87, second87),
        segments86=joined(0x86, segments86),
    )
    whole = value | {"secondSequenceOf87": second87} if second87 else value
    assert built == schema.encode("BoundProfilePackage", whole)


@few
@given(keys, keys, keys)
def test_replaced_session_keys_are_what_the_schema_writes(mcv: bytes, enc: bytes, cmac: bytes) -> None:
    assert es8plus.replace_session_keys(initial_mcv=mcv, ppk_enc=enc, ppk_cmac=cmac) == schema.encode(
        "ReplaceSessionKeysRequest", {"initialMacChainingValue": mcv, "ppkEnc": enc, "ppkCmac": cmac}
    )


def test_the_isdp_is_configured_with_or_without_the_makers_oid() -> None:
    assert es8plus.configure_isdp().hex() == "bf2400"
    configured = es8plus.configure_isdp(es8plus.dp_proprietary_data("2.999.10"))
    assert configured.hex() == "bf2407b805800388370a"
    assert schema.decode("ConfigureISDPRequest", configured) == {"dpProprietaryData": {"dpOid": "2.999.10"}}
    more = es8plus.configure_isdp(es8plus.dp_proprietary_data("2.999.10", b"\x81\x01\x03"))
    assert more.hex() == "bf240ab808" + "800388370a" + "810103"


def test_proprietary_data_beyond_its_limit_is_malformed() -> None:
    longest = "1.3" + ".1" * 123
    assert len(es8plus.dp_proprietary_data(longest)) == 128
    with pytest.raises(Malformed, match="dpProprietaryData"):
        es8plus.dp_proprietary_data(longest + ".1")
    with pytest.raises(Malformed, match="announces"):
        es8plus.dp_proprietary_data("2.999.10", b"\x81\x02\x03")


@pytest.mark.parametrize(
    ("member", "build"),
    [
        ("hostId", lambda: opening(host_id=b"")),
        ("hostId", lambda: opening(host_id=bytes(17))),
        ("smdpOtpk", lambda: opening(smdp_otpk=bytes(64))),
        ("smdpSign", lambda: opening(smdp_sign=bytes(71))),
        ("initialMacChainingValue", lambda: replaced_keys(initial_mcv=bytes(15))),
        ("ppkEnc", lambda: replaced_keys(ppk_enc=bytes(32))),
        ("ppkCmac", lambda: replaced_keys(ppk_cmac=b"")),
    ],
)
def test_a_part_of_another_size_is_malformed(member: str, build: Callable[[], bytes]) -> None:
    with pytest.raises(Malformed, match=member):
        build()


def opening(*, host_id: bytes = b"h", smdp_otpk: bytes = KEY, smdp_sign: bytes = bytes(64)) -> bytes:
    return es8plus.initialise_secure_channel(
        transaction_id=TransactionId(b"1"), host_id=host_id, smdp_otpk=smdp_otpk, smdp_sign=smdp_sign
    )


def replaced_keys(*, initial_mcv: bytes = bytes(16), ppk_enc: bytes = bytes(16), ppk_cmac: bytes = bytes(16)) -> bytes:
    return es8plus.replace_session_keys(initial_mcv=initial_mcv, ppk_enc=ppk_enc, ppk_cmac=ppk_cmac)
