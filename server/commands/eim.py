"""`smdp eim`: what factories need to put this eIM on cards."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="The eIM of IoT devices: its configuration for factories.")


@app.callback()
def _group() -> None:
    """One command only, which still has a name of its own."""


@app.command()
def configuration(
    *,
    counter: Annotated[int, typer.Option(help="The card accepts packages counted above this.", min=0)] = 0,
    token: Annotated[bool, typer.Option(help="Ask the card to make an association token.")] = True,
    pin_tls: Annotated[bool, typer.Option(help="Let devices trust this TLS certificate and no other.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write DER to this file instead of printing base64.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Print EimConfigurationData (SGP.32 2.11.1): what AddInitialEim takes, one and the same for all cards.

    The token a card makes comes back with its EID and certificates when the eSIM is onboarded.

    Example: smdp eim configuration --output eim.der
    """
    data = asyncio.run(_configuration(counter, pin_tls=pin_tls, with_token=token))
    if output is not None:
        output.write_bytes(data)
        typer.echo(f"{output}: {len(data)} bytes")
        return
    text = base64.b64encode(data).decode()
    typer.echo(json.dumps({"eimConfigurationData": text}) if as_json else text)


async def _configuration(counter: int, *, pin_tls: bool, with_token: bool) -> bytes:
    from certs import layout
    from certs.errors import BadPki
    from certs.files import read_certificate
    from eim.association import eim_configuration
    from server.eim_wiring import identity_of
    from server.preflight import open_vault
    from server.settings import load

    settings = load()
    pki = layout.load(settings.pki_dir)
    identity = identity_of(settings, pki)
    if identity is None or pki.eim is None:
        raise BadPki(f"{settings.pki_dir} has no eIM: see `smdp pki eim` and `smdp pki import --eim-tls`")
    tls = read_certificate(pki.eim.tls_certificate) if pin_tls else None
    return await eim_configuration(open_vault(settings), identity, tls, counter=counter, with_token=with_token)
