"""
ProjectScan: everything that the roots hold for a project, read once: files, sidecars, statuses.

Blocking; called in a thread. It only stats distribution files; `inspection` reads them, and `page_builder`
selects those that are listed.
"""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.layout.copies import COPIES, MAX_COPIES, copies_in
from twisted_index.backends.layout.entries import YANKED
from twisted_index.backends.layout.manifest_blocks import blocks_of
from twisted_index.backends.layout.tombstones import MAX_TOMBSTONES, TOMBSTONES, find_exact
from twisted_index.errors import OutOfResources
from twisted_index.files.os_errors import error_text, public_read_error
from twisted_index.interfaces import Problem
from twisted_index.simple import formatting
from twisted_index.simple.archives.limits import MAX_DOCUMENT
from twisted_index.simple.model import ProjectStatus, Sidecar, Status
from twisted_index.simple.names import (
    Distribution,
    InvalidFilename,
    claimed_project,
    is_temporary,
    is_unfinished_download,
    looks_like_distribution,
    parse_filename,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from twisted_index.backends.layout.entries import ProjectEntries
    from twisted_index.backends.layout.facts import StatKey
    from twisted_index.backends.layout.tree import PackageTree
    from twisted_index.errors import UnreadableFolder
    from twisted_index.files.stamps import StampedStat
    from twisted_index.simple.manifest import ManifestLine

#: The suffix of the mark that keeps the name of a deleted file taken.
DELETED = ".deleted"
DOCUMENTS = {sidecar.value: sidecar for sidecar in (Sidecar.SIGNATURE, Sidecar.PROVENANCE)}
_SIDECARS = frozenset({YANKED, DELETED, *DOCUMENTS})
#: Strictest first: across roots and spellings the strictest status wins.
_STRICTNESS = (Status.QUARANTINED, Status.ARCHIVED, Status.DEPRECATED, Status.ACTIVE)
_STATUSES = {f".{status.value}": status for status in _STRICTNESS if status is not Status.ACTIVE}
#: The file in a project's folder that claims its name and says nothing else.
CLAIMED = ".claimed"
#: Files in a project's folder that claim the project without distributions.
CLAIMING = frozenset({*_STATUSES, CLAIMED, os.fsdecode(TOMBSTONES)})
QUARANTINE = f".{Status.QUARANTINED.value}"
_SPECIAL = frozenset({*CLAIMING, os.fsdecode(COPIES)})
_NOTHING: Mapping[str, ManifestLine] = {}
#: Bytes to read of a reason; PEP 592 and PEP 792 set no limit, a page needs one.
REASON_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """
    A distribution file and its `stat`.

    Attributes:
        path: The path to open.
        folder: The path of its folder.
        root: The path of its root.
        key: Size and times.
        distribution: The parsed file name.
    """

    path: bytes
    folder: bytes
    root: bytes
    key: StatKey
    distribution: Distribution

    @property
    def name(self) -> bytes:
        """The file name; that of a distribution is ASCII."""
        return self.distribution.filename.encode()

    @property
    def display_path(self) -> str:
        """The path below the root, printable."""
        return printable_path(os.path.relpath(self.path, self.root))


class TombstoneLookup(NamedTuple):
    """
    A `.deleted` file, and what was looked up in it.

    Attributes:
        key: Its size and times before it was read.
        settled: Whether a later change is sure to give another key.
        names: The file names that were looked up.
        found: Those that it names.
    """

    key: StatKey | None
    settled: bool = False
    names: frozenset[str] = frozenset()
    found: frozenset[str] = frozenset()


class RecordedCopies(NamedTuple):
    """
    What a `.copies` file says.

    Attributes:
        key: Its size and times before it was read.
        settled: Whether a later change is sure to give another key.
        lines: Its lines, by name.
    """

    key: StatKey | None
    settled: bool
    lines: Mapping[str, ManifestLine]


class Mark(NamedTuple):
    """
    A file that yanks another one or sets the status of its project.

    Attributes:
        path: Its path; the time of its key in `watched` is that of the change.
        filename: The file that it yanks; empty for a status.
        status: The status that it sets; None for a yank.
        reason: What it says; may be empty.
    """

    path: bytes
    filename: str
    status: Status | None
    reason: str


@dataclass(slots=True)
class ProjectScan:
    """
    The scan of a project. Filled by `scan_project`, never changed afterwards.

    Attributes:
        folders: The project's folders, with their stamps from before they were read.
        entries: Distribution files in order of precedence.
        watched: Key of every file that the page depends on, by path (None: absent).
        sidecars: Those of the watched paths that are sidecars or statuses; links are not followed there.
        yanked: Reason by file name.
        marks: What yanks files and sets the status, in the order in which it counts.
        deleted: Names of files that lie there and have a tombstone, and of `FILE.deleted` files.
        tombstones: What was looked up in each `.deleted` file, by path.
        copies: What each `.copies` file says, by path.
        recorded: The line of each distribution file that is recorded as a copy, by the path of the file. It
            is one if its size and digest are those of the line.
        documents: Paths of the documents beside a file, by file name and kind.
        sidecar_owners: Printable path of each sidecar, by file name and suffix.
        status: The strictest status found.
        claimed: Whether any entry is named for the project.
        owned_by: The first of these entries that claims the name, whatever is recorded and inspected: its
            root, and its path below that, printable; None without one.
        problems: Entries that are not served.
        has_os_errors: Whether the system failed to `stat` an entry: no stamp changes when it recovers.
    """

    folders: list[tuple[bytes, StampedStat]] = field(default_factory=list)
    entries: list[ScannedFile] = field(default_factory=list)
    watched: dict[bytes, StatKey | None] = field(default_factory=dict)
    sidecars: set[bytes] = field(default_factory=set)
    yanked: dict[str, str] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    tombstones: dict[bytes, TombstoneLookup] = field(default_factory=dict)
    copies: dict[bytes, RecordedCopies] = field(default_factory=dict)
    recorded: dict[bytes, ManifestLine] = field(default_factory=dict)
    documents: dict[str, dict[Sidecar, bytes]] = field(default_factory=dict)
    sidecar_owners: dict[tuple[str, str], str] = field(default_factory=dict)
    status: ProjectStatus = field(default_factory=ProjectStatus)
    claimed: bool = False
    owned_by: tuple[bytes, str] | None = None
    problems: list[Problem] = field(default_factory=list)
    has_os_errors: bool = False

    @property
    def owned(self) -> bool:
        """Whether an entry claims the name, whatever is recorded and inspected."""
        return self.owned_by is not None


def printable_path(path: bytes) -> str:
    """Make a path printable: undecodable bytes and control characters are escaped."""
    return formatting.printable(path.decode("utf-8", "backslashreplace"))


def scan_project(
    project: str,
    parts: Sequence[tuple[bytes, ProjectEntries]],
    tree: PackageTree,
    before: ProjectScan | None = None,
) -> ProjectScan:
    """
    Read everything that the roots hold for a project.

    Args:
        project: The normalized project name.
        parts: Each root's path with its entries for the project, in order.
        tree: What the roots lie in.
        before: The last scan, of whose stamps and look-ups what still holds is used.

    Raises:
        UnreadableFolder: A folder, or its `.deleted` file, cannot be read. A missing folder counts as empty.
        OutOfResources: The server lacks memory or descriptors.
    """
    scan = ProjectScan()
    stamps = {} if before is None else dict(before.folders)
    for root, part in parts:
        for folder in part.folders:
            path = os.path.join(root, folder)
            try:
                stamp = tree.stamp(path, stamps.get(path))
                names = tree.list_names(path)
            except OSError as error:
                raise unreadable_error(error, folder) from None
            if stamp is not None:
                scan.folders.append((path, stamp))
            lines: Mapping[str, ManifestLine] = {}
            if COPIES in names:
                lines = _read_copies(scan, tree, root, path, before)
            for name in sorted(names if not part.hidden else set(names) - part.hidden):
                _add_entry(scan, project, _Place(tree, root, path, name, in_folder=True, lines=lines))
        for name in part.files:
            place = _Place(tree, root, root, name, in_folder=False)
            _claim(scan, place)
            _add_entry(scan, project, place)
    _look_up_tombstones(scan, tree, {} if before is None else before.tombstones)
    return scan


def _read_copies(
    scan: ProjectScan,
    tree: PackageTree,
    root: bytes,
    folder: bytes,
    before: ProjectScan | None,
) -> Mapping[str, ManifestLine]:
    """Return what is recorded in a folder, read again only if it may have changed."""
    path = os.path.join(folder, COPIES)
    scan.sidecars.add(path)
    key = scan.watched[path] = _own_key(tree, path)
    last = None if before is None else before.copies.get(path)
    if last is None or not last.settled or last.key != key:
        try:
            lines = copies_in(blocks_of(partial(tree.open_manifest, path, MAX_COPIES)))
        except FileNotFoundError:
            lines = {}
        except OSError as error:
            _report_unreadable_copies(scan, os.path.relpath(path, root), error)
            return {}
        settled = key is not None and tree.is_settled(key)
        last = RecordedCopies(key, settled, lines)
    scan.copies[path] = last
    return last.lines


def _report_unreadable_copies(scan: ProjectScan, path: bytes, error: OSError) -> None:
    public_error = public_read_error(error, printable_path(path))
    if isinstance(public_error, OutOfResources):
        raise public_error from None
    # No stamp changes when a disk recovers.
    scan.has_os_errors |= error.errno == errno.EIO
    scan.problems.append(
        Problem(
            path=printable_path(path),
            reason=f"It cannot be read, so that no file here counts as a copy: {error_text(error)}.",
            advice=f"Make it a readable file of at most {MAX_COPIES:,} bytes, not a link.",
        )
    )


def unreadable_error(error: OSError, folder: bytes) -> UnreadableFolder | OutOfResources:
    """
    Translate the error of a project's folder, or of its `.deleted` file.

    Args:
        error: From the system.
        folder: The name of the folder in its root.
    """
    shown = f"{printable_path(folder)}/"
    if error.filename is not None and os.path.basename(error.filename) == TOMBSTONES:
        shown += os.fsdecode(TOMBSTONES)
        advice = f"Make it a readable file of at most {MAX_TOMBSTONES:,} bytes, not a link."
        return public_read_error(error, shown, f"The file {shown}", advice)
    return public_read_error(error, shown)


def _look_up_tombstones(
    scan: ProjectScan, tree: PackageTree, before: Mapping[bytes, TombstoneLookup]
) -> None:
    """Look up the files that lie there in each `.deleted` file, unless that was done and still holds."""
    names = frozenset(entry.distribution.filename for entry in scan.entries)
    for path, lookup in scan.tombstones.items():
        last = before.get(path, lookup)
        if not last.settled or last.key != lookup.key:
            settled = lookup.key is not None and tree.is_settled(lookup.key)
            last = TombstoneLookup(lookup.key, settled)
        scan.tombstones[path] = last = _look_up(tree, path, names, last)
        scan.deleted |= last.found


def _look_up(tree: PackageTree, path: bytes, names: frozenset[str], last: TombstoneLookup) -> TombstoneLookup:
    """Look up the names that were not looked up last time, when the file was the same."""
    try:
        found = find_exact(scan_blocks(tree, path), names - last.names)
    except FileNotFoundError:
        return last
    except OSError as error:
        error.filename = path
        raise unreadable_error(error, os.path.basename(os.path.dirname(path))) from None
    return last._replace(names=names, found=found | (last.found & names))


def scan_blocks(tree: PackageTree, path: bytes) -> Iterator[bytes]:
    """
    Read the lines of a `.deleted` file.

    Raises:
        OSError: See `PackageTree.open_manifest`.
    """
    return blocks_of(partial(tree.open_manifest, path, MAX_TOMBSTONES))


class _Place:
    """An entry's tree, root, folder, name in bytes and as text, and what is recorded of it."""

    __slots__ = ("folder", "in_folder", "line", "name", "path", "root", "text", "tree")

    def __init__(
        self,
        tree: PackageTree,
        root: bytes,
        folder: bytes,
        name: bytes,
        *,
        in_folder: bool,
        lines: Mapping[str, ManifestLine] = _NOTHING,
    ) -> None:
        self.tree = tree
        self.root = root
        self.folder = folder
        self.name = name
        self.path = os.path.join(folder, name)
        self.text = os.fsdecode(name)
        self.in_folder = in_folder
        self.line = lines.get(self.text)

    @property
    def display_path(self) -> str:
        return printable_path(os.path.relpath(self.path, self.root))

    def problem(self, reason: str, advice: str) -> Problem:
        return Problem(path=self.display_path, reason=reason, advice=advice)


def _add_entry(scan: ProjectScan, project: str, place: _Place) -> None:
    if place.in_folder and place.name == TOMBSTONES:
        _claim(scan, place)
        scan.sidecars.add(place.path)
        key = scan.watched[place.path] = _own_key(place.tree, place.path)
        scan.tombstones[place.path] = TombstoneLookup(key)
    elif place.in_folder and place.text in CLAIMING:
        _add_status(scan, place)
    elif place.in_folder and place.name == COPIES:
        pass
    elif place.in_folder and place.text.lower().strip() in _SPECIAL:
        suggested = place.text.lower().strip()
        reason = f"Its name resembles {suggested}, but has no effect."
        scan.problems.append(place.problem(reason, f"Rename it to {suggested} if you meant that."))
    elif is_temporary(place.text) and not is_unfinished_download(place.text):
        if claimed_project(place.text) == project:
            _claim(scan, place)
    elif not _add_sidecar(scan, project, place):
        _add_file(scan, project, place)


def _claim(scan: ProjectScan, place: _Place, *, copied: bool = False) -> None:
    """Note that an entry is named for the project, and claims it unless it is a copy."""
    scan.claimed = True
    if scan.owned_by is None and not copied:
        scan.owned_by = (place.root, place.display_path)


def _add_file(scan: ProjectScan, project: str, place: _Place) -> None:
    try:
        distribution = parse_filename(place.text, project)
    except InvalidFilename as error:
        # It may claim the project nevertheless; other files are ignored.
        if claimed_project(place.text) == project:
            _claim(scan, place)
        if looks_like_distribution(place.text) and not place.tree.is_folder(place.path):
            scan.problems.append(place.problem(error.reason, error.advice))
        return
    if distribution.project == project:
        _add_distribution(scan, place, distribution)
        return
    scan.problems.append(_misplaced(place, distribution.project))


def _misplaced(place: _Place, project: str) -> Problem:
    return place.problem(
        f"It belongs to the project {project}, but is in another project's folder.",
        f"Move it to the folder {project}/ or to the root.",
    )


def _project_of(filename: str, project: str) -> str | None:
    """Return the project of a file name, using the given one to find where the project name ends."""
    try:
        return parse_filename(filename, project).project
    except InvalidFilename:
        return claimed_project(filename)


def _add_distribution(scan: ProjectScan, place: _Place, distribution: Distribution) -> None:
    _claim(scan, place, copied=place.line is not None)
    scan.watched[place.path] = None
    try:
        key = place.tree.stat(place.path)
    except OSError as error:
        _claim(scan, place, copied=not _is_there(place.tree, place.path))
        _report_os_error(scan, place, error)
        return
    if key is None:
        _claim(scan, place)
        scan.problems.append(
            place.problem("It is not a regular file.", "Put the file itself here, or a link to it.")
        )
        return
    scan.watched[place.path] = key
    scan.entries.append(ScannedFile(place.path, place.folder, place.root, key, distribution))
    if place.line is not None:
        scan.recorded[place.path] = place.line


def _is_there(tree: PackageTree, path: bytes) -> bool:
    """Return whether there is anything of a name, or may be."""
    try:
        tree.lstat(path)
    except OSError:
        return False
    return True


def _report_os_error(scan: ProjectScan, place: _Place, error: OSError) -> None:
    """Report a file that cannot be stat'ed; the rest of the folder is listed nevertheless."""
    if isinstance(error, FileNotFoundError) and not _is_there(place.tree, place.path):
        return
    public_error = public_read_error(error, place.display_path)
    if isinstance(public_error, OutOfResources):
        raise public_error from None
    scan.has_os_errors = True
    what, advice = "It cannot be accessed", "Check the disk or mount."
    if place.tree.is_link(place.path):
        what, advice = "It is a link that cannot be followed", "Put the file itself here, or fix the link."
        if isinstance(error, PermissionError):
            advice = "Grant the server permission to enter the folders on the path to its target."
    scan.problems.append(place.problem(f"{what}: {error_text(error)}.", advice))


def _add_sidecar(scan: ProjectScan, project: str, place: _Place) -> bool:
    """Record a sidecar; return False if the entry is not one."""
    base, _dot, extension = place.text.rpartition(".")
    suffix = f".{extension}"
    if suffix in DOCUMENTS and not looks_like_distribution(base):
        # It signs or attests some other file, such as a list of digests.
        return False
    owner = _project_of(base, project) if suffix in _SIDECARS else None
    if owner is None:
        return False
    if owner != project:
        scan.problems.append(_misplaced(place, owner))
        return True
    scan.sidecar_owners[base, suffix] = place.display_path
    key = scan.watched[place.path] = _own_key(place.tree, place.path)
    scan.sidecars.add(place.path)
    _claim(scan, place, copied=suffix != DELETED and _is_copied_document(scan, place, key))
    if key is None and not _counts(scan, place):
        reason = "A sidecar must not be a link, a folder or a device."
        scan.problems.append(place.problem(reason, "Replace it with a regular file."))
    elif suffix in DOCUMENTS and not _may_be_served(place.tree, place.path, key):
        reason = f"It is not served: it is unreadable, or has more than {MAX_DOCUMENT:,} bytes."
        scan.problems.append(place.problem(reason, "Grant the server permission to read it, or remove it."))
    elif suffix == YANKED:
        add_mark(scan, Mark(place.path, base, None, _read_reason(place.tree, place.path)))
    elif suffix == DELETED:
        scan.deleted.add(base)
    else:
        scan.documents.setdefault(base, {}).setdefault(DOCUMENTS[suffix], place.path)
    return True


def _is_copied_document(scan: ProjectScan, place: _Place, key: StatKey | None) -> bool:
    """Return whether a sidecar or status is recorded with its digest; report it if it is with another."""
    line = place.line
    if line is None:
        return False
    is_copy = (
        key is not None
        and key.size <= MAX_DOCUMENT
        and is_recorded(line, key.size, _digest(place.tree, place.path))
    )
    if not is_copy:
        scan.problems.append(not_as_recorded(place.display_path, line))
    return is_copy


def _digest(tree: PackageTree, path: bytes) -> str | None:
    """Take the digest of a small file; None if it cannot be read."""
    try:
        file = tree.open_small(path)
        if file is None:
            return None
        with file:
            return hashlib.sha256(file.read(MAX_DOCUMENT)).hexdigest()
    except OSError:
        return None


def is_recorded(line: ManifestLine, size: int, sha256: str | None) -> bool:
    """Return whether a file has the digest that is recorded, and the size unless that is not known."""
    return line.sha256 is not None and line.sha256 == sha256 and line.size in (None, size)


def not_as_recorded(path: str, line: ManifestLine) -> Problem:
    """
    Make the problem of a file that was recorded as a copy, and is none.

    Args:
        path: Relative to its root, printable.
        line: What was recorded.
    """
    source = f" of {formatting.printable(line.note)}" if line.note else ""
    return Problem(
        path=path,
        reason=f"It differs from what was recorded as a copy{source}; it claims the name.",
        advice="If it is yours, remove its line from .copies; if not, remove the file and download it again.",
    )


def _own_key(tree: PackageTree, path: bytes) -> StatKey | None:
    """Take the key of a sidecar; None for a link, which could point at any file of the host."""
    try:
        return tree.lstat(path)
    except OSError:
        return None


def _counts(scan: ProjectScan, place: _Place) -> bool:
    """
    Return whether a sidecar or status counts although it is not a regular file.

    It does if `lstat` fails: it may yank, delete or quarantine, and ignoring it would offer withdrawn files.
    """
    try:
        place.tree.lstat(place.path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        scan.has_os_errors = True
        return True
    return False


def _may_be_served(tree: PackageTree, path: bytes, key: StatKey | None) -> bool:
    if key is None or key.size > MAX_DOCUMENT:
        return False
    try:
        # Not `os.access`, which checks the real user ID instead of the effective one.
        file = tree.open_small(path)
    except OSError:
        return False
    if file is not None:
        file.close()
    return file is not None


def _add_status(scan: ProjectScan, place: _Place) -> None:
    key = scan.watched[place.path] = _own_key(place.tree, place.path)
    scan.sidecars.add(place.path)
    _claim(scan, place, copied=place.text != CLAIMED and _is_copied_document(scan, place, key))
    if key is None and not _counts(scan, place):
        reason = "It has no effect: it is a link, a folder or a device."
        scan.problems.append(place.problem(reason, "Replace it with a regular file."))
        return
    if place.text == CLAIMED:
        return
    add_mark(scan, Mark(place.path, "", _STATUSES[place.text], _read_reason(place.tree, place.path)))


def add_mark(scan: ProjectScan, mark: Mark) -> None:
    """Let a mark count: the first reason of a yank, the strictest status with the first reason for it."""
    scan.marks.append(mark)
    if mark.status is None:
        scan.yanked[mark.filename] = scan.yanked.get(mark.filename) or mark.reason
        return
    rank = _STRICTNESS.index(mark.status) - _STRICTNESS.index(scan.status.status)
    if rank < 0 or (rank == 0 and not scan.status.reason):
        scan.status = ProjectStatus(status=mark.status, reason=mark.reason)


def _read_reason(tree: PackageTree, path: bytes) -> str:
    """Read a reason; empty if unreadable, since the existence of the file is what counts."""
    try:
        file = tree.open_small(path)
    except OSError:
        return ""
    if file is None:
        return ""
    with file:
        return " ".join(file.read(REASON_BYTES).decode("utf-8", "replace").split())
