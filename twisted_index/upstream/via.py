"""
Which servers of this kind a request has come through, so that what is asked for its sake says so too.

A server that is its own upstream is known by its own name. But of two that are each
other's, the first waits for the second, which waits for the first: only the whole way shows it.
"""

from __future__ import annotations

import re
from contextvars import ContextVar

#: What is passed on: names of servers like this one. Who else is on the way is nobody's business.
_OURS = re.compile(rb"\b1\.[01] twisted-index-[0-9a-f]{16}\b")
_MOST = 32

_came_through: ContextVar[tuple[bytes, ...]] = ContextVar("came_through", default=())


def note_way(via: bytes) -> None:
    """Note the field Via (RFC 9110 section 7.6.3) of the request that is being answered."""
    _came_through.set(tuple(_OURS.findall(via)[-_MOST:]))


def with_way(own: bytes) -> bytes:
    """Put before this server those that the request has come through for which it asks, if any."""
    return b", ".join((*_came_through.get(), own))
