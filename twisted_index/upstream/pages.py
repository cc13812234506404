"""
The project pages of one upstream: fresh for a while, then asked for again, and old rather than none.

One question at a time goes upstream for each project; all who ask meanwhile wait for it together. It
goes on when they have been given an old page instead, so that the next one gets the new.

Not for: several upstreams, and which of them is asked (`source`).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.logger import Logger

from twisted_index.errors import BadGateway, NotReady, SimpleIndexError
from twisted_index.sources.patience import wait_at_most
from twisted_index.upstream import records
from twisted_index.upstream.remote import NOT_MODIFIED
from twisted_index.upstream.together import Together

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.simple.model import ProjectPage
    from twisted_index.upstream.cachefolder import CacheFolder
    from twisted_index.upstream.measures import Measures
    from twisted_index.upstream.records import PageRecord
    from twisted_index.upstream.remote import Remote, RemoteFile
    from twisted_index.worker import Works

_log = Logger()

#: Files whose state is kept in memory, at about 3 KB each. What is dropped comes back from the disk.
_MOST_FILES = 20_000
#: Names that are remembered not to be there. Whoever guesses names cannot fill the disk.
_MOST_ABSENT = 10_000
#: Bytes of a page on disk that is read: 100,000 files.
_MOST_BYTES = 200 << 20
#: Seconds for which an upstream that could not give a page is not asked for it again, if there is an
#: old one: so that only one client in so many has to wait.
_BACK_OFF = 10.0
#: Seconds for which what offline mode lists is taken to be there.
_OFFLINE_LOOK = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """
    How long things hold, in seconds, and the clocks that say so.

    Attributes:
        ttl: For which a page is fresh.
        absent_ttl: For which a project is taken not to be there.
        patience: For which a client waits when there is an old page to be had.
        answer_timeout: For which it waits when there is none.
        wall: Seconds since the epoch.
        monotonic: Seconds that only go up.
    """

    ttl: float
    absent_ttl: float
    patience: float
    answer_timeout: float
    wall: Callable[[], float]
    monotonic: Callable[[], float]


class Truth:
    """
    Is what an upstream said still to be repeated? Small, as prepared answers keep it.

    By both clocks: the wall clock knows of restarts and of sleep, and the other cannot be set.

    Args:
        times: The clocks.
        ttl: Seconds.
        said: When the upstream said so, by the wall clock.
    """

    __slots__ = ("_current", "_said", "_seen", "_times", "_ttl")

    def __init__(self, times: Times, ttl: float, said: float) -> None:
        self._times = times
        self._ttl = ttl
        self._current = True
        self._said = said
        self._seen = times.monotonic()

    def __call__(self) -> bool:
        """Say whether it is."""
        times = self._times
        return (
            self._current
            and times.monotonic() - self._seen < self._ttl
            and 0 <= times.wall() - self._said < self._ttl
        )

    def renew(self, said: float) -> None:
        """Note that the upstream said it again."""
        self._said = said
        self._seen = self._times.monotonic()

    def again(self) -> Truth:
        """Make another one that holds as long as this one."""
        other = Truth(self._times, self._ttl, self._said)
        other._seen = self._seen
        return other

    def end(self) -> None:
        """Note that something else is true now."""
        self._current = False

    @property
    def age(self) -> float:
        """Seconds since the upstream said so, as far as this process knows."""
        return self._times.monotonic() - self._seen

    @property
    def left(self) -> int:
        """Whole seconds for which it holds; less than none if it holds no more."""
        return int(self._said + self._ttl - self._times.wall())


class Stamp(NamedTuple):
    """Which file on disk a state was read from or written to."""

    inode: int
    mtime_ns: int
    size: int

    @classmethod
    def of(cls, path: str) -> Stamp | None:
        """Look; None if there is no such file."""
        try:
            return cls.taken(os.stat(path))
        except OSError:
            return None

    @classmethod
    def taken(cls, status: os.stat_result) -> Stamp:
        """Take it out of what `stat` said."""
        return cls(status.st_ino, status.st_mtime_ns, status.st_size)


@dataclass(slots=True, eq=False)
class PageState:
    """
    What is known of a project at one upstream.

    Attributes:
        record: What it said; None if it only ever said that there is no such project.
        page: As it is shown; None if there is no such project.
        files: What is listed, by file name.
        truth: Whether all this is to be repeated.
        stamp: What lies on disk; None if nothing does.
        failed_at: When the upstream could last not be asked: monotonic seconds; None if it could.
        denied_at: When the upstream first said that there is no such project, which is not believed
            yet: monotonic seconds; None if it says that there is.
    """

    record: PageRecord | None
    page: ProjectPage | None
    files: dict[str, RemoteFile]
    truth: Truth
    stamp: Stamp | None = None
    failed_at: float | None = None
    denied_at: float | None = None

    def backs_off(self, now: float) -> bool:
        """Say whether the upstream could not be asked just now, by monotonic seconds."""
        return self.failed_at is not None and now - self.failed_at < _BACK_OFF


class PageAnswer(NamedTuple):
    """
    What is known, and whence.

    Attributes:
        state: What is known now.
        cache_status: See `Snapshot`.
        stale: Whether it is old, and only given for want of better.
    """

    state: PageState
    cache_status: str
    stale: bool = False


class _Shown(NamedTuple):
    """What is listed of a record, and where it lies."""

    record: PageRecord
    page: ProjectPage | None
    files: dict[str, RemoteFile]
    stamp: Stamp | None = None


class UpstreamPages:
    """
    The pages of one upstream.

    Args:
        remote: The upstream.
        cache: Where they are kept; None keeps them in memory only, and never gives an old one.
        worker: Threads.
        reactor: Tells when a wait is over.
        times: How long things hold.
        measures: Counts.
        offline: Whether nothing is asked, and only files that are in the cache are listed.
    """

    def __init__(
        self,
        remote: Remote,
        *,
        cache: CacheFolder | None,
        worker: Works,
        reactor: Any,
        times: Times,
        measures: Measures,
        offline: bool = False,
    ) -> None:
        self.remote = remote
        self._cache = cache
        self._worker = worker
        self._reactor = reactor
        self._times = times
        self._measures = measures
        self._offline = offline
        self._states: OrderedDict[str, PageState] = OrderedDict()
        self._files = 0
        self._absent: OrderedDict[str, PageState] = OrderedDict()
        self._reading = Together[str, "PageState | None"](times.monotonic)
        self._fetching = Together[str, PageAnswer](times.monotonic)

    # -- Asking

    def peek(self, project: str) -> PageState | None:
        """Give what is in memory, fresh or not."""
        return self._states.get(project) or self._absent.get(project)

    def fresh(self, project: str) -> PageState | None:
        """Give what is in memory, if it is fresh: at once, without a look at the disk."""
        state = self._states.get(project) or self._absent.get(project)
        if state is None or not state.truth():
            return None
        if state.page is not None:
            self._states.move_to_end(project)
        return state

    def recent(self, project: str, seconds: float) -> PageState | None:
        """Give what is in memory, if the upstream said it within so many seconds."""
        state = self._states.get(project) or self._absent.get(project)
        return state if state is not None and state.truth.age < seconds else None

    def hit(self, state: PageState) -> PageAnswer:
        """Make the answer of a state that is fresh, and count it."""
        self._measures.page_hits += 1
        return PageAnswer(state, f"hit; ttl={max(0, state.truth.left)}")

    async def ask(self, project: str) -> PageAnswer:
        """
        Say what the upstream has of a project.

        Raises:
            Unavailable: It cannot be asked, and there is no old page.
        """
        if (state := self.fresh(project)) is not None:
            return self.hit(state)
        old = None
        if self._cache is not None:
            old = await self._reading.ask(project, lambda: self._read(project))
        if (state := self.fresh(project)) is not None:
            return self.hit(state)
        if self._offline:
            return PageAnswer(old or self._set_absent(project), "hit")
        if old is not None and old.page is None:
            old = None
        if old is not None and old.backs_off(self._times.monotonic()):
            self._measures.page_stale += 1
            return PageAnswer(old, f"hit; ttl={old.truth.left}; detail=backing-off", stale=True)
        return await self._refresh(project, old)

    async def _refresh(self, project: str, old: PageState | None) -> PageAnswer:
        budget = self._times.answer_timeout if old is None else self._times.patience
        # Whoever comes later does not wait longer than who came first.
        left = max(0.0, budget - self._fetching.age(project))
        asking = self._fetching.ask(project, lambda: self._fetch(project))
        try:
            return await wait_at_most(self._reactor, left, asking, lambda: "The upstream is slow.")
        except SimpleIndexError as error:
            if old is None:
                raise
            self._measures.page_stale += 1
            return PageAnswer(old, f"fwd=stale; detail={_detail(error)}", stale=True)

    # -- Fetching

    async def _fetch(self, project: str) -> PageAnswer:
        """Ask the upstream, and keep what it says."""
        before = self._states.get(project)
        record = None if before is None else before.record
        if record is None or record.gone:
            etag = modified = None
        else:
            etag, modified = record.page.etag, record.page.modified
        try:
            page = await self.remote.page(project, etag=etag, modified=modified)
        except SimpleIndexError as error:
            _log.warn(
                "{upstream} did not give the page of {project}: {error}",
                upstream=self.remote.url,
                project=project,
                error=error.sentence,
            )
            if before is not None:
                before.failed_at, before.denied_at = self._times.monotonic(), None
            raise
        # What was learned of a file meanwhile is in the state that is there now.
        before = self._states.get(project, before)
        record = None if before is None else before.record
        now = self._times.wall()
        if page is None:
            return await self._note_absence(project, before, now)
        if page is NOT_MODIFIED:
            return await self._note_same(project, before, now)
        self._measures.page_misses += 1
        state = await self._set(project, records.follow(record, page, now))
        status = "fwd=miss" if record is None else "fwd=stale; fwd-status=200"
        return PageAnswer(state, f"{status}; stored" if self._cache is not None else status)

    async def _note_absence(self, project: str, before: PageState | None, now: float) -> PageAnswer:
        """Remember that there is no such project; on disk only if there was one, or guesses would fill it."""
        self._measures.page_misses += 1
        if before is not None and before.page is not None and self._doubts(before):
            self._measures.page_stale += 1
            return PageAnswer(before, "fwd=stale; fwd-status=404; detail=unconfirmed", stale=True)
        if before is not None and before.record is not None:
            state = await self._set(project, replace(before.record, fetched=now, gone=True))
        else:
            state = self._set_absent(project)
        return PageAnswer(state, "fwd=miss; fwd-status=404")

    def _doubts(self, state: PageState) -> bool:
        """
        Say whether it is too early to believe that a project is gone.

        A web server that is being set up anew, or a load balancer, may say so for some seconds of all
        that it has. Who removes a project goes on saying so.
        """
        now = self._times.monotonic()
        if state.denied_at is None:
            state.denied_at = now
        state.failed_at = now
        return now - state.denied_at < self._times.absent_ttl

    async def _note_same(self, project: str, before: PageState | None, now: float) -> PageAnswer:
        if before is None or before.record is None:
            raise BadGateway("The upstream said that a page has not changed, which it was never asked.")
        self._measures.page_revalidated += 1
        before.failed_at = before.denied_at = None
        before.truth.renew(now)
        before.record = replace(before.record, fetched=now)
        if self._cache is not None and before.stamp is not None:
            path = self._cache.page_path(self.remote.url, before.record.page.project)
            before.stamp = await self._worker.run(_write_time, path, now, before.stamp)
            if before.stamp is None:  # it had to make room for others
                before.stamp = await self._worker.run(self._write, project, before.record)
        return PageAnswer(before, "fwd=stale; fwd-status=304; stored")

    async def learn(self, project: str, filename: str, sha256: str, size: int) -> None:
        """
        Keep the digest and size of a file for which the upstream promises none.

        From now on it is listed with them, and other bytes are refused.
        """
        state = self._states.get(project)
        if state is None or state.record is None or state.record.gone:
            return
        known = state.record.known.get(filename)
        if known is None or (known.sha256, known.size) == (sha256, size):
            return
        before = state
        state = await self._set(
            project, records.learn(state.record, filename, sha256, size), truth=before.truth
        )
        state.failed_at, state.denied_at = before.failed_at, before.denied_at

    # -- Keeping

    async def _read(self, project: str) -> PageState | None:
        """Take from the disk what another process, or an earlier one, has kept, if it is younger."""
        assert self._cache is not None
        known = self._states.get(project)
        path = self._cache.page_path(self.remote.url, project)
        found = await self._worker.run(self._load, path, project, known)
        now_known = self._states.get(project)
        if found is not None and now_known is known:
            return self._put(project, found)
        if self._offline and known is not None and known.record is not None:
            return await self._set(project, known.record)
        return now_known

    def _load(self, path: str, project: str, known: PageState | None) -> _Shown | None:
        assert self._cache is not None
        stamp = Stamp.of(path)
        if stamp is None or (known is not None and stamp == known.stamp):
            return None
        document = self._cache.read(path, _MOST_BYTES)
        record = None if document is None else records.decode(document, self.remote.url, project)
        if record is None:
            return None
        if known is not None and known.record is not None and known.record.fetched > record.fetched:
            return None
        return self._show(record, known)._replace(stamp=stamp)

    async def _set(self, project: str, record: PageRecord, *, truth: Truth | None = None) -> PageState:
        """Take over a record, in memory now and on disk soon."""
        shown = await self._worker.run(self._show, record, self._states.get(project))
        state = self._put(project, shown, truth)
        if self._cache is not None and not self._offline:
            state.stamp = await self._worker.run(self._write, project, record)
        return state

    def _show(self, record: PageRecord, before: PageState | None) -> _Shown:
        """Make what is listed of a record; the very page of before, if it says the same."""
        files = records.listed_files(record)
        if self._offline:
            files = {name: one for name, one in files.items() if self._is_here(one)}
        page = None if record.gone else records.make_page(record, files.values())
        if before is not None and before.page == page:
            page = before.page
        return _Shown(record, page, files)

    def _is_here(self, one: RemoteFile) -> bool:
        sha256 = one.file.hashes.get("sha256")
        return self._cache is not None and sha256 is not None and self._cache.has_file(sha256)

    def _write(self, project: str, record: PageRecord) -> Stamp | None:
        assert self._cache is not None
        path = self._cache.page_path(self.remote.url, project)
        status = self._cache.replace_page(path, records.encode(record, self.remote.url))
        return None if status is None else Stamp.taken(status)

    def _put(self, project: str, shown: _Shown, truth: Truth | None = None) -> PageState:
        before = self._drop(project)
        if before is not None:
            before.truth.end()
        record = shown.record
        state = PageState(record, shown.page, shown.files, self._truth_of(record, truth), shown.stamp)
        self._states[project] = state
        self._files += _weight(record)
        while self._files > _MOST_FILES and len(self._states) > 1:
            self._drop(next(iter(self._states)))
        return state

    def _truth_of(self, record: PageRecord, before: Truth | None) -> Truth:
        if self._offline:
            return Truth(self._times, _OFFLINE_LOOK, self._times.wall())
        if before is not None:
            return before.again()
        ttl = self._times.absent_ttl if record.gone else self._times.ttl
        return Truth(self._times, ttl, record.fetched)

    def _drop(self, project: str) -> PageState | None:
        self._absent.pop(project, None)
        state = self._states.pop(project, None)
        if state is not None and state.record is not None:
            self._files -= _weight(state.record)
        return state

    def _set_absent(self, project: str) -> PageState:
        self._drop(project)
        truth = Truth(self._times, self._times.absent_ttl, self._times.wall())
        state = self._absent[project] = PageState(None, None, {}, truth)
        while len(self._absent) > _MOST_ABSENT:
            self._absent.popitem(last=False)
        return state


def _weight(record: PageRecord) -> int:
    """Say how many files a page takes as much memory as: a hundred versions without files are one."""
    return 1 + len(record.page.files) + len(record.page.versions) // 100


def _write_time(path: str, now: float, known: Stamp) -> Stamp | None:
    """
    Write in place when a page was last found to be so: the rest may be megabytes, and is the same.

    Returns:
        What lies there now; what was known, if that is something else, which is then to be read; None
        if nothing does.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return None
    except OSError:
        return known
    try:
        if Stamp.taken(os.fstat(descriptor)) != known:
            return known
        os.write(descriptor, records.time_line(now))
        return Stamp.taken(os.fstat(descriptor))
    except OSError:
        return known
    finally:
        os.close(descriptor)


def _detail(error: SimpleIndexError) -> str:
    """Say in one token why an old page is given."""
    if isinstance(error, NotReady):
        return "slow"
    return "bad-gateway" if isinstance(error, BadGateway) else "unavailable"
