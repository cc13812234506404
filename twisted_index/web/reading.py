"""Answers that read the index: the simple API, files, and the pages that lead there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from twisted.internet.defer import gatherResults, maybeDeferred

from twisted_index.errors import NotFound
from twisted_index.http_rules.negotiate import Format, accepts_gzip, document_format, simple_format
from twisted_index.interfaces import Action, Arriving
from twisted_index.simple.html_page import write_file_list
from twisted_index.simple.model import ProjectList
from twisted_index.web.arriving import cache_status_field, settle
from twisted_index.web.asked import eventually, redirect
from twisted_index.web.guard import bound
from twisted_index.web.people import front_page
from twisted_index.web.prepared import PreparedAnswers, prepare_html, prepare_list, prepare_page
from twisted_index.web.readyfiles import ReadyFiles
from twisted_index.web.respond import field
from twisted_index.web.response import NO_SCRIPTS, NOSNIFF, REVALIDATE, Response
from twisted_index.web.routes import Kind
from twisted_index.web.sentences import sentence_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.web.http import Request

    from twisted_index.interfaces import Snapshot
    from twisted_index.simple.model import ProjectPage
    from twisted_index.web.asked import Answer, Asked
    from twisted_index.web.guard import Guard
    from twisted_index.web.origin import Origins
    from twisted_index.web.prepared import Form
    from twisted_index.web.response import Headers
    from twisted_index.worker import Works

T = TypeVar("T")

_BINARY = (b"Content-Type", b"application/octet-stream")
#: Bytes of sentences that are kept for projects which are not there.
_ABSENT_BYTES = 2 << 20
#: Pages of more files are written in a thread, so that nobody waits for them who asks for others.
_MANY = 500
NOTHING_HERE = "There is nothing at this URL. The index is at simple/."


class Reading:
    """
    Answers questions from a source.

    Args:
        source: Where the projects come from.
        guard: Says whose answers are everyone's.
        origins: Says by which URL people came.
        public_url: The URL of the index that people are shown; None for the one they came by.
        always: Fields that every answer has.
        worker: Threads that write large pages; without it they are written at once.
        page_cache: Bytes of prepared pages that are kept.
        clock: Tells how long a client has waited; that of the site by default.
        takes_uploads: Says whether files can be published.
    """

    def __init__(
        self,
        source: Any,
        *,
        guard: Guard,
        origins: Origins,
        public_url: str | None,
        always: Headers,
        worker: Works | None,
        page_cache: int,
        clock: Any = None,
        takes_uploads: Callable[[], bool] = lambda: False,
    ) -> None:
        self._source = source
        self._takes_uploads = takes_uploads
        self._clock = clock
        self._guard = guard
        self._origins = origins
        self._public_url = public_url
        self._worker = worker
        self.pages = PreparedAnswers(page_cache, always)
        self.absent = PreparedAnswers(_ABSENT_BYTES, always)
        self.files = ReadyFiles(always)
        self.answers: dict[Kind, Answer] = {
            Kind.FRONT: self._answer_front,
            Kind.PROJECT_LIST: self._answer_list,
            Kind.PROJECT_PAGE: self._answer_page,
            Kind.BARE_PROJECT: self._answer_bare_project,
            Kind.FILE: self._answer_file,
            Kind.ALL_FILES: self._answer_all_files,
            Kind.FIND_FILE: self._answer_find_file,
        }

    async def _ask_readable(self, asked: Asked) -> Snapshot[ProjectList]:
        """Ask for the list of projects that whoever asks may read."""
        snapshot: Snapshot[ProjectList] = await eventually(self._source.project_list)
        snapshot = bound(snapshot, asked.unchanged)
        if not asked.private:
            return snapshot
        names = snapshot.value.names
        readable = tuple(name for name in names if self._guard.may(asked.identity, Action.READ, name))
        return replace(snapshot, value=ProjectList(names=readable))

    async def _ask_page(self, asked: Asked) -> Snapshot[ProjectPage | None]:
        snapshot: Snapshot[ProjectPage | None] = await eventually(
            self._source.project_page, asked.route.project
        )
        return bound(snapshot, asked.unchanged)

    # -- The simple API

    async def _answer_list(self, asked: Asked) -> Response:
        form = asked.form
        if not asked.private and (ready := self.pages.ready("", form)) is not None:
            return ready.response
        snapshot = await self._ask_readable(asked)
        return await self._prepare(asked, form, "", snapshot, prepare_list, len(snapshot.value.names))

    async def _answer_page(self, asked: Asked) -> Response:
        name = asked.route.project
        form = asked.form
        if not asked.private and (ready := self.pages.ready(name, form)) is not None:
            return ready.response
        snapshot = await self._ask_page(asked)
        if snapshot.value is None:
            self.pages.drop(name)
            return self._prepare_absence(asked, name, snapshot)
        self.absent.drop(name)
        return await self._prepare(asked, form, name, snapshot, self._write_page, len(snapshot.value.files))

    def _prepare_absence(self, asked: Asked, name: str, snapshot: Snapshot[Any]) -> Response:
        response = sentence_response(404, f"There is no project {name} here.", asked.accept)
        if not asked.private:
            again = _with_cache_status(response, "hit" if snapshot.cache_status else "")
            self.absent.keep(name, snapshot, document_format(asked.accept).name, again)
        return _with_cache_status(response, snapshot.cache_status)

    def _write_page(self, page: ProjectPage, form: Form) -> Response:
        return prepare_page(page, form, self._public_url)

    async def _answer_bare_project(self, asked: Asked) -> Response:
        if (await self._ask_page(asked)).value is None:
            raise NotFound(NOTHING_HERE)
        return redirect(asked.request, f"{asked.route.project}/", permanent=True)

    async def _prepare(
        self,
        asked: Asked,
        form: Form,
        key: str,
        snapshot: Snapshot[T],
        write: Callable[[Any, Form], Response],
        size: int,
    ) -> Response:
        response = None if asked.private else self.pages.find(key, snapshot, form)
        if response is None:
            response = await self._elsewhere(lambda: write(snapshot.value, form), size)
            if not asked.private:
                # However the cache came by it now, next time it is there.
                again = _with_cache_status(response, "hit" if snapshot.cache_status else "")
                self.pages.keep(key, snapshot, form, again)
            response = _with_cache_status(response, snapshot.cache_status)
        return response

    async def _elsewhere(self, write: Callable[[], Response], size: int) -> Response:
        """Write a page, in a thread if it is large."""
        return await self._worker.run(write) if self._worker is not None and size > _MANY else write()

    async def _answer_file(self, asked: Asked) -> Response:
        route = asked.route
        body = await eventually(self._source.open_file, route.project, route.filename, route.companion)
        if body is None:
            raise NotFound("There is no such file here.")
        if isinstance(body.content, Arriving) and _wants_bytes(asked.request):
            wants_range = field(asked.request, b"Range") is not None
            body = await settle(body, wants_range, self._clock or asked.request.channel.factory.reactor)
        response = Response(
            headers=(_BINARY, (b"Accept-Ranges", b"bytes"), *REVALIDATE, *NOSNIFF),
            body=body,
            etag=None if body.sha256 is None else b'"%s"' % body.sha256.encode("ascii"),
            modified=body.modified,
        )
        response = _with_cache_status(response, body.cache_status)
        if not asked.private:
            self.files.keep(asked.request.path, response, asked.unchanged)
        return response

    # -- All files on one page

    async def _answer_all_files(self, asked: Asked) -> Response:
        names = (await self._ask_readable(asked)).value.names
        # All at once, so that a client waits for them only as long as for one.
        asking = [maybeDeferred(self._source.project_page, name) for name in names]
        pages = [snapshot.value for snapshot in await gatherResults(asking, consumeErrors=True)]
        compressed = accepts_gzip(field(asked.request, b"Accept-Encoding"))

        def write() -> Response:
            return prepare_html(write_file_list(page for page in pages if page is not None), compressed)

        return await self._elsewhere(write, sum(len(page.files) for page in pages if page is not None))

    async def _answer_find_file(self, asked: Asked) -> Response:
        """Lead to the file at its project: 302, since the file may come and go."""
        filename = asked.route.filename
        page = (await self._ask_page(asked)).value
        if page is None or not any(file.filename == filename for file in page.files):
            raise NotFound("There is no such file here.")
        location = f"../simple/{asked.route.project}/{quote(filename)}"
        return redirect(asked.request, location, permanent=False)

    # -- For people

    async def _answer_front(self, asked: Asked) -> Response:
        if simple_format(asked.accept) is not Format.HTML:
            return await self._answer_list(asked)
        project_list = (await self._ask_readable(asked)).value
        # It may repeat what the request said of our address, so it is never kept or shared.
        headers = ((b"Content-Type", b"text/html; charset=utf-8"), (b"Cache-Control", b"no-store"))
        return Response(
            headers=(*headers, (b"Vary", b"Accept"), *NOSNIFF, *NO_SCRIPTS),
            body=front_page(
                project_list,
                self._public_url or self._origins.url(asked.request),
                uploads=self._takes_uploads(),
            ),
        )


def _wants_bytes(request: Request) -> bool:
    """Say whether a request is likely to be answered with a body: for others nothing is fetched."""
    conditional = field(request, b"If-None-Match") or field(request, b"If-Modified-Since")
    return request.method == b"GET" and conditional is None


def _with_cache_status(response: Response, status: str) -> Response:
    if not status:
        return response
    return replace(response, headers=(*response.headers, *cache_status_field(status)))
