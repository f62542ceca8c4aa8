"""What is fuzzed in this process: every reader of bytes or text that come from outside, and what it may raise.

A target takes any bytes and returns, or raises one of its declared errors. Anything else is a finding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import msgspec
from cryptography.x509 import load_der_x509_crl
from msgspec.structs import fields

import api.carriers
import api.enterprises
import api.esim_operations
import api.esims
import api.keys
import api.partnerships
import api.swaps
from api.framework import parse_body
from api.operation import Body
from carriers import control_center_rest, control_center_values
from carriers.base import PlatformRefused
from crypto import revocation, slices, x509
from crypto.agreement import SessionKeys
from crypto.bsp import BadMac, Bsp
from crypto.certificates import CertificateRejected, TrustStore
from crypto.revocation import BadRevocationList
from crypto.x509 import BadCertificate, parse_certificate
from es2plus import messages as es2
from es9plus import asn1 as es9_asn1
from es9plus import client as es9_client
from es9plus import messages as es9_json
from es9plus import requests as es9_requests
from rsp import es10, esep, icon, json_binding, plmn, saip, tlv, vendor_data
from rsp.errors import Malformed, Unreachable
from rsp.esep.sequence import sequence_numbers
from rsp.identifiers import ActivationCode, Eid, Iccid, MatchingId, TransactionId, fqdn
from rsp.metadata import ProfileMetadata, read_ready
from tests.fuzz import simulated
from tests.fuzz.target import NOW, Target, cis
from transport import client as http_client

_DEEPEST_WALK = 60
_MEMBERS = tuple(field.name for field in fields(x509.Certificate) if field.name != "public_key")
_OWN_ICCID = Iccid("8900012345678901234")
KEYS = SessionKeys.from_bytes(bytes(range(48)))


# Server: the language -------------------------------------------------------------------------------------------------


def _walk(data: bytes) -> None:
    """Every object in the data, as deep as any reader goes."""
    pending = [(found, 0) for found in tlv.objects(data)]
    while pending:
        found, depth = pending.pop()
        for read in (found.integer, found.text, lambda value=found.value: tlv.oid_from_bytes(value)):
            try:
                read()
            except Malformed:
                continue
        if depth < _DEEPEST_WALK and found.raw[0] & 0x20:
            with contextlib.suppress(Malformed):
                pending += [(child, depth + 1) for child in found.children()]


def _metadata(data: bytes) -> None:
    metadata = ProfileMetadata.parse(data)
    assert ProfileMetadata.parse(metadata.encode()) == metadata
    assert read_ready(data).encode() == data


def _package(data: bytes) -> None:
    saip.read_header(data)
    with contextlib.suppress(Malformed):
        saip.validate(data)
    saip.read_imsi(data)


def _texts(data: bytes) -> None:
    text = data.decode("utf-8", "surrogatepass") if data.isascii() else data.decode("utf-8", "replace")
    readers: tuple[Callable[[str], Any], ...] = (
        Eid,
        Iccid.parse,
        MatchingId,
        TransactionId.parse,
        fqdn,
        plmn.plmn_to_bytes,
        tlv.oid_to_bytes,
        vendor_data.VendorData.parse,
        vendor_data.AccessRule.parse,
    )
    for read in readers:
        with contextlib.suppress(Malformed):
            read(text)
    code = ActivationCode.parse(text)
    assert ActivationCode.parse(str(code)) == code


def _base64(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    raw = json_binding.decode_base64(text, "member")
    assert json_binding.decode_base64(json_binding.encode_base64(raw), "member") == raw


def _bsp(data: bytes) -> None:
    first = data[0] if data else 0
    if first == 0x88:
        Bsp(KEYS).verify_only(0x88, data)
    else:
        Bsp(KEYS).decrypt_and_verify(0x86, data)


@cache
def _trust() -> TrustStore:
    return TrustStore(cis())


def _certificate(data: bytes) -> None:
    """By slices and whole: where slices find something, both find the same."""
    parse_certificate(data)
    sliced = slices.euicc(data)
    if sliced is not None:
        try:
            whole = x509.read_whole(data)
        except BadCertificate as error:
            raise AssertionError(f"slices read what the whole reader refuses: {error}") from error
        by_slices = x509._of_slices(data, sliced)
        assert {name: getattr(by_slices, name) for name in _MEMBERS} == {
            name: getattr(whole, name) for name in _MEMBERS
        }


def _chain(data: bytes) -> None:
    """The certificates of an EUM and an eUICC, one after the other."""
    first = tlv.read(data)
    _trust().verify_euicc(first.raw, data[first.end :], NOW)


def _revocation_list(data: bytes) -> None:
    """Judged as it comes, and once more what lies behind the signature, which a changed list no longer has."""
    try:
        source = load_der_x509_crl(data)
        revocation._extensions(source)
        for entry in source:
            revocation._serial_number(entry)
    except x509.UNREADABLE as error:
        raise BadRevocationList from error
    _trust().read_revocation_list(data, NOW)


# Server: the interfaces -----------------------------------------------------------------------------------------------


def _es9_json(body: bytes) -> None:
    for read in (es9_json.initiate_authentication, es9_json.handle_notification):
        with contextlib.suppress(Malformed):
            _es10(read(body))
    for read_response in (es9_json.authenticate_client, es9_json.get_bound_profile_package, es9_json.cancel_session):
        with contextlib.suppress(Malformed):
            _es10(read_response(body).response)


def _es10(read: object) -> None:
    """What the use case does with the bytes of a request."""
    if isinstance(read, es9_requests.InitiateAuthentication):
        es10.parse_euicc_info1(read.euicc_info1)
        return
    assert isinstance(read, bytes)
    for parse in (
        es10.parse_authenticate_server_response,
        es10.parse_prepare_download_response,
        es10.parse_cancel_session_response,
        es10.parse_pending_notification,
    ):
        with contextlib.suppress(Malformed):
            found = parse(read)
            if isinstance(found, es10.AuthenticateServerOk):
                es10.parse_euicc_info2(found.euicc_info2)


_ES9_ASN1: dict[str, Callable[[bytes], object]] = {
    es9_requests.INITIATE_AUTHENTICATION: es9_asn1.initiate_authentication,
    es9_requests.AUTHENTICATE_CLIENT: lambda body: es9_asn1.authenticate_client(body).response,
    es9_requests.GET_BOUND_PROFILE_PACKAGE: lambda body: es9_asn1.get_bound_profile_package(body).response,
    es9_requests.HANDLE_NOTIFICATION: es9_asn1.handle_notification,
    es9_requests.CANCEL_SESSION: lambda body: es9_asn1.cancel_session(body).response,
}


def _es9_binary(body: bytes) -> None:
    _es10(_ES9_ASN1[es9_asn1.function_of(body)](body))


_ES2_KINDS: tuple[type[es2.Request], ...] = (
    es2.DownloadOrder,
    es2.ConfirmOrder,
    es2.CancelOrder,
    es2.ReleaseProfile,
    es2.GetProfileStatus,
    es2.RecoverProfile,
)


def _es2_json(body: bytes) -> None:
    for kind in _ES2_KINDS:
        with contextlib.suppress(Malformed):
            es2.encode(es2.decode(kind, body))


def _bodies(kind: type[Body] = Body) -> Iterator[type[Body]]:
    for below in kind.__subclasses__():
        yield below
        yield from _bodies(below)


_API = (api.carriers, api.enterprises, api.esim_operations, api.esims, api.keys, api.partnerships, api.swaps)


def _api_json(body: bytes) -> None:
    assert all(_API)
    for kind in _bodies():
        with contextlib.suppress(msgspec.DecodeError, Malformed):
            msgspec.json.encode(parse_body(kind, body))


def _esipa(body: bytes) -> None:
    tag = esep.first_tag(body)
    if tag == 0xBF4F:
        with contextlib.suppress(esep.EidMissing, esep.EidInvalid):
            esep.parse_get_eim_package(body)
    elif tag == 0xBF3D:
        esep.parse_handle_notification(body)
    else:
        esep.parse_provide_eim_package_result(body)


def _platform(body: bytes) -> None:
    """An answer of a carrier's platform, as the adapter reads it."""
    for status in (200, 400, 404):
        answer = control_center_rest._Answer(status=status, members=control_center_rest._members(body, "iso-8859-1"))
        with contextlib.suppress(Unreachable, PlatformRefused):
            found = control_center_rest._read("/devices/1", answer)
            if found is not None:
                _facts(found)


