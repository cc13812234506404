"""
One reading of all that lies in the roots for one project: files, companions, statuses.

Blocking; called in a thread. Distribution files are looked at by `stat` only; what is inside
them is `inspection`'s to say.
"""

from __future__ import annotations

import os
import stat as stat_module
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted_index.interfaces import Problem
from twisted_index.ledger import FileKey
from twisted_index.simple import spelling
from twisted_index.simple.model import Companion, ProjectStatus, Status
from twisted_index.simple.names import (
    Distribution,
    InvalidFilename,
    claimed_project,
    is_temporary,
    parse_filename,
)
from twisted_index.sources.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from twisted_index.sources.roots import Part
    from twisted_index.sources.stamps import Freshness, Seen

#: Files beside a distribution that say something of it.
_YANKED, DELETED = ".yanked", ".deleted"
_DOCUMENTS = {companion.value: companion for companion in (Companion.SIGNATURE, Companion.PROVENANCE)}
#: Bytes of a signature or provenance document that are served.
MAX_DOCUMENT = 1 << 20
_COMPANIONS = frozenset({_YANKED, DELETED, *_DOCUMENTS})
#: Strictest first: over roots and spellings the strictest wins.
_STRICTNESS = (Status.QUARANTINED, Status.ARCHIVED, Status.DEPRECATED, Status.ACTIVE)
_STATUSES = {f".{status.value}": status for status in _STRICTNESS if status is not Status.ACTIVE}
_CLAIM = ".claimed"
#: Names in a project's folder that claim the project by themselves, and the one that hides it.
CLAIMING = frozenset({*_STATUSES, _CLAIM})
QUARANTINE = f".{Status.QUARANTINED.value}"
#: Endings of what people take for a distribution. Only these are told as problems: a folder may
#: hold a README as well.
_LIKELY = (".whl", ".zip", ".tgz", ".egg", ".exe", ".msi", ".rpm", ".deb", ".7z", ".rar", ".tbz2", ".txz")
#: Bytes of a reason that are read; PEP 592 and 792 set no bound, a page needs one.
_REASON_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A distribution file as `stat` saw it.

    Attributes:
        path: The path to open.
        folder: The path of the folder that it lies in.
        root: The path of the root that this is in.
        key: Size and times.
        distribution: What its name says.
    """

    path: bytes
    folder: bytes
    root: bytes
    key: FileKey
    distribution: Distribution

    @property
    def name(self) -> bytes:
        """Its name in its folder."""
        return os.path.basename(self.path)

    @property
    def shown(self) -> str:
        """Its path below the root, printable."""
        return printable(os.path.relpath(self.path, self.root))


@dataclass(slots=True)
class Listing:
    """
    What was found for a project. Filled while it is read, never changed afterwards.

    Attributes:
        folders: The project's folders that were read, with their stamps from before.
        entries: Distribution files in the order in which they win.
        watched: Every file that the answer depends on, by path, with its key (None: not there).
        beside: Which of them are companions or statuses, where a link counts as nothing.
        yanked: File name to reason.
        deleted: File names that were deleted and stay taken.
        documents: File name to the companions beside it, with their paths.
        about: By file name and ending, the companions that say something of it, printable.
        status: The strictest status found.
        claimed: Whether anything at all is named for the project.
        problems: Entries that are not served.
    """

    folders: list[tuple[bytes, Seen]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    watched: dict[bytes, FileKey | None] = field(default_factory=dict)
    beside: set[bytes] = field(default_factory=set)
    yanked: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    documents: dict[str, dict[Companion, bytes]] = field(default_factory=dict)
    about: dict[tuple[str, str], str] = field(default_factory=dict)
    status: ProjectStatus = field(default_factory=ProjectStatus)
    claimed: bool = False
    problems: list[Problem] = field(default_factory=list)


def key_of(path: bytes) -> FileKey | None:
    """
    Take the key of a file, following links.

    Returns:
        None if nothing is there, or what is there is not a regular file.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    return FileKey.of(status) if stat_module.S_ISREG(status.st_mode) else None


def looks_like_distribution(name: str) -> bool:
    """Say whether people would take a file of this name for a distribution."""
    lower = name.lower()
    return lower.endswith(_LIKELY) or ".tar" in lower


def printable(path: bytes) -> str:
    """Show a path to people: undecodable bytes and control characters are escaped."""
    return spelling.printable(path.decode("utf-8", "backslashreplace"))


def read_listing(
    project: str,
    parts: Sequence[tuple[bytes, Part]],
    freshness: Freshness,
    before: Mapping[bytes, Seen],
) -> Listing:
    """
    Read what there is for a project.

    Args:
        project: Its normalized name.
        parts: Each root's path with what it holds for the project, in order.
        freshness: Takes the folders' stamps.
        before: The folders' stamps at the last reading.

    Raises:
        OSError: If a folder cannot be read. One that is gone is read as empty.
    """
    listing = Listing()
    for root, part in parts:
        for folder in part.folders:
            path = os.path.join(root, folder)
            seen = freshness.look(path, before.get(path))
            listing.folders.append((path, seen))
            for name in _names_in(path, seen):
                _take(listing, project, _Place(root, path, name, in_folder=True))
        for name in part.files:
            listing.claimed = True
            _take(listing, project, _Place(root, root, name, in_folder=False))
    return listing


