"""Takes a foreign CI and its SM-DP+ certificates into a PKI folder: everything is judged before anything is written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs import creation, files, keys, layout, revocation
from certs.errors import BadPki
from certs.recipe import Credential
from crypto.certificates import BadCertificate, Certificate, Role, TrustStore
from crypto.curves import Curve


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFiles:
    """The files to bring: certificates DER or PEM, keys PEM (SEC1 or PKCS#8) without a passphrase.

    The TLS pairs of the SM-DP+ and of the eIM are optional.
    """

    ci: Path
    auth: Path
    auth_key: Path
    pb: Path
    pb_key: Path
    tls: Path | None = None
    tls_key: Path | None = None
    eim_tls: Path | None = None
    eim_tls_key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """One certificate and the key that was proven to be its own."""

    file: Path
    parsed: Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    def credential(self) -> Credential:
        return Credential(certificate=x509.load_der_x509_certificate(self.parsed.der), key=self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """A whole set that passed."""

    ci: Certificate
    auth: _Pair
    pb: _Pair
    tls: _Pair | None
    eim_tls: _Pair | None

    @property
    def entry(self) -> layout.DpEntry:
        return creation.dp_entry(self.ci.subject_key_id, self.auth.parsed.subject_key_id, self.pb.parsed.subject_key_id)


async def import_set(
    path: Path, vault: keys.KeyVault, given: SetFiles, *, now: datetime, replacing: bool = False
) -> layout.PkiFolder:
    """Bring a CI with DPauth, DPpb and perhaps TLS certificates into the folder, next to the sets it has.

    A folder that does not exist is made, with an operators' CA of its own; its first set must bring DPtls. A DPtls
    takes the place of the one in use, and so does the eIM's; the key that signs the eIM's packages is made in the vault
    where there is none, and kept. `replacing` puts the set in the place of the one under the same CI. The same set
    again only gives the vault its keys back. Raises BadPki with the file and the remedy; folder and vault are then as
    before.
    """
    judged = _judge(path, given, now)
    index = layout.read_index(path) if (path / layout.INDEX).exists() else None
    if index is None:
        creation.refuse_existing(path)
        if judged.tls is None:
            raise BadPki(f"{path} is new and needs a TLS certificate: give DPtls and its key with the first set")
    else:
        _refuse_clash(path, index, judged, replacing=replacing)
    wanted = {judged.entry.auth_key: judged.auth.key, judged.entry.pb_key: judged.pb.key}
    if judged.eim_tls:
        wanted |= await creation.missing_eim_key(vault, index.eim if index else None)
    await keys.keep(vault, wanted)
    if index is None:
        with files.new_folder(path) as folder:
            layout.write_guard(folder)
            creation.write_operator_ca(folder, now)
            layout.write_index(folder, _write_set(folder, layout.Index(), judged))
    else:
        layout.write_index(path, _write_set(path, index, judged))
    return layout.load(path)


def import_tls(path: Path, certificate: Path, key: Path, *, now: datetime) -> layout.PkiFolder:
    """Put a renewed DPtls in the place of the one in use; it must come from a CI of the folder. Raises BadPki."""
    index = layout.read_index(path)
    trust = revocation.trusting(path, [files.read_certificate(path / name) for name in index.ci], now)
    pair = _judge_tls(certificate, key, trust, now)
    layout.write_index(path, replace(index, tls=creation.write_tls(path, pair.credential())))
    return layout.load(path)


async def import_eim(
    path: Path, vault: keys.KeyVault, certificate: Path, key: Path, *, now: datetime
) -> layout.PkiFolder:
    """Give the folder an eIM with this TLS pair, or its eIM a renewed one; any CA that the devices trust may issue it.

    The key that signs packages is made in the vault where there is none, and kept. Raises BadPki.
    """
    index = layout.read_index(path)
    pair = _judge_eim_tls(certificate, key, now)
    await keys.keep(vault, await creation.missing_eim_key(vault, index.eim))
    layout.write_index(path, replace(index, eim=creation.write_eim(path, pair.credential())))
    return layout.load(path)


def _judge(path: Path, given: SetFiles, now: datetime) -> _Judged:
    if (given.tls is None) != (given.tls_key is None):
        raise BadPki("the TLS certificate and its key belong together: give both or neither")
    if (given.eim_tls is None) != (given.eim_tls_key is None):
        raise BadPki("the eIM's TLS certificate and its key belong together: give both or neither")
    ci, trust = _judge_ci(path, given.ci, now)
    auth = _judge_pair(given.auth, given.auth_key, Role.DP_AUTH, trust, now)
    pb = _judge_pair(given.pb, given.pb_key, Role.DP_PB, trust, now)
    for pair in (auth, pb):
        if not pair.parsed.oid:
            raise BadPki(f"{pair.file} names no SM-DP+ OID (registeredID): ask its CI for a certificate with one")
    if auth.parsed.oid != pb.parsed.oid:
        raise BadPki(
            f"{auth.file} names OID {auth.parsed.oid}, {pb.file} names {pb.parsed.oid}: both must be of one SM-DP+"
        )
    tls = _judge_tls(given.tls, given.tls_key, trust, now) if given.tls and given.tls_key else None
    eim_tls = _judge_eim_tls(given.eim_tls, given.eim_tls_key, now) if given.eim_tls and given.eim_tls_key else None
    return _Judged(ci=ci, auth=auth, pb=pb, tls=tls, eim_tls=eim_tls)


def _judge_ci(path: Path, file: Path, now: datetime) -> tuple[Certificate, TrustStore]:
    der = files.read_certificate(file)
    ci = layout.parse(der, str(file))
    try:
        trust = revocation.trusting(path, [der], now)
    except BadCertificate as error:
        raise BadPki(f"{file} is no CI certificate: {error}; give the CI's root certificate, unchanged") from None
    if not ci.is_valid_at(now):
        raise BadPki(f"{file} is valid from {ci.not_before:%Y-%m-%d} to {ci.not_after:%Y-%m-%d}: bring a current one")
    return ci, trust


def _judge_pair(file: Path, key_file: Path, role: Role, trust: TrustStore, now: datetime) -> _Pair:
    der = files.read_certificate(file)
    layout.parse(der, str(file))
    try:
        parsed = trust.verify_server_certificate(der, role, now)
    except BadCertificate as error:
        raise BadPki(f"{file} does not serve as {role.name} under this CI: {error}") from None
    return _pair(file, parsed, key_file)


def _pair(file: Path, parsed: Certificate, key_file: Path) -> _Pair:
    key = files.read_key(key_file)
    if key.public_key() != parsed.public_key:
        raise BadPki(f"{key_file} is not the key of {file}: bring the pair that belongs together")
    return _Pair(file=file, parsed=parsed, key=key)


def _judge_tls(file: Path, key_file: Path, trust: TrustStore, now: datetime) -> _Pair:
    return _for_listeners(_judge_pair(file, key_file, Role.DP_TLS, trust, now))


def _judge_eim_tls(file: Path, key_file: Path, now: datetime) -> _Pair:
    # No chain is judged: SGP.32 leaves it to the configuration on the card whom a device trusts here.
    parsed = layout.parse(files.read_certificate(file), str(file))
    if not parsed.is_valid_at(now):
        raise BadPki(
            f"{file} is valid from {parsed.not_before:%Y-%m-%d} to {parsed.not_after:%Y-%m-%d}: bring a current one"
        )
    if parsed.is_ca or not parsed.tls_server:
        raise BadPki(f"{file} may not serve TLS: bring an end entity's certificate with extended key usage serverAuth")
    return _for_listeners(_pair(file, parsed, key_file))


def _for_listeners(pair: _Pair) -> _Pair:
    if pair.parsed.curve is not Curve.P256:
        raise BadPki(f"{pair.file} is on {pair.parsed.curve.name}: TLS listeners need a certificate on NIST P-256")
    if not pair.parsed.dns_names:
        raise BadPki(
            f"{pair.file} names no DNS host: a TLS certificate needs the server's name among its alternative names"
        )
    return pair


def _under(path: Path, entry: layout.DpEntry) -> bytes:
    """The key id of the CI above a set of the folder."""
    file = path / entry.directory / "auth.der"
    return layout.parse(files.read_certificate(file), str(file)).authority_key_id


def _refuse_clash(path: Path, index: layout.Index, judged: _Judged, *, replacing: bool) -> None:
    own = judged.ci.subject_key_id
    try:
        TrustStore([*(files.read_certificate(path / name) for name in index.ci), judged.ci.der])
    except BadCertificate as error:
        raise BadPki(f"the CI does not go with those in {path}: {error}") from None
    if not replacing and any(_under(path, entry) == own for entry in index.dp if entry != judged.entry):
        raise BadPki(f"{path} has a set under CI {own.hex().upper()}: say --replace to put the new one in its place")


def _write_set(folder: Path, index: layout.Index, judged: _Judged) -> layout.Index:
    """Write the files of the set; answers the index that puts them into force."""
    entry, own = judged.entry, judged.ci.subject_key_id
    if entry not in index.dp:
        _write_certificates(folder / entry.directory, judged)
    ci = creation.ci_file(own)
    files.write(folder / ci, judged.ci.der)
    return replace(
        index,
        ci=tuple(dict.fromkeys((*index.ci, ci))),
        dp=(*(kept for kept in index.dp if _under(folder, kept) != own), entry),
        tls=creation.write_tls(folder, judged.tls.credential()) if judged.tls else index.tls,
        eim=creation.write_eim(folder, judged.eim_tls.credential()) if judged.eim_tls else index.eim,
    )


def _write_certificates(target: Path, judged: _Judged) -> None:
    shutil.rmtree(target, ignore_errors=True)  # a leftover of an import that was cut off before its index
    with files.new_folder(target) as scratch:
        files.write(scratch / "auth.der", judged.auth.parsed.der)
        files.write(scratch / "pb.der", judged.pb.parsed.der)
