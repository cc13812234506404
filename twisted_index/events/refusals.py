"""
Records refusals: the first of each kind at once, then once an hour how many more there were.

Who guesses passwords for days must neither fill the disk nor cost a write for each guess. A kind is what was
refused to whom, from which network. Where there are too many kinds, those of one network count as one, then
all: an hour has at most two events for each of `MAX_KINDS`. A crash loses the counts of its hour.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import SimpleIndexError
from twisted_index.http_semantics.client_network import client_network
from twisted_index.interfaces import AuditAction, AuditEvent
from twisted_index.simple.formatting import format_upload_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from twisted_index.events.origin import EventOrigin
    from twisted_index.interfaces import IAuditLog

_log = Logger()

#: Seconds.
INTERVAL = 3600.0
#: Kinds that are told apart within the interval: from everywhere, and from one network.
MAX_KINDS, MAX_PER_NETWORK = 256, 16
#: Characters of a message that are kept.
_MAX_DETAIL = 500

_Kind: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """
    Something that was refused.

    Attributes:
        origin: The client.
        kind: What is counted together, besides who was refused what: a status, a user.
        by: The user or token that was refused; `anyone` for a failed login.
        message: What the client was told; no secret.
        project: Normalized; empty if the request as a whole was refused.
        filename: Of an upload, if it is known.
        index: The name of the index.
    """

    origin: EventOrigin
    kind: str
    by: str
    message: str
    project: str = ""
    filename: str = ""
    index: str = ""


@dataclass(slots=True)
class _Repeated:
    """
    A kind of refusal.

    Attributes:
        first: When the first was recorded.
        last: The latest.
        count: How many there were since the first.
    """

    first: datetime
    last: AuditEvent
    count: int = 0


class Refusals:
    """
    Refusals on their way to the audit log.

    Args:
        audit_log: Records them.
        clock: The reactor. It is used only for an hour after a refusal.
        now: Returns the current time, aware, in UTC.
    """

    def __init__(
        self,
        audit_log: IAuditLog,
        clock: IReactorTime,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._audit_log = audit_log
        self._clock = clock
        self._now = now
        self._kinds: dict[_Kind, _Repeated] = {}
        self._per_network: Counter[str] = Counter()
        self._timer: IDelayedCall | None = None
        # So that a count comes after the first.
        self._writing = DeferredLock()

    def add(self, refusal: Refusal) -> None:
        """Record a refusal, or count it."""
        event = refusal.origin.stamp(
            AuditEvent(
                time=self._now(),
                by=refusal.by,
                action=AuditAction.REFUSE,
                project=refusal.project,
                filename=refusal.filename,
                detail=refusal.message[:_MAX_DETAIL],
                index=refusal.index,
            )
        )
        network = client_network(event.address)
        kind = self._kind(network, (network, refusal.kind, event.by, event.project, event.index))
        repeated = self._kinds.get(kind)
        if repeated is not None:
            repeated.last, repeated.count = event, repeated.count + 1
            return
        self._kinds[kind] = _Repeated(event.time, event)
        self._per_network[network] += 1
        if self._timer is None:
            self._timer = self._clock.callLater(INTERVAL, self._expire)
        Deferred.fromCoroutine(self._record(event)).addErrback(_log_failure)

    async def flush(self) -> None:
        """Record the counts, and begin again; called when the server stops."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        kinds, self._kinds = self._kinds, {}
        self._per_network.clear()
        for kind, repeated in kinds.items():
            if repeated.count:
                await self._record(replace(_summary(kind, repeated), time=self._now()))
        await self._writing.run(lambda: None)

    def _kind(self, network: str, kind: _Kind) -> _Kind:
        """Return what a refusal counts as: its kind, or its network, or all, whatever there is room for."""
        if kind in self._kinds:
            return kind
        if len(self._kinds) < MAX_KINDS and self._per_network[network] < MAX_PER_NETWORK:
            return kind
        return (network,) if (network,) in self._kinds or len(self._kinds) < MAX_KINDS else ()

    def _expire(self) -> None:
        Deferred.fromCoroutine(self.flush()).addErrback(_log_failure)

    async def _record(self, event: AuditEvent) -> None:
        # The audit log has logged its error, and the client has its answer.
        with contextlib.suppress(SimpleIndexError):
            await self._writing.run(result_of, self._audit_log.record, event)


def _summary(kind: _Kind, repeated: _Repeated) -> AuditEvent:
    since = format_upload_time(repeated.first)
    if len(kind) > 1:
        detail = f"{repeated.count} more since {since}, the last: {repeated.last.detail}"
        return replace(repeated.last, detail=detail)
    where = "from this network" if kind else "from all networks"
    detail = f"{repeated.count} more of several kinds {where} since {since}"
    last = replace(repeated.last, by="", project="", filename="", client="", index="", detail=detail)
    return last if kind else replace(last, address="")


def _log_failure(failure: Failure) -> None:
    _log.failure("A refusal could not be recorded", failure=failure)
