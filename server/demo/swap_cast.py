"""The players of carrier swaps: carriers with their platforms, an enterprise with its key, devices under the eIM."""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from certs.folder import issue_operator_certificate
from crypto.curves import Curve
from rsp.identifiers import Iccid
from server.api_client import ApiClient
from server.demo.cast import Devices
from server.demo.iot_device import Air, IotDevice, switched_on
from server.demo.stage import Deviation, Server, smdp
from server.settings import Settings
from simulator.iot_card import IotCard
from simulator.iot_factory import FactoryProfile, association_token, made_in_factory
from simulator.network import Line, plmn
from simulator.platforms.control_center import ControlCenter
from simulator.platforms.control_center_book import Book
from tenancy.principal import Scope

LEAD, PARTNER, THIRD, EXTERNAL = "atlas-mobile", "borea-mobile", "cirrus-mobile", "delta-mobile"
COUNTRY = "001"
ACCOUNT, INVENTORY, RATE_PLAN, COMMUNICATION_PLAN = "enterprise-1", "inventory", "iot-flat", "iot-data"
PROFILE_TYPE = "iot-basic"
ENTERPRISE = "meter-works"
_LEAD_LINES = (Iccid("8988000000000010015"), Iccid("8988000000000010023"))
_FIRST_SERIAL = 1000
NETWORKS = {LEAD: "01", PARTNER: "02", THIRD: "03", EXTERNAL: "04"}
_STOCKS = {PARTNER: "898803000000000000", THIRD: "898804000000000000", EXTERNAL: "898805000000000000"}
_PER_STOCK = 2
_PLATFORM_USER = "smdp-flex"
_PLANS = {"account": ACCOUNT, "ratePlan": RATE_PLAN, "communicationPlan": COMMUNICATION_PLAN}
_WAIT_SECONDS = 40.0
_LOOK_SECONDS = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody who calls the API with a key."""

    api: ApiClient
    watched: list[IotDevice] = field(default_factory=list)
    """Devices whose breakdown ends any waiting."""

    async def get(self, path: str) -> Any:
        """GET."""
        return await asyncio.to_thread(self.api.get, path)

    async def post(self, path: str, body: object = None) -> Any:
        """POST under an Idempotency-Key of its own."""
        return await asyncio.to_thread(self.api.post, path, body)

    async def patch(self, path: str, body: object) -> Any:
        """PATCH."""
        return await asyncio.to_thread(self.api.patch, path, body)

    async def until(self, path: str, arrived: Callable[[Any], bool], what: str) -> Any:
        """Read `path` again and again until it has `arrived`. Raises Deviation when it takes too long."""
        end = time.monotonic() + _WAIT_SECONDS
        while True:
            found = await self.get(path)
            if arrived(found):
                return found
            for device in self.watched:
                device.check()
            if time.monotonic() > end:
                raise Deviation(f"{what} did not happen within {_WAIT_SECONDS:.0f} seconds; last seen: {found}")
            await asyncio.sleep(_LOOK_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Everybody who takes part in swaps. `carriers` are ids by name, `stock` the profiles in the SM-DP+ by owner.

    `meter` starts with the lead's profile enabled; so does `sensor`, which its owner steers without swaps.
    """

    server: Server
    platforms: Mapping[str, ControlCenter]
    carriers: Mapping[str, int]
    stock: Mapping[str, tuple[Iccid, ...]]
    customer: Caller
    meter: IotDevice
    sensor: IotDevice

    def book(self, carrier: str) -> Book:
        """What the carrier's platform knows."""
        return self.platforms[carrier].book


