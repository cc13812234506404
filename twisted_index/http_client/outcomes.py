"""Counts what became of the requests to one server."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus

from twisted_index.http_client.retry import BUSY_STATUSES

#: Statuses that are counted each on its own: a server may invent hundreds.
_STATUSES = frozenset(map(int, HTTPStatus)) | BUSY_STATUSES

#: Reasons of requests without a whole response, in the order of a request.
REASONS = ("name", "connection", "tls", "proxy", "timeout", "forbidden", "invalid", "body")


class Outcomes:
    """
    Counts since the start; each try of a request counts.

    Attributes:
        responses: Heads of responses by status; `other` for a status of no specification.
        failures: Requests without a response, and responses without a whole body, by reason:

            - name: the host name cannot be resolved.
            - connection: no connection, or one that was closed before the response.
            - tls: certificates, or the handshake.
            - proxy: refused by the proxy on the way.
            - timeout: no connection, or no head of a response, in time.
            - forbidden: a redirect or link to an address that may not be connected to.
            - invalid: a response that is not HTTP.
            - body: a body that broke off or stalled.
    """

    def __init__(self) -> None:
        self.responses: Counter[str] = Counter()
        self.failures: Counter[str] = Counter(dict.fromkeys(REASONS, 0))

    def responded(self, status: int) -> None:
        """Count the head of a response."""
        self.responses[str(status) if status in _STATUSES else "other"] += 1

    def failed(self, reason: str) -> None:
        """Count a failure; see `failures`."""
        self.failures[reason] += 1
