"""What a swap will do: facts in, steps, obstacles and consequences for the bills out. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from rsp.identifiers import Eid, Iccid
from swap.swap import StepName


class Way(StrEnum):
    """How the target carrier's line comes to be used."""

    FULL = "full"
    """Allocated at the carrier's platform, downloaded, activated."""
    HELD = "activation_only"
    """The card holds the profile and its SIM is in the enterprise's account: activated."""
    CUSTOMER = "customer_allocates"
    """The carrier has no integration: the customer allocates and hands us the activation code."""
    CUSTOMER_HELD = "customer_confirms"
    """As above, and the card holds the profile already: the customer confirms that its line may be used."""


_S = StepName
_ACTIVATION = (_S.CONFIRM, _S.ENABLE, _S.VERIFY, _S.COMMIT, _S.CLOSE)
STEPS: dict[Way, tuple[StepName, ...]] = {
    Way.FULL: (_S.RESERVE, _S.ALLOCATE, _S.PREPARE, _S.DOWNLOAD, *_ACTIVATION),
    Way.HELD: (_S.CHECK, *_ACTIVATION),
    Way.CUSTOMER: (_S.CUSTOMER, _S.DOWNLOAD, *_ACTIVATION),
    Way.CUSTOMER_HELD: (_S.CUSTOMER, *_ACTIVATION),
}
UNDO: dict[Way, tuple[StepName, ...]] = {
    Way.FULL: (_S.WITHDRAW, _S.RECALL, _S.DELETE, _S.RETURN, _S.RELEASE),
    Way.HELD: (_S.WITHDRAW,),
    # What the customer allocated is the customer's: nothing of it is deleted or given back without being asked.
    Way.CUSTOMER: (_S.WITHDRAW,),
    Way.CUSTOMER_HELD: (_S.WITHDRAW,),
}
"""What undoes a swap before the pivot, in this order: first nothing new may happen, then what happened goes back."""


class Missing(StrEnum):
    """The fact without which a swap does not start."""

    ESIM = "esim"
    CARD_CONTENT = "card_content"
    TERMS = "terms"
    ALREADY_ENABLED = "already_enabled"
    SIM_ELSEWHERE = "sim_elsewhere"
    RUNNING = "swap_running"
    PLATFORM = "platform"
    STOCK = "stock"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """An obstacle: which fact is missing, and what to do about it."""

    missing: Missing
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a carrier's platform can do for us. What it cannot, the customer does and tells us."""

    can_allocate: bool
    can_release: bool
    can_set_billable: bool
    has_connectable_unbilled_state: bool
    reports_sessions: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """Where a carrier's profiles lie, and their kind: at an operator of our SM-DP+, or at an SM-DP+ of the carrier's.

    `peer_id` is the carrier whose own SM-DP+ has them; 0 for ours. Only the adapter behind the port looks at it.
    """

    operator_id: int
    profile_type: str
    peer_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where a SIM goes, in the platform's own names."""

    account: str
    rate_plan: str
    communication_plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The carrier a swap goes to. `unusable` says why its platform cannot be used as it is configured, "" if it can."""

    id: int
    name: str
    capabilities: Capabilities
    inventory_account: str = ""
    stock: Stock | None = None
    unusable: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what the swap rests: the enterprise's account there, and the partnership, if it needs one.

    `enterprise_may_order` is False where only the lead carrier orders (resale).
    """

    account: Account
    partnership_id: int | None = None
    partnership_version: int = 0
    model: str = ""
    enterprise_may_order: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The line in use before: its carrier and the enabled profile."""

    carrier_id: int
    name: str
    iccid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A profile of the target carrier on the card. `account` is where its platform says the SIM is, "" if it does not.

    `platform` tells whether the platform knows the SIM at all.
    """

    iccid: Iccid
    enabled: bool
    on_platform: bool
    account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a plan is made of. `terms` that is text says why there are none; `running` is a swap of this eSIM."""

    eid: Eid
    known: bool
    listed: bool
    source: Source | None
    target: Target
    terms: Terms | str
    held: tuple[Held, ...]
    in_stock: bool
    running: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done, or what stands against it. It can be carried out when there are no gates.

    `billing` says in words what becomes billable when. `held` is the profile that is on the card already. `digest` is
    SHA-256 of all the rest in hex: who creates a swap may name it, and gets what was planned or nothing.
    """

    eid: str
    way: Way
    steps: tuple[StepName, ...]
    target: Target
    terms: Terms | None
    source: Source | None
    held: str = ""
    gates: tuple[Gate, ...] = ()
    billing: tuple[str, ...] = ()
    digest: str = ""

    @property
    def undo(self) -> tuple[StepName, ...]:
        """The steps that undo it."""
        return UNDO[self.way]

    @property
    def from_our_stock(self) -> bool:
        """Whether the profile comes from our SM-DP+ and its SIM from the carrier's inventory."""
        return self.way is Way.FULL


