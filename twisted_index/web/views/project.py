"""The views of `/project/NAME/` and `/project/NAME/VERSION/`: a project for people."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING
from weakref import ref

from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.concurrency.thread_pool import SynchronousRunner
from twisted_index.errors import Found, SimpleIndexError
from twisted_index.http_semantics.negotiation import DocumentFormat, document_format
from twisted_index.indexes.composite import explain
from twisted_index.interfaces import IExplains, IProblemSource
from twisted_index.search.reading import read_small_sdist
from twisted_index.simple.explanation import Obstacle, SourceKind
from twisted_index.simple.formatting import offered_versions
from twisted_index.simple.legacy_json import find_version, latest_version, parse_core_metadata
from twisted_index.simple.names import canonical_version
from twisted_index.simple.release_facts import ReleaseFacts, release_facts
from twisted_index.web.pages.project import ShownProject, history_pages, write_no_release, write_project_page
from twisted_index.web.requests.context import HTML
from twisted_index.web.requests.index_urls import levels_of
from twisted_index.web.responses.error_pages import absence_response, message_response
from twisted_index.web.responses.response import Response, keep_private
from twisted_index.web.responses.response_cache import strong_etag
from twisted_index.web.views.release_metadata import release_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import Explanation, ISource, Snapshot
    from twisted_index.search.directory import ProjectDirectory
    from twisted_index.simple.explanation import HiddenFile
    from twisted_index.simple.model import ProjectPage
    from twisted_index.web.pages.project import WrittenPage
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext
    from twisted_index.web.requests.index_urls import IndexUrls
    from twisted_index.web.views.descriptions import Descriptions

#: Characters of descriptions, and bytes of pages, that are kept.
_KEPT = 8_000_000
#: What a choice of versions weighs beside them.
_CHOICE = 2000
_UNREAD = "The metadata of this release cannot be read now. Reload in a moment."


@dataclass(frozen=True, slots=True)
class _Release:
    """What the metadata of a release say; see `ShownProject`."""

    facts: ReleaseFacts
    description: str = ""
    content_type: str = ""
    unread: str = ""


@dataclass(frozen=True, slots=True)
class _Kept:
    """Something made of a page, which holds for this very page and this variant of it."""

    page: Callable[[], ProjectPage | None]
    variant: Hashable
    value: Any
    weight: int


class _Memory:
    """What was made last of the page of each project, by what else says which it is."""

    def __init__(self) -> None:
        self._kept: LRU[tuple[str, Hashable], _Kept] = LRU(_KEPT, lambda kept: kept.weight)

    def get(self, page: ProjectPage, key: Hashable, variant: Hashable = None) -> Any:
        kept = self._kept.get((page.name, key))
        same = kept is not None and kept.page() is page and kept.variant == variant
        return kept.value if kept is not None and same else None

    def put(
        self, page: ProjectPage, key: Hashable, value: Any, weight: int, variant: Hashable = None
    ) -> None:
        self._kept.put((page.name, key), _Kept(ref(page), variant, value, weight))


class ProjectViews:
    """
    Shows projects to people.

    Args:
        source: Provides the projects.
        authorizer: Says which other projects a client may read.
        urls: Derives the URL of the index.
        directory: Returns what knows which projects require which.
        descriptions: Renders them.
        index: The name of the index, for people.
        worker: Threads that read metadata and write pages; without it the reactor thread does.
    """

    def __init__(
        self,
        source: ISource,
        *,
        authorizer: Authorizer,
        urls: IndexUrls,
        directory: Callable[[], ProjectDirectory],
        descriptions: Descriptions,
        index: str = "",
        worker: IThreadRunner | None = None,
    ) -> None:
        self._source = source
        self._authorizer = authorizer
        self._urls = urls
        self._directory = directory
        self._descriptions = descriptions
        self._index = index
        self._worker = worker or SynchronousRunner()
        self._choices, self._releases, self._pages = _Memory(), _Memory(), _Memory()
        self._reading: SingleFlight[tuple[int, str], _Release] = SingleFlight(monotonic)
        self._explaining: SingleFlight[str, Explanation] = SingleFlight(monotonic)

    async def show(self, context: RequestContext) -> Response:
        """Respond with the page of a project, or of one release of it."""
        route = context.route
        snapshot: Snapshot[ProjectPage | None] = await result_of(self._source.project_page, route.project)
        page = snapshot.value
        if page is None:
            return absence_response(
                route.project, self._index, snapshot.absence, context.accept, context.frame
            )
        latest, version = await self._choose(page, route.version)
        if version is None:
            return await self._no_release(context, page)
        body = (await self._written(context, snapshot, latest, version)).at(self._urls.shown(context.request))
        response = Response(headers=HTML, body=body, etag=strong_etag(body))
        # It shows the URL that the client used.
        return response if self._urls.public or context.private else keep_private(response)

    async def _written(
        self, context: RequestContext, snapshot: Snapshot[Any], latest: str, version: str
    ) -> WrittenPage:
        """Return the page as it was written last, while all that it shows is the same, or write it."""
        page, chosen, frame = snapshot.value, bool(context.route.version), context.frame
        history = _history_of(context, page)
        release = await self._release(page, version, is_here=not snapshot.cache_status)
        linked, absent = await self._requirements(context, release.facts)
        left_out = await self._left_out(page.name)
        required_by = await self._required_by(context)
        source = self._origin(page, snapshot)
        # A visitor has the choice of these: each is kept.
        key = (version, chosen, history)
        variant = (linked, absent, required_by, source, left_out, release.unread, frame)
        written: WrittenPage | None = self._pages.get(page, key, variant)
        if written is not None:
            return written
        html = await self._descriptions.html(release.description, release.content_type)
        shown = ShownProject(
            page=page,
            version=version,
            latest=latest,
            chosen=chosen,
            facts=release.facts,
            description=release.description,
            html=html,
            unread=release.unread,
            linked=linked,
            absent=absent,
            required_by=required_by,
            source=source,
            history=history,
            left_out=left_out,
        )
        file_url = self._urls.relative_links(levels_of(context.request)).of(page.name)
        written = await self._worker.run(write_project_page, shown, frame, file_url)
        if html is not None:
            self._pages.put(page, key, written, len(written), variant)
        return written

    async def _choose(self, page: ProjectPage, version: str) -> tuple[str, str | None]:
        """Return the latest version, and that of the URL; in a thread, as there may be thousands."""
        chosen: tuple[str, str | None] | None = self._choices.get(page, version)
        if chosen is None:
            chosen = await self._worker.run(_choose, page, version)
            self._choices.put(page, version, chosen, _CHOICE)
        return chosen

    async def _no_release(self, context: RequestContext, page: ProjectPage) -> Response:
        version, versions = context.route.version, offered_versions(page)
        if document_format(context.accept) is DocumentFormat.HTML:
            left_out = await self._known_files(page.name, version)
            body = write_no_release(page.name, version, versions, context.frame, left_out)
            return Response(status=404, headers=(*HTML, (b"Vary", b"Accept")), body=body)
        listed = ", ".join(versions[-10:])
        has = f"The latest of its {len(versions)} are {listed}." if versions else "It has none."
        return message_response(
            404, f"{page.name} has no release {version}. {has}", context.accept, frame=context.frame
        )

    # -- What is on the page

    async def _release(self, page: ProjectPage, version: str, *, is_here: bool) -> _Release:
        kept: _Release | None = self._releases.get(page, version)
        if kept is not None:
            return kept
        # While it runs, no other page has this id.
        return await self._reading.run((id(page), version), lambda: self._read(page, version, is_here))

    async def _read(self, page: ProjectPage, version: str, is_here: bool) -> _Release:
        """Read; what cannot be read now is not kept."""
        try:
            metadata = await release_metadata(self._source, page, version) if version else None
            # Of an upstream the whole file would be fetched for that.
            if metadata is None and is_here:
                same = canonical_version(version)
                files = (file for file in page.files if canonical_version(file.version) == same)
                metadata = await read_small_sdist(self._source, page.name, files, self._worker)
        except (SimpleIndexError, Found):
            return _Release(release_facts(page.name, {}), unread=_UNREAD)
        release = await self._worker.run(_read_release, page.name, metadata)
        self._releases.put(page, version, release, len(release.description) + 4096)
        return release

    async def _requirements(
        self, context: RequestContext, facts: ReleaseFacts
    ) -> tuple[frozenset[str], frozenset[str]]:
        """Return the requirements that are here, or may be at an upstream, and those that are not."""
        names = {each.project for those in facts.requirements.values() for each in those if each.project}
        # That everyone may read this project says nothing about others.
        may = self._authorizer.reads(context.identity)
        # Of names that the client may not read nothing is said.
        wanted = frozenset(names if may is None else filter(may, names))
        if not wanted or self._has_upstreams():
            return wanted, frozenset()
        try:
            listed = (await result_of(self._source.project_list)).value
        except SimpleIndexError:
            return frozenset(), frozenset()
        linked = wanted.intersection(listed.names)
        return linked, wanted - linked if listed.complete else frozenset()

    async def _left_out(self, project: str) -> tuple[str, ...]:
        """Return the version of each file that is refused or cannot be read."""
        problems = IProblemSource(self._source, None)
        if problems is not None and not problems.known_problems():
            # To explain each file of a large project takes a while.
            return ()
        hidden = await self._hidden(project)
        return tuple(file.version for file in hidden if file.obstacle in (Obstacle.REFUSED, Obstacle.UNREAD))

    async def _known_files(self, project: str, version: str) -> int:
        """Return how many files of a version are known, besides those that are not published yet."""
        same = canonical_version(version)
        return sum(
            file.obstacle is not Obstacle.STAGED and canonical_version(file.version) == same
            for file in await self._hidden(project)
        )

    async def _hidden(self, project: str) -> tuple[HiddenFile, ...]:
        try:
            return (await self._explaining.run(project, lambda: explain(self._source, project))).hidden
        except SimpleIndexError:
            return ()

    async def _required_by(self, context: RequestContext) -> tuple[str, ...]:
        reads = partial(self._authorizer.reads, context.identity)
        try:
            return tuple(await self._directory().requiring(context.route.project, reads))
        except SimpleIndexError:
            return ()

    def _has_upstreams(self) -> bool:
        source = IExplains(self._source, None)
        return source is not None and any(each.kind is SourceKind.UPSTREAM for each in source.unasked(""))

    def _origin(self, page: ProjectPage, snapshot: Snapshot[Any]) -> str:
        owners = sorted({file.owner for file in page.files if file.owner is not None})
        if owners:
            return ", ".join(f"index {owner}" if owner else "the index without a name" for owner in owners)
        return "an upstream" if snapshot.cache_status else ""


def _history_of(context: RequestContext, page: ProjectPage) -> int:
    """Return which page of the whole history is asked for, one that there is; 0 for none."""
    asked = context.request.args or {}
    if asked.get(b"versions") != [b"all"]:
        return 0
    number = asked.get(b"page", [b""])[0]
    return min(max(1, int(number)), history_pages(page)) if number.isdigit() and len(number) < 10 else 1


def _choose(page: ProjectPage, version: str) -> tuple[str, str | None]:
    latest = latest_version(page) or (offered_versions(page) or ("",))[-1]
    return latest, find_version(page, version) if version else latest


def _read_release(project: str, metadata: bytes | None) -> _Release:
    fields = parse_core_metadata(metadata)
    description = fields.get("description") or ""
    if description.strip() == "UNKNOWN":
        description = ""
    content_type = fields.get("description_content_type") or ""
    unread = "" if metadata is not None else "No wheel and no small sdist of this release says more about it."
    return _Release(release_facts(project, fields), description, content_type, unread)
