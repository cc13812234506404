"""A server that everyone may read, and its first token."""

import http.client
import time

from tests.kit.rights import basic
from twisted_index.access.tokens import TokenStore
from twisted_index.config.settings import Settings
from twisted_index.interfaces import Action
from twisted_index.service import SimpleIndexService
from twisted_index.testing.reactor_thread import BackgroundReactor


def _status(port: int, token: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/-/changes", headers={"Authorization": basic("__token__", token)})
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_first_token_counts_without_a_restart(tmp_path):
    (tmp_path / "packages").mkdir()
    settings = Settings(
        paths=(str(tmp_path / "packages"),),
        state=str(tmp_path / "state"),
        listen=("tcp:0:interface=127.0.0.1",),
    )
    background = BackgroundReactor()
    service = SimpleIndexService(settings, reactor=background.reactor)
    background.call(service.startService, 20)
    try:
        (address,) = service.addresses
        assert _status(address.port, "none") == 403
        _token, secret = TokenStore(settings.state).create("replica", {Action.FOLLOW: ("*",)})
        until = time.monotonic() + 20
        while (status := _status(address.port, secret)) != 200 and time.monotonic() < until:
            pass
        assert status == 200
    finally:
        background.call(service.stopService, 20)
        background.stop(20)
