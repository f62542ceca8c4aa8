"""Who is at the other end of a mutual-TLS connection (SGP.22 2.6: ES2+, ES12)."""

from __future__ import annotations

import hashlib
import ssl

from aiohttp import web


def client_fingerprint(request: web.Request) -> bytes | None:
    """SHA-256 of the verified client certificate (DER); None on a connection without one."""
    transport = request.transport
    connection = transport.get_extra_info("ssl_object") if transport is not None else None
    if not isinstance(connection, ssl.SSLObject | ssl.SSLSocket):
        return None
    certificate = connection.getpeercert(binary_form=True)
    return hashlib.sha256(certificate).digest() if certificate else None
