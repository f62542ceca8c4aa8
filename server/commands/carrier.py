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
SmdpUrl = Annotated[str, typer.Option(help="ES2+ address of its own SM-DP+, where its profiles lie there.")]
SmdpRequester = Annotated[str, typer.Option(help="functionRequesterIdentifier by which that SM-DP+ knows us.")]
SmdpCertificate = Annotated[Path | None, typer.Option(help="File with the certificate (PEM) we show it.")]
SmdpKey = Annotated[Path | None, typer.Option(help="File with the private key (PEM) of that certificate.")]
SmdpCa = Annotated[Path | None, typer.Option(help="File with the CA (PEM) its TLS certificate comes from.")]
SmdpAddress = Annotated[str, typer.Option(help="Its ES9+ name for activation codes; else the host of its address.")]
SmdpCaller = Annotated[Path | None, typer.Option(help="File with the certificate (PEM) it reports downloads with.")]
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
    smdp_url: SmdpUrl = "",
    smdp_requester_id: SmdpRequester = "",
    smdp_certificate: SmdpCertificate = None,
    smdp_key: SmdpKey = None,
    smdp_ca: SmdpCa = None,
    smdp_address: SmdpAddress = "",
    smdp_caller: SmdpCaller = None,
    as_json: AsJson = False,
) -> None:
    """Register a carrier (admins).

    Example: smdp carrier add nordic --role partner --platform external --operator-id 2 --profile-type iot
    """
    from server.api_client import client, given, show

    stock = given(operatorId=operator_id, profileType=profile_type, inventoryAccount=inventory_account)
    access = _access(platform or "external", base_url, username, api_key_file)
    files = (smdp_certificate, smdp_key, smdp_ca, smdp_caller)
    smdp = given(smdp=_smdp(smdp_url, smdp_requester_id, smdp_address, files))
    body = {"name": name, "role": role, "platform": access, **stock, **smdp}
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
    smdp_url: SmdpUrl = "",
    smdp_requester_id: SmdpRequester = "",
    smdp_certificate: SmdpCertificate = None,
    smdp_key: SmdpKey = None,
    smdp_ca: SmdpCa = None,
    smdp_address: SmdpAddress = "",
    smdp_caller: SmdpCaller = None,
    no_smdp: Annotated[bool, typer.Option("--no-smdp", help="It has no SM-DP+ of its own any more.")] = False,
    no_operator: Annotated[bool, typer.Option("--no-operator", help="No operator here has its profiles.")] = False,
    as_json: AsJson = False,
) -> None:
    """Change a carrier (admins); a platform is replaced as a whole, with its key, and so is an SM-DP+ of its own.

    Example: smdp carrier change 2 --profile-type iot-plus
    """
    from server.api_client import client, given, show

    access = None if platform is None else _access(platform, base_url, username, api_key_file)
    stock = given(operatorId=operator_id, profileType=profile_type, inventoryAccount=inventory_account)
    files = (smdp_certificate, smdp_key, smdp_ca, smdp_caller)
    smdp = given(smdp=_smdp(smdp_url, smdp_requester_id, smdp_address, files))
    nothing = ({"smdp": None} if no_smdp else {}) | ({"operatorId": None} if no_operator else {})
    body = given(role=role, platform=access) | stock | smdp | nothing
    show(client().patch(f"/v1/carriers/{carrier_id}", body), COLUMNS, as_json=as_json)


def _access(kind: str, base_url: str, username: str, api_key_file: Path | None) -> dict[str, str]:
    key = "" if api_key_file is None else api_key_file.read_text(encoding="utf-8").strip()
    return {"kind": kind, "baseUrl": base_url, "username": username, "apiKey": key}


def _smdp(
    url: str, requester_id: str, address: str, files: tuple[Path | None, Path | None, Path | None, Path | None]
) -> dict[str, str] | None:
    """The SM-DP+ of a carrier; `files` are certificate, key, CA and caller. Raises Malformed when one is missing."""
    if not url:
        if requester_id or address or any(files):
            raise typer.BadParameter("an SM-DP+ of the carrier's own begins with --smdp-url")
        return None
    certificate, key, ca, caller = ("" if file is None else file.read_text(encoding="utf-8") for file in files)
    if not (requester_id and certificate and key and ca):
        text = "give --smdp-requester-id, --smdp-certificate, --smdp-key and --smdp-ca with --smdp-url"
        raise typer.BadParameter(text)
    members = {"baseUrl": url, "requesterId": requester_id, "certificate": certificate, "key": key, "ca": ca}
    return members | {"address": address, "callerCertificate": caller}
