"""`smdp profile`: puts profile packages into stock, makes test ones, lists what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from server.commands import profile_shelf

if TYPE_CHECKING:
    from rsp.personalisation import Personalisation
    from server.offers import OfferForm
    from server.settings import Settings
    from server.stock_import import Entry, FileResult
    from smdp.offer import Offer
    from smdp.ports import ProfileRow
    from smdp.stocking import Stocking
    from store.pool import Pool
    from store.stock import Stock
    from tenancy.operator import Operator

app = typer.Typer(no_args_is_help=True, help="Profiles: import packages, generate test ones, list the stock.")

app.command("withdraw")(profile_shelf.withdraw)
app.command("restore")(profile_shelf.restore)
app.command("type")(profile_shelf.type_)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
OperatorName = Annotated[str, typer.Option("--operator", help="The operator that owns the profile.")]
TypeName = Annotated[str, typer.Option("--type", help="Profile type by which the operator orders it.")]
Provider = Annotated[str, typer.Option(help="Service provider name the user sees.")]
Title = Annotated[str, typer.Option("--name", help="Profile name the user sees.")]
_T = TypeVar("_T")


def _known_state(value: str) -> str:
    """A state of the stock or of an order, or nothing. Raises BadParameter, which names them all."""
    from smdp.order import OrderState, ProfileState

    known = [str(one) for one in (*ProfileState, *OrderState)]
    if value and value not in known:
        raise typer.BadParameter(f"give one of {', '.join(known)}")
    return value


@app.command("import")
def import_(  # noqa: PLR0913 -- one parameter an option
    files: Annotated[list[Path] | None, typer.Argument(help="Unprotected profile packages (SAIP, DER).")] = None,
    *,
    operator: OperatorName,
    profile_type: Annotated[
        str, typer.Option("--type", help="Profile type by which the operator orders it, such as iot-basic.")
    ] = "",
    provider: Annotated[
        str, typer.Option(help="Service provider name the user sees, at most 32 characters.", show_default="smdp-flex")
    ] = "",
    name: Annotated[
        str,
        typer.Option(
            "--name", help="Profile name the user sees, at most 64 characters.", show_default="Mobile profile"
        ),
    ] = "",
    profile_class: Annotated[
        str, typer.Option("--class", help="test, provisioning or operational.", show_default="operational")
    ] = "",
    icon: Annotated[
        str, typer.Option(help="JPEG or PNG file, 64 by 64 pixels, at most 1024 bytes, such as logo.png.")
    ] = "",
    owner: Annotated[str, typer.Option(help="Network of the profile owner, such as 262-01.")] = "",
    gid1: Annotated[str, typer.Option(help="Its group identifier 1 in hexadecimal, such as 0A.")] = "",
    gid2: Annotated[str, typer.Option(help="Its group identifier 2 in hexadecimal.")] = "",
    ppr: Annotated[
        list[str] | None,
        typer.Option(help="Policy rule: ppr1 (no disabling), ppr2 (no deletion) or update-control; repeatable."),
    ] = None,
    notification: Annotated[
        list[str] | None,
        typer.Option(
            help="Events the card reports, and to whom: all, none, or install, enable, disable, delete joined by "
            "commas, with @HOST for another server, such as enable,delete@smdp.example.net; repeatable.",
            show_default="all, to this server",
        ),
    ] = None,
    stored_data: Annotated[
        list[str] | None,
        typer.Option(help="Vendor's data kept on the card, OID:HEX, such as 2.999.10:0403414243; repeatable."),
    ] = None,
    other_data: Annotated[
        list[str] | None,
        typer.Option(help="Vendor's data for the device alone, OID:HEX; repeatable."),
    ] = None,
    access_rule: Annotated[
        list[str] | None,
        typer.Option(
            help="Application with carrier privileges: hash of its certificate in hexadecimal, and :package.name if "
            "wanted; repeatable."
        ),
    ] = None,
    ecall: Annotated[str, typer.Option(help="yes: this is an emergency profile (SGP.32).")] = "",
    fallback_allowed: Annotated[
        str, typer.Option(help="yes: an eIM may make this the fallback profile of an IoT device (SGP.32).")
    ] = "",
    metadata: Annotated[
        str,
        typer.Option(
            help="File with metadata coded by the operator (StoreMetadataRequest, BF25 in DER), sent on as it is; for "
            "one package, in place of all options above but --type."
        ),
    ] = "",
    table: Annotated[
        Path | None,
        typer.Option(
            help="CSV table with a profile a row: column 'file', and columns named like these options where a profile "
            "differs from them."
        ),
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Pass over profiles that are in stock already.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check, protect and store profile packages; their clear form is not kept.

    All files are judged before the first is stored. Exit status 1, and nothing stored, when one of them is refused.

    Example: smdp profile import profile.der --operator operator-a --type iot-basic --icon logo.png --owner 262-01

    Example: smdp profile import --table profiles.csv --operator operator-a --fallback-allowed yes
    """
    from server.offers import OfferForm
    from server.stock_import import FileImport, Result

    def words(several: list[str] | None) -> str:
        return " ".join(several or ())

    form = OfferForm(
        type=profile_type,
        provider=provider,
        name=name,
        profile_class=profile_class,
        icon=icon,
        owner=owner,
        gid1=gid1,
        gid2=gid2,
        ppr=words(ppr),
        notification=words(notification),
        stored_data=words(stored_data),
        other_data=words(other_data),
        access_rule=words(access_rule),
        ecall=ecall,
        fallback_allowed=fallback_allowed,
        metadata=metadata,
    )
    chosen = _chosen(files or [], table, form)
    existing = Result.SKIPPED if skip_existing else Result.REFUSED

    async def use(stocking: Stocking, stock: Stock, owner: Operator) -> list[FileResult]:
        return await FileImport(stocking, stock, owner.id, existing).run(chosen)

    _print_files(_stocked(operator, use), as_json=as_json)


