"""`smdp pki`: makes, takes in, lists and checks the certificates a server runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.settings import Settings, load

if TYPE_CHECKING:
    from certs.folder import Entry, Finding, PkiFolder
    from hsm_mock import MockVault

app = typer.Typer(no_args_is_help=True, help="Certificates: make a test PKI, bring your own, list and check them.")

PkiDir = Annotated[Path | None, typer.Option(help="Folder of the certificates; else the setting pki_dir.")]
VaultFile = Annotated[Path | None, typer.Option(help="File of the key vault; else the setting vault_file.")]
PassphraseFile = Annotated[
    Path | None, typer.Option(help="File with the vault's passphrase; else SMDP_FLEX_VAULT_PASSPHRASE.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class CurveName(StrEnum):
    """The curves as options."""

    P256 = "p256"
    BRAINPOOL = "brainpool"


class RoleName(StrEnum):
    """The roles of `list` as options; the words of `certs.listing.ROLES`, and revocation lists."""

    CI = "ci"
    AUTH = "auth"
    PB = "pb"
    TLS = "tls"
    EIM_TLS = "eim-tls"
    OPERATOR_CA = "operator-ca"
    OPERATOR = "operator"
    CALLBACK = "callback"
    EUM = "eum"
    EUICC = "euicc"
    CRL = "crl"


@app.command()
def init(  # noqa: PLR0913 -- one parameter an option
    *,
    name: Annotated[list[str] | None, typer.Option(help="DNS name of the server, repeatable.")] = None,
    eim_name: Annotated[list[str] | None, typer.Option(help="DNS name of the eIM, repeatable.")] = None,
    curve: Annotated[list[CurveName] | None, typer.Option(help="Curve, repeatable; both unless given.")] = None,
    pki_dir: PkiDir = None,
    vault_file: VaultFile = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a complete test PKI in a new folder; signing keys go into the vault, which is made if there is none.

    Example: smdp pki init --name smdp.example.com --name localhost
    """
    from certs import folder
    from crypto.curves import Curve

    settings = _settings(pki_dir, vault_file, passphrase_file)
    named = {CurveName.P256: Curve.P256, CurveName.BRAINPOOL: Curve.BRAINPOOL_P256R1}
    pki = asyncio.run(
        folder.init(
            settings.pki_dir,
            _new_or_open_vault(settings),
            names=name or settings.server_names,
            eim_names=eim_name or settings.eim_names,
            curves=[named[one] for one in curve or named],
            now=_now(),
        )
    )
    _show_folder(pki, as_json=as_json)


