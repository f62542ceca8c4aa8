"""What an IPA reads of packages and writes as results: triggers, data requests, sequence numbers (SGP.32 2.11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rsp import tlv
from rsp.identifiers import ActivationCode, Iccid
from simulator import der
from simulator.esipa import DATA_REQUEST, DOWNLOAD_TRIGGER, EUICC_PACKAGE, ResponseError
from simulator.iot_card import IotCard
from simulator.lpa_messages import (
    Device,
    notifications,
    retrieve_all_notifications_request,
    sequence_and_address,
)

ALL_RESULTS = tlv.wrap(0xBF2B, tlv.wrap(0xA0, tlv.wrap(0x82)))
UNDEFINED_ERROR = 127
_INCORRECT_TAG_LIST, _CI_KEY_NOT_FOUND = 1, 5
_DIRECT_DOWNLOAD, _RETRIEVE_HTTPS = 0, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A download trigger: `activation_code` is None where the default SM-DP+ is to be contacted.

    `transaction_id` is the raw object 82 or nothing.
    """

    activation_code: str | None
    transaction_id: bytes


class TriggerNotSupported(ValueError):  # noqa: N818 -- the name is the outcome
    """The trigger asks for a way of downloading that this device does not have."""


def read_trigger(package: tlv.Tlv) -> Trigger:
    """Read a BF54 request. Raises TriggerNotSupported for an SM-DS, ValueError when malformed."""
    found = der.members(package, 0xA0, 0x82, optional=(0xA0, 0x82))
    transaction_id = der.sized(found[0x82], 1, 16) and found[0x82].raw if 0x82 in found else b""
    if 0xA0 not in found:
        return Trigger(activation_code=None, transaction_id=transaction_id)
    chosen = der.only_child(found[0xA0])
    if chosen.tag == 0x80:
        return Trigger(activation_code=der.text(chosen, 255), transaction_id=transaction_id)
    if chosen.tag == 0x81:
        return Trigger(activation_code=None, transaction_id=transaction_id)
    raise TriggerNotSupported("this device has no SM-DS client")


def code_of(trigger: Trigger, default_smdp_address: str) -> ActivationCode:
    """The activation code to download with. Raises ValueError when it cannot be read or no default address is set."""
    if trigger.activation_code:
        return ActivationCode.parse(trigger.activation_code)
    if not default_smdp_address:
        raise ValueError("the card has no default SM-DP+ address")
    return ActivationCode(smdp_address=default_smdp_address, matching_id=None)


def trigger_result(transaction_id: bytes, installation: bytes | None, error: str) -> bytes:
    """ProfileDownloadTriggerResult BF54: the raw installation result BF37, or else an error with a text."""
    if installation is None:
        reason = tlv.wrap_integer(0x80, UNDEFINED_ERROR)
        installation = tlv.wrap(0x30, reason, tlv.wrap(0x04, error.encode()) if error else b"")
    return tlv.wrap(DOWNLOAD_TRIGGER, transaction_id, installation)


def response_error(transaction_id: bytes, error: ResponseError) -> bytes:
    """EimPackageResultResponseError A0; `transaction_id` is a value of 1 to 16 bytes, or nothing."""
    known = tlv.wrap(0x80, transaction_id) if transaction_id else b""
    return tlv.wrap(0xA0, known, tlv.wrap_integer(0x02, error))


def enabled_profile(card: IotCard) -> Iccid | None:
    """The ICCID of the enabled profile, asked of the card (BF2D)."""
    request = tlv.wrap(0xBF2D, tlv.wrap(0x5C, b"\x5a\x9f\x70"))
    for profile in der.only_child(der.parse(card.get_profiles_info(request), 0xBF2D)).children():
        found = profile.members()
        if found[0x9F70].value == b"\x01":
            return Iccid.from_bytes(found[0x5A].value)
    return None


def eim_address(card: IotCard) -> str:
    """The eimFqdn of the first associated eIM. Raises ValueError when there is none."""
    eims = list(der.only_child(der.parse(card.get_eim_configuration_data(), 0xBF55)).children())
    found = eims[0].members() if eims else {}
    if 0x81 not in found:
        raise ValueError("no eIM with an address is associated: add one to the card first")
    return found[0x81].text()


def stored_results(card: IotCard) -> list[bytes]:
    """The results of packages that wait on the card, each a raw BF51."""
    return [
        entry.raw for entry in der.only_child(der.parse(card.retrieve_notifications(ALL_RESULTS), 0xBF2B)).children()
    ]


def pending_notifications(card: IotCard) -> list[bytes]:
    """The notifications that wait on the card, each raw: BF37 or 30."""
    return notifications(card.retrieve_notifications(retrieve_all_notifications_request()))


def sequence_number(result: bytes) -> int | None:
    """The sequence number in a BF51 result, or None in an error, which has none."""
    arm = der.only_child(tlv.read_only(result, EUICC_PACKAGE))
    return next(arm.children()).members()[0x83].integer() if arm.tag == 0xA0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataAnswer:
    """An answer to a data request: the raw BF52, and the sequence numbers inside."""

    raw: bytes
    sequence_numbers: tuple[int, ...] = ()


