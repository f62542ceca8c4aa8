"""`smdp key`: API keys; a client of the API, save for the first admin's key, which reaches the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tenancy.key_desk import MadeKey

app = typer.Typer(no_args_is_help=True, help="API keys.")

COLUMNS = ("id", "name", "kind", "principalId", "scopes", "expiresAt", "revokedAt")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Id = Annotated[int, typer.Argument(help="Id of the key.")]


@app.command()
def create(
    *,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "smdp key create",
    admin: Annotated[
        bool, typer.Option("--admin", help="An admin's key, made in the database of this server.")
    ] = False,
    kind: Annotated[str, typer.Option(help="carrier or enterprise.")] = "",
    principal: Annotated[int | None, typer.Option(help="Id of that carrier or enterprise.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="A scope, repeatable; none: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key; its token is printed once.

    Example: smdp key create --admin

    Example: smdp key create --kind enterprise --principal 3 --scope esims:read --scope swaps:write
    """
    from server import api_client
    from tenancy.principal import Scope

    scopes = scope or [one.value for one in Scope]
    if not admin and not (kind == "admin" or (kind and principal is not None)):
        raise typer.BadParameter("give --admin, or --kind and --principal")
    if admin:
        answer = _admin(name, scopes)
    else:
        body = api_client.given(name=name, kind=kind, principalId=principal, scopes=scopes)
        answer = api_client.client().post("/v1/keys", body)
    if as_json:
        api_client.show(answer, (), as_json=True)
        return
    typer.echo(answer["token"] or f"key {answer['id']} was made before; its token was shown then")


@app.command("list")
def list_(
    *,
    filter_: Annotated[list[str] | None, typer.Option("--filter", help="member=value, repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """List API keys, without their tokens.

    Example: smdp key list --filter limit=200
    """
    from server.api_client import client, filters, show

    show(client().get("/v1/keys", filters(filter_ or ())), COLUMNS, as_json=as_json)


@app.command()
def revoke(key_id: Id, *, as_json: AsJson = False) -> None:
    """Make an API key useless.

    Example: smdp key revoke 7
    """
    from server.api_client import client, show

    show(client().post(f"/v1/keys/{key_id}/revoke"), COLUMNS, as_json=as_json)


def _admin(name: str, scopes: list[str]) -> dict[str, Any]:
    """The key of an admin, made by whoever holds the database."""
    import asyncio
    import secrets

    from rsp.errors import Malformed
    from server.clock import SystemClock
    from server.database import opened, reached
    from server.settings import load
    from store.api_keys import ApiKeys
    from store.tenancy import Tenancy
    from tenancy.key_desk import KeyDesk
    from tenancy.principal import Act, Principal, PrincipalKind, Scope

    try:
        wanted = frozenset(Scope(one) for one in scopes)
    except ValueError:
        raise Malformed(f"a scope is one of {', '.join(one.value for one in Scope)}") from None

    async def make(dsn: str) -> MadeKey:
        admin = Principal(kind=PrincipalKind.ADMIN)
        async with opened(dsn) as pool:
            keys = ApiKeys(pool)
            desk = KeyDesk(keys, Tenancy(pool), keys, secrets.token_bytes, SystemClock().now)
            return await desk.create(Act(principal=admin, scopes=frozenset(Scope)), name, admin, wanted)

    with reached(load()) as dsn:
        made = asyncio.run(make(dsn))
    return {"id": made.key.id, "name": made.key.name, "kind": "admin", "scopes": sorted(scopes), "token": made.token}
