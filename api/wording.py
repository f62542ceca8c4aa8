"""What is wrong with a value, in words that say which values are right; msgspec names only the one that is not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from msgspec import inspect

_WRONG = re.compile(
    r"(?P<why>Invalid enum value .*|Expected `str` matching regex .*) - at `\$(?P<place>[^`]*)`", re.DOTALL
)
_STEP = re.compile(r"\.(?P<member>[A-Za-z]\w*)|\[\d+\]", re.ASCII)


def worded(error: msgspec.ValidationError, kind: type) -> str:
    """The text of `error`, of a value that is no `kind`, with the values that are allowed where it stands."""
    found = _WRONG.fullmatch(str(error))
    if found is None:
        return str(error)
    place = found["place"].removeprefix(".")
    allowed = list(_kinds(inspect.type_info(kind), found["place"]))
    if found["why"].startswith("Invalid enum value"):
        names = [str(one.value) for each in allowed if isinstance(each, inspect.EnumType) for one in each.cls]
        return f"{place} must be one of {', '.join(names)}" if names else str(error)
    forms = [form for each in allowed if isinstance(each, inspect.Metadata) and (form := _form(each))]
    return f"{place}: {' or '.join(forms)}" if forms else str(error)


def _form(kind: inspect.Metadata) -> str:
    return str((kind.extra_json_schema or {}).get("description", ""))


def _kinds(kind: inspect.Type, place: str) -> Iterator[inspect.Type]:
    """What may stand at a place (`.platform.kind`, `.scopes[0]`) in a value of `kind`."""
    if isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _kinds(one, place)
        return
    step = _STEP.match(place)
    if step is None:
        yield kind
        return
    for one in _members(kind.type if isinstance(kind, inspect.Metadata) else kind, step["member"]):
        yield from _kinds(one, place[step.end() :])


def _members(kind: inspect.Type, name: str | None) -> list[inspect.Type]:
    """What the member of this name may be in a value of `kind`; without a name, an item of a list."""
    if isinstance(kind, inspect.StructType):
        return [member.type for member in kind.fields if member.encode_name == name]
    if isinstance(kind, inspect.ListType | inspect.VarTupleType) and name is None:
        return [kind.item_type]
    return []
