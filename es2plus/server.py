"""ES2+ as HTTP over mutual TLS: four functions of the JSON binding (SGP.22 5.3.1 to 5.3.4), and two of vendors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import msgspec
import structlog

from es2plus import messages
from rsp.errors import Malformed, Refused
from rsp.identifiers import Eid, Iccid, imei_without_check
from rsp.status import Status
from smdp import ordering
from smdp.ports import Call
from smdp.recovery import MOST_PROFILES, Target, VendorFunctions
from tenancy.operator import Directory, Operator
from transport.functions import Interface, Route, Turned
from transport.identity import client_fingerprint
from transport.reading import Request

_LONGEST_CODE = 255
_LONGEST_TYPE = 255
_R = TypeVar("_R", bound=messages.Request)


class Es2Plus:
    """Knows the caller by its certificate, decodes, calls the use case, encodes."""

    def __init__(
        self,
        orders: ordering.Ordering,
        vendor: VendorFunctions,
        directory: Directory,
        now: Callable[[], datetime],
    ) -> None:
        self._orders = orders
        self._vendor = vendor
        self._directory = directory
        self._now = now

    def routes(self, interface: Interface) -> list[Route]:
        """The routes of the JSON binding."""
        return [
            interface.route("downloadOrder", self.download_order),
            interface.route("confirmOrder", self.confirm_order),
            interface.route("cancelOrder", self.cancel_order),
            interface.route("releaseProfile", self.release_profile),
            interface.route("getProfileStatus", self.get_profile_status),
            interface.route("recoverProfile", self.recover_profile),
        ]

    async def download_order(self, http: Request, body: bytes) -> bytes:
        """5.3.1."""
        call, request = await self._received(http, body, messages.DownloadOrder, "downloadOrder")
        if not request.iccid and not request.profile_type:
            raise Malformed("send iccid, profileType or both")
        iccid = await self._orders.download_order(
            call,
            ordering.DownloadOrder(
                eid=_optional(Eid, request.eid),
                iccid=_optional(Iccid.parse, request.iccid),
                profile_type=_text(request.profile_type, "profileType", _LONGEST_TYPE),
            ),
        )
        structlog.contextvars.bind_contextvars(iccid=str(iccid))
        return messages.ordered(iccid.to_json())

    async def confirm_order(self, http: Request, body: bytes) -> bytes:
        """5.3.2."""
        call, request = await self._received(http, body, messages.ConfirmOrder, "confirmOrder")
        result = await self._orders.confirm_order(
            call,
            ordering.ConfirmOrder(
                iccid=_iccid(request.iccid),
                release=messages.flag(request.release_flag),
                eid=_optional(Eid, request.eid),
                matching_id=request.matching_id,
                confirmation_code=_text(request.confirmation_code, "confirmationCode", _LONGEST_CODE),
                smds_address=request.smds_address,
                imei=_optional(imei_without_check, request.imei),
            ),
        )
        return messages.confirmed(result.eid, result.matching_id, result.smdp_address)

    async def cancel_order(self, http: Request, body: bytes) -> bytes:
        """5.3.3."""
        call, request = await self._received(http, body, messages.CancelOrder, "cancelOrder")
        if not request.iccid or not request.final_profile_status_indicator:
            raise Refused(Status.ICCID_MISSING)
        try:
            final = ordering.FinalProfileStatus(request.final_profile_status_indicator)
        except ValueError:
            raise Malformed("finalProfileStatusIndicator must be Available or Unavailable") from None
        await self._orders.cancel_order(
            call,
            ordering.CancelOrder(
                iccid=_iccid(request.iccid),
                final_status=final,
                eid=_optional(Eid, request.eid),
                matching_id=request.matching_id,
            ),
        )
        return messages.done()

    async def release_profile(self, http: Request, body: bytes) -> bytes:
        """5.3.4."""
        call, request = await self._received(http, body, messages.ReleaseProfile, "releaseProfile")
        await self._orders.release_profile(call, _iccid(request.iccid))
        return messages.done()

    async def get_profile_status(self, http: Request, body: bytes) -> bytes:
        """A vendors' function, not in SGP.22: where profiles of the caller stand; others are left out of the answer."""
        call, request = await self._received(http, body, messages.GetProfileStatus, "getProfileStatus")
        if not 1 <= len(request.iccid_list) <= MOST_PROFILES:
            raise Malformed(f"iccidList has 1 to {MOST_PROFILES} entries")
        wanted = [Iccid.parse(one.iccid) for one in request.iccid_list]
        found = await self._vendor.profile_status(call.tenant_id, wanted)
        return messages.statuses(found, self._now())

    async def recover_profile(self, http: Request, body: bytes) -> bytes:
        """A vendors' function, not in SGP.22: a failed order may be downloaded again, or its profile be ordered."""
        call, request = await self._received(http, body, messages.RecoverProfile, "recoverProfile")
        try:
            target = Target(request.profile_status.capitalize())
        except ValueError:
            raise Malformed("profileStatus must be Released or Available") from None
        await self._vendor.recover_profile(call, _iccid(request.iccid), target)
        return messages.done()

    async def _received(self, http: Request, body: bytes, kind: type[_R], function: str) -> tuple[Call, _R]:
        """The call and its request, once the caller is known."""
        operator = await self._caller(http)
        request = messages.decode(kind, body)
        if request.header.function_requester_identifier != operator.requester_id:
            raise Refused(Status.REQUESTER_NOT_ALLOWED)
        call_id = request.header.function_call_identifier
        structlog.contextvars.bind_contextvars(operator=operator.name, call_id=call_id)
        digest = hashlib.sha256(function.encode() + b"\0" + messages.encode(_without_secrets(request))).digest()
        return Call(tenant_id=operator.id, call_id=call_id, function=function, digest=digest), request

    async def _caller(self, http: Request) -> Operator:
        fingerprint = client_fingerprint(http)
        operator = await self._directory.by_certificate(fingerprint) if fingerprint else None
        if operator is None:
            text = "This client certificate belongs to no operator. Have it registered with `smdp operator`."
            if fingerprint and await self._directory.is_inactive(fingerprint):
                text = "The operator of this client certificate is inactive. Activate it with `smdp operator change`."
            raise Turned(status=403, text=text)
        return operator


_V = TypeVar("_V")


def _without_secrets(request: messages.Request) -> messages.Request:
    """What of a request tells one call from another: a digest of a short confirmation code would give it away."""
    if isinstance(request, messages.ConfirmOrder) and request.confirmation_code:
        return msgspec.structs.replace(request, confirmation_code="")
    return request


def _optional(parse: Callable[[str], _V], text: str | None) -> _V | None:
    return parse(text) if text else None


def _iccid(text: str) -> Iccid:
    iccid = Iccid.parse(text)
    structlog.contextvars.bind_contextvars(iccid=str(iccid))
    return iccid


def _text(value: str | None, name: str, longest: int) -> str | None:
    """Free text within bounds; PostgreSQL keeps no NUL."""
    if value is not None and (len(value) > longest or "\0" in value):
        raise Malformed(f"{name} must be at most {longest} characters, without NUL")
    return value or None
