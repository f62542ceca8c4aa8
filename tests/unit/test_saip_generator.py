"""Generated profile packages against the published types and the published test profile."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import asn1tools
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsp import saip
from rsp.errors import Malformed
from rsp.identifiers import Iccid
from rsp.personalisation import MAX_PADDING, OtaKeys, Personalisation, spn_bytes
from rsp.saip_files import RULES, Access, Fcp, Key, access_rules, rule_reference
from rsp.saip_template import generate

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the reference data is not beside the project")

OTA = OtaKeys(kic=bytes(range(16)), kid=bytes(range(16, 32)), kik=bytes(range(32, 48)))
PERSON = Personalisation(
    iccid=Iccid("8949000000000000012"),
    imsi="262010123456789",
    ki=bytes.fromhex("465b5ce8b199b49faa5f0a2ee238a6bc"),
    opc=bytes.fromhex("cd63cb71954a9f4e48a5994e37a02baf"),
    pin1="1234",
    puk1="12345678",
    pin2="23456",
    puk2="87654321",
    adm1=b"\x01\x02\x03\x04\x05\x06\x07\x08",
    service_provider_name="Example",
    profile_type="Example IoT",
)

digits = st.characters(min_codepoint=0x30, max_codepoint=0x39)
people = st.builds(
    Personalisation,
    iccid=st.text(digits, min_size=18, max_size=20).map(Iccid),
    imsi=st.text(digits, min_size=6, max_size=15),
    mnc_digits=st.sampled_from([2, 3]),
    ki=st.binary(min_size=16, max_size=16),
    opc=st.binary(min_size=16, max_size=16),
    pin1=st.text(digits, min_size=4, max_size=8),
    puk1=st.text(digits, min_size=8, max_size=8),
    pin2=st.text(digits, min_size=4, max_size=8),
    puk2=st.text(digits, min_size=8, max_size=8),
    adm1=st.binary(min_size=8, max_size=8),
    ota_keys=st.sampled_from([None, OTA]),
    service_provider_name=st.text(
        st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), min_size=1, max_size=7
    ),
    profile_type=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100),
    padding=st.integers(0, 5000),
)


@pytest.fixture(scope="module")
def published() -> Any:
    """The published module; the default of sqnInit, which this compiler cannot read, is left away."""
    text = (DATA / "asn1" / "PEDefinitions.asn").read_text()
    text, count = re.subn(r"(sqnInit SEQUENCE[^\n]*?)DEFAULT \{.*?'H \}", r"\1OPTIONAL", text, flags=re.S)
    assert count == 1
    return asn1tools.compile_string(text, "der")


def decoded(published: Any, package: bytes) -> list[tuple[str, Any]]:
    """Every element as the published types read it; each must be written again byte for byte."""
    values = []
    for element in saip.split_elements(package):
        value = published.decode("ProfileElement", element.raw, check_constraints=True)
        assert published.encode("ProfileElement", value, check_constraints=True) == element.raw
        values.append(value)
    return values


def content(file: list[tuple[str, Any]]) -> bytes:
    return b"".join(value for name, value in file if name == "fillFileContent")


@needs_data
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(person=people)
def test_every_element_is_valid_for_the_published_types(published: Any, person: Personalisation) -> None:
    assert decoded(published, generate(person))


@settings(max_examples=100, deadline=None)
@given(people)
def test_what_was_personalised_is_read_back(person: Personalisation) -> None:
    package = generate(person)
    header = saip.validate(package)
    assert (header.iccid, header.profile_type) == (person.iccid, person.profile_type)
    assert saip.read_imsi(package) == person.imsi


@needs_data
@pytest.mark.parametrize("ota_keys", [None, OTA])
def test_elements_come_in_the_order_of_the_published_test_profile(ota_keys: OtaKeys | None) -> None:
    published = [element.tag for element in saip.split_elements((DATA / "ts48" / "ts48-v7-NoBERTLV.der").read_bytes())]
    places = iter(published)
    for element in saip.split_elements(generate(replace(PERSON, ota_keys=ota_keys, padding=10))):
        assert any(tag == element.tag for tag in places), f"{saip.ELEMENTS[element.tag]} is out of order"


@needs_data
def test_mandatory_services_and_templates_are_those_of_the_elements(published: Any) -> None:
    values = decoded(published, generate(PERSON))
    header, elements = values[0][1], dict(values[1:])
    algorithm = elements["akaParameter"]["algoConfiguration"][1]["algorithmID"]
    assert "usim" in elements
    assert algorithm == 1
    assert set(header["eUICC-Mandatory-services"]) == {"usim", "milenage"}
    used = [value["templateID"] for _, value in values[1:] if "templateID" in value]
    assert header["eUICC-Mandatory-GFSTEList"] == used


@needs_data
def test_elements_are_numbered_in_order_and_mandated(published: Any) -> None:
    headers = [
        next(iter(value.values())) for _, value in decoded(published, generate(replace(PERSON, ota_keys=OTA)))[1:]
    ]
    assert headers == [{"mandated": None, "identification": number} for number in range(1, len(headers) + 1)]


@needs_data
def test_secrets_stand_where_the_card_looks_for_them(published: Any) -> None:
    values = decoded(published, generate(replace(PERSON, ota_keys=OTA)))
    elements = dict(values)
    algorithm = elements["akaParameter"]["algoConfiguration"][1]
    assert (algorithm["key"], algorithm["opc"]) == (PERSON.ki, PERSON.opc)
    assert [code["pukValue"] for code in elements["pukCodes"]["pukCodes"]] == [b"12345678", b"87654321"]
    pins = [pin for name, value in values if name == "pinCodes" for pin in value["pinCodes"][1]]
    assert [(pin["keyReference"], pin["pinValue"], pin.get("unblockingPINReference")) for pin in pins] == [
        (1, b"1234\xff\xff\xff\xff", 1),
        (10, PERSON.adm1, None),
        (129, b"23456\xff\xff\xff", 129),
    ]
    keys = [key["keyCompontents"][0]["keyData"] for key in elements["securityDomain"]["keyList"]]
    assert keys == [OTA.kic, OTA.kid, OTA.kik]


@needs_data
def test_security_domain_presents_itself_as_in_the_published_test_profile(published: Any) -> None:
    package = (DATA / "ts48" / "ts48-v7-NoBERTLV.der").read_bytes()
    theirs = dict(decoded(published, package))["securityDomain"]
    ours = dict(decoded(published, generate(replace(PERSON, ota_keys=OTA))))["securityDomain"]
    assert ours["sdPersoData"] == theirs["sdPersoData"]
    for name in ("applicationLoadPackageAID", "classAID", "instanceAID", "applicationPrivileges", "lifeCycleState"):
        assert ours["instance"][name] == theirs["instance"][name]
    usage = [(key["keyUsageQualifier"], key["keyIdentifier"]) for key in theirs["keyList"]]
    assert [(key["keyUsageQualifier"], key["keyIdentifier"]) for key in ours["keyList"]] == usage[:3]


@needs_data
def test_files_carry_the_ids_of_the_published_test_profile(published: Any) -> None:
    package = (DATA / "ts48" / "ts48-v7-NoBERTLV.der").read_bytes()
    theirs, ours = dict(decoded(published, package)), dict(decoded(published, generate(PERSON)))
    for element in ("mf", "usim"):
        names = [name for name in ours[element] if name.startswith("ef-")]
        assert names == [name for name in theirs[element] if name.startswith("ef-")]
        for name in names:
            assert ours[element][name][0][1]["fileID"] == theirs[element][name][0][1]["fileID"]


@needs_data
def test_content_fits_the_announced_size(published: Any) -> None:
    for name, value in decoded(published, generate(replace(PERSON, padding=2500))):
        files = [item for item in value.values() if isinstance(item, list)] if name in ("mf", "usim") else []
        for file in files:
            size = file[0][1].get("efFileSize")
            assert size is None or len(content(file)) <= int.from_bytes(size, "big")


@needs_data
@pytest.mark.parametrize(
    ("mnc_digits", "administrative", "area"), [(2, "00000002", "62f210"), (3, "00000003", "620210")]
)
def test_location_starts_in_the_home_network(published: Any, mnc_digits: int, administrative: str, area: str) -> None:
    usim = dict(decoded(published, generate(replace(PERSON, mnc_digits=mnc_digits))))["usim"]
    assert content(usim["ef-ad"]).hex() == administrative
    assert content(usim["ef-loci"]).hex() == f"ffffffff{area}fffeff01"
    assert content(usim["ef-psloci"]).hex() == f"ffffffffffffff{area}fffeff01"
    assert content(usim["ef-epsloci"]).hex() == "ff" * 12 + f"{area}fffe01"


@needs_data
def test_access_class_is_the_last_digit_of_the_imsi(published: Any) -> None:
    usim = dict(decoded(published, generate(PERSON)))["usim"]
    assert content(usim["ef-acc"]).hex() == "0200"


@needs_data
@pytest.mark.parametrize("ota_keys", [None, OTA])
def test_remote_management_is_announced_and_present_only_with_its_keys(
    published: Any, ota_keys: OtaKeys | None
) -> None:
    values = decoded(published, generate(replace(PERSON, ota_keys=ota_keys)))
    table = int.from_bytes(content(dict(values)["usim"]["ef-ust"]), "little")
    offered = {number for number in range(1, 89) if table >> (number - 1) & 1}
    assert offered == {2, 10, 12, 19, 33, 34, 85} | ({28} if ota_keys else set())
    assert [name for name, _ in values].count("rfm") == (2 if ota_keys else 0)
    assert ("keyList" in dict(values)["securityDomain"]) == bool(ota_keys)


@pytest.mark.parametrize("padding", [1, 999, 1000, 1001, 10_000, MAX_PADDING])
def test_padding_adds_its_size_and_little_more(padding: int) -> None:
    plain, padded = len(generate(PERSON)), len(generate(replace(PERSON, padding=padding)))
    assert padding < padded - plain < padding * 1.04 + 100
    saip.validate(generate(replace(PERSON, padding=padding)))


def test_a_benchmark_profile_of_twelve_kilobytes_can_be_made() -> None:
    assert 12_000 < len(generate(replace(PERSON, padding=10_000))) < 12_600


def test_the_same_person_gives_the_same_package() -> None:
    assert generate(replace(PERSON, padding=3000)) == generate(replace(PERSON, padding=3000))


def test_no_secret_shows_in_the_repr() -> None:
    text = repr(replace(PERSON, ota_keys=OTA))
    for secret in (PERSON.ki, PERSON.opc, PERSON.adm1, OTA.kic, OTA.kid, OTA.kik):
        assert repr(secret) not in text
        assert secret.hex() not in text
    for name in ("ki=", "opc=", "pin1", "puk1", "pin2", "puk2", "adm1", "kic", "kid", "kik"):
        assert name not in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"imsi": "26201"}, "imsi is 6 to 15"),
        ({"imsi": "2620101234567890"}, "imsi is 6 to 15"),
        ({"imsi": "26201x"}, "imsi is 6 to 15"),
        ({"imsi": "٢٦٢٠١٠١"}, "imsi is 6 to 15"),
        ({"mnc_digits": 4}, "mnc_digits"),
        ({"ki": bytes(15)}, "ki is 16 bytes"),
        ({"opc": bytes(17)}, "opc is 16 bytes"),
        ({"pin1": "123"}, "pin1 is 4 to 8"),
        ({"puk1": "1234567"}, "puk1 is 8"),
        ({"pin2": "123456789"}, "pin2 is 4 to 8"),
        ({"puk2": "1234567a"}, "puk2 is 8"),
        ({"adm1": bytes(7)}, "adm1 is 8 bytes"),
        ({"service_provider_name": ""}, "1 to 16"),
        ({"service_provider_name": "x" * 17}, "1 to 16"),
        ({"service_provider_name": "электросвязь"}, "1 to 16"),
        ({"service_provider_name": "😀"}, "1 to 16"),
        ({"service_provider_name": "\ud800"}, "UTF-8"),
        ({"profile_type": ""}, "1 to 100"),
        ({"profile_type": "x" * 101}, "1 to 100"),
        ({"profile_type": "\ud800"}, "UTF-8"),
        ({"padding": -1}, "padding"),
        ({"padding": MAX_PADDING + 1}, "padding"),
    ],
)
def test_personal_data_of_another_form_is_refused_without_being_repeated(change: dict[str, Any], says: str) -> None:
    with pytest.raises(Malformed, match=says) as refusal:
        replace(PERSON, **change)
    (value,) = change.values()
    assert not (isinstance(value, str) and len(value) > 3 and value in str(refusal.value))


def test_keys_for_remote_management_are_16_bytes() -> None:
    with pytest.raises(Malformed, match="kik is 16 bytes"):
        OtaKeys(kic=bytes(16), kid=bytes(16), kik=bytes(8))


@pytest.mark.parametrize(
    ("name", "coded"),
    [("Example", "4578616d706c65"), ("A@B", "80004100400042"), ("Größe", "80004700720 0f600df0065".replace(" ", ""))],
)
def test_names_outside_the_shared_letters_are_coded_in_ucs2(name: str, coded: str) -> None:
    assert spn_bytes(name).hex() == coded.ljust(32, "f")


def test_access_rules_read_as_the_standard_writes_them() -> None:
    assert Access(Key.PIN1, Key.ADM1).encode().hex() == "800101a40683010195010880015aa40683010a950108"
    assert Access(Key.PIN1, Key.PIN1).encode().hex() == "800103a406830101950108800158a40683010a950108"
    assert Access(Key.ALWAYS, Key.ADM1).encode().hex() == "800101900080015aa40683010a950108"
    assert Access(Key.ALWAYS, Key.NEVER).encode().hex() == "80010190008001029700800158a40683010a950108"


@pytest.mark.parametrize("access", RULES)
def test_a_rule_reference_leads_to_its_record(access: Access) -> None:
    reference = rule_reference(0x6F06, access)
    assert reference[:2].hex() == "6f06"
    assert access_rules()[reference[2] - 1].rstrip(b"\xff") == access.encode()


def test_an_empty_short_id_is_written() -> None:
    assert Fcp(rule=b"\x01", short_id=b"").encode().hex() == "8b01018800"


def test_a_directory_takes_the_first_rule() -> None:
    assert rule_reference(0x2F06, None).hex() == "2f0601"
    assert access_rules()[0].rstrip(b"\xff").hex() == "80015fa40683010a950108"


@needs_data
@pytest.mark.parametrize(
    ("imsi", "coded"),
    [
        ("001010123456789", "080910101032547698"),
        ("262010123456", "07212610103254f6ff"),
        ("262010", "04212610f0ffffffff"),
    ],
)
def test_imsi_is_coded_as_in_the_published_test_profile(published: Any, imsi: str, coded: str) -> None:
    usim = dict(decoded(published, generate(replace(PERSON, imsi=imsi))))["usim"]
    assert content(usim["ef-imsi"]) == bytes.fromhex(coded)


@needs_data
@pytest.mark.parametrize("name", saip.SERVICES)
def test_services_have_the_names_of_the_published_types(published: Any, name: str) -> None:
    kind, header = published.decode("ProfileElement", saip.split_elements(generate(PERSON))[0].raw)
    header["eUICC-Mandatory-services"] = {name: None}
    coded = published.encode("ProfileElement", (kind, header))
    assert saip.read_header(coded).mandatory_services == {name}


@needs_data
def test_elements_have_the_tags_and_names_of_the_published_types() -> None:
    text = (DATA / "asn1" / "PEDefinitions.asn").read_text()
    choice = text.split("ProfileElement ::= CHOICE {")[1].split("...")[0]
    names = re.findall(r"^\s*([A-Za-z0-9-]+) (?:PE-|ProfileHeader)", choice, re.M)
    tags = [0xA0 | place if place < 31 else 0xBF00 | place for place in range(len(names))]
    wanted = {tag: name for tag, name in zip(tags, names, strict=True) if not name.startswith("rfu")}
    assert wanted == saip.ELEMENTS


@needs_data
def test_imsi_of_an_iot_profile_is_read(published: Any) -> None:
    imsi = [("fillFileContent", bytes.fromhex("080910101032547698"))]
    files = {"ef-imsi": imsi, "ef-acc": [], "ef-ecc": []}
    value = {"iot-header": {"identification": 1}, "templateID": "2.23.143.1.2.20", **files}
    element = published.encode("ProfileElement", ("iot", value))
    assert saip.read_imsi(element) == "001010123456789"
