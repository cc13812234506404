"""
The folder of a join: what it has, and the steps that change it. Blocking.

After each step the folder is in a valid state. So the process may die between any two steps, and the next
plan is made from what is there then. A file that is set aside is in `.conflicts` before it is recorded
there, and is recorded before another file gets its name.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from twisted_index.backends.folder import copies, kept_files, tombstones
from twisted_index.backends.folder.blocking_store import retry_while_locked
from twisted_index.backends.folder.conflicts import (
    CONFLICTS,
    HERE,
    NameConflict,
    read_conflicts,
    record_conflict,
)
from twisted_index.backends.folder.entry_files import KnownDigest, digest_found, read_entries
from twisted_index.backends.folder.inventory import InventoryReader
from twisted_index.backends.folder.snapshots import held_names
from twisted_index.backends.layout.facts import StatKey
from twisted_index.backends.layout.tombstones import TOMBSTONES
from twisted_index.files.anonymous_file import make_folder, remove, sync_folder
from twisted_index.files.filesystems import has_coarse_folders
from twisted_index.files.locks import project_lock
from twisted_index.files.stamps import StatValidator
from twisted_index.files.steps import Steps, run_step
from twisted_index.files.verified_copy import copy_file
from twisted_index.replication.join_plan import (
    COPY_LINES,
    TOMBSTONE_LINES,
    Bury,
    Exhume,
    FetchAside,
    Holdings,
    Keep,
    Replace,
    SetAside,
    Take,
    key_of,
    only_here,
    plan_join,
)
from twisted_index.replication.receipt import Receipt, receive
from twisted_index.simple.names import normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from twisted_index.backends.folder.entry_files import FoundEntry
    from twisted_index.backends.folder.inventory import FolderInventory
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.files.steps import RunStep
    from twisted_index.replication.join_plan import JoinStep
    from twisted_index.simple.entry_listing import Entry
    from twisted_index.simple.manifest import ManifestLine

#: Errors of link(2) across file systems, and on those without hard links.
_NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_MANIFESTS = frozenset({TOMBSTONE_LINES, COPY_LINES})


class JoinFolder:
    """
    The folder of one index.

    Args:
        root: The absolute path.
        they_win: Whether the other server has the higher epoch.
        server: The URL of the other server, without credentials.
        now: Returns the current time, aware.
        keep_deleted: Seconds for which deleted files are kept out of sight.
        step: Carries out one step; tests let the process die there.
    """

    def __init__(
        self,
        root: bytes,
        *,
        they_win: bool,
        server: str,
        now: Callable[[], datetime],
        keep_deleted: float = 0.0,
        step: RunStep = run_step,
    ) -> None:
        self.root = root
        self._they_win = they_win
        self._server = server
        self._now = now
        self._keep_deleted = keep_deleted
        self._step = Steps(step)
        self._validator = StatValidator(trusts_times=not has_coarse_folders(root))
        self._digests: dict[bytes, tuple[FoundEntry, str]] = {}

    # -- What there is

    def projects(self) -> list[str]:
        """
        Return the names of all projects here.

        Raises:
            Unavailable: The folder cannot be read.
        """
        return self._reader().projects()

    def _reader(self) -> InventoryReader:
        # One for each call: a reader is not safe in several threads.
        return InventoryReader((self.root,), self._validator)

    def conflicts(self) -> int:
        """
        Return the number of unsettled conflicts.

        Raises:
            OSError: Their list cannot be read.
        """
        return len(read_conflicts(self.root))

    def plan(self, project: str, theirs: Holdings) -> tuple[JoinStep, ...]:
        """
        Plan the join of a project.

        Raises:
            Unavailable, OSError: The project cannot be read here.
        """
        known = read_conflicts(self.root)

        def is_recorded(path: str, kept: str, aside: str) -> bool:
            conflicts = [one for one in known if one.is_about(path, kept, aside)]
            return any(
                aside.startswith("deleted/") or os.path.lexists(os.path.join(self.root, one.place))
                for one in conflicts
            )

        ours = self._holdings(project, theirs)
        return tuple(plan_join(project, ours, theirs, they_win=self._they_win, is_recorded=is_recorded))

    def only_here(self, project: str, theirs: Holdings) -> list[str]:
        """Return the paths and deletions of a project that the other server lacks; errors as for `plan`."""
        return only_here(project, self._holdings(project, theirs), theirs)

    def _holdings(self, project: str, theirs: Holdings) -> Holdings:
        inventory = self._reader().read(project)
        part = inventory.parts.get(self.root)
        if part is None:
            return Holdings()
        wanted = {key_of(project, entry.name) for entry in theirs.entries}
        wanted |= {key_of(project, name) for name in theirs.deleted}

        def digest(found: FoundEntry) -> KnownDigest:
            name = os.fsdecode(os.path.basename(found.path))
            if key_of(project, name) not in wanted or name in _MANIFESTS:
                return KnownDigest("", True)
            known, sha256 = self._digests.get(found.path, (None, ""))
            if known != found:
                sha256 = digest_found(found)
                self._digests[found.path] = found, sha256
            return KnownDigest(sha256, True)

        reading = read_entries(project, self.root, part, digest, self._validator)
        return Holdings(
            entries=tuple(entry for entry in reading.entries if entry.name not in _MANIFESTS),
            deleted={
                line.name: line
                for path in inventory.scan.tombstones
                for line in tombstones.tombstones_in(path)
            },
            copies={
                name: line for found in inventory.scan.copies.values() for name, line in found.lines.items()
            },
        )

    # -- Changing it

    def receive(self, entry: Entry) -> Receipt:
        """Begin to receive the bytes of an entry."""
        return receive(self.root, entry)

    def carry_out(self, project: str, actions: Iterable[JoinStep], arrivals: Mapping[Entry, Receipt]) -> None:
        """
        Carry out a plan, except where a file has not arrived, or what is here has changed meanwhile.

        Args:
            project: A normalized name.
            actions: The plan.
            arrivals: Verified files, on disk, by their entries.

        Raises:
            Unavailable, OSError: The folder cannot be read or written.
        """

        def run() -> None:
            for action in actions:
                inventory = self._reader().read(project)
                folder = self._folder_for(action, inventory)
                is_needed = isinstance(action, Take | Bury) and folder != self.root
                if is_needed and not os.path.isdir(folder):
                    self._step(make_folder, self.root, folder)
                with project_lock(self.root, lambda: self._reader().folder_of(project)):
                    self._do(action, folder, arrivals, inventory)

        retry_while_locked(run)

    def _do(
        self,
        action: JoinStep,
        folder: bytes,
        arrivals: Mapping[Entry, Receipt],
        inventory: FolderInventory,
    ) -> None:
        if isinstance(action, Take):
            self._take(action, folder, arrivals)
        elif isinstance(action, SetAside):
            self._set_aside(action)
        elif isinstance(action, Replace):
            self._replace(action, arrivals)
        elif isinstance(action, FetchAside):
            self._fetch_aside(action, arrivals)
        elif isinstance(action, Bury):
            self._bury(action, folder, inventory)
        elif isinstance(action, Keep):
            self._record(action.entry.path, action.entry.sha256, action.aside, is_ours=False)
        else:
            self._exhume(action, folder)

    def _take(self, action: Take, folder: bytes, arrivals: Mapping[Entry, Receipt]) -> None:
        file = arrivals.get(action.entry)
        if file is None:
            return
        if action.line is not None and action.line.name not in copies.read(folder):
            # Before the file, which without its line would claim the name.
            self._step(copies.record, self.root, folder, [action.line])
        with contextlib.suppress(FileExistsError):
            self._step(file.link, os.path.join(folder, os.fsencode(action.entry.name)))
        self._step(sync_folder, folder)

    def _set_aside(self, action: SetAside) -> None:
        entry = action.entry
        conflict = self._conflict(entry.path, action.kept, entry.sha256, is_ours=True)
        for each in (*action.beside, entry):
            self._keep(self._place(each), self._aside(conflict, each))
        self._record(entry.path, action.kept, entry.sha256, is_ours=True)

    def _replace(self, action: Replace, arrivals: Mapping[Entry, Receipt]) -> None:
        file, place = arrivals.get(action.entry), self._place(action.old)
        if file is None or not self._is_still(action.old):
            return
        for each in action.beside:
            self._step(remove, self._place(each))
        self._step(file.put, place)
        self._step(sync_folder, os.path.dirname(place))

    def _fetch_aside(self, action: FetchAside, arrivals: Mapping[Entry, Receipt]) -> None:
        conflict = self._conflict(action.path, action.kept, action.entry.sha256, is_ours=False)
        for each in (*action.beside, action.entry):
            file, target = arrivals.get(each), self._aside(conflict, each)
            if file is None and not os.path.lexists(target):
                return
            if file is not None:
                self._make_aside(target)
                with contextlib.suppress(FileExistsError):
                    self._step(file.link, target)
                self._step(sync_folder, os.path.dirname(target))
        self._record(action.path, action.kept, action.entry.sha256, is_ours=False)

    def _bury(self, action: Bury, folder: bytes, inventory: FolderInventory) -> None:
        entry = action.entry
        if entry is not None and not self._is_still(entry):
            return
        path = os.path.join(folder, TOMBSTONES)
        known = {line.name for line in _tombstones(path)}
        if action.line.name not in known:
            self._step(tombstones.Tombstone(self.root, path, action.line).write)
            # A new line changes no time of the folder, by which pages would be made again.
            self._step(os.utime, folder)
        beside = [self._place(each) for each in action.beside]
        if entry is not None:
            file = next((each for each in inventory.scan.entries if each.path == self._place(entry)), None)
            if file is not None and self._keeps(file):
                # As every other deletion does it.
                sidecars = [(self.root, path) for path in beside]
                digest = [(file, entry.sha256)]
                for step in kept_files.keep(inventory.project, digest, sidecars, self._now()):
                    self._step(step)
                return
            beside.insert(0, self._place(entry))
        for place in beside:
            self._step(remove, place)
            self._step(sync_folder, os.path.dirname(place))

    def _keeps(self, file: ScannedFile) -> bool:
        return self._keep_deleted > 0 or bool(held_names((self.root,), self.root, {file.name}))

    def _exhume(self, action: Exhume, folder: bytes) -> None:
        aside = f"deleted/{action.line.sha256 or '-'}"
        self._record(action.entry.path, action.entry.sha256, aside, is_ours=True)
        for path in self._manifests(folder):
            self._step(tombstones.exhume, self.root, path, {action.line.name})

    def _manifests(self, folder: bytes) -> list[bytes]:
        project = normalize(os.fsdecode(os.path.basename(folder)))
        return [*self._reader().read(project).scan.tombstones]

    # -- Places

    def _folder_for(self, action: JoinStep, inventory: FolderInventory) -> bytes:
        """Return the folder for a new file: that of the file it belongs to, or that of the project."""
        if not isinstance(action, Take):
            return inventory.folder_path
        name = action.entry.name
        if name.startswith(".") or action.line is not None:
            return inventory.folder_path
        for entry in inventory.scan.entries:
            if name.startswith(entry.distribution.filename):
                return entry.folder
        part = inventory.parts.get(self.root)
        if part is None and "/" not in action.entry.path:
            return self.root
        if part is None:
            return os.path.join(self.root, os.fsencode(action.entry.path.partition("/")[0]))
        return inventory.target

    def _place(self, entry: Entry) -> bytes:
        return os.path.join(self.root, os.fsencode(entry.path))

    def _aside(self, conflict: NameConflict, entry: Entry) -> bytes:
        return os.path.join(self.root, os.path.dirname(conflict.place), os.fsencode(entry.name))

    def _is_still(self, entry: Entry) -> bool:
        """Return whether a file is unchanged since the plan was made."""
        found, sha256 = self._digests.get(os.fsencode(entry.path), (None, ""))
        with contextlib.suppress(OSError):
            key = StatKey.from_stat(os.stat(self._place(entry)))
            return found is not None and (found.key, sha256) == (key, entry.sha256)
        return False

    # -- Conflicts

    def _keep(self, place: bytes, target: bytes) -> None:
        """Keep a file in `.conflicts`, too; no-op if it is there."""
        if os.path.lexists(target):
            return
        self._make_aside(target)
        try:
            if os.path.islink(place):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), place)
            # A hard link is safe: the file is later replaced, and never written.
            self._step(os.link, place, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._step(copy_file, self.root, place, target)
        self._step(sync_folder, os.path.dirname(target))

    def _make_aside(self, target: bytes) -> None:
        for folder in (os.path.join(self.root, CONFLICTS), os.path.dirname(target)):
            if not os.path.isdir(folder):
                self._step(make_folder, self.root, folder)
                self._step(sync_folder, os.path.dirname(folder))

    def _conflict(self, path: str, kept: str, aside: str, *, is_ours: bool) -> NameConflict:
        """Make a conflict between a file of this server, set aside or kept, and one of the other."""
        return NameConflict(
            time=self._now(),
            path=path,
            kept=kept,
            aside=aside,
            kept_from=self._server if is_ours else HERE,
            aside_from=HERE if is_ours else self._server,
        )

    def _record(self, path: str, kept: str, aside: str, *, is_ours: bool) -> None:
        self._step(record_conflict, self.root, self._conflict(path, kept, aside, is_ours=is_ours))


def _tombstones(path: bytes) -> Iterator[ManifestLine]:
    with contextlib.suppress(FileNotFoundError):
        yield from tombstones.tombstones_in(path)
