"""
The folder of a replica: what it has of a project, and the ordered steps that change it. Blocking.

After each step the folder shows a valid state, if perhaps an old one. So the process may die between any two
steps, and the next comparison goes on from there. Files are verified and on disk before they have a name.
Nothing is written through a link.
"""

from __future__ import annotations

import errno
import os
import stat as stat_module
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from twisted_index.backends.folder.blocking_store import retry_while_locked
from twisted_index.backends.folder.entry_files import is_entry_name
from twisted_index.backends.folder.imprints import imprint
from twisted_index.backends.folder.root_scan import RootScan, read_root
from twisted_index.backends.folder.staged import STAGED, read_staged
from twisted_index.backends.folder.tombstones import tombstones_in
from twisted_index.backends.layout.entries import ProjectEntries, may_belong
from twisted_index.backends.layout.inventory import choose_folder
from twisted_index.backends.layout.project_scan import DELETED
from twisted_index.backends.layout.tombstones import TOMBSTONES
from twisted_index.errors import Conflict
from twisted_index.events.serials import REMOVED
from twisted_index.files.anonymous_file import (
    fill_folder,
    make_folder,
    remove,
    sweep,
    sync_folder,
)
from twisted_index.files.filesystems import has_coarse_folders
from twisted_index.files.locks import project_lock
from twisted_index.files.portability import IS_WINDOWS
from twisted_index.files.stamps import StatValidator
from twisted_index.files.steps import Steps, run_step
from twisted_index.replication.compare import (
    Held,
    ReplicaPlan,
    check_paths,
    compare,
    doubtful,
    find_alike,
    is_mark,
)
from twisted_index.replication.known_digests import KnownDigests
from twisted_index.replication.receipt import Receipt, receive
from twisted_index.replication.removed_files import RemovedFiles
from twisted_index.replication.waiting_files import WaitingFiles
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from twisted_index.files.steps import RunStep
    from twisted_index.simple.entry_listing import Entry, EntryListing

P = ParamSpec("P")
T = TypeVar("T")

#: Largest new project that is placed as one folder. Its files are open at once, and a failure loses all of
#: them.
_MAX_FILES, _MAX_BYTES = 64, 64 << 20
#: Characters that no name has on Windows.
_FOREIGN = frozenset('<>:"|?*')


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """The last scan of the root, and the projects that were changed here since."""

    scan: RootScan
    changed: dict[str, ProjectEntries]


