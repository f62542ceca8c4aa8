"""What the role tenancy needs from the world: storage that shows each principal its own, and audits every write.

Every write is stored together with its audit row, and once for each `Act.request`: a repetition finds the row that the
first one made. A store that cannot reach its database raises rsp.errors.Unavailable.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tenancy.keys import ApiKey, NewKey
from tenancy.partners import Carrier, CarrierRole, Enterprise, Partnership
from tenancy.principal import Act, Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """At most `most` rows in order of their ids, from behind `after`."""

    after: int = 0
    most: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One write: who did what to which thing. `detail` says what changed, without secrets."""

    id: int
    at: datetime
    principal: Principal
    key_id: int | None
    correlator: str
    action: str
    subject: str
    detail: str


class TenancyStore(Protocol):
    """Carriers, enterprises, partnerships. What the principal may not know is not found."""

    async def carrier(self, viewer: Principal, carrier_id: int) -> Carrier | None:
        """A carrier: for itself, its counterparts in partnerships, enterprises they serve, and admins."""

    async def carriers(
        self, viewer: Principal, page: Page, *, name: str = "", role: CarrierRole | None = None
    ) -> list[Carrier]:
        """The carriers `viewer` may know whose name contains `name`."""

    async def add_carrier(self, act: Act, carrier: Carrier) -> Carrier:
        """Store a carrier; its `id` is ignored. Raises Taken."""

    async def change_carrier(self, act: Act, carrier: Carrier) -> Carrier:
        """Store all but the name, if `version` is still the stored one. Raises Changed."""

    async def enterprise(self, viewer: Principal, enterprise_id: int) -> Enterprise | None:
        """An enterprise: for itself, its lead and admins."""

    async def enterprises(self, viewer: Principal, page: Page, *, name: str = "") -> list[Enterprise]:
        """The enterprises `viewer` may know whose name contains `name`."""

    async def add_enterprise(self, act: Act, enterprise: Enterprise) -> Enterprise:
        """Store an enterprise. Raises Taken."""

    async def change_enterprise(self, act: Act, enterprise: Enterprise) -> Enterprise:
        """Store name and plans. Raises Changed, Taken."""

    async def partnership(self, viewer: Principal, partnership_id: int) -> Partnership | None:
        """A partnership: for its enterprise, both its carriers and admins."""

    async def partnerships(
        self, viewer: Principal, page: Page, *, enterprise_id: int | None = None, partner_id: int | None = None
    ) -> list[Partnership]:
        """The partnerships `viewer` may know."""

    async def add_partnership(self, act: Act, partnership: Partnership) -> Partnership:
        """Store a partnership. Raises Taken when the three have one."""

    async def change_partnership(self, act: Act, partnership: Partnership) -> Partnership:
        """Store terms and agreements. Raises Changed."""


class KeyStore(Protocol):
    """API keys."""

    async def key(self, key_id: int) -> ApiKey | None:
        """One key, whoever owns it."""

    async def visible_key(self, viewer: Principal, key_id: int) -> ApiKey | None:
        """A key of `viewer`, of an enterprise it leads, or of anybody for an admin."""

    async def keys(self, viewer: Principal, page: Page) -> list[ApiKey]:
        """All such keys."""

    async def add_key(self, act: Act, key: NewKey) -> ApiKey:
        """Store a key."""

    async def revoke_key(self, act: Act, key_id: int, now: datetime) -> None:
        """Make the key useless from now on; once revoked, it stays as it is."""


class AuditStore(Protocol):
    """What was written by whom."""

    async def note(self, act: Act, action: str, subject: str, detail: str) -> None:
        """Keep a row for a write that another role has stored."""

    async def audit(self, viewer: Principal, page: Page) -> list[AuditRow]:
        """Writes of `viewer`, or of everybody for an admin."""
