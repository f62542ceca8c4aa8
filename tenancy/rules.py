"""What an operator lets its orders do, read from what people write; meanings are the SM-DP+'s (smdp.policy)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rsp.errors import Malformed

AFTER_DELETION = ("retire", "reuse", "stock")
POINTS = ("eligibility", "confirmation", "download", "installation", "enabled", "disabled", "deleted")
"""What an operator may be told, in its own numbers."""
MOST_ENTRIES = 2000
_LARGEST_POINT = 2**31 - 1
_TAC = re.compile(r"[0-9]{8}", re.ASCII)
_EUM = re.compile(r"[0-9]{2,16}", re.ASCII)
_SAIP = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}", re.ASCII)


def after_deletion(text: str) -> str:
    """What becomes of an order whose card has deleted the profile. Raises Malformed."""
    if text not in AFTER_DELETION:
        raise Malformed(f"after deletion is one of {', '.join(AFTER_DELETION)}")
    return text


def tacs(text: str) -> tuple[str, ...]:
    """TACs, 8 digits each, separated by commas or white space. Raises Malformed."""
    return _entries(text, _TAC, "a TAC is 8 digits")


def eums(text: str) -> tuple[str, ...]:
    """First digits of EIDs, which name their makers, separated by commas or white space. Raises Malformed."""
    return _entries(text, _EUM, "an EUM is named by the first 2 to 16 digits of its EIDs, usually 8")


def saip_version(text: str) -> str:
    """A version of profile packages such as 2.3. Raises Malformed."""
    if not _SAIP.fullmatch(text):
        raise Malformed("a version of profile packages reads major.minor, such as 2.3")
    return text


def notification_points(text: str) -> dict[str, int]:
    """`deleted=5 enabled=101`: the operator's numbers of what it wants to be told beyond SGP.22, or otherwise numbered.

    Raises Malformed.
    """
    found: dict[str, int] = {}
    for entry in filter(None, re.split(r"[,\s]+", text)):
        name, _, number = entry.partition("=")
        if name not in POINTS or name in found or not number.isascii() or not number.isdecimal():
            raise Malformed(f"a notification point reads name=number, each once; names are {', '.join(POINTS)}")
        if int(number) > _LARGEST_POINT:
            raise Malformed(f"the number of a notification point is at most {_LARGEST_POINT}")
        found[name] = int(number)
    return found


def written_points(points: Mapping[str, int]) -> str:
    """The same as text."""
    return " ".join(f"{name}={number}" for name, number in points.items())


def _entries(text: str, form: re.Pattern[str], fault: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(filter(None, re.split(r"[,\s]+", text))))
    for entry in found:
        if not form.fullmatch(entry):
            raise Malformed(f"{fault}, found {entry[:20]!r}")
    if len(found) > MOST_ENTRIES:
        raise Malformed(f"a list has at most {MOST_ENTRIES} entries, found {len(found)}")
    return found
