"""What the demonstration shows of an SM-DS: a device without an activation code finds its order, and the event goes."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from crypto.curves import Curve
from rsp.identifiers import Eid
from server.demo.acts import OPERATORS, PROFILE_TYPE, Play, install
from server.demo.stage import SMDS, Deviation, Server
from simulator.discovery import Discovery
from simulator.exchange import Exchange, FunctionFailed, NoAnswer, ProtocolFault
from simulator.lpa import USER_AGENT
from simulator.smds import SmDs
from simulator.smds_certificates import SmdsIssuer


async def discovered(play: Play) -> None:
    """An order at an SM-DS: its event comes with the release, and goes with the installation. Raises Deviation."""
    play.narrator.act("A device without an activation code finds its order at an SM-DS")
    try:
        async with sm_ds(play.server) as smds:
            await _discovered(play, smds)
    except (FunctionFailed, NoAnswer, ProtocolFault) as failed:
        raise Deviation(f"a call that must succeed did not: {failed}") from failed


async def _discovered(play: Play, smds: SmDs) -> None:
    operator, device = play.operators[OPERATORS[0]], play.devices.next(play.lpa)
    iccid = await operator.download_order(eid=device.eid, profile_type=PROFILE_TYPE)
    confirmed = await operator.confirm_order(iccid, release=True, eid=device.eid, smds_address=SMDS)
    _expect(smds, device.eid, [(str(confirmed.matching_id), play.server.name)])
    play.narrator.step(
        f"{OPERATORS[0]} orders ICCID {iccid}: the event is at {SMDS} (ES12) before the order is released"
    )
    addresses = {SMDS: ("127.0.0.1", smds.port)}
    async with Exchange(tls=play.devices.tls(), addresses=addresses, user_agent=USER_AGENT) as exchange:
        (entry,) = await Discovery(device.card, exchange).events(SMDS)
        play.narrator.step(f"card {device.eid} asks the SM-DS (ES11): go to {entry.rsp_server_address}")
        await install(play, device, entry.activation_code, iccid)
        try:
            await smds.wait_for(lambda now: not now.events(device.eid))
        except TimeoutError:
            raise Deviation(f"the event of {iccid} must be deleted once the profile is installed") from None
        if await Discovery(device.card, exchange).events(SMDS):
            raise Deviation("the SM-DS must have nothing more for this card")
    play.narrator.step("installed: the event is deleted, the SM-DS has nothing more for this card")


def _expect(smds: SmDs, eid: Eid, events: list[tuple[str, str]]) -> None:
    if smds.events(eid) != events:
        raise Deviation(f"the SM-DS must hold {events} for {eid}, but: {smds.events(eid)} {smds.faults}")


def sm_ds(server: Server) -> SmDs:
    """An SM-DS certified by the CI of the generated PKI, where the server's settings say that it is."""
    files = server.pki.device_files(Curve.P256)
    key = load_pem_private_key(files.ci_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    issuer = SmdsIssuer(files.ci_certificate.read_bytes(), key)
    port = server.settings.smds_hosts[0].rpartition(":")[2]
    return SmDs([issuer], address=SMDS, port=int(port))
