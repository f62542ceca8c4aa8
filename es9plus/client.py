"""ES9+ as a client: what an LPA asks of an SM-DP+, for whoever stands in for one (SGP.22 5.6, 6.5.2.6 to 6.5.2.10).

Answers are read with patience, since servers differ: members of later versions and of vendors are passed over, white
space, missing padding and either case are accepted, and a signature or key id may come with or without its tag. An
answer that lacks what it is for, or belongs to another session, says nothing about what was done: Unreachable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from es9plus import requests
from es9plus.messages import PREFIX
from rsp import tlv
from rsp.errors import Malformed, Unreachable
from rsp.identifiers import TransactionId
from rsp.json_binding import decode_base64, encode_base64
from smdp.downloads import Authenticated, Initiated
from transport.client import GsmaClient

USER_AGENT = "gsma-rsp-lpad"
"""What an LPA calls itself; some servers answer nobody else."""

_SIGNATURE, _OCTETS, _SEQUENCE = 0x5F37, 0x04, 0x30


class DownloadRefused(Exception):  # noqa: N818 -- the name is the outcome
    """The SM-DP+ answered Failed. `codes` is (subject, reason) as it sent them, which need not be ones we know."""

    def __init__(self, function: str, codes: tuple[str, str], message: str) -> None:
        super().__init__(f"{function} was refused with {codes[0]}/{codes[1]}: {message}")
        self.function = function
        self.codes = codes
        self.message = message


class Es9PlusClient:
    """Calls one SM-DP+. TLVs go in and come out as they are: nothing that somebody signed is written anew.

    A call has three outcomes: it returns, it raises DownloadRefused, or Unreachable (not known: the same request may
    be sent again).
    """

    def __init__(self, http: GsmaClient) -> None:
        self._http = http

    async def initiate_authentication(self, challenge: bytes, euicc_info1: bytes, smdp_address: str) -> Initiated:
        """5.6.1: 16 bytes, BF20, a host name. Raises DownloadRefused, Unreachable."""
        function = requests.INITIATE_AUTHENTICATION
        members = {
            "euiccChallenge": encode_base64(challenge),
            "euiccInfo1": encode_base64(euicc_info1),
            "smdpAddress": smdp_address,
        }
        answer = await self._call(function, members)
        return Initiated(
            transaction_id=answer.transaction_id(),
            server_signed1=answer.tlv("serverSigned1", _SEQUENCE),
            server_signature1=answer.wrapped("serverSignature1", _SIGNATURE, 64),
            ci_key_id=tlv.read(answer.wrapped("euiccCiPKIdToBeUsed", _OCTETS, 20)).value,
            certificate=answer.tlv("serverCertificate", _SEQUENCE),
        )

    async def authenticate_client(self, transaction_id: TransactionId, response: bytes) -> Authenticated:
        """5.6.3, with the eUICC's BF38. Raises DownloadRefused, Unreachable."""
        members = {"transactionId": str(transaction_id), "authenticateServerResponse": encode_base64(response)}
        answer = await self._call(requests.AUTHENTICATE_CLIENT, members, transaction_id)
        return Authenticated(
            transaction_id=transaction_id,
            metadata=answer.tlv("profileMetadata", 0xBF25),
            smdp_signed2=answer.tlv("smdpSigned2", _SEQUENCE),
            smdp_signature2=answer.wrapped("smdpSignature2", _SIGNATURE, 64),
            certificate=answer.tlv("smdpCertificate", _SEQUENCE),
        )

    async def get_bound_profile_package(self, transaction_id: TransactionId, response: bytes) -> bytes:
        """5.6.2, with the eUICC's BF21: the package, BF36. Raises DownloadRefused, Unreachable."""
        members = {"transactionId": str(transaction_id), "prepareDownloadResponse": encode_base64(response)}
        answer = await self._call(requests.GET_BOUND_PROFILE_PACKAGE, members, transaction_id)
        return answer.tlv("boundProfilePackage", 0xBF36)

    async def handle_notification(self, notification: bytes) -> None:
        """5.6.4, with a BF37 or 30: returns once the SM-DP+ has it. Raises Unreachable."""
        body = msgspec.json.encode({"pendingNotification": encode_base64(notification)})
        await self._http.notify(f"{PREFIX}/{requests.HANDLE_NOTIFICATION}", body)

    async def cancel_session(self, transaction_id: TransactionId, response: bytes) -> None:
        """5.6.5, with the eUICC's BF41. Raises DownloadRefused, Unreachable."""
        members = {"transactionId": str(transaction_id), "cancelSessionResponse": encode_base64(response)}
        await self._call(requests.CANCEL_SESSION, members)

    async def _call(self, function: str, members: Mapping[str, str], session: TransactionId | None = None) -> _Answer:
        reply = await self._http.call(f"{PREFIX}/{function}", msgspec.json.encode(members))
        if reply.codes is not None:
            raise DownloadRefused(function, reply.codes, reply.message)
        answer = _Answer(function, reply.body)
        if session is not None and answer.transaction_id() != session:
            raise Unreachable(f"{function} answered for transaction {answer.transaction_id()} instead of {session}")
        return answer


class _Answer:
    """The members of a successful answer. Raises Unreachable for one that cannot be used."""

    def __init__(self, function: str, members: Mapping[str, Any]) -> None:
        self._function = function
        self._members = members

    def transaction_id(self) -> TransactionId:
        try:
            return TransactionId.parse(self._text("transactionId").strip())
        except Malformed as error:
            raise self._useless("transactionId", error) from None

    def tlv(self, name: str, tag: int) -> bytes:
        """The one object of `tag`."""
        try:
            return tlv.read_only(self._bytes(name), tag).raw
        except Malformed as error:
            raise self._useless(name, error) from None

    def wrapped(self, name: str, tag: int, size: int) -> bytes:
        """The same for a value of `size` bytes, which may come bare."""
        content = self._bytes(name)
        found = tlv.wrap(tag, content) if len(content) == size else content
        if found[:-size] != tlv.header(tag, size):
            raise self._useless(name, Malformed(f"{len(content)} bytes instead of {tag:X} around {size}"))
        return found

    def _bytes(self, name: str) -> bytes:
        text = "".join(self._text(name).split())
        try:
            return decode_base64(text + "=" * (-len(text) % 4), name)
        except Malformed as error:
            raise self._useless(name, error) from None

    def _text(self, name: str) -> str:
        value = self._members.get(name)
        if not isinstance(value, str):
            raise self._useless(name, Malformed("it is missing, or no text"))
        return value

    def _useless(self, name: str, error: Malformed) -> Unreachable:
        return Unreachable(f"{self._function} answered something that is no answer of SGP.22: {name}: {error}")
