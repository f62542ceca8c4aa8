"""What a card keeps of its eIM, as factories and other eIMs write it (SGP.32 v1.2, 2.11.1 EimConfigurationData)."""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum

from rsp import tlv
from rsp.errors import Malformed
from rsp.esep.members import CERTIFICATE, PUBLIC_KEY, checked_eim_id, wrap_text


class EimIdType(IntEnum):
    """What kind of name an eimId is."""

    OID = 1
    FQDN = 2
    PROPRIETARY = 3


class EimProtocol(IntEnum):
    """How an IPA reaches its eIM, by the bit of EimSupportedProtocol."""

    RETRIEVE_HTTPS = 0
    RETRIEVE_COAPS = 1
    INJECT_HTTPS = 2
    INJECT_COAPS = 3
    PROPRIETARY = 4


def eim_configuration_data(  # noqa: PLR0913 -- one argument for each member of the structure
    *,
    eim_id: str,
    fqdn: str,
    counter: int,
    token: int | None,
    public_key_spki: bytes,
    tls_spki_or_certificate: bytes | None,
    protocols: Collection[EimProtocol],
    ci_key_id: bytes | None,
    id_type: EimIdType = EimIdType.FQDN,
) -> bytes:
    """EimConfigurationData: the card accepts packages whose counter is greater than `counter`.

    `token` -1 asks the card to make an association token, None associates without one. Keys are DER of a
    SubjectPublicKeyInfo, the one for TLS may be a certificate, of the eIM or of its CA. Raises Malformed.
    """
    tls = b"" if tls_spki_or_certificate is None else _key_data(0xA6, tls_spki_or_certificate)
    return tlv.wrap(
        0x30,
        wrap_text(0x80, checked_eim_id(eim_id), "eimId"),
        wrap_text(0x81, fqdn, "eimFqdn"),
        tlv.wrap_integer(0x82, id_type),
        tlv.wrap_integer(0x83, counter),
        b"" if token is None else tlv.wrap_integer(0x84, token),
        _key_data(0xA5, public_key_spki),
        tls,
        tlv.wrap(0x87, _named_bits(protocols)),
        b"" if ci_key_id is None else tlv.wrap(0x88, ci_key_id),
    )


def add_initial_eim_request(*configurations: bytes) -> bytes:
    """AddInitialEimRequest (BF57), what a factory sends to a card without an eIM: the EimConfigurationData of each."""
    return tlv.wrap(0xBF57, tlv.wrap(0xA0, *configurations))


def _key_data(tag: int, der: bytes) -> bytes:
    """The key or certificate in its alternative, whose tag stands in place of the SEQUENCE's own."""
    outer = tlv.read_only(der, 0x30)
    shape = tuple(child.tag for child in outer.children())
    if shape not in (PUBLIC_KEY, CERTIFICATE):
        raise Malformed("the key of an eIM is DER of a SubjectPublicKeyInfo or of a certificate")
    return tlv.wrap(tag, tlv.wrap(0xA0 if shape == PUBLIC_KEY else 0xA1, outer.value))


def _named_bits(protocols: Collection[EimProtocol]) -> bytes:
    """Content of a BIT STRING with named bits, all below 8; DER drops trailing zero bits."""
    bits = sum(0x80 >> protocol for protocol in frozenset(protocols))
    unused = (bits & -bits).bit_length() - 1 if bits else 0
    return bytes((unused, bits)) if bits else b"\x00"
