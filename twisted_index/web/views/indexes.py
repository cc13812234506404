"""The list of indexes, at `/+/`; making and removing one by PUT and DELETE at its URL."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import BadRequest, Forbidden, NotFound
from twisted_index.events.origin import stamp_origin
from twisted_index.http_semantics.negotiation import DocumentFormat, document_format
from twisted_index.indexes.scope import Scope
from twisted_index.indexes.served_index import IIndexFolders
from twisted_index.interfaces import Action, AuditAction, AuditEvent
from twisted_index.simple.name_patterns import is_index_name
from twisted_index.web.pages.indexes import write_indexes_page
from twisted_index.web.requests.context import HTML, JSON, read_small_body
from twisted_index.web.responses.response import NO_CACHE, NOSNIFF, UNSHARED, Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.web.server import Request

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.indexes.served_index import IIndexes, IndexAbout
    from twisted_index.interfaces import IAuditLog, Identity
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext
    from twisted_index.web.requests.index_urls import IndexUrls

#: As many as in the file of an index.
_MAX_BASES = 100
#: Lists of more indexes than this are written in a thread, to keep the reactor free.
_MANY = 500
_VARY = ((b"Vary", b"Accept"),)


@dataclass(frozen=True, slots=True)
class IndexesViews:
    """
    Lists, makes and removes indexes.

    Attributes:
        indexes: Which there are; None if the server knows the index without a name only.
        authorizer: Checks in which of them a client may read.
        urls: Derives the URLs of the server.
        audit_log: Records what is made and removed; None records nothing.
        worker: Threads that write long lists; without it the reactor thread writes them.
    """

    indexes: IIndexes | None
    authorizer: Authorizer
    urls: IndexUrls
    audit_log: IAuditLog | None
    worker: IThreadRunner | None

    async def listing(self, context: RequestContext) -> Response:
        """Respond with the indexes in which the client may read anything at all."""
        if self.indexes is None:
            raise NotFound("This server has one index only, at simple/.")
        found = await result_of(self.indexes.overview)
        if context.private:
            identity = context.identity
            found = self._readable(found, identity)
            if not found and not identity.is_authenticated:
                # An empty list would not make a client log in.
                self.authorizer.refuse(identity, Action.READ)
        root = self.urls.root(context.request)
        as_html = document_format(context.accept) is DocumentFormat.HTML

        def write() -> bytes:
            return write_indexes_page(found, context.frame) if as_html else _write_json(found, root)

        body = await self.worker.run(write) if self.worker is not None and len(found) > _MANY else write()
        if as_html:
            return Response(headers=(*HTML, *_VARY), body=body)
        # The list has the URL that the client used, unless one is made public.
        caching = UNSHARED if self.urls.public is None else NO_CACHE
        return Response(
            headers=((b"Content-Type", b"application/json"), *caching, *NOSNIFF, *_VARY), body=body
        )

    def _readable(self, found: Sequence[IndexAbout], identity: Identity) -> list[IndexAbout]:
        """Return the indexes that a client may read anything of: in them, and in all that they inherit."""
        bases = {about.name: about.bases for about in found}
        known: dict[str, bool] = {}

        def may(name: str) -> bool:
            if name not in known:
                # Until it is known: indexes may inherit each other, wrongly.
                known[name] = True
                known[name] = self.authorizer.permits(identity, Action.READ, index=name) and all(
                    map(may, bases.get(name, ()))
                )
            return known[name]

        return [about for about in found if may(about.name)]

    async def create(self, context: RequestContext) -> Response:
        """Make an index; one that is there already is left as it is."""
        name, folders = context.scope.index, self._folders(context)
        bases = _bases_of(context.request)
        for base in bases:
            if not self.authorizer.permits(context.identity, Action.READ, index=base):
                self.authorizer.refuse(context.identity, Action.READ, index=base)
        new = await result_of(folders.create, name, bases)
        if new:
            await self._record(context, AuditAction.INDEX_CREATE)
        document = {"name": name, "url": f"{self.urls.root(context.request)}/{context.scope.path}"}
        body = json.dumps(document).encode("ascii") + b"\n"
        return Response(status=201 if new else 200, headers=JSON, body=body)

    async def remove(self, context: RequestContext) -> Response:
        """Remove an index with all that it has."""
        await result_of(self._folders(context).remove, context.scope.index)
        await self._record(context, AuditAction.INDEX_REMOVE)
        return Response(status=204, headers=UNSHARED)

    def _folders(self, context: RequestContext) -> IIndexFolders:
        folders, name = IIndexFolders(self.indexes, None), context.scope.index
        if folders is None or not folders.may_create(name):
            raise Forbidden(
                f"The index {name} can be neither made nor removed over HTTP: the setting create-indexes of"
                " this server does not name it."
            )
        return folders

    async def _record(self, context: RequestContext, action: AuditAction) -> None:
        if self.audit_log is not None:
            event = AuditEvent(
                time=datetime.now(UTC), by=context.identity.name, action=action, index=context.scope.index
            )
            await result_of(self.audit_log.record, stamp_origin(event))


def _bases_of(request: Request) -> list[str]:
    """
    Read which indexes a new one inherits: none, without a body.

    It says nothing else of itself: to reserve names, say, concerns the other indexes, and takes the folder.
    """
    body = read_small_body(request)
    if not body:
        return []
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        document = None
    known = isinstance(document, dict) and document.keys() <= {"bases"}
    bases = document.get("bases", []) if known else None
    if not isinstance(bases, list) or not all(isinstance(one, str) and is_index_name(one) for one in bases):
        raise BadRequest('The body must be empty, or JSON such as {"bases": ["prod"]}.')
    if len(bases) > _MAX_BASES or len(set(bases)) < len(bases):
        raise BadRequest(f'"bases" must be at most {_MAX_BASES} names, each once.')
    return bases


def _write_json(found: Sequence[IndexAbout], root: str) -> bytes:
    rows = [
        {
            "name": about.name,
            "title": about.title,
            "url": f"{root}/{Scope(index=about.name).path}",
            "bases": list(about.bases),
            **({"problem": about.problem} if about.problem else {}),
        }
        for about in found
    ]
    return json.dumps({"indexes": rows}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
