"""The revocation lists in `smdp pki`: bring them, show them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import typer

from certs import revocation
from certs.layout import PkiFolder
from certs.revocation import ListFile
from crypto.certificates import TrustStore
from server.printing import echo_json, echo_table, moment

_COLUMNS = ("crl", "issuer", "number", "revoked", "thisUpdate", "nextUpdate", "daysLeft", "from")


def of(pki: PkiFolder, now: datetime, expiring: int | None) -> list[ListFile]:
    """The lists of a folder that count, with `expiring` those alone whose next one is due within so many days."""
    found = revocation.read(pki.path, TrustStore(pki.ci_certificates), now).lists
    return [one for one in found if expiring is None or one.days_left(now) <= expiring]


def bring(path: Path, given: Sequence[Path], now: datetime, *, as_json: bool) -> None:
    """Import lists and tell what they are. Raises BadPki."""
    taken = revocation.import_lists(path, given, now=now)
    if as_json:
        echo_json(rows(taken, path, now))
        return
    show(taken, path, now)
    for one in taken:
        if one.found.is_overdue(now):
            typer.echo(f"{one.file.name} is overdue: it counts, and there should be a newer one")


def rows(lists: Sequence[ListFile], path: Path, now: datetime) -> list[dict[str, object]]:
    """The lists as JSON has them; `path` is the PKI folder."""
    return [
        {
            "role": "crl",
            "subject": one.found.issuer,
            "keyId": one.found.issuer_key_id.hex().upper(),
            "crl": revocation.short_name(one.found),
            "number": one.found.number,
            "revoked": len(one.found.revoked),
            "thisUpdate": moment(one.found.this_update),
            "nextUpdate": moment(one.found.next_update),
            "daysLeft": one.days_left(now),
            "source": str(one.file.relative_to(path)),
        }
        for one in lists
    ]


def show(lists: Sequence[ListFile], path: Path, now: datetime) -> None:
    """The lists as a table."""
    cells = [
        (
            revocation.short_name(one.found),
            one.found.issuer,
            str(one.found.number),
            str(len(one.found.revoked)),
            f"{one.found.this_update:%Y-%m-%d}",
            f"{one.found.next_update:%Y-%m-%d}",
            str(one.days_left(now)),
            str(one.file.relative_to(path)),
        )
        for one in lists
    ]
    echo_table(_COLUMNS, cells, "There are no revocation lists.")
