"""The sequence numbers that arrived in a ProvideEimPackageResult, cut out without judging (SGP.32 v1.2, 6.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rsp import tlv
from rsp.errors import Malformed
from rsp.esep.data import data_members, listed_notifications, listed_results
from rsp.esep.members import number
from rsp.esep.results import package_content
from rsp.tlv import Tlv

_NOTIFICATION_PATHS = {
    0xBF37: (0xBF27, 0xBF2F, 0x80),
    0x30: (0xBF2F, 0x80),
    0xA1: (0xBF2F, 0x80),
    0xA0: (0xA0, 0x02),
}


def sequence_numbers(data: bytes) -> tuple[int, ...]:
    """The numbers of the package results and notifications in a BF50, each once, in their order.

    Whatever cannot be read has no number: the device keeps it and sends it again. Raises Malformed only when `data`
    is no BF50.
    """
    members = _members(tlv.read_only(data, 0xBF50))
    found = [
        *_numbers(members, 0xBF51, _package),
        *_numbers(members, 0x30, _pair),
        *_numbers(members, 0xBF52, _data),
        *_numbers(members, 0xBF54, _trigger),
    ]
    return tuple(dict.fromkeys(found))


def _numbers(members: Mapping[int, Tlv], tag: int, cut: Callable[[Tlv], Iterator[int]]) -> list[int]:
    return list(cut(members[tag])) if tag in members else []


def _members(found: Tlv) -> dict[int, Tlv]:
    try:
        return found.members()
    except Malformed:
        return {}


def _package(found: Tlv) -> Iterator[int]:
    try:
        yield from _at(package_content(found), (0x30, 0x83))
    except Malformed:
        return


def _pair(found: Tlv) -> Iterator[int]:
    members = _members(found)
    yield from _numbers(members, 0xBF51, _package)
    yield from _numbers(members, 0xA0, _list)


def _list(found: Tlv) -> Iterator[int]:
    try:
        notifications = list(found.children())
    except Malformed:
        return
    for one in notifications:
        yield from _notification(one)


def _data(found: Tlv) -> Iterator[int]:
    try:
        members = data_members(found)
        results, notifications = listed_results(members), listed_notifications(members)
    except Malformed:
        return
    for one in results:
        yield from _package(one)
    for one in notifications:
        yield from _notification(one)


def _trigger(found: Tlv) -> Iterator[int]:
    installation = _members(found).get(0xBF37)
    if installation:
        yield from _notification(installation)


def _notification(found: Tlv) -> Iterator[int]:
    yield from _at(found, _NOTIFICATION_PATHS.get(found.tag, ()))


def _at(found: Tlv, path: tuple[int, ...]) -> Iterator[int]:
    """The number at the end of `path`, if there is one; of several members of one tag it takes the first."""
    place: Tlv | None = found if path else None
    try:
        for tag in path:
            # A notification holds two certificates of the same tag, so its members are not told apart by tag.
            place = next((child for child in place.children() if child.tag == tag), None) if place else None
        if place is not None:
            yield number(place, "seqNumber")
    except Malformed:
        return
