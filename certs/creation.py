"""Makes a PKI folder of generated test material, and more operator certificates from a folder's own CA."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs import files, keys, layout, recipe
from certs.errors import BadPki
from certs.recipe import Credential, Terms
from crypto.curves import Curve
from rsp.errors import Malformed
from rsp.identifiers import fqdn

DEFAULT_NAMES = ("smdp.example.com",)
DEFAULT_EIM_NAMES = ("eim.example.com",)
DEFAULT_CURVES = (Curve.P256, Curve.BRAINPOOL_P256R1)
TEST_OPERATORS = ("operator-a", "operator-b")
_CALLBACK_NAMES = ("localhost", "127.0.0.1")
_OPERATOR_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_RESERVED = "ca"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """Everything of one curve."""

    curve: Curve
    ci: Credential
    eum: Credential
    euicc: Credential
    dp_auth: Credential
    dp_pb: Credential


async def init(  # noqa: PLR0913 -- what may differ between test PKIs
    path: Path,
    vault: keys.KeyVault,
    *,
    names: Sequence[str] = DEFAULT_NAMES,
    eim_names: Sequence[str] = DEFAULT_EIM_NAMES,
    curves: Sequence[Curve] = DEFAULT_CURVES,
    now: datetime,
    oid: str = recipe.DP_OID,
) -> layout.PkiFolder:
    """Make a whole test PKI in a new folder: per curve CI, EUM, card, DPauth, DPpb; one DPtls; eIM; operators' CA.

    `names` are the DNS names of the server, `eim_names` those of its eIM, `oid` its object identifier. The keys of
    DPauth, DPpb and the eIM's packages go to the vault only. Raises BadPki when the folder is there already or a name
    cannot stand in a certificate; then nothing is made.
    """
    hosts, eim_hosts = _host_names(names), _host_names(eim_names)
    if Curve.P256 not in curves:
        raise BadPki("a PKI needs NIST P-256, the curve of the TLS certificate: add it to the curves")
    refuse_existing(path)
    chains = [_chain(curve, now, oid, number) for number, curve in enumerate(dict.fromkeys(curves), start=1)]
    with files.new_folder(path) as folder:
        entries = tuple([await _write_chain(folder, chain, vault) for chain in chains])
        tls_issuer = next(chain.ci for chain in chains if chain.curve is Curve.P256)
        tls = write_tls(folder, recipe.dp_tls(tls_issuer, _terms(now), hosts, oid))
        await keys.keep(vault, await missing_eim_key(vault, None))
        eim = write_eim(folder, recipe.eim_tls(tls_issuer, _terms(now), eim_hosts))
        _write_peers(folder, write_operator_ca(folder, now), now)
        layout.write_guard(folder)
        files.write(folder / layout.MARKER, layout.MARKER_TEXT.encode())
        layout.write_index(
            folder, layout.Index(ci=tuple(ci_file(chain.ci.key_id) for chain in chains), dp=entries, tls=tls, eim=eim)
        )
    return layout.load(path)


async def add_eim(
    path: Path, vault: keys.KeyVault, *, names: Sequence[str] = DEFAULT_EIM_NAMES, now: datetime
) -> layout.PkiFolder:
    """Give a generated folder an eIM, or its eIM a new TLS certificate.

    The key that signs packages is made once and kept: cards obey no other. Raises BadPki when the folder was not made
    here, as its CI has no key to certify with, or when a name cannot stand in a certificate.
    """
    index, device = layout.read_index(path), layout.device_folder(path, Curve.P256)
    if not (device / "ci.key.pem").exists():
        raise BadPki(
            f"{path} was not generated here: its CI cannot certify a TLS name for the eIM: bring its certificate with"
            " `smdp pki import --eim-tls FILE --eim-tls-key FILE`"
        )
    issuer = Credential(
        certificate=x509.load_der_x509_certificate(files.read_certificate(device / "ci.der")),
        key=files.read_key(device / "ci.key.pem"),
    )
    tls = recipe.eim_tls(issuer, _terms(now), _host_names(names))
    await keys.keep(vault, await missing_eim_key(vault, index.eim))
    eim = write_eim(path, tls)
    layout.write_index(path, replace(index, eim=eim))
    return layout.load(path)


async def missing_eim_key(
    vault: keys.KeyVault, present: layout.EimEntry | None
) -> dict[str, ec.EllipticCurvePrivateKey]:
    """A new key for the eIM's packages under its label, or nothing when the vault has one.

    Raises BadPki when the folder's `present` eIM has its key in another vault: cards obey no other.
    """
    if keys.EIM_SIGNING in await vault.labels():
        return {}
    if present is not None:
        raise BadPki(f"the vault lacks {present.signing_key}, the key of the folder's eIM: use the right vault file")
    return {keys.EIM_SIGNING: ec.generate_private_key(Curve.P256.instance)}


def write_eim(folder: Path, tls: Credential) -> layout.EimEntry:
    """Write the eIM's TLS pair; answers its entry for the index."""
    return layout.EimEntry(signing_key=keys.EIM_SIGNING, tls=write_tls(folder, tls))


