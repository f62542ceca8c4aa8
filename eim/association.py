"""How an eUICC comes under this eIM: identity of the eIM, onboarding, configuration for factories (SGP.32 2.11.1.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crypto.certificates import CertificateRejected, TrustStore
from crypto.vault import Vault
from eim.ports import Association, AssociationStore, CardFacts
from rsp import esep
from rsp.identifiers import Eid

_MAX_TOKEN = 2**63 - 1


class OnboardingRefused(Exception):  # noqa: N818 -- the name is the outcome
    """This eUICC cannot come under this eIM; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EimIdentity:
    """Who this eIM is: its eimId, the host name devices poll, the vault label of the key that signs packages."""

    eim_id: str
    fqdn: str
    signing_key: str


class Onboarding:
    """Brings eSIMs under this eIM and lists them."""

    def __init__(
        self,
        store: AssociationStore,
        trust: TrustStore,
        identity: EimIdentity,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._trust = trust
        self._identity = identity
        self._now = now

    async def onboard(
        self,
        tenant_id: int,
        eid: Eid,
        eum_certificate: bytes,
        euicc_certificate: bytes,
        token: int | None,
        counter: int,
    ) -> Association:
        """Take an eUICC whose configuration names this eIM already; the same again changes nothing.

        Certificates are DER. `counter` is the counterValue the card was configured with: packages count on from there.
        Raises OnboardingRefused for a chain that is not trusted or of another EID, EsimExists.
        """
        if not 0 <= counter < esep.MAX_COUNTER:
            raise OnboardingRefused(f"the counter must be 0 to {esep.MAX_COUNTER - 1}, not {counter}")
        if token is not None and not 0 < token <= _MAX_TOKEN:
            raise OnboardingRefused("an association token is a positive number; leave it out if the card has none")
        try:
            identity = self._trust.verify_euicc(eum_certificate, euicc_certificate, self._now())
        except CertificateRejected as error:
            raise OnboardingRefused(f"the certificates are not trusted: {error}") from None
        if identity.eid != str(eid):
            raise OnboardingRefused(f"the certificate is that of eUICC {identity.eid}, not of {eid}")
        return await self._store.add_association(
            Association(
                eid=eid,
                tenant_id=tenant_id,
                eim_id=self._identity.eim_id,
                token=token,
                counter=counter,
                eum_certificate=eum_certificate,
                euicc_certificate=euicc_certificate,
            )
        )

    async def card(self, tenant_id: int, eid: Eid) -> CardFacts | None:
        """What is known about one eSIM of the tenant; None for another's as for an unknown one."""
        return await self._store.card(tenant_id, eid)

    async def cards(self, tenant_id: int, *, after: Eid | None = None, most: int = 100) -> list[CardFacts]:
        """The tenant's eSIMs in order of their EIDs, from behind `after`."""
        return await self._store.cards(tenant_id, after=after, most=most)


async def eim_configuration(
    vault: Vault,
    identity: EimIdentity,
    tls_key_or_certificate: bytes | None,
    *,
    counter: int = 0,
    with_token: bool = True,
) -> bytes:
    """EimConfigurationData for factories (DER): this eIM, its public key, and the TLS key or certificate to pin.

    `with_token` asks the card to make an association token, which must come back here with the EID.
    """
    key = await vault.public_key(identity.signing_key)
    return esep.eim_configuration_data(
        eim_id=identity.eim_id,
        fqdn=identity.fqdn,
        counter=counter,
        token=-1 if with_token else None,
        public_key_spki=key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        tls_spki_or_certificate=tls_key_or_certificate,
        protocols=(esep.EimProtocol.RETRIEVE_HTTPS,),
        ci_key_id=None,
    )
