"""The view of the audit log: `/-/history`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.task import Clock

from twisted_index.concurrency.fair_queue import FairQueue, QueueKey
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import Forbidden
from twisted_index.http_semantics.client_network import client_network
from twisted_index.http_semantics.negotiation import TableFormat, table_format
from twisted_index.interfaces import ANONYMOUS, Action, AuditAction, AuditPage
from twisted_index.web.pages.history import OPERATOR_COMMAND, write_history_json, write_history_page
from twisted_index.web.requests.context import while_connected
from twisted_index.web.responses.response import NO_CACHE, NOSNIFF, PAGE, Response
from twisted_index.web.views.audit_csv import CSV_STEP, write_csv
from twisted_index.web.views.audit_query import parse_audit_query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from twisted_index.interfaces import AuditEvent, AuditQuery, IAuditLog
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.client_info import ClientInfoReader
    from twisted_index.web.requests.context import RequestContext

#: What can be seen in the pages of an open index anyway.
_OPEN_ACTIONS = frozenset(
    {
        AuditAction.UPLOAD,
        AuditAction.OVERWRITE,
        AuditAction.DELETE,
        AuditAction.YANK,
        AuditAction.UNYANK,
        AuditAction.STATUS,
    }
)
_REDACTED = (
    "Names, addresses, refusals, tokens and reloads are left out: they are shown to those who may operate,"
    f" and this server has no users. Create a token by {OPERATOR_COMMAND}, or grant operate to everyone in"
    " a file of rights; then restart the server."
)
_NO_LOG = "This server keeps no history."


class AuditLogView:
    """
    Shows events.

    Args:
        audit_log: Has the events; None if none are kept.
        authorizer: Says whether everyone may operate.
        client_info: Reads the address of a client: searches for one network do not hold up the others'.
        indexes: The names of the index whose events are shown; empty for those of all.
    """

    def __init__(
        self,
        audit_log: IAuditLog | None,
        authorizer: Authorizer,
        client_info: ClientInfoReader,
        *,
        indexes: frozenset[str] = frozenset(),
    ) -> None:
        self._audit_log = audit_log
        self._indexes = indexes
        self._authorizer = authorizer
        self._client_info = client_info
        # One search at a time, so that searches leave the other threads to all else. The clock stands
        # still, as it is for pauses, which no search has.
        self._turns = FairQueue(Clock(), limit=1)

    async def show(self, context: RequestContext) -> Response:
        """Respond with a page of events, or with all of them as CSV."""
        wanted = parse_audit_query(context.request.uri.partition(b"?")[2])
        query = replace(wanted.query, indexes=self._indexes)
        note = "" if self._audit_log is not None else _NO_LOG
        # Where there are users, the dispatcher has required the right.
        redacted = not context.private and not self._authorizer.permits(ANONYMOUS, Action.OPERATE)
        if redacted:
            query, note = _redacted_query(query), note or _REDACTED
        form = table_format(context.accept)
        if form is TableFormat.CSV and not wanted.is_limited:
            query = replace(query, limit=CSV_STEP)
        # Also before CSV begins, so that what cannot be read gets an error and not half a table.
        lane = QueueKey(client_network(self._client_info.read(context.request).address).encode())
        search = partial(self._search, lane, redacted=redacted)
        page = await while_connected(context.request, search(query))
        headers = ((b"Content-Type", form.content_type), (b"Vary", b"Accept"), *NO_CACHE, *NOSNIFF)
        if form is TableFormat.CSV:
            named = (b"Content-Disposition", b'attachment; filename="history.csv"')
            pieces = self._csv(query, page, None if wanted.is_limited else search)
            return Response(headers=(*headers, named), body=pieces)
        next_url = wanted.url_from(page.next) if page.next else None
        if form is TableFormat.HTML:
            body = write_history_page(
                page.events, context.frame, next_url=next_url, values=wanted.values, note=note
            )
            return Response(headers=(*headers, *PAGE), body=body)
        return Response(headers=headers, body=write_history_json(page.events, next_url=next_url, note=note))

    async def _search(self, lane: QueueKey, query: AuditQuery, *, redacted: bool) -> AuditPage:
        if self._audit_log is None:
            return AuditPage(events=())
        page = await self._turns.run(lambda: lane, partial(result_of, self._audit_log.search, query))
        return replace(page, events=tuple(map(_redact, page.events))) if redacted else page

    async def _csv(
        self, query: AuditQuery, page: AuditPage, search: Callable[[AuditQuery], Awaitable[AuditPage]] | None
    ) -> AsyncIterator[bytes]:
        """Write a page, and those after it that a search finds, one at a time."""
        yield write_csv(page.events, head=True)
        while page.next and search is not None:
            page = await search(replace(query, before=page.next))
            yield write_csv(page.events)


def _redacted_query(query: AuditQuery) -> AuditQuery:
    if query.by or not query.actions <= _OPEN_ACTIONS:
        raise Forbidden(_REDACTED)
    return replace(query, actions=query.actions or _OPEN_ACTIONS)


def _redact(event: AuditEvent) -> AuditEvent:
    return replace(event, by="", address="", client="")
