"""`smdp carrier`: the mobile operators between which eSIMs are swapped; a client of the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Carriers between which eSIMs are swapped.")

COLUMNS = ("id", "name", "role", "operatorId", "profileType", "inventoryAccount", "platform")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Filter = Annotated[list[str] | None, typer.Option("--filter", help="member=value, repeatable.")]
Id = Annotated[int, typer.Argument(help="Id of the carrier.")]
Kind = Annotated[str | None, typer.Option("--platform", help="Kind of its platform: control_center or external.")]
Url = Annotated[str, typer.Option(help="Base address of its platform.")]
User = Annotated[str, typer.Option(help="User of its platform.")]
KeyFile = Annotated[Path | None, typer.Option(help="File with that user's API key.")]
Operator = Annotated[int | None, typer.Option(help="Id of the operator here whose stock holds its profiles.")]
Type = Annotated[str | None, typer.Option(help="Profile type of that stock.")]
Inventory = Annotated[str | None, typer.Option(help="Its inventory account on its platform.")]


@app.command()
def add(  # noqa: PLR0913 -- one parameter an option
    name: Annotated[str, typer.Argument(help="Name of the carrier; it never changes.")],
    *,
    role: Annotated[str, typer.Option(help="lead, partner or both.")],
    platform: Kind = "external",
    base_url: Url = "",
    username: User = "",
    api_key_file: KeyFile = None,
    operator_id: Operator = None,
    profile_type: Type = None,
    inventory_account: Inventory = None,
    as_json: AsJson = False,
) -> None:
    """Register a carrier (admins).

    Example: smdp carrier add nordic --role partner --platform external --operator-id 2 --profile-type iot
    """
    from server.api_client import client, given, show

    stock = given(operatorId=operator_id, profileType=profile_type, inventoryAccount=inventory_account)
    access = _access(platform or "external", base_url, username, api_key_file)
    body = {"name": name, "role": role, "platform": access, **stock}
    show(client().post("/v1/carriers", body), COLUMNS, as_json=as_json)


@app.command("list")
def list_(*, filter_: Filter = None, as_json: AsJson = False) -> None:
    """List carriers.

    Example: smdp carrier list --filter name=nordic --filter role=partner --json
    """
    from server.api_client import client, filters, show

    show(client().get("/v1/carriers", filters(filter_ or ())), COLUMNS, as_json=as_json)


@app.command()
def show(carrier_id: Id, *, as_json: AsJson = False) -> None:
    """Show a carrier.

    Example: smdp carrier show 2
    """
    from server import api_client

    api_client.show(api_client.client().get(f"/v1/carriers/{carrier_id}"), COLUMNS, as_json=as_json)


@app.command()
def change(  # noqa: PLR0913 -- one parameter an option
    carrier_id: Id,
    *,
    role: Annotated[str | None, typer.Option(help="lead, partner or both.")] = None,
    platform: Kind = None,
    base_url: Url = "",
    username: User = "",
    api_key_file: KeyFile = None,
    operator_id: Operator = None,
    profile_type: Type = None,
    inventory_account: Inventory = None,
    as_json: AsJson = False,
) -> None:
    """Change a carrier (admins); a platform is replaced as a whole, with its key.

    Example: smdp carrier change 2 --profile-type iot-plus
    """
    from server.api_client import client, given, show

    access = None if platform is None else _access(platform, base_url, username, api_key_file)
    stock = given(operatorId=operator_id, profileType=profile_type, inventoryAccount=inventory_account)
    body = given(role=role, platform=access) | stock
    show(client().patch(f"/v1/carriers/{carrier_id}", body), COLUMNS, as_json=as_json)


def _access(kind: str, base_url: str, username: str, api_key_file: Path | None) -> dict[str, str]:
    key = "" if api_key_file is None else api_key_file.read_text(encoding="utf-8").strip()
    return {"kind": kind, "baseUrl": base_url, "username": username, "apiKey": key}
