"""What a Control Center platform knows: accounts, plans, SIMs, their status and sessions, and who is billed since when.

Status values and their automatic transitions are those of the operators' public pages; error codes are those of the
published catalogue of the platform's older interface, because none is published for REST beyond `10000001`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rsp.identifiers import Iccid

MOVES: Mapping[str, frozenset[str]] = {
    "INVENTORY": frozenset({"TEST_READY", "ACTIVATION_READY", "ACTIVATED", "DEACTIVATED", "RETIRED"}),
    "TEST_READY": frozenset({"INVENTORY", "ACTIVATION_READY", "ACTIVATED", "DEACTIVATED", "RETIRED"}),
    "ACTIVATION_READY": frozenset({"INVENTORY", "TEST_READY", "ACTIVATED", "DEACTIVATED", "RETIRED"}),
    "ACTIVATED": frozenset({"DEACTIVATED", "RETIRED"}),
    "DEACTIVATED": frozenset({"INVENTORY", "TEST_READY", "ACTIVATION_READY", "ACTIVATED", "RETIRED"}),
    "RETIRED": frozenset({"PURGED"}),
    "PURGED": frozenset(),
    "REPLACED": frozenset(),
}
"""Which status a user may set after which. Operators configure this; a billed SIM never becomes unbilled stock."""

CONNECTABLE = frozenset({"TEST_READY", "ACTIVATION_READY", "ACTIVATED"})
EDITABLE = ("status", "ratePlan", "communicationPlan")


class Rejected(Exception):  # noqa: N818 -- the name is the outcome
    """What was asked is against the rules; nothing was changed. Carries HTTP status and the platform's code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(slots=True, kw_only=True)
class Sim:
    """One SIM as it is now."""

    iccid: Iccid
    account: str
    status: str
    rate_plan: str = ""
    communication_plan: str = ""
    eid: str = ""
    imsi: str = ""
    msisdn: str = ""
    added: datetime
    updated: datetime
    shipped: datetime | None = None
    activated: datetime | None = None
    session_started: datetime | None = None
    session_ended: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """An account with the plans it may use."""

    rate_plans: frozenset[str] = frozenset()
    communication_plans: frozenset[str] = frozenset()


