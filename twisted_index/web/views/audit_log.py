"""The view of the audit log: `/-/history`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import Forbidden
from twisted_index.http_semantics.negotiation import TableFormat, table_format
from twisted_index.interfaces import ANONYMOUS, Action, AuditAction, AuditPage
from twisted_index.web.responses.response import NO_CACHE, NO_SCRIPTS, NOSNIFF, Response
from twisted_index.web.views.audit_csv import CSV_STEP, write_csv
from twisted_index.web.views.audit_page import write_history_json, write_history_page
from twisted_index.web.views.audit_query import parse_audit_query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from twisted_index.interfaces import AuditEvent, AuditQuery, IAuditLog
    from twisted_index.web.requests.authorization import Authorizer
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
    " and this server has no users. Create a token by twisted-index token create NAME --operate, or grant"
    " operate to everyone in a file of rights; then restart the server."
)
_NO_LOG = "This server keeps no history."


class AuditLogView:
    """
    Shows events.

    Args:
        audit_log: Has the events; None if none are kept.
        authorizer: Says whether everyone may operate.
    """

    def __init__(self, audit_log: IAuditLog | None, authorizer: Authorizer) -> None:
        self._audit_log = audit_log
        self._authorizer = authorizer

    async def show(self, context: RequestContext) -> Response:
        """Respond with a page of events, or with all of them as CSV."""
        wanted = parse_audit_query(context.request.uri.partition(b"?")[2])
        query, note = wanted.query, "" if self._audit_log is not None else _NO_LOG
        # Where there are users, the dispatcher has required the right.
        redacted = not context.private and not self._authorizer.permits(ANONYMOUS, Action.OPERATE)
        if redacted:
            query, note = _redacted_query(query), note or _REDACTED
        form = table_format(context.accept)
        if form is TableFormat.CSV and not wanted.is_limited:
            query = replace(query, limit=CSV_STEP)
        # Also before CSV begins, so that what cannot be read gets an error and not half a table.
        page = await self._search(query, redacted=redacted)
        headers = ((b"Content-Type", form.content_type), (b"Vary", b"Accept"), *NO_CACHE, *NOSNIFF)
        if form is TableFormat.CSV:
            named = (b"Content-Disposition", b'attachment; filename="history.csv"')
            pieces = self._csv(query, page, all_pages=not wanted.is_limited, redacted=redacted)
            return Response(headers=(*headers, named), body=pieces)
        next_url = wanted.url_from(page.next) if page.next else None
        if form is TableFormat.HTML:
            body = write_history_page(page.events, next_url=next_url, values=wanted.values, note=note)
            return Response(headers=(*headers, *NO_SCRIPTS), body=body)
        return Response(headers=headers, body=write_history_json(page.events, next_url=next_url, note=note))

    async def _search(self, query: AuditQuery, *, redacted: bool) -> AuditPage:
        if self._audit_log is None:
            return AuditPage(events=())
        page = await result_of(self._audit_log.search, query)
        return replace(page, events=tuple(map(_redact, page.events))) if redacted else page

    async def _csv(
        self, query: AuditQuery, page: AuditPage, *, all_pages: bool, redacted: bool
    ) -> AsyncIterator[bytes]:
        """Write a page, and those after it, one at a time."""
        yield write_csv(page.events, head=True)
        while page.next and all_pages:
            page = await self._search(replace(query, before=page.next), redacted=redacted)
            yield write_csv(page.events)


def _redacted_query(query: AuditQuery) -> AuditQuery:
    if query.by or not query.actions <= _OPEN_ACTIONS:
        raise Forbidden(_REDACTED)
    return replace(query, actions=query.actions or _OPEN_ACTIONS)


def _redact(event: AuditEvent) -> AuditEvent:
    return replace(event, by="", address="", client="")
