"""
The folder that is filled: what it holds for a project, and the ordered steps that change it. Blocking.

After each step the folder is in a valid state, so the process may die after any of them: the same run goes on
from there. A file's line in `.copies` is on disk before the file has its name, and goes after it. A mark that
is there is replaced before its line is: what was recorded last, or is wanted now, is known to be ours.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from twisted_index.backends.folder import copies, kept_files
from twisted_index.backends.folder.blocking_store import retry_while_locked
from twisted_index.backends.folder.inventory import InventoryReader
from twisted_index.backends.folder.snapshots import held_names
from twisted_index.backends.layout.entries import YANKED
from twisted_index.backends.layout.inventory import STATUS_MARKS
from twisted_index.backends.layout.project_scan import CLAIMED, DOCUMENTS
from twisted_index.files.anonymous_file import make_folder, remove, sync_folder, write_atomically
from twisted_index.files.locks import project_lock
from twisted_index.files.safe_open import open_regular_file
from twisted_index.files.steps import Steps, run_step
from twisted_index.mirror.plan import TICK, Failure, HeldFile, HeldProject, by_identity
from twisted_index.simple.manifest import ManifestLine
from twisted_index.simple.names import is_valid_name, normalize, parse_filename

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from twisted_index.backends.layout.inventory import Inventory
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.files.anonymous_file import AnonymousFile
    from twisted_index.files.steps import RunStep
    from twisted_index.mirror.plan import ProjectPlan, Selection
    from twisted_index.simple.names import Distribution

T = TypeVar("T")

_SUFFIXES = (YANKED, *DOCUMENTS)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """
    A verified file that has no name yet.

    Attributes:
        file: Whole, with its modification time; on disk before it is placed.
        distribution: Its parsed name.
        line: What is recorded of it.
    """

    file: AnonymousFile
    distribution: Distribution
    line: ManifestLine


class TargetFolder:
    """
    A root that is filled.

    Args:
        root: Its absolute path.
        now: Returns the current time, aware.
        step: Carries out one step; the tests die after any of them.
    """

    def __init__(
        self,
        root: bytes,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        step: RunStep = run_step,
    ) -> None:
        self.root = root
        self._now = now
        self._step = Steps(step)
        self._reader = InventoryReader((root,))
        self._reading = threading.Lock()

    # -- Reading

    def survey(self, selection: Selection) -> HeldProject:
        """
        Read what there is of a project; files only where their size or time is not the recorded one.

        Raises:
            OSError, SimpleIndexError: It cannot be read.
        """
        inventory = self._read(selection.project)
        folder = inventory.folder_path
        lines = copies.read(folder)
        wanted = by_identity(selection.project, selection.files)
        sizes = {identity: remote.file.size for identity, remote in wanted.items()}
        files = [self._held(entry, folder, lines, sizes) for entry in inventory.scan.entries]
        there = {file.identity for file in files}
        names = [remote.file.filename for identity, remote in wanted.items() if identity not in there]
        claims = {os.path.basename(path) for path in inventory.scan.sidecars}
        return HeldProject(
            files=tuple(files),
            marks=dict(self._marks(inventory, folder, lines)),
            lines=lines,
            deleted=frozenset(
                name for name in names if inventory.was_deleted(parse_filename(name, selection.project))
            ),
            is_claimed=os.fsencode(CLAIMED) in claims or (inventory.exists and not lines and not files),
            is_empty=os.path.isdir(folder) and not os.listdir(folder),
        )

    def _read(self, project: str) -> Inventory:
        with self._reading:
            return self._reader.read(project)

    def _folder_of(self, project: str) -> bytes | None:
        with self._reading:
            return self._reader.folder_of(project)

    def _held(
        self,
        entry: ScannedFile,
        folder: bytes,
        lines: Mapping[str, ManifestLine],
        sizes: Mapping[object, int | None],
    ) -> HeldFile:
        in_folder = entry.folder == folder
        line = lines.get(entry.distribution.filename) if in_folder else None
        file = HeldFile(
            name=entry.distribution.filename,
            identity=entry.distribution.identity,
            path=entry.path,
            size=entry.key.size,
            time=entry.key.mtime_ns / 1e9,
            line=line,
            in_folder=in_folder,
        )
        if line is not None and line.size == file.size and _is_at(line, file.time):
            return replace(file, sha256=line.sha256)
        is_likely = file.identity in sizes and sizes[file.identity] in (None, file.size)
        if is_likely or (line is not None and line.size == file.size):
            return replace(file, sha256=_digest(entry.path))
        return file

    def _marks(
        self, inventory: Inventory, folder: bytes, lines: Mapping[str, ManifestLine]
    ) -> Iterator[tuple[str, str]]:
        """Yield the names of sidecars and statuses, with the digests of those that have a line."""
        for path in inventory.scan.sidecars:
            name = os.fsdecode(os.path.basename(path))
            if os.path.dirname(path) == folder and (name in STATUS_MARKS or name.endswith(_SUFFIXES)):
                yield name, _digest(path, follow_links=False) if name in lines else ""

    def copies(self) -> dict[str, int]:
        """
        Return the number of recorded files that are there, of each project that has any.

        Raises:
            OSError: The folder cannot be read.
        """
        counts: Counter[str] = Counter()
        for folder in self._folders():
            if files := _count_copies(folder):
                counts[normalize(os.fsdecode(os.path.basename(folder)))] += files
        return dict(counts)

    def _folders(self) -> list[bytes]:
        """Return the folders of projects."""
        with os.scandir(self.root) as entries:
            paths = [entry.path for entry in entries if is_valid_name(os.fsdecode(entry.name))]
        # Not `entry.is_dir()`: it raises for links that lead in a circle.
        return list(filter(os.path.isdir, paths))

    # -- Changing

    def begin(self, plan: ProjectPlan) -> None:
        """Record what is adopted, set times, and write the marks that hide."""
        if plan.adopt or plan.retime or plan.write:
            self._locked(plan.project, self._begin, plan)

    def _begin(self, folder: bytes, plan: ProjectPlan) -> None:
        lines = copies.read(folder)
        adopted = [self._line_of(file, _note(remote.url)) for file, remote in plan.adopt]
        if adopted:
            self._record(folder, adopted)
        lines = {**lines, **{line.name: line for line in adopted}}
        times = {name: time for name, time in plan.retime.items() if name in lines}
        if times:
            # Some file systems cannot hold every time; a line that says it already is not added each run.
            late = [name for name, time in times.items() if not _says(lines[name], time)]
            self._record(folder, [replace(lines[name], time=times[name]) for name in late])
        for name, time in times.items():
            self._step(set_time, os.path.join(folder, os.fsencode(name)), time)
        for name, content in plan.write.items():
            self._put(folder, name, content, "")

    def place(self, project: str, arrivals: Sequence[Arrival]) -> list[Failure]:
        """
        Give verified files their names.

        Returns:
            Those whose name was taken meanwhile.
        """
        return self._locked(project, self._place, project, arrivals)

    def _place(self, folder: bytes, project: str, arrivals: Sequence[Arrival]) -> list[Failure]:
        inventory = self._read(project)
        failures = [
            _taken(arrival)
            for arrival in arrivals
            if inventory.equivalents_of(arrival.distribution) or inventory.was_deleted(arrival.distribution)
        ]
        taken = {failure.name for failure in failures}
        free = [arrival for arrival in arrivals if arrival.line.name not in taken]
        if not free:
            return failures
        self._record(folder, [arrival.line for arrival in free])
        for arrival in free:
            try:
                self._step(self._link, arrival, folder)
            except FileExistsError:
                failures.append(_taken(arrival))
        self._step(sync_folder, folder)
        return failures

    def _link(self, arrival: Arrival, folder: bytes) -> None:
        path = os.path.join(folder, os.fsencode(arrival.line.name))
        try:
            arrival.file.link(path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # The project's folder is a link to another disk.
            time = os.fstat(arrival.file.descriptor).st_mtime_ns
            copy = arrival.file.copy_to(folder)
            with contextlib.closing(copy):
                copy.set_time(time)
                copy.link(path)

    def put_document(self, project: str, name: str, content: bytes, url: str) -> None:
        """Write a sidecar that is not there."""
        self._locked(project, self._put, name, content, _note(url))

    def _put(self, folder: bytes, name: str, content: bytes, note: str) -> None:
        digest = hashlib.sha256(content).hexdigest()
        line = ManifestLine(name=name, sha256=digest, size=len(content), time=self._now(), note=note)
        path = os.path.join(folder, os.fsencode(name))
        is_there = os.path.lexists(path)
        if not is_there:
            self._record(folder, [line])
        self._step(write_atomically, self.root, path, content)
        if is_there:
            self._record(folder, [line])

    def finish(self, plan: ProjectPlan) -> None:
        """Remove the marks that the index has no more, and lines about nothing."""
        if plan.erase or plan.forget or plan.is_empty:
            self._locked(plan.project, self._erase, plan.erase, plan.forget)

    def remove(self, project: str, names: Iterable[str]) -> list[Failure]:
        """
        Remove copies with what is recorded beside them, and with the last one the project's folder.

        Returns:
            Those that are no copies any more: they stay.
        """
        return self._locked(project, self._remove, project, sorted(names))

    def _remove(self, folder: bytes, project: str, names: list[str]) -> list[Failure]:
        lines, gone, failures = copies.read(folder), [], []
        held = held_names((self.root,), self.root, set(map(os.fsencode, names)))
        for name in names:
            take_away = partial(self._keep, project) if os.fsencode(name) in held else self._remove_file
            if self._unlink_copy(folder, name, lines, take_away):
                gone.append(name)
            else:
                failures.append(Failure(name=name, reason=f"{name} is no copy any more, and stays."))
        beside = [name + suffix for name in gone for suffix in _SUFFIXES if name + suffix in lines]
        if not self._read(project).scan.entries:
            beside += [name for name in sorted(STATUS_MARKS) if name in lines]
        self._erase(
            folder, [name for name in beside if self._is_recorded(folder, name, lines)], gone + beside
        )
        return failures

    def _remove_file(self, path: bytes) -> None:
        self._step(remove, path)

    def _keep(self, project: str, path: bytes) -> None:
        """Move a file that a snapshot names out of sight, with its sidecars."""
        for entry in self._read(project).scan.entries:
            if entry.path == path:
                beside = [path + os.fsencode(suffix) for suffix in _SUFFIXES]
                sidecars = [(self.root, sidecar) for sidecar in beside if os.path.lexists(sidecar)]
                for step in kept_files.keep(project, [(entry, None)], sidecars, self._now()):
                    self._step(step)

    def _unlink_copy(
        self,
        folder: bytes,
        name: str,
        lines: Mapping[str, ManifestLine],
        take_away: Callable[[bytes], None],
    ) -> bool:
        """Take a file away if it is the recorded one, or not there; return False if it is another."""
        path = os.path.join(folder, os.fsencode(name))
        with contextlib.suppress(FileNotFoundError):
            if not self._is_recorded(folder, name, lines):
                return False
            take_away(path)
        return True

    def _is_recorded(self, folder: bytes, name: str, lines: Mapping[str, ManifestLine]) -> bool:
        path = os.path.join(folder, os.fsencode(name))
        is_there = os.path.lexists(path)
        return name in lines and (not is_there or _digest(path) == lines[name].sha256)

    def _erase(self, folder: bytes, marks: Sequence[str], lines: Sequence[str]) -> None:
        for name in marks:
            self._step(remove, os.path.join(folder, os.fsencode(name)))
        self._step(sync_folder, folder)
        self._step(copies.forget, self.root, folder, (*marks, *lines))
        with contextlib.suppress(OSError):
            self._step(os.rmdir, folder)

    # -- Steps

    def _locked(self, project: str, change: Callable[..., T], *args: object) -> T:
        """Run a change of a project, which no other change of it may meet."""

        def run() -> T:
            folder = self._folder_of(project)
            if folder is None:
                folder = os.path.join(self.root, os.fsencode(project))
                self._step(make_folder, self.root, folder)
            with project_lock(self.root, lambda: self._folder_of(project)):
                return change(folder, *args)

        return retry_while_locked(run)

    def _record(self, folder: bytes, lines: Iterable[ManifestLine]) -> None:
        self._step(copies.record, self.root, folder, tuple(lines))

    def _line_of(self, file: HeldFile, note: str) -> ManifestLine:
        time = _EPOCH.fromtimestamp(file.time, UTC)
        return ManifestLine(name=file.name, sha256=file.sha256, size=file.size, time=time, note=note)


def _count_copies(folder: bytes) -> int:
    """Count the recorded files that are there; none if what is recorded cannot be read, as for a server."""
    try:
        names = copies.read(folder).keys()
        there = names and names & set(os.listdir(os.fsdecode(folder)))
    except OSError:
        return 0
    return sum(not name.startswith(".") and not name.endswith(_SUFFIXES) for name in there)


def line_of_arrival(
    file: AnonymousFile, distribution: Distribution, *, sha256: str, url: str, time: datetime
) -> ManifestLine:
    """Make the line of a file that has arrived, and give the file its modification time."""
    file.set_time(_nanoseconds(time))
    size = os.fstat(file.descriptor).st_size
    return ManifestLine(name=distribution.filename, sha256=sha256, size=size, time=time, note=_note(url))


def set_time(path: bytes, time: datetime) -> None:
    """Set the modification time of a file."""
    nanoseconds = _nanoseconds(time)
    os.utime(path, ns=(nanoseconds, nanoseconds))


def _nanoseconds(time: datetime) -> int:
    # Exactly: a float has no room for microseconds of today.
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


def _is_at(line: ManifestLine, time: float) -> bool:
    return abs(line.time.timestamp() - time) < TICK


def _says(line: ManifestLine, time: datetime) -> bool:
    """Return whether a line has a time, to the second, as it is written."""
    return line.time == time.replace(microsecond=0)


def _note(url: str) -> str:
    """Return a URL without its query, which may hold a secret; `parse_page` has removed the user."""
    return url.partition("?")[0].partition("#")[0]


def _taken(arrival: Arrival) -> Failure:
    name = arrival.line.name
    return Failure(name=name, reason=f"Another file, or a deletion, took the name {name} meanwhile.")


def _digest(path: bytes, *, follow_links: bool = True) -> str:
    """Return the digest of a regular file; empty if it is none, or not there."""
    try:
        file = open_regular_file(path, follow_links=follow_links)
    except FileNotFoundError:
        return ""
    if file is None:
        return ""
    with file:
        return hashlib.file_digest(file, "sha256").hexdigest()
