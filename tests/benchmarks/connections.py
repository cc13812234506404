"""
Asks on a new connection each time: what a connection over TLS costs, with and without a session to resume.

Not for: load over kept-alive connections (`load`).
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.benchmarks.load import Client, WrongAnswer, trusting
from tests.benchmarks.processes import on

if TYPE_CHECKING:
    import ssl

    from tests.benchmarks.load import Ask
    from tests.benchmarks.processes import Process

_AT_ONCE = 8


class Connections:
    """
    Eight clients at a time that connect, shake hands, ask once, read the answer and close.

    A client asks as installers do, without `Connection: close`; it is the client that closes.

    Args:
        ask: Over TLS.
        process: Of the server.
        cores: Where the clients run.
        version: Of TLS, the only one that is offered; None offers 1.2 and 1.3.
        resume: Whether a client offers the session of its connection before.
    """

    def __init__(
        self,
        ask: Ask,
        process: Process,
        cores: frozenset[int],
        *,
        version: ssl.TLSVersion | None = None,
        resume: bool = False,
    ) -> None:
        self._ask = ask
        self._process = process
        self._cores = cores
        self._resume = resume
        self._tls = trusting(ask.authority, version)
        self._sessions: list[ssl.SSLSession | None] = [None] * _AT_ONCE

    def run(self, seconds: float) -> dict[str, float]:
        """
        Load a server.

        Returns:
            `cpu_connection`: microseconds of the server's CPU per connection; `resumed`: the part of the
            connections that resumed a session.
        """
        before, until = self._process.cpu_seconds(), time.monotonic() + seconds
        with on(self._cores), ThreadPoolExecutor(_AT_ONCE) as pool:
            resumed = [
                one for found in pool.map(self._visit, range(_AT_ONCE), [until] * _AT_ONCE) for one in found
            ]
        taken = self._process.cpu_seconds() - before
        return {"cpu_connection": taken / len(resumed) * 1e6, "resumed": sum(resumed) / len(resumed)}

    def _visit(self, number: int, until: float) -> list[bool]:
        resumed: list[bool] = []
        while not resumed or time.monotonic() < until:
            with Client(self._ask.port, tls=self._tls, session=self._sessions[number]) as client:
                answer = client.get(self._ask.path, self._ask.fields)
                resumed.append(bool(client.tls.session_reused))
                if self._resume:
                    # TLS 1.3 sends sessions after the handshake, each for one use (RFC 8446 section 4.6.1).
                    self._sessions[number] = client.tls.session
            if answer.status != self._ask.status:
                raise WrongAnswer(f"{self._ask.path}: {answer.status}")
        return resumed
