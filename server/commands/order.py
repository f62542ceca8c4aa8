"""`smdp order`: orders profiles over ES2+ as an operator does, with the operator's certificate (SGP.22 5.3)."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from server.commands import order_reading

if TYPE_CHECKING:
    from es2plus.client import Es2PlusClient, OrderRefused
    from es2plus.replies import Confirmation
    from rsp.identifiers import Eid, Iccid

app = typer.Typer(
    no_args_is_help=True, help="Orders: reserve, confirm, release, cancel and recover over ES2+; list and show them."
)
app.command("list")(order_reading.list_)
app.command("show")(order_reading.show)

OperatorName = Annotated[str, typer.Option("--operator", help="Order as this operator.")]
Url = Annotated[str, typer.Option(help="Base address of ES2+; else that of the server running on data_dir.")]
Certificate = Annotated[Path | None, typer.Option(help="Client certificate (PEM); else the generated one.")]
Key = Annotated[Path | None, typer.Option(help="Its private key (PEM); else the generated one.")]
Ca = Annotated[Path | None, typer.Option(help="CA of the server (PEM); else the CIs of pki_dir.")]
CallId = Annotated[str, typer.Option(help="functionCallIdentifier; give the same to repeat a call safely.")]
EidText = Annotated[str, typer.Option("--eid", help="EID of the card the order is for.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
_T = TypeVar("_T")

_TRIES = 3
_TIMEOUT_SECONDS = 30.0


@app.command()
def create(  # noqa: PLR0913 -- one parameter an option
    *,
    operator: OperatorName,
    profile_type: Annotated[str, typer.Option("--type", help="Any profile of this type.")] = "",
    iccid: Annotated[str, typer.Option(help="Exactly this profile.")] = "",
    eid: EidText = "",
    confirmation_code: Annotated[
        str, typer.Option(help="Ask the user for this code; - reads it from standard input.")
    ] = "",
    smds_address: Annotated[str, typer.Option(help="Register the order at this SM-DS; needs --eid.")] = "",
    hold: Annotated[
        bool, typer.Option("--hold", help="Confirm without releasing: `smdp order release` follows.")
    ] = False,
    qr: Annotated[bool, typer.Option("--qr", help="Print the activation code as a QR code, too.")] = False,
    url: Url = "",
    certificate: Certificate = None,
    key: Key = None,
    ca: Ca = None,
    call_id: CallId = "",
    as_json: AsJson = False,
) -> None:
    """Reserve and confirm a profile, and print its activation code.

    A profile that was reserved and not confirmed is taken up again with --iccid.

    Example: smdp order create --operator operator-a --type iot-basic
    """
    from rsp.errors import Malformed
    from rsp.identifiers import ActivationCode, Eid, Iccid, MatchingId

    if not (profile_type or iccid):
        raise Malformed("say which profile: give --type, --iccid or both")
    if smds_address and not eid:
        raise Malformed("--smds-address needs --eid: an SM-DS holds an order for one card")
    call = call_id or secrets.token_hex(8)
    code = typer.get_text_stream("stdin").readline().strip() if confirmation_code == "-" else confirmation_code
    card = Eid(eid) if eid else None

    async def run(client: Es2PlusClient) -> tuple[Iccid, Confirmation]:
        wanted = Iccid.parse(iccid) if iccid else None
        reserved = await _reserve(client, call, card, wanted, profile_type or None)
        confirmed = await _confirm(
            lambda: client.confirm_order(
                f"{call}-2",
                reserved,
                release=not hold,
                eid=card,
                confirmation_code=code or None,
                smds_address=smds_address or None,
            ),
            reserved,
            card,
            operator,
            call,
        )
        return reserved, confirmed

    reserved, confirmed = _with_client(run, operator=operator, url=url, files=(certificate, key, ca))
    activation = ActivationCode(
        smdp_address=confirmed.smdp_address,
        matching_id=MatchingId(confirmed.matching_id) if confirmed.matching_id else None,
        confirmation_code_required=bool(code),
    )
    if as_json:
        typer.echo(json.dumps({"iccid": str(reserved), "activationCode": activation.for_qr(), "callId": call}))
        return
    typer.echo(f"ICCID {reserved}\n{activation.for_qr()}")
    if qr:
        _print_qr(activation.for_qr())


@app.command()
def release(  # noqa: PLR0913 -- one parameter an option
    iccid: Annotated[str, typer.Argument(help="The profile whose order is confirmed.")],
    *,
    operator: OperatorName,
    url: Url = "",
    certificate: Certificate = None,
    key: Key = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Let a confirmed order be downloaded.

    Example: smdp order release 8988010000000000006 --operator operator-a
    """
    from rsp.identifiers import Iccid

    call, wanted = secrets.token_hex(8), Iccid.parse(iccid)

    async def run(client: Es2PlusClient) -> None:
        await _again(lambda: client.release_profile(call, wanted))

    _with_client(run, operator=operator, url=url, files=(certificate, key, ca))
    typer.echo(json.dumps({"iccid": str(wanted), "callId": call}) if as_json else f"ICCID {wanted} is released")


