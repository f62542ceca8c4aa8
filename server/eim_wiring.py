"""Joins the role eIM with its storage and ESipa; there is none where the PKI folder has no eIM."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from certs.layout import PkiFolder
from crypto.certificates import TrustStore
from crypto.vault import Vault
from eim.association import EimIdentity, Onboarding
from eim.control import CardControl
from eim.packages import Packages
from eim.polling import Polling
from eim.results import Results
from server.settings import Settings
from store.eim_operations import Operations as StoredOperations
from store.eim_operations import Polls
from store.eim_results import Results as StoredResults
from store.esims import Esims
from store.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Eim:
    """The eIM of one process."""

    identity: EimIdentity
    onboarding: Onboarding
    packages: Packages
    polling: Polling
    results: Results

    def control(self) -> CardControl:
        """The small surface for those who plan swaps."""
        return CardControl(self.onboarding, self.packages)


def identity_of(settings: Settings, pki: PkiFolder) -> EimIdentity | None:
    """Who the eIM is, None where there is none: its first name is its eimId and the host devices poll."""
    if pki.eim is None:
        return None
    name = settings.eim_names[0]
    return EimIdentity(eim_id=name, fqdn=name, signing_key=pki.eim.signing_key)


def eim_of(  # noqa: PLR0913, PLR0917 -- everything an eIM is made of
    identity: EimIdentity,
    pool: Pool,
    vault: Vault,
    trust: TrustStore,
    own_names: tuple[str, ...],
    now: Callable[[], datetime],
    stored: Callable[[Pool], StoredResults] = StoredResults,
) -> Eim:
    """The eIM over `pool`; `own_names` are the addresses of our SM-DP+, whose notifications stay here.

    `stored` makes the storage of results.
    """
    return Eim(
        identity=identity,
        onboarding=Onboarding(Esims(pool), trust, identity, now),
        packages=Packages(StoredOperations(pool), vault, secrets.token_bytes, now),
        polling=Polling(Polls(pool), vault, identity, now),
        results=Results(stored(pool), trust, own_names, secrets.token_bytes, now),
    )
