"""Kinds of members that several resources share."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from api.operation import Body, View
from tenancy.partners import Plans

Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")]
Pem = Annotated[str, Meta(max_length=20_000, pattern=r"^[^\x00]*$")]
Text = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*$")]
Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]
EidText = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{32}$", description="an EID is 32 decimal digits", examples=["89049032123451234512345678901224"]
    ),
]
IccidText = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{18,20}$", description="an ICCID is 18 to 20 decimal digits", examples=["8988211000000000001"]
    ),
]


class PlansBody(Body, frozen=True, kw_only=True):
    """Account, rate plan and communication plan on a carrier's platform, in the platform's own names."""

    account: Text = ""
    rate_plan: Text = ""
    communication_plan: Text = ""

    def plans(self) -> Plans:
        """As the role knows them."""
        return Plans(account=self.account, rate_plan=self.rate_plan, communication_plan=self.communication_plan)


class PlansView(View, frozen=True, kw_only=True):
    """Account, rate plan and communication plan on a carrier's platform."""

    account: str
    rate_plan: str
    communication_plan: str

    @classmethod
    def of(cls, plans: Plans) -> PlansView:
        """As callers see them."""
        return cls(account=plans.account, rate_plan=plans.rate_plan, communication_plan=plans.communication_plan)


def changes_of(body: Body) -> dict[str, Any]:
    """The members a change names; plans as the role knows them."""
    named = {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not UNSET}
    if isinstance(plans := named.get("plans"), PlansBody):
        named["plans"] = plans.plans()
    return named


__all__ = ["UNSET", "EidText", "IccidText", "Id", "Name", "Pem", "PlansBody", "PlansView", "Text", "UnsetType"]
__all__ += ["changes_of"]
