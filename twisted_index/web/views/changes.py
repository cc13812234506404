"""
Views for mirrors and replicas: what has changed, and all that a project consists of.

They need the right to follow, and show only projects that the client may read.
"""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from twisted.logger import Logger

from twisted_index.concurrency.in_turns import choose_in_turns
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.concurrency.thread_pool import SynchronousRunner
from twisted_index.errors import BadRequest, Gone, NotFound, Unavailable
from twisted_index.events.origin import stamp_origin
from twisted_index.http_semantics.negotiation import accepts_gzip
from twisted_index.indexes.scope import PLAIN
from twisted_index.interfaces import Action, AuditAction, AuditEvent
from twisted_index.replication.change_gate import EPOCH_FIELD
from twisted_index.replication.epoch import Epoch, parse_epoch
from twisted_index.replication.hand_over import hand_over_role
from twisted_index.replication.peers import PeerAnswer, format_answer, retire
from twisted_index.replication.state_file import ReplicationState, Role
from twisted_index.simple.entry_listing import MAX_BATCH, MAX_INLINE, format_batch
from twisted_index.simple.manifest import format_line
from twisted_index.simple.names import is_valid_name, normalize
from twisted_index.web.requests.context import (
    JSON,
    TEXT,
    may_have_left,
    read_small_body,
    when_it_may_have_left,
    while_connected,
)
from twisted_index.web.responses.response import (
    BEFORE_FIELD,
    BINARY,
    INLINE_FIELD,
    NO_CACHE,
    READING_FIELD,
    Response,
)
from twisted_index.web.responses.response_cache import strong_etag
from twisted_index.web.responses.send import header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twisted.web.server import Request

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.events.serials import Change, ChangeList
    from twisted_index.indexes.change_feed import ChangeFeed
    from twisted_index.interfaces import IAuditLog, Identity
    from twisted_index.replication.change_gate import ChangeGate
    from twisted_index.replication.state_file import StateFile
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext
    from twisted_index.web.responses.response import Headers

T = TypeVar("T")
_log = Logger()

#: Clients that may wait at the same time: each costs a connection and some memory, and no thread.
MAX_WAITING = 100
#: Seconds that a client may wait; proxies give up after 60.
_MAX_WAIT = 60
#: Texts of more bytes are compressed, and of more lines are written in a thread.
_SMALL, _MANY = 1000, 500
_LEVEL = 6


