"""
Views for mirrors: what has changed, and all that a project consists of.

Both need the right to follow, and show only projects that the client may read.
"""

from __future__ import annotations

import gzip
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from twisted_index.errors import BadRequest, Gone, NotFound, Unavailable
from twisted_index.http_semantics.negotiation import accepts_gzip
from twisted_index.interfaces import Action
from twisted_index.simple.manifest import format_line
from twisted_index.web.requests.context import (
    TEXT,
    may_have_left,
    when_it_may_have_left,
    while_connected,
)
from twisted_index.web.responses.response import NO_CACHE, Response
from twisted_index.web.responses.response_cache import strong_etag
from twisted_index.web.responses.send import header

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.web.server import Request

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.events.serials import Change, ChangeList
    from twisted_index.indexes.change_feed import ChangeFeed
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext

T = TypeVar("T")

#: Clients that may wait at the same time: each costs a connection and some memory, and no thread.
MAX_WAITING = 100
#: Seconds that a client may wait; proxies give up after 60.
_MAX_WAIT = 60
#: Texts of more bytes are compressed, and of more lines are written in a thread.
_SMALL, _MANY = 1000, 500
_LEVEL = 6


class ChangesViews:
    """
    Serves the changes of an index and the trees of its projects.

    Args:
        feed: The changes; None if the source counts none.
        authorizer: Checks which projects a client may read.
        worker: Threads that write large texts; without it the reactor thread writes them.
    """

    def __init__(self, feed: ChangeFeed | None, authorizer: Authorizer, worker: IThreadRunner | None) -> None:
        self._feed = feed
        self._authorizer = authorizer
        self._worker = worker

    async def changes(self, context: RequestContext) -> Response:
        """Respond with the last changes of projects, those after a serial if one is given."""
        request, feed = context.request, self._checked_feed()
        since, wait = _number(request, b"since"), min(_number(request, b"wait") or 0, _MAX_WAIT)
        instance = _argument(request, b"instance")
        until = feed.seconds() + wait
        is_known = not since
        while True:
            listed = (await feed.changes()).value
            found = await self._visible(context, listed, since or 0)
            is_known = is_known or bool(found) or (since or 0) <= await self._highest(context, listed)
            if not is_known or instance not in (None, listed.instance):
                raise Gone("The serials have begun anew here; compare all projects with the whole list.")
            seconds = until - feed.seconds()
            if found or since is None or not wait:
                return await self._text(request, partial(_write, listed, found, since or 0), len(found))
            if seconds <= 0 or feed.stopped or may_have_left(request):
                return Response(status=304, headers=NO_CACHE)
            if feed.waiting >= MAX_WAITING:
                raise Unavailable("Too many clients wait for changes; ask without waiting.", retry_after=30)
            await while_connected(request, _wait(request, feed, seconds))

    async def _visible(
        self, context: RequestContext, listed: ChangeList, since: int
    ) -> Sequence[tuple[str, Change]]:
        """Return the changes after a serial of the projects that the client may read, by name."""
        may, identity = self._authorizer.permits, context.identity
        changed = await self._run(
            lambda: sorted(row for row in listed.changes.items() if row[1].serial > since),
            len(listed.changes),
        )
        if self._authorizer.public_read:
            return changed
        return [row for row in changed if may(identity, Action.READ, row[0])]

    async def _highest(self, context: RequestContext, listed: ChangeList) -> int:
        """
        Return the highest serial that the client may know of.

        By 410 for what is above that of all projects, it could tell when closed ones change.
        """
        if self._authorizer.public_read:
            return listed.highest
        may, identity = self._authorizer.permits, context.identity
        newest = await self._run(
            lambda: sorted(listed.changes.items(), key=lambda row: row[1].serial, reverse=True),
            len(listed.changes),
        )
        readable = (row for row in newest if may(identity, Action.READ, row[0]))
        return next((change.serial for _project, change in readable), 0)

    async def tree(self, context: RequestContext) -> Response:
        """Respond with the files, sidecars, statuses and tombstones of a project."""
        feed, project = self._checked_feed(), context.route.project
        if not self._authorizer.permits(context.identity, Action.READ, project):
            self._authorizer.refuse(context.identity, Action.READ, project)
        lines = await feed.tree(project)
        if lines is None:
            raise NotFound(f"There is no project {project} here.")
        return await self._text(context.request, lambda: b"".join(map(format_line, lines)), len(lines))

    def _checked_feed(self) -> ChangeFeed:
        if self._feed is None:
            raise NotFound("This index does not count its changes.")
        return self._feed

    async def _text(self, request: Request, write: Callable[[], bytes], size: int) -> Response:
        packs = accepts_gzip(header(request, b"Accept-Encoding"))

        def finish() -> Response:
            body = write()
            packed = packs and len(body) > _SMALL
            body = gzip.compress(body, _LEVEL, mtime=0) if packed else body
            coding = ((b"Content-Encoding", b"gzip"),) if packed else ()
            headers = (*TEXT, (b"Vary", b"Accept-Encoding"), *coding)
            return Response(headers=headers, body=body, etag=strong_etag(body, b"text/plain"))

        return await self._run(finish, size)

    async def _run(self, work: Callable[[], T], size: int) -> T:
        """Work, in a thread if there is much to do."""
        return await self._worker.run(work) if self._worker is not None and size > _MANY else work()


async def _wait(request: Request, feed: ChangeFeed, seconds: float) -> None:
    waiter = feed.wait(seconds)
    when_it_may_have_left(request, partial(feed.release, waiter))
    await waiter


def _write(listed: ChangeList, changes: Sequence[tuple[str, Change]], since: int) -> bytes:
    """
    Write `instance serial` with the highest serial of what follows, then `serial imprint project`.

    That of projects which the client may not read would tell when these change.
    """
    highest = max((change.serial for _project, change in changes), default=since)
    lines = [f"{change.serial} {change.imprint} {project}\n" for project, change in changes]
    return f"{listed.instance} {highest}\n{''.join(lines)}".encode("ascii")


def _argument(request: Request, name: bytes) -> str | None:
    values = (request.args or {}).get(name)
    return values[0].decode("latin-1") if values else None


def _number(request: Request, name: bytes) -> int | None:
    """Return a number of the query; None without it."""
    text = _argument(request, name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise BadRequest(f"{name.decode('ascii')} must be a whole number.")
    return int(text)
