"""The eIMs a card obeys: their configuration data, counters and association tokens (SGP.32 2.11.1, 5.9)."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field, replace
from enum import IntEnum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rsp import tlv
from simulator import der, ecc

LARGEST_COUNTER = 8_388_607
TOKEN_TAG = 0x84
_PLEASE_GENERATE = -1
_TOKEN_BYTES = 4
_ID, _FQDN, _ID_TYPE, _COUNTER = 0x80, 0x81, 0x82, 0x83
_KEY, _TLS_KEY, _PROTOCOLS, _CI_KEY_ID, _INDIRECT = 0xA5, 0xA6, 0x87, 0x88, 0x89
_ORDER = (_ID, _FQDN, _ID_TYPE, _COUNTER, TOKEN_TAG, _KEY, _TLS_KEY, _PROTOCOLS, _CI_KEY_ID, _INDIRECT)


class AddEimError(IntEnum):
    """Why an eIM is not associated (AddInitialEim)."""

    INSUFFICIENT_MEMORY = 1
    ALREADY_ASSOCIATED = 2
    CI_KEY_UNKNOWN = 3
    INVALID_TOKEN = 5
    COUNTER_OUT_OF_RANGE = 6
    COMMAND_ERROR = 7


class AddEimRefused(Exception):  # noqa: N818 -- the name is the outcome
    """An eIM configuration the card does not take; `code` goes into the answer."""

    def __init__(self, code: AddEimError, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociatedEim:
    """One associated eIM. `configuration` is the raw EimConfigurationData (30) as it came; counter and token are live.

    `counter` is the last one accepted, `token` None where the eIM asked for none.
    """

    eim_id: str
    configuration: bytes = field(repr=False)
    counter: int
    token: int | None = field(repr=False)

    @property
    def token_tlv(self) -> bytes:
        """The object that is signed along with packages and results: 84, zero without a token."""
        return tlv.wrap_integer(TOKEN_TAG, self.token or 0)

    @property
    def ci_key_id(self) -> bytes | None:
        """The CI under which the card signs for this eIM, if it names one."""
        found = self._members().get(_CI_KEY_ID)
        return None if found is None else found.value

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The key that signs the eIM's packages."""
        return _public_key(self._members()[_KEY])

    def to_bytes(self) -> bytes:
        """EimConfigurationData (30) with the present counter and token."""
        parts = {tag: found.raw for tag, found in self._members().items()}
        parts[_COUNTER] = tlv.wrap_integer(_COUNTER, self.counter)
        if self.token is not None:
            parts[TOKEN_TAG] = self.token_tlv
        return tlv.wrap(0x30, *(parts[tag] for tag in _ORDER if tag in parts))

    def _members(self) -> dict[int, tlv.Tlv]:
        return tlv.read_only(self.configuration, 0x30).members()


def associate(configuration: tlv.Tlv, *, signing: Container[bytes], random: Callable[[int], bytes]) -> AssociatedEim:
    """The association that a first EimConfigurationData asks for; a token of -1 asks the card to make one.

    Raises AddEimRefused. `signing` holds the key ids of the CIs under which the card can sign.
    """
    try:
        found = der.members(configuration, *_ORDER, optional={*_ORDER} - {_ID, _COUNTER, _KEY})
        _check_members(found)
        counter = der.integer(found[_COUNTER])
        eim_id = der.text(found[_ID], 128)
        token = found[TOKEN_TAG].integer() if TOKEN_TAG in found else None
    except ValueError as error:
        raise AddEimRefused(AddEimError.COMMAND_ERROR, str(error)) from error
    if counter > LARGEST_COUNTER:
        raise AddEimRefused(AddEimError.COUNTER_OUT_OF_RANGE, f"a counter reaches {LARGEST_COUNTER} at most")
    if _CI_KEY_ID in found and found[_CI_KEY_ID].value not in signing:
        raise AddEimRefused(AddEimError.CI_KEY_UNKNOWN, "the card signs under no such CI")
    if token not in (None, _PLEASE_GENERATE):
        raise AddEimRefused(AddEimError.INVALID_TOKEN, "the card makes the token: ask for one with -1")
    eim = AssociatedEim(eim_id=eim_id, configuration=configuration.raw, counter=counter, token=None)
    if token is None:
        return eim
    # Zero stands for no token in what is signed, so it is never given out.
    return replace(eim, token=int.from_bytes(random(_TOKEN_BYTES), "big") or 1)


def _check_members(found: dict[int, tlv.Tlv]) -> None:
    if not found[_ID].value:
        raise ValueError("an eimId has 1 to 128 characters")
    if _FQDN in found:
        found[_FQDN].text()
    if _ID_TYPE in found and not 1 <= der.integer(found[_ID_TYPE]) <= 3:
        raise ValueError("eimIdType is OID 1, FQDN 2 or proprietary 3")
    if _PROTOCOLS in found:
        der.bits(found[_PROTOCOLS])
    if _INDIRECT in found:
        der.sized(found[_INDIRECT], 0)
    _public_key(found[_KEY])
    if _TLS_KEY in found:
        _key_or_certificate(found[_TLS_KEY])


def _key_or_certificate(parent: tlv.Tlv) -> tlv.Tlv:
    chosen = der.only_child(parent)
    if chosen.tag not in (0xA0, 0xA1):
        raise ValueError(f"{parent.tag:X} holds a public key (A0) or a certificate (A1)")
    return chosen


def _public_key(parent: tlv.Tlv) -> ec.EllipticCurvePublicKey:
    chosen = _key_or_certificate(parent)
    # The tag of the choice stands in the place of the SEQUENCE tag.
    whole = tlv.wrap(0x30, chosen.value)
    try:
        if chosen.tag == 0xA0:
            key = serialization.load_der_public_key(whole)
        else:
            key = x509.load_der_x509_certificate(whole).public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise ValueError("the eIM's public key cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not ecc.is_supported(key.curve):
        raise ValueError("the eIM's key is on neither P-256 nor brainpoolP256r1")
    return key
