"""
Check of whole folders: every file is read from end to end, and what is wrong is reported.

The rules are those of the server's problem report (`page_builder.problems_of`, `misplaced`); what takes the
reading is added to them. Blocking. Nothing in the folders is changed.

The folders may be written to meanwhile. So what is found where something has just changed is looked at once
more after a while, and only what is still there is reported.
"""

from __future__ import annotations

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from twisted_index.backends.folder.full_reading import contradicted, judge, read_fully, superfluous
from twisted_index.backends.folder.inspection_cache import CachedInspection
from twisted_index.backends.folder.inspection_scheduler import batches_of
from twisted_index.backends.folder.local_tree import LocalTree
from twisted_index.backends.folder.misplaced import find_misplaced
from twisted_index.backends.folder.problem_scan import unreadable_problem
from twisted_index.backends.folder.root_scan import entries_of, read_root
from twisted_index.backends.folder.root_set import root_fault, root_problem
from twisted_index.backends.layout.entries import ProjectEntries
from twisted_index.backends.layout.facts import FileFacts, KnownFile
from twisted_index.backends.layout.page_builder import claims_name, problems_of, select_files
from twisted_index.backends.layout.project_scan import scan_project
from twisted_index.errors import SimpleIndexError, UnreadableFolder
from twisted_index.files.filesystems import has_coarse_folders
from twisted_index.files.stamps import RACY_SECONDS, StatValidator

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from concurrent.futures import Future

    from twisted_index.backends.folder.inspection_cache import InspectionCache
    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.backends.layout.facts import InspectionResult, KnownFiles, StatKey
    from twisted_index.backends.layout.project_scan import ProjectScan, ScannedFile
    from twisted_index.interfaces import Problem

#: Files that a thread reads in one go, and bytes after which it takes no further one.
_BATCH_FILES, _BATCH_BYTES = 32, 1 << 20
#: How often a project that is being changed is looked at before it is given up.
_LOOKS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """
    What a check has found.

    Attributes:
        problems: Sorted by path.
        projects: The names of those that are here and were asked for.
        claimed: Those that claim their name: they hold more than copies of an upstream's files.
        files: How many files were read.
        size: Their bytes.
        unsettled: Projects that kept changing, of which nothing is reported.
        complete: Whether everything could be looked at.
        interrupted: Whether the user ended it before (SIGINT).
    """

    problems: tuple[Problem, ...]
    projects: frozenset[str]
    claimed: frozenset[str]
    files: int
    size: int
    unsettled: tuple[str, ...] = ()
    complete: bool = True
    interrupted: bool = False


@dataclass(slots=True)
class _Look:
    """A project that is being looked at: its scan, what was known before, and its files as they are read."""

    scan: ProjectScan
    cached: dict[bytes, CachedInspection]
    readings: list[tuple[list[ScannedFile], Future[list[InspectionResult]]]]
    known: KnownFiles = field(default_factory=dict)


