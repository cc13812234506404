"""
Names of ours for what Twisted keeps private in its HTTP client.

Apart from `server`, since to import it takes a tenth of a second that a server without upstream saves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.web._newclient import HEADER, STATUS, HTTP11ClientProtocol
from twisted.web.client import HTTPConnectionPool, _HTTP11ClientFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.logger import Logger

TwistedClientFactory = _HTTP11ClientFactory


class TwistedClientProtocol(HTTP11ClientProtocol):
    """An `HTTP11ClientProtocol` whose private state has names."""

    @property
    def parser(self) -> Any:
        """The parser of the response that is awaited or read; None between requests."""
        return self._parser

    @property
    def reads_head(self) -> bool:
        """Whether a response is awaited whose head has not ended."""
        parser: Any = self._parser
        return parser is not None and parser.state in (STATUS, HEADER)

    def end_request_early(self) -> None:
        """
        Send no more of a request, if a part of it is still to be sent: its response is here.

        Twisted would wait for the end of the request before it passes on such a response, unless all of that
        came in one piece. The connection cannot be used again.
        """
        if self._state == "TRANSMITTING":
            request, responding, finished = (
                self._currentRequest,
                self._responseDeferred,
                self._finishedRequest,
            )
            assert request is not None
            assert responding is not None
            assert finished is not None
            request.persistent = False
            request.stopWriting()
            transport: Any = self.transport
            transport.unregisterProducer()
            self._state = "WAITING"
            responding.chainDeferred(finished)

    @property
    def is_lost(self) -> bool:
        """Whether the connection is gone."""
        return self._state == "CONNECTION_LOST"

    def log_parser_to(self, logger: Logger) -> None:
        """Let the parser of the response log to another logger."""
        parser: Any = self._parser
        parser._log = logger


class TwistedConnectionPool(HTTPConnectionPool):
    """An `HTTPConnectionPool` whose idle connections can be looked at and dropped."""

    def set_factory(self, factory: Callable[[Callable[[Any], None], str], Any]) -> None:
        """Make connections by another factory, called as `_HTTP11ClientFactory` is."""
        self._factory = factory  # type: ignore[assignment]

    def idle_connections(self, key: Any) -> list[Any]:
        """Return the connections to a server that are kept open, the oldest first."""
        return list(self._connections.get(key, ()))

    def drop_idle(self, key: Any, connection: Any) -> None:
        """Close a connection that is kept open."""
        self._timeouts[connection].cancel()
        self._removeConnection(key, connection)  # type: ignore[no-untyped-call]


def producer_behind(transport: object) -> Any:
    """Return the transport behind the proxy that a response's body gets as its own; None without one."""
    return getattr(transport, "_producer", None)