@asynccontextmanager
async def assembled(server: Server) -> AsyncIterator[Cast]:
    """Everybody on stage, registered as users would: with the commands of `smdp`, and with the API under their keys."""
    async with AsyncExitStack() as stack:
        api_keys = {name: secrets.token_urlsafe(24) for name in (LEAD, PARTNER, THIRD)}
        platforms = {
            name: await stack.enter_async_context(ControlCenter(_book(), {_PLATFORM_USER: key}))
            for name, key in api_keys.items()
        }
        operators, stock = await _stocked(server)
        registered = await _registered(server, _carriers(platforms, api_keys, operators))
        for name in (PARTNER, THIRD):
            for iccid in stock[name]:
                platforms[name].book.add_sim(iccid, INVENTORY)
        air = _air(platforms, stock)
        cards = await _made(server)
        for card, iccid in zip(cards, _LEAD_LINES, strict=True):
            plans = (RATE_PLAN, COMMUNICATION_PLAN)
            platforms[LEAD].book.add_sim(iccid, ACCOUNT, "ACTIVATED", eid=str(card.eid), plans=plans)
            await _onboarded(server, card, registered)
        devices = [
            await stack.enter_async_context(switched_on(server, name, card, air, Devices(server, Curve.P256).tls()))
            for name, card in zip(("the meter", "the sensor"), cards, strict=True)
        ]
        registered.customer.watched.extend(devices)
        yield Cast(
            server=server,
            platforms=platforms,
            carriers=registered.carriers,
            stock=stock,
            customer=registered.customer,
            meter=devices[0],
            sensor=devices[1],
        )


# Carriers and their platforms ------------------------------------------------------------------------------------


def _book() -> Book:
    """An inventory, and the enterprise's account with one plan of each kind."""
    book = Book()
    book.add_account(INVENTORY)
    book.add_account(ACCOUNT, (RATE_PLAN,), (COMMUNICATION_PLAN,))
    return book


def _air(platforms: Mapping[str, ControlCenter], stock: Mapping[str, tuple[Iccid, ...]]) -> Air:
    """The third carrier has profiles and platform in order, and a network that lets nobody in."""
    air = Air(books={name: platform.book for name, platform in platforms.items()})
    for name, iccids in {LEAD: _LEAD_LINES, **stock}.items():
        for iccid in iccids:
            air.add(iccid, name, Line(plmn=plmn(COUNTRY, NETWORKS[name]), attaches=name != THIRD))
    return air


async def _stocked(server: Server) -> tuple[dict[str, int], dict[str, tuple[Iccid, ...]]]:
    """Operators at the SM-DP+ with profiles in stock: ids by name, ICCIDs by name."""
    made = await asyncio.gather(*(_operator(server, name, first) for name, first in _STOCKS.items()))
    operators = {name: number for name, (number, _) in zip(_STOCKS, made, strict=True)}
    return operators, {name: iccids for name, (_, iccids) in zip(_STOCKS, made, strict=True)}


async def _operator(server: Server, name: str, first_iccid: str) -> tuple[int, tuple[Iccid, ...]]:
    certificate, _ = issue_operator_certificate(server.pki.path, name, datetime.now(UTC))
    added = await command(server.settings, "operator", "add", name, "--certificate", str(certificate))
    own = ("--operator", name, "--type", PROFILE_TYPE, "--first-iccid", first_iccid)
    made = await command(server.settings, "profile", "generate", str(_PER_STOCK), *own)
    return int(added[0]["id"]), tuple(Iccid(text) for text in made["iccids"])


# Registration ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Registered:
    """What registration came to: ids, and the parties as they call the API."""

    carriers: Mapping[str, int]
    enterprise: int
    lead: Caller
    customer: Caller


async def _registered(server: Server, carriers: Sequence[Mapping[str, Any]]) -> _Registered:
    """Admin: carriers and their keys. Lead: enterprise, partnerships, the enterprise's key. Partners: agree."""
    made = await command(server.settings, "key", "create", "--admin", "--name", "demonstration")
    admin = _caller(server, made["token"])
    ids = {body["name"]: int((await admin.post("/v1/carriers", body))["id"]) for body in carriers}
    callers = {name: await _keyed(server, admin, "carrier", number) for name, number in ids.items()}
    lead = callers[LEAD]
    holder = {"name": ENTERPRISE, "leadId": ids[LEAD], "plans": _PLANS}
    enterprise = int((await lead.post("/v1/enterprises", holder))["id"])
    for name in (PARTNER, THIRD, EXTERNAL):
        terms = {"model": "handover", "territory": [COUNTRY], "plans": {} if name == EXTERNAL else _PLANS}
        body = {"enterpriseId": enterprise, "partnerId": ids[name], **terms}
        proposed = await lead.post("/v1/partnerships", body)
        await callers[name].patch(f"/v1/partnerships/{proposed['id']}", {"agrees": True})
    customer = await _keyed(server, lead, "enterprise", enterprise)
    return _Registered(carriers=ids, enterprise=enterprise, lead=lead, customer=customer)


