"""Cards as they leave the factory: a lead carrier's profile enabled, an eIM associated (SGP.32 2.11.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rsp import tlv
from rsp.identifiers import Eid, Iccid
from simulator import der, profile_package
from simulator.credentials import CardCredentials
from simulator.iot_card import IotCard
from simulator.metadata import OperatorId
from simulator.profiles import Profile, ProfileState

_REQUEST_TOKEN = -1
_ID_TYPE_FQDN = 2
_RETRIEVE_HTTPS = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoryProfile:
    """A profile that is on the card from the start. `notifications` are members of B6 (raw), `owner` its operator.

    `package` is the profile package; without one, the shortest there is stands in.
    """

    iccid: Iccid
    provider: str
    name: str
    owner: OperatorId | None = None
    notifications: bytes = b""
    package: bytes = field(default=b"", repr=False)
    smdp_oid: str = "2.999.1"

    def metadata(self) -> bytes:
        """StoreMetadata BF25."""
        return tlv.wrap(
            0xBF25,
            tlv.wrap(0x5A, self.iccid.to_bytes()),
            tlv.wrap(0x91, self.provider.encode()),
            tlv.wrap(0x92, self.name.encode()),
            tlv.wrap(0xB6, self.notifications) if self.notifications else b"",
            b"" if self.owner is None else self.owner.to_bytes(0xB7),
        )


def eim_configuration(
    *, eim_id: str, fqdn: str, public_key: bytes, counter: int = 0, ask_for_token: bool = True
) -> bytes:
    """EimConfigurationData (30) from the parts that matter; `public_key` is DER of a SubjectPublicKeyInfo.

    A server that exports its own configuration is to be preferred over this.
    """
    key = tlv.read_only(public_key, 0x30)
    return tlv.wrap(
        0x30,
        tlv.wrap(0x80, eim_id.encode()),
        tlv.wrap(0x81, fqdn.encode()),
        tlv.wrap_integer(0x82, _ID_TYPE_FQDN),
        tlv.wrap_integer(0x83, counter),
        tlv.wrap_integer(0x84, _REQUEST_TOKEN) if ask_for_token else b"",
        # The tag of the choice stands in the place of the SEQUENCE tag.
        tlv.wrap(0xA5, tlv.wrap(0xA0, key.value)),
        der.wrap_bits(0x87, (_RETRIEVE_HTTPS,)),
    )


def made_in_factory(
    eid: Eid, credentials: Sequence[CardCredentials], *, lead: FactoryProfile, configurations: Sequence[bytes]
) -> IotCard:
    """A card with the lead carrier's profile enabled and the eIMs of the configurations (raw 30) associated.

    Raises ValueError when the card refuses a configuration. What the eIM must know of it: `card.eid`, `card.get_certs`,
    and `association_token(card, eim_id)`.
    """
    card = IotCard(eid, credentials)
    card.memory.profiles.append(
        Profile(
            iccid=lead.iccid,
            aid=card.memory.profiles.free_aid(),
            state=ProfileState.ENABLED,
            metadata=lead.metadata(),
            package=lead.package or profile_package.shortest(lead.iccid),
            smdp_oid=lead.smdp_oid,
            proprietary_data=b"",
            ci_key_id=credentials[0].ci_key_id,
        )
    )
    answer = card.add_initial_eim(tlv.wrap(0xBF57, tlv.wrap(0xA0, *configurations)))
    if der.only_child(tlv.read_only(answer, 0xBF57)).tag != 0xA0:
        raise ValueError(f"the card does not take the eIM configuration: {card.last_fault}")
    return card


def association_token(card: IotCard, eim_id: str) -> int | None:
    """The token the card made for this eIM, None where none was asked for. Raises LookupError for an unknown eIM."""
    eim = card.iot.eim(eim_id)
    if eim is None:
        raise LookupError(f"the card knows no eIM {eim_id!r}")
    return eim.token
