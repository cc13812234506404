"""
Other indexes as a source, in order, with a cache.

Only "no such project" leads to the next upstream. An unavailable upstream ends the search, since it may
own the project: the response is then a stale page, its own or one seen during its earlier absence, or an
error.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.backends.upstream.counters import UpstreamCounters
from twisted_index.backends.upstream.file_cache import FileCache, FileRequest
from twisted_index.backends.upstream.page_cache import OfflinePageCache, PageCache
from twisted_index.backends.upstream.page_freshness import CacheTimes
from twisted_index.backends.upstream.sidecars import UpstreamSidecars
from twisted_index.concurrency.deadline import FILE_DEADLINE
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.interfaces import ILifecycle, IProblemSource, ISource, ProblemReport, Snapshot
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
    from twisted_index.simple.model import ProjectPage, Sidecar

_log = Logger()

#: Seconds for which a page that was just asked for is good enough to open its files, where none is
#: kept: an installer asks for the page first, and then for files.
_PROXY_GRACE = 30.0


class _FoundPage(NamedTuple):
    """What is known of a project, where, and how long it is to be repeated."""

    pages: PageCache
    state: PageState
    snapshot: Snapshot[ProjectPage | None]


class _Spare(NamedTuple):
    """What an upstream said of a project, which is given while one before it cannot be asked."""

    pages: PageCache
    state: PageState


@implementer(ISource, ILifecycle, IProblemSource)
class UpstreamSource:
    """
    A source that asks other indexes, and keeps what they say.

    Args:
        remotes: Asked in this order.
        cache: Where pages and files are kept; None keeps nothing on disk, and then no page is
            given without asking.
        reactor: Twisted's, unless another is given.
        worker: Threads; some of its own by default.
        ttl: Seconds for which a page is taken for true without asking.
        absent_ttl: Seconds for which a project is taken not to be there.
        revalidate_timeout: Seconds that a client waits for a page when there is an old one.
        response_timeout: Seconds that it waits when there is none; for a file at least FILE_PATIENCE.
        offline: Whether nothing is ever asked; then only files that are in the cache are listed.
        rebuilds: URLs of those of the upstreams whose files may get other bytes.
        wall: Gives seconds since the epoch.
        monotonic: Gives seconds that only go up.

    Attributes:
        counters: What has been done since the start; a collector of metrics.
    """

    def __init__(
        self,
        remotes: Sequence[IUpstreamClient],
        cache: DiskCache | None = None,
        *,
        reactor: Any = None,
        worker: IThreadRunner | None = None,
        ttl: float = 600.0,
        absent_ttl: float = 60.0,
        revalidate_timeout: float = 5.0,
        response_timeout: float = 10.0,
        offline: bool = False,
        rebuilds: Collection[str] = (),
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._remotes = tuple(remotes)
        self._keeps = cache is not None
        self._own_worker = ThreadPool(reactor, name="index-upstream") if worker is None else None
        works: IThreadRunner = worker or self._own_worker  # type: ignore[assignment]
        self.counters = UpstreamCounters()
        times = CacheTimes(
            ttl=ttl if self._keeps else 0.0,
            absent_ttl=absent_ttl if self._keeps else 0.0,
            revalidate_timeout=revalidate_timeout,
            response_timeout=response_timeout,
            wall=wall,
            monotonic=monotonic,
        )
        pages = OfflinePageCache if offline else PageCache
        self._pages = [
            pages(
                remote,
                cache=cache,
                worker=works,
                reactor=reactor,
                times=times,
                counters=self.counters,
                rebuilds=remote.url in rebuilds,
            )
            for remote in self._remotes
        ]
        patience_for_files = max(response_timeout, FILE_DEADLINE)
        self._files = FileCache(
            cache=cache,
            worker=works,
            reactor=reactor,
            wall=wall,
            deadline=patience_for_files,
            counters=self.counters,
            offline=offline,
            on_cached=lambda wanted, sha256: self._sidecars.verify_provisional(wanted, sha256),
        )
        self._sidecars = UpstreamSidecars(
            cache=cache,
            files=self._files,
            worker=works,
            reactor=reactor,
            monotonic=monotonic,
            deadline=patience_for_files,
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
        """See `ILifecycle`. What is on its way is broken off."""
        await self._files.stop()
        for remote in self._remotes:
            if ILifecycle.providedBy(remote):
                await maybeDeferred(remote.stop)
        if self._own_worker is not None:
            await self._own_worker.stop()

    def problems(self) -> ProblemReport:
        """See `IProblemSource`. Knows of pages that were asked for lately."""
        problems = (problem for pages in self._pages for problem in pages.problems())
        return ProblemReport(problems=tuple(sorted(problems, key=lambda problem: problem.path)))

    def first_seen(self, project: str, filename: str) -> float | None:
        """
        Say when a file was first listed by its upstream. Knows it of pages that were asked for lately.

        Returns:
            Seconds since the epoch; None if it is not listed, or not known.
        """
        for pages in self._pages:
            state = pages.peek(project)
            if state is not None and state.page is not None and state.record is not None:
                known = state.record.known.get(filename)
                return None if known is None else known.first_seen
        return None

    # -- What ISource asks

    def project_list(self) -> Snapshot[ProjectList]:
        """See `ISource`. Empty: an upstream has too many projects to list."""
        return self._list

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """See `ISource`. Answers without a Deferred what is in memory and fresh."""
        found = self._fresh_in_memory(project)
        return self._look(project) if found is None else found.snapshot

    def open_file(
        self, project: str, filename: str, sidecar: Sidecar | None = None
    ) -> MaybeAwaitable[FileBody | None]:
        """See `ISource`. Answers without a Deferred what is in the cache, of a page that is fresh."""
        found = self._fresh_in_memory(project)
        if found is not None and sidecar is None:
            if filename not in found.state.files:
                return None
            body = self._files.cached(self._wanted(project, filename, found))
            if body is not None:
                return body
        return Deferred.fromCoroutine(self._open(project, filename, sidecar, found))

    # -- Looking

    def _fresh_in_memory(self, project: str) -> _FoundPage | None:
        """Find a project in memory, if everything about it is fresh."""
        truths: list[PageFreshness] = []
        for pages in self._pages:
            state = pages.fresh(project)
            if state is None:
                return None
            truths.append(state.validity)
            if state.page is not None or pages is self._pages[-1]:
                return _found(pages, pages.hit(state), truths)
        return None

    async def _look(self, project: str) -> Snapshot[ProjectPage | None]:
        found = await self._find(project)
        return Snapshot(value=None, is_current=_always) if found is None else found.snapshot

    async def _find(self, project: str) -> _FoundPage | None:
        """
        Ask the upstreams in order. A failure of one passes on: it may be its project.

        Returns:
            What the last one said that was asked; None if there are none.
        """
        truths: list[PageFreshness] = []
        found = None
        for at, pages in enumerate(self._pages):
            spare = await self._spare(project, at)
            answer = await pages.get(project, denial_will_do=spare is not None)
            if spare is not None and answer.is_stale and answer.state.page is None:
                return _found(spare.pages, answer._replace(state=spare.state), truths)
            truths.append(answer.state.validity)
            found = _found(pages, answer, truths)
            if answer.state.page is not None:
                self._tell_of_empty(project, at, answer)
                await self._keep_absences(project, at)
                break
        return found

    def _tell_of_empty(self, project: str, at: int, answer: PageResult) -> None:
        """Say it where an upstream answers with nothing, and others that may have something are not asked."""
        if not answer.state.files and at + 1 < len(self._pages) and answer.cache_status.startswith("fwd"):
            _log.info(
                "{upstream} has a page without files for {project}: no later upstream gets a request for it",
                upstream=self._pages[at].remote.url,
                project=project,
            )

    async def _spare(self, project: str, at: int) -> _Spare | None:
        """
        Find what is given if an upstream cannot be asked: the old page of one that comes after it.

        Only if it said that it had no such project when it was asked last, and so did each in between:
        then the name was the later one's, whose old page is as good as any. It is not asked for more.
        """
        if not self._keeps or self._pages[at].fresh(project) is not None:
            return None
        for pages in self._pages[at:]:
            state = await pages.stored(project)
            if state is None:
                return None
            if state.page is not None:
                return None if pages is self._pages[at] else _Spare(pages, state)
        return None

    async def _keep_absences(self, project: str, at: int) -> None:
        """Let it be known after a restart that those before did not have what this upstream has."""
        if self._keeps:
            for pages in self._pages[:at]:
                await pages.store_absence(project)

    async def _find_recent(self, project: str) -> _FoundPage | None:
        """Find a project for one of its files: where no page is kept, that of a moment ago is good enough."""
        if not self._keeps:
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
        wanted = self._wanted(project, filename, found)
        if sidecar is None:
            return await self._files.open(wanted)
        return await self._sidecars.open(wanted, sidecar)

    def _wanted(self, project: str, filename: str, found: _FoundPage) -> FileRequest:
        pages, state = found.pages, found.state
        one = state.files[filename]
        assert state.record is not None
        uploaded = one.file.upload_time
        return FileRequest(
            remote=pages.remote,
            remote_file=one,
            modified=state.record.known[filename].first_seen if uploaded is None else uploaded.timestamp(),
            is_listed=found.snapshot.is_current,
            pin_digest=lambda sha256, size: pages.pin_digest(project, filename, sha256, size),
            renew_url=lambda: _find_again(pages, project, one),
            on_mismatch=lambda: pages.expire(project),
        )


async def _find_again(pages: PageCache, project: str, one: RemoteFile) -> str | None:
    """Look on the page where a file is now; None if it is not there, is another one, or where it was."""
    found = (await pages.renew(project)).files.get(one.file.filename)
    if found is None or found.url == one.url:
        return None
    is_same = all(found.file.hashes.get(name, digest) == digest for name, digest in one.file.hashes.items())
    return found.url if is_same else None


def _found(pages: PageCache, answer: PageResult, truths: list[PageFreshness]) -> _FoundPage:
    if answer.is_stale:
        still_true: Callable[[], bool] = _never
    else:
        still_true = truths[0] if len(truths) == 1 else _all_of(tuple(truths))
    snapshot = Snapshot(value=answer.state.page, is_current=still_true, cache_status=answer.cache_status)
    return _FoundPage(pages, answer.state, snapshot)


def _all_of(truths: tuple[PageFreshness, ...]) -> Callable[[], bool]:
    return lambda: all(truth() for truth in truths)


def _never() -> bool:
    """Say no for what is only given for want of better."""
    return False


def _always() -> bool:
    """Say yes: without upstreams there is never anything."""
    return True