def _carriers(
    platforms: Mapping[str, ControlCenter], api_keys: Mapping[str, str], operators: Mapping[str, int]
) -> list[dict[str, Any]]:
    """The carriers with how their platforms and stocks are reached."""
    external = {"name": EXTERNAL, "role": "partner", "platform": {"kind": "external"}}
    return [*(_carrier(name, platforms[name], api_keys[name], operators.get(name)) for name in platforms), external]


def _carrier(name: str, platform: ControlCenter, api_key: str, operator_id: int | None) -> dict[str, Any]:
    access = {"kind": "control_center", "baseUrl": platform.base_url, "username": _PLATFORM_USER, "apiKey": api_key}
    stock = {"operatorId": operator_id, "profileType": PROFILE_TYPE} if operator_id else {}
    role = "lead" if name == LEAD else "partner"
    return {"name": name, "role": role, "platform": access, "inventoryAccount": INVENTORY, **stock}


async def _keyed(server: Server, maker: Caller, kind: str, principal: int) -> Caller:
    """A party with a key that `maker` has made for it."""
    scopes = [scope.value for scope in Scope]
    body = {"name": "demonstration", "kind": kind, "principalId": principal, "scopes": scopes}
    return _caller(server, (await maker.post("/v1/keys", body))["token"])


# Devices ---------------------------------------------------------------------------------------------------------


async def _made(server: Server) -> list[IotCard]:
    """Cards from the factory, which was given the eIM's configuration."""
    exported = await command(server.settings, "eim", "configuration")
    configuration = base64.b64decode(exported["eimConfigurationData"])
    issuer = Devices(server, Curve.P256).eum
    cards = []
    for number, iccid in enumerate(_LEAD_LINES, start=_FIRST_SERIAL):
        eid = issuer.eid(number)
        lead = FactoryProfile(iccid=iccid, provider=LEAD, name=f"{LEAD} IoT")
        cards.append(made_in_factory(eid, [issuer.issue(eid)], lead=lead, configurations=[configuration]))
    return cards


async def _onboarded(server: Server, card: IotCard, registered: _Registered) -> None:
    """The lead carrier onboards the eSIM with what the factory hands over."""
    chain = card.credentials[0]
    body = {
        "enterpriseId": registered.enterprise,
        "eid": str(card.eid),
        "eumCertificate": base64.b64encode(chain.eum_certificate).decode(),
        "euiccCertificate": base64.b64encode(chain.euicc_certificate).decode(),
        "associationToken": association_token(card, server.settings.eim_names[0]),
    }
    await registered.lead.post("/v1/esims", body)


# Commands and connections ----------------------------------------------------------------------------------------


async def command(settings: Settings, *arguments: str) -> Any:
    """`smdp ARGUMENTS --json`, while platforms and devices of the demonstration go on. Raises Deviation."""
    return await asyncio.to_thread(smdp, settings, *arguments)


def _caller(server: Server, token: str) -> Caller:
    """Whoever has this API key."""
    context = ssl.create_default_context(cadata=server.pki.ci_certificates[0])
    for ci in server.pki.ci_certificates[1:]:
        context.load_verify_locations(cadata=ci)
    address = f"https://{server.state.hosts['api']}:{server.state.ports['api']}"
    return Caller(api=ApiClient(base_url=address, api_key=token, context=context, server_name=server.name))
