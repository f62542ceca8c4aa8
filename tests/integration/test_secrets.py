"""No secret in any log, dump, file, metric or answer: a whole server with planted secrets, and a search of it all."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from crypto.agreement import OneTimeKey, SessionKeys, derive_session_keys
from crypto.curves import Curve
from crypto.sealing import SealingKey
from hsm_mock import MockVault
from rsp.identifiers import Eid, Iccid, TransactionId
from rsp.personalisation import Personalisation
from rsp.saip_template import generate
from server.settings import environment, load
from simulator import lpa_messages
from simulator.bpp_segments import split_bound_profile_package
from smdp.sealing import one_time_key_context, order_key_context, package_key_context
from store.embedded import EmbeddedPostgres
from tests.http_stage import ES2, OPERATOR, TYPE, Caller, Material, b64
from tests.secret_search import Needle, files_below, search
from tests.server_fixtures import PASSPHRASE, ServerUnderTest, Template, serving

_CODE = "Zitrone-4711-geheim"
_WRONG_PASSPHRASE = "Quitte-0815-geheim"
_ICCID = "8988211000000004711"
_PERSON = Personalisation(
    iccid=Iccid(_ICCID),
    imsi="001010000004711",
    ki=bytes.fromhex("a1b2c3d4e5f60718293a4b5c6d7e8f90"),
    opc=bytes.fromhex("0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
    adm1=bytes.fromhex("c0ffee1234abcdef"),
    pin1="73915826",
    puk1="84620579",
    pin2="50397164",
    puk2="26813957",
    service_provider_name="Planted",
    profile_type=TYPE,
)
_PLANTED = [
    Needle(name="Ki", secret=_PERSON.ki),
    Needle(name="OPc", secret=_PERSON.opc),
    Needle(name="ADM1", secret=_PERSON.adm1),
    *(Needle(name=name, secret=getattr(_PERSON, name).encode()) for name in ("pin1", "puk1", "pin2", "puk2")),
    Needle(name="confirmation code", secret=_CODE.encode()),
    Needle(name="hash of the confirmation code", secret=hashlib.sha256(_CODE.encode()).digest()),
    Needle(name="passphrase", secret=PASSPHRASE.encode()),
    Needle(name="wrong passphrase", secret=_WRONG_PASSPHRASE.encode()),
]


def _scalar(key: Any) -> bytes:
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value.to_bytes(32, "big")


def _keys_of(server: ServerUnderTest) -> list[Needle]:
    """The long-lived private keys of the server: those in the vault, and the one of TLS."""
    vault = MockVault.open(server.settings.vault_file, PASSPHRASE)
    found = [Needle(name=f"key {label}", secret=_scalar(key)) for label, key in vault._contents.keys.items()]
    # DPauth and DPpb on each curve, and the key of the eIM.
    assert len(found) == 5
    tls = load_pem_private_key(server.pki.tls_key.read_bytes(), None)
    return [*found, Needle(name="TLS key", secret=_scalar(tls))]


async def _keys_of_the_download(dsn: str, vault: MockVault) -> list[Needle]:
    """What protects a package on its way, opened as only the server can: taken while the order is not over."""
    connection = await asyncpg.connect(dsn)
    try:
        order = await connection.fetchrow("SELECT * FROM orders WHERE iccid = $1", _ICCID)
        package = await connection.fetchrow(
            "SELECT packages.* FROM packages JOIN profiles ON profiles.package_id = packages.id"
            " WHERE profiles.iccid = $1",
            _ICCID,
        )
    finally:
        await connection.close()
    key = SealingKey.from_bytes(await vault.unwrap(order["key_sealed"], order_key_context(order["id"])))
    secret = key.open(order["otsk_sealed"], one_time_key_context(order["id"], order["euicc_otpk"]))
    one_time = OneTimeKey.from_bytes(Curve.P256, secret)
    channel = derive_session_keys(one_time, order["euicc_otpk"], order["host_id"], Eid(order["eid"]).to_bytes())
    own = SessionKeys.from_bytes(await vault.unwrap(package["key_sealed"], package_key_context(package["id"])))
    return [
        Needle(name="key of the order", secret=key.to_bytes()),
        Needle(name="one-time key", secret=secret),
        *(Needle(name=f"S-{name}", secret=getattr(channel, f"s_{name}")) for name in ("enc", "mac")),
        *(Needle(name=f"PPK-{name}", secret=getattr(own, f"s_{name}")) for name in ("enc", "mac")),
    ]


@pytest.fixture
def whole(server_template: Template, tmp_path: Path) -> Any:
    """A server with its own PostgreSQL in its data folder, telling as much as it can."""
    with serving(server_template, tmp_path, log_level="debug") as made:
        yield made


class _Told:
    """What commands printed."""

    def __init__(self, server: ServerUnderTest) -> None:
        self.server = server
        self.texts: dict[str, bytes] = {}

    def smdp(self, *arguments: str, status: int = 0, **changes: Any) -> None:
        """Run a command of ours on the settings of the server, changed by `changes`."""
        settings = self.server.settings
        if changes:
            settings = load({}, None, data_dir=settings.data_dir, **changes)
        done = subprocess.run(
            [sys.executable, "-m", "server", *arguments],
            cwd=Path(__file__).parents[2],
            env=environment(settings, os.environ),
            capture_output=True,
            check=False,
        )
        assert done.returncode == status, done.stderr.decode()
        self.texts[f"smdp {arguments[0]} {len(self.texts)}"] = done.stdout + done.stderr


@asynccontextmanager
async def _caller(server: ServerUnderTest) -> AsyncIterator[Caller]:
    material = Material.of(server.pki, server.settings.vault_file)
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as http:
        yield Caller(material=material, ports=server.state.ports, http=http)


async def _refused_requests(caller: Caller) -> None:
    """The code in every place where it does not belong."""
    iccid = {"iccid": _ICCID}
    confirm = {**iccid, "releaseFlag": True, "confirmationCode": _CODE}
    bodies: list[Any] = [
        {**confirm, "releaseFlag": _CODE},
        {**confirm, "confirmationCode": [_CODE]},
        {**confirm, "confirmationCode": {_CODE: _CODE}},
        {**confirm, "confirmationCode": _CODE * 20},
        {**confirm, "confirmationCode": _CODE + "\0"},
        {**confirm, "iccid": _CODE},
        {**confirm, "eid": _CODE},
        {**confirm, "matchingId": _CODE},
        {**confirm, "header": _CODE},
        {**confirm, "header": caller.header(_CODE)},
    ]
    for body in bodies:
        answer = await caller.operator("confirmOrder", body)
        assert answer.status == 400 or answer.failed()
    for raw in (_CODE.encode(), json.dumps(confirm).encode()[:-1], f'{{"confirmationCode":"{_CODE}\\ud800"}}'.encode()):
        assert (await caller.operator("confirmOrder", raw)).status == 400
    cancel = {**iccid, "finalProfileStatusIndicator": _CODE}
    assert (await caller.operator("cancelOrder", cancel)).status == 400
    tls = caller.material.operator()
    for path in (ES2 + _CODE, f"{ES2}confirmOrder?code={_CODE}", f"/{_CODE}"):
        await caller.request("es2", path, b"{}", tls=tls, method="PUT")
        await caller.request("es2", path, json.dumps(confirm).encode(), tls=tls)
    for name in ("initiateAuthentication", "authenticateClient", "handleNotification", "cancelSession"):
        members = ("euiccChallenge", "euiccInfo1", "smdpAddress", "transactionId", "authenticateServerResponse")
        await caller.device(name, dict.fromkeys((*members, "cancelSessionResponse", "pendingNotification"), _CODE))


async def _malformed_http(server: ServerUnderTest, caller: Caller) -> None:
    for line in (
        f"POST /{_CODE} HTTP/9.9",
        f"{_CODE}",
        f"POST / HTTP/1.1\r\n{_CODE}",
        f"POST / HTTP/1.1\r\nA:\0{_CODE}",
    ):
        reader, writer = await asyncio.open_connection(
            *server.address("es9"), ssl=caller.material.trust(), server_hostname=server.name
        )
        writer.write(f"{line}\r\n\r\n".encode())
        await reader.read()
        writer.transport.abort()


async def _faults_of_ours(caller: Caller, dsn: str) -> None:
    """Confirmations that the database fails, with rows and values in what it says: 500, told to the log."""
    raises = (
        "CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', NEW::text; END $$;"
        "CREATE TRIGGER told BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION told()"
    )
    breakages = {
        raises: "DROP TRIGGER told ON orders",
        "ALTER TABLE orders ADD CONSTRAINT never CHECK (confirmation_sealed IS NULL)": (
            "ALTER TABLE orders DROP CONSTRAINT never"
        ),
        "ALTER TABLE orders RENAME COLUMN confirmation_sealed TO gone": (
            "ALTER TABLE orders RENAME COLUMN gone TO confirmation_sealed"
        ),
    }
    connection = await asyncpg.connect(dsn)
    try:
        for breakage, repair in breakages.items():
            await connection.execute(breakage)
            body = {"iccid": _ICCID, "releaseFlag": True, "confirmationCode": _CODE}
            answer = await caller.operator("confirmOrder", body)
            assert (answer.status, b"incident" in answer.body) == (500, True), breakage
            await connection.execute(repair)
    finally:
        await connection.close()


async def _download(caller: Caller, matching_id: str, dsn: str, vault: MockVault) -> list[Needle]:
    """A wrong code, the right code, installation; a second card is refused. Answers the keys that were used."""
    device = caller.card()
    initiated = (await caller.device("initiateAuthentication", device.initiate(smdpAddress="smdp.example.com"))).json()
    shown = (await caller.device("authenticateClient", device.authenticate(initiated, matching_id))).json()
    transaction_id = TransactionId.parse(shown["transactionId"])
    wrong = lpa_messages.hashed_confirmation_code("0000", transaction_id)
    assert (await caller.device("getBoundProfilePackage", device.prepare(shown, wrong))).failed() == ("8.2.7", "3.8")
    right = lpa_messages.hashed_confirmation_code(_CODE, transaction_id)
    bound = (await caller.device("getBoundProfilePackage", device.prepare(shown, right))).json()
    keys = await _keys_of_the_download(dsn, vault)
    segments = split_bound_profile_package(base64.b64decode(bound["boundProfilePackage"]))
    reports = [device.card.load_bound_profile_package(segment) for segment in segments]
    assert (await caller.device("handleNotification", {"pendingNotification": b64(reports[-1])})).status == 204
    second = caller.card()
    initiated = (await caller.device("initiateAuthentication", second.initiate(smdpAddress="smdp.example.com"))).json()
    refused = await caller.device("authenticateClient", second.authenticate(initiated, matching_id))
    assert refused.failed() == ("8.1.1", "3.8")
    return keys


async def _dump(dsn: str) -> dict[str, bytes]:
    """Every table as PostgreSQL copies it out."""
    connection = await asyncpg.connect(dsn)
    try:
        tables = await connection.fetch("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
        found: dict[str, bytes] = {}
        for table in tables:
            lines = bytearray()

            async def keep(data: bytes, into: bytearray = lines) -> None:
                into.extend(data)

            await connection.copy_from_table(table["name"], output=keep)
            found[f"table {table['name']}"] = bytes(lines)
        # What is on disk is searched as well, and must be what the tables hold.
        await connection.execute("CHECKPOINT")
        return found
    finally:
        await connection.close()


def _stock(told: _Told, folder: Path) -> bytes:
    """Import the planted profile, and let everything that handles secrets fail once; answers the package."""
    clear = generate(_PERSON)
    package, cut = folder / "planted.der", folder / "cut.der"
    package.write_bytes(clear)
    cut.write_bytes(clear[:-30])
    own = ("--operator", OPERATOR, "--type", TYPE)
    told.smdp("operator", "add", OPERATOR, "--certificate", str(told.server.pki.operator_files(OPERATOR)[0]))
    told.smdp("profile", "import", str(package), *own)
    told.smdp("profile", "import", str(package), *own, status=1)
    told.smdp("profile", "import", str(cut), *own, status=1)
    told.smdp("serve", "--check")
    told.smdp("serve", status=1, vault_passphrase=_WRONG_PASSPHRASE)
    return clear


async def _order(caller: Caller, dsn: str) -> str:
    """Order the planted profile with the planted code; answers its MatchingID."""
    assert (await caller.operator("downloadOrder", {"iccid": _ICCID})).status == 200
    await _faults_of_ours(caller, dsn)
    confirm = {"header": caller.header(), "iccid": _ICCID, "releaseFlag": True, "confirmationCode": _CODE}
    first = await caller.operator("confirmOrder", confirm)
    again = await caller.operator("confirmOrder", confirm)
    assert first.body == again.body
    assert (await caller.operator("confirmOrder", {**confirm, "confirmationCode": _CODE + "2"})).status == 200
    return str(first.json()["matchingId"])


def _left_behind(server: ServerUnderTest) -> dict[str, bytes]:
    """Files of the data folder but the vault and the certificates' folder, and the command lines of the processes."""
    pids = server.state.processes.values()
    lines = {f"command line {pid}": Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids}
    return lines | dict(files_below(server.settings.data_dir, server.settings.vault_file, server.settings.pki_dir))