class ReplicaFolder:
    """
    The folder of one index.

    Safe in several threads, for one project in one thread at a time.

    Args:
        root: The absolute path.
        removed: The folder that removed files are moved to.
        keep_deleted: Seconds for which deleted files are kept; see `RemovedFiles`.
        now: Returns nanoseconds since the epoch.
        step: Carries out one step; tests let the process die there.
    """

    def __init__(
        self,
        root: bytes,
        removed: str,
        *,
        keep_deleted: float = 0.0,
        now: Callable[[], int] = time.time_ns,
        step: RunStep = run_step,
    ) -> None:
        self.root = root
        self._removed = RemovedFiles(removed, now)
        self._keep_deleted = keep_deleted
        self._now = now
        self._step = Steps(step)
        self._validator = StatValidator(trusts_times=not has_coarse_folders(root))
        self._reading = threading.Lock()
        self._naming = threading.Lock()
        self._places: _Places | None = None
        self._waiting = WaitingFiles(root)
        self._digests = KnownDigests()
        self._is_unsynced = False

    # -- Reading

    def refresh(self) -> frozenset[str]:
        """
        Scan the root, if it has changed.

        Returns:
            The projects that the folder has anything of.

        Raises:
            OSError: The root cannot be read.
        """
        with self._reading:
            before = None if self._places is None else self._places.scan
            if before is None:
                # Remove what an earlier process left without a name.
                sweep(self.root)
            if before is None or not before.is_current(self._validator):
                self._places = _Places(scan=read_root(self.root, self._validator, before), changed={})
            assert self._places is not None
            gone = {name for name, part in self._places.changed.items() if part == ProjectEntries()}
            return frozenset((self._places.scan.taken.keys() | self._places.changed.keys()) - gone)

    def _part(self, project: str) -> ProjectEntries:
        """Return what the root has for a project, also what is hidden yet."""
        with self._reading:
            places = self._places
        if places is None:
            self.refresh()
            return self._part(project)
        return places.changed.get(project, places.scan.taken.get(project, ProjectEntries()))

    def survey(self, project: str, listing: EntryListing | None, *, deep: bool = False) -> ReplicaPlan:
        """
        Compare a project with what the primary lists of it.

        Args:
            project: A normalized name.
            listing: The listing of the primary; None if it has nothing of the project.
            deep: Whether to compare files of equal size and time by digest, too.

        Raises:
            BadGateway: The listing has a path that belongs to no entry of the project.
            Conflict: The listing has two names that are one to the file system here.
            OSError: The project cannot be read.
        """
        entries = () if listing is None else listing.entries
        check_paths(project, entries)
        self._learn(project, (entry.path for entry in entries))
        held = dict(self._held(project, {entry.path for entry in entries}))
        self._check_names({*held, *(entry.path for entry in entries)})
        read = frozenset(doubtful(entries, held, deep=deep))
        for path in doubtful(entries, held, deep=True):
            sha256 = self._digests.find(self._path(path))
            if sha256 is None and path in read:
                sha256 = self._digests.read(self._path(path))
            if sha256 is not None:
                held[path] = held[path]._replace(sha256=sha256)
        return compare(project, listing, held)

    def _learn(self, project: str, paths: Iterable[str]) -> None:
        """Look again at the folders and files of a project that are known, and at those of these paths."""
        known = self._part(project)
        folders, files = set(known.folders), set(known.files)
        for path in paths:
            folder, slash, name = os.fsencode(path).rpartition(b"/")
            (folders if slash else files).add(folder if slash else name)
        there = ProjectEntries(
            tuple(sorted(name for name in folders if os.path.isdir(os.path.join(self.root, name)))),
            tuple(sorted(name for name in files if os.path.lexists(os.path.join(self.root, name)))),
        )
        if there != known:
            with self._reading:
                assert self._places is not None
                self._places.changed[project] = there

    def _held(self, project: str, listed: set[str]) -> Iterator[tuple[str, Held]]:
        """Yield what the folder has for a project, by path."""
        part = self._part(project)
        waiting = self._waiting.names(project)
        for folder in part.folders:
            self._check_folder(folder)
            for name in os.listdir(os.path.join(self.root, folder)):
                path = os.fsdecode(b"%b/%b" % (folder, name))
                if is_entry_name(name, in_folder=True):
                    yield from self._look_at(project, path, waiting, is_listed=path in listed)
        for name in part.files:
            path = os.fsdecode(name)
            if is_entry_name(name, in_folder=False):
                yield from self._look_at(project, path, waiting, is_listed=path in listed)

    def _look_at(
        self, project: str, path: str, waiting: frozenset[str], *, is_listed: bool
    ) -> Iterator[tuple[str, Held]]:
        try:
            status = os.lstat(self._path(path))
        except FileNotFoundError:
            return
        name = path.rpartition("/")[2]
        is_regular = stat_module.S_ISREG(status.st_mode)
        is_link = stat_module.S_ISLNK(status.st_mode)
        if not is_regular and not is_listed and not (is_link and may_belong(name, project)):
            return
        yield (
            path,
            Held(
                size=status.st_size,
                time=min(status.st_mtime_ns, status.st_ctime_ns),
                is_regular=is_regular,
                is_staged=name in waiting,
            ),
        )

    def _check_names(self, paths: Collection[str]) -> None:
        """
        Let nothing be done where one file would be taken for two, and go with the name that is gone.

        Nor where a name would be that of something else: on Windows, `a:b` is a part of the file `a`.
        """
        if IS_WINDOWS and (foreign := [path for path in paths if not _FOREIGN.isdisjoint(path)]):
            raise Conflict(
                f"{printable(min(foreign))} is no name that this system takes: rename it at the primary."
            )
        alike = find_alike(paths)
        if alike is not None and self._is_case_blind():
            one, other = map(printable, alike)
            raise Conflict(
                f"{one} and {other} are one name to the file system here: rename one of them at the primary,"
                " or what has the former name here."
            )

    def _is_case_blind(self) -> bool:
        """Return whether the file system ignores case."""
        staged, other = (os.path.join(self.root, name) for name in (STAGED, STAGED.upper()))
        while True:
            make_folder(self.root, staged)
            is_blind = os.path.lexists(other)
            # The removal of the last list removes the folder.
            if os.path.lexists(staged):
                break
        with suppress(OSError):
            os.rmdir(staged)
        return is_blind

    def _check_folder(self, folder: bytes) -> None:
        if os.path.islink(os.path.join(self.root, folder)):
            # A link may lead anywhere.
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.path.join(self.root, folder))

    def imprint(self, project: str) -> str:
        """
        Return the imprint of a project, the same that `FolderSource` computes.

        Raises:
            OSError: The project cannot be read.
        """
        part = self._part(project)
        staged = read_staged(self.root, self._validator, None)
        hidden = frozenset() if staged is None else staged.hides(project)
        files = tuple(name for name in part.files if name not in hidden)
        shown = ProjectEntries(part.folders, files, hidden if part.folders else frozenset())
        return imprint([(self.root, shown)]) if shown.folders or shown.files else REMOVED

    # -- Receiving

    def receive(self, entry: Entry) -> Receipt:
        """Begin to receive the bytes of an entry."""
        return receive(self.root, entry)

    def receive_whole(self, entry: Entry, content: bytes) -> Receipt:
        """
        Receive an entry from memory.

        Raises:
            BadGateway: The bytes are not those of the entry.
        """
        receipt = self.receive(entry)
        try:
            receipt.write(content)
            receipt.check()
        except BaseException:
            receipt.close()
            raise
        return receipt

    # -- Changing

    def comes_as_one(self, plan: ReplicaPlan) -> bool:
        """Return whether a project is new, and small enough to be placed as one folder by `make`."""
        wanted = plan.wanted
        return (
            plan.is_new
            and len({entry.path.partition("/")[0] for entry in wanted}) == 1
            and all("/" in entry.path for entry in wanted)
            # A folder may be there already, with files that are no entries.
            and not os.path.lexists(self._path(wanted[0].path.partition("/")[0]))
            and len(wanted) <= _MAX_FILES
            and sum(entry.size for entry in wanted) <= _MAX_BYTES
        )

    def make(self, plan: ReplicaPlan, receipts: Sequence[Receipt]) -> None:
        """Place a new project in one step: as a folder that is filled, and then renamed."""
        self._sync(receipts)
        folder = receipts[0].entry.path.partition("/")[0]

        def fill(path: bytes) -> None:
            for receipt in receipts:
                name = receipt.entry.name
                self._step(receipt.put, os.path.join(path, os.fsencode(name)))
                self._digests.learn(
                    self._path(receipt.entry.path), os.path.join(path, os.fsencode(name)), receipt
                )

        def place(temporary: bytes, path: bytes) -> None:
            self._locked(plan.project, (folder,), self._step, os.rename, temporary, path)

        fill_folder(self.root, self._path(folder), fill, place)
        self._is_unsynced = True
        self._learn(plan.project, (receipts[0].entry.path,))

    def sync(self) -> None:
        """Wait until all folders placed by `make` are on disk: one sync, as each takes its time."""
        if self._is_unsynced:
            self._is_unsynced = False
            sync_folder(self.root)

    def begin(self, plan: ReplicaPlan, marks: Sequence[Receipt]) -> None:
        """Place marks that hide, set times, and write the list that hides files until all are there."""
        self._sync(marks)
        paths = [*(mark.entry.path for mark in marks), *plan.dropped]
        self._locked(plan.project, paths, self._begin, plan, marks)

    def _begin(self, plan: ReplicaPlan, marks: Sequence[Receipt]) -> None:
        if not plan.is_new:
            # They hide nothing yet; and alone they would show a project without files for a while.
            self._put(marks)
        for path in plan.dropped:
            self._step(remove, self._path(path))
        if plan.together:
            self._step(self._waiting.hide, plan.project, plan.together)
        now = self._now()
        for entry in plan.retime:
            if entry.time <= now:
                self._step(os.utime, self._path(entry.path), ns=(entry.time,) * 2, follow_symlinks=False)
                # On file systems with coarse times this happens at each change of the project.
                self._digests.renew(self._path(entry.path), entry.sha256)

    def place(self, plan: ReplicaPlan, receipts: Sequence[Receipt]) -> None:
        """Give files their names. If a list hides them, they become visible by `finish`."""
        self._sync(receipts)
        self._locked(plan.project, [receipt.entry.path for receipt in receipts], self._put, receipts)
        self._learn(plan.project, (receipt.entry.path for receipt in receipts))

    def finish(self, plan: ReplicaPlan, marks: Sequence[Receipt] = ()) -> None:
        """
        Show the files that a list hides, and remove marks that the primary lacks.

        Args:
            plan: The plan.
            marks: The marks of a new project.
        """
        self._sync(marks)
        paths = [*(mark.entry.path for mark in marks), *plan.show]
        self._locked(plan.project, paths, self._finish, plan, marks)
        self._learn(plan.project, paths)

    def _finish(self, plan: ReplicaPlan, marks: Sequence[Receipt]) -> None:
        self._put(marks)
        self._waiting.show(plan.project, self._step)
        for mark in plan.show:
            self._step(remove, self._path(mark))

    def remove(self, project: str, paths: Sequence[str]) -> list[str]:
        """
        Remove files that the primary lacks: delete those with a tombstone, and move the others to the state.

        Args:
            project: A normalized name.
            paths: In the order in which they are removed.

        Returns:
            The paths that were moved.
        """
        return self._locked(project, paths, self._remove, project, paths)

    def _remove(self, project: str, paths: Sequence[str]) -> list[str]:
        deleted, moved = self._deleted(project, paths), []
        for path in paths:
            name = path.rpartition("/")[2]
            place = self._path(path)
            with suppress(FileNotFoundError):
                size = os.lstat(place).st_size
                if is_mark(path) or (name in deleted and deleted[name] in (None, size)):
                    self._step(remove, place)
                else:
                    self._step(self._removed.take, place, path)
                    moved.append(path)
        for folder in self._part(project).folders:
            with suppress(OSError):
                self._step(os.rmdir, os.path.join(self.root, folder))
        for folder in {os.path.dirname(self._path(path)) for path in paths}:
            with suppress(FileNotFoundError):
                self._step(sync_folder, folder)
        self._learn(project, ())
        return moved

    def give_up(self) -> None:
        """
        After a take-over, move files away that wait for others, which will not come any more.

        Otherwise the lists would go on hiding their names, even from files that clients upload later. The
        waiting files of a new project are not shown either: its marks may not have come.

        Raises:
            OSError: Some of them are still there.
        """
        for project in self._waiting.projects():
            self.refresh()
            self.remove(project, [path for path, held in self._held(project, set()) if held.is_staged])
            self.finish(ReplicaPlan(project=project))

    def _deleted(self, project: str, paths: Sequence[str]) -> dict[str, int | None]:
        """Return the names with tombstones, and the sizes of the deleted files; None if not known."""
        deleted: dict[str, int | None] = {}
        for folder in self._part(project).folders:
            path = os.path.join(self.root, folder, TOMBSTONES)
            with suppress(OSError):
                deleted |= {line.name: line.size for line in tombstones_in(path)}
        for each in paths:
            if os.path.lexists(self._path(each + DELETED)):
                deleted.setdefault(each.rpartition("/")[2], None)
        return deleted

    def forget_removed(self) -> None:
        """Remove for good what was moved out of sight long ago."""
        self._removed.forget(self._keep_deleted)

    # -- With the lock held

    def _put(self, receipts: Sequence[Receipt]) -> None:
        folders = {receipt.entry.path.rpartition("/")[0] for receipt in receipts}
        for folder in sorted(filter(None, folders)):
            self._check_folder(os.fsencode(folder))
            if not os.path.isdir(self._path(folder)):
                self._step(make_folder, self.root, self._path(folder))
        for receipt in receipts:
            path = self._path(receipt.entry.path)
            self._step(receipt.put, path)
            self._digests.learn(path, path, receipt)
        for folder in sorted(folders):
            self._step(sync_folder, self._path(folder))

    def _sync(self, receipts: Sequence[Receipt]) -> None:
        for receipt in receipts:
            self._step(receipt.sync)

    def _locked(
        self,
        project: str,
        paths: Iterable[str],
        change: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """
        Change a project under its lock.

        Args:
            project: A normalized name.
            paths: What is changed. If any is in the root, or in a folder that isn't there yet, the lock is
                that of the root, and excludes all other projects too.
            change: The change, called with the rest of the arguments.
            args: Arguments of the change.
            kwargs: Keyword arguments of the change.
        """
        folders = {path.rpartition("/")[0] for path in paths}
        if "" in folders or not all(os.path.isdir(self._path(folder)) for folder in folders):
            # Threads queue here, instead of polling for the lock of the root.
            with self._naming:
                return retry_while_locked(lambda: self._change(lambda: None, change, *args, **kwargs))
        return retry_while_locked(lambda: self._change(lambda: self._main(project), change, *args, **kwargs))

    def _change(
        self, find: Callable[[], bytes | None], change: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with project_lock(self.root, find):
            return change(*args, **kwargs)

    def _main(self, project: str) -> bytes | None:
        return choose_folder(self.root, project, self._part(project))

    def _path(self, path: str) -> bytes:
        return os.path.join(self.root, os.fsencode(path))