@app.command()
def eim(
    *,
    name: Annotated[list[str] | None, typer.Option(help="DNS name of the eIM, repeatable.")] = None,
    pki_dir: PkiDir = None,
    vault_file: VaultFile = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a generated folder an eIM, or its eIM a new TLS certificate; the key that signs packages stays.

    Example: smdp pki eim --name eim.example.com
    """
    from certs import folder

    settings = _settings(pki_dir, vault_file, passphrase_file)
    names = name or settings.eim_names
    pki = asyncio.run(folder.add_eim(settings.pki_dir, _new_or_open_vault(settings), names=names, now=_now()))
    _show_eim(pki, settings.eim_names, as_json=as_json)


@app.command()
def operator(
    name: Annotated[
        str, typer.Argument(help="Name of the operator: up to 64 of a-z, 0-9, dot, underscore and hyphen.")
    ],
    *,
    pki_dir: PkiDir = None,
    as_json: AsJson = False,
) -> None:
    """Issue a client certificate for ES2+ from the folder's own operators' CA, with a new key beside it.

    Example: smdp pki operator operator-c
    """
    from certs import folder
    from server.printing import echo_json

    issued = folder.issue_operator_certificate(_settings(pki_dir, None, None).pki_dir, name, _now())
    certificate, key = map(str, issued)
    if as_json:
        echo_json({"name": name, "certificate": certificate, "key": key})
        return
    typer.echo(f"certificate {certificate}\nkey         {key}")
    typer.echo(f"let it call with `smdp operator add {name} --certificate {certificate}`")


@app.command("import")
def import_(  # noqa: PLR0913 -- one parameter an option
    *,
    ci: Annotated[Path | None, typer.Option(help="Certificate of the CI (DER or PEM).")] = None,
    auth: Annotated[Path | None, typer.Option(help="DPauth certificate.")] = None,
    auth_key: Annotated[Path | None, typer.Option(help="Its private key (PEM, SEC1 or PKCS#8).")] = None,
    pb: Annotated[Path | None, typer.Option(help="DPpb certificate.")] = None,
    pb_key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
    tls: Annotated[Path | None, typer.Option(help="DPtls certificate; replaces the one in use.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
    eim_tls: Annotated[Path | None, typer.Option(help="TLS certificate of the eIM; replaces the one in use.")] = None,
    eim_tls_key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
    crl: Annotated[
        list[Path] | None, typer.Option(help="Revocation list of a CI of the folder (DER or PEM), repeatable.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of the CI's present set.")] = False,
    pki_dir: PkiDir = None,
    vault_file: VaultFile = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Bring your own CI, DPauth, DPpb (and TLS) next to what the folder has; all is judged before anything is written.

    Example: smdp pki import --ci ci.der --auth auth.der --auth-key auth.pem --pb pb.der --pb-key pb.pem

    A renewed TLS certificate alone: smdp pki import --tls tls.der --tls-key tls.pem

    An eIM, or its renewed certificate: smdp pki import --eim-tls eim.der --eim-tls-key eim.pem

    Revocation lists, which a running server takes up by itself: smdp pki import --crl CRL-A.crl --crl CRL-B.crl
    """
    from certs import folder

    settings = _settings(pki_dir, vault_file, passphrase_file)
    if crl:
        if ci or auth or auth_key or pb or pb_key or tls or tls_key or eim_tls or eim_tls_key or replace:
            raise folder.BadPki("revocation lists come alone: give --crl in a call of its own, after that of the set")
        from server.commands import revocation_lists

        revocation_lists.bring(settings.pki_dir, crl, _now(), as_json=as_json)
        return
    alone = not (ci or auth or auth_key or pb or pb_key)
    if alone and eim_tls and eim_tls_key and not (tls or tls_key):
        vault = _new_or_open_vault(settings)
        pki = asyncio.run(folder.import_eim(settings.pki_dir, vault, eim_tls, eim_tls_key, now=_now()))
        _show_eim(pki, settings.eim_names, as_json=as_json)
        return
    if alone and tls and tls_key and not (eim_tls or eim_tls_key):
        _show_folder(folder.import_tls(settings.pki_dir, tls, tls_key, now=_now()), as_json=as_json)
        return
    if not (ci and auth and auth_key and pb and pb_key):
        raise folder.BadPki(
            "a set is --ci, --auth, --auth-key, --pb and --pb-key; only --tls with --tls-key, --eim-tls with"
            " --eim-tls-key, or --crl come alone"
        )
    given = folder.SetFiles(
        ci=ci,
        auth=auth,
        auth_key=auth_key,
        pb=pb,
        pb_key=pb_key,
        tls=tls,
        tls_key=tls_key,
        eim_tls=eim_tls,
        eim_tls_key=eim_tls_key,
    )
    vault = _new_or_open_vault(settings)
    pki = asyncio.run(folder.import_set(settings.pki_dir, vault, given, now=_now(), replacing=replace))
    _show_folder(pki, as_json=as_json)


@app.command("list")
def list_(
    *,
    role: Annotated[list[RoleName] | None, typer.Option(help="Only this role, repeatable.")] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Those of operators, callback receivers and simulated devices, too.")
    ] = False,
    expiring: Annotated[int | None, typer.Option(help="Only what expires within so many days.", min=0)] = None,
    pki_dir: PkiDir = None,
    as_json: AsJson = False,
) -> None:
    """List the certificates the server runs on and the revocation lists it has, with their days left. Needs no vault.

    Example: smdp pki list --role tls --role auth --expiring 90

    Revocation lists alone: smdp pki list --role crl
    """
    from certs import folder
    from certs.listing import PEERS
    from server.commands import revocation_lists
    from server.printing import echo_json

    now = _now()
    wanted = role or [one for one in RoleName if all_ or one not in PEERS]
    pki = folder.load(_settings(pki_dir, None, None).pki_dir)
    rows = [
        row
        for row in folder.entries(pki)
        if row.role in wanted and (expiring is None or row.days_left(now) <= expiring)
    ]
    lists = revocation_lists.of(pki, now, expiring) if RoleName.CRL in wanted else []
    if as_json:
        echo_json([*(_entry(row, now) for row in rows), *revocation_lists.rows(lists, pki.path, now)])
        return
    if set(wanted) != {RoleName.CRL}:
        _show_entries(rows, now)
    if lists or set(wanted) == {RoleName.CRL}:
        revocation_lists.show(lists, pki.path, now)


