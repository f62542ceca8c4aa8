"""What an import is told about profiles, as people write it: options of the command line and rows of a table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

from rsp.errors import Malformed
from rsp.metadata import NotificationConfiguration, NotificationEvent, OperatorId, PolicyRule, ProfileClass
from rsp.vendor_data import AccessRule, VendorData, access_rules, vendor_data
from server.stock_import import Entry
from smdp.offer import Offer

_STORED_DATA, _OTHER_DATA = 0xBF22, 0xBF23
_CLASSES = {one.name.lower(): one for one in ProfileClass}
_RULES = {
    "ppr1": PolicyRule.PPR1_DISABLING_NOT_ALLOWED,
    "ppr2": PolicyRule.PPR2_DELETION_NOT_ALLOWED,
    "update-control": PolicyRule.UPDATE_CONTROL,
}
_EVENTS = {one.name.lower(): one for one in NotificationEvent}
_FLAGS = {"": None, "yes": True, "no": False}
_LARGEST_FILE = 64 * 1024
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferForm:
    """An offer in words; empty text leaves a member out. Several values are separated by blanks.

    `icon` and `metadata` are names of files. With `metadata` nothing else but `type` may be set.
    """

    type: str = ""
    provider: str = ""
    name: str = ""
    profile_class: str = ""
    icon: str = ""
    owner: str = ""
    gid1: str = ""
    gid2: str = ""
    ppr: str = ""
    notification: str = ""
    stored_data: str = ""
    other_data: str = ""
    access_rule: str = ""
    ecall: str = ""
    fallback_allowed: str = ""
    metadata: str = ""

    def offer(self, address: str, folder: Path = Path()) -> Offer:
        """The offer, with files looked for in `folder`; `address` is the name of this server. Raises Malformed."""
        ready = self._ready(folder)
        return Offer(
            profile_type=self.type,
            service_provider_name=self.provider or _DEFAULTS.provider,
            profile_name=self.name or _DEFAULTS.name,
            profile_class=_one_of("class", self.profile_class or "operational", _CLASSES),
            icon=_file("icon", folder, self.icon),
            notifications=_notifications(self.notification, address),
            owner=_owner(self.owner, self.gid1, self.gid2),
            policy_rules=frozenset(_one_of("ppr", word, _RULES) for word in self.ppr.lower().split()),
            stored_data=_vendor_data(_STORED_DATA, self.stored_data),
            other_data=_vendor_data(_OTHER_DATA, self.other_data),
            ecall_indication=_one_of("ecall", self.ecall.lower(), _FLAGS),
            fallback_allowed=_one_of("fallback-allowed", self.fallback_allowed.lower(), _FLAGS),
            extra=_access_rules(self.access_rule),
            ready=ready,
        )

    def _ready(self, folder: Path) -> bytes | None:
        also = [_spelt(field.name) for field in fields(self) if getattr(self, field.name)]
        if self.metadata and set(also) != {"type", "metadata"}:
            other = next(name for name in also if name not in ("type", "metadata"))
            raise Malformed(f"metadata holds everything that devices read: leave out {other}, or state all members")
        return _file("metadata", folder, self.metadata)


_DEFAULTS = OfferForm(provider="smdp-flex", name="Mobile profile")
COLUMNS = tuple(field.name.replace("profile_class", "class").replace("_", "-") for field in fields(OfferForm))
"""The columns a table may have beside `file`."""


def entries(files: Iterable[Path], form: OfferForm, address: str) -> list[Entry]:
    """Files that are all offered alike. Raises Malformed."""
    chosen = list(files)
    if form.metadata and len(chosen) > 1:
        raise Malformed("one file of metadata is for one profile: use a table with a column 'metadata' for several")
    offer = form.offer(address)
    return [Entry(file=file, offer=offer) for file in chosen]


def read_table(table: Path, form: OfferForm, address: str) -> list[Entry]:
    """A profile for each row of a CSV table with a header line; a cell that is empty means what `form` says.

    Files are named from the folder of the table. Raises Malformed that names the line, OSError.
    """
    with table.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        try:
            _check_columns(table, reader.fieldnames or ())
            return [_row(table, reader.line_num, row, form, address) for row in reader]
        except (csv.Error, UnicodeDecodeError) as error:
            raise Malformed(f"{table} is not a CSV table in UTF-8: {error}") from None


def _check_columns(table: Path, names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in ("file", *COLUMNS)]
    if unknown or "file" not in names or len(set(names)) != len(names):
        fault = f"column {unknown[0]!r} is not known" if unknown else "it needs each column once, 'file' among them"
        raise Malformed(f"{table}: {fault}; columns are file, {', '.join(COLUMNS)}")


def _row(table: Path, line: int, row: dict[str, str | None], form: OfferForm, address: str) -> Entry:
    if None in row or None in row.values() or not row["file"]:
        raise Malformed(f"{table}, line {line}: every column needs its cell, and 'file' a name")
    cells = {_field(name): (cell or "").strip() for name, cell in row.items() if name != "file"}
    filled = {name: cell for name, cell in cells.items() if cell}
    try:
        base = OfferForm(type=form.type) if "metadata" in filled else form
        offer = replace(base, **filled).offer(address, table.parent)
    except Malformed as error:
        raise Malformed(f"{table}, line {line}: {error}") from None
    return Entry(file=table.parent / row["file"].strip(), offer=offer)


def _spelt(field: str) -> str:
    return COLUMNS[[one.name for one in fields(OfferForm)].index(field)]


def _field(column: str) -> str:
    return fields(OfferForm)[COLUMNS.index(column)].name


def _one_of(what: str, word: str, known: dict[str, _T]) -> _T:
    try:
        return known[word]
    except KeyError:
        raise Malformed(f"{what} is one of {', '.join(filter(None, known))}, not {word!r}") from None


def _file(what: str, folder: Path, name: str) -> bytes | None:
    if not name:
        return None
    try:
        with (folder / name).open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise Malformed(f"{what} {folder / name} cannot be read: {error.strerror or error}") from None
    if len(data) > _LARGEST_FILE:
        raise Malformed(f"{what} {folder / name} is larger than any {what} may be")
    return data


def _notifications(text: str, address: str) -> tuple[NotificationConfiguration, ...] | None:
    """From words such as `enable,delete@smdp.example.com`; without @ they are for this server. `none` means none."""
    if not text:
        return None
    if text.lower() == "none":
        return ()
    return tuple(_notification(word, address) for word in text.split())


def _notification(word: str, address: str) -> NotificationConfiguration:
    events, _, host = word.partition("@")
    named = events.lower().split(",")
    known = _EVENTS if named != ["all"] else {"all": NotificationEvent.INSTALL}
    chosen = {_one_of("notification", name, known) for name in named}
    return NotificationConfiguration(
        events=frozenset(NotificationEvent) if named == ["all"] else frozenset(chosen), address=host or address
    )


def _owner(network: str, gid1: str, gid2: str) -> OperatorId | None:
    if not network:
        if gid1 or gid2:
            raise Malformed("a group identifier belongs to an owner: state its network, such as 262-01")
        return None
    return OperatorId.of_network(network, gid1=_hex("gid1", gid1), gid2=_hex("gid2", gid2))


def _hex(what: str, digits: str) -> bytes | None:
    try:
        return bytes.fromhex(digits) or None
    except ValueError:
        raise Malformed(f"{what} is hexadecimal, as in the file of the same name on the card") from None


def _vendor_data(tag: int, text: str) -> bytes | None:
    return vendor_data(tag, map(VendorData.parse, text.split())) if text else None


def _access_rules(text: str) -> bytes:
    return access_rules(map(AccessRule.parse, text.split())) if text else b""
