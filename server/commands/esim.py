"""`smdp esim`: eSIMs, what is on their cards, and their functions; a client of the API."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="eSIMs and what they are asked to do.")

COLUMNS = ("eid", "enterpriseId", "lastContactAt", "lastNetwork", "profiles")
OPERATION = ("id", "kind", "state", "iccid", "resultCode", "detail", "deviceSays", "createdAt", "endedAt")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Filter = Annotated[list[str] | None, typer.Option("--filter", help="member=value, repeatable.")]
Enterprise = Annotated[int | None, typer.Option(help="Id of the enterprise, where the key is not its own.")]
EidText = Annotated[str, typer.Argument(metavar="EID", help="The eSIM.")]


@app.command()
def add(  # noqa: PLR0913 -- one parameter an option
    eid: EidText,
    *,
    enterprise: Annotated[int, typer.Option(help="Id of the enterprise it belongs to.")],
    eum_certificate: Annotated[Path, typer.Option(help="Certificate of its EUM (PEM or DER).")],
    euicc_certificate: Annotated[Path, typer.Option(help="Certificate of the eUICC (PEM or DER).")],
    token: Annotated[int | None, typer.Option(help="Association token the card made.")] = None,
    counter: Annotated[int, typer.Option(help="Counter value the card was configured with.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Onboard an eSIM whose card names this eIM (its enterprise's lead carrier).

    Example: smdp esim add EID --enterprise 3 --eum-certificate eum.pem --euicc-certificate euicc.der --token 1
    """
    from server.api_client import client, given, show

    body = given(associationToken=token) | {
        "enterpriseId": enterprise,
        "eid": eid,
        "eumCertificate": _certificate(eum_certificate),
        "euiccCertificate": _certificate(euicc_certificate),
        "counter": counter,
    }
    show(client().post("/v1/esims", body), COLUMNS, as_json=as_json)


@app.command("list")
def list_(*, enterprise: Enterprise = None, filter_: Filter = None, as_json: AsJson = False) -> None:
    """List the eSIMs of an enterprise.

    Example: smdp esim list --enterprise 3 --filter limit=200
    """
    from server.api_client import client, filters, show

    query = {"enterpriseId": enterprise, **filters(filter_ or ())}
    show(client().get("/v1/esims", query), COLUMNS, as_json=as_json)


@app.command()
def show(eid: EidText, *, enterprise: Enterprise = None, as_json: AsJson = False) -> None:
    """Show an eSIM: profiles on its card, last contact.

    Example: smdp esim show 89049032123451234512345678901224
    """
    from server import api_client

    answer = api_client.client().get(f"/v1/esims/{eid}", {"enterpriseId": enterprise})
    api_client.show(answer, COLUMNS, as_json=as_json)


@app.command()
def ask(  # noqa: PLR0913 -- one parameter an option
    eid: EidText,
    kind: Annotated[str, typer.Argument(help="download, enable, disable, delete, list or read.")],
    *,
    iccid: Annotated[str | None, typer.Option(help="The profile to enable, disable or delete.")] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Enable: let the card go back by itself.")] = False,
    activation_code: Annotated[str | None, typer.Option(help="Download: the code; - reads standard input.")] = None,
    enterprise: Enterprise = None,
    as_json: AsJson = False,
) -> None:
    """Ask an eSIM to do something at its next contact.

    Example: smdp esim ask 89049032123451234512345678901224 enable --iccid 8988211000000000001 --rollback
    """
    from server.api_client import client, given, show

    code = typer.get_text_stream("stdin").readline().strip() if activation_code == "-" else activation_code
    body = given(kind=kind, iccid=iccid, activationCode=code) | {"rollback": rollback}
    show(client().post(f"/v1/esims/{eid}/operations{_of(enterprise)}", body), OPERATION, as_json=as_json)


@app.command()
def operations(eid: EidText, *, enterprise: Enterprise = None, filter_: Filter = None, as_json: AsJson = False) -> None:
    """List what an eSIM was asked to do, newest first.

    Example: smdp esim operations 89049032123451234512345678901224 --filter state=queued
    """
    from server.api_client import client, filters, show

    query = {"enterpriseId": enterprise, **filters(filter_ or ())}
    show(client().get(f"/v1/esims/{eid}/operations", query), OPERATION, as_json=as_json)


@app.command()
def withdraw(
    eid: EidText,
    operation: Annotated[int, typer.Argument(help="Id of the operation.")],
    *,
    enterprise: Enterprise = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw an operation the device has not fetched, or a download it says it could not do.

    Example: smdp esim withdraw 89049032123451234512345678901224 11
    """
    from server.api_client import client, show

    answer = client().post(f"/v1/esims/{eid}/operations/{operation}/cancel{_of(enterprise)}")
    show(answer, OPERATION, as_json=as_json)


def _of(enterprise: int | None) -> str:
    return "" if enterprise is None else f"?enterpriseId={enterprise}"


def _certificate(file: Path) -> str:
    from certs.files import read_certificate

    return base64.b64encode(read_certificate(file)).decode()
