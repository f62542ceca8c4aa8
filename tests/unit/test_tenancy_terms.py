"""Who may swap what where, who may order it, onboard and steer: the tables of terms, by properties."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenancy.partners import Carrier, CarrierRole, Enterprise, Model, Partnership, Plans, PlatformAccess
from tenancy.principal import Principal, PrincipalKind
from tenancy.terms import NoTerms, Terms, may_onboard, may_order, may_steer, terms

LEAD, PARTNER, STRANGER = 1, 2, 3
ENTERPRISE = Enterprise(id=7, name="acme", lead_id=LEAD, plans=Plans(account="home"))


def carrier(number: int, role: CarrierRole = CarrierRole.BOTH) -> Carrier:
    return Carrier(id=number, name=f"c{number}", role=role, platform=PlatformAccess(kind="external"))


AGREED = Partnership(
    id=4,
    enterprise_id=ENTERPRISE.id,
    lead_id=LEAD,
    partner_id=PARTNER,
    model=Model.HANDOVER,
    plans=Plans(account="away"),
    lead_agrees=True,
    partner_agrees=True,
    version=3,
)
ids = st.integers(1, 9)
partnerships = st.builds(
    Partnership,
    id=ids,
    enterprise_id=st.sampled_from([7, 8]),
    lead_id=st.sampled_from([LEAD, STRANGER]),
    partner_id=st.sampled_from([PARTNER, STRANGER]),
    model=st.sampled_from(Model),
    plans=st.just(Plans(account="away")),
    territory=st.sampled_from([(), ("242",), ("208", "242")]),
    enterprise_may_order=st.booleans(),
    lead_agrees=st.booleans(),
    partner_agrees=st.booleans(),
)
principals = st.builds(Principal, kind=st.sampled_from(PrincipalKind), party_id=st.sampled_from([0, LEAD, 2, 7, 8]))
countries = st.sampled_from([None, "242", "208", "999"])


@given(found=st.lists(partnerships, max_size=5), country=countries, role=st.sampled_from(CarrierRole))
@settings(max_examples=100)
def test_terms_rest_on_an_active_partnership_of_these_three_that_holds_in_this_country(
    found: list[Partnership], country: str | None, role: CarrierRole
) -> None:
    given_terms = terms(ENTERPRISE, carrier(PARTNER, role), found, country)
    if isinstance(given_terms, NoTerms):
        return
    resting_on = next(one for one in found if one.id == given_terms.partnership_id and one.enterprise_id == 7)
    wanted = next(one for one in found if (one.enterprise_id, one.lead_id, one.partner_id) == (7, LEAD, PARTNER))
    assert resting_on == wanted or resting_on.id == wanted.id
    assert role.may_partner
    assert wanted.active
    assert not wanted.territory or country in wanted.territory


@given(found=st.lists(partnerships, max_size=3), country=countries)
@settings(max_examples=30)
def test_the_way_back_to_the_lead_is_always_open(found: list[Partnership], country: str | None) -> None:
    back = terms(ENTERPRISE, carrier(LEAD, CarrierRole.LEAD), found, country)
    assert isinstance(back, Terms)
    assert (back.plans, back.partnership_id, back.model) == (ENTERPRISE.plans, None, None)


@pytest.mark.parametrize(
    ("changes", "country", "reason"),
    [
        ({"enterprise_id": 8}, "242", NoTerms.NO_PARTNERSHIP),
        ({"lead_id": STRANGER}, "242", NoTerms.NO_PARTNERSHIP),
        ({"partner_id": STRANGER}, "242", NoTerms.NO_PARTNERSHIP),
        ({"lead_agrees": False}, "242", NoTerms.NOT_AGREED),
        ({"partner_agrees": False}, "242", NoTerms.NOT_AGREED),
        ({"territory": ("208",)}, "242", NoTerms.NOT_HERE),
        ({"territory": ("208",)}, None, NoTerms.COUNTRY_UNKNOWN),
    ],
)
def test_each_missing_fact_is_named(changes: dict[str, object], country: str | None, reason: NoTerms) -> None:
    changed = replace(AGREED, **changes)  # type: ignore[arg-type] # the names are those of the cases above
    assert terms(ENTERPRISE, carrier(PARTNER), [changed], country) is reason


def test_a_carrier_that_is_a_lead_only_takes_nothing_over() -> None:
    assert terms(ENTERPRISE, carrier(PARTNER, CarrierRole.LEAD), [AGREED], None) is NoTerms.NOT_A_PARTNER


def test_terms_carry_what_a_swap_needs() -> None:
    assert terms(ENTERPRISE, carrier(PARTNER), [AGREED], None) == Terms(
        enterprise_id=7,
        lead_id=LEAD,
        target_id=PARTNER,
        plans=Plans(account="away"),
        partnership_id=4,
        partnership_version=3,
        model=Model.HANDOVER,
        enterprise_may_order=True,
    )


@given(principal=principals, model=st.sampled_from(Model), allowed=st.booleans())
@settings(max_examples=100)
def test_the_lead_orders_always_and_the_enterprise_as_model_and_partnership_say(
    principal: Principal, model: Model, allowed: bool
) -> None:
    agreed = terms(ENTERPRISE, carrier(PARTNER), [replace(AGREED, model=model, enterprise_may_order=allowed)], None)
    assert isinstance(agreed, Terms)
    is_lead = principal == Principal(kind=PrincipalKind.CARRIER, party_id=LEAD)
    is_itself = principal == Principal(kind=PrincipalKind.ENTERPRISE, party_id=7)
    assert may_order(principal, agreed) == (is_lead or (is_itself and (model is Model.HANDOVER or allowed)))


@given(principal=principals)
@settings(max_examples=50)
def test_the_lead_alone_onboards_and_it_and_the_enterprise_steer(principal: Principal) -> None:
    is_lead = principal == Principal(kind=PrincipalKind.CARRIER, party_id=LEAD)
    is_itself = principal == Principal(kind=PrincipalKind.ENTERPRISE, party_id=7)
    assert may_onboard(principal, ENTERPRISE) == is_lead
    assert may_steer(principal, ENTERPRISE) == (is_lead or is_itself)