@app.command()
def generate(  # noqa: PLR0913 -- one parameter an option
    count: Annotated[int, typer.Argument(min=1, max=1_000_000, help="How many.")],
    *,
    operator: OperatorName,
    profile_type: TypeName,
    first_iccid: Annotated[
        str,
        typer.Option(
            help="First ICCID without check digit, 18 digits; else the one after the highest that begins with 898800."
        ),
    ] = "",
    padding: Annotated[int, typer.Option(min=0, help="Extra bytes in each package.")] = 0,
    provider: Provider = "smdp-flex",
    name: Title = "Test profile",
    as_json: AsJson = False,
) -> None:
    """Make test profiles with random keys and put them into stock.

    Example: smdp profile generate 100 --operator operator-a --type iot-basic
    """
    from server.printing import echo_json
    from server.test_profiles import personalisations
    from smdp.offer import Offer

    offer = Offer(profile_type=profile_type, service_provider_name=provider, profile_name=name)

    async def use(stocking: Stocking, stock: Stock, owner: Operator) -> list[str]:
        first = await _first(stock, first_iccid, count)
        return await _made(stocking, owner.id, personalisations(first, count, offer, padding), count, offer)

    stored = _stocked(operator, use)
    if as_json:
        echo_json({"iccids": stored})
    else:
        typer.echo(f"{len(stored)} profiles are in stock, ICCIDs {stored[0]} to {stored[-1]}.")


