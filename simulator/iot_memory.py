"""What a card keeps about its eIMs when it is switched off: associations, results, a rollback permission (SGP.32)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rsp.identifiers import Iccid
from simulator.eim_association import AssociatedEim
from simulator.euicc_package import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResult:
    """A signed result (raw BF51) that waits for the eIM's acknowledgement."""

    sequence: int
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackPermission:
    """Leave to go back to `previous`, given by the package of `reference` whose result has number `sequence`.

    `eim_signature` is the raw 5F37 of that package, which cards of SGP.32 1.0.1 sign along.
    """

    previous: Iccid
    reference: Reference
    sequence: int
    eim_signature: bytes


@dataclass(slots=True, kw_only=True)
class IotMemory:
    """Non-volatile memory of the SGP.32 functions."""

    eims: list[AssociatedEim] = field(default_factory=list)
    results: list[StoredResult] = field(default_factory=list)
    permission: RollbackPermission | None = None

    def eim(self, eim_id: str) -> AssociatedEim | None:
        """The associated eIM of this id, if any."""
        return next((eim for eim in self.eims if eim.eim_id == eim_id), None)

    def put(self, changed: AssociatedEim) -> None:
        """Replace the association of the same eimId."""
        self.eims[:] = [changed if eim.eim_id == changed.eim_id else eim for eim in self.eims]

    def drop_result(self, sequence: int) -> bool:
        """Forget an acknowledged result and the permission it carried; False when there is none with this number."""
        before = len(self.results)
        self.results[:] = [entry for entry in self.results if entry.sequence != sequence]
        if self.permission is not None and self.permission.sequence == sequence:
            self.permission = None
        return len(self.results) < before

    def to_state(self) -> dict[str, Any]:
        """A form for JSON; binary values in hexadecimal."""
        return {
            "eims": [asdict(eim) | {"configuration": eim.configuration.hex()} for eim in self.eims],
            "results": [{"sequence": entry.sequence, "raw": entry.raw.hex()} for entry in self.results],
            "permission": None if self.permission is None else _permission_out(self.permission),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> IotMemory:
        """From what `to_state` made. Raises KeyError, TypeError or ValueError on anything else."""
        permission = state["permission"]
        return cls(
            eims=[
                AssociatedEim(**{**entry, "configuration": bytes.fromhex(entry["configuration"])})
                for entry in state["eims"]
            ],
            results=[
                StoredResult(sequence=entry["sequence"], raw=bytes.fromhex(entry["raw"])) for entry in state["results"]
            ],
            permission=None if permission is None else _permission_in(permission),
        )


def _permission_out(permission: RollbackPermission) -> dict[str, Any]:
    return {
        "previous": str(permission.previous),
        "eim_id": permission.reference.eim_id,
        "counter": permission.reference.counter,
        "transaction_id": permission.reference.transaction_id.hex(),
        "sequence": permission.sequence,
        "eim_signature": permission.eim_signature.hex(),
    }


def _permission_in(entry: Mapping[str, Any]) -> RollbackPermission:
    return RollbackPermission(
        previous=Iccid(entry["previous"]),
        reference=Reference(
            eim_id=entry["eim_id"],
            counter=entry["counter"],
            transaction_id=bytes.fromhex(entry["transaction_id"]),
        ),
        sequence=entry["sequence"],
        eim_signature=bytes.fromhex(entry["eim_signature"]),
    )
