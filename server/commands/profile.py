"""`smdp profile`: puts profile packages into stock, makes test ones, lists what is there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from server.settings import Settings
    from smdp.ports import ProfileRow
    from smdp.stocking import Stocking
    from store.pool import Pool
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
def import_(
    files: Annotated[list[Path], typer.Argument(help="Unprotected profile packages (SAIP, DER).")],
    *,
    operator: OperatorName,
    profile_type: TypeName,
    provider: Provider = "smdp-flex",
    name: Title = "Mobile profile",
    as_json: AsJson = False,
) -> None:
    """Check, protect and store profile packages; their clear form is not kept.

    Example: smdp profile import profile.der --operator operator-a --type iot-basic
    """
    from smdp.stocking import Offer

    offer = Offer(profile_type=profile_type, service_provider_name=provider, profile_name=name)
    packages = [(str(file), file.read_bytes()) for file in files]

    async def use(stocking: Stocking, owner: Operator) -> list[str]:
        from rsp.errors import Malformed

        stored = []
        for label, package in packages:
            try:
                stored.append(str(await stocking.import_profile(owner.id, package, offer)))
            except Malformed as error:
                raise Malformed(f"{label}: {error}") from None
            typer.echo(f"{label}: {stored[-1]}", err=True)
        return stored

    _print(_stocked(operator, use), as_json=as_json)


@app.command()
def generate(  # noqa: PLR0913 -- one parameter an option
    count: Annotated[int, typer.Argument(min=1, max=1_000_000, help="How many.")],
    *,
    operator: OperatorName,
    profile_type: TypeName,
    first_iccid: Annotated[
        str, typer.Option(help="First ICCID without check digit, 18 digits.")
    ] = "898800000000000000",
    padding: Annotated[int, typer.Option(min=0, help="Extra bytes in each package.")] = 0,
    provider: Provider = "smdp-flex",
    name: Title = "Test profile",
    as_json: AsJson = False,
) -> None:
    """Make test profiles with random keys and put them into stock.

    Example: smdp profile generate 100 --operator operator-a --type iot-basic
    """
    from rsp.saip_template import generate as make
    from server.test_profiles import personalisations
    from smdp.stocking import Offer

    offer = Offer(profile_type=profile_type, service_provider_name=provider, profile_name=name)

    async def use(stocking: Stocking, owner: Operator) -> list[str]:
        stored = []
        for made, one in enumerate(personalisations(first_iccid, count, offer, padding), start=1):
            stored.append(str(await stocking.import_profile(owner.id, make(one), offer)))
            if made % 1000 == 0:
                typer.echo(f"{made} of {count}", err=True)
        return stored

    _print(_stocked(operator, use), as_json=as_json)


@app.command("list")
def list_(
    *,
    operator: Annotated[str, typer.Option("--operator", help="Only those of this operator.")] = "",
    state: Annotated[str, typer.Option(help="Only this stock state or order state.", callback=_known_state)] = "",
    profile_type: Annotated[str, typer.Option("--type", help="Only this profile type.")] = "",
    most: Annotated[int, typer.Option(min=1, help="At most this many rows, the newest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List profiles and where their orders stand.

    Example: smdp profile list --state installed --json
    """
    from server.settings import load

    async def use(pool: Pool) -> list[ProfileRow]:
        from store.stock import Stock

        owner = await _owner(pool, operator) if operator else None
        return await Stock(pool).list_profiles(
            tenant_id=owner.id if owner else None, state=state, profile_type=profile_type, most=most
        )

    rows = _with_pool(load(), use)
    if len(rows) == most:
        typer.echo(f"only the newest {most}; --most shows more", err=True)
    if as_json:
        typer.echo(json.dumps([_row(one) for one in rows], indent=2))
        return
    for one in rows:
        typer.echo(
            f"{one.iccid!s:<22}{one.tenant:<20}{one.profile_type:<20}{one.state:<13}{one.order_state:<12}{one.eid}"
        )


def _row(one: ProfileRow) -> dict[str, str]:
    return {
        "iccid": str(one.iccid),
        "operator": one.tenant,
        "profileType": one.profile_type,
        "state": one.state,
        "orderState": one.order_state,
        "eid": one.eid,
        "createdAt": one.created_at.isoformat(),
    }


def _stocked(operator: str, use: Callable[[Stocking, Operator], Awaitable[_T]]) -> _T:
    """Do something with the stock of an operator."""
    from server.preflight import open_vault
    from server.settings import load
    from server.wiring import policy_of
    from smdp.stocking import Stocking
    from store.stock import Stock

    settings = load()
    vault = open_vault(settings)

    async def run(pool: Pool) -> _T:
        owner = await _owner(pool, operator)
        return await use(Stocking(Stock(pool), vault, policy_of(settings)), owner)

    return _with_pool(settings, run)


def _with_pool(settings: Settings, use: Callable[[Pool], Awaitable[_T]]) -> _T:
    from server.database import opened, reached

    async def run(dsn: str) -> _T:
        async with opened(dsn) as pool:
            return await use(pool)

    with reached(settings) as dsn:
        return asyncio.run(run(dsn))


async def _owner(pool: Pool, name: str) -> Operator:
    from rsp.errors import Malformed
    from store.directory import Operators

    found = await Operators(pool).by_name(name)
    if found is None:
        raise Malformed(f"no operator is called {name!r}: register it with `smdp operator add`")
    return found


def _print(iccids: list[str], *, as_json: bool) -> None:
    typer.echo(json.dumps({"iccids": iccids}) if as_json else f"{len(iccids)} profiles are in stock.")
