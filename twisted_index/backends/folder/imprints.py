"""
Imprints of projects: whether anything that lies in the roots for a project has changed.

Blocking; called in threads. No file is opened: an imprint is made of the names, sizes, times and inodes of
a project's entries.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from hashlib import blake2b
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from twisted_index.backends.folder.root_scan import entries_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.backends.layout.entries import ProjectEntries
    from twisted_index.events.serials import Serials
    from twisted_index.files.stamps import StampedStat, StatValidator

T = TypeVar("T")

#: All files are looked at no more often than would take this part of the time.
_SHARE = 1 / 20
#: Seconds of work in a sweep, after which it rests for as long: the interpreter runs one thread at a time,
#: and the system lets a thread run on for milliseconds, which that of the reactor would wait for.
_PIECE = 0.0002


def imprint(parts: Sequence[tuple[bytes, ProjectEntries]]) -> str:
    """
    Take the imprint of a project.

    Args:
        parts: Each root's path with its entries for the project, in order.

    Returns:
        32 hex digits.

    Raises:
        OSError: A folder cannot be read. A missing one counts as empty.
    """
    digest = blake2b(digest_size=16)
    for number, (root, entries) in enumerate(parts):
        for folder in entries.folders:
            digest.update(b"%d/%s/\0" % (number, folder))
            for name, status in sorted(_look_into(os.path.join(root, folder))):
                if name not in entries.hidden:
                    digest.update(_row(name, status))
        for name in entries.files:
            digest.update(b"%d/" % number)
            digest.update(_row(name, _stat_of(os.path.join(root, name))))
    return digest.hexdigest()


def stable_imprint(
    parts: Sequence[tuple[bytes, ProjectEntries]], scan: Callable[[], T]
) -> tuple[T, str | None]:
    """
    Scan a project, and take the imprint of just what was scanned.

    Returns:
        The scan and the imprint; None in its place if anything changed meanwhile.
    """
    before = _try(parts)
    scanned = scan()
    after = _try(parts)
    return scanned, before if before == after else None


def unlike_any() -> str:
    """Make an imprint that no other look will take, for what changed while it was looked at."""
    return secrets.token_hex(16)


def _try(parts: Sequence[tuple[bytes, ProjectEntries]]) -> str | None:
    try:
        return imprint(parts)
    except OSError:
        return None


def _look_into(path: bytes) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    yield entry.name, _numbers(entry.stat())
                except OSError:
                    # A link whose target is missing, or a file that has just gone.
                    yield entry.name, ()
    except (FileNotFoundError, NotADirectoryError):
        return


def _stat_of(path: bytes) -> tuple[int, ...]:
    try:
        return _numbers(os.stat(path))
    except OSError:
        return ()


def _numbers(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns


def _row(name: bytes, status: tuple[int, ...]) -> bytes:
    # No name contains a null byte.
    return b"%s\0%s\0" % (name, repr(status).encode("ascii"))


class _Seen(NamedTuple):
    """
    What a project was like at a look.

    Attributes:
        parts: The entries of each root.
        stamps: Those of its folders, and of the roots that it has files in.
    """

    parts: tuple[ProjectEntries, ...]
    stamps: tuple[StampedStat, ...]


class Swept(NamedTuple):
    """
    Result of a sweep.

    Attributes:
        present: The projects that there are.
        changed: Those of them that have new serials.
    """

    present: set[str]
    changed: set[str]


class Sweep:
    """
    Looks at all projects, and notes the imprints of those that have changed.

    A project whose folders have their stamps of before is looked into only when it is time to find files that
    were rewritten in place: at each look, unless that would take too much of the time.

    Args:
        serials: Where imprints are noted.
        validator: Takes stamps, and tells the time.
        rest: Lets other threads run for so many seconds.
    """

    def __init__(
        self, serials: Serials, validator: StatValidator, rest: Callable[[float], object] = time.sleep
    ) -> None:
        self._serials = serials
        self._validator = validator
        self._rest = rest
        self._seen: dict[str, _Seen] = {}
        self._next_full = -math.inf

    def run(self, readings: Sequence[RootScan], owns: Callable[[str], bool]) -> Swept:
        """
        Look at all projects.

        Args:
            readings: The roots.
            owns: Whether this source is the one that answers for a project.

        Returns:
            What there is, and what of it has changed.
        """
        began = piece = self._validator.monotonic()
        is_full = began >= self._next_full
        present = {name for name in set().union(*(reading.projects for reading in readings)) if owns(name)}
        changed, seen = set(), {}
        for project in present:
            serial = self._serials.serial_of(project)
            last = self._look_at(project, readings, self._seen.get(project), is_full=is_full)
            if last is not None:
                seen[project] = last
            if self._serials.serial_of(project) != serial:
                changed.add(project)
            if (worked := self._validator.monotonic() - piece) >= _PIECE:
                self._rest(worked)
                piece = self._validator.monotonic()
        self._seen = seen
        self._serials.flush()
        if is_full:
            took = self._validator.monotonic() - began
            self._next_full = began + took / _SHARE
        return Swept(present, changed)

    def _look_at(
        self, project: str, readings: Sequence[RootScan], before: _Seen | None, *, is_full: bool
    ) -> _Seen | None:
        """Note a project if it has changed; return None if it cannot be read now."""
        parts = entries_of(project, readings)
        entries = tuple(part for _root, part in parts)
        try:
            stamps = self._stamps(parts, readings, before)
            if not is_full and before is not None and _is_same(before, entries, stamps):
                return before
            self._serials.note(project, imprint(parts), flush=False)
        except OSError:
            return None
        return _Seen(entries, stamps)

    def _stamps(
        self,
        parts: Sequence[tuple[bytes, ProjectEntries]],
        readings: Sequence[RootScan],
        before: _Seen | None,
    ) -> tuple[StampedStat, ...]:
        paths = [os.path.join(root, folder) for root, part in parts for folder in part.folders]
        known = () if before is None else before.stamps
        taken = [
            self._validator.stamp(path, last, fine=False)
            for path, last in zip_longest(paths, known[: len(paths)])
        ]
        flat = {root for root, part in parts if part.files}
        return (*taken, *(reading.stamp for reading in readings if reading.path in flat))


def _is_same(before: _Seen, entries: tuple[ProjectEntries, ...], stamps: tuple[StampedStat, ...]) -> bool:
    return (
        len(before.parts) == len(entries)
        and all(one is other for one, other in zip(before.parts, entries, strict=True))
        and len(before.stamps) == len(stamps)
        and all(
            one.settled and one.stamp == other.stamp for one, other in zip(before.stamps, stamps, strict=True)
        )
    )
