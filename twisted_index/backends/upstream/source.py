"""
Other indexes as a source, in order, with a cache.

Only "no such project" leads to the next upstream. An unavailable upstream ends the search, since it may
own the project: the result is then a stale page (its own, or a later upstream's if it last reported the
project absent), or an error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.backends.upstream.counters import UpstreamCounters
from twisted_index.backends.upstream.explanation import answers_of, hidden_files, unasked_upstream
from twisted_index.backends.upstream.file_cache import FileCache, FileRequest
from twisted_index.backends.upstream.page_cache import OfflinePageCache, PageCache, StoredPageCache
from twisted_index.backends.upstream.page_digests import PageDigests
from twisted_index.backends.upstream.page_freshness import CacheTimes
from twisted_index.backends.upstream.replaced_file import ReplacedFileClient
from twisted_index.backends.upstream.sidecars import UpstreamSidecars
from twisted_index.concurrency.deadline import FILE_DEADLINE
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.errors import SimpleIndexError
from twisted_index.interfaces import (
    Explanation,
    IExplains,
    ILifecycle,
    IProblemSource,
    ISource,
    ProblemReport,
    Snapshot,
)
from twisted_index.simple.model import ProjectList

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from twisted_index.backends.upstream.disk_cache import DiskCache
    from twisted_index.backends.upstream.page_cache import PageResult
    from twisted_index.backends.upstream.page_freshness import PageFreshness
    from twisted_index.backends.upstream.page_store import PageState
    from twisted_index.backends.upstream.remote import IUpstreamClient, RemoteFile
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import FileBody, MaybeAwaitable
    from twisted_index.simple.explanation import SourceAnswer
    from twisted_index.simple.model import ProjectPage, Sidecar

_log = Logger()

#: Seconds for which a page may be used to open its files without a cache: installers request the page
#: first, then files.
_PROXY_GRACE = 30.0


class _FoundPage(NamedTuple):
    """A project's page with its upstream, state and snapshot."""

    pages: PageCache
    state: PageState
    snapshot: Snapshot[ProjectPage | None]


class _Fallback(NamedTuple):
    """A later upstream's stale page, served while an earlier upstream is unavailable."""

    pages: PageCache
    state: PageState


