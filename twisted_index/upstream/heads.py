"""The heads of answers, in bounds: connections that give up an upstream whose head does not end."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure
from twisted.web._newclient import HEADER, STATUS, HTTP11ClientProtocol
from twisted.web.client import HTTPConnectionPool, _HTTP11ClientFactory

#: Bytes of the head of an answer, with all informational ones before it: what curl takes at most.
#: Twisted bounds one line (16 KB), but not how many there are.
MAX_HEAD = 300 * 1024

#: Twisted has a line in the log for each informational answer: one flood of them had megabytes.
_SILENT = Logger(namespace=__name__, observer=LogPublisher())


class EndlessHead(Exception):
    """The head of an answer is longer than any that is meant."""


class BoundedProtocol(HTTP11ClientProtocol):
    """A connection to an upstream."""

    _head_left = MAX_HEAD

    def request(self, request: Any) -> Any:
        """Ask, and begin to count anew."""
        self._head_left = MAX_HEAD
        asking = super().request(request)
        if self._parser is not None:
            self._parser._log = _SILENT
        return asking

    def dataReceived(self, data: bytes) -> None:
        """Read on, unless there has been too much. What comes with the begin of a body is not counted."""
        super().dataReceived(data)  # type: ignore[no-untyped-call]
        parser = self._parser
        if parser is not None and parser.state in (STATUS, HEADER):
            self._head_left -= len(data)
            if self._head_left < 0:
                self._giveUp(Failure(EndlessHead()))  # type: ignore[no-untyped-call]


class _BoundedFactory(_HTTP11ClientFactory):
    #: One line in the log for each connection says nothing to anybody.
    noisy = False

    def buildProtocol(self, addr: object) -> BoundedProtocol:
        return BoundedProtocol(self._quiescentCallback)  # type: ignore[no-untyped-call]


def bounded_pool(reactor: Any) -> HTTPConnectionPool:
    """Make a pool of such connections."""
    pool = HTTPConnectionPool(reactor)
    pool._factory = _BoundedFactory
    return pool