class FolderCheck:
    """
    Checks folders.

    Args:
        roots: Absolute paths, in order of precedence.
        cache: What was learned of files earlier; what is new is added.
        threads: How many read at once.
        expect: Takes a number of files and of bytes that are still to be read.
        done: Takes the name of a file that has been read, and its bytes.
        pause: Waits for seconds, until what has just changed has settled.
        validator: As for `FolderSource`.
    """

    def __init__(
        self,
        roots: Sequence[bytes],
        cache: InspectionCache,
        *,
        threads: int = 2,
        expect: Callable[[int, int], None] = lambda _files, _size: None,
        done: Callable[[str, int], None] = lambda _name, _size: None,
        pause: Callable[[float], None] = time.sleep,
        validator: StatValidator | None = None,
    ) -> None:
        self._roots = tuple(roots)
        self._cache = cache
        self._threads = threads
        self._expect = expect
        self._done = done
        self._pause = pause
        self._validator = validator or StatValidator(
            trusts_times=not any(map(has_coarse_folders, self._roots))
        )
        self._readings: dict[bytes, RootScan] = {}
        self._faults: list[Problem] = []
        self._claimed: set[str] = set()
        self._files = self._size = 0

    def run(self, wanted: Collection[str] = ()) -> CheckReport:
        """
        Check all projects, or some.

        Args:
            wanted: Normalized names; empty for all, and all that is misplaced too.
        """
        found: dict[str, list[Problem]] = {}
        misplaced: list[Problem] = []
        names: list[str] = []
        doubtful: list[str] = []
        interrupted = False
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="check")
        try:
            readings = self._read_roots(wanted)
            names = sorted({name for reading in readings for name in reading.projects})
            doubtful = self._look_at(names, readings, pool, found)
            misplaced = find_misplaced(readings)
            if doubtful or misplaced:
                doubtful, misplaced = self._look_again(doubtful, misplaced, wanted, pool, found)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            pool.shutdown(cancel_futures=True)
        for name in doubtful:
            found.pop(name, None)
        problems = {*self._faults, *misplaced, *(one for each in found.values() for one in each)}
        return CheckReport(
            problems=tuple(sorted(problems, key=lambda one: (one.path, one.reason))),
            projects=frozenset(names),
            claimed=frozenset(self._claimed),
            files=self._files,
            size=self._size,
            unsettled=tuple(doubtful),
            complete=not (self._faults or doubtful or interrupted),
            interrupted=interrupted,
        )

    def _look_again(
        self,
        doubtful: list[str],
        misplaced: list[Problem],
        wanted: Collection[str],
        pool: ThreadPoolExecutor,
        found: dict[str, list[Problem]],
    ) -> tuple[list[str], list[Problem]]:
        """Look at what has just changed until it has settled; keep of what is misplaced what still is."""
        for _ in range(_LOOKS - 1):
            self._pause(RACY_SECONDS)
            readings = self._read_roots(wanted)
            doubtful = self._look_at(doubtful, readings, pool, found)
            if misplaced:
                still = set(find_misplaced(readings))
                misplaced = [problem for problem in misplaced if problem in still]
            if not doubtful:
                break
        return doubtful, misplaced

    def _read_roots(self, wanted: Collection[str]) -> list[RootScan]:
        """Read the roots; of one that cannot be read, its fault is a problem."""
        readings, self._faults = [], []
        for root in self._roots:
            try:
                self._readings[root] = reading = read_root(root, self._validator, self._readings.get(root))
            except OSError as error:
                fault = root_fault(error, root, alone=len(self._roots) == 1)
                if not isinstance(fault, UnreadableFolder):
                    raise fault from None
                self._faults.append(root_problem(fault))
            else:
                readings.append(_only(reading, wanted) if wanted else reading)
        return readings

    # -- One project

    def _look_at(
        self,
        names: Iterable[str],
        readings: Sequence[RootScan],
        pool: ThreadPoolExecutor,
        found: dict[str, list[Problem]],
    ) -> list[str]:
        """Check projects, and set what was found of each; return those that are changing."""
        looks: dict[str, _Look | list[Problem]] = {}
        for name in names:
            found.pop(name, None)
            try:
                looks[name] = self._begin(name, readings, pool)
            except UnreadableFolder as error:
                looks[name] = [unreadable_problem(error)]
        doubtful = []
        for name in tuple(looks):
            look = looks.pop(name)
            found[name] = problems = self._finish(name, look) if isinstance(look, _Look) else look
            if problems and isinstance(look, _Look) and not self._is_settled(name, look.scan, readings):
                doubtful.append(name)
        return doubtful

    def _begin(self, name: str, readings: Sequence[RootScan], pool: ThreadPoolExecutor) -> _Look:
        """Scan a project, and let its files be read."""
        scan = scan_project(name, entries_of(name, readings), LocalTree(self._validator))
        by_folder: dict[bytes, dict[bytes, StatKey]] = {}
        for entry in scan.entries:
            by_folder.setdefault(entry.folder, {})[entry.name] = entry.key
        cached = {
            os.path.join(folder, name): one
            for folder, keys in by_folder.items()
            for name, one in self._cache.get(folder, keys).items()
        }
        self._expect(len(scan.entries), sum(entry.key.size for entry in scan.entries))
        batches = batches_of(scan.entries, _BATCH_FILES, _BATCH_BYTES)
        return _Look(scan, cached, [(batch, pool.submit(read_fully, batch)) for batch in batches])

    def _finish(self, name: str, look: _Look) -> list[Problem]:
        """Wait for the files of a project, and return what is wrong with it."""
        for batch, reading in look.readings:
            for entry, result in zip(batch, reading.result(), strict=True):
                judged = judge(result, look.cached.get(entry.path))
                look.known[entry.path] = KnownFile(entry.key, judged, True, -math.inf)
                self._files, self._size = self._files + 1, self._size + entry.key.size
                self._done(entry.display_path, entry.key.size)
        self._remember(look)
        if look.scan.claimed and claims_name(look.scan, look.known):
            self._claimed.add(name)
        served = select_files(look.scan.entries, look.scan, look.known)
        return [
            *problems_of(look.scan, served, look.known),
            *superfluous(look.scan, served, look.known),
            *contradicted(look.scan, served.values()),
        ]

    def _is_settled(self, name: str, scan: ProjectScan, readings: Sequence[RootScan]) -> bool:
        """Return whether nothing of a project has changed since it was scanned, or just before."""
        if not all(stamp.settled for _path, stamp in scan.folders) or not all(
            key is None or self._validator.is_settled(key.ctime_ns) for key in scan.watched.values()
        ):
            return False
        try:
            now = scan_project(name, entries_of(name, readings), LocalTree(self._validator), scan)
        except SimpleIndexError:
            return False
        return (now.watched, _stamps(now)) == (scan.watched, _stamps(scan))

    def _remember(self, look: _Look) -> None:
        """Add what was learned of files of which nothing was known, for the server and the next check."""
        fresh: dict[bytes, list[tuple[bytes, StatKey, CachedInspection]]] = {}
        for entry in look.scan.entries:
            known = look.known[entry.path]
            if (
                entry.path not in look.cached
                and isinstance(known.result, FileFacts)
                and self._validator.is_settled(entry.key.ctime_ns)
            ):
                fresh.setdefault(entry.folder, []).append(
                    (entry.name, entry.key, CachedInspection(known.result))
                )
        for folder, results in fresh.items():
            self._cache.put(folder, results)


def _only(reading: RootScan, wanted: Collection[str]) -> RootScan:
    """Return what a root holds for some projects."""
    projects = {name: part for name, part in reading.projects.items() if name in wanted}
    return replace(reading, projects=projects, unassigned=ProjectEntries(), names=frozenset())


def _stamps(scan: ProjectScan) -> list[object]:
    return [(path, stamp.stamp) for path, stamp in scan.folders]
