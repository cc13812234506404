"""The transport, where a reactor and the sockets of the system meet."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol

from twisted_index._twisted.server import internal_readers, poller
from twisted_index.tls.transport import TLSServer, TLSSocket


class Noting(Protocol):
    """Notes that its connection is lost."""

    factory: Any

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.lost.append(reason)


@pytest.fixture
def reactor() -> Iterator[Any]:
    from twisted.internet.epollreactor import EPollReactor

    made: Any = EPollReactor()
    yield made
    for reader in list(internal_readers(made)):
        made.removeReader(reader)
        reader.connectionLost(None)
    poller(made).close()


@pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux'")
def test_a_connection_that_was_reset_before_its_handshake_leaves_nothing_behind(reactor: Any):
    """The reactor would be deaf to the next connection that gets the number of its descriptor."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslsocket_class = TLSSocket
    factory = Factory.forProtocol(Noting)
    factory.lost = []
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    port.transport = partial(TLSServer, lambda: context, False)
    with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
        client.sendall(b"\x16\x03\x01")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for _ in range(3):
        reactor.iterate(0.05)
    assert len(factory.lost) == 1
    assert set(reactor.getReaders()) - internal_readers(reactor) == {port}
    port.stopListening()
    reactor.iterate(0)