def _facts(found: dict[str, Any]) -> None:
    with contextlib.suppress(KeyError, ValueError, TypeError):
        control_center_values.read_facts(found, "", NOW)
    with contextlib.suppress(ValueError, TypeError):
        control_center_values.read_session(_OWN_ICCID, found)


def _reply(body: bytes) -> None:
    """An answer of an operator, an SM-DP+ or an SM-DS to one of our calls."""
    reply = http_client._read(body)
    if reply is None or reply.codes is not None:
        return
    answer = es9_client._Answer("function", reply.body)
    readers: tuple[Callable[[], object], ...] = (
        answer.transaction_id,
        lambda: answer.tlv("boundProfilePackage", 0xBF36),
        lambda: answer.tlv("serverSigned1", 0x30),
        lambda: answer.wrapped("serverSignature1", 0x5F37, 64),
    )
    for read in readers:
        with contextlib.suppress(Unreachable):
            read()


TARGETS: tuple[Target, ...] = (
    Target("tlv", "tlv", _walk),
    Target("authenticate_server", "tlv", es10.parse_authenticate_server_response),
    Target("prepare_download", "tlv", es10.parse_prepare_download_response),
    Target("cancel_session", "tlv", es10.parse_cancel_session_response),
    Target("notification", "tlv", es10.parse_pending_notification),
    Target("euicc_info1", "tlv", es10.parse_euicc_info1),
    Target("euicc_info2", "tlv", es10.parse_euicc_info2),
    Target("metadata", "tlv", _metadata),
    Target("icon", "octets", icon.check_icon),
    Target("package", "tlv", _package),
    Target("text", "text", _texts),
    Target("base64", "text", _base64),
    Target("segments", "tlv", _bsp, (BadMac,)),
    Target("certificate", "tlv", _certificate, (BadCertificate,)),
    Target("chain", "tlv", _chain, (Malformed, CertificateRejected)),
    Target("revocation_list", "tlv", _revocation_list, (BadRevocationList,)),
    Target("es9_json", "json", _es9_json),
    Target("es9_asn1", "tlv", _es9_binary),
    Target("es2_json", "json", _es2_json),
    Target("api_json", "json", _api_json),
    Target("esipa", "tlv", _esipa),
    Target("package_result", "tlv", esep.parse_package_result),
    Target("sequence", "tlv", sequence_numbers),
    Target("platform", "json", _platform),
    Target("reply", "json", _reply),
    *simulated.TARGETS,
)
"""In the order in which they are shown."""
