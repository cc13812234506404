"""
Folders of wheels and sdists as a source whose pages are never stale.

A request for a page goes through four steps, each skipped while its result is current: read the roots
(`root_set`), scan the project's files (`project_scan`), inspect new ones (`inspection_scheduler`), build
the page (`page_builder`). Nothing is scanned without a request; `files.stamps` notices changes.
"""

from __future__ import annotations

import os
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.backends.folder.emptied_root import RootWatch
from twisted_index.backends.folder.entry_reader import EntryReader
from twisted_index.backends.folder.explanation import explain_folders, folder_names
from twisted_index.backends.folder.imprints import Sweep, imprint, stable_imprint, unlike_any
from twisted_index.backends.folder.inspection_cache import CachedInspection
from twisted_index.backends.folder.local_tree import LocalTree
from twisted_index.backends.folder.misplaced import count_misnamed
from twisted_index.backends.folder.open_file import open_listed, sidecars_of
from twisted_index.backends.folder.problem_scan import ProblemScan
from twisted_index.backends.folder.project_cache import FolderValidity, ProjectState
from twisted_index.backends.folder.project_list import ProjectListBuilder
from twisted_index.backends.folder.root_scan import entries_of, hides_the_same
from twisted_index.backends.folder.root_set import RootSet, owners_by_root
from twisted_index.backends.folder.shared_folders import SharedFolders
from twisted_index.backends.folder.tree import read_tree
from twisted_index.backends.folder.verification import BackgroundVerification
from twisted_index.backends.layout.explanation import Look, unasked_roots
from twisted_index.backends.layout.facts import FileFacts, Rejection
from twisted_index.backends.layout.page_builder import (
    build_page,
    claims_name,
    is_copy,
    problems_of,
    select_files,
)
from twisted_index.backends.layout.project_scan import scan_project
from twisted_index.concurrency.deadline import wait_at_most
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.concurrency.single_flight import FreshSingleFlight, SharedResult
from twisted_index.errors import NotReady, SimpleIndexError, Unavailable, UnreadableFolder
from twisted_index.events.observers import diff_pages
from twisted_index.events.serials import REMOVED, Serials
from twisted_index.files.stamps import RACY_SECONDS
from twisted_index.interfaces import (
    IChangeSource,
    IExplains,
    ILifecycle,
    IProblemSource,
    ISource,
    ProblemReport,
    Snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence, Set

    from prometheus_client import Metric

    from twisted_index.backends.folder.inspection_cache import InspectionCache
    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.backends.layout.entries import ProjectEntries
    from twisted_index.backends.layout.facts import KnownFiles, StatKey
    from twisted_index.backends.layout.page_builder import ListedFile
    from twisted_index.backends.layout.project_scan import ProjectScan, ScannedFile
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.files.stamps import StatValidator
    from twisted_index.interfaces import Explanation, FileBody, IIndexObserver, MaybeAwaitable, Problem
    from twisted_index.simple.explanation import SourceAnswer
    from twisted_index.simple.manifest import ManifestLine
    from twisted_index.simple.model import ProjectList, ProjectPage, Sidecar

T = TypeVar("T")
_log = Logger()

#: Projects with at most so many files are checked for in-place rewrites without a thread: that many
#: `stat` calls take no longer than a thread switch.
_MAX_FILES_WITHOUT_THREAD = 64
#: Attempts to open a file that keeps changing, before the request fails with 503.
_ATTEMPTS = 3
#: Attempts to list a project of which something else is hidden or shown each time.
_LISTINGS = 20


class _StagedMeanwhile(Exception):
    """What the roots hide of a project has changed while it was scanned."""


@implementer(ISource, IProblemSource, IChangeSource, IExplains, ILifecycle)
class FolderSource:
    """
    A source that reads folders.

    Args:
        paths: Folders, in order of precedence; by default the current folder.
        owners: For each path the name of the index that its files belong to, or None for the index of the
            page, which uploads go to; by default None for all.
        shared: What it shares with other sources, and does not stop; by default made of the next four.
        reactor: By default Twisted's global reactor.
        reader: Threads that read files; by default a pool of four.
        cache_thread: The one thread that uses the cache; by default its own.
        cache: Keeps inspection results; by default in memory.
        rescan: Seconds after which a page's files are checked again for in-place rewrites;
            0 for every request.
        response_timeout: Seconds that a request waits for files to be read.
        validator: Replaces the clock and `stat` in tests.
        observer: Provides `IIndexObserver`; None without one.
        serials: Those of the projects; by default its own, in memory.

    Attributes:
        paths: The folders, absolute.
        owners: One for each of them.
    """

    def __init__(
        self,
        *paths: str | bytes | os.PathLike[str],
        owners: Sequence[str | None] = (),
        shared: SharedFolders | None = None,
        reactor: Any = None,
        reader: IThreadRunner | None = None,
        cache_thread: IThreadRunner | None = None,
        cache: InspectionCache | None = None,
        rescan: float = 2.0,
        response_timeout: float = 10.0,
        validator: StatValidator | None = None,
        observer: IIndexObserver | None = None,
        serials: Serials | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor: Any = reactor
        self.paths = tuple(os.path.abspath(os.fsencode(path)) for path in paths or (".",))
        self.owners = tuple(owners) or (None,) * len(self.paths)
        self._owners = owners_by_root(self.paths, self.owners)
        self._is_alone = shared is None
        self._shared = shared or SharedFolders(
            reactor=reactor, reader=reader, cache_thread=cache_thread, cache=cache, validator=validator
        )
        self._reader = self._shared.reader
        self.clock, self.rescan = reactor, rescan
        self._response_timeout = response_timeout
        roots = tuple(map(self._shared.roots.root, self.paths))
        self._validator = self._shared.roots.validator(roots)
        self._roots = RootSet(roots, self._shared.roots)
        self._remote_paths = tuple(root.path for root in roots if root.is_remote)
        self._inspector = self._shared.inspector
        self._problem_scan = ProblemScan(self._roots, self._reader, self._load)
        self._project_list = ProjectListBuilder(
            self._roots, self._reader, self._validator, rescan, self._problem_scan.set_all_unreadable
        )
        self._listings: FreshSingleFlight[str, ProjectState | None] = FreshSingleFlight(self._list)
        self._verification = BackgroundVerification(reactor, self._verify)
        self._states = self._shared.states()
        self._observer = observer
        self.serials = serials or Serials()
        self._sweep = Sweep(self.serials, self._validator)
        self._entries = EntryReader(
            self.paths,
            self.owners,
            roots=self._roots,
            reader=self._reader,
            serials=self.serials,
            validator=self._validator,
            clock=reactor,
            timeout=response_timeout,
            inspect=self._load,
            known_files=self._known_files,
            are_remote=bool(self._remote_paths),
        )

    def start(self) -> None:
        """Log which roots are on network file systems. Nothing is read before a request."""
        for path in self._remote_paths:
            _log.info(
                "{path} is on a network file system: changes are noticed only once its attribute cache"
                " expires.",
                path=os.fsdecode(path),
            )

    def watch_for_loss(self, *, expects_some: bool | None = False) -> None:
        """
        Let its root, the only one, count as unreadable once all that it had is gone; see `RootWatch`.

        Args:
            expects_some: Whether it had something for sure; None if that is not known yet.
        """
        self._roots.watch(RootWatch(self.serials, expects_some=expects_some))

    async def look(self) -> None:
        """
        Read the roots that have changed.

        Raises:
            UnreadableFolder: One of them cannot be read.
        """
        await self._roots.refresh()

    async def stop(self) -> None:
        """Stop its scans, and unless that is shared, finish running inspections and close the cache."""
        self._problem_scan.stop()
        self._verification.stop()
        if self._is_alone:
            await self._shared.stop()
        else:
            self._states.clear()

    # -- ISource

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """See `ISource`. Exact for names in the roots; an emptied folder disappears within `rescan`."""
        return self._project_list.project_list()

    async def count(self) -> tuple[int, int]:
        """
        Count projects, and files whose names keep them out, by one listing of each root.

        No folder of a project is opened: it is too early to know what is wrong in there.

        Raises:
            UnreadableFolder: A root cannot be read.
        """
        await self._roots.refresh()
        readings = self._roots.readings
        projects = set().union(*(reading.projects for reading in readings))
        return len(projects), await self._reader.run(count_misnamed, readings)

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """See `ISource`. Returns without a Deferred if nothing has to be read."""
        state = self._states.get(project)
        if state is None:
            absence = self._absence(project)
            if absence.is_current():
                return absence
        elif state.snapshot is not None and self._revalidate(state):
            return state.snapshot
        return Deferred.fromCoroutine(self._load(project))

    async def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """See `ISource`. Checks this file alone, not its whole project."""
        for _attempt in range(_ATTEMPTS):
            match = await self._find(project, filename)
            if match is None:
                return None
            state, listed_file = match
            if sidecar not in (None, *sidecars_of(state.scan, listed_file)):
                return None
            is_current = state.validity if state.settled else _never
            body = await open_listed(state.scan, listed_file, sidecar, self._reader, is_current)
            if body is not None:
                copied = is_copy(listed_file.entry, state.scan, state.known_files)
                return replace(body, is_copy=True) if copied else body
            # The file has changed since it was listed, so the state is outdated.
            self._states.pop(project)
        raise Unavailable("This file is being changed. Retry in a moment.", retry_after=2)

    def current_state(self, project: str) -> ProjectState | None:
        """Return the state of a project that is listed and current, if nothing has to be read for that."""
        state = self._states.get(project)
        listed = state is not None and state.snapshot is not None and self._revalidate(state)
        return state if listed else None

    async def read_state(self, project: str) -> tuple[Snapshot[ProjectPage | None], ProjectState | None]:
        """Return the page of a project with the state that it was made of; see `project_page`."""
        snapshot = await self._load(project)
        return snapshot, self._states.get(project)

    def inspect(self, entries: Sequence[ScannedFile], known_files: KnownFiles) -> Deferred[None]:
        """
        Inspect files that are not listed now; `known_files` is filled in.

        Raises:
            NotReady: That takes longer than a client waits; it goes on.
        """
        inspection = Deferred.fromCoroutine(
            self._inspector.inspect_all(entries, known_files, verify_first=True)
        )
        return self._with_deadline(inspection, lambda: "Its files are being read.")

    @property
    def reader(self) -> IThreadRunner:
        """The threads that read files."""
        return self._reader

    @property
    def validator(self) -> StatValidator:
        """Takes and compares the stamps of its folders."""
        return self._validator

    @property
    def readings(self) -> tuple[RootScan, ...]:
        """The last readings of the roots: another tuple after each."""
        return self._roots.readings

    def problems(self) -> Deferred[ProblemReport]:
        """See `IProblemSource`. After the time-out, the scan continues for the next report."""
        return self._problem_scan.report(self._reactor, self._response_timeout)

    def known_problems(self) -> int:
        """See `IProblemSource`."""
        return self._problem_scan.known_count

    def seed(self, path: bytes, key: StatKey, facts: FileFacts) -> Deferred[None]:
        """
        Store the inspection result of a file that has just been published.

        The result applies only while the file has exactly this key. The caller must ensure that no other
        process can have written to the file since it was inspected.

        Args:
            path: Below one of the roots, as they are spelled in `paths`.
            key: The file's size and times under this name.
            facts: Its inspected facts.
        """
        folder, name = os.path.split(path)
        results = [(name, key, CachedInspection(facts))]
        return self._shared.cache_thread.run(self._shared.cache.put, folder, results)

    def digest_reader(self, project: str) -> Callable[[ScannedFile], str | None]:
        """Return a function for any thread that returns the digest of a file, if it is known in memory."""
        facts_of = self.facts_reader(project)

        def digest_of(entry: ScannedFile) -> str | None:
            facts = facts_of(entry)
            return None if facts is None else facts.sha256

        return digest_of

    def facts_reader(self, project: str) -> Callable[[ScannedFile], FileFacts | None]:
        """Return a function for any thread that returns what is known in memory of a file that is listed."""
        known_files = self._known_files(project)

        def facts_of(entry: ScannedFile) -> FileFacts | None:
            known = known_files.get(entry.path)
            if known is None or known.key != entry.key or not known.settled:
                return None
            return known.result if isinstance(known.result, FileFacts) else None

        return facts_of

    def collect(self) -> Iterator[Metric]:
        """Yield metrics that need no scan; see `prometheus_client.registry.Collector`."""
        from prometheus_client.core import GaugeMetricFamily

        text = "Files known to be left out; see /-/problems for the reasons."
        yield GaugeMetricFamily("twisted_index_problems", text, self._problem_scan.known_count)

    # -- IExplains

    async def explain(self, project: str) -> Explanation:
        """See `IExplains`."""
        for _attempt in range(_ATTEMPTS):
            try:
                snapshot = await result_of(self.project_page, project)
            except NotReady as error:
                return await self._explain(project, self._states.get(project), None, error)
            except SimpleIndexError as error:
                return await self._explain(project, None, None, error)
            state = self._states.get(project)
            if (snapshot.value is None) if state is None else (state.snapshot is snapshot):
                return await self._explain(project, state, snapshot, None)
        raise Unavailable("The folder of this project is being changed. Retry in a moment.", retry_after=2)

    async def _explain(
        self,
        project: str,
        state: ProjectState | None,
        snapshot: Snapshot[ProjectPage | None] | None,
        error: SimpleIndexError | None,
    ) -> Explanation:
        look = None if state is None else Look(state.scan, state.known_files, state.listed_files, state.scan)
        roots, readings = folder_names(self.paths, self.owners), self._roots.readings
        explanation = explain_folders(project, roots, look, readings=readings)
        try:
            return await self._reader.run(explanation.read, snapshot, error)
        except OSError as failure:
            raise _tombstones_error() from failure

    def unasked(self, why: str) -> tuple[SourceAnswer, ...]:
        """See `IExplains`."""
        return unasked_roots(folder_names(self.paths, self.owners), why)

    # -- IChangeSource

    async def sweep(self, owns: Callable[[str], bool]) -> Set[str]:
        """See `IChangeSource`."""
        await self._roots.refresh()
        await self._entries.confirm()
        lost = self._roots.lost_projects()
        swept = await self._reader.run(
            self._sweep.run, self._roots.readings, lambda name: name not in lost and owns(name)
        )
        for project in swept.changed:
            self.drop_outdated(project)
        return swept.present | {name for name in lost if owns(name)}

    async def tree(self, project: str) -> tuple[ManifestLine, ...]:
        """See `IChangeSource`."""
        await self._load(project)
        state = self._states.get(project)
        if state is None:
            return ()
        try:
            return await self._reader.run(read_tree, state)
        except OSError as error:
            raise _tombstones_error() from error

    async def entries(self, project: str, inline: int = 0) -> bytes | None:
        """See `IChangeSource`."""
        listing = await self._entries.listing(project, inline)
        self.drop_outdated(project)
        return listing

    async def entry_batch(self, projects: Sequence[str], inline: int) -> Mapping[str, bytes]:
        """See `IChangeSource`."""
        listings = await self._entries.batch(projects, inline)
        for project in listings:
            self.drop_outdated(project)
        return listings

    def open_entry(self, project: str, path: bytes) -> Awaitable[FileBody | None]:
        """See `IChangeSource`."""
        return self._entries.open(project, path)

    async def note_change(self, project: str) -> None:
        """Give a project that this server has just changed its serial, if it is the one that gives them."""
        await self._roots.refresh()
        await self._note(project, entries_of(project, self._roots.readings))

    async def _note(self, project: str, parts: Sequence[tuple[bytes, ProjectEntries]]) -> None:
        """Note what a project is like; one that never was is none."""
        if parts:
            # What cannot be read is noted when it can be.
            with suppress(OSError):
                await self._reader.run(lambda: self.serials.note(project, imprint(parts)))
        elif self.serials.serial_of(project) is not None:
            await self._reader.run(self.serials.note, project, REMOVED)
        self.serials.announce()

    def _scan(
        self, project: str, readings: Sequence[RootScan], before: ProjectScan | None, known: int | None
    ) -> tuple[ProjectScan, int | None] | None:
        """
        Scan a project and give it its serial; called in a thread.

        Args:
            project: A normalized name.
            readings: The roots.
            before: The scan that the current state was made of.
            known: Its serial before the roots were read, which it keeps if another server gives them.

        Returns:
            None if what the roots hide of it has changed since they were read: of files that are shown
            together, some might be in the scan.
        """
        parts = entries_of(project, readings)

        def look() -> tuple[ProjectScan, bool | None]:
            scan = scan_project(project, parts, LocalTree(self._validator), before)
            return scan, hides_the_same(project, readings, self._validator)

        (scan, hides_same), taken = stable_imprint(parts, look)
        if hides_same is False or (hides_same is None and taken is None):
            return None
        if not scan.claimed and not self.serials.is_known(project):
            # It never was here, and is not yet: what is staged of it is no change.
            return scan, None
        noted = self.serials.note(project, taken or unlike_any())
        return scan, known if self.serials.follows else noted

    def _known_files(self, project: str) -> KnownFiles:
        state = self._states.get(project)
        return {} if state is None else state.known_files

    def drop_outdated(self, project: str) -> None:
        """Let a page be built anew whose project has another serial by now."""
        state = self._states.get(project)
        if state is not None and state.serial != self.serials.serial_of(project):
            state.validity.invalidate()

    # -- Validity

    def _absence(self, project: str) -> Snapshot[ProjectPage | None]:
        """
        Return the snapshot of a project without entries.

        Unchanged roots are not enough: they may have been read again since, with the project.
        """
        roots = self._roots
        return Snapshot(value=None, is_current=lambda: roots.are_current() and not roots.entries_of(project))

    def _revalidate(self, state: ProjectState) -> bool:
        """Return whether a state is current; checks the files too if they are few enough."""
        validity = state.validity
        if not validity.folders_are_current():
            return False
        if validity.is_recent():
            return True
        now = self._validator.monotonic()
        if (
            not self._roots.lists_are_current()
            or not state.settled
            or len(state.scan.watched) > _MAX_FILES_WITHOUT_THREAD
            or not state.files_are_current()
        ):
            return False
        validity.checked_at = now
        return True

    # -- Scanning and inspecting a project

    async def _load(self, project: str) -> Snapshot[ProjectPage | None]:
        for attempt in range(_ATTEMPTS):
            state = await self._with_deadline(
                self._listings.run(project), lambda: "Its folder is being read."
            )
            if state is None:
                return self._absence(project)
            if state.snapshot is None:
                await self._with_deadline(self._inspect(project, state), partial(self._progress, state))
            assert state.snapshot is not None
            if self._roots.are_those_read():
                return state.snapshot
            # What went away with its root while it was read looks like files that were deleted.
            state.validity.invalidate()
            await self._roots.refresh()
            self._roots.check(project)
            if attempt == _ATTEMPTS - 1:
                # Some file systems give another inode each time.
                return state.snapshot
        raise AssertionError("unreachable")

    def _inspect(self, project: str, state: ProjectState) -> Deferred[None]:
        """Inspect a project's files, once for all waiting requests."""
        if state.inspecting is None:

            async def inspect_all() -> None:
                await self._inspect_files(state, state.scan.entries)
                self._complete(project, state)

            state.inspecting = SharedResult(Deferred.fromCoroutine(inspect_all()))
        return state.inspecting.wait()

    async def _inspect_files(self, state: ProjectState, entries: Sequence[ScannedFile]) -> None:
        await self._inspector.inspect_all(
            entries,
            state.known_files,
            verify_first=state.has_baseline,
            are_remote=bool(self._remote_paths),
        )

    async def _list(self, project: str) -> ProjectState | None:
        """
        List a project. Single flight: runs once at a time for each project.

        Returns:
            The new state; None if the roots have no entries for the project.
        """
        for _attempt in range(_LISTINGS):
            try:
                return await self._list_once(project)
            except _StagedMeanwhile:
                continue
        raise Unavailable("This project is being changed. Retry in a moment.", retry_after=2)

    async def _list_once(self, project: str) -> ProjectState | None:
        # What another server's serial stands for may come while this is read.
        known = self.serials.serial_of(project)
        await self._roots.refresh()
        self._roots.check(project)
        before = self._states.get(project)
        readings = self._roots.readings
        parts = entries_of(project, readings)
        started_at = self._validator.monotonic()
        is_new_project = project in self._roots.new_projects
        self._roots.new_projects.discard(project)
        if not parts:
            self._remove_project(project, before)
            await self._note(project, parts)
            return None
        if before is not None and await self._files_are_current(before):
            before.validity.checked_at = started_at
            return before
        try:
            scanned = await self._reader.run(
                self._scan, project, readings, None if before is None else before.scan, known
            )
        except UnreadableFolder as error:
            self._problem_scan.set_unreadable(project, error)
            raise
        if scanned is None:
            raise _StagedMeanwhile
        scan, serial = scanned
        validity = FolderValidity(
            project,
            self._roots,
            readings,
            self._validator,
            scan.folders,
            checked_at=started_at,
            lifetime=self.rescan,
        )
        state = ProjectState(scan, {}, validity, has_baseline=is_new_project, serial=serial)
        self.serials.announce()
        if before is not None:
            self._carry_over(before, state)
        self._states.put(project, state)
        if state.snapshot is None and not any(
            self._inspector.needs_inspection(entry, state.known_files) for entry in scan.entries
        ):
            self._complete(project, state)
        return state

    def _remove_project(self, project: str, before: ProjectState | None) -> None:
        if before is not None:
            self._notify_observer(project, before, None, ())
        self._states.pop(project)
        self._problem_scan.set_problems(project, ())

    async def _files_are_current(self, state: ProjectState) -> bool:
        """Return whether the files and folders of a project are unchanged."""
        if not state.settled or state.snapshot is None or not state.validity.folders_are_current():
            return False
        readings = self._roots.readings
        return (
            await self._reader.run(state.files_are_current)
            and state.validity.folders_are_current()
            # Other readings could show a root in which a file was replaced after it was checked.
            and self._roots.readings is readings
        )

    def _carry_over(self, before: ProjectState, state: ProjectState) -> None:
        """Copy what is still valid from the last state."""
        state.known_files = before.known_files
        complete = before.snapshot is not None
        state.previous = before.snapshot.value if before.snapshot is not None else before.previous
        state.last_serial = before.serial if complete else before.last_serial
        state.has_baseline = before.has_baseline or before.snapshot is not None
        state.problems = before.problems
        paths = {entry.path for entry in state.scan.entries}
        for entry in before.scan.entries:
            if entry.path not in paths and state.known_files.pop(entry.path, None) is not None:
                self._inspector.forget(entry.folder, [entry.name])

    def _complete(self, project: str, state: ProjectState) -> None:
        """Build the page of a project whose files are all inspected; keep the previous page if equal."""
        scan, known_files = state.scan, state.known_files
        state.listed_files = select_files(scan.entries, scan, known_files)
        page = None
        if scan.claimed:
            claims = claims_name(scan, known_files)
            listed = state.listed_files.values()
            page = build_page(project, scan, listed, claims=claims, owners=self._owners)
        # A later scan removes files that are gone from `known_files`.
        known = [known_files[entry.path] for entry in scan.entries if entry.path in known_files]
        state.settled = all(known_file.settled for known_file in known)
        if scan.has_os_errors or any(
            isinstance(known_file.result, Rejection) and not known_file.settled for known_file in known
        ):
            # No folder stamp changes when a file becomes whole, or a disk recovers.
            state.validity.lifetime = 0
        elif not state.settled:
            state.validity.lifetime = min(self.rescan, RACY_SECONDS)
        value = state.previous if state.previous == page else page
        problems = problems_of(scan, state.listed_files, known_files)
        # A file that is still being copied is not reported: it may be whole at the next inspection.
        reported = problems if state.settled else state.problems
        if state.has_baseline:
            self._notify_observer(project, state, page, reported)
        state.problems = reported
        if value is not state.previous and state.serial == state.last_serial and not self.serials.follows:
            # A file was found to be whole, or damaged, without a change of its own.
            state.serial = self.serials.note_unseen(project)
            self._reader.run(self.serials.flush).addErrback(lambda gone: gone.trap(CancelledError))
        serial = None if value is None else state.serial
        state.snapshot = Snapshot(value=value, is_current=state.validity, serial=serial)
        self.drop_outdated(project)
        self._problem_scan.set_problems(project, problems)
        if not all(listed_file.facts.verified for listed_file in state.listed_files.values()):
            self._verification.request(project)

    async def _verify(self, project: str) -> None:
        """Verify the files of a project that are listed unverified; damaged ones leave the page."""
        if self._states.get(project) is None:
            await self._load(project)
        if (state := self._states.get(project)) is None:
            return
        is_sound = True
        for entry in state.scan.entries:
            known = state.known_files.get(entry.path)
            if known is not None and not known.verified:
                is_sound &= await self._inspector.verify(entry, state.known_files)
        # The project may have been listed again meanwhile; both states share `known_files`.
        current = self._states.get(project)
        if not is_sound and current is not None:
            current.validity.invalidate()
            await self._load(project)

    def _notify_observer(
        self, project: str, last_state: ProjectState, page: ProjectPage | None, problems: Sequence[Problem]
    ) -> None:
        """Notify the observer of the differences from a project's last page."""
        if self._observer is not None:
            last_page = last_state.previous if last_state.snapshot is None else last_state.snapshot.value
            diff_pages(last_page, page, last_state.problems, problems).notify(project, self._observer)

    def _progress(self, state: ProjectState) -> str:
        entries = state.scan.entries
        done = sum(not self._inspector.needs_inspection(entry, state.known_files) for entry in entries)
        return f"{done} of {len(entries)} files have been read."

    def _with_deadline(self, work: Deferred[T], progress: Callable[[], str]) -> Deferred[T]:
        return wait_at_most(self._reactor, self._response_timeout, work, progress)

    # -- Opening a file

    async def _find(self, project: str, filename: str) -> tuple[ProjectState, ListedFile] | None:
        """Return a listed file by its name; list the project first if its state is not current."""
        state = self._states.get(project)
        if state is None or state.snapshot is None or not self._revalidate(state):
            listed = await self._with_deadline(
                self._listings.run(project), lambda: "Its folder is being read."
            )
            if listed is None:
                return None
            state = listed
        if state.snapshot is not None:
            listed_file = state.listed_files.get(filename)
        else:
            listed_file = await self._check_alone(project, state, filename)
        return None if listed_file is None else (state, listed_file)

    async def _check_alone(self, project: str, state: ProjectState, filename: str) -> ListedFile | None:
        """Inspect only the files that installers treat as equal to this one."""
        entries = state.scan.entries
        identities = {
            entry.distribution.identity for entry in entries if entry.distribution.filename == filename
        }
        rivals = [entry for entry in entries if entry.distribution.identity in identities]
        inspection = Deferred.fromCoroutine(self._inspect_files(state, rivals))
        await self._with_deadline(inspection, lambda: "This file is being read.")
        listed_file = select_files(rivals, state.scan, state.known_files).get(filename)
        if listed_file is not None and not listed_file.facts.verified:
            self._verification.request(project)
        return listed_file


def _tombstones_error() -> Unavailable:
    return Unavailable("The names of deleted files cannot be read right now.")


def _never() -> bool:
    """Return False: for a project that is not fully inspected, or too young to notice all changes."""
    return False
