"""
The last part of a promotion: its files get their names, hidden by its list, and the list goes. Blocking.

Every step can be repeated, so that what was cut off is completed; and undone, until the list has gone.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING

from twisted_index.backends.folder import copies
from twisted_index.backends.folder.inventory import InventoryReader
from twisted_index.backends.folder.promotion_record import RECORD, Promotions
from twisted_index.backends.folder.tombstones import Tombstone
from twisted_index.backends.layout.facts import StatKey
from twisted_index.backends.layout.tombstones import TOMBSTONES
from twisted_index.errors import Conflict
from twisted_index.files.anonymous_file import make_folder, remove, sync_folder, write_atomically
from twisted_index.files.steps import Steps, run_step
from twisted_index.files.verified_copy import move_file
from twisted_index.simple.manifest import InvalidLine, ManifestLine, parse_line
from twisted_index.simple.names import parse_filename

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twisted_index.backends.layout.facts import FileFacts
    from twisted_index.backends.layout.promotion_record import PromotionRecord, StagedFile
    from twisted_index.files.steps import RunStep


#: Nanoseconds by which file systems may change a time that they are given; FAT has the coarsest.
_TICK = 2 * 10**9


class State(Enum):
    """How far a promotion has come. Its files show in the third of these states only."""

    COPYING = "copying"
    PLACING = "placing"
    SHOWN = "published"
    CANCELLED = "cancelled"


class Placement:
    """
    Places the files of a promotion. The caller holds the lock of the target, except for `show` and `finish`.

    Args:
        roots: Those of the target that are its own; the files go to the first.
        source: The root that moved files come from.
        record: What is placed, with its moment; as it is on disk.
        run: Carries out one step; the tests die after any of them.

    Attributes:
        record: As given.
        placed: Paths of the files under their new names, with size and times, and what is known of them.
    """

    def __init__(
        self,
        roots: Sequence[bytes],
        source: bytes,
        record: PromotionRecord,
        run: RunStep = run_step,
    ) -> None:
        self.record = record
        self.placed: list[tuple[bytes, StatKey, FileFacts]] = []
        self._root = roots[0]
        self._source = source
        self._step = Steps(run)
        self._reader = InventoryReader(roots)
        self._promotions = Promotions(roots[0])
        self._list = self._promotions.list_path(record.id)
        self._staging = self._promotions.staging_path(record.id)

    @property
    def is_listed(self) -> bool:
        """Whether its list is there, so that it is neither shown nor undone."""
        return os.path.lexists(self._list)

    @property
    def state(self) -> State:
        """How far it has come; of files that are shown people may have removed some since."""
        names = [(file, name) for file in self.record.files for name in file.names]
        if self.is_listed:
            return State.PLACING
        if self.record.moment is None or any(os.path.lexists(self._before(*each)) for each in names):
            return State.COPYING
        return State.SHOWN if any(self._is_placed(*each) for each in names) else State.CANCELLED

    # -- Forwards

    def place(self) -> None:
        """
        Write the list, and give each file its name.

        Raises:
            Conflict: A name has been taken by hand.
            OSError: Not all of it was done.
        """
        if not self.is_listed:
            names = "".join(f"{name}\n" for file in self.record.files for name in file.names)
            self._step(write_atomically, self._root, self._list, names.encode())
        for file in self.record.files:
            self._step(self._prepare, file)
            for name in file.names:
                self._step(self._place, file, name)
        for folder in sorted({self._folder(file) for file in self.record.files} | set(self._origins())):
            self._step(sync_folder, folder)
        for file in self.record.files:
            self._step(self._revive, file)
        self.placed = [
            (path, StatKey.from_stat(os.stat(path)), file.facts)
            for file in self.record.files
            for path in [self._path(file, file.name)]
        ]

    def _prepare(self, file: StagedFile) -> None:
        folder = self._folder(file)
        if not os.path.isdir(folder):
            make_folder(self._root, folder)
        # A line about a file that is not there yet would make it a copy.
        if not self._is_placed(file, file.name):
            copies.forget(self._root, folder, file.names)

    def _place(self, file: StagedFile, name: str) -> None:
        moment = self.record.moment
        assert moment is not None
        if self._is_placed(file, name):
            return
        before = self._before(file, name)
        os.utime(before, ns=(moment, moment))
        try:
            move_file(before, self._path(file, name), file.sha256 if name == file.name else "")
        except FileExistsError:
            raise Conflict(
                f"File already exists: {name} was put into the folder by hand meanwhile."
            ) from None

    def _revive(self, file: StagedFile) -> None:
        if file.deleted:
            inventory = self._reader.read(file.project)
            for step in inventory.revive(parse_filename(file.name, file.project)):
                step()

    def show(self) -> None:
        """Remove the list: this one step shows all files of all projects."""
        self._unlist()

    def _unlist(self) -> None:
        self._step(remove, self._list)
        self._step(sync_folder, self._promotions.folder)

    def finish(self) -> None:
        """Remove what the promotion has written down; its record last."""
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self._staging), key=RECORD.__eq__):
                self._step(remove, os.path.join(self._staging, name))
            self._step(os.rmdir, self._staging)

    # -- Backwards

    def undo(self) -> None:
        """
        Remove the files from their places, and then the list.

        Raises:
            Conflict: They are shown already.
            OSError: Not all of it was done.
        """
        if self.state is State.SHOWN:
            raise Conflict("It is published already; delete or yank the files instead.")
        for file in self.record.files:
            self._step(self._bury, file)
            for name in reversed(file.names):
                self._step(self._take_back, file, name)
        for folder in {self._folder(file) for file in self.record.files} - {self._root}:
            with contextlib.suppress(OSError):
                self._step(os.rmdir, folder)
        for folder in sorted({self._folder(file) for file in self.record.files} | set(self._origins())):
            with contextlib.suppress(FileNotFoundError):
                self._step(sync_folder, folder)
        self._unlist()
        self.finish()

    def _take_back(self, file: StagedFile, name: str) -> None:
        path, before = self._path(file, name), self._before(file, name)
        if _is_same(path, before) or (file.origin is None and self._is_placed(file, name)):
            remove(path)
        elif self._is_placed(file, name):
            move_file(path, before, file.sha256 if name == file.name else "")

    def _bury(self, file: StagedFile) -> None:
        """Write the lines of tombstones again that are missing."""
        if not file.deleted:
            return
        inventory = self._reader.read(file.project)
        there = {line.line for line in inventory.tombstones_of(parse_filename(file.name, file.project))}
        for text in file.deleted:
            if text.encode() not in there:
                folder = inventory.folder_path
                make_folder(self._root, folder)
                Tombstone(self._root, os.path.join(folder, TOMBSTONES), _line(text, file)).write()

    # -- Where things are

    def _folder(self, file: StagedFile) -> bytes:
        return os.path.join(self._root, os.fsencode(file.folder)) if file.folder else self._root

    def _path(self, file: StagedFile, name: str) -> bytes:
        return os.path.join(self._folder(file), os.fsencode(name))

    def _before(self, file: StagedFile, name: str) -> bytes:
        """Return where a file is until it is placed."""
        if file.origin is None:
            return os.path.join(self._staging, os.fsencode(name))
        return os.path.join(self._source, os.fsencode(file.origin), os.fsencode(name))

    def _origins(self) -> Iterator[bytes]:
        for file in self.record.files:
            if file.origin is not None:
                yield os.path.dirname(self._before(file, file.name))

    def _is_placed(self, file: StagedFile, name: str) -> bool:
        """Return whether a file is in its place, and not another one that was put there by hand."""
        if os.path.lexists(self._before(file, name)):
            return False
        try:
            status = os.lstat(self._path(file, name))
        except FileNotFoundError:
            return False
        is_whole = name != file.name or status.st_size == file.size
        return is_whole and abs(status.st_mtime_ns - (self.record.moment or 0)) <= _TICK


def _is_same(path: bytes, other: bytes) -> bool:
    """Return whether a file has two names, since giving it the second was cut off."""
    try:
        return os.path.samestat(os.lstat(path), os.lstat(other))
    except FileNotFoundError:
        return False


def _line(text: str, file: StagedFile) -> ManifestLine:
    with contextlib.suppress(InvalidLine):
        return parse_line(text.encode())
    # Its time was none.
    moment = datetime.fromtimestamp(0, UTC)
    return ManifestLine(name=file.name, sha256=file.sha256, size=file.size, time=moment)
