"""A card discovers its order through the SM-DS and installs it, against `smdp serve` and its worker (SGP.22 3.6)."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs import layout
from crypto.curves import Curve
from rsp.identifiers import ActivationCode, Eid
from server.demo.stage import smdp
from simulator.card import Card
from simulator.discovery import Discovery
from simulator.exchange import Connections, Exchange, Habits, Retries, identify, trust
from simulator.issuer import EumIssuer
from simulator.lpa import Lpa
from simulator.lpa_types import Installed
from simulator.operator import OperatorClient
from simulator.smds import SmDs, Trouble
from tests.conformance import conforms
from tests.server_fixtures import ServerUnderTest, Template, serving
from tests.smds_stage import SMDS, device_exchange, issuers

TYPE = "prepaid"


def card_of(server: ServerUnderTest, curve: Curve, number: int) -> Card:
    files = server.pki.device_files(curve)
    key = load_pem_private_key(files.eum_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    issuer = EumIssuer(files.eum_certificate.read_bytes(), key, (files.ci_certificate.read_bytes(),))
    eid = issuer.eid(number)
    return Card(eid, [issuer.issue(eid)])


def operator_of(server: ServerUnderTest) -> tuple[Exchange, OperatorClient]:
    """An operator who repeats a lost call with its id, for as long as a process takes to start again."""
    tls = identify(trust(server.pki.device_files(Curve.P256).ci_certificate), *server.pki.operator_files("operator-a"))
    habits = Habits(connections=Connections.FRESH, retries=Retries(attempts=60, longest_pause=1.0))
    exchange = Exchange(tls=tls, addresses={server.name: server.address("es2")}, habits=habits)
    return exchange, OperatorClient(exchange, host=server.name, function_requester="operator-a")


async def stocked(server: ServerUnderTest) -> None:
    """An operator with two profiles in stock."""
    certificate, _ = server.pki.operator_files("operator-a")
    own = ("--operator", "operator-a", "--type", TYPE)
    await asyncio.to_thread(smdp, server.settings, "operator", "add", "operator-a", "--certificate", str(certificate))
    await asyncio.to_thread(smdp, server.settings, "profile", "generate", "2", *own)


def _has_none(eid: Eid, smds: SmDs) -> bool:
    return not smds.events(eid)


@conforms(
    "SGP.22 3.6.2", "a device finds its order at the SM-DS and presents the EventID as MatchingID",
    function="authenticateClient", binding="json", where="smdp/announcing.py",
)  # fmt: skip
async def test_card_discovers_its_order_and_installs_it(
    server_template: Template, database: str, tmp_path: Path
) -> None:
    async with SmDs(issuers(layout.load(server_template.pki)), address=SMDS) as smds:
        known = f"{SMDS}=127.0.0.1:{smds.port}"
        with serving(server_template, tmp_path, database_url=database, smds_hosts=known) as server:
            await stocked(server)
            es2, operator = operator_of(server)
            async with (
                es2,
                device_exchange(
                    server.pki, smds_example_com=("127.0.0.1", smds.port), smdp_example_com=server.address("es9")
                ) as exchange,
            ):
                for number, curve in enumerate((Curve.P256, Curve.BRAINPOOL_P256R1), start=1):
                    card = card_of(server, curve, number)
                    iccid = await operator.download_order(eid=card.eid, profile_type=TYPE)
                    await operator.confirm_order(iccid, release=True, eid=card.eid, smds_address=SMDS)
                    (entry,) = await Discovery(card, exchange).events(SMDS)
                    result = await Lpa(card, exchange).download(entry.activation_code)
                    assert isinstance(result, Installed), result
                    assert result.iccid == iccid
                    await smds.wait_for(partial(_has_none, card.eid), within=30.0)
                    assert await Discovery(card, exchange).events(SMDS) == []
    assert smds.faults == []


async def test_process_killed_while_the_sm_ds_is_busy_leaves_one_event_and_a_released_order(
    server_template: Template, database: str, tmp_path: Path
) -> None:
    async with SmDs(issuers(layout.load(server_template.pki)), address=SMDS) as smds:
        known = f"{SMDS}=127.0.0.1:{smds.port}"
        with serving(server_template, tmp_path, database_url=database, smds_hosts=known) as server:
            await stocked(server)
            es2, operator = operator_of(server)
            async with es2:
                card = card_of(server, Curve.P256, 1)
                iccid = await operator.download_order(eid=card.eid, profile_type=TYPE)
                smds.fail_next("registerEvent", Trouble.HELD)
                call = operator.confirm_order(iccid, release=True, eid=card.eid, smds_address=SMDS)
                confirming = asyncio.create_task(call)
                await smds.wait_for(lambda now: len(now.seen) == 1)
                os.kill(server.state.processes["http-0"], signal.SIGKILL)
                smds.resume()
                confirmed = await confirming
                assert smds.events(card.eid) == [(str(confirmed.matching_id), server.name)]
                async with device_exchange(server.pki, smdp_example_com=server.address("es9")) as exchange:
                    code = ActivationCode(smdp_address=server.name, matching_id=confirmed.matching_id)
                    assert isinstance(await Lpa(card, exchange).download(code), Installed)
                await smds.wait_for(partial(_has_none, card.eid), within=30.0)
