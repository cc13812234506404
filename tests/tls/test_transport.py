"""TLS on the socket itself, with clients that do not keep to the protocol."""

from __future__ import annotations

import socket
import ssl
import struct

import pytest
import trustme

from twisted_index.tls.transport import TLSSocket


@pytest.fixture
def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.sslsocket_class = TLSSocket
    trustme.CA().issue_cert("127.0.0.1").configure_cert(made)
    return made


def test_client_that_resets_before_the_handshake_leaves_the_descriptor_open(context: ssl.SSLContext) -> None:
    """The reactor polls the descriptor, and can only remove it while it is open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted = listener.accept()[0]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    accepted.setblocking(False)
    number = accepted.fileno()
    with context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False) as secured:
        with pytest.raises(OSError, match="reset"):
            secured.do_handshake()
        assert secured.fileno() == number