def answer_data_request(package: tlv.Tlv, card: IotCard, device: Device) -> DataAnswer:
    """The answer to a BF52 request. Raises ValueError when it is malformed."""
    order = (0x5C, 0x04, 0xA1, 0xA2, 0x83)
    found = der.members(package, *order, optional=order[1:])
    transaction_id = der.sized(found[0x83], 1, 16) if 0x83 in found else b""
    certificates = card.get_certs(tlv.wrap(0xBF56, tlv.wrap(0x80, found[0x04].value) if 0x04 in found else b""))
    if der.only_child(tlv.read_only(certificates, 0xBF56)).tag != 0xA0:
        return _data_error(transaction_id, _CI_KEY_NOT_FOUND)
    known = _Known(card=card, device=device, found=found, certificates=certificates)
    try:
        return known.answer(_tags(found[0x5C].value), transaction_id)
    except KeyError:
        return _data_error(transaction_id, _INCORRECT_TAG_LIST)


def _data_error(transaction_id: bytes, code: int) -> DataAnswer:
    known = tlv.wrap(0x80, transaction_id) if transaction_id else b""
    return DataAnswer(raw=tlv.wrap(DATA_REQUEST, tlv.wrap(0xA1, known, tlv.wrap_integer(0x02, code))))


def _tags(value: bytes) -> list[int]:
    """The tags of a tag list; KeyError on what is no tag, as on an unknown one."""
    tags: list[int] = []
    position = 0
    while position < len(value):
        size = 2 if value[position] & 0x1F == 0x1F else 1
        if position + size > len(value):
            raise KeyError("the tag list ends inside a tag")
        tags.append(int.from_bytes(value[position : position + size], "big"))
        position += size
    return tags


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the device can tell, by the tag of the answer and in its order."""

    card: IotCard
    device: Device
    found: dict[int, tlv.Tlv]
    certificates: bytes

    def answer(self, wanted: list[int], transaction_id: bytes) -> DataAnswer:
        tellers: dict[int, Callable[[], bytes]] = {
            0xA0: self._notifications,
            0x81: lambda: self._address(0x80, 0x81),
            0xA2: self._results,
            0xBF20: self.card.get_euicc_info1,
            0xBF22: self.card.get_euicc_info2,
            0x83: lambda: self._address(0x81, 0x83),
            0x84: self._token,
            0xA5: lambda: self._certificate(0xA5),
            0xA6: lambda: self._certificate(0xA6),
            0xA8: _capabilities,
            0xA9: lambda: self.device.device_info(0xA9),
        }
        unknown = [tag for tag in wanted if tag not in tellers]
        if unknown or not wanted:
            raise KeyError("the tag list names something else")
        told = {tag: tell() for tag, tell in tellers.items() if tag in wanted}
        told[0x87] = tlv.wrap(0x87, transaction_id) if transaction_id else b""
        order = (*(tag for tag in tellers if tag not in (0xA8, 0xA9)), 0x87, 0xA8, 0xA9)
        raw = tlv.wrap(DATA_REQUEST, tlv.wrap(0xA0, *(told[tag] for tag in order if tag in told)))
        results = _elements(told.get(0xA2, b""))
        numbers = [number for number in map(sequence_number, results) if number is not None]
        numbers += [sequence_and_address(notification)[0] for notification in _elements(told.get(0xA0, b""))]
        return DataAnswer(raw=raw, sequence_numbers=tuple(numbers))

    def _notifications(self) -> bytes:
        criterion = tlv.wrap(0xA0, self.found[0xA1].value) if 0xA1 in self.found else b""
        listed = self.card.retrieve_notifications(tlv.wrap(0xBF2B, criterion))
        return der.only_child(tlv.read_only(listed, 0xBF2B)).raw

    def _results(self) -> bytes:
        results = stored_results(self.card)
        if 0xA2 in self.found:
            number = der.integer(der.members(self.found[0xA2], 0x80)[0x80])
            results = [result for result in results if sequence_number(result) == number]
        return tlv.wrap(0xA2, *results)

    def _address(self, configured: int, tag: int) -> bytes:
        found = tlv.read_only(self.card.get_configured_addresses(), 0xBF3C).members()
        return tlv.wrap(tag, found[configured].value) if configured in found else b""

    def _token(self) -> bytes:
        eims = der.only_child(tlv.read_only(self.card.get_eim_configuration_data(), 0xBF55)).children()
        found = next(eims).members()
        return found[0x84].raw if 0x84 in found else b""

    def _certificate(self, tag: int) -> bytes:
        return der.only_child(tlv.read_only(self.certificates, 0xBF56)).members()[tag].raw


def _elements(listed: bytes) -> list[bytes]:
    return [entry.raw for entry in tlv.read(listed).children()] if listed else []


def _capabilities() -> bytes:
    """IpaCapabilities A8: direct downloads, retrieval over HTTPS."""
    return tlv.wrap(0xA8, der.wrap_bits(0x80, (_DIRECT_DOWNLOAD,)), der.wrap_bits(0x81, (_RETRIEVE_HTTPS,)))