class ChangesViews:
    """
    Serves the changes of an index, and the trees and the entries of its projects.

    Args:
        feed: The changes; None if the source counts none.
        authorizer: Checks which projects a client may read.
        worker: Threads that write large texts; without it the reactor thread writes them.
        state_file: What this server is among its replicas; without it, a primary.
        gate: Knows the epoch of this server; without it, it is the first one of the serials.
        audit_log: Records that this server has handed over; None if none is kept.
        process: Names this process to its peers; empty for no name.
    """

    def __init__(
        self,
        feed: ChangeFeed | None,
        authorizer: Authorizer,
        worker: IThreadRunner | None,
        state_file: StateFile | None = None,
        gate: ChangeGate | None = None,
        audit_log: IAuditLog | None = None,
        process: str = "",
    ) -> None:
        self._feed = feed
        self._authorizer = authorizer
        self._worker = worker
        self._state_file = state_file
        self._gate = gate
        self._audit_log = audit_log
        self._has_doubted = False
        self._process = process

    async def changes(self, context: RequestContext) -> Response:
        """Respond with the last changes of projects, those after a serial if one is given."""
        request, feed = context.request, self._checked_feed()
        if self._authorizer.permits(context.identity, Action.FOLLOW, index=""):
            # An epoch is one of the whole server: not for those who follow one of its indexes only.
            await self._hear(context.identity, header(request, EPOCH_FIELD))
        since, wait = _number(request, b"since"), min(_number(request, b"wait") or 0, _MAX_WAIT)
        instance = _argument(request, b"instance")
        until = feed.seconds() + wait
        is_known = not since
        while True:
            listed = (await feed.changes(after=since or None)).value
            found = await self._visible(context, listed, since or 0)
            if not found and listed.highest > (since or 0):
                # What is known may all be closed to this client.
                listed = (await feed.changes()).value
                found = await self._visible(context, listed, since or 0)
            is_known = is_known or await self._may_have_told(context, listed, since or 0, found)
            if not is_known or instance not in (None, listed.instance):
                raise Gone("The serials have begun anew here; compare all projects with the whole list.")
            seconds = until - feed.seconds()
            if found or since is None or not wait:
                write = partial(_write, listed, found, since or 0)
                about = self._about(listed)
                if not since and listed.before is not None and len(found) == len(listed.changes):
                    # Others would learn of changes of closed projects.
                    about = (*about, (BEFORE_FIELD, "{} {}".format(*listed.before).encode("ascii")))
                return await self._text(request, write, len(found), about)
            if seconds <= 0 or feed.stopped or may_have_left(request):
                return Response(status=304, headers=(*NO_CACHE, *self._about(listed)))
            if feed.waiting >= MAX_WAITING:
                raise Unavailable("Too many clients wait for changes; ask without waiting.", retry_after=30)
            await while_connected(request, _wait(request, feed, seconds))

    async def _may_have_told(
        self, context: RequestContext, listed: ChangeList, since: int, found: Sequence[object]
    ) -> bool:
        """Return whether a client may have a serial from here; not if an older state has come back since."""
        if not found and since > await self._highest(context.identity, listed):
            return False
        if await self._checked_feed().may_have_told(since):
            return True
        # Others would learn when closed projects changed.
        may = self._authorizer.reads(context.identity)
        if may is None:
            return False
        rows = listed.changes.items()
        return bool(await self._choose(lambda project: not may(project), rows, 1))

    def _about(self, listed: ChangeList) -> Headers:
        """
        Say what a replica has to know besides the changes.

        Raises:
            Unavailable: The epoch cannot be read: then nobody should follow.
        """
        epoch = self._epoch(listed)
        restricted = () if self._authorizer.public_read else ((READING_FIELD, b"restricted"),)
        return ((EPOCH_FIELD, str(epoch).encode("ascii")), *restricted)

    async def _hear(self, identity: Identity, told: bytes | None) -> None:
        """
        Stop making changes if a replica has heard of a higher epoch: another server is the primary in that.

        A client could have made it up. So its word is enough only if it might let this server hand over as
        well; for that of others, the peers are asked, and theirs counts.

        Raises:
            Unavailable: That cannot be kept.
        """
        epoch = None if told is None else parse_epoch(told.decode("latin-1"))
        if epoch is None or self._gate is None or self._state_file is None:
            return
        own = self._gate.epoch
        if not epoch.ends(own):
            return
        if not self._authorizer.permits(identity, Action.MANAGE, index=""):
            if self._state_file.read().role is Role.PRIMARY:
                # A peer that does not answer keeps no client from reading.
                with suppress(Unavailable):
                    await self._gate.ask_peers()
                self._doubt(identity, epoch)
            return
        if await self._run(partial(retire, self._state_file, lambda: own, epoch), _MANY + 1):
            _log.error(
                "This server takes no changes any more: a replica follows the primary of epoch {epoch}, which"
                " is higher than its own.",
                epoch=epoch.number,
            )

    def _doubt(self, identity: Identity, epoch: Epoch) -> None:
        """Log an unconfirmed epoch once: without peers, only an operator can tell whether it is true."""
        if self._gate is None or not epoch.ends(self._gate.epoch) or self._has_doubted:
            return
        self._has_doubted = True
        _log.warn(
            "{by} has heard of a primary of epoch {epoch}, which is higher than that of this server. No peer"
            " says so; if it is true, start this server with --replica-of that primary.",
            by=identity.name,
            epoch=epoch.number,
        )

    def _epoch(self, listed: ChangeList) -> Epoch:
        """Return the epoch of the server, which is one for all of its indexes."""
        return Epoch(1, listed.instance) if self._gate is None else self._gate.epoch

    async def _visible(
        self, context: RequestContext, listed: ChangeList, since: int
    ) -> Sequence[tuple[str, Change]]:
        """Return the changes after a serial of the projects that the client may read, by name."""
        changed = await self._run(
            lambda: sorted(row for row in listed.changes.items() if row[1].serial > since),
            len(listed.changes),
        )
        may = self._authorizer.reads(context.identity)
        return changed if may is None else await self._choose(may, changed)

    async def _highest(self, identity: Identity, listed: ChangeList) -> int:
        """
        Return the highest serial that the client may know of.

        By 410 for what is above that of all projects, it could tell when closed ones change.
        """
        if self._authorizer.public_read:
            return listed.highest
        newest = await self._run(
            lambda: sorted(listed.changes.items(), key=lambda row: row[1].serial, reverse=True),
            len(listed.changes),
        )
        may = self._authorizer.reads(identity)
        readable = newest[:1] if may is None else await self._choose(may, newest, 1)
        return readable[0][1].serial if readable else 0

    async def _choose(
        self, may: Callable[[str], bool], rows: Iterable[tuple[str, Change]], limit: int | None = None
    ) -> Sequence[tuple[str, Change]]:
        """Return the rows of the projects that the client may read."""
        return await choose_in_turns(self._checked_feed().clock, lambda row: may(row[0]), rows, limit)

    async def tree(self, context: RequestContext) -> Response:
        """Respond with the files, sidecars, statuses and tombstones of a project."""
        feed, project = self._checked_feed(), context.route.project
        if not self._authorizer.permits(context.identity, Action.READ, project):
            self._authorizer.refuse(context.identity, Action.READ, project)
        lines = await feed.tree(project)
        if lines is None:
            raise NotFound(f"There is no project {project} here.")
        return await self._text(context.request, lambda: b"".join(map(format_line, lines)), len(lines))

    # -- For replicas

    async def entries(self, context: RequestContext) -> Response:
        """Respond with the listing of what lies here for a project, or with a file of it."""
        feed, project, request = self._checked_feed(), context.route.project, context.request
        if not self._authorizer.permits(context.identity, Action.READ, project):
            self._authorizer.refuse(context.identity, Action.READ, project)
        path = (request.args or {}).get(b"path")
        if path:
            return await self._entry(feed, project, path[0])
        inline = min(_number(request, b"inline") or 0, MAX_INLINE)
        listing = await feed.entries(project, inline)
        if listing is None:
            raise NotFound(f"There is no project {project} here.")
        if not inline:
            return await self._text(request, lambda: listing, listing.count(b"\n"))
        # Archives do not become smaller, and a digest of all the bytes is not worth its time.
        return Response(headers=(*TEXT, (INLINE_FIELD, b"%d" % inline)), body=listing)

    async def entry_batch(self, context: RequestContext) -> Response:
        """
        Respond with the listings of several projects: of those that are at hand.

        The others are left out, also those that the client may not read; a request for one says why.
        """
        feed, request = self._checked_feed(), context.request
        names = [name.decode("latin-1") for name in (request.args or {}).get(b"project", ())]
        if not 0 < len(names) <= MAX_BATCH:
            raise BadRequest(f"Name from 1 to {MAX_BATCH} projects, each as project=NAME.")
        inline = min(_number(request, b"inline") or 0, MAX_INLINE)
        may = self._authorizer.reads(context.identity)
        projects = [
            name
            for name in dict.fromkeys(names)
            if is_valid_name(name) and normalize(name) == name and (may is None or may(name))
        ]
        body = format_batch(await feed.entry_batch(projects, inline))
        return Response(headers=(*TEXT, (INLINE_FIELD, b"%d" % inline)), body=body)

    async def _entry(self, feed: ChangeFeed, project: str, path: bytes) -> Response:
        body = await feed.open_entry(project, path)
        if body is None:
            raise NotFound("There is no such file here.")
        assert body.sha256 is not None
        etag = b'"%s"' % body.sha256.encode("ascii")
        return Response(headers=BINARY, body=body, etag=etag, modified=body.modified)

    async def state(self, context: RequestContext) -> Response:
        """Respond with what this server is among its replicas."""
        listed = await self._checked_feed().known()
        state = ReplicationState() if self._state_file is None else self._state_file.read()
        serial, guard = 0, self._authorizer
        # To find one that a stranger may know of, all projects may have to be looked at.
        if guard.public_read or guard.permits(context.identity, Action.FOLLOW):
            serial = await self._highest(context.identity, listed)
        said = PeerAnswer(state.role, self._epoch(listed), serial, self._process)
        return Response(headers=JSON, body=format_answer(said))

    async def hand_over(self, context: RequestContext) -> Response:
        """Make no changes any more, and say which was the last; for the replica that takes over."""
        # The right at the index without a name, in every scope.
        identity = await self._authorizer.require(context.request, Action.MANAGE, index="")
        feed, state_file, gate = self._checked_feed(), self._state_file, self._gate
        if context.scope != PLAIN or state_file is None or gate is None:
            raise NotFound("Only a server as a whole hands over, at the -/replication of its own URL.")
        _require_hand_over(context.request)

        async def last_serial() -> int:
            return (await feed.look()).highest

        was_primary = state_file.read().role is Role.PRIMARY
        runner = self._worker or SynchronousRunner()
        answer = await hand_over_role(state_file, lambda: gate.epoch, gate.drained, last_serial, runner)
        _log.warn("This server makes no changes any more: {by} lets it hand over.", by=identity.name)
        if was_primary and self._audit_log is not None:
            detail = f"epoch {answer.epoch.number if answer.epoch else 1}, serial {answer.serial}"
            event = AuditEvent(
                time=datetime.now(UTC), by=identity.name, action=AuditAction.HAND_OVER, detail=detail
            )
            await result_of(self._audit_log.record, stamp_origin(event))
        return Response(headers=JSON, body=format_answer(answer._replace(process=self._process)))

    def _checked_feed(self) -> ChangeFeed:
        if self._feed is None:
            raise NotFound("This index does not count its changes.")
        return self._feed

    async def _text(
        self, request: Request, write: Callable[[], bytes], size: int, fields: Headers = ()
    ) -> Response:
        packs = accepts_gzip(header(request, b"Accept-Encoding"))

        def finish() -> Response:
            body = write()
            packed = packs and len(body) > _SMALL
            body = gzip.compress(body, _LEVEL, mtime=0) if packed else body
            coding = ((b"Content-Encoding", b"gzip"),) if packed else ()
            headers = (*TEXT, (b"Vary", b"Accept-Encoding"), *coding, *fields)
            return Response(headers=headers, body=body, etag=strong_etag(body, b"text/plain"))

        return await self._run(finish, size)

    async def _run(self, work: Callable[[], T], size: int) -> T:
        """Work, in a thread if there is much to do."""
        return await self._worker.run(work) if self._worker is not None and size > _MANY else work()


def _require_hand_over(request: Request) -> None:
    try:
        document = json.loads(read_small_body(request))
    except (ValueError, RecursionError):
        document = None
    if document != {"hand-over": True}:
        raise BadRequest('Send the JSON {"hand-over": true}.')


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
