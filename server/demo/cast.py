"""The players on the other side of our interfaces: operators with their callback servers, devices with their cards."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs.layout import PkiFolder
from crypto.curves import Curve
from rsp.identifiers import Eid
from server.demo.stage import Server
from simulator.card import Card
from simulator.exchange import Connections, Exchange, Habits, identify
from simulator.issuer import EumIssuer
from simulator.lpa import USER_AGENT, Lpa, Spelling
from simulator.misbehaviour import Misbehaviour
from simulator.operator import OperatorClient
from simulator.operator_callbacks import CallbackServer, callback_tls


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device: its card, and the LPA in front of it."""

    card: Card
    lpa: Lpa

    @property
    def eid(self) -> Eid:
        """The EID of the card."""
        return self.card.eid


class Devices:
    """Makes devices whose cards carry certificates of the generated EUM `eum`, or of one nobody knows."""

    def __init__(self, server: Server, curve: Curve, spelling: Spelling = Spelling.JSON) -> None:
        files = server.pki.device_files(curve)
        key = load_pem_private_key(files.eum_key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._trusted = (files.ci_certificate.read_bytes(),)
        self.eum = EumIssuer(files.eum_certificate.read_bytes(), key, self._trusted)
        self._server = server
        self.spelling = spelling
        self._made = 0

    def next(self, exchange: Exchange) -> Device:
        """A device of the known EUM, with an EID of its own."""
        self._made += 1
        eid = self.eum.eid(self._made)
        card = Card(eid, [self.eum.issue(eid)])
        return Device(card=card, lpa=Lpa(card, exchange, spelling=self.spelling))

    def stranger(self, exchange: Exchange) -> Device:
        """A device whose EUM certificate was issued by a CI nobody here knows."""
        self._made += 1
        eid = self.eum.eid(self._made)
        card = Card(eid, [self.eum.issue(eid)], misbehave=frozenset({Misbehaviour.FOREIGN_EUM}))
        return Device(card=card, lpa=Lpa(card, exchange, spelling=self.spelling))

    def exchange(self) -> Exchange:
        """Connections to ES9+ as a common LPA makes them: a new one for each call, the server's name checked."""
        address = {self._server.name: (self._server.state.hosts["es9"], self._server.state.ports["es9"])}
        return Exchange(
            tls=self.tls(), addresses=address, habits=Habits(connections=Connections.FRESH), user_agent=USER_AGENT
        )

    def tls(self) -> ssl.SSLContext:
        """What devices trust: the CI under which the servers' names are certified, and nothing else."""
        context = ssl.create_default_context(cadata=self._trusted[0])
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def operator_exchange(server: Server, name: str) -> Exchange:
    """Mutual TLS to ES2+ with the certificate of operator `name`."""
    certificate, key = server.pki.operator_files(name)
    context = ssl.create_default_context(cadata=server.pki.ci_certificates[0])
    for ci in server.pki.ci_certificates[1:]:
        context.load_verify_locations(cadata=ci)
    address = {server.name: (server.state.hosts["es2"], server.state.ports["es2"])}
    return Exchange(tls=identify(context, certificate, key), addresses=address)


def operator_client(server: Server, exchange: Exchange, name: str) -> OperatorClient:
    """The operator's side of ES2+."""
    return OperatorClient(exchange, host=server.name, function_requester=name)


def callback_server(pki: PkiFolder) -> CallbackServer:
    """An operator's server for progress reports, on a free port of loopback."""
    return CallbackServer(callback_tls(pki.callback_certificate, pki.callback_key))
