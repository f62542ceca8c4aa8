"""TLS contexts of listeners and clients: TLS 1.2 or later, ECDHE-ECDSA (SGP.22 2.6.6)."""

from __future__ import annotations

import hashlib
import secrets
import ssl
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

_SUITES = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA256"


def server_context(certificate: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """A listener's context; with `client_ca` it asks every client for a certificate of that CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.load_cert_chain(certificate, key)
    # A client that comes again needs one ticket to resume; OpenSSL writes two, for browsers that come twice at once.
    context.num_tickets = 1
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def also_named(context: ssl.SSLContext, names: Collection[str], other: ssl.SSLContext) -> None:
    """Let a listener with `context` answer as `other` whoever asks for one of `names` (SNI, lower case)."""

    def by_name(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        if name is not None and name.lower() in names:
            connection.context = other

    context.sni_callback = by_name


def client_context(ca: Path | None, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """A client's context: trusts `ca` (else the system's authorities) and shows `certificate` when it has one."""
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def admit(context: ssl.SSLContext, certificate: str) -> None:
    """Let a client with exactly this certificate (PEM) in, whoever issued it; takes effect on the next connection.

    Who it is, and whether it still may call, is for the function to find out. Raises BadTls.
    """
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError):
        raise BadTls("the certificate is no certificate in PEM") from None


def fingerprint(certificate: str) -> bytes:
    """SHA-256 of the first certificate of a PEM text. Raises BadTls."""
    end = certificate.find(ssl.PEM_FOOTER)
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate[: end + len(ssl.PEM_FOOTER)].strip())).digest()
    except ValueError:
        raise BadTls("the certificate is no certificate in PEM") from None


class BadTls(ValueError):  # noqa: N818 -- the name is the outcome, as in rsp.errors
    """Certificate, key or CA that cannot be used together; the text says which, and never shows them."""


def peer_context(ca: str, certificate: str = "", key: str = "") -> ssl.SSLContext:
    """A client's context for one peer, from PEM texts: trusts `ca` alone and shows `certificate` (leaf first).

    Raises BadTls.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The CA may be one below a root, or the peer's own certificate: whatever was named is where trust ends.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise BadTls("the CA is no certificate in PEM") from None
    if certificate:
        _show(context, certificate, key)
    return context


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load the pair. OpenSSL reads files only: there the key stands under a password that nobody else ever has."""
    try:
        private = load_pem_private_key(key.encode(), None)
        password = secrets.token_urlsafe(32)
        sealed = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode()))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadTls("the key is no private key in PEM without a password") from None
    with tempfile.TemporaryDirectory() as folder:
        shown, hidden = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        shown.write_text(certificate, encoding="utf-8")
        hidden.write_bytes(sealed)
        try:
            context.load_cert_chain(shown, hidden, password)
        except (ssl.SSLError, OSError, ValueError):
            raise BadTls("the certificate is no certificate in PEM, or the key is not its key") from None


def ci_context(ci_certificates: Iterable[bytes], certificate: Path, key: Path) -> ssl.SSLContext:
    """A client's context towards servers certified by a CI alone: trusts these (DER), shows `certificate`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for ci in ci_certificates:
        context.load_verify_locations(cadata=ci)
    context.load_cert_chain(certificate, key)
    return context
