"""ES2+ as a client: an operator's functions, and our report to an operator's server (SGP.22 5.3)."""

from __future__ import annotations

from collections.abc import Sequence

from es2plus import messages, replies
from es2plus.messages import PREFIX
from es2plus.replies import Confirmation, ProfileStatus
from rsp.identifiers import Eid, Iccid
from smdp.progress import ProgressInfo
from transport.client import GsmaClient, Reply


class OrderRefused(Exception):  # noqa: N818 -- the name is the outcome
    """The SM-DP+ answered Failed. `codes` is (subject, reason) as it sent them, which need not be ones we know."""

    def __init__(self, function: str, codes: tuple[str, str], message: str) -> None:
        super().__init__(f"{function} was refused with {codes[0]}/{codes[1]}: {message}")
        self.function = function
        self.codes = codes
        self.message = message


class Es2PlusClient:
    """Calls an SM-DP+ as one operator. The caller chooses call ids, so that a repeated call is known as such.

    A call has three outcomes: it returns, it raises OrderRefused (nothing was done), or Unreachable (not known: ask
    again under the same id).
    """

    def __init__(self, http: GsmaClient, requester_id: str) -> None:
        self._http = http
        self._requester_id = requester_id

    async def download_order(
        self, call_id: str, *, eid: Eid | None = None, iccid: Iccid | None = None, profile_type: str | None = None
    ) -> Iccid:
        """5.3.1. Raises OrderRefused, Unreachable."""
        request = messages.DownloadOrder(
            header=self._header(call_id),
            eid=str(eid) if eid else None,
            iccid=iccid.to_json() if iccid else None,
            profile_type=profile_type,
        )
        reply = await self._call("downloadOrder", request)
        return replies.ordered(reply.body)

    async def confirm_order(  # noqa: PLR0913 -- one argument for each member of the standard
        self,
        call_id: str,
        iccid: Iccid,
        *,
        release: bool,
        eid: Eid | None = None,
        matching_id: str | None = None,
        confirmation_code: str | None = None,
        smds_address: str | None = None,
    ) -> Confirmation:
        """5.3.2. `matching_id` None leaves the choice to the SM-DP+, empty text asks for none.

        `smds_address` has the order registered at that SM-DS. Raises OrderRefused, Unreachable.
        """
        request = messages.ConfirmOrder(
            header=self._header(call_id),
            iccid=iccid.to_json(),
            release_flag=release,
            eid=str(eid) if eid else None,
            matching_id=matching_id,
            confirmation_code=confirmation_code,
            smds_address=smds_address,
        )
        reply = await self._call("confirmOrder", request)
        return replies.confirmed(reply.body)

    async def cancel_order(
        self, call_id: str, iccid: Iccid, final_status: str, *, eid: Eid | None = None, matching_id: str | None = None
    ) -> None:
        """5.3.3; `final_status` is Available or Unavailable. Raises OrderRefused, Unreachable."""
        request = messages.CancelOrder(
            header=self._header(call_id),
            iccid=iccid.to_json(),
            final_profile_status_indicator=final_status,
            eid=str(eid) if eid else None,
            matching_id=matching_id,
        )
        await self._call("cancelOrder", request)

    async def release_profile(self, call_id: str, iccid: Iccid) -> None:
        """5.3.4. Raises OrderRefused, Unreachable."""
        request = messages.ReleaseProfile(header=self._header(call_id), iccid=iccid.to_json())
        await self._call("releaseProfile", request)

    async def profile_status(self, call_id: str, iccids: Sequence[Iccid]) -> tuple[ProfileStatus, ...]:
        """Where profiles stand: a vendors' function, which many servers lack.

        Raises OrderRefused, Unreachable, and transport.client.NotOffered where the server has no such function.
        """
        wanted = [messages.ProfileRef(iccid.to_json()) for iccid in iccids]
        request = messages.GetProfileStatus(header=self._header(call_id), iccid_list=wanted)
        return replies.statuses((await self._call("getProfileStatus", request)).body)

    async def recover_profile(self, call_id: str, iccid: Iccid, profile_status: str) -> None:
        """Bring a profile back into a state (Available, Released): a vendors' function, which many servers lack.

        Raises OrderRefused, Unreachable, and transport.client.NotOffered where the server has no such function.
        """
        request = messages.RecoverProfile(
            header=self._header(call_id), iccid=iccid.to_json(), profile_status=profile_status
        )
        await self._call("recoverProfile", request)

    def _header(self, call_id: str) -> messages.RequestHeader:
        return messages.RequestHeader(
            function_requester_identifier=self._requester_id, function_call_identifier=call_id
        )

    async def _call(self, function: str, request: messages.Request) -> Reply:
        reply = await self._http.call(f"{PREFIX}/{function}", messages.encode(request))
        if reply.codes is not None:
            raise OrderRefused(function, reply.codes, reply.message)
        return reply


async def handle_download_progress_info(http: GsmaClient, info: ProgressInfo, requester: str, call_id: str) -> None:
    """Tell an operator about a download (5.3.5). Raises Unreachable when it did not say that it has it."""
    await http.notify(f"{PREFIX}/handleDownloadProgressInfo", messages.progress(info, requester, call_id))