@app.command()
def cancel(  # noqa: PLR0913 -- one parameter an option
    iccid: Annotated[str, typer.Argument(help="The profile whose order is cancelled.")],
    *,
    operator: OperatorName,
    eid: EidText = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the profile out of stock.")] = False,
    url: Url = "",
    certificate: Certificate = None,
    key: Key = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Cancel an order that was not downloaded; its profile returns to stock.

    An order for one card is cancelled with the --eid it was made for, which `smdp order show` tells.

    Example: smdp order cancel 8988010000000000006 --operator operator-a
    """
    from es2plus.client import OrderRefused
    from rsp.identifiers import Eid, Iccid
    from rsp.status import Status

    about_the_card = {(one.subject, one.reason) for one in (Status.EID_MISSING, Status.EID_ASSOCIATED_OTHERWISE)}
    call, wanted = secrets.token_hex(8), Iccid.parse(iccid)
    card, final = Eid(eid) if eid else None, "Unavailable" if withdraw else "Available"

    async def run(client: Es2PlusClient) -> None:
        try:
            await _again(lambda: client.cancel_order(call, wanted, final, eid=card))
        except OrderRefused as refused:
            if refused.codes in about_the_card:
                raise _hinted(refused, "Name its card with --eid: `smdp order show` tells which.") from None
            raise

    _with_client(run, operator=operator, url=url, files=(certificate, key, ca))
    state = final.lower()
    result = {"iccid": str(wanted), "state": state, "callId": call}
    typer.echo(json.dumps(result) if as_json else f"The order is cancelled; ICCID {wanted} is {state}.")


@app.command()
def recover(  # noqa: PLR0913 -- one parameter an option
    iccid: Annotated[str, typer.Argument(help="The profile whose order has failed.")],
    *,
    operator: OperatorName,
    to_stock: Annotated[bool, typer.Option("--to-stock", help="Give the profile back to stock instead.")] = False,
    url: Url = "",
    certificate: Certificate = None,
    key: Key = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Open a failed order again: its activation code works once more, and attempts are counted anew.

    Uses recoverProfile, a function of vendors that SGP.22 does not have.

    Example: smdp order recover 8988010000000000006 --operator operator-a
    """
    from rsp.identifiers import Iccid

    call, wanted, state = secrets.token_hex(8), Iccid.parse(iccid), "Available" if to_stock else "Released"

    async def run(client: Es2PlusClient) -> None:
        await _again(lambda: client.recover_profile(call, wanted, state))

    _with_client(run, operator=operator, url=url, files=(certificate, key, ca))
    result = {"iccid": str(wanted), "state": state.lower(), "callId": call}
    typer.echo(json.dumps(result) if as_json else f"ICCID {wanted} is {state.lower()}")


async def _reserve(
    client: Es2PlusClient, call: str, card: Eid | None, wanted: Iccid | None, profile_type: str | None
) -> Iccid:
    """DownloadOrder, which for a profile that this operator has reserved already answers the same again."""
    from es2plus.client import OrderRefused
    from rsp.status import Status

    def ask(step: str, eid: Eid | None) -> Awaitable[Iccid]:
        return client.download_order(f"{call}-{step}", eid=eid, iccid=wanted, profile_type=profile_type)

    try:
        return await _again(lambda: ask("1", card))
    except OrderRefused as refused:
        in_use = Status.ICCID_IN_USE.subject, Status.ICCID_IN_USE.reason
        if wanted is None or card is None or refused.codes != in_use:
            raise
    # Perhaps it was reserved before its card was known; ConfirmOrder brings the card.
    return await _again(lambda: ask("1-any", None))


async def _confirm(
    confirm: Callable[[], Awaitable[Confirmation]], reserved: Iccid, card: Eid | None, operator: str, call: str
) -> Confirmation:
    """ConfirmOrder; when it fails, the error says what is reserved and how to go on."""
    from es2plus.client import OrderRefused
    from rsp.errors import Unreachable
    from rsp.status import Status

    try:
        return await _again(confirm)
    except OrderRefused as refused:
        # Nothing is reserved for an order that is not there to be confirmed.
        if refused.codes[0] == Status.ICCID_UNKNOWN.subject:
            raise
        named = f" --eid {card}" if card else ""
        onward = named or (" --eid EID" if refused.codes[0] == Status.EID_MISSING.subject else "")
        raise _hinted(
            refused,
            f"ICCID {reserved} stays reserved: go on with `smdp order create --operator {operator} --iccid {reserved}"
            f"{onward}` or give it back with `smdp order cancel {reserved} --operator {operator}{named}`.",
        ) from None
    except Unreachable as lost:
        text = f"{lost}; ICCID {reserved} is reserved, perhaps confirmed: give the command again with --call-id {call}"
        raise Unreachable(text) from None


def _hinted(refused: OrderRefused, hint: str) -> OrderRefused:
    """The refusal with one more sentence."""
    message = f"{refused.message.rstrip('. ')}. {hint}" if refused.message else hint
    return type(refused)(refused.function, refused.codes, message)


async def _again(call: Callable[[], Awaitable[_T]]) -> _T:
    """The same call once more while its outcome is not known: its call id makes that safe."""
    from rsp.errors import Unreachable

    for _ in range(_TRIES - 1):
        try:
            return await call()
        except Unreachable:
            await asyncio.sleep(1)
    return await call()


def _with_client(
    use: Callable[[Es2PlusClient], Awaitable[_T]],
    *,
    operator: str,
    url: str,
    files: tuple[Path | None, Path | None, Path | None],
) -> _T:
    """Do something as an operator of the server at `url`; `files` are certificate, key and CA where given."""
    import aiohttp

    from certs import folder
    from es2plus.client import Es2PlusClient
    from server import running
    from server.settings import SettingsError, load
    from transport.client import GsmaClient
    from transport.tls import client_context

    settings = load()
    certificate, key, ca = files
    state = running.read(settings.data_dir)
    if not url and state is None:
        raise SettingsError(f"no server runs on {settings.data_dir}: start `smdp serve`, or give --url")
    base = url or f"https://{state.hosts['es2']}:{state.ports['es2']}" if state else url
    pki = folder.load(settings.pki_dir) if None in files else None
    own, own_key = pki.operator_files(operator) if pki else (None, None)
    for file in (ca, certificate or own, key or own_key):
        if file is not None and not file.is_file():
            raise SettingsError(f"{file}: no such file; name the operator's own with --certificate and --key")

    async def run() -> _T:
        context = client_context(ca, certificate or own, key or own_key)
        if ca is None and pki is not None:
            for ci in pki.ci_certificates:
                context.load_verify_locations(cadata=ci)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            name = None if url else settings.server_names[0]
            return await use(Es2PlusClient(GsmaClient(session, base, _TIMEOUT_SECONDS, name), operator))

    return asyncio.run(run())


def _print_qr(text: str) -> None:
    import segno

    segno.make(text, error="m").terminal(compact=True)
