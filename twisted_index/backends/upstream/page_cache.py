"""
Cache of an upstream's project pages: fresh for a while, then revalidated, stale rather than none.

One request per project goes upstream at a time, and all clients wait for it together. It goes on after
they have been given a stale page, so that the next one gets the new page.

Out of scope: storage (see `page_store`), several upstreams (see `source`).
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.logger import Logger

from twisted_index.backends.upstream import page_record
from twisted_index.backends.upstream.back_off import BackOff
from twisted_index.backends.upstream.page_store import ForgottenPage, OfflinePageStore, PageStore
from twisted_index.backends.upstream.remote import NOT_MODIFIED, RemotePage
from twisted_index.concurrency.deadline import wait_at_most
from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.errors import BadGateway, NotReady, SimpleIndexError
from twisted_index.interfaces import Problem
from twisted_index.simple.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.backends.upstream.counters import UpstreamCounters
    from twisted_index.backends.upstream.disk_cache import DiskCache
    from twisted_index.backends.upstream.page_freshness import CacheTimes
    from twisted_index.backends.upstream.page_record import PageRecord
    from twisted_index.backends.upstream.page_store import PageState
    from twisted_index.backends.upstream.remote import IUpstreamClient, NotModified
    from twisted_index.concurrency.thread_pool import IThreadRunner

_log = Logger()


class PageResult(NamedTuple):
    """
    What is known, and whence.

    Attributes:
        state: What is known now.
        cache_status: See `Snapshot`.
        is_stale: Whether it is old, and only given for want of better.
    """

    state: PageState
    cache_status: str
    is_stale: bool = False


class _Unknown(Exception):
    """Nothing is known of a project, neither in memory nor on the disk."""


class PageCache:
    """
    The pages of one upstream.

    Args:
        remote: The upstream.
        cache: Where they are kept; None keeps them in memory only, and never gives an old one.
        worker: Threads.
        reactor: Tells when a wait is over.
        times: How long things hold.
        counters: Counts.
        rebuilds: Whether a file for which no digest is promised may get other bytes; then its digest
            holds for as long as the page does.
    """

    _keeping = PageStore

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
    ) -> None:
        self.remote = remote
        self._kept = self._keeping(remote.url, cache, worker, times)
        self._stored = "" if cache is None else "; stored"
        self._reactor = reactor
        self._times = times
        self._counters = counters
        self._rebuilds = rebuilds
        self._rests = BackOff(times.monotonic)
        self._fetching = SingleFlight[str, PageResult](times.monotonic)

    # -- Asking

    def peek(self, project: str) -> PageState | None:
        """Give what is in memory, fresh or not."""
        return self._kept.peek(project)

    def fresh(self, project: str) -> PageState | None:
        """Give what is in memory, if it is fresh: at once, without a look at the disk."""
        return self._kept.fresh(project)

    def recent(self, project: str, seconds: float) -> PageState | None:
        """Give what is in memory, if the upstream said it within so many seconds."""
        state = self._kept.peek(project)
        return state if state is not None and state.validity.age < seconds else None

    def hit(self, state: PageState) -> PageResult:
        """Make the answer of a state that is fresh, and count it."""
        self._counters.page_hits += 1
        return PageResult(state, f"hit; ttl={max(0, state.validity.remaining)}")

    async def stored(self, project: str) -> PageState | None:
        """Give what the upstream said last, however long ago; None if nothing of that is kept."""
        return await self._kept.read(project)

    async def get(self, project: str, *, denial_will_do: bool = False) -> PageResult:
        """
        Say what the upstream has of a project.

        Args:
            project: A normalized name.
            denial_will_do: Whether, if it cannot be asked, it is also good to know that it had no such
                project when it was asked last.

        Raises:
            Unavailable: It cannot be asked, and there is nothing old.
        """
        if (state := self.fresh(project)) is not None:
            return self.hit(state)
        old = await self._kept.read(project)
        if (state := self.fresh(project)) is not None:
            return self.hit(state)
        if old is not None and old.page is None and not denial_will_do:
            old = None
        if old is not None and old.backs_off(self._times.monotonic()):
            self._counters.page_stale += 1
            return PageResult(old, f"hit; ttl={old.validity.remaining}; detail=backing-off", is_stale=True)
        return await self._refresh(project, old)

    async def renew(self, project: str) -> PageState:
        """
        Ask for a page though it is fresh: URLs on it may be shorter-lived, signed ones above all.

        Once in a while, so that who asks for a missing file again and again causes no more.

        Raises:
            Unavailable: It cannot be asked.
        """
        state, now = self.peek(project), self._times.monotonic()
        if state is not None and state.is_renewed(now):
            return state
        if state is not None:
            state.renewed_at = now
        answer = await self._fetching.run(project, lambda: self._fetch(project, anew=True))
        answer.state.renewed_at = now
        return answer.state

    async def _refresh(self, project: str, old: PageState | None) -> PageResult:
        budget = self._times.response_timeout if old is None else self._times.revalidate_timeout
        # A later client does not wait longer than the first.
        left = max(0.0, budget - self._fetching.age(project))
        asking = self._fetching.run(project, lambda: self._fetch(project))
        try:
            return await wait_at_most(self._reactor, left, asking, lambda: "The upstream is slow.")
        except SimpleIndexError as error:
            if old is None:
                raise
            self._counters.page_stale += 1
            return PageResult(old, f"fwd=stale; detail={_detail(error)}", is_stale=True)

    # -- Fetching

    async def _fetch(self, project: str, *, anew: bool = False) -> PageResult:
        """Ask the upstream, and keep what it says; `anew` takes no "unchanged" for an answer."""
        before = self._kept.peek(project)
        page = await self._page(project, before, anew=anew)
        before = self._kept.peek(project) or before
        if page is NOT_MODIFIED:
            return await self._note_same(project, before)
        self._counters.page_misses += 1
        if before is not None and _takes_away(page, before) and self._doubts(project, before):
            self._counters.page_stale += 1
            said = 404 if page is None else 200
            return PageResult(before, f"fwd=stale; fwd-status={said}; detail=unconfirmed", is_stale=True)
        known = None if before is None else before.record
        if page is None:
            return PageResult(await self._note_absence(project, known), "fwd=miss; fwd-status=404")
        now = self._times.wall()
        # The record may have been evicted while the upstream was asked; its pins still hold.
        state = await self._kept.change(
            project,
            lambda record: page_record.merge_page(record or known, page, now, rebuilds=self._rebuilds),
        )
        if page.left_out and (known is None or known.page.left_out != page.left_out):
            self._tell_left_out(page)
        status = "fwd=miss" if known is None else "fwd=stale; fwd-status=200"
        return PageResult(state, status + self._stored)

    async def _page(
        self, project: str, before: PageState | None, *, anew: bool
    ) -> RemotePage | NotModified | None:
        """Ask the upstream, unless it wants to rest; remember that it failed, if it does."""
        record = None if before is None else before.record
        if record is None or record.is_absent or anew or self._rebuilds:
            etag = modified = None
        else:
            etag, modified = record.page.etag, record.page.modified
        self._rests.check(project)
        try:
            return await self.remote.page(project, etag=etag, modified=modified)
        except SimpleIndexError as error:
            self._rests.record(project, error)
            _log.warn(
                "{upstream} did not give the page of {project}: {error}",
                upstream=self.remote.url,
                project=project,
                error=error.message,
            )
            if before is not None:
                before.failed_at, before.first_404_at = self._times.monotonic(), None
            raise

    async def _note_absence(self, project: str, known: PageRecord | None) -> PageState:
        """Remember that there is no such project; on disk only if there was one, or guesses would fill it."""
        if known is None:
            return self._kept.set_absent(project)
        now = self._times.wall()
        return await self._kept.change(
            project, lambda record: replace(record or known, fetched_at=now, is_absent=True)
        )

    def _tell_left_out(self, page: RemotePage) -> None:
        tell = _log.info if page.files else _log.warn
        tell(
            "Of {project} at {upstream} {number} files are listed, and others left out: {reasons}.",
            project=page.project,
            upstream=self.remote.url,
            number=len(page.files) or "no",
            reasons="; ".join(f"{number}, as {reason}" for reason, number in page.left_out.items()),
        )

    def problems(self) -> Iterator[Problem]:
        """Say what pages that are in memory have besides what is listed of them."""
        for record in self._kept.records():
            for reason, number in record.page.left_out.items():
                files = "1 file is" if number == 1 else f"{number} files are"
                yield Problem(
                    path=f"{record.page.project}/",
                    reason=f"{files} on the page of the upstream, and not listed, as {reason}.",
                    advice="Ask the operator of the upstream to mend its links.",
                )

    async def store_absence(self, project: str) -> None:
        """Keep on disk, too, that there is no such project: another upstream has it, so it is no guess."""
        state = self._kept.peek(project)
        if state is not None and state.record is None:
            said = self._times.wall() - state.validity.age
            absence = page_record.PageRecord(
                page=RemotePage(project=project), fetched_at=said, is_absent=True
            )
            await self._kept.change(project, lambda record: record or absence)

    def _doubts(self, project: str, state: PageState) -> bool:
        """
        Say whether it is too early to believe that a project, or each of its files, is gone.

        A web server that is being set up anew, or a load balancer, may say so for some seconds of all
        that it has. Who removes a project goes on saying so.
        """
        now = self._times.monotonic()
        if state.first_404_at is None:
            state.first_404_at = now
            if self._times.absent_ttl:
                _log.warn(
                    "{upstream} has no file of {project} any more: that is believed if it still says so in"
                    " {seconds:g} seconds",
                    upstream=self.remote.url,
                    project=project,
                    seconds=self._times.absent_ttl,
                )
        state.failed_at = now
        return now - state.first_404_at < self._times.absent_ttl

    async def _note_same(self, project: str, before: PageState | None) -> PageResult:
        if before is None or before.record is None:
            raise BadGateway("The upstream said that a page has not changed, which it was never asked.")
        self._counters.page_revalidated += 1
        await self._kept.renew(project, before, self._times.wall())
        return PageResult(before, "fwd=stale; fwd-status=304; stored")

    def expire(self, project: str) -> None:
        """Ask for a page the next time: a file was not what it says, and it may have changed since."""
        state = self._kept.peek(project)
        if state is not None:
            state.validity.expire()

    async def pin_digest(self, project: str, filename: str, sha256: str, size: int) -> None:
        """
        Keep the digest and size of a file for which the upstream promises none.

        From now on it is listed with them, and other bytes are refused.
        """
        state = self._kept.peek(project)
        known = None if state is None else state.record

        def learn(record: PageRecord | None) -> PageRecord:
            if (record := record or known) is None:
                raise _Unknown
            return page_record.with_digest(record, filename, sha256, size)

        with contextlib.suppress(_Unknown, ForgottenPage):
            await self._kept.change(project, learn, renewed=False)


class OfflinePageCache(PageCache):
    """Those of an upstream that is not asked: what is kept is all there is."""

    _keeping = OfflinePageStore

    async def get(self, project: str, *, denial_will_do: bool = False) -> PageResult:
        """Say what is in the cache of a project."""
        if (state := self.fresh(project)) is not None:
            return self.hit(state)
        return PageResult(await self._kept.read(project) or self._kept.set_absent(project), "hit")


def _takes_away(page: RemotePage | None, before: PageState) -> bool:
    """Tell whether all that there was is gone; that a project is quarantined is said on purpose."""
    if page is None:
        return before.page is not None
    return bool(before.files) and not page.files and page.status.status is not Status.QUARANTINED


def _detail(error: SimpleIndexError) -> str:
    """Say in one token why an old page is given."""
    if isinstance(error, NotReady):
        return "slow"
    return "bad-gateway" if isinstance(error, BadGateway) else "unavailable"
