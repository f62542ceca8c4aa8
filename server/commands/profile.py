"""`smdp profile`: puts profile packages into stock, makes test ones, lists what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from rsp.personalisation import Personalisation
    from server.settings import Settings
    from server.stock_import import FileResult
    from smdp.ports import ProfileRow
    from smdp.stocking import Offer, Stocking
    from store.pool import Pool
    from store.stock import Stock
    from tenancy.operator import Operator

app = typer.Typer(no_args_is_help=True, help="Profiles: import packages, generate test ones, list the stock.")

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
    files: Annotated[list[Path], typer.Argument(help="Unprotected profile packages (SAIP, DER).")],
    *,
    operator: OperatorName,
    profile_type: TypeName,
    provider: Provider = "smdp-flex",
    name: Title = "Mobile profile",
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Pass over profiles that are in stock already.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check, protect and store profile packages; their clear form is not kept.

    All files are judged before the first is stored. Exit status 1, and nothing stored, when one of them is refused.

    Example: smdp profile import profile.der --operator operator-a --type iot-basic
    """
    from server.stock_import import FileImport, Result
    from smdp.stocking import Offer

    offer = Offer(profile_type=profile_type, service_provider_name=provider, profile_name=name)
    existing = Result.SKIPPED if skip_existing else Result.REFUSED

    async def use(stocking: Stocking, stock: Stock, owner: Operator) -> list[FileResult]:
        return await FileImport(stocking, stock, owner.id, offer, existing).run(files)

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
    from smdp.stocking import Offer

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
