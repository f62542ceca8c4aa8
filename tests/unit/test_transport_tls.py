"""TLS contexts of listeners: a client that comes again resumes its session."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from lpa_pki import Pki, make_pki

from transport.tls import server_context

NAME = "smdp.example.com"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"), NAME)


def _connected(server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLObject:
    """The client's side of a connection on which one byte has come from the server."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=NAME, session=session)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for end in (asking, answering):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    answering.write(b"x")
    assert asking.read(1) == b"x"
    return asking


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_that_comes_again_resumes(pki: Pki, version: ssl.TLSVersion) -> None:
    server = server_context(Path(pki.folder, "server.pem"), Path(pki.folder, "server.key"))
    client = pki.client()
    client.maximum_version = version
    first = _connected(server, client, None)
    assert not first.session_reused
    assert _connected(server, client, first.session).session_reused