@app.command()
def check(
    *,
    pki_dir: PkiDir = None,
    vault_file: VaultFile = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Judge chains, roles, OIDs, names, dates, and whether the vault holds the keys. Exit code 1 on errors.

    Example: smdp pki check --json
    """
    from certs import folder

    settings = _settings(pki_dir, vault_file, passphrase_file)
    pki = folder.load(settings.pki_dir)
    keys = asyncio.run(folder.vault_keys(pki, _open_vault(settings)))
    found = folder.check(pki, keys, _now(), settings.server_names, settings.eim_names)
    _show_findings(found, as_json=as_json)
    if any(finding.severity is folder.Severity.ERROR for finding in found):
        raise typer.Exit(1)


def _now() -> datetime:
    from server.clock import SystemClock

    return SystemClock().now()


def _settings(pki_dir: Path | None, vault_file: Path | None, passphrase_file: Path | None) -> Settings:
    return load(pki_dir=pki_dir, vault_file=vault_file, vault_passphrase_file=passphrase_file)


def _open_vault(settings: Settings) -> MockVault:
    from hsm_mock import MockVault

    return MockVault.open(settings.vault_file, _passphrase(settings))


def _new_or_open_vault(settings: Settings) -> MockVault:
    from hsm_mock import MockVault

    if settings.vault_file.exists():
        return _open_vault(settings)
    settings.vault_file.parent.mkdir(parents=True, exist_ok=True)
    return MockVault.create(settings.vault_file, _passphrase(settings))


def _passphrase(settings: Settings) -> str:
    from certs.errors import BadPki

    if not settings.vault_passphrase:
        raise BadPki("the vault needs its passphrase: set SMDP_FLEX_VAULT_PASSPHRASE or give --passphrase-file")
    return settings.vault_passphrase.reveal()


def _show_folder(pki: PkiFolder, *, as_json: bool) -> None:
    from server.printing import echo_json, echo_table

    sets = [
        {
            "ci": dp.ci_key_id.hex().upper(),
            "curve": dp.curve.value,
            "oid": dp.oid,
            "vaultKeys": [dp.auth_key, dp.pb_key],
        }
        for dp in pki.dp
    ]
    if as_json:
        echo_json({"path": str(pki.path), "generated": pki.generated, "names": list(pki.names), "sets": sets})
        return
    kind = "generated test material" if pki.generated else "certificates"
    typer.echo(f"{pki.path}: {kind} for {', '.join(pki.names)}")
    rows = [(dp.ci_key_id.hex().upper(), dp.curve.value, dp.oid, dp.auth_key, dp.pb_key) for dp in pki.dp]
    echo_table(("ci", "curve", "oid", "authKey", "pbKey"), rows, "There are no certificates of an SM-DP+.")


def _show_eim(pki: PkiFolder, expected: Sequence[str], *, as_json: bool) -> None:
    """The eIM of the folder; `expected` is the setting eim_names, all of which its certificate must name."""
    from certs.listing import entries
    from server.printing import echo_json, moment

    assert pki.eim is not None
    made, names = pki.eim, ", ".join(pki.eim.names)
    (row,) = [row for row in entries(pki) if row.role == RoleName.EIM_TLS]
    if as_json:
        shown = {"path": str(pki.path), "names": list(made.names), "certificate": str(made.tls_certificate)}
        echo_json({**shown, "key": str(made.tls_key), "notAfter": moment(row.not_after), "vaultKey": made.signing_key})
        return
    typer.echo(f"{pki.path}: an eIM for {names}")
    typer.echo(f"certificate {made.tls_certificate}, until {row.not_after:%Y-%m-%d}\nkey         {made.tls_key}")
    typer.echo(f"packages are signed with the vault key {made.signing_key}")
    if not set(expected) <= set(made.names):
        typer.echo(f"set eim_names (now {', '.join(expected)}) to names of this certificate: else no server starts")


def _show_entries(rows: Sequence[Entry], now: datetime) -> None:
    from server.printing import echo_table

    cells = [
        (row.role, row.subject, row.curve, f"{row.not_after:%Y-%m-%d}", str(row.days_left(now)), row.source)
        for row in rows
    ]
    echo_table(("role", "subject", "curve", "expires", "daysLeft", "from"), cells, "There are no such certificates.")


def _entry(row: Entry, now: datetime) -> dict[str, object]:
    from server.printing import moment

    return {
        "role": row.role,
        "subject": row.subject,
        "curve": row.curve,
        "keyId": row.key_id,
        "notBefore": moment(row.not_before),
        "notAfter": moment(row.not_after),
        "daysLeft": row.days_left(now),
        "source": row.source,
    }


def _show_findings(found: Sequence[Finding], *, as_json: bool) -> None:
    from server.printing import echo_json, echo_table

    rows = [(one.severity.name, one.subject, one.text) for one in found]
    columns = ("severity", "subject", "text")
    if as_json:
        echo_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        echo_table(columns, rows, "nothing to report")