async def test_planted_secrets_are_found_nowhere(whole: ServerUnderTest, tmp_path: Path) -> None:
    told, dsn = _Told(whole), EmbeddedPostgres(whole.settings.data_dir).dsn()
    vault = MockVault.open(whole.settings.vault_file, PASSPHRASE)
    package = _stock(told, tmp_path)
    async with _caller(whole) as caller:
        await _refused_requests(caller)
        await _malformed_http(whole, caller)
        matching_id = await _order(caller, dsn)
        needles = [*_PLANTED, *_keys_of(whole), *await _download(caller, matching_id, dsn, vault)]
        for page in ("/metrics", "/readyz", "/healthz", f"/{_CODE}"):
            await caller.ops(page)
        heard = caller.heard
    told.smdp("profile", "list")
    places = told.texts | await _dump(dsn) | _left_behind(whole)
    places |= {f"answer {n}": str(dict(answer.headers)).encode() + answer.body for n, answer in enumerate(heard)}
    assert whole.stop() == 0
    places["server.log"] = whole.log.read_bytes()
    _see_that_the_search_sees(places, package, needles)
    assert search(needles, places) == []


def _see_that_the_search_sees(places: dict[str, bytes], package: bytes, needles: list[Needle]) -> None:
    """What is no secret is there to be found: the places are the right ones and hold what they should."""
    plain = search([Needle(name="ICCID", secret=_ICCID.encode())], places)
    for place in ("server.log", "table orders", "table profiles", "smdp profile"):
        assert any(place in found for found in plain), place
    log = places["server.log"]
    assert log.count(b'"event": "failed"') == 3
    assert b"asyncpg.exceptions.RaiseError (P0001)" in log
    assert any(name.startswith("postgres/log/") for name in places)
    assert any(name.startswith("postgres/cluster/base/") for name in places)
    assert any(name.startswith("metrics/") for name in places)
    inside = search(needles, {"package": package})
    assert {"Ki, raw, package", "OPc, raw, package", "ADM1, raw, package"} <= set(inside)
