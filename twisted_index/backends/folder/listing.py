"""
Listing: one reading of everything that the roots hold for a project: files, sidecars, statuses.

Blocking; called in a thread. It only stats distribution files; `inspection` reads them.
"""

from __future__ import annotations

import os
import stat as stat_module
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted_index.backends.folder.inspection_cache import StatKey
from twisted_index.errors import OutOfResources
from twisted_index.files.os_errors import error_text, public_read_error
from twisted_index.files.safe_open import open_regular_file
from twisted_index.interfaces import Problem
from twisted_index.simple import formatting
from twisted_index.simple.archives.limits import MAX_DOCUMENT
from twisted_index.simple.model import ProjectStatus, Sidecar, Status
from twisted_index.simple.names import (
    Distribution,
    InvalidFilename,
    claimed_project,
    is_temporary,
    looks_like_distribution,
    parse_filename,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted_index.backends.folder.root_listing import ProjectEntries
    from twisted_index.files.stamps import StampedStat, StatValidator

#: Files beside a distribution that say something of it.
_YANKED, DELETED = ".yanked", ".deleted"
_DOCUMENTS = {sidecar.value: sidecar for sidecar in (Sidecar.SIGNATURE, Sidecar.PROVENANCE)}
_SIDECARS = frozenset({_YANKED, DELETED, *_DOCUMENTS})
#: Strictest first: over roots and spellings the strictest wins.
_STRICTNESS = (Status.QUARANTINED, Status.ARCHIVED, Status.DEPRECATED, Status.ACTIVE)
_STATUSES = {f".{status.value}": status for status in _STRICTNESS if status is not Status.ACTIVE}
_CLAIM = ".claimed"
#: Names in a project's folder that claim the project by themselves, and the one that hides it.
CLAIMING = frozenset({*_STATUSES, _CLAIM})
QUARANTINE = f".{Status.QUARANTINED.value}"
#: Bytes of a reason that are read; PEP 592 and 792 set no bound, a page needs one.
_REASON_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ListingEntry:
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
    key: StatKey
    distribution: Distribution

    @property
    def name(self) -> bytes:
        """Its name in its folder."""
        return os.path.basename(self.path)

    @property
    def display_path(self) -> str:
        """Its path below the root, printable."""
        return printable_path(os.path.relpath(self.path, self.root))


@dataclass(slots=True)
class Listing:
    """
    What was found for a project. Filled while it is read, never changed afterwards.

    Attributes:
        folders: The project's folders that were read, with their stamps from before.
        entries: Distribution files in the order in which they win.
        watched: Every file that the answer depends on, by path, with its key (None: not there).
        sidecars: Which of them are sidecars or statuses, where a link counts as nothing.
        yanked: File name to reason.
        deleted: File names that were deleted and stay taken.
        documents: File name to the sidecars beside it, with their paths.
        sidecar_owners: By file name and ending, the sidecars that say something of it, printable.
        status: The strictest status found.
        claimed: Whether anything at all is named for the project.
        problems: Entries that are not served.
        has_os_errors: Whether the system refused to tell of any of them: no time tells when that is over.
    """

    folders: list[tuple[bytes, StampedStat]] = field(default_factory=list)
    entries: list[ListingEntry] = field(default_factory=list)
    watched: dict[bytes, StatKey | None] = field(default_factory=dict)
    sidecars: set[bytes] = field(default_factory=set)
    yanked: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    documents: dict[str, dict[Sidecar, bytes]] = field(default_factory=dict)
    sidecar_owners: dict[tuple[str, str], str] = field(default_factory=dict)
    status: ProjectStatus = field(default_factory=ProjectStatus)
    claimed: bool = False
    problems: list[Problem] = field(default_factory=list)
    has_os_errors: bool = False


def stat_key(path: bytes) -> StatKey | None:
    """
    Take the key of a file, following links.

    Returns:
        None if nothing is there, or what is there is not a regular file.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    return StatKey.from_stat(status) if stat_module.S_ISREG(status.st_mode) else None


def printable_path(path: bytes) -> str:
    """Show a path to people: undecodable bytes and control characters are escaped."""
    return formatting.printable(path.decode("utf-8", "backslashreplace"))


def read_listing(
    project: str,
    parts: Sequence[tuple[bytes, ProjectEntries]],
    validator: StatValidator,
    before: Mapping[bytes, StampedStat],
) -> Listing:
    """
    Read what there is for a project.

    Args:
        project: Its normalized name.
        parts: Each root's path with what it holds for the project, in order.
        validator: Takes the folders' stamps.
        before: The folders' stamps at the last reading.

    Raises:
        Unreadable: If a folder cannot be read. One that is gone is read as empty.
        Exhausted: If the server is short of what it takes to read it.
    """
    listing = Listing()
    for root, part in parts:
        for folder in part.folders:
            path = os.path.join(root, folder)
            try:
                seen = validator.stamp(path, before.get(path))
                names = list_names(path)
            except OSError as error:
                raise public_read_error(error, f"{printable_path(folder)}/") from None
            listing.folders.append((path, seen))
            for name in sorted(names):
                _take(listing, project, _Place(root, path, name, in_folder=True))
        for name in part.files:
            listing.claimed = True
            _take(listing, project, _Place(root, root, name, in_folder=False))
    return listing


def list_names(path: bytes) -> list[bytes]:
    """
    Give the names in a project's folder, once it is sure that what they name can be looked at.

    Returns:
        Nothing for a folder that has just gone, and for what is no folder.

    Raises:
        OSError: It cannot be read, or not entered, or is a link that leads nowhere: what it led to
            may only be away for a while, so it is no proof that the project is gone.
    """
    try:
        os.stat(os.path.join(path, b"."))
        return os.listdir(path)
    except NotADirectoryError:
        return []
    except FileNotFoundError:
        if os.path.islink(path):
            raise
        return []


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
        return printable_path(os.path.relpath(self.path, self.root))

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
    elif not _take_sidecar(listing, project, place):
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
    key = listing.watched[place.path] = stat_key(place.path)
    if key is not None:
        listing.entries.append(ListingEntry(place.path, place.folder, place.root, key, distribution))
        return
    try:
        os.stat(place.path)
    except OSError as error:
        _take_failing(listing, place, error)
    else:
        listing.problems.append(
            place.problem("It is not a regular file.", "Put the file itself here, or a link to it.")
        )


def _take_failing(listing: Listing, place: _Place, error: OSError) -> None:
    """Tell of a file that cannot be looked at; it hides no other, and the folder itself can be read."""
    if isinstance(error, FileNotFoundError) and not os.path.lexists(place.path):
        return
    fault = public_read_error(error, place.shown)
    if isinstance(fault, OutOfResources):
        raise fault from None
    listing.has_os_errors = True
    what, advice = "It cannot be looked at", "See whether its disk or mount is well."
    if os.path.islink(place.path):
        what, advice = "It is a link that cannot be followed", "Put the file itself here, or mend the link."
        if isinstance(error, PermissionError):
            advice = "Give the server the right to enter the folders that it leads through."
    listing.problems.append(place.problem(f"{what}: {error_text(error)}.", advice))


def _take_sidecar(listing: Listing, project: str, place: _Place) -> bool:
    """Take a file that says something of the one beside it; False if it is none such."""
    base, _dot, ending = place.text.rpartition(".")
    suffix = f".{ending}"
    if suffix in _DOCUMENTS and not looks_like_distribution(base):
        # It signs or attests a file of another tool, such as a list of digests.
        return False
    named = _project_of(base, project) if suffix in _SIDECARS else None
    if named is None:
        return False
    if named != project:
        listing.problems.append(_misplaced(place, named))
        return True
    listing.claimed = True
    listing.sidecar_owners[base, suffix] = place.shown
    key = listing.watched[place.path] = stat_key_no_follow(place.path)
    listing.sidecars.add(place.path)
    if key is None and not _counts(listing, place.path):
        reason = "A sidecar of a file may not be a link, a folder or a device."
        listing.problems.append(place.problem(reason, "Replace it by a regular file."))
    elif suffix in _DOCUMENTS and not _may_be_served(place.path, key):
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


def _counts(listing: Listing, path: bytes) -> bool:
    """
    Say whether a mark that is no regular file counts all the same.

    One that the system cannot look at does: it may yank, delete or quarantine, and to forget that
    would offer what was taken back.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        listing.has_os_errors = True
        return True
    return False


def _may_be_served(path: bytes, key: StatKey | None) -> bool:
    if key is None or key.size > MAX_DOCUMENT:
        return False
    try:
        # Not `os.access`, which asks for the real user and not for the one who will open it.
        file = open_regular_file(path, follow_links=False)
    except OSError:
        return False
    if file is not None:
        file.close()
    return file is not None


def _take_status(listing: Listing, place: _Place) -> None:
    key = listing.watched[place.path] = stat_key_no_follow(place.path)
    listing.sidecars.add(place.path)
    if place.text == _CLAIM or (key is None and not _counts(listing, place.path)):
        return
    standing, status = listing.status, _STATUSES[place.text]
    rank = _STRICTNESS.index(status) - _STRICTNESS.index(standing.status)
    if rank < 0 or (rank == 0 and not standing.reason):
        listing.status = ProjectStatus(status=status, reason=_read_reason(place.path))


def stat_key_no_follow(path: bytes) -> StatKey | None:
    """Take the key of a sidecar; a link could lead to any file of the machine, and is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return StatKey.from_stat(status) if stat_module.S_ISREG(status.st_mode) else None


def _read_reason(path: bytes) -> str:
    """Read a reason; one that cannot be read is an empty one, since the mark itself is what counts."""
    try:
        file = open_regular_file(path, follow_links=False)
    except OSError:
        return ""
    if file is None:
        return ""
    with file:
        return " ".join(file.read(_REASON_BYTES).decode("utf-8", "replace").split())
