"""Plans: which way a swap goes, what stands against it, what becomes billable when."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsp.identifiers import Eid, Iccid
from swap import swap
from swap.plan import (
    STEPS,
    UNDO,
    Account,
    Capabilities,
    Facts,
    Held,
    Missing,
    Source,
    Stock,
    Target,
    Terms,
    Way,
    digest_of,
    planned,
)
from swap.swap import BEGINNINGS, STATE_OF, StepName, SwapState

EID = Eid("89049032000000000000000000000012")
ICCID = Iccid("89014103211118510720")
INTEGRATED = Capabilities(
    can_allocate=True,
    can_release=True,
    can_set_billable=True,
    has_connectable_unbilled_state=True,
    reports_sessions=True,
)
NOT_INTEGRATED = Capabilities(
    can_allocate=False,
    can_release=False,
    can_set_billable=False,
    has_connectable_unbilled_state=False,
    reports_sessions=False,
)
TARGET = Target(
    id=2,
    name="nordic",
    capabilities=INTEGRATED,
    inventory_account="inventory",
    stock=Stock(operator_id=7, profile_type="iot"),
)
TERMS = Terms(account=Account(account="enterprise", rate_plan="5 MB", communication_plan="LTE-M"), partnership_id=3)
FACTS = Facts(
    eid=EID,
    known=True,
    listed=True,
    source=Source(carrier_id=1, name="lead", iccid="89010000000000000001"),
    target=TARGET,
    terms=TERMS,
    held=(),
    in_stock=True,
)
HELD = Held(iccid=ICCID, enabled=False, on_platform=True, account="enterprise")
EXTERNAL = replace(TARGET, capabilities=NOT_INTEGRATED, stock=None, inventory_account="")

WAYS = [
    (FACTS, Way.FULL),
    (replace(FACTS, held=(HELD,)), Way.HELD),
    (replace(FACTS, target=EXTERNAL), Way.CUSTOMER),
    (replace(FACTS, target=EXTERNAL, held=(replace(HELD, on_platform=False, account=""),)), Way.CUSTOMER_HELD),
]


@pytest.mark.parametrize(("facts", "way"), WAYS)
def test_facts_choose_the_way(facts: Facts, way: Way) -> None:
    plan = planned(facts)
    assert (plan.way, plan.gates) == (way, ())
    assert plan.steps == STEPS[way]


def test_a_profile_on_the_card_in_the_right_account_is_only_activated() -> None:
    plan = planned(replace(FACTS, held=(HELD,)))
    assert plan.steps == (
        StepName.CHECK,
        StepName.CONFIRM,
        StepName.ENABLE,
        StepName.VERIFY,
        StepName.COMMIT,
        StepName.CLOSE,
    )
    assert plan.held == ICCID.digits


GATES = [
    (replace(FACTS, known=False), Missing.ESIM),
    (replace(FACTS, listed=False), Missing.CARD_CONTENT),
    (replace(FACTS, source=None), Missing.CARD_CONTENT),
    (replace(FACTS, terms="no partnership"), Missing.TERMS),
    (replace(FACTS, terms=replace(TERMS, account=replace(TERMS.account, account=""))), Missing.ACCOUNT),
    (replace(FACTS, held=(replace(HELD, enabled=True),)), Missing.ALREADY_ENABLED),
    (replace(FACTS, held=(replace(HELD, account="somebody else's"),)), Missing.SIM_ELSEWHERE),
    (replace(FACTS, held=(replace(HELD, on_platform=False, account=""),)), Missing.SIM_ELSEWHERE),
    (replace(FACTS, target=replace(TARGET, stock=None)), Missing.STOCK),
    (replace(FACTS, target=replace(TARGET, inventory_account="")), Missing.STOCK),
    (replace(FACTS, in_stock=False), Missing.STOCK),
    (replace(FACTS, running=41), Missing.RUNNING),
    (replace(FACTS, target=replace(EXTERNAL, unusable="its key is missing")), Missing.PLATFORM),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "missing"), GATES)
def test_a_missing_fact_is_named(facts: Facts, missing: Missing) -> None:
    assert [gate.missing for gate in planned(facts).gates] == [missing]


def test_everything_that_is_missing_is_named_at_once() -> None:
    plan = planned(replace(FACTS, terms="no partnership", in_stock=False, running=41))
    assert [gate.missing for gate in plan.gates] == [Missing.TERMS, Missing.STOCK, Missing.RUNNING]


def test_a_running_swap_is_named_by_its_number() -> None:
    assert "swap 41 of this eSIM" in planned(replace(FACTS, running=41)).gates[0].text


def test_nothing_is_said_to_be_billable_before_the_way_back_is_closed_where_the_platform_can_keep_it_so() -> None:
    said = planned(FACTS).billing
    assert "connects without being billed" in said[1]
    assert "once the card uses it and the way back is closed" in said[2]
    assert "both lines" in said[-1]


def test_a_platform_without_an_unbilled_state_is_said_to_bill_from_the_allocation_on() -> None:
    billing = replace(INTEGRATED, has_connectable_unbilled_state=False)
    said = planned(replace(FACTS, target=replace(TARGET, capabilities=billing))).billing
    assert "billable when it is allocated" in said[1]


def test_billing_at_a_carrier_without_integration_stays_the_customers() -> None:
    assert any("an action stays open" in line for line in planned(replace(FACTS, target=EXTERNAL)).billing)


def test_the_digest_names_one_plan() -> None:
    plan, same = planned(FACTS), planned(FACTS)
    assert plan.digest == same.digest == digest_of(plan)
    assert planned(replace(FACTS, terms=replace(TERMS, partnership_version=1))).digest != plan.digest


@given(st.sampled_from(Way))
def test_every_way_walks_through_the_table_from_beginning_to_end(way: Way) -> None:
    state = STATE_OF[STEPS[way][0]]
    assert state in BEGINNINGS
    for step in STEPS[way]:
        state = swap.onward(state, step)
    assert swap.after(state, swap.SwapEvent.COMPLETE) is SwapState.COMPLETED


@given(st.sampled_from(Way))
def test_every_way_can_be_undone_and_forbids_before_it_takes_back(way: Way) -> None:
    assert UNDO[way][0] is StepName.WITHDRAW
    assert all(STATE_OF[step] is SwapState.UNDOING for step in UNDO[way])


def test_a_profile_is_deleted_on_the_card_before_it_returns_to_stock_and_its_sim_last() -> None:
    undo = UNDO[Way.FULL]
    assert undo.index(StepName.DELETE) < undo.index(StepName.RETURN) < undo.index(StepName.RELEASE)