def planned(facts: Facts) -> Plan:
    """The plan for these facts."""
    held = facts.held[0] if facts.held else None
    way = _way(facts.target, held)
    bare = Plan(
        eid=str(facts.eid),
        way=way,
        steps=STEPS[way],
        target=facts.target,
        terms=None if isinstance(facts.terms, str) else facts.terms,
        source=facts.source,
        held=held.iccid.digits if held else "",
        gates=_gates(facts, way, held),
        billing=_billing(facts, way),
    )
    return replace(bare, digest=digest_of(bare))


def digest_of(plan: Plan) -> str:
    """SHA-256 (hex) of everything but the digest itself."""
    text = json.dumps(asdict(replace(plan, digest="")), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _way(target: Target, held: Held | None) -> Way:
    if target.capabilities.can_allocate:
        return Way.HELD if held else Way.FULL
    return Way.CUSTOMER_HELD if held else Way.CUSTOMER


def _gates(facts: Facts, way: Way, held: Held | None) -> tuple[Gate, ...]:
    found = (_card_gate(facts), _terms_gate(facts, way), _held_gate(facts, way, held), _stock_gate(facts, way))
    platform = running = None
    if facts.target.unusable:
        platform = Gate(missing=Missing.PLATFORM, text=facts.target.unusable)
    if facts.running is not None:
        running = Gate(missing=Missing.RUNNING, text=f"swap {facts.running} of this eSIM is running: wait for its end")
    return tuple(gate for gate in (platform, *found, running) if gate is not None)


def _card_gate(facts: Facts) -> Gate | None:
    if not facts.known:
        return Gate(missing=Missing.ESIM, text=f"there is no eSIM {facts.eid}: have the lead carrier onboard it")
    if not facts.listed or facts.source is None:
        text = "which profiles the card holds, and which is enabled, is not known: ask it for its list of profiles"
        return Gate(missing=Missing.CARD_CONTENT, text=text)
    return None


def _terms_gate(facts: Facts, way: Way) -> Gate | None:
    if isinstance(facts.terms, str):
        return Gate(missing=Missing.TERMS, text=facts.terms)
    account = facts.terms.account
    if way in (Way.FULL, Way.HELD) and not (account.account and account.rate_plan and account.communication_plan):
        text = f"the terms with {facts.target.name} lack account, rate plan or communication plan: complete them"
        return Gate(missing=Missing.ACCOUNT, text=text)
    return None


def _held_gate(facts: Facts, way: Way, held: Held | None) -> Gate | None:
    """The card's word alone is not enough: the line must be this enterprise's, says the platform."""
    if held is None:
        return None
    if held.enabled:
        text = f"profile {held.iccid} of {facts.target.name} is enabled on the card already"
        return Gate(missing=Missing.ALREADY_ENABLED, text=text)
    wanted = facts.terms.account.account if isinstance(facts.terms, Terms) else ""
    if way is Way.HELD and held.account != wanted:
        where = f"in account {held.account}" if held.account else "not known to the platform"
        text = f"the card holds profile {held.iccid}, whose SIM is {where} and not in this enterprise's account: "
        return Gate(missing=Missing.SIM_ELSEWHERE, text=text + "have it moved there, or delete the profile")
    return None


def _stock_gate(facts: Facts, way: Way) -> Gate | None:
    if way is not Way.FULL:
        return None
    if facts.target.stock is None or not facts.target.inventory_account:
        text = f"{facts.target.name} has no profiles here or at an SM-DP+ of its own, or no inventory account"
        return Gate(missing=Missing.STOCK, text=f"{text}: register them")
    if not facts.in_stock:
        text = f"no profile {facts.target.stock.profile_type} of {facts.target.name} is left in stock: add some"
        return Gate(missing=Missing.STOCK, text=text)
    return None


def _billing(facts: Facts, way: Way) -> tuple[str, ...]:
    name, can = facts.target.name, facts.target.capabilities
    said = []
    if facts.source is not None:
        said.append(
            f"The line {facts.source.iccid} of {facts.source.name} is not touched: it stays provisioned and costs what"
            " it costs now, until you decide otherwise."
        )
    if way is Way.FULL and not can.has_connectable_unbilled_state:
        said.append(f"The new line of {name} becomes billable when it is allocated, before the card uses it.")
    elif way is Way.FULL:
        said.append(f"The new line of {name} is allocated in a state that connects without being billed.")
    if can.can_set_billable:
        said.append(f"The line of {name} becomes billable once the card uses it and the way back is closed.")
    else:
        said.append(f"When the line of {name} becomes billable is between you and {name}: an action stays open for it.")
    if facts.source is not None:
        said.append("From then on both lines may cost money.")
    return tuple(said)
