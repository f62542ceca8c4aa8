"""`smdp partnership`: what lead and partner have agreed on for an enterprise; a client of the API."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Partnerships, without which there is no swap.")

COLUMNS = ("id", "enterpriseId", "leadId", "partnerId", "model", "plans", "territory", "active")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Filter = Annotated[list[str] | None, typer.Option("--filter", help="member=value, repeatable.")]
Id = Annotated[int, typer.Argument(help="Id of the partnership.")]


@app.command()
def add(  # noqa: PLR0913 -- one parameter an option
    *,
    enterprise: Annotated[int, typer.Option(help="Id of the enterprise.")],
    partner: Annotated[int, typer.Option(help="Id of the partner carrier.")],
    model: Annotated[str, typer.Option(help="handover or resale.")] = "handover",
    account: Annotated[str, typer.Option(help="The enterprise's account on the partner's platform.")] = "",
    rate_plan: Annotated[str, typer.Option(help="Its rate plan there.")] = "",
    communication_plan: Annotated[str, typer.Option(help="Its communication plan there.")] = "",
    territory: Annotated[list[str] | None, typer.Option(help="A country code (MCC), repeatable; none: all.")] = None,
    enterprise_may_order: Annotated[bool, typer.Option(help="Resale: the enterprise may order swaps, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Propose a partnership (lead carrier), or record one that both sides agreed on (admins).

    Example: smdp partnership add --enterprise 3 --partner 2 --account 200000001 --territory 242
    """
    from server.api_client import client, show

    body = {
        "enterpriseId": enterprise,
        "partnerId": partner,
        "model": model,
        "plans": {"account": account, "ratePlan": rate_plan, "communicationPlan": communication_plan},
        "territory": territory or [],
        "enterpriseMayOrder": enterprise_may_order,
    }
    show(client().post("/v1/partnerships", body), COLUMNS, as_json=as_json)


@app.command("list")
def list_(*, filter_: Filter = None, as_json: AsJson = False) -> None:
    """List partnerships.

    Example: smdp partnership list --filter enterpriseId=3
    """
    from server.api_client import client, filters, show

    show(client().get("/v1/partnerships", filters(filter_ or ())), COLUMNS, as_json=as_json)


@app.command()
def show(partnership_id: Id, *, as_json: AsJson = False) -> None:
    """Show a partnership.

    Example: smdp partnership show 4
    """
    from server import api_client

    api_client.show(api_client.client().get(f"/v1/partnerships/{partnership_id}"), COLUMNS, as_json=as_json)


@app.command()
def change(  # noqa: PLR0913 -- one parameter an option
    partnership_id: Id,
    *,
    model: Annotated[str | None, typer.Option(help="handover or resale.")] = None,
    account: Annotated[str | None, typer.Option(help="With both plans: the enterprise's account there.")] = None,
    rate_plan: Annotated[str | None, typer.Option(help="Its rate plan there.")] = None,
    communication_plan: Annotated[str | None, typer.Option(help="Its communication plan there.")] = None,
    territory: Annotated[list[str] | None, typer.Option(help="A country code (MCC), repeatable.")] = None,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="In all countries.")] = False,
    enterprise_may_order: Annotated[
        bool | None, typer.Option(help="Resale: whether the enterprise may order swaps, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change the terms; those of one side hold once the other agrees again. Plans are replaced as a whole.

    Example: smdp partnership change 4 --territory 242 --territory 244
    """
    from server.api_client import client, given, show

    names = (account, rate_plan, communication_plan)
    if any(name is not None for name in names) and None in names:
        raise typer.BadParameter("give --account, --rate-plan and --communication-plan together")
    plans = None if None in names else dict(zip(("account", "ratePlan", "communicationPlan"), names, strict=True))
    where = [] if everywhere else territory
    body = given(model=model, plans=plans, territory=where, enterpriseMayOrder=enterprise_may_order)
    show(client().patch(f"/v1/partnerships/{partnership_id}", body), COLUMNS, as_json=as_json)


@app.command()
def agree(
    partnership_id: Id,
    *,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Agree no longer: no more swaps.")] = False,
    as_json: AsJson = False,
) -> None:
    """Agree to a partnership as it stands, for your side.

    Example: smdp partnership agree 4
    """
    from server.api_client import client, show

    answer = client().patch(f"/v1/partnerships/{partnership_id}", {"agrees": not withdraw})
    show(answer, COLUMNS, as_json=as_json)
