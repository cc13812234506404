"""
The Via field: passes the path of a request on to the upstream requests that it causes.

A server that is its own upstream finds its own pseudonym in Via. Two servers that are each other's
upstream would wait for each other; only the whole path shows such a loop.
"""

from __future__ import annotations

import re
from contextvars import ContextVar

#: Only pseudonyms of twisted-index servers are forwarded; other intermediaries are not disclosed.
_PSEUDONYMS = re.compile(rb"\b1\.[01] twisted-index-[0-9a-f]{16}\b")
_MAX_SERVERS = 32

_passed: ContextVar[tuple[bytes, ...]] = ContextVar("came_through", default=())


def remember_via(via: bytes) -> None:
    """Store the Via field (RFC 9110 section 7.6.3) of the current request."""
    _passed.set(tuple(_PSEUDONYMS.findall(via)[-_MAX_SERVERS:]))


def append_via(own: bytes) -> bytes:
    """Prefix this server's pseudonym with the servers that the current request has passed, if any."""
    return b", ".join((*_passed.get(), own))
