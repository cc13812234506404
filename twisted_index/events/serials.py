"""
Serials: a number for each project that grows with each of its changes, and never falls.

A serial is the time in milliseconds, or one more than the last serial, whichever is greater. So it grows
although the clock is set back, and although the file of serials is lost. It fits into a JSON number.

Whether a project has changed is decided by a *imprint* that its source takes of it. A needless change of
that costs those who mirror from here a comparison; it never gives them wrong data.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from twisted.logger import Logger

from twisted_index.errors import Unavailable
from twisted_index.files.private_files import (
    make_private_folder,
    open_private,
    remove_private,
    replace_private,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = Logger()

#: Not for the other end of a FIFO.
_NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)
#: In the year 144,680. A greater one was not given here, and those after it would fit into no JSON number.
_MAX_SERIAL = 1 << 52
#: The imprint of a project of which nothing is left.
REMOVED = "-"
#: Without a size, as earlier versions wrote it; with what came before, after a take-over.
_HEAD = re.compile(rb"instance ([0-9a-f]{32})(?: ([0-9]{16}))?(?: after ([0-9a-f]{32}) ([0-9]{1,16}))?")
_LINE = re.compile(rb"([1-9][0-9]{0,15}) ([0-9a-f]{32}|-) ([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)")


class Change(NamedTuple):
    """
    The last change of a project.

    Attributes:
        serial: Greater than that of every earlier change of any project.
        imprint: Differs whenever the project does; `-` for a removed one.
    """

    serial: int
    imprint: str


class Count(NamedTuple):
    """
    How far serials of another name went.

    Attributes:
        instance: Their name.
        highest: The highest that was known of them: with it, all that are less.
    """

    instance: str
    highest: int


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class ChangeList:
    """
    The last change of every project.

    Attributes:
        instance: Names these serials; another one says that they may have begun anew.
        highest: The highest serial; 0 if there is none.
        changes: By project, the removed ones too.
        before: The serials that these go on from, since a take-over; None if there are none.
    """

    instance: str
    highest: int = 0
    changes: Mapping[str, Change] = field(default_factory=dict)
    before: Count | None = None


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


class Serials:
    """
    The serials of all projects of a server, in memory and in a file.

    Blocking, and safe in any thread; only `serial_of`, `announce` and `listeners` are for the reactor's.

    The file is text: a line with the instance and the size of the file, then `serial imprint project` for
    each change, of which the greatest counts. It is read at the first use, and then rewritten if it has more
    lines than projects. What is damaged is left out: that project gets a higher serial at the next look. But
    a project that is gone gets none, and those who had seen it would keep it. So the instance is new if a
    line is damaged, or the file is shorter than it was.

    A replica follows the serials of its primary: then none are given here, and only `adopt` changes any.

    Args:
        path: The file, in a folder that is made if need be; None keeps everything in memory.
        now: Returns milliseconds since the epoch.

    Attributes:
        listeners: Called by `announce` after changes.
    """

    def __init__(self, path: str | None = None, *, now: Callable[[], int] = _milliseconds) -> None:
        self._path = path
        self._now = now
        self._lock = threading.Lock()
        self._is_loaded = self._follows = False
        self._instance = secrets.token_hex(16)
        self._before: Count | None = None
        self._last = 0
        # The last one that was known when giving began, and the first one that was given then.
        self._kept, self._first = 0, _MAX_SERIAL + 1
        self._changes: dict[str, Change] = {}
        self._listed: ChangeList | None = None
        self._pending: list[bytes] = []
        self._announced = 0
        self.listeners: set[Callable[[], None]] = set()

    @property
    def instance(self) -> str:
        """What these serials are named. Not kept waiting while they are written."""
        if not self._is_loaded:
            with self._lock:
                self._load()
        return self._instance

    @property
    def highest(self) -> int:
        """The highest serial; 0 if there is none. Not kept waiting either."""
        if not self._is_loaded:
            with self._lock:
                self._load()
        return self._last

    @property
    def follows(self) -> bool:
        """Whether they are those of another server."""
        return self._follows

    def note(self, project: str, imprint: str, *, flush: bool = True) -> int | None:
        """
        Note what a project is like now.

        Args:
            project: A normalized name.
            imprint: 32 hex digits, or `REMOVED`.
            flush: Whether to write the change to the file; without it, call `flush` later.

        Returns:
            Its serial: a new one if the imprint is. Of those of another server, the one that is known, or
            None.
        """
        with self._lock:
            self._load()
            known = self._changes.get(project)
            if not self._follows and (known is None or known.imprint != imprint):
                known = self._give(project, imprint)
            if flush:
                self._flush()
            return None if known is None else known.serial

    def is_known(self, project: str) -> bool:
        """Return whether a project ever had a serial."""
        with self._lock:
            self._load()
            return project in self._changes

    def note_unseen(self, project: str) -> int | None:
        """
        Note that a project has changed in a way that its imprint does not show.

        Returns:
            Its new serial, which is not in the file before the next `flush`; of those of another server as
            `note` does.
        """
        with self._lock:
            known = self._changes.get(project)
            if self._follows:
                return None if known is None else known.serial
            same = secrets.token_hex(16) if known is None else known.imprint
            return self._give(project, same).serial

    def flush(self) -> None:
        """Write what is not in the file yet."""
        with self._lock:
            self._flush()

    def follow(self, instance: str | None = None, *, anew: bool = False) -> None:
        """
        Give no serials from now on: they are those of another server.

        Args:
            instance: Of them; of another one than until now, nothing that is known counts. None for the same.
            anew: Whether nothing counts of the same one either.
        """
        with self._lock:
            self._follows = True
            if instance is None and not anew:
                return
            self._load()
            if anew or instance not in (None, self._instance):
                self._changes, self._last = {}, 0
                self._begin(instance or self._instance)

    def follow_on(self, instance: str) -> None:
        """Follow serials that go on from those that were followed, or given here, under another name."""
        with self._lock:
            self._load()
            self._follows = True
            self._begin(instance, Count(self._instance, self._last))

    def adopt(self, project: str, change: Change, *, flush: bool = True) -> None:
        """
        Take the serial that the server which is followed gave a project, as it now is here.

        Nothing happens once serials are given here again.

        Args:
            project: A normalized name.
            change: That serial, and the imprint that was taken here. A serial that is less than the known
                one is passed over; the imprint counts.
            flush: See `note`.
        """
        with self._lock:
            self._load()
            if not self._follows:
                return
            known = self._changes.get(project, change)
            self._keep(project, Change(max(known.serial, change.serial), change.imprint))
            if flush:
                self._flush()

    def lead(self, instance: str | None = None) -> None:
        """
        Give serials again, above all that were adopted: what has been followed goes on here.

        If those are too great for that, all is counted anew.

        Args:
            instance: What they are named from now on; by default something new.
        """
        with self._lock:
            self._load()
            self._follows = False
            if self._last > _MAX_SERIAL // 2:
                # No clock gave that, and what is counted on from there would soon be too great to be kept.
                self._changes, self._last = {}, 0
            self._kept, self._first = self._last, _MAX_SERIAL + 1
            # Begun again after its role could not be kept, what it goes on from is what it was.
            before = self._before if instance == self._instance else Count(self._instance, self._last)
            self._begin(instance or secrets.token_hex(16), before)

    def may_have_given(self, serial: int) -> bool:
        """
        Return whether a serial was given here, as far as can be known.

        One that is greater than all in the file when that was read, and less than the first that was given
        after that, was given by a server whose file has been replaced by an older one. Of the serials of
        another server nothing is known.
        """
        with self._lock:
            self._load()
            return self._follows or serial <= self._kept or serial >= self._first

    def read(self) -> ChangeList:
        """Return the last change of every project: the same object until there is another change."""
        listed = self._listed
        if listed is not None:
            return listed
        with self._lock:
            self._load()
            if self._listed is None:
                self._listed = ChangeList(
                    instance=self._instance,
                    highest=self._last,
                    changes=dict(self._changes),
                    before=self._before,
                )
            return self._listed

    def serial_of(self, project: str) -> int | None:
        """Return the serial of a project; None if it has none, or the file has not been read."""
        known = self._changes.get(project)
        return None if known is None else known.serial

    def change_of(self, project: str) -> Change | None:
        """Return the last change of a project; None as for `serial_of`."""
        return self._changes.get(project)

    def is_current(self, listed: ChangeList) -> bool:
        """Return whether nothing has changed since a list was read."""
        return listed is self._listed

    def announce(self) -> None:
        """Call the listeners if there was a change since the last call."""
        if self._last > self._announced:
            self._announced = self._last
            for listener in tuple(self.listeners):
                listener()

    # -- With the lock held

    def _give(self, project: str, imprint: str) -> Change:
        serial = max(self._last + 1, self._now())
        self._first = min(self._first, serial)
        return self._keep(project, Change(serial, imprint))

    def _keep(self, project: str, change: Change) -> Change:
        self._last = max(self._last, change.serial)
        self._changes[project] = change
        self._listed = None
        if self._path is not None:
            self._pending.append(_line(project, change))
        return change

    def _begin(self, instance: str, before: Count | None = None) -> None:
        """Name these serials anew, in the file first; the next `announce` tells clients that wait."""
        if self._path is not None:
            self._rewrite(instance, before)
        self._instance, self._before, self._listed, self._announced = instance, before, None, -1

    def _load(self) -> None:
        if not self._is_loaded:
            self._read_file()
            self._is_loaded = True

    def _read_file(self) -> None:
        if self._path is None:
            return
        try:
            make_private_folder(os.path.dirname(self._path))
            with (
                open_private(self._path, os.O_RDONLY | os.O_CREAT | _NO_WAIT) as descriptor,
                open(descriptor, "rb", closefd=False) as file,
            ):
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise OSError(errno.EISDIR, "It is no regular file", self._path)
                lines = file.read().split(b"\n")
        except OSError as error:
            self._fail(error)
            return
        is_in_order = self._take(lines)
        self._kept = self._last
        if not is_in_order:
            self._rewrite(self._instance, self._before)

    def _take(self, lines: list[bytes]) -> bool:
        """Take what a file says, and return whether it needs no rewriting."""
        head, matches = _HEAD.fullmatch(lines[0]), [_LINE.fullmatch(line) for line in lines[1:-1]]
        for match in filter(None, matches):
            project, change = match[3].decode("ascii"), Change(int(match[1]), match[2].decode("ascii"))
            # Of equal ones the last: a replica adopts one anew for what was changed here by hand.
            if _MAX_SERIAL >= change.serial >= self._changes.get(project, (0, ""))[0]:
                self._changes[project] = change
                self._last = max(self._last, change.serial)
        if head is None or lines[-1] != b"" or not all(matches):
            return False
        size = sum(map(len, lines)) + len(lines) - 1
        if size < int(head[2] or 0):
            return False
        self._instance = head[1].decode("ascii")
        self._before = None if head[3] is None else Count(head[3].decode("ascii"), int(head[4]))
        return head[2] is not None and len(matches) == len(self._changes)

    def _rewrite(self, instance: str, before: Count | None) -> None:
        assert self._path is not None
        rows = b"".join(_line(project, change) for project, change in self._changes.items())
        self._pending = []
        try:
            size = len(_head(instance, 0, before)) + len(rows)
            replace_private(self._path, _head(instance, size, before) + rows)
        except OSError as error:
            self._fail(error)

    def _flush(self) -> None:
        if not self._pending or self._path is None:
            return
        lines, self._pending = self._pending, []
        try:
            with (
                open_private(self._path, os.O_WRONLY | os.O_APPEND) as descriptor,
                open(descriptor, "ab", closefd=False) as file,
            ):
                file.write(b"".join(lines))
                size = file.tell()
            # Last, so that it is never more than what is there.
            with (
                open_private(self._path, os.O_WRONLY) as descriptor,
                open(descriptor, "wb", closefd=False) as file,
            ):
                file.write(_head(self._instance, size, self._before))
        except OSError as error:
            # What is missing in it could give too low serials later; without it the instance is new.
            remove_private(self._path)
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Go on in memory: after a restart the same imprints get higher serials."""
        self._path, self._pending = None, []
        _log.warn("Serials are not kept: {path}: {error}", path=error.filename, error=error.strerror)


