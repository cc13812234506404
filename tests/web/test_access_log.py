"""No client can write a line of its own, or keep others' lines out."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from twisted_index.testing import IndexInMemory, MemorySource
from twisted_index.web.server.access_log import AccessLog, quote_client, quote_request


@pytest.fixture
def log(tmp_path: Path) -> AccessLog:
    log = AccessLog(str(tmp_path / "access.log"), Clock())
    log.open()
    return log


@pytest.mark.parametrize("host", ["1.1.1.1\n6.6.6.6", "\x1b[31m", "\u00e9", "a b", ""])
def test_an_address_that_is_none_is_a_hyphen(log: AccessLog, tmp_path: Path, host: str):
    log.write_entry(
        IPv4Address("TCP", host, 1),
        quote_request(b"GET", b"/", b"HTTP/1.1"),
        200,
        5,
        quote_client(None, b'a"\x1b\xe9'),
        began=0.0,
    )
    log.close()
    text = (tmp_path / "access.log").read_text(encoding="ascii")
    assert text.startswith("- - - [")
    assert text.count("\n") == 1
    assert text[:-1].isprintable()


@pytest.mark.parametrize("host", ["h:65536", "h:99999", "[::1]:70000"])
def test_a_port_that_is_none_is_not_repeated(host: str):
    reply = IndexInMemory(MemorySource()).get("/", headers={"Host": host})
    assert reply.status == 200
    assert host.encode() not in reply.body


@pytest.mark.parametrize("fast_path", [True, False])
def test_behind_a_trusted_proxy_the_client_is_logged_and_not_the_proxy(server_factory, tmp_path, fast_path):
    config = tmp_path / "settings.toml"
    config.write_text(f"fast-path = {str(fast_path).lower()}\n")
    log = tmp_path / "access.log"
    packages = tmp_path / "packages"
    packages.mkdir()
    options = ["--access-log", str(log), "--trusted-proxy", "127.0.0.1", "--config", str(config)]
    server = server_factory(packages, options=options)
    for _ in range(3):
        server.get("/simple/absent/", headers={"X-Forwarded-For": "203.0.113.7"})
    server.stop()
    lines = [line for line in log.read_text().splitlines() if "/simple/absent/" in line]
    assert [line.split(" ", 1)[0] for line in lines] == ["203.0.113.7"] * 3
