"""A TLS handshake without a network."""

from __future__ import annotations

import ssl


def shake_hands(context: ssl.SSLContext, client_context: ssl.SSLContext, name: str) -> None:
    """
    Shake hands in memory.

    Args:
        context: Of the server.
        client_context: Of the client.
        name: The host name or address that the client expects.

    Raises:
        ssl.SSLError: One side refuses the other.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    done: set[ssl.SSLObject] = set()
    for _ in range(6):
        for side in (client, server):
            if side not in done:
                try:
                    side.do_handshake()
                    done.add(side)
                except ssl.SSLWantReadError:
                    pass
    assert len(done) == 2