@dataclass(slots=True, kw_only=True)
class Charge:
    """A time in which a SIM was billed to an account; `until` is None while it is."""

    iccid: Iccid
    account: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of the audit trail: who changed which field of a SIM from what to what."""

    iccid: Iccid
    field: str
    before: str
    after: str
    user: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One move of a SIM between accounts."""

    iccid: Iccid
    source: str
    target: str


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True, kw_only=True)
class Book:
    """The platform's memory. Tests and demonstrations read `sims`, `transfers`, `charges` and `changes` as they are."""

    clock: Callable[[], datetime] = _now
    accounts: dict[str, Customer] = field(default_factory=dict)
    sims: dict[Iccid, Sim] = field(default_factory=dict)
    transfers: list[Transfer] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def add_account(self, account: str, rate_plans: tuple[str, ...] = (), plans: tuple[str, ...] = ()) -> None:
        """An account and the names of the rate plans and communication plans it may use."""
        self.accounts[account] = Customer(rate_plans=frozenset(rate_plans), communication_plans=frozenset(plans))

    def add_sim(
        self, iccid: Iccid, account: str, status: str = "INVENTORY", *, eid: str = "", plans: tuple[str, str] = ("", "")
    ) -> Sim:
        """A SIM in an account; `plans` are its rate plan and its communication plan."""
        now = self.clock()
        rate_plan, communication_plan = plans
        sim = Sim(
            iccid=iccid,
            account=account,
            status=status,
            rate_plan=rate_plan,
            communication_plan=communication_plan,
            eid=eid,
            added=now,
            updated=now,
        )
        self.sims[iccid] = sim
        self._bill(sim)
        return sim

    def sim(self, iccid: Iccid) -> Sim:
        """The SIM. Raises Rejected (404)."""
        if iccid not in self.sims:
            raise Rejected(404, "100100", f"Device {iccid} not found")
        return self.sims[iccid]

    def edit(self, iccid: Iccid, wanted: Mapping[str, str], user: str) -> None:
        """Change status or plans. Raises Rejected."""
        sim = self.sim(iccid)
        self._check_plans(sim.account, wanted.get("ratePlan", ""), wanted.get("communicationPlan", ""))
        _check_move(sim.status, wanted.get("status", sim.status))
        self._set(sim, "ratePlan", wanted.get("ratePlan", sim.rate_plan), user)
        self._set(sim, "communicationPlan", wanted.get("communicationPlan", sim.communication_plan), user)
        self._set(sim, "status", wanted.get("status", sim.status), user)

    def transfer(self, iccids: tuple[Iccid, ...], account: str, wanted: Mapping[str, str], user: str) -> None:
        """Move SIMs to an account, all or none. Raises Rejected."""
        if account not in self.accounts:
            raise Rejected(400, "1800110", f"Unknown account {account}")
        self._check_plans(account, wanted.get("ratePlan", ""), wanted.get("communicationPlan", ""))
        sims = [self.sim(iccid) for iccid in iccids]
        for sim in sims:
            if sim.account == account:
                raise Rejected(400, "1000509", f"Device {sim.iccid} is in account {account} already")
            _check_move(sim.status, wanted.get("status", sim.status))
        for sim in sims:
            self._transfer(sim, account, wanted, user)

    def session_starts(self, iccid: Iccid) -> None:
        """A device opened a data session with this SIM; its other SIMs (same EID) here have none any more."""
        sim = self.sims.get(iccid)
        if sim is None or sim.status not in CONNECTABLE:
            return
        for other in self.sims.values():
            if other is not sim and sim.eid and other.eid == sim.eid:
                self.session_ends(other.iccid)
        sim.session_started, sim.session_ended = self.clock(), None
        if sim.status == "ACTIVATION_READY":
            self._set(sim, "status", "ACTIVATED", "SYSTEM")

    def session_ends(self, iccid: Iccid) -> None:
        """The data session of this SIM is over."""
        sim = self.sims.get(iccid)
        if sim is not None and sim.session_started is not None and sim.session_ended is None:
            sim.session_ended = self.clock()

    def use_test_quota(self, iccid: Iccid) -> None:
        """The SIM has used what it may use unbilled: the platform moves it on by itself."""
        sim = self.sim(iccid)
        if sim.status == "TEST_READY":
            self._set(sim, "status", "ACTIVATION_READY", "SYSTEM")

    def connects(self, iccid: Iccid) -> bool:
        """Whether the network lets this SIM in."""
        return iccid in self.sims and self.sims[iccid].status in CONNECTABLE

    def billed(self, iccid: Iccid) -> list[Charge]:
        """When and to whom the SIM was ever billed."""
        return [charge for charge in self.charges if charge.iccid == iccid]

    def _check_plans(self, account: str, rate_plan: str, communication_plan: str) -> None:
        known = self.accounts.get(account, Customer())
        if rate_plan and rate_plan not in known.rate_plans:
            raise Rejected(400, "1000102", f"Unknown rate plan {rate_plan}")
        if communication_plan and communication_plan not in known.communication_plans:
            raise Rejected(400, "1000103", f"Unknown communication plan {communication_plan}")

    def _transfer(self, sim: Sim, account: str, wanted: Mapping[str, str], user: str) -> None:
        self.transfers.append(Transfer(iccid=sim.iccid, source=sim.account, target=account))
        self._end_charge(sim)
        self._set(sim, "accountId", account, user)
        sim.shipped = self.clock()
        # The plans of one account mean nothing in another one: what the transfer does not name is empty afterwards.
        self._set(sim, "ratePlan", wanted.get("ratePlan", ""), user)
        self._set(sim, "communicationPlan", wanted.get("communicationPlan", ""), user)
        self._set(sim, "status", wanted.get("status", sim.status), user)
        self._bill(sim)

    def _set(self, sim: Sim, name: str, value: str, user: str) -> None:
        attribute = _ATTRIBUTES[name]
        before = getattr(sim, attribute)
        if before == value:
            return
        now = self.clock()
        setattr(sim, attribute, value)
        sim.updated = now
        self.changes.append(Change(iccid=sim.iccid, field=name, before=before, after=value, user=user, at=now))
        if name == "status":
            self._end_charge(sim)
            self._bill(sim)

    def _bill(self, sim: Sim) -> None:
        if sim.status == "ACTIVATED" and not any(charge.until is None for charge in self.billed(sim.iccid)):
            sim.activated = self.clock()
            self.charges.append(Charge(iccid=sim.iccid, account=sim.account, since=sim.activated))

    def _end_charge(self, sim: Sim) -> None:
        for charge in self.billed(sim.iccid):
            charge.until = charge.until or self.clock()


_ATTRIBUTES = {
    "accountId": "account",
    "ratePlan": "rate_plan",
    "communicationPlan": "communication_plan",
    "status": "status",
}


def _check_move(before: str, after: str) -> None:
    if after not in MOVES:
        raise Rejected(400, "1000113", f"Unknown status {after}")
    if after != before and after not in MOVES[before]:
        raise Rejected(400, "1000115", f"A device cannot change from {before} to {after}")
