"""
Cache of an upstream's project pages: fresh for a while, then revalidated; stale if that fails.

One request per project goes upstream at a time, shared by all clients. It continues after they have
received a stale page, so that the next client gets the new page.

Out of scope: storage (see `page_store`), several upstreams (see `source`).
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.logger import Logger

from twisted_index.backends.upstream import page_record
from twisted_index.backends.upstream.back_off import BackOff
from twisted_index.backends.upstream.page_merge import merge_page
from twisted_index.backends.upstream.page_store import ForgottenPage, OfflinePageStore, PageStore
from twisted_index.backends.upstream.remote import NOT_MODIFIED, RemotePage
from twisted_index.backends.upstream.replaced_file import log_replaced_files, replaced_file_problem
from twisted_index.concurrency.deadline import wait_at_most
from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.errors import BadGateway, NotReady, SimpleIndexError, Unavailable
from twisted_index.interfaces import Problem
from twisted_index.simple.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from twisted_index.backends.upstream.counters import UpstreamCounters
    from twisted_index.backends.upstream.disk_cache import DiskCache
    from twisted_index.backends.upstream.page_digests import PageDigests
    from twisted_index.backends.upstream.page_freshness import CacheTimes
    from twisted_index.backends.upstream.page_record import FileDigest, PageRecord
    from twisted_index.backends.upstream.page_store import PageState
    from twisted_index.backends.upstream.remote import IUpstreamClient, NotModified, RemoteFile
    from twisted_index.concurrency.thread_pool import IThreadRunner

_log = Logger()


class PageResult(NamedTuple):
    """
    A page state, and how the cache obtained it.

    Attributes:
        state: The current state.
        cache_status: See `Snapshot`.
        is_stale: Whether it is stale, and served only because the upstream cannot confirm it.
    """

    state: PageState
    cache_status: str
    is_stale: bool = False


class _Unknown(Exception):
    """There is no record of a project, neither in memory nor on disk."""


class PageCache:
    """
    The pages of one upstream.

    Args:
        remote: The upstream.
        cache: The cache on disk; None stores pages in memory only, and never serves a stale one.
        worker: Threads.
        reactor: Schedules timeouts.
        times: Lifetimes and clocks.
        counters: Counters to update.
        rebuilds: Whether the upstream may replace a file for which it promises no digest, whose pinned
            digest then lives as long as the page, or one that is immutable otherwise.
        digests: Fetches files without a digest before they are listed; None to list them as they are.
    """

    _store_class = PageStore

    def __init__(
        self,
        remote: IUpstreamClient,
        *,
        cache: DiskCache | None,
        worker: IThreadRunner,
        reactor: Any,
        times: CacheTimes,
        counters: UpstreamCounters,
        rebuilds: bool = False,
        digests: PageDigests | None = None,
    ) -> None:
        self.remote = remote
        self._worker = worker
        self._digests = digests
        self._store = self._store_class(remote.url, cache, worker, times)
        self._stored_suffix = "" if cache is None else "; stored"
        self._reactor = reactor
        self._times = times
        self._counters = counters
        self._rebuilds = rebuilds
        self._back_off = BackOff(times.monotonic)
        self._fetching = SingleFlight[str, PageResult](times.monotonic)

    # -- Reading

    def peek(self, project: str) -> PageState | None:
        """Return the state in memory, fresh or not."""
        return self._store.peek(project)

    def fresh(self, project: str) -> PageState | None:
        """Return the state in memory if it is fresh; synchronous, never reads the disk."""
        return self._store.fresh(project)

    def recent(self, project: str, seconds: float) -> PageState | None:
        """Return the state in memory if the upstream confirmed it within so many seconds."""
        state = _confirmed(self._store.peek(project))
        return state if state is not None and state.freshness.age < seconds else None

    def hit(self, state: PageState) -> PageResult:
        """Return the result for a fresh state, and count the hit."""
        self._counters.page_hits += 1
        return PageResult(state, f"hit; ttl={max(0, state.freshness.remaining)}")

    async def stored(self, project: str) -> PageState | None:
        """Return the stored state, however old; None if there is none."""
        return _confirmed(await self._store.read(project))

    def stop(self) -> None:
        """Begin no other work in the background."""
        if self._digests is not None:
            self._digests.stop()

    async def get(self, project: str, *, accept_stale_absence: bool = False) -> PageResult:
        """
        Return the page of a project.

        Args:
            project: A normalized name.
            accept_stale_absence: Whether a stale "no such project" will do while the upstream is unavailable.

        Raises:
            Unavailable: The upstream is unavailable, and there is no stale page.
        """
        if (state := self.fresh(project)) is not None:
            return self.hit(state)
        old = await self.stored(project)
        if (state := self.fresh(project)) is not None:
            return self.hit(state)
        if old is not None and old.page is None and not accept_stale_absence:
            old = None
        if old is not None and old.failed_recently(self._times.monotonic()):
            self._counters.page_stale += 1
            return PageResult(old, f"hit; ttl={old.freshness.remaining}; detail=backing-off", is_stale=True)
        return await self._refresh(project, old)

    async def renew(self, project: str) -> PageState:
        """
        Request a page although it is fresh: its URLs may expire earlier, above all signed ones.

        Rate-limited, so that repeated requests for a missing file cause no more.

        Raises:
            Unavailable: The upstream is unavailable.
        """
        state, now = self.peek(project), self._times.monotonic()
        if state is not None and state.renewed_recently(now):
            return state
        if state is not None:
            state.renewed_at = now
        answer = await self._fetching.run(project, lambda: self._fetch(project, anew=True))
        answer.state.renewed_at = now
        return answer.state

    async def _refresh(self, project: str, old: PageState | None) -> PageResult:
        fetching = self._fetching.run(project, lambda: self._fetch(project))
        try:
            return await wait_at_most(
                self._reactor,
                self._patience(project, old),
                fetching,
                lambda: self._fetched_files(project) or "The upstream is slow.",
            )
        except SimpleIndexError as error:
            error.from_upstream = True
            if old is None:
                raise
            self._counters.page_stale += 1
            return PageResult(old, f"fwd=stale; detail={_detail(error)}", is_stale=True)

    def _patience(self, project: str, old: PageState | None) -> float:
        """Return for how many seconds a client waits for a request that may be running."""
        budget = self._times.response_timeout if old is None else self._times.revalidate_timeout
        if old is None and self._fetched_files(project) is not None:
            # That may take minutes: an installer that waits each time lasts until the end.
            return budget
        # Clients that join a running request share its deadline.
        return max(0.0, budget - self._fetching.age(project))

    def _fetched_files(self, project: str) -> str | None:
        return None if self._digests is None else self._digests.progress(project)

    # -- Fetching

    async def _fetch(self, project: str, *, anew: bool = False) -> PageResult:
        """Request the page and store it; `anew` sends no validators, so that 304 is impossible."""
        before = self._store.peek(project)
        page = await self._page(project, before, anew=anew)
        before = self._store.peek(project) or before
        if page is NOT_MODIFIED:
            return await self._record_unchanged(project, before)
        self._counters.page_misses += 1
        if before is not None and _drops_all_files(page, before) and self._defers_removal(project, before):
            self._counters.page_stale += 1
            code = 404 if page is None else 200
            return PageResult(before, f"fwd=stale; fwd-status={code}; detail=unconfirmed", is_stale=True)
        known = None if before is None else before.record
        if page is None:
            return PageResult(await self._record_absence(project, known), "fwd=miss; fwd-status=404")
        now = self._times.wall()
        hashed = await self._fetch_digests(known, page, now)

        def merge(record: PageRecord | None) -> PageRecord:
            # The record may have been evicted or forgotten during the requests; its pins still hold.
            return self._merge(page_record.with_hashed(record or known, project, hashed), page, now)

        state = await self._store.change(project, merge)
        assert state.record is not None
        refused = state.record.refused - (known.refused if known is not None else frozenset())
        self._counters.files_refused += len(refused)
        log_replaced_files(self.remote.url, sorted(refused))
        if page.left_out and (known is None or known.page.left_out != page.left_out):
            self._log_left_out(page)
        status = "fwd=miss" if _confirmed(before) is None else "fwd=stale; fwd-status=200"
        return PageResult(state, status + self._stored_suffix)

    def _merge(self, record: PageRecord | None, page: RemotePage, now: float) -> PageRecord:
        return merge_page(record, page, now, rebuilds=self._rebuilds, immutable=self.remote.is_immutable)

    async def _fetch_digests(
        self, known: PageRecord | None, page: RemotePage, now: float
    ) -> Mapping[str, FileDigest]:
        """Fetch the files of a new page that cannot be listed without; return their digests by URL."""
        hashed: dict[str, FileDigest] = {}
        if self._digests is None:
            return hashed
        merged = await self._worker.run(self._merge, known, page, now)
        missing = page_record.files_without_digest(merged)

        async def record(entry: RemoteFile, digest: FileDigest) -> None:
            hashed[entry.url] = digest
            with contextlib.suppress(ForgottenPage):
                await self._store.change(
                    page.project,
                    lambda record: page_record.with_hashed(record or known, page.project, hashed),
                    renewed=False,
                )

        try:
            await self._digests.fetch(page.project, missing, record)
        except SimpleIndexError:
            self._record_failure(self._store.peek(page.project))
            raise
        return hashed

    def _record_failure(self, state: PageState | None) -> None:
        if state is not None:
            state.failed_at, state.first_404_at = self._times.monotonic(), None

    async def _page(
        self, project: str, before: PageState | None, *, anew: bool
    ) -> RemotePage | NotModified | None:
        """Send the request unless in back-off; record a failure."""
        record = None if before is None else before.record
        if record is None or record.is_absent or anew or self._rebuilds:
            etag = modified = None
        else:
            etag, modified = record.page.etag, record.page.modified
        self._back_off.check(project)
        try:
            return await self.remote.page(project, etag=etag, modified=modified)
        except SimpleIndexError as error:
            self._back_off.record(project, error)
            _log.warn(
                "{upstream} did not send the page of {project}: {error}",
                upstream=self.remote.url,
                project=project,
                error=error.message,
            )
            self._record_failure(before)
            raise

    async def _record_absence(self, project: str, known: PageRecord | None) -> PageState:
        """Record that a project does not exist; on disk only if it did before: names may be guesses."""
        if known is None:
            return self._store.set_absent(project)
        now = self._times.wall()
        return await self._store.change(
            project, lambda record: replace(record or known, fetched_at=now, is_absent=True)
        )

    def _log_left_out(self, page: RemotePage) -> None:
        log = _log.info if page.files else _log.warn
        log(
            "{upstream} has {number} usable files of {project}; others are left out: {reasons}.",
            project=page.project,
            upstream=self.remote.url,
            number=len(page.files) or "no",
            reasons="; ".join(f"{number} because {reason}" for reason, number in page.left_out.items()),
        )

    def problems(self) -> Iterator[Problem]:
        """Report the files that pages in memory left out, those that were replaced, and those not fetched."""
        if self._digests is not None:
            yield from self._digests.problems()
        for record in self._store.records():
            for filename in record.refused:
                yield replaced_file_problem(record.page.project, filename)
            for reason, number in record.page.left_out.items():
                files = "1 file is" if number == 1 else f"{number} files are"
                yield Problem(
                    path=f"{record.page.project}/",
                    reason=f"{files} on the upstream's page but not listed, because {reason}.",
                    advice="Ask the operator of the upstream to correct them.",
                )

    async def store_absence(self, project: str) -> None:
        """Store an absence on disk too: another upstream has the project, so its name is no guess."""
        state = self._store.peek(project)
        if state is not None and state.record is None:
            fetched_at = self._times.wall() - state.freshness.age
            absence = page_record.PageRecord(
                page=RemotePage(project=project), fetched_at=fetched_at, is_absent=True
            )
            await self._store.change(project, lambda record: record or absence)

    def _defers_removal(self, project: str, state: PageState) -> bool:
        """
        Return whether to defer the removal of a project, or of all its files, until it is confirmed.

        During a deployment, a web server or load balancer may respond 404 for everything for some
        seconds; a real removal persists.
        """
        now = self._times.monotonic()
        if state.first_404_at is None:
            state.first_404_at = now
            if self._times.absent_ttl:
                _log.warn(
                    "{upstream} no longer has files of {project}: accepted if unchanged after {seconds:g}"
                    " seconds",
                    upstream=self.remote.url,
                    project=project,
                    seconds=self._times.absent_ttl,
                )
        state.failed_at = now
        return now - state.first_404_at < self._times.absent_ttl

    async def _record_unchanged(self, project: str, before: PageState | None) -> PageResult:
        if before is None or before.record is None or before.record.is_absent:
            raise BadGateway("The upstream sent 304 to an unconditional request.")
        self._counters.page_revalidated += 1
        await self._store.renew(project, before, self._times.wall())
        return PageResult(before, "fwd=stale; fwd-status=304; stored")

    def expire(self, project: str) -> None:
        """Revalidate a page on the next request: a file contradicted it, so it may have changed."""
        state = self._store.peek(project)
        if state is not None:
            state.freshness.expire()

    async def pin_digest(self, project: str, filename: str, sha256: str, size: int) -> None:
        """
        Store the digest and size of a file for which the upstream promises none.

        From now on the file is listed with them, and other bytes are refused.
        """
        state = self._store.peek(project)
        known = None if state is None else state.record

        def pin(record: PageRecord | None) -> PageRecord:
            if (record := record or known) is None:
                raise _Unknown
            return page_record.with_digest(record, filename, sha256, size)

        with contextlib.suppress(_Unknown, ForgottenPage):
            await self._store.change(project, pin, renewed=False)


class OfflinePageCache(PageCache):
    """Offline cache: serves stored pages and sends no requests."""

    _store_class = OfflinePageStore

    async def get(self, project: str, *, accept_stale_absence: bool = False) -> PageResult:
        """Return the stored page of a project."""
        if (state := self.fresh(project)) is not None:
            return self.hit(state)
        return PageResult(await self._store.read(project) or self._store.set_absent(project), "hit")


class StoredPageCache(PageCache):
    """Serves what a server has stored, however old, and sends no requests."""

    async def get(self, project: str, *, accept_stale_absence: bool = False) -> PageResult:
        """
        Return the stored page of a project.

        Raises:
            Unavailable: There is none.
        """
        stored = await self.stored(project)
        if stored is None:
            raise Unavailable("Its page is not in the cache, and the upstream was not asked.")
        return PageResult(stored, "hit", is_stale=True)


def _confirmed(state: PageState | None) -> PageState | None:
    """Return None for a state of a page that has not been listed yet."""
    if state is None or state.record is None or state.record.is_confirmed:
        return state
    return None


def _drops_all_files(page: RemotePage | None, before: PageState) -> bool:
    """Return whether the new page drops every file; a quarantine does so deliberately."""
    if page is None:
        return before.page is not None
    return bool(before.files) and not page.files and page.status.status is not Status.QUARANTINED


def _detail(error: SimpleIndexError) -> str:
    """Return the Cache-Status detail token for a stale page (RFC 9211 section 2.8)."""
    if isinstance(error, NotReady):
        return "slow"
    return "bad-gateway" if isinstance(error, BadGateway) else "unavailable"