@implementer(ISource, IExplains, ILifecycle, IProblemSource)
class UpstreamSource:
    """
    A source that requests and caches the pages and files of other indexes.

    Args:
        remotes: The upstreams, in order of precedence.
        cache: The cache on disk; None stores nothing on disk, and every page is requested anew.
        reactor: Defaults to the global reactor.
        worker: Threads; defaults to a thread pool of its own.
        times: Lifetimes, timeouts and clocks; a client waits for a file at least FILE_DEADLINE.
        offline: Whether to send no requests, and list only files that are in the cache.
        asks: Whether to request pages; else they are those in the cache, however old.
        rebuilds: URLs of the upstreams whose files may be replaced under the same name.

    Attributes:
        counters: Counters since the start; a Prometheus collector.
    """

    def __init__(
        self,
        remotes: Sequence[IUpstreamClient],
        cache: DiskCache | None = None,
        *,
        reactor: Any = None,
        worker: IThreadRunner | None = None,
        times: CacheTimes | None = None,
        offline: bool = False,
        asks: bool = True,
        rebuilds: Collection[str] = (),
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._remotes = tuple(remotes)
        self._has_cache = cache is not None
        self._offline = offline
        self._own_worker = ThreadPool(reactor, name="index-upstream") if worker is None else None
        runner: IThreadRunner = worker or self._own_worker  # type: ignore[assignment]
        self.counters = UpstreamCounters()
        times = times or CacheTimes()
        if not self._has_cache:
            times = replace(times, ttl=0.0, absent_ttl=0.0)
        file_deadline = max(times.response_timeout, FILE_DEADLINE)
        self._files = FileCache(
            cache=cache,
            worker=runner,
            reactor=reactor,
            wall=times.wall,
            deadline=file_deadline,
            counters=self.counters,
            offline=offline,
            on_cached=lambda request, sha256: self._sidecars.verify_provisional(request, sha256),
        )
        pages = OfflinePageCache if offline else PageCache if asks else StoredPageCache
        self._pages = [
            pages(
                remote,
                cache=cache,
                worker=runner,
                reactor=reactor,
                times=times,
                counters=self.counters,
                rebuilds=remote.url in rebuilds,
                digests=PageDigests(remote, self._files) if remote.lists_digests else None,
            )
            for remote in self._remotes
        ]
        self._sidecars = UpstreamSidecars(
            cache=cache,
            files=self._files,
            worker=runner,
            reactor=reactor,
            monotonic=times.monotonic,
            deadline=file_deadline,
            counters=self.counters,
            offline=offline,
        )
        self._list = Snapshot(value=ProjectList(), is_current=lambda: True)

    def start(self) -> None:
        """See `ILifecycle`. Removes incomplete files; sends no request."""
        for remote in self._remotes:
            if ILifecycle.providedBy(remote):
                remote.start()
        self._files.start()

    async def stop(self) -> None:
        """See `ILifecycle`. Aborts running downloads."""
        for pages in self._pages:
            pages.stop()
        await self._files.stop()
        for remote in self._remotes:
            if ILifecycle.providedBy(remote):
                await maybeDeferred(remote.stop)
        if self._own_worker is not None:
            await self._own_worker.stop()

    def problems(self) -> ProblemReport:
        """See `IProblemSource`. Covers recently requested pages only."""
        problems = (problem for pages in self._pages for problem in pages.problems())
        return ProblemReport(problems=tuple(sorted(problems, key=lambda problem: problem.path)))

    def known_problems(self) -> int:
        """See `IProblemSource`."""
        return len(self.problems().problems)

    def first_seen(self, project: str, filename: str) -> float | None:
        """
        Return when an upstream first listed a file. Covers recently requested pages only.

        Returns:
            Seconds since the epoch; None if the file is not listed, or its page not in memory.
        """
        for pages in self._pages:
            state = pages.peek(project)
            if state is not None and state.page is not None and state.record is not None:
                known = state.record.known.get(filename)
                return None if known is None else known.first_seen
        return None

    # -- ISource

    def project_list(self) -> Snapshot[ProjectList]:
        """See `ISource`. Empty: an upstream has too many projects to list."""
        return self._list

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """See `ISource`. Returns a fresh page in memory synchronously."""
        found = self._fresh_in_memory(project)
        return self._find_page(project) if found is None else found.snapshot

    def open_file(
        self, project: str, filename: str, sidecar: Sidecar | None = None
    ) -> MaybeAwaitable[FileBody | None]:
        """See `ISource`. Returns a cached file of a fresh page synchronously."""
        found = self._fresh_in_memory(project)
        if found is not None and sidecar is None:
            if filename not in found.state.files:
                return None
            body = self._files.cached(self._file_request(project, filename, found))
            if body is not None:
                return body
        return Deferred.fromCoroutine(self._open(project, filename, sidecar, found))

    # -- IExplains

    async def explain(self, project: str) -> Explanation:
        """See `IExplains`."""
        found, error = self._fresh_in_memory(project), None
        try:
            found = found or await self._find(project)
        except SimpleIndexError as failure:
            error = failure
        asked = [(pages.remote.url, pages.peek(project)) for pages in self._pages]
        if found is None:
            absent: Snapshot[ProjectPage | None] = Snapshot(value=None, is_current=_always)
            return Explanation(
                snapshot=absent if error is None else None,
                error=error,
                sources=answers_of(asked, None, error),
            )
        return Explanation(
            snapshot=found.snapshot,
            sources=answers_of(asked, found.pages.remote.url, None),
            hidden=tuple(hidden_files(found.state, offline=self._offline)),
        )

    def unasked(self, why: str) -> tuple[SourceAnswer, ...]:
        """See `IExplains`."""
        return tuple(unasked_upstream(pages.remote.url, why) for pages in self._pages)

    # -- Finding pages

    def _fresh_in_memory(self, project: str) -> _FoundPage | None:
        """Find a project in memory, if every upstream's state up to its page is fresh."""
        freshness: list[PageFreshness] = []
        for pages in self._pages:
            state = pages.fresh(project)
            if state is None:
                return None
            freshness.append(state.freshness)
            if state.page is not None or pages is self._pages[-1]:
                return _found(pages, pages.hit(state), freshness)
        return None

    async def _find_page(self, project: str) -> Snapshot[ProjectPage | None]:
        found = await self._find(project)
        return Snapshot(value=None, is_current=_always) if found is None else found.snapshot

    async def _find(self, project: str) -> _FoundPage | None:
        """
        Query the upstreams in order. The error of one propagates, because it may own the project.

        Returns:
            The result of the last upstream queried; None if there are no upstreams.
        """
        freshness: list[PageFreshness] = []
        found = None
        for at, pages in enumerate(self._pages):
            fallback = await self._find_fallback(project, at)
            result = await pages.get(project, accept_stale_absence=fallback is not None)
            if fallback is not None and result.is_stale and result.state.page is None:
                return _found(fallback.pages, result._replace(state=fallback.state), freshness)
            freshness.append(result.state.freshness)
            found = _found(pages, result, freshness)
            if result.state.page is not None:
                self._log_empty(project, at, result)
                await self._store_absences(project, at)
                break
        return found

    def _log_empty(self, project: str, at: int, result: PageResult) -> None:
        """Log that a page without files hides the project on later upstreams."""
        if not result.state.files and at + 1 < len(self._pages) and result.cache_status.startswith("fwd"):
            _log.info(
                "{upstream} has a page without files for {project}: no later upstream gets a request for it",
                upstream=self._pages[at].remote.url,
                project=project,
            )

    async def _find_fallback(self, project: str, at: int) -> _Fallback | None:
        """
        Find a later upstream's stored page to serve if this upstream is unavailable.

        Only if this upstream and each one in between last reported the project absent: then the later one
        owned the name. It gets no request.
        """
        if not self._has_cache or self._pages[at].fresh(project) is not None:
            return None
        for pages in self._pages[at:]:
            state = await pages.stored(project)
            if state is None:
                return None
            if state.page is not None:
                return None if pages is self._pages[at] else _Fallback(pages, state)
        return None

    async def _store_absences(self, project: str, at: int) -> None:
        """Store that earlier upstreams do not have the project, so that it is known after a restart."""
        if self._has_cache:
            for pages in self._pages[:at]:
                await pages.store_absence(project)

    async def _find_recent(self, project: str) -> _FoundPage | None:
        """Find a project in order to open a file; without a cache, a page of the last seconds will do."""
        if not self._has_cache:
            for pages in self._pages:
                state = pages.recent(project, _PROXY_GRACE)
                if state is None:
                    break
                if state.page is not None:
                    return _FoundPage(pages, state, Snapshot(value=state.page, is_current=_never))
        return await self._find(project)

    # -- Opening

    async def _open(
        self, project: str, filename: str, sidecar: Sidecar | None, found: _FoundPage | None
    ) -> FileBody | None:
        found = found or await self._find_recent(project)
        if found is None or filename not in found.state.files:
            return None
        request = self._file_request(project, filename, found)
        try:
            if sidecar is None:
                return await self._files.open(request)
            return await self._sidecars.open(request, sidecar)
        except SimpleIndexError as error:
            error.from_upstream = True
            raise

    def _file_request(self, project: str, filename: str, found: _FoundPage) -> FileRequest:
        pages, state = found.pages, found.state
        remote_file = state.files[filename]
        assert state.record is not None
        uploaded = remote_file.file.upload_time
        is_replaced = filename in state.record.refused
        return FileRequest(
            remote=ReplacedFileClient(pages.remote, filename) if is_replaced else pages.remote,
            remote_file=remote_file,
            modified=state.record.known[filename].first_seen if uploaded is None else uploaded.timestamp(),
            is_listed=found.snapshot.is_current,
            pin_digest=lambda sha256, size: pages.pin_digest(project, filename, sha256, size),
            renew_url=lambda: _renew_url(pages, project, remote_file),
            on_mismatch=lambda: pages.expire(project),
        )


async def _renew_url(pages: PageCache, project: str, old: RemoteFile) -> str | None:
    """Renew the page and return the file's new URL; None if unchanged, removed, or of another digest."""
    new = (await pages.renew(project)).files.get(old.file.filename)
    if new is None or new.url == old.url:
        return None
    is_same = all(new.file.hashes.get(name, digest) == digest for name, digest in old.file.hashes.items())
    return new.url if is_same else None


def _found(pages: PageCache, result: PageResult, freshness: list[PageFreshness]) -> _FoundPage:
    if result.is_stale:
        is_current: Callable[[], bool] = _never
    else:
        is_current = freshness[0] if len(freshness) == 1 else _all_of(tuple(freshness))
    snapshot = Snapshot(value=result.state.page, is_current=is_current, cache_status=result.cache_status)
    return _FoundPage(pages, result.state, snapshot)


def _all_of(freshness: tuple[PageFreshness, ...]) -> Callable[[], bool]:
    return lambda: all(is_fresh() for is_fresh in freshness)


def _never() -> bool:
    """Return False: a stale page is never current."""
    return False


def _always() -> bool:
    """Return True: without upstreams, every project stays absent."""
    return True