def _head(instance: str, size: int, before: Count | None) -> bytes:
    """Write the first line, which is as long for any size."""
    after = "" if before is None else f" after {before.instance} {before.highest}"
    return f"instance {instance} {size:016d}{after}\n".encode("ascii")


def _line(project: str, change: Change) -> bytes:
    return f"{change.serial} {change.imprint} {project}\n".encode("ascii")


def read_serials(path: str) -> ChangeList:
    """
    Read the file of a running server, and change nothing of it.

    Returns:
        What it says; without the line that may just be written. Empty if there is no such file.

    Raises:
        Unavailable: It cannot be read.
    """
    changes: dict[str, Change] = {}
    try:
        with (
            open_private(path, os.O_RDONLY | _NO_WAIT) as descriptor,
            open(descriptor, "rb", closefd=False) as file,
        ):
            head, *lines = file.read().split(b"\n")
    except FileNotFoundError:
        return ChangeList(instance="")
    except OSError as error:
        raise Unavailable(f"keep/serials in the state folder cannot be read: {error.strerror}.") from None
    for match in filter(None, map(_LINE.fullmatch, lines[:-1])):
        changes[match[3].decode("ascii")] = Change(int(match[1]), match[2].decode("ascii"))
    named = _HEAD.fullmatch(head)
    return ChangeList(
        instance="" if named is None else named[1].decode("ascii"),
        highest=max((change.serial for change in changes.values()), default=0),
        changes=changes,
    )
