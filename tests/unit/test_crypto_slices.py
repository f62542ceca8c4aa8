"""Certificates of eUICCs read by slices: whatever the slices say, the whole reader says too; else they say nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from crypto_pki import CI, EID, EUICC, EUM, Plan, issue
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from crypto import slices, x509
from crypto.certificates import BadCertificate, Certificate, parse_certificate

# GSMA SGP.26: the eUICC certificates of the published test set.
PUBLISHED = tuple(
    bytes.fromhex(text)
    for text in (
        (
            "30820200308201a5a0030201020209020000000000000001300a06082a8648ce3d0403023037310b30090603550406130245"
            "5331153013060355040a0c0c52535020546573742045554d3111300f06035504030c0845554d20546573743020170d323030"
            "3430313039343835385a180f37343936303132343039343835385a3064310b30090603550406130245533115301306035504"
            "0a0c0c52535020546573742045554d3129302706035504051320383930343930333231323334353132333435313233343536"
            "37383930313233353113301106035504030c0a546573742065554943433059301306072a8648ce3d020106082a8648ce3d03"
            "0107034200046db3f53adc87dc2ff10c7bfcd87ad13ae97009afa065a6757ee571b3f2ebb18f46c1d68f3edeb0e74b2e5d54"
            "2051e7d27f50952028605afdef79fe9fffd03959a36b3069301f0603551d23041830168014dd3da24d350c1cc5d0af0965f4"
            "0ec34c5ee409f1301d0603551d0e04160414a52476af5d50aa376437ccb1da2172ef45f484f0300e0603551d0f0101ff0404"
            "0302078030170603551d200101ff040d300b3009060767811201020101300a06082a8648ce3d0403020349003046022100d7"
            "2b417d14d1f0655eb3d0eb8444600a87061faee0334dfc2b90ed2c557bef88022100ef51c2c6fec52e87a1346854d55e6f01"
            "8fe6e983de112acbb84358ec7cf12f53"
        ),
        (
            "308201ff308201a6a0030201020209020000000000000001300a06082a8648ce3d0403023037310b30090603550406130245"
            "5331153013060355040a0c0c52535020546573742045554d3111300f06035504030c0845554d20546573743020170d323030"
            "3430313039343835385a180f37343936303132343039343835385a3064310b30090603550406130245533115301306035504"
            "0a0c0c52535020546573742045554d3129302706035504051320383930343930333231323334353132333435313233343536"
            "37383930313233353113301106035504030c0a54657374206555494343305a301406072a8648ce3d020106092b2403030208"
            "010107034200043e590c38a9c256315ecff3291416dd335409a666fd41b3b51e5e5114f343abf0a26774c6c26c48753afe28"
            "3643227bb6608cd261cc972d374a479124ebf27722a36b3069301f0603551d230418301680146fa1e5217363a822bded988a"
            "1a0d0ff5d7620db7301d0603551d0e04160414c8a64f343b85b7b0578dc57f8f13586dc804ed84300e0603551d0f0101ff04"
            "040302078030170603551d200101ff040d300b3009060767811201020101300a06082a8648ce3d0403020347003044022056"
            "73c0fe8ff495ae93ae37a13296b2cb1b1017d7697053ed6920e987928699d70220059c7fec056869f24b548ac64757e4cb14"
            "d3a08609752c79a5b872a4980e338b"
        ),
    )
)
# Altered serial numbers make the library warn; what matters here is that both readers judge alike.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")

_CI = issue(CI)
_EUM = issue(EUM, _CI)
_BRAINPOOL = {name: replace(plan, curve=ec.BrainpoolP256R1()) for name, plan in (("ci", CI), ("card", EUICC))}
ISSUED = (
    issue(EUICC, _EUM).der,
    issue(replace(EUICC, not_after=datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)), _EUM).der,
    issue(replace(EUICC, not_after=datetime(9999, 12, 31, tzinfo=UTC)), _EUM).der,
    issue(_BRAINPOOL["card"], issue(_BRAINPOOL["ci"])).der,
)
USUAL = (*PUBLISHED, *ISSUED)


def outcome(read: object, der: bytes) -> Certificate | str:
    """What a reader says of some bytes: the certificate, or that it refuses them."""
    try:
        certificate = read(der)  # type: ignore[operator]
    except BadCertificate:
        return "refused"
    assert isinstance(certificate, Certificate)
    return certificate


def assert_alike(der: bytes) -> None:
    assert outcome(parse_certificate.__wrapped__, der) == outcome(x509.read_whole, der)


@pytest.mark.parametrize("der", USUAL)
def test_usual_certificates_are_read_by_slices_and_alike(der: bytes) -> None:
    assert slices.euicc(der) is not None
    assert_alike(der)


@pytest.mark.parametrize(
    "plan",
    [
        replace(EUICC, ca=True),
        replace(EUICC, cert_sign=True),
        replace(EUICC, digital_signature=False),
        replace(EUICC, role=EUM.role),
        replace(EUICC, oid="2.999.1"),
        replace(EUICC, dns_name="card.example.com"),
        replace(EUICC, tls_server=True),
        replace(EUICC, unknown_critical=True),
        replace(EUICC, permitted=(("Test EUM", "89049032"),)),
        replace(EUICC, second_serial_number=EID),
        replace(EUICC, subject_key_id=b"short"),
        replace(EUICC, organization="Société"),
        replace(EUICC, organization="Name with * letters @ of other sets"),
        replace(EUICC, curve=ec.SECP384R1()),
        EUM,
        CI,
    ],
    ids=range(16),
)
def test_every_other_certificate_is_left_to_the_whole_reader(plan: Plan) -> None:
    der = issue(plan, _EUM).der
    assert slices.euicc(der) is None
    assert_alike(der)


@pytest.mark.parametrize("der", USUAL)
def test_every_changed_bit_is_judged_alike(der: bytes) -> None:
    for place in range(len(der)):
        for bit in range(8):
            assert_alike(der[:place] + bytes((der[place] ^ 1 << bit,)) + der[place + 1 :])


@pytest.mark.parametrize("der", USUAL)
def test_every_cut_and_every_lost_or_doubled_byte_is_judged_alike(der: bytes) -> None:
    for place in range(len(der)):
        assert_alike(der[:place])
        assert_alike(der[:place] + der[place + 1 :])
        assert_alike(der[:place] + der[place : place + 1] + der[place:])


@given(
    der=st.sampled_from(USUAL),
    changes=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), min_size=1, max_size=6),
    moved=st.tuples(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 120)),
)
def test_many_changes_at_once_are_judged_alike(
    der: bytes, changes: list[tuple[int, int]], moved: tuple[int, int, int]
) -> None:
    altered = bytearray(der)
    for place, value in changes:
        altered[place % len(altered)] = value
    assert_alike(bytes(altered))
    source, target, length = moved
    copied = bytearray(der)
    source, target = source % len(der), target % len(der)
    copied[target : target + length] = der[source : source + length]
    assert_alike(bytes(copied))


@given(
    st.sampled_from((b"\x13", b"\x0c", b"\x16", b"\x14", b"\x1e")),
    st.binary(min_size=4, max_size=4),
)
def test_names_of_every_string_type_and_content_are_judged_alike(tag: bytes, text: bytes) -> None:
    der = ISSUED[0]
    common_name = b"\x0c\x04card"
    assert common_name in der
    assert_alike(der.replace(common_name, tag + b"\x04" + text))


@pytest.mark.parametrize(
    ("written", "other"),
    [(b"200101000000Z", other) for other in (
        b"991231235959Z", b"500101000000Z", b"491231235959Z", b"200230000000Z", b"201301000000Z", b"200101240000Z",
        b"200101006000Z", b"200101000060Z", b"200101000000z", b"2001010000+0Z",
    )] + [(b"20500101000000Z", other) for other in (
        b"20490101000000Z", b"99991231235959Z", b"00000101000000Z", b"20500132000000Z", b"2050010100000.Z",
    )],
)  # fmt: skip
def test_dates_are_judged_alike(written: bytes, other: bytes) -> None:
    der = ISSUED[0]
    assert written in der
    assert_alike(der.replace(written, other))


def test_a_point_beside_the_curve_is_refused() -> None:
    der = ISSUED[0]
    found = slices.euicc(der)
    assert found is not None
    beside = der.replace(found.point, found.point[:-1] + bytes((found.point[-1] ^ 1,)))
    assert slices.euicc(beside) is not None
    with pytest.raises(BadCertificate):
        parse_certificate(beside)
