"""Profile packages as an SM-DP+ reads them: the published test profiles, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp import saip, tlv
from rsp.errors import Malformed
from rsp.identifiers import Iccid

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the reference data is not beside the project")
TS48 = ["ts48-v7-NoBERTLV", "ts48-v7-BERTLV_SUCI"]

ICCID = Iccid("8949000000000000012")
PE_HEADER = bytes.fromhex("a0058000810101")
END = bytes.fromhex("aa07a005800081011f")


def header(**changes: bytes) -> bytes:
    """A profile header of hand-written members; a change replaces the member of that tag, empty removes it."""
    members = {
        "80": b"\x80\x01\x02",
        "81": b"\x81\x01\x03",
        "82": b"\x82\x04Demo",
        "83": b"\x83\x0a" + bytes.fromhex("8949000000000000012f"),
        "A5": bytes.fromhex("a50481008400"),
        "A6": bytes.fromhex("a60806066781 0f010201"),
    }
    members.update({tag.removeprefix("t"): value for tag, value in changes.items()})
    return tlv.wrap(0xA0, *members.values())


def usim(imsi_file: bytes) -> bytes:
    return tlv.wrap(0xB3, PE_HEADER, bytes.fromhex("810667810f010204"), tlv.wrap(0xA3, imsi_file))


@needs_data
@pytest.mark.parametrize("name", TS48)
def test_published_profiles_are_valid_and_read_as_their_value_notation(name: str) -> None:
    package = (DATA / "ts48" / f"{name}.der").read_bytes()
    found = saip.validate(package)
    assert (found.major, found.minor) == (2, 3)
    assert found.profile_type == "GSMA Generic eUICC Test Profile"
    assert found.iccid == Iccid("89000123456789012341")
    services = "usim isim csim usim-test-algorithm get-identity profile-a-x25519 profile-b-p256"
    extra = {"ber-tlv"} if "SUCI" in name else set()
    assert found.mandatory_services == set(services.split()) | extra
    assert found.mandatory_templates == tuple(f"2.23.143.1.2.{n}" for n in (1, 3, 4, 5, 7, 8, 9, 10, 11, 13, 14))
    assert saip.read_imsi(package) == "001010123456789"


@needs_data
@pytest.mark.parametrize("name", TS48)
def test_elements_of_published_profiles_have_the_names_of_the_value_notation(name: str) -> None:
    lines = (DATA / "ts48" / f"{name}.txt").read_text().splitlines()
    wanted = [line.split(" ::= ")[1].split(" :")[0] for line in lines if " ProfileElement ::= " in line]
    elements = saip.split_elements((DATA / "ts48" / f"{name}.der").read_bytes())
    assert [saip.ELEMENTS[element.tag] for element in elements] == wanted


def test_header_iccid_is_in_reading_order() -> None:
    assert saip.read_header(header() + END).iccid == ICCID


def test_profile_type_may_be_absent() -> None:
    assert saip.validate(header(t82=b"") + END).profile_type is None


def test_services_of_later_releases_are_kept_by_number() -> None:
    services = bytes.fromhex("a508 8100 9e00 9f1f00 9f810000".replace(" ", ""))
    services = tlv.wrap(0xA5, services[2:])
    assert saip.read_header(header(tA5=services)).mandatory_services == {
        "usim",
        "service-30",
        "service-31",
        "service-128",
    }


@pytest.mark.parametrize(
    ("package", "says"),
    [
        (b"", "starts with its header"),
        (b"the-euicc-profile-fixture", "starts with its header"),
        (END, "starts with its header"),
        (header(), "last element must be end"),
        (header() + END + END, "followed by other elements"),
        (header() + header() + END, "second header"),
        (header() + b"\xab\x00" + END, r"unknown element \(tag AB\) at byte 42"),
        (header() + b"\xb0\x00" + END, r"mf \(tag B0\) at byte 42: it has no PE header"),
        (header() + b"\xb0\x04\xa0\x02\x80\x00" + END, "no PE header"),
        (header() + b"\xb0\x09" + PE_HEADER + b"\x81\x05" + END, r"mf \(tag B0\) at byte 42"),
        (header() + b"\xb0\x05\xa0\x03\x81\x01\xff" + END, "no PE header"),
        (header() + END[:-1], "announces"),
        (header(t80=b"") + END, "no member 80"),
        (header(t80=b"\x80\x02\x01\x00") + END, "between 0 and 255"),
        (header(t82=b"\x82\x00") + END, "1 to 100"),
        (header(t83=b"") + END, "no member 83"),
        (header(t83=b"\x83\x01\x00") + END, "10 bytes"),
        (header(t83=b"\x83\x0a" + b"\xab" * 10) + END, "18 to 20 decimal digits"),
        (header(tA5=b"\xa5\x02\x04\x00") + END, "empty context tag"),
        (header(tA5=b"\xa5\x03\x81\x01\x00") + END, "empty context tag"),
        (header(tA6=b"\xa6\x02\x04\x00") + END, "object identifiers"),
        (header(tA6=b"\xa6\x02\x06\x00") + END, "empty or cut off"),
    ],
)
def test_a_broken_package_is_refused_with_its_reason(package: bytes, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        saip.validate(package)


def test_ef_iccid_must_be_the_number_of_the_header() -> None:
    def package(iccid: Iccid) -> bytes:
        file = tlv.wrap(0xA4, tlv.wrap(0x83, iccid.to_bytes()))
        return header() + tlv.wrap(0xB0, PE_HEADER, bytes.fromhex("810667810f010201"), file) + END

    saip.validate(package(ICCID))
    with pytest.raises(Malformed, match="another number than the profile header"):
        saip.validate(package(Iccid("8949000000000000020")))


@pytest.mark.parametrize(
    ("file", "imsi"),
    [
        ("8309 082926101032547698", "262010123456789"),
        ("8309 0721261010 3254f6ff", "262010123456"),
        ("8201 01 8308 2926101032547698", None),
        ("8309 ffffffffffffffffff", None),
        ("", None),
    ],
)
def test_imsi_is_read_from_its_file(file: str, imsi: str | None) -> None:
    assert saip.read_imsi(header() + usim(bytes.fromhex(file)) + END) == imsi


@pytest.mark.parametrize("file", ["8309 0829261010 32fa76ff", "8304 08292610"])
def test_an_imsi_that_is_no_number_is_refused(file: str) -> None:
    package = header() + usim(bytes.fromhex(file)) + END
    with pytest.raises(Malformed, match="EF IMSI"):
        saip.read_imsi(package)


def test_a_package_without_usim_has_no_imsi() -> None:
    assert saip.read_imsi(header() + END) is None


@pytest.mark.parametrize("offset", ["8201ff", "820300ffff 820101", "820400ffffff"])
def test_offsets_cannot_blow_up_a_file(offset: str) -> None:
    with pytest.raises(Malformed, match="fillFileOffset"):
        saip.read_imsi(header() + usim(bytes.fromhex(offset)) + END)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=30))
def test_any_bytes_are_read_or_refused(value: bytes, file: bytes) -> None:
    packages = (value, header() + value, tlv.wrap(0xA0, value) + END, header() + value + END)
    for package in (*packages, header() + usim(file) + END):
        for read in (saip.validate, saip.read_header, saip.read_imsi, saip.split_elements):
            try:
                read(package)
            except Malformed:
                continue


@needs_data
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_published_profile_is_read_or_refused(data: st.DataObject) -> None:
    package = bytearray((DATA / "ts48" / "ts48-v7-NoBERTLV.der").read_bytes())
    package[data.draw(st.integers(0, len(package) - 1))] = data.draw(st.integers(0, 255))
    for read in (saip.validate, saip.read_imsi):
        try:
            read(bytes(package))
        except Malformed:
            continue