@app.command("list")
def list_(
    *,
    operator: Annotated[str, typer.Option("--operator", help="Only those of this operator.")] = "",
    state: Annotated[str, typer.Option(help="Only this stock state or order state.", callback=_known_state)] = "",
    profile_type: Annotated[str, typer.Option("--type", help="Only this profile type.")] = "",
    most: Annotated[int, typer.Option("--limit", "--most", min=1, help="At most this many, the newest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List profiles and where their orders stand.

    Example: smdp profile list --state installed --json
    """
    from server.printing import echo_json, echo_table
    from server.settings import load

    async def use(pool: Pool) -> list[ProfileRow]:
        from server.owners import owner_of
        from store.stock import Stock

        owner = await owner_of(pool, operator) if operator else None
        return await Stock(pool).list_profiles(
            tenant_id=owner.id if owner else None, state=state, profile_type=profile_type, most=most
        )

    rows = [_row(one) for one in _looked(load(), use)]
    if len(rows) == most:
        typer.echo(f"only the newest {most}; --limit shows more", err=True)
    if as_json:
        echo_json(rows)
        return
    columns = ("iccid", "operator", "profileType", "state", "orderState", "eid")
    echo_table(columns, [[row[name] or "" for name in columns] for row in rows], "There are no such profiles.")


def _row(one: ProfileRow) -> dict[str, str | None]:
    from server.printing import moment

    return {
        "iccid": str(one.iccid),
        "operator": one.tenant,
        "profileType": one.profile_type,
        "state": one.state,
        "orderState": one.order_state,
        "eid": one.eid,
        "createdAt": moment(one.created_at),
    }


def _chosen(files: list[Path], table: Path | None, form: OfferForm) -> list[Entry]:
    """What is to be imported, from arguments or from a table. Raises Malformed."""
    from rsp.errors import Malformed
    from server.offers import entries, read_table
    from server.settings import load
    from server.wiring import policy_of

    if bool(files) == bool(table):
        raise typer.BadParameter("name profile packages, or a --table that does: one of both")
    if table and form.metadata:
        raise typer.BadParameter("--metadata is for one package: give the table a column 'metadata' instead")
    address = policy_of(load()).address
    try:
        found = read_table(table, form, address) if table else entries(files, form, address)
    except OSError as error:
        raise Malformed(f"{table} cannot be read: {error.strerror}") from None
    if any(not entry.offer.profile_type for entry in found):
        raise typer.BadParameter("a profile needs its type: --type, or a column 'type' of the table")
    return found


async def _first(stock: Stock, given: str, count: int) -> str:
    """The first of `count` numbers that nobody has. Raises Malformed."""
    from rsp.errors import Malformed
    from server.test_profiles import TEST_RANGE, bounds, continued, last_of

    if not given:
        room = 18 - len(TEST_RANGE)
        ends = await stock.ends(*bounds(TEST_RANGE + "0" * room, TEST_RANGE + "9" * room))
        return continued(ends[1] if ends else None, count)
    taken = await stock.ends(*bounds(given, last_of(given, count)))
    if taken:
        raise Malformed(
            f"profiles from ICCID {taken[0]} to {taken[1]} are in stock already: choose another --first-iccid, "
            "or leave it out to go on where the test range ends"
        )
    return given


async def _made(
    stocking: Stocking, owner_id: int, subscribers: Iterable[Personalisation], count: int, offer: Offer
) -> list[str]:
    """Make and store test profiles, behind a progress bar. Raises ProfileExists, which says how many were stored."""
    from rsp.saip_template import generate as make
    from server.printing import progress_bar
    from smdp.ports import ProfileExists

    stored: list[str] = []
    with progress_bar() as bar:
        for one in bar.track(subscribers, total=count, description="profiles"):
            try:
                stored.append(str(await stocking.import_profile(owner_id, make(one), offer)))
            except ProfileExists as error:
                raise ProfileExists(f"{error}; {len(stored)} of {count} were stored before it") from None
    return stored


def _stocked(operator: str, use: Callable[[Stocking, Stock, Operator], Awaitable[_T]]) -> _T:
    """Do something with the stock of an operator."""
    from server.database import opened, reached
    from server.owners import owner_of
    from server.preflight import open_vault
    from server.settings import load
    from server.wiring import policy_of
    from smdp.stocking import Stocking
    from store.stock import Stock

    settings = load()
    vault = open_vault(settings)

    async def run(dsn: str) -> _T:
        async with opened(dsn) as pool:
            owner = await owner_of(pool, operator)
            stock = Stock(pool)
            return await use(Stocking(stock, vault, policy_of(settings)), stock, owner)

    with reached(settings) as dsn:
        return asyncio.run(run(dsn))


def _looked(settings: Settings, use: Callable[[Pool], Awaitable[_T]]) -> _T:
    """Read something from the database, which must be there."""
    from server.database import looked_at, opened

    async def run(dsn: str) -> _T:
        async with opened(dsn) as pool:
            return await use(pool)

    with looked_at(settings) as dsn:
        return asyncio.run(run(dsn))


def _print_files(results: list[FileResult], *, as_json: bool) -> None:
    """A line for each file. Ends the command with status 1 when the profile of one may not be in stock."""
    from server.printing import echo_json, echo_table
    from server.stock_import import Result

    rows = [
        {"file": one.file, "iccid": str(one.iccid or ""), "result": one.result.value, "reason": one.reason}
        for one in results
    ]
    if as_json:
        stored = [str(one.iccid) for one in results if one.result is Result.STORED]
        echo_json({"iccids": stored, "files": rows})
    else:
        echo_table(("file", "iccid", "result", "reason"), [list(row.values()) for row in rows], "")
    if failed := sum(one.failed for one in results):
        typer.echo(f"{failed} of {len(results)} files did not get into stock", err=True)
        raise typer.Exit(1)
