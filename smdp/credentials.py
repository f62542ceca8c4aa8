"""The SM-DP+'s own certificates, and which of them serves a given eUICC (SGP.22 2.6.6, 4.5.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crypto.curves import Curve
from rsp.errors import Refused
from rsp.es10 import EuiccInfo1
from rsp.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """DPauth and DPpb under one CI: both carry the same `oid`; the keys are labels in the vault."""

    ci_key_id: bytes
    curve: Curve
    auth_certificate: bytes
    auth_key: str
    pb_certificate: bytes
    pb_key: str
    oid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What InitiateAuthentication settles: the CI the eUICC shall sign under, and the certificates we show."""

    euicc_ci_key_id: bytes
    credentials: Credentials


class Wallet:
    """All credentials of this server, by CI."""

    def __init__(self, credentials: Sequence[Credentials], trusted: Mapping[bytes, Curve]) -> None:
        """`trusted` are the CIs under which an eUICC may sign: key id to curve."""
        self._by_ci = {entry.ci_key_id: entry for entry in credentials}
        self._trusted = dict(trusted)
        self.oids = frozenset(entry.oid for entry in credentials)

    def of(self, ci_key_id: bytes) -> Credentials | None:
        """The credentials under that CI, if this server still has them."""
        return self._by_ci.get(ci_key_id)

    def curve_of(self, ci_key_id: bytes) -> Curve:
        """The curve of the keys under a trusted CI. Raises Refused when it was taken away since a session began."""
        curve = self._trusted.get(ci_key_id)
        if curve is None:
            raise Refused(Status.CI_UNKNOWN, "The CI of this session is trusted no longer.")
        return curve

    def choose(self, info: EuiccInfo1) -> Choice:
        """First what the eUICC signs with, in its order of preference; then what it can verify of ours.

        Raises Refused: CI_FOR_SIGNING_UNSUPPORTED before CI_FOR_VERIFICATION_UNAVAILABLE.
        """
        signing = [key_id for key_id in info.ci_for_signing if key_id in self._trusted]
        if not signing:
            raise Refused(Status.CI_FOR_SIGNING_UNSUPPORTED)
        verifiable = [key_id for key_id in info.ci_for_verification if key_id in self._by_ci]
        if not verifiable:
            raise Refused(Status.CI_FOR_VERIFICATION_UNAVAILABLE)
        shown = signing[0] if signing[0] in verifiable else verifiable[0]
        return Choice(euicc_ci_key_id=signing[0], credentials=self._by_ci[shown])
