"""
Folders of wheels and sdists as a source whose pages are never stale.

A request for a page goes through four steps, each skipped while its result is current: read the roots
(`root_set`), list the project's files (`listing`), inspect new ones (`inspector`), build the page
(`page_builder`). Nothing is scanned without a request; `files.stamps` notices changes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.backends.folder.inspection_cache import CachedInspection, InspectionCache, Rejection
from twisted_index.backends.folder.inspector import Inspector
from twisted_index.backends.folder.listing import read_listing
from twisted_index.backends.folder.open_file import open_listed, sidecars_of
from twisted_index.backends.folder.page_builder import build_page, problems_of, select_files
from twisted_index.backends.folder.problem_scan import ProblemScan
from twisted_index.backends.folder.project_cache import FolderValidity, ProjectCache, ProjectState
from twisted_index.backends.folder.project_list import ProjectListBuilder
from twisted_index.backends.folder.root_set import RootSet
from twisted_index.backends.folder.verification import BackgroundVerification
from twisted_index.concurrency.deadline import wait_at_most
from twisted_index.concurrency.single_flight import FreshSingleFlight, SharedResult
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.errors import Unavailable, UnreadableFolder
from twisted_index.events.observers import diff_pages
from twisted_index.files.filesystems import has_coarse_folders, is_remote
from twisted_index.files.stamps import RACY_SECONDS, StatValidator
from twisted_index.interfaces import ILifecycle, IProblemSource, ISource, ProblemReport, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import Metric

    from twisted_index.backends.folder.inspection_cache import FileFacts, StatKey
    from twisted_index.backends.folder.page_builder import ListedFile
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import FileBody, IIndexObserver, MaybeAwaitable, Problem
    from twisted_index.simple.model import ProjectList, ProjectPage, Sidecar

T = TypeVar("T")
_log = Logger()

#: A project of at most so many files is looked at for in-place rewrites without a thread: that
#: many calls of `stat` take no longer than the way to a thread and back.
_FEW = 64
#: Attempts to open a file that is being changed, before the client gets 503.
_ATTEMPTS = 3


@implementer(ISource, IProblemSource, ILifecycle)
class FolderSource:
    """
    A source that reads folders.

    Args:
        paths: Folders, read in order; of equal files the first wins. The current one by default.
        reactor: Twisted's, unless another is given.
        reader: Threads that read files; four of its own by default.
        cache_thread: The one thread that the cache lives in; its own by default.
        cache: Keeps what was read; in memory by default.
        rescan: Seconds after which a page's files are looked at again for in-place rewrites;
            0 for every answer.
        response_timeout: Seconds that an answer waits for files to be read.
        validator: Stands in for the clock and for `stat`.
        observer: Provides `IIndexObserver`; None without one.
    """

    def __init__(
        self,
        *paths: str | bytes | os.PathLike[str],
        reactor: Any = None,
        reader: IThreadRunner | None = None,
        cache_thread: IThreadRunner | None = None,
        cache: InspectionCache | None = None,
        rescan: float = 2.0,
        response_timeout: float = 10.0,
        validator: StatValidator | None = None,
        observer: IIndexObserver | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor: Any = reactor
        self.paths = tuple(os.path.abspath(os.fsencode(path)) for path in paths or (".",))
        self._reader: IThreadRunner = reader or ThreadPool(reactor, name="index-reader")
        self._cache_thread: IThreadRunner = cache_thread or ThreadPool(reactor, threads=1, name="index-cache")
        self._cache = cache or InspectionCache()
        self._rescan = rescan
        self._response_timeout = response_timeout
        # One for all: a root whose times tell nothing is rare, and makes all be read each time.
        self._validator = validator or StatValidator(
            trusts_times=not any(has_coarse_folders(path) for path in self.paths)
        )
        self._roots = RootSet(self.paths, self._reader, self._validator)
        self._inspector = Inspector(
            reader=self._reader, cache_thread=self._cache_thread, cache=self._cache, validator=self._validator
        )
        self._survey = ProblemScan(self._roots, self._reader, self._look)
        self._names = ProjectListBuilder(
            self._roots, self._reader, self._validator, rescan, self._survey.set_all_unreadable
        )
        self._listings: FreshSingleFlight[str, ProjectState | int] = FreshSingleFlight(self._list)
        self._proving = BackgroundVerification(reactor, self._prove)
        self._states = ProjectCache()
        self._absence: tuple[int, Snapshot[ProjectPage | None]] | None = None
        self._observer = observer

    def start(self) -> None:
        """Log what the file systems cannot promise. Nothing is read before a request."""
        for path in filter(is_remote, self.paths):
            _log.info(
                "{path} is on a network file system: changes show when its attribute cache lets them.",
                path=os.fsdecode(path),
            )

    async def stop(self) -> None:
        """Finish the files that are being read, then close the cache."""
        self._survey.stop()
        self._proving.stop()
        await self._reader.stop()
        await self._cache_thread.run(self._cache.close)
        await self._cache_thread.stop()

    # -- What ISource asks

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """See `ISource`. Exact for names in the roots; a folder that empties leaves within `rescan`."""
        return self._names.project_list()

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """See `ISource`. Answers without a Deferred where nothing has to be read."""
        state = self._states.get(project)
        if state is None:
            if self._roots.are_current() and not self._roots.entries_of(project):
                return self._absent(self._roots.generation)
        elif state.snapshot is not None and self._revalidate(project, state):
            return state.snapshot
        return Deferred.fromCoroutine(self._look(project))

    async def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """See `ISource`. Checks this file alone, not its whole project."""
        for _attempt in range(_ATTEMPTS):
            found = await self._find(project, filename)
            if found is None:
                return None
            state, served = found
            if sidecar not in (None, *sidecars_of(state, served)):
                return None
            body = await open_listed(state, served, sidecar, self._reader)
            if body is not None:
                return body
            # It has changed since the look, so the look is worth nothing.
            self._states.drop(project)
        raise Unavailable("This file is being changed. Ask again in a moment.", retry_after=2)

    def problems(self) -> Deferred[ProblemReport]:
        """See `IProblemSource`. A scan that takes longer than a client waits goes on for the next report."""
        return self._survey.report(self._reactor, self._response_timeout)

    def seed(self, path: bytes, key: StatKey, facts: FileFacts) -> Deferred[None]:
        """
        Take the inspection result of a file that has just been published.

        It counts only while the file has exactly this key, and only if no other process can have
        written to it since it was read.

        Args:
            path: Below one of the roots, as they are spelled in `paths`.
            key: The file's size and times under this name.
            facts: What an inspection found in it.
        """
        folder, name = os.path.split(path)
        return self._cache_thread.run(self._cache.put, folder, [(name, key, CachedInspection(facts))])

    def collect(self) -> Iterator[Metric]:
        """Give what is known without a walk as metrics; see `prometheus_client.registry.Collector`."""
        from prometheus_client.core import GaugeMetricFamily

        text = "Files that are known to be left out; /-/problems says why."
        yield GaugeMetricFamily("twisted_index_problems", text, self._survey.known_count)

    # -- Is it still so?

    def _absent(self, generation: int) -> Snapshot[ProjectPage | None]:
        """
        Give the absence of a project that had no part in the roots as they then were.

        That the roots hold is not enough: they may have been read again since, with the project.
        """
        if self._absence is None or self._absence[0] != generation:
            roots = self._roots

            def still_true() -> bool:
                return roots.generation == generation and roots.are_current()

            self._absence = (generation, Snapshot(value=None, is_current=still_true))
        return self._absence[1]

    def _revalidate(self, project: str, state: ProjectState) -> bool:
        """Say whether a state is true now, after a look at its files where that is quickly done."""
        truth = state.validity
        if not truth.folders_are_current():
            return False
        if truth.generation != self._roots.generation:
            if self._roots.entries_of(project) != state.entries:
                return False
            truth.generation = self._roots.generation
        if truth.is_recent():
            return True
        now = self._validator.monotonic()
        if not state.settled or len(state.listing.watched) > _FEW or not state.files_are_current():
            return False
        truth.checked_at = now
        return True

    # -- Looking at a project

    async def _look(self, project: str) -> Snapshot[ProjectPage | None]:
        state = await self._with_deadline(self._listings.run(project), lambda: "Its folder is being read.")
        if isinstance(state, int):
            return self._absent(state)
        if state.snapshot is None:
            await self._with_deadline(self._learn(project, state), lambda: self._progress(state))
        assert state.snapshot is not None
        return state.snapshot

    def _learn(self, project: str, state: ProjectState) -> Deferred[None]:
        """Learn what is in a project's files: once for all who ask."""
        if state.inspecting is None:

            async def learn() -> None:
                await self._inspector.inspect_all(
                    state.listing.entries, state.known_files, is_new=state.has_baseline
                )
                self._complete(project, state)

            state.inspecting = SharedResult(Deferred.fromCoroutine(learn()))
        return state.inspecting.wait()

    async def _list(self, project: str) -> ProjectState | int:
        """
        List a project anew. Joint: runs once at a time for each project.

        Returns:
            The generation of the roots, if they have no part of the project.
        """
        await self._roots.refresh()
        self._roots.check(project)
        before = self._states.get(project)
        parts, generation = self._roots.entries_of(project), self._roots.generation
        looked_at = self._validator.monotonic()
        appeared = project in self._roots.new_projects
        self._roots.new_projects.discard(project)
        if not parts:
            self._note_gone(project, before)
            return generation
        if before is not None and before.entries == parts and await self._files_hold(before):
            before.validity.generation, before.validity.checked_at = generation, looked_at
            return before
        seen = dict(before.listing.folders) if before is not None else {}
        try:
            listing = await self._reader.run(read_listing, project, parts, self._validator, seen)
        except UnreadableFolder as fault:
            self._survey.set_unreadable(project, fault)
            raise
        truth = FolderValidity(
            self._roots,
            self._validator,
            listing.folders,
            generation=generation,
            checked_at=looked_at,
            lifetime=self._rescan,
        )
        state = ProjectState(parts, listing, {}, truth, has_baseline=appeared)
        if before is not None:
            self._carry_over(before, state)
        self._states.put(project, state)
        if state.snapshot is None and not any(
            self._inspector.needs_inspection(entry, state.known_files) for entry in listing.entries
        ):
            self._complete(project, state)
        return state

    def _note_gone(self, project: str, before: ProjectState | None) -> None:
        if before is not None:
            self._tell(project, before, None, ())
        self._states.drop(project)
        self._survey.set_problems(project, ())

    async def _files_hold(self, state: ProjectState) -> bool:
        """Look at just the files of a project, where its folders are as they were."""
        if not state.settled or state.snapshot is None or not state.validity.folders_are_current():
            return False
        return await self._reader.run(state.files_are_current) and state.validity.folders_are_current()

    def _carry_over(self, before: ProjectState, state: ProjectState) -> None:
        """Keep of the last state what is still good."""
        state.known_files = before.known_files
        state.previous = before.previous if before.snapshot is None else before.snapshot.value
        state.has_baseline = before.has_baseline or before.snapshot is not None
        state.problems = before.problems
        paths = {entry.path for entry in state.listing.entries}
        for entry in before.listing.entries:
            if entry.path not in paths and state.known_files.pop(entry.path, None) is not None:
                self._inspector.forget(entry.folder, [entry.name])

    def _complete(self, project: str, state: ProjectState) -> None:
        """Make the page of a project whose files are all known, or keep the one that says the same."""
        listing, knowledge = state.listing, state.known_files
        state.listed_files = select_files(listing.entries, listing, knowledge)
        page = build_page(project, listing, state.listed_files.values()) if listing.claimed else None
        # What a later look has found to be gone is not known any more.
        known = [knowledge[entry.path] for entry in listing.entries if entry.path in knowledge]
        state.settled = all(one.settled for one in known)
        if listing.has_os_errors or any(
            isinstance(one.result, Rejection) and not one.settled for one in known
        ):
            # A file is whole, and a disk well again, at a moment that no folder's time tells.
            state.validity.lifetime = 0
        elif not state.settled:
            state.validity.lifetime = min(self._rescan, RACY_SECONDS)
        value = state.previous if state.previous == page else page
        problems = problems_of(listing, state.listed_files, knowledge)
        # A file that is still being copied is not refused: it may be whole at the next look.
        told = problems if state.settled else state.problems
        if state.has_baseline:
            self._tell(project, state, page, told)
        state.problems = told
        state.snapshot = Snapshot(value=value, is_current=state.validity)
        self._survey.set_problems(project, problems)
        if not all(one.facts.verified for one in state.listed_files.values()):
            self._proving.request(project)

    async def _prove(self, project: str) -> None:
        """Prove those files of a project that are listed for their age; what is damaged leaves the page."""
        if self._states.get(project) is None:
            await self._look(project)
        if (state := self._states.get(project)) is None:
            return
        is_sound = True
        for entry in state.listing.entries:
            known = state.known_files.get(entry.path)
            if known is not None and not known.verified:
                is_sound &= await self._inspector.verify(entry, state.known_files)
        # It may have been looked at again meanwhile: what is known of its files is the same for both.
        current = self._states.get(project)
        if not is_sound and current is not None:
            current.validity.invalidate()
            await self._look(project)

    def _tell(
        self, project: str, was: ProjectState, page: ProjectPage | None, problems: Sequence[Problem]
    ) -> None:
        """Tell the observer what is different from what was last seen of a project."""
        if self._observer is not None:
            seen = was.previous if was.snapshot is None else was.snapshot.value
            diff_pages(seen, page, was.problems, problems).notify(project, self._observer)

    def _progress(self, state: ProjectState) -> str:
        entries = state.listing.entries
        done = sum(not self._inspector.needs_inspection(entry, state.known_files) for entry in entries)
        return f"{done} of {len(entries)} files have been read."

    def _with_deadline(self, work: Deferred[T], progress: Callable[[], str]) -> Deferred[T]:
        return wait_at_most(self._reactor, self._response_timeout, work, progress)

    # -- Opening a file

    async def _find(self, project: str, filename: str) -> tuple[ProjectState, ListedFile] | None:
        """Find a listed file by its name, after a look if what is known may not hold."""
        state = self._states.get(project)
        if state is None or state.snapshot is None or not self._revalidate(project, state):
            listed = await self._with_deadline(
                self._listings.run(project), lambda: "Its folder is being read."
            )
            if isinstance(listed, int):
                return None
            state = listed
        if state.snapshot is not None:
            served = state.listed_files.get(filename)
        else:
            served = await self._check_alone(project, state, filename)
        return None if served is None else (state, served)

    async def _check_alone(self, project: str, state: ProjectState, filename: str) -> ListedFile | None:
        """Read just the files that an installer would take for this one."""
        entries = state.listing.entries
        named = {one.distribution.identity for one in entries if one.distribution.filename == filename}
        rivals = [entry for entry in entries if entry.distribution.identity in named]
        learning = Deferred.fromCoroutine(
            self._inspector.inspect_all(rivals, state.known_files, is_new=state.has_baseline)
        )
        await self._with_deadline(learning, lambda: "This file is being read.")
        served = select_files(rivals, state.listing, state.known_files).get(filename)
        if served is not None and not served.facts.verified:
            self._proving.request(project)
        return served
