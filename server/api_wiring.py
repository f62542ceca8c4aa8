"""Joins the API with the roles and their storage."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aiohttp import web

from api.carriers import Carriers, PlatformInput
from api.enterprises import Enterprises
from api.esim_operations import EsimOperations
from api.esims import Esims
from api.framework import Api
from api.keys import Keys
from api.operation import AnyOperation
from api.pages import pages
from api.partnerships import Partnerships
from api.repetition import Claim, KeptAnswer, RequestKey
from api.swaps import Swaps as SwapResource
from carriers import registry
from crypto.vault import Vault
from server.eim_wiring import Eim
from server.setting_kinds import Secret
from server.settings import Settings
from server.swap_wiring import Swaps
from store.api_keys import ApiKeys
from store.api_requests import ApiRequests
from store.pool import Pool
from store.tenancy import Tenancy
from tenancy.desk import Desk
from tenancy.key_desk import KeyDesk
from transport.functions import Gate, Limits
from transport.metrics import HttpMetrics
from transport.throttle import Throttle


class OnceOnly:
    """`api.repetition.Requests` over PostgreSQL."""

    def __init__(self, stored: ApiRequests) -> None:
        self._stored = stored

    async def claim(self, request: RequestKey, lease_seconds: float) -> Claim | KeptAnswer:
        """Take the request for a while, or say what is known of it."""
        found = await self._stored.claim(request.principal, request.key, request.digest, lease_seconds)
        if found is None:
            return Claim.MINE
        if found.digest != request.digest:
            return Claim.OTHER_REQUEST
        if found.status is None or found.body is None:
            return Claim.IN_FLIGHT
        return KeptAnswer(status=found.status, location=found.location, body=found.body)

    async def keep(self, request: RequestKey, answer: KeptAnswer) -> None:
        """The request is done."""
        kept = (answer.status, answer.location, answer.body)
        await self._stored.keep(request.principal, request.key, request.digest, kept)

    async def give_up(self, request: RequestKey, *, forget: bool) -> None:
        """End the claim."""
        await self._stored.give_up(request.principal, request.key, request.digest, forget=forget)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """What the API of one process is made of."""

    keys: ApiKeys
    requests: OnceOnly
    operations: tuple[AnyOperation, ...]
    now: Callable[[], datetime]

    def application(self, settings: Settings, metrics: HttpMetrics, gate: Gate) -> web.Application:
        """All resources, the document and its page."""
        limit = settings.api_requests_per_second
        api = Api(
            keys=self.keys,
            requests=self.requests,
            now=self.now,
            limits=Limits(body_bytes=settings.max_body_bytes, seconds=settings.request_seconds),
            metrics=metrics,
            gate=gate,
            throttle=Throttle(limit) if limit else None,
        )
        return api.application(self.operations, pages(self.operations))


class Resource(Protocol):
    """A part of the API."""

    def operations(self) -> tuple[AnyOperation, ...]:
        """Everything that can be done with it."""


def _check_platform(given: PlatformInput) -> None:
    """Refuse a platform that no swap could ever use. Raises Malformed."""
    key = Secret(given.api_key) if given.api_key else None
    settings = registry.PlatformSettings(kind=given.kind, base_url=given.base_url, username=given.username, api_key=key)
    registry.check(settings)


def api_of(pool: Pool, vault: Vault, eim: Eim | None, swaps: Swaps | None, now: Callable[[], datetime]) -> ApiParts:
    """The API over `pool`; a new resource is added here. Without an eIM there are no eSIMs and no swaps."""
    parties, keys = Tenancy(pool), ApiKeys(pool)
    desk = Desk(parties, vault)
    resources: list[Resource] = [
        Carriers(desk, _check_platform),
        Enterprises(desk),
        Partnerships(desk),
        Keys(KeyDesk(keys, parties, keys, secrets.token_bytes, now)),
    ]
    if eim is not None:
        resources += [Esims(desk, eim.onboarding, keys), EsimOperations(desk, eim.packages, keys, now)]
    if swaps is not None:
        resources.append(SwapResource(swaps.desk, desk, keys))
    return ApiParts(
        keys=keys,
        requests=OnceOnly(ApiRequests(pool)),
        operations=tuple(operation for resource in resources for operation in resource.operations()),
        now=now,
    )