def _names_in(path: bytes, seen: Seen) -> Iterator[bytes]:
    if seen.stamp is None:
        return
    try:
        names = os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from sorted(names)


class _Place:
    """Where an entry lies: its root, its folder, and its name in bytes and as text."""

    __slots__ = ("folder", "in_folder", "name", "path", "root", "text")

    def __init__(self, root: bytes, folder: bytes, name: bytes, *, in_folder: bool) -> None:
        self.root = root
        self.folder = folder
        self.name = name
        self.path = os.path.join(folder, name)
        self.text = os.fsdecode(name)
        self.in_folder = in_folder

    @property
    def shown(self) -> str:
        return printable(os.path.relpath(self.path, self.root))

    def problem(self, reason: str, advice: str) -> Problem:
        return Problem(path=self.shown, reason=reason, advice=advice)


def _take(listing: Listing, project: str, place: _Place) -> None:
    if place.in_folder and place.text in CLAIMING:
        listing.claimed = True
        _take_status(listing, place)
    elif place.in_folder and place.text.lower().strip() in CLAIMING:
        right = place.text.lower().strip()
        reason = "It is spelled almost like a project status, and has no effect."
        listing.problems.append(place.problem(reason, f"Rename it to {right} if that is meant."))
    elif is_temporary(place.text):
        listing.claimed = listing.claimed or claimed_project(place.text) == project
    elif not _take_companion(listing, project, place):
        _take_named(listing, project, place)


def _take_named(listing: Listing, project: str, place: _Place) -> None:
    try:
        distribution = parse_filename(place.text, project)
    except InvalidFilename as error:
        # It may claim all the same; what is plainly no distribution is passed over.
        listing.claimed = listing.claimed or claimed_project(place.text) == project
        if looks_like_distribution(place.text) and not os.path.isdir(place.path):
            listing.problems.append(place.problem(error.reason, error.advice))
        return
    if distribution.project == project:
        listing.claimed = True
        _take_distribution(listing, place, distribution)
        return
    listing.problems.append(_misplaced(place, distribution.project))


def _misplaced(place: _Place, project: str) -> Problem:
    return place.problem(
        f"It is named for the project {project}, and lies in another project's folder.",
        f"Move it to the folder {project}/, or to the root.",
    )


def _project_of(filename: str, project: str) -> str | None:
    """Say for which project a file is named, where this one is at hand to tell where its name ends."""
    try:
        return parse_filename(filename, project).project
    except InvalidFilename:
        return claimed_project(filename)


def _take_distribution(listing: Listing, place: _Place, distribution: Distribution) -> None:
    key = listing.watched[place.path] = key_of(place.path)
    if key is not None:
        listing.entries.append(Entry(place.path, place.folder, place.root, key, distribution))
        return
    listing.problems.append(
        place.problem(
            "It is not a regular file, or a link that leads to none.",
            "Put the file itself here, or a link to it.",
        )
    )


def _take_companion(listing: Listing, project: str, place: _Place) -> bool:
    """Take a file that says something of the one beside it; False if it is none such."""
    base, _dot, ending = place.text.rpartition(".")
    suffix = f".{ending}"
    named = _project_of(base, project) if suffix in _COMPANIONS else None
    if named is None:
        return False
    if named != project:
        listing.problems.append(_misplaced(place, named))
        return True
    listing.claimed = True
    listing.about[base, suffix] = place.shown
    key = listing.watched[place.path] = unlinked_key(place.path)
    listing.beside.add(place.path)
    if key is None:
        reason = "A companion of a file may not be a link, a folder or a device."
        listing.problems.append(place.problem(reason, "Replace it by a regular file."))
    elif suffix in _DOCUMENTS and (key.size > MAX_DOCUMENT or not os.access(place.path, os.R_OK)):
        reason = f"It cannot be read, or has more than {MAX_DOCUMENT:,} bytes, and is not served."
        listing.problems.append(place.problem(reason, "Give the server the right to read it, or remove it."))
    elif suffix == _YANKED:
        # The first root that gives a reason wins, as for files.
        listing.yanked[base] = listing.yanked.get(base) or _read_reason(place.path)
    elif suffix == DELETED:
        listing.deleted.add(base)
    else:
        listing.documents.setdefault(base, {}).setdefault(_DOCUMENTS[suffix], place.path)
    return True


def _take_status(listing: Listing, place: _Place) -> None:
    key = listing.watched[place.path] = unlinked_key(place.path)
    listing.beside.add(place.path)
    if key is None or place.text == _CLAIM:
        return
    standing, status = listing.status, _STATUSES[place.text]
    rank = _STRICTNESS.index(status) - _STRICTNESS.index(standing.status)
    if rank < 0 or (rank == 0 and not standing.reason):
        listing.status = ProjectStatus(status=status, reason=_read_reason(place.path))


def unlinked_key(path: bytes) -> FileKey | None:
    """Take the key of a companion; a link could lead to any file of the machine, and is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return FileKey.of(status) if stat_module.S_ISREG(status.st_mode) else None


def _read_reason(path: bytes) -> str:
    """Read a reason; one that cannot be read is an empty one, since the mark itself is what counts."""
    try:
        file = open_regular(path, follow_links=False)
    except OSError:
        return ""
    if file is None:
        return ""
    with file:
        return " ".join(file.read(_REASON_BYTES).decode("utf-8", "replace").split())
