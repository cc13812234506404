"""
Other indexes as a source: asked one after the other, and kept what they said.

Only "there is no such project" leads on to the next. One that cannot be asked ends the search, as the
project may be its: then the answer is an old page, or the truth that it cannot be told now.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from twisted_index.interfaces import IRunning, ISource, Snapshot
from twisted_index.simple.model import ProjectList
from twisted_index.upstream.companions import Companions
from twisted_index.upstream.files import Files, Wanted
from twisted_index.upstream.measures import Measures
from twisted_index.upstream.pages import Times, UpstreamPages
from twisted_index.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.interfaces import Eventually, FileBody
    from twisted_index.simple.model import Companion, ProjectPage
    from twisted_index.upstream.cachefolder import CacheFolder
    from twisted_index.upstream.pages import PageAnswer, PageState, Truth
    from twisted_index.upstream.remote import Remote
    from twisted_index.worker import Works

#: Seconds for which a page that was just asked for is good enough to open its files, where none is
#: kept: an installer asks for the page first, and then for files.
_JUST_NOW = 30.0


class _Found(NamedTuple):
    """What is known of a project, where, and how long it is to be repeated."""

    pages: UpstreamPages
    state: PageState
    snapshot: Snapshot[ProjectPage | None]


@implementer(ISource, IRunning)
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
        patience: Seconds that a client waits for a page when there is an old one.
        answer_timeout: Seconds that it waits when there is none.
        offline: Whether nothing is ever asked; then only files that are in the cache are listed.
        wall: Gives seconds since the epoch.
        monotonic: Gives seconds that only go up.
    """

    def __init__(
        self,
        remotes: Sequence[Remote],
        cache: CacheFolder | None = None,
        *,
        reactor: Any = None,
        worker: Works | None = None,
        ttl: float = 600.0,
        absent_ttl: float = 60.0,
        patience: float = 5.0,
        answer_timeout: float = 10.0,
        offline: bool = False,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._remotes = tuple(remotes)
        self._keeps = cache is not None
        self._own_worker = Worker(reactor, name="index-upstream") if worker is None else None
        works: Works = worker or self._own_worker  # type: ignore[assignment]
        self._measures = Measures()
        times = Times(
            ttl=ttl if self._keeps else 0.0,
            absent_ttl=absent_ttl if self._keeps else 0.0,
            patience=patience,
            answer_timeout=answer_timeout,
            wall=wall,
            monotonic=monotonic,
        )
        self._pages = [
            UpstreamPages(
                remote,
                cache=cache,
                worker=works,
                reactor=reactor,
                times=times,
                measures=self._measures,
                offline=offline,
            )
            for remote in self._remotes
        ]
        self._files = Files(
            cache=cache,
            worker=works,
            reactor=reactor,
            wall=wall,
            answer_timeout=answer_timeout,
            measures=self._measures,
            offline=offline,
            arrived=lambda wanted, sha256: self._companions.compare(wanted, sha256),
        )
        self._companions = Companions(
            cache=cache,
            files=self._files,
            worker=works,
            reactor=reactor,
            monotonic=monotonic,
            answer_timeout=answer_timeout,
            measures=self._measures,
            offline=offline,
        )
        self._list = Snapshot(value=ProjectList(), still_true=lambda: True)

    def start(self) -> None:
        """See `IRunning`. What was left unfinished is removed; nothing is asked."""
        for remote in self._remotes:
            if IRunning.providedBy(remote):
                remote.start()
        self._files.start()

    async def stop(self) -> None:
        """See `IRunning`. What is on its way is broken off."""
        await self._files.stop()
        for remote in self._remotes:
            if IRunning.providedBy(remote):
                await maybeDeferred(remote.stop)
        if self._own_worker is not None:
            await self._own_worker.stop()

    def metrics(self) -> dict[str, int]:
        """Give what has been done since the start, in numbers; see `Measures`."""
        return self._measures.as_numbers()

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
                return None if known is None else known.since
        return None

    # -- What ISource asks

    def project_list(self) -> Snapshot[ProjectList]:
        """See `ISource`. Empty: an upstream has more projects than anybody wants to see."""
        return self._list

    def project_page(self, project: str) -> Eventually[Snapshot[ProjectPage | None]]:
        """See `ISource`. Answers without a Deferred what is in memory and fresh."""
        found = self._at_hand(project)
        return self._look(project) if found is None else found.snapshot

    def open_file(
        self, project: str, filename: str, companion: Companion | None = None
    ) -> Eventually[FileBody | None]:
        """See `ISource`. Answers without a Deferred what is in the cache, of a page that is fresh."""
        found = self._at_hand(project)
        if found is not None and companion is None:
            if filename not in found.state.files:
                return None
            body = self._files.cached(self._wanted(project, filename, found))
            if body is not None:
                return body
        return Deferred.fromCoroutine(self._open(project, filename, companion, found))

    # -- Looking

    def _at_hand(self, project: str) -> _Found | None:
        """Find a project in memory, if all that is asked about it is fresh."""
        truths: list[Truth] = []
        for pages in self._pages:
            state = pages.fresh(project)
            if state is None:
                return None
            truths.append(state.truth)
            if state.page is not None or pages is self._pages[-1]:
                return _found(pages, pages.hit(state), truths)
        return None

    async def _look(self, project: str) -> Snapshot[ProjectPage | None]:
        found = await self._find(project)
        return Snapshot(value=None, still_true=_always) if found is None else found.snapshot

    async def _find(self, project: str) -> _Found | None:
        """
        Ask the upstreams in order. A failure of one passes on: it may be its project.

        Returns:
            What the last one said that was asked; None if there are none.
        """
        truths: list[Truth] = []
        found = None
        for pages in self._pages:
            answer = await pages.ask(project)
            truths.append(answer.state.truth)
            found = _found(pages, answer, truths)
            if answer.state.page is not None:
                break
        return found

    async def _find_recent(self, project: str) -> _Found | None:
        """Find a project for one of its files: where no page is kept, that of a moment ago is good enough."""
        if not self._keeps:
            for pages in self._pages:
                state = pages.recent(project, _JUST_NOW)
                if state is None:
                    break
                if state.page is not None:
                    return _Found(pages, state, Snapshot(value=state.page, still_true=_never))
        return await self._find(project)

    # -- Opening

    async def _open(
        self, project: str, filename: str, companion: Companion | None, found: _Found | None
    ) -> FileBody | None:
        found = found or await self._find_recent(project)
        if found is None or filename not in found.state.files:
            return None
        wanted = self._wanted(project, filename, found)
        if companion is None:
            return await self._files.open(wanted)
        return await self._companions.open(wanted, companion)

    def _wanted(self, project: str, filename: str, found: _Found) -> Wanted:
        pages, state = found.pages, found.state
        one = state.files[filename]
        assert state.record is not None
        uploaded = one.file.upload_time
        return Wanted(
            remote=pages.remote,
            one=one,
            modified=state.record.known[filename].since if uploaded is None else uploaded.timestamp(),
            still_listed=found.snapshot.still_true,
            learn=lambda sha256, size: pages.learn(project, filename, sha256, size),
        )


def _found(pages: UpstreamPages, answer: PageAnswer, truths: list[Truth]) -> _Found:
    if answer.stale:
        still_true: Callable[[], bool] = _never
    else:
        still_true = truths[0] if len(truths) == 1 else _all_of(tuple(truths))
    snapshot = Snapshot(value=answer.state.page, still_true=still_true, cache_status=answer.cache_status)
    return _Found(pages, answer.state, snapshot)


def _all_of(truths: tuple[Truth, ...]) -> Callable[[], bool]:
    return lambda: all(truth() for truth in truths)


def _never() -> bool:
    """Say no for what is only given for want of better."""
    return False


def _always() -> bool:
    """Say yes: where nobody can be asked there is never anything."""
    return True
