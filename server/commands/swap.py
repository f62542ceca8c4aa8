"""`smdp swap`: plan, order and follow carrier swaps; a client of the API."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Carrier swaps of eSIMs.")

COLUMNS = ("id", "eid", "target", "way", "state", "step", "iccid", "reason", "attention", "createdAt", "endedAt")
PLAN = ("eid", "target", "way", "steps", "gates", "digest")
ACTION = ("number", "about", "chosen", "chosenBy", "chosenAt")
ENDS = frozenset({"completed", "rolled_back", "failed", "cancelled"})
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Filter = Annotated[list[str] | None, typer.Option("--filter", help="member=value, repeatable.")]
Enterprise = Annotated[int | None, typer.Option(help="Id of the enterprise, where the key is not its own.")]
EidText = Annotated[str, typer.Argument(metavar="EID", help="The eSIM.")]
Target = Annotated[int, typer.Option("--to", help="Id of the carrier it is to go to.")]
SwapId = Annotated[int, typer.Argument(metavar="ID", help="Id of the swap.")]
_PAUSE_SECONDS = 0.5


@app.command()
def plan(eid: EidText, *, to: Target, enterprise: Enterprise = None, as_json: AsJson = False) -> None:
    """Show what a swap would do now, what stands against it, and what becomes billable when.

    Example: smdp swap plan 89049032123451234512345678901224 --to 2
    """
    from server.api_client import client, given, show

    answer = client().post("/v1/swaps/plan", {"eid": eid, "targetId": to} | given(enterpriseId=enterprise))
    show(answer, PLAN, as_json=as_json)
    if not as_json:
        for line in answer["billing"]:
            typer.echo(line)


@app.command()
def create(
    eid: EidText,
    *,
    to: Target,
    digest: Annotated[str, typer.Option(help="Digest of the plan you have seen; nothing else is carried out.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Follow the swap until it ends or waits for you.")] = False,
    enterprise: Enterprise = None,
    as_json: AsJson = False,
) -> None:
    """Order a swap.

    Example: smdp swap create 89049032123451234512345678901224 --to 2 --watch
    """
    from server.api_client import client, given, show

    body = {"eid": eid, "targetId": to, "digest": digest} | given(enterpriseId=enterprise)
    answer = client().post("/v1/swaps", body)
    if watch:
        answer = _follow(answer["swap"]["id"], enterprise, quiet=as_json)
    show(answer if as_json else answer["swap"], COLUMNS, as_json=as_json)
    if watch and answer["swap"]["state"] in ENDS - {"completed"}:
        raise typer.Exit(1)


@app.command("list")
def list_(*, enterprise: Enterprise = None, filter_: Filter = None, as_json: AsJson = False) -> None:
    """List swaps, newest first.

    Example: smdp swap list --filter open=true --filter state=downloading
    """
    from server.api_client import client, filters, show

    query = {"enterpriseId": enterprise, **filters(filter_ or ())}
    show(client().get("/v1/swaps", query), COLUMNS, as_json=as_json)


@app.command()
def show(swap: SwapId, *, enterprise: Enterprise = None, as_json: AsJson = False) -> None:
    """Show a swap: stages with times, lines and whether they cost money, what is asked of you, timeline.

    Example: smdp swap show 17
    """
    from server import api_client

    answer = api_client.client().get(f"/v1/swaps/{swap}", {"enterpriseId": enterprise})
    if as_json:
        api_client.show(answer, COLUMNS, as_json=True)
        return
    api_client.show(answer["swap"], COLUMNS, as_json=False)
    for title, columns in (
        ("stages", ("stage", "state", "startedAt", "endedAt", "error")),
        ("lines", ("carrier", "iccid", "billable")),
        ("actions", ("number", "about", "kind", "chosen", "options", "text")),
        ("timeline", ("at", "stage", "text", "evidence")),
    ):
        if answer[title]:
            typer.echo()
            api_client.show({"items": answer[title]}, columns, as_json=False)


@app.command()
def confirm(
    swap: SwapId,
    *,
    iccid: Annotated[str | None, typer.Option(help="ICCID of the line the carrier has allocated.")] = None,
    activation_code: Annotated[str | None, typer.Option(help="Its activation code; - reads standard input.")] = None,
    enterprise: Enterprise = None,
    as_json: AsJson = False,
) -> None:
    """Say that a carrier without integration has allocated the line.

    Example: smdp swap confirm 17 --iccid 8988211000000000001 --activation-code -
    """
    from server.api_client import client, given, show

    code = typer.get_text_stream("stdin").readline().strip() if activation_code == "-" else activation_code
    body = given(iccid=iccid, activationCode=code)
    answer = client().post(f"/v1/swaps/{swap}/confirm{_of(enterprise)}", body)
    show(answer if as_json else answer["swap"], COLUMNS, as_json=as_json)


@app.command()
def cancel(swap: SwapId, *, enterprise: Enterprise = None, as_json: AsJson = False) -> None:
    """Undo a swap that has not passed its pivot.

    Example: smdp swap cancel 17
    """
    from server.api_client import client, show

    answer = client().post(f"/v1/swaps/{swap}/cancel{_of(enterprise)}")
    show(answer if as_json else answer["swap"], COLUMNS, as_json=as_json)


@app.command()
def decide(
    swap: SwapId,
    number: Annotated[int, typer.Argument(help="Number of the action.")],
    choice: Annotated[str, typer.Argument(help="One of its options.")],
    *,
    enterprise: Enterprise = None,
    as_json: AsJson = False,
) -> None:
    """Settle something that is asked of you.

    Example: smdp swap decide 17 1 keep
    """
    from server.api_client import client, show

    answer = client().post(f"/v1/swaps/{swap}/decisions/{number}{_of(enterprise)}", {"choice": choice})
    show(answer, ACTION, as_json=as_json)


@app.command()
def watch(swap: SwapId, *, enterprise: Enterprise = None, as_json: AsJson = False) -> None:
    """Follow a swap until it ends or waits for you; as JSON it is printed once, at the end.

    Example: smdp swap watch 17
    """
    from server import api_client

    answer = _follow(swap, enterprise, quiet=as_json)
    if as_json:
        api_client.show(answer, COLUMNS, as_json=True)
    if answer["swap"]["state"] in ENDS - {"completed"}:
        raise typer.Exit(1)


def _follow(swap: int, enterprise: int | None, *, quiet: bool) -> Any:
    """Print the timeline as it grows; the swap once it has ended or waits for its customer."""
    from server.api_client import client

    api, printed = client(), 0
    while True:
        answer = api.get(f"/v1/swaps/{swap}", {"enterpriseId": enterprise})
        for line in answer["timeline"][printed:]:
            if not quiet:
                typer.echo("  ".join(filter(None, (line["at"], line["stage"], line["text"], line["evidence"]))))
        printed = len(answer["timeline"])
        if answer["swap"]["state"] in ENDS | {"awaiting_customer"}:
            return answer
        time.sleep(_PAUSE_SECONDS)


def _of(enterprise: int | None) -> str:
    return f"?enterpriseId={enterprise}" if enterprise else ""
