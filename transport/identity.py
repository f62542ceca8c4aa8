"""Who is at the other end of a mutual-TLS connection (SGP.22 2.6: ES2+, ES12)."""

from __future__ import annotations

import hashlib
import ssl

from transport.reading import Request


def client_fingerprint(request: Request) -> bytes | None:
    """SHA-256 of the verified client certificate (DER); None on a connection without one."""
    connection = request.transport.get_extra_info("ssl_object")
    if not isinstance(connection, ssl.SSLObject | ssl.SSLSocket):
        return None
    certificate = connection.getpeercert(binary_form=True)
    return hashlib.sha256(certificate).digest() if certificate else None
