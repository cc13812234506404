"""
Where a change comes from: the client of the current request, for the audit log.

It follows the work of a request as `http_semantics.via` does, so that stores need not pass it on.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted_index.interfaces import AuditEvent

#: Characters of a User-Agent that are kept; pip's has some 400, of which the start says what it is.
MAX_CLIENT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOrigin:
    """
    A client; see `AuditEvent`.

    Attributes:
        address: Its IP address; empty if it has none.
        client: The start of its User-Agent field.
    """

    address: str = ""
    client: str = ""

    @classmethod
    def of(cls, address: str, user_agent: bytes | None) -> EventOrigin:
        """Shorten and decode the User-Agent field."""
        return cls(address=address, client=(user_agent or b"")[:MAX_CLIENT].decode("utf-8", "replace"))

    def stamp(self, event: AuditEvent) -> AuditEvent:
        """Return an event as one that comes from here."""
        return replace(event, address=self.address, client=self.client)


_current: ContextVar[EventOrigin] = ContextVar("origin", default=EventOrigin())  # noqa: B039 (it is frozen)


def remember_origin(origin: EventOrigin) -> None:
    """Store the client of the current request."""
    _current.set(origin)


def stamp_origin(event: AuditEvent) -> AuditEvent:
    """Return an event as one that comes from the client of the current request, if there is one."""
    return _current.get().stamp(event)
