"""How one setting's value is read from text, from TOML or from a caller, and what to say when it cannot be."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rsp.es8plus import dp_proprietary_data

_NAME = re.compile(
    r"(?=.{1,255}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


class Secret:
    """A text that never shows itself: no repr, no str, no pickling; `reveal()` where it is used."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself; call it only where the secret is used."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret(***)" if self._text else "Secret()"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(Secret)  # the same for all: a hash of the text would compare it outside constant time

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


class Kind(Protocol):
    """Reads one kind of value."""

    @property
    def expects(self) -> str:
        """What a right value looks like, to follow the words "expected"."""

    def read(self, value: object) -> object:
        """The typed value; ValueError when it is not of this kind."""

    def write(self, value: object) -> str:
        """The text from which `read` makes the same value again."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number within limits: whole (`whole=True`) or decimal."""

    low: float
    high: float
    whole: bool = True

    @property
    def expects(self) -> str:
        kind = "whole number" if self.whole else "number"
        return f"a {kind} from {self.low:g} to {self.high:.0f}"

    def read(self, value: object) -> int | float:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(self.expects)
        number = int(str(value)) if self.whole else float(value)
        if not self.low <= number <= self.high:  # also refuses "nan"
            raise ValueError(self.expects)
        return number

    def write(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def expects(self) -> str:
        return " or ".join(self.words)

    def read(self, value: object) -> str:
        if not isinstance(value, str) or value.lower() not in self.words:
            raise ValueError(self.expects)
        return value.lower()

    def write(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class Location:
    """A path of the file system; `~` is the home folder, empty (where allowed) means none."""

    optional: bool = False

    @property
    def expects(self) -> str:
        return "a path" + (" or nothing" if self.optional else "")

    def read(self, value: object) -> Path | None:
        if value is None or value == "":
            if self.optional:
                return None
            raise ValueError(self.expects)
        if not isinstance(value, str | Path) or "\0" in str(value):
            raise ValueError(self.expects)
        return Path(value).expanduser()

    def write(self, value: object) -> str:
        return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Host:
    """An address or name to listen on."""

    expects: str = "a host name or IP address without a port"

    def read(self, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9.:_-]+", value):
            raise ValueError(self.expects)
        return value

    def write(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class Address:
    """The https address of a server, or nothing."""

    expects: str = "https://host:port or nothing"

    def read(self, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"(https://[A-Za-z0-9.:\[\]-]+/?)?", value):
            raise ValueError(self.expects)
        return value.rstrip("/")

    def write(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class Names:
    """DNS names, separated by commas in text or a list in TOML; the first one counts most."""

    expects: str = "one or more DNS names separated by commas"

    def read(self, value: object) -> tuple[str, ...]:
        given: Iterable[object] = value.split(",") if isinstance(value, str) else _listed(value, self.expects)
        names = tuple(str(name).strip().lower() for name in given)
        if not names or not all(_NAME.fullmatch(name) for name in names):
            raise ValueError(self.expects)
        return names

    def write(self, value: object) -> str:
        return ",".join(_texts(value))


_TARGET = re.compile(rf"{_NAME.pattern}(=[A-Za-z0-9.-]{{1,255}}(:(?P<port>[0-9]{{1,5}}))?)?")


@dataclass(frozen=True, slots=True)
class Routes:
    """DNS names, each perhaps with the host and port at which it is really reached; or none at all."""

    expects: str = "DNS names separated by commas, each name or name=host:port; or nothing"

    def read(self, value: object) -> tuple[str, ...]:
        given: Iterable[object] = value.split(",") if isinstance(value, str) else _listed(value, self.expects)
        entries = tuple(entry for entry in (str(each).strip().lower() for each in given) if entry)
        found = [_TARGET.fullmatch(entry) for entry in entries]
        if not all(match and int(match["port"] or 0) <= 65535 for match in found):
            raise ValueError(self.expects)
        return entries

    def write(self, value: object) -> str:
        return ",".join(_texts(value))


@dataclass(frozen=True, slots=True)
class Hidden:
    """A secret text; the value never appears in a message."""

    expects: str = "a text"

    def read(self, value: object) -> Secret:
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str):
            raise ValueError(self.expects)
        return Secret(value)

    def write(self, value: object) -> str:
        return value.reveal() if isinstance(value, Secret) else ""


@dataclass(frozen=True, slots=True)
class DatabaseAddress(Hidden):
    """The address of a PostgreSQL database, or nothing; it may hold a password, so it is a secret."""

    expects: str = "an address that begins with postgresql:// or postgres://, or nothing"

    def read(self, value: object) -> Secret:
        address = Hidden.read(self, value)
        if address and not address.reveal().startswith(("postgresql://", "postgres://")):
            raise ValueError(self.expects)
        return address


def _listed(value: object, expects: str) -> Iterable[object]:
    if isinstance(value, list | tuple):
        return value
    raise ValueError(expects)


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, tuple) else [str(value)]


@dataclass(frozen=True, slots=True)
class ProprietaryData:
    """What a server leaves on each card with its profile: its OID, and hexadecimal objects of its own after a colon."""

    expects: str = "OID or OID:HEX, such as 2.999.10:810103, at most 128 bytes when coded, or nothing"

    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(self.expects)
        try:
            proprietary_data(value)
        except ValueError:
            raise ValueError(self.expects) from None
        return value

    def write(self, value: object) -> str:
        return str(value)


def proprietary_data(text: str) -> bytes:
    """The object DpProprietaryData of such a setting; nothing for an empty one. Raises ValueError."""
    if not text:
        return b""
    oid, _, digits = text.partition(":")
    return dp_proprietary_data(oid, bytes.fromhex(digits))
