"""
The plan of a replica for one project: what makes its folder equal to that of the primary. Pure.

Steps that hide come first, steps that show come last. The marks of a file are removed after the file, so that
a yanked file is yanked until it is gone.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.folder.entry_files import MARKS, is_entry_name
from twisted_index.backends.layout.entries import BESIDE, YANKED, entry_project, may_belong
from twisted_index.backends.layout.project_scan import DELETED
from twisted_index.errors import BadGateway
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from twisted_index.simple.entry_listing import Entry, EntryListing

_MARKS = frozenset(map(os.fsdecode, MARKS))
#: Longest name that file systems take, in bytes.
_MAX_NAME = 255


class Held(NamedTuple):
    """
    What the folder of the replica has under a path.

    Attributes:
        size: Bytes.
        time: As that of an entry.
        sha256: The digest, if it is known; empty otherwise.
        is_regular: Whether it is a regular file, and no link.
        is_staged: Whether a list of the replica hides it, so that it was never visible.
    """

    size: int
    time: int
    sha256: str = ""
    is_regular: bool = True
    is_staged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaPlan:
    """
    The changes of a project, in the order in which they are made.

    Attributes:
        project: A normalized name.
        dropped: Paths of files that wait behind a list and that the primary lacks: never shown.
        hide: Marks that are new, or have other contents.
        retime: Files with other times.
        place: Files that are new, or have other bytes; sidecars before their files.
        together: Names of the files that become visible at the same moment, also of those that wait already.
            Of a new project, all files: none is visible before.
        show: Paths of marks that the primary lacks, of files that stay.
        gone: Paths that the primary lacks: files, then their sidecars, and marks last.
        replaced: Number of files that get other bytes.
        stays: Whether any file is left once `gone` is removed.
        is_told: Whether the primary has tombstones of the project.
        is_new: Whether the replica has nothing of the project.
    """

    project: str
    dropped: tuple[str, ...] = ()
    hide: tuple[Entry, ...] = ()
    retime: tuple[Entry, ...] = ()
    place: tuple[Entry, ...] = ()
    together: tuple[str, ...] = ()
    show: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    replaced: int = 0
    stays: bool = False
    is_told: bool = False
    is_new: bool = False

    @property
    def wanted(self) -> tuple[Entry, ...]:
        """The entries whose bytes have to be fetched."""
        return (*self.hide, *self.place)

    @property
    def is_empty(self) -> bool:
        """Whether the project is equal already."""
        return not (
            self.dropped or self.hide or self.retime or self.place or self.together or self.show or self.gone
        )


def check_paths(project: str, entries: Iterable[Entry]) -> None:
    """
    Check that all paths of a listing belong to a project.

    Raises:
        BadGateway: A path leads elsewhere, or no entry can have it.
    """
    for entry in entries:
        if not _is_sound(project, entry.path):
            shown = printable(entry.path.encode("utf-8", "backslashreplace").decode())
            raise BadGateway(f"The primary lists {shown} for {project}, which is no entry of it.")


def _is_sound(project: str, path: str) -> bool:
    folder, slash, name = path.rpartition("/")
    if any(character < " " or character in "\\\x7f" for character in path):
        return False
    if max(len(os.fsencode(part)) for part in (folder, name)) > _MAX_NAME:
        return False
    if not name or not is_entry_name(os.fsencode(name), in_folder=bool(slash)):
        return False
    if slash:
        return "/" not in folder and entry_project(os.fsencode(folder), True) == project
    return entry_project(os.fsencode(name), False) == project


def find_alike(paths: Collection[str]) -> tuple[str, str] | None:
    """
    Return two names that are one to some file systems, such as those of macOS and Windows; None without any.

    Args:
        paths: The paths of entries; names of folders are compared too.
    """
    seen: dict[str, str] = {}
    for name in sorted({*paths, *(path.partition("/")[0] for path in paths)}):
        other = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            return other, name
    return None


def is_mark(path: str) -> bool:
    """Return whether a path is that of a mark: a yank, a status, a claim or a tombstone."""
    name = _name(path)
    return name in _MARKS or name.endswith((YANKED, DELETED))


def is_beside(path: str) -> bool:
    """Return whether a path is that of a sidecar or a mark, and not of a file that counts."""
    return is_mark(path) or path.endswith(BESIDE)


def doubtful(entries: Iterable[Entry], held: Mapping[str, Held], *, deep: bool = False) -> list[str]:
    """
    Return the paths of files whose digests are needed to know whether they are equal.

    Args:
        entries: The entries of the primary.
        held: What the replica has, by path.
        deep: Whether files of equal size and time are compared by digest, too.
    """
    return [
        entry.path
        for entry in entries
        if (found := held.get(entry.path)) is not None
        and found.is_regular
        and found.size == entry.size
        and (deep or found.time != entry.time)
    ]


def compare(project: str, listing: EntryListing | None, held: Mapping[str, Held]) -> ReplicaPlan:
    """
    Compare a project of the primary with that of the replica.

    Args:
        project: A normalized name.
        listing: The listing of the primary, with checked paths; None if it has nothing of the project.
        held: What the replica has, by path, with the digests of what is `doubtful`.
    """
    wanted = {} if listing is None else {entry.path: entry for entry in listing.entries}
    changed = [entry for entry in wanted.values() if not _is_equal(entry, held.get(entry.path))]
    place = sorted((entry for entry in changed if not is_mark(entry.path)), key=_rank)
    gone = [path for path in held if path not in wanted]
    dropped = [path for path in gone if held[path].is_staged]
    gone = sorted(set(gone) - set(dropped), key=lambda path: (_weight(path), path))
    show = _shown_at_once(gone, wanted)
    return ReplicaPlan(
        project=project,
        dropped=tuple(dropped),
        hide=tuple(entry for entry in changed if is_mark(entry.path)),
        retime=tuple(
            entry
            for entry in wanted.values()
            if (found := held.get(entry.path)) is not None
            and _is_equal(entry, found)
            and entry.time != found.time
        ),
        place=tuple(place),
        together=_together(project, wanted, held),
        show=show,
        gone=tuple(path for path in gone if path not in show),
        replaced=sum(entry.path in held for entry in changed),
        stays=any(not is_beside(path) for path in wanted),
        is_told=any(path.endswith(DELETED) for path in wanted),
        is_new=not held,
    )


def _is_equal(entry: Entry, found: Held | None) -> bool:
    if found is None or not found.is_regular or found.size != entry.size:
        return False
    return found.sha256 == entry.sha256 if found.sha256 else found.time == entry.time


def _together(project: str, wanted: Mapping[str, Entry], held: Mapping[str, Held]) -> tuple[str, ...]:
    """Return the new files and those that wait, if a list has to hide them until all are there."""
    new = [path for path in wanted if path not in held and may_belong(_name(path), project)]
    waiting = [path for path in wanted if path in held and held[path].is_staged]
    files = [*waiting, *new] if waiting or len(new) > 1 or not held else []
    return tuple(sorted(set(map(_name, files))))


def _shown_at_once(gone: Collection[str], wanted: Mapping[str, Entry]) -> tuple[str, ...]:
    """Return the marks that the primary lacks, of files that it has."""
    marks = [path for path in gone if is_mark(path)]
    if all(map(is_beside, gone)):
        # No file is removed. Where nothing stays, the marks are the last of the project.
        return tuple(marks) if wanted else ()
    return tuple(path for path in marks if path.endswith(YANKED) and path.removesuffix(YANKED) in wanted)


def _rank(entry: Entry) -> tuple[bool, str]:
    return not is_beside(entry.path), entry.path


def _weight(path: str) -> int:
    return is_beside(path) + is_mark(path) + (_name(path) in _MARKS)


def _name(path: str) -> str:
    return path.rpartition("/")[2]