def issue_operator_certificate(path: Path, name: str, now: datetime) -> tuple[Path, Path]:
    """Issue an ES2+ client certificate for the operator `name` from the folder's CA; answers (certificate, key) paths.

    Raises BadPki when the name does not serve as a file name, is taken, or the folder has no CA key.
    """
    folder = path / "operators"
    if not _OPERATOR_NAME.fullmatch(name) or name == _RESERVED:
        raise BadPki(f"{name!r} is no operator name: use up to 64 of a-z 0-9 . _ - and not 'ca'")
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key.pem"
    if certificate.exists():
        raise BadPki(f"{certificate} exists: choose another name, or remove both its files to issue a new one")
    ca = Credential(
        certificate=x509.load_der_x509_certificate(files.read_certificate(folder / "ca.pem")),
        key=files.read_key(folder / "ca.key.pem"),
    )
    files.write_pem_pair(folder, name, recipe.operator(ca, _terms(now), name))
    return certificate, key


def refuse_existing(path: Path) -> None:
    """Raise BadPki unless `path` is free or an empty folder: key material is never overwritten."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise BadPki(f"{path} exists and is never overwritten: choose another folder or move this one away")


def write_operator_ca(folder: Path, now: datetime) -> Credential:
    """A CA of the folder's own for the operators' client certificates."""
    ca = recipe.operator_ca(_terms(now))
    files.write_pem_pair(folder / "operators", "ca", ca)
    return ca


def write_tls(folder: Path, credential: Credential) -> str:
    """Write a TLS pair below a folder of its own; answers that folder relative to the PKI folder."""
    name = f"tls/{credential.key_id.hex()[:8]}"
    files.write_pem_pair(folder / name, "certificate", credential)
    return name


def ci_file(key_id: bytes) -> str:
    """Where the certificate of a CI lies, relative to the PKI folder."""
    return f"ci/{key_id.hex()}.der"


def _chain(curve: Curve, now: datetime, oid: str, number: int) -> _Chain:
    ci = recipe.ci(_terms(now), curve)
    eum = recipe.eum(ci, _terms(now))
    return _Chain(
        curve=curve,
        ci=ci,
        eum=eum,
        euicc=recipe.euicc(eum, _terms(now), recipe.sample_eid(number)),
        dp_auth=recipe.dp_auth(ci, _terms(now), oid),
        dp_pb=recipe.dp_pb(ci, _terms(now), oid),
    )


async def _write_chain(folder: Path, chain: _Chain, vault: keys.KeyVault) -> layout.DpEntry:
    device = layout.device_folder(folder, chain.curve)
    for name, credential in (("ci", chain.ci), ("eum", chain.eum), ("euicc", chain.euicc)):
        files.write_key(device / f"{name}.key.pem", credential.key_pem)
        files.write(device / f"{name}.der", credential.der)
    files.write(folder / ci_file(chain.ci.key_id), chain.ci.der)
    entry = dp_entry(chain.ci.key_id, chain.dp_auth.key_id, chain.dp_pb.key_id)
    files.write(folder / entry.directory / "auth.der", chain.dp_auth.der)
    files.write(folder / entry.directory / "pb.der", chain.dp_pb.der)
    await keys.keep(vault, {entry.auth_key: chain.dp_auth.key, entry.pb_key: chain.dp_pb.key})
    return entry


def dp_entry(ci_key_id: bytes, auth_key_id: bytes, pb_key_id: bytes) -> layout.DpEntry:
    """Folder and vault labels of an SM-DP+ set."""
    return layout.DpEntry(
        directory=f"dp/{ci_key_id.hex()[:8]}-{auth_key_id.hex()[:8]}",
        auth_key=keys.label("dpauth", ci_key_id, auth_key_id),
        pb_key=keys.label("dppb", ci_key_id, pb_key_id),
    )


def _write_peers(folder: Path, ca: Credential, now: datetime) -> None:
    """Two operators' client certificates and the TLS certificate of their callback receiver."""
    receiver = recipe.callback_server(ca, _terms(now), _CALLBACK_NAMES)
    files.write_pem_pair(folder / "callback", "certificate", receiver)
    for name in TEST_OPERATORS:
        issue_operator_certificate(folder, name, now)


def _terms(now: datetime) -> Terms:
    return Terms(now=now, serial=x509.random_serial_number())


def _host_names(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        raise BadPki("a server needs a name: give at least one, such as smdp.example.com")
    return tuple(_host_name(name) for name in names)


def _host_name(name: str) -> str:
    try:
        host = fqdn(name)
    except Malformed as error:
        raise BadPki(f"{name!r} cannot be a server name: {error}") from None
    try:
        ip_address(host)
    except ValueError:
        return host
    raise BadPki(f"{name!r} is an IP address: an activation code needs a host name such as smdp.example.com")
