"""Servers that are each other's upstream: told quickly, and without a storm of requests."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kit.ports import free_ports
from twisted_index.config.settings import Settings, UpstreamSettings
from twisted_index.service import SimpleIndexService
from twisted_index.testing.reactor_thread import BackgroundReactor

SECONDS = 30.0


@pytest.fixture(params=[2, 3])
def ring(request, tmp_path: Path) -> Iterator[list[int]]:
    """The ports of servers each of which asks the next, and the last the first."""
    ports = free_ports(request.param)
    background = BackgroundReactor()
    services = [
        SimpleIndexService(
            Settings(
                paths=(str(tmp_path),),
                listen=(f"tcp:{port}:interface=127.0.0.1",),
                upstreams=UpstreamSettings(urls=(f"http://127.0.0.1:{following}/simple/",)),
            ),
            reactor=background.reactor,
        )
        for port, following in zip(ports, [*ports[1:], ports[0]], strict=True)
    ]
    for service in services:
        background.call(service.startService, SECONDS)
    yield ports
    for service in services:
        background.call(service.stopService, SECONDS)
    background.stop(SECONDS)


def ask(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_ring_of_servers_says_that_it_is_one(ring: list[int]):
    for port in ring:
        assert ask(port, f"/simple/nothing-{port}/") == (
            508,
            "The request looped back to a server on its way upstream.\n",
        )


def test_many_clients_of_a_ring_cause_no_storm(ring: list[int]):
    paths = [f"/simple/name-{number}/" for number in range(20)]
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda path: ask(ring[0], path)[0], paths))
    assert answers == [508] * 20
