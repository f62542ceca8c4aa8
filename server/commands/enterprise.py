"""`smdp enterprise`: who owns eSIMs, each under its lead carrier; a client of the API."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Enterprises that own eSIMs.")

COLUMNS = ("id", "name", "leadId", "plans")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Filter = Annotated[list[str] | None, typer.Option("--filter", help="member=value, repeatable.")]
Id = Annotated[int, typer.Argument(help="Id of the enterprise.")]
Account = Annotated[str, typer.Option(help="Its account on its lead's platform.")]
RatePlan = Annotated[str, typer.Option(help="Its rate plan there.")]
CommunicationPlan = Annotated[str, typer.Option(help="Its communication plan there.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the enterprise.")],
    *,
    lead: Annotated[int, typer.Option(help="Id of its lead carrier.")],
    account: Account = "",
    rate_plan: RatePlan = "",
    communication_plan: CommunicationPlan = "",
    as_json: AsJson = False,
) -> None:
    """Register an enterprise (its lead carrier, admins).

    Example: smdp enterprise add acme-meters --lead 1 --account 100000001
    """
    from server.api_client import client, show

    plans = {"account": account, "ratePlan": rate_plan, "communicationPlan": communication_plan}
    body = {"name": name, "leadId": lead, "plans": plans}
    show(client().post("/v1/enterprises", body), COLUMNS, as_json=as_json)


@app.command("list")
def list_(*, filter_: Filter = None, as_json: AsJson = False) -> None:
    """List enterprises.

    Example: smdp enterprise list --filter name=acme
    """
    from server.api_client import client, filters, show

    show(client().get("/v1/enterprises", filters(filter_ or ())), COLUMNS, as_json=as_json)


@app.command()
def show(enterprise_id: Id, *, as_json: AsJson = False) -> None:
    """Show an enterprise.

    Example: smdp enterprise show 3
    """
    from server import api_client

    api_client.show(api_client.client().get(f"/v1/enterprises/{enterprise_id}"), COLUMNS, as_json=as_json)


@app.command()
def change(
    enterprise_id: Id,
    *,
    account: Account,
    rate_plan: RatePlan = "",
    communication_plan: CommunicationPlan = "",
    as_json: AsJson = False,
) -> None:
    """Replace the plans of an enterprise at its lead carrier.

    Example: smdp enterprise change 3 --account 100000002 --rate-plan flat-5
    """
    from server.api_client import client, show

    plans = {"account": account, "ratePlan": rate_plan, "communicationPlan": communication_plan}
    show(client().patch(f"/v1/enterprises/{enterprise_id}", {"plans": plans}), COLUMNS, as_json=as_json)
