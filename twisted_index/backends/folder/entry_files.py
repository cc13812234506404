"""
The files that lie in a root for a project, read for a replica: listed ones and all others.

Blocking; called in threads, one project at a time. No page is made: a file that cannot be listed is an entry
too, for a replica is to have the same one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat as stat_module
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.folder.local_tree import list_names
from twisted_index.backends.layout.copies import COPIES
from twisted_index.backends.layout.entries import may_belong
from twisted_index.backends.layout.facts import StatKey
from twisted_index.backends.layout.project_scan import CLAIMING, printable_path, unreadable_error
from twisted_index.errors import ReplacedMeanwhile
from twisted_index.files.os_errors import public_read_error
from twisted_index.files.safe_open import open_regular_file
from twisted_index.simple.entry_listing import MAX_CONTENTS, MAX_INLINE, Entry
from twisted_index.simple.names import is_temporary

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator

    from twisted_index.backends.layout.entries import ProjectEntries
    from twisted_index.errors import SimpleIndexError
    from twisted_index.files.stamps import StatValidator

#: Bytes of a file that is read at once, and hashed without asking whether it was inspected: that takes less
#: time than an inspection.
MAX_READ = 64 << 10
#: Names that begin with a dot and are entries, in a project's folder only.
MARKS = frozenset({*map(os.fsencode, CLAIMING), COPIES})
#: A file that was there has gone, or is something else now.
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class FoundEntry(NamedTuple):
    """
    A file that is an entry.

    Attributes:
        path: Below the root.
        place: The path to open.
        key: Its size and times.
        is_link: Whether it is a link to a file, which is followed.
    """

    path: bytes
    place: bytes
    key: StatKey
    is_link: bool


class KnownDigest(NamedTuple):
    """
    The digest of a file, and whether it is sure that the file has just these bytes.

    Without a sign, a file may have got others if it was read soon after it was changed.
    """

    sha256: str
    is_certain: bool


class EntryReading(NamedTuple):
    """
    What was read of a project.

    Attributes:
        entries: The files with their digests, ordered by path.
        contents: Those of the first entries that are small enough, as many as fit.
        unknown: Files whose digests have to be found out first; with any, the rest says nothing.
        young: Files whose digests are not certain.
    """

    entries: tuple[Entry, ...]
    contents: tuple[bytes, ...]
    unknown: tuple[FoundEntry, ...]
    young: frozenset[tuple[FoundEntry, str]]


def read_entries(
    project: str,
    root: bytes,
    part: ProjectEntries,
    known: Callable[[FoundEntry], KnownDigest | None],
    validator: StatValidator,
    inline: int = 0,
) -> EntryReading:
    """
    Read the entries of a project.

    Args:
        project: A normalized name.
        root: The root.
        part: What is there for it.
        known: Returns the digest of a file if that is known; it may be called for any.
        validator: Tells how old a change is.
        inline: Bytes up to which the contents of a file are wanted.

    Raises:
        UnreadableFolder: A folder or a file cannot be read, so that it is not known what is there.
        OutOfResources: The server lacks memory or descriptors.
        ReplacedMeanwhile: A file is not as it was found any more.
    """
    entries, contents, unknown, young = [], list[bytes](), [], set()
    limit, room = min(inline, MAX_INLINE), MAX_CONTENTS
    for found in sorted(_find_all(project, root, part)):
        is_wanted = found.key.size <= limit
        if is_wanted and found.key.size > room:
            # What follows would be taken for the contents of this one.
            limit, is_wanted = -1, False
        digest, content = known(found), b""
        if is_wanted or (digest is None and found.key.size <= MAX_READ):
            is_settled = validator.is_settled(found.key.ctime_ns)
            content = _read(found)
            digest = digest or KnownDigest(hashlib.sha256(content).hexdigest(), is_settled)
        if digest is None:
            unknown.append(found)
            continue
        if is_wanted:
            contents.append(content)
            room -= len(content)
        if not digest.is_certain:
            young.add((found, digest.sha256))
        time = min(found.key.mtime_ns, found.key.ctime_ns)
        entries.append(Entry(os.fsdecode(found.path), digest.sha256, found.key.size, time))
    return EntryReading(tuple(entries), tuple(contents), tuple(unknown), frozenset(young))


def find_entry(project: str, root: bytes, part: ProjectEntries, path: bytes) -> FoundEntry | None:
    """
    Find the file of an entry.

    Args:
        project: A normalized name.
        root: The root.
        part: What is there for it.
        path: As in a listing.

    Raises:
        UnreadableFolder, OutOfResources: As for `read_entries`.
    """
    folder, slash, name = path.rpartition(b"/")
    if not slash:
        return _find(project, root, b"", name) if name in part.files else None
    # Spelled just as it is there: some file systems know a file by other names too.
    if folder not in part.folders or name in part.hidden or name not in _names_in(root, folder):
        return None
    return _find(project, root, folder, name)


def open_found(found: FoundEntry) -> io.FileIO:
    """
    Open the file of an entry.

    Raises:
        UnreadableFolder, OutOfResources, ReplacedMeanwhile: As for `read_entries`.
    """
    try:
        file = open_regular_file(found.place, follow_links=found.is_link)
    except OSError as error:
        if error.errno in _GONE:
            raise _replaced() from None
        raise _unreadable(error, found.path) from None
    if file is None or StatKey.from_stat(os.fstat(file.fileno())) != found.key:
        if file is not None:
            file.close()
        raise _replaced()
    return file


def digest_found(found: FoundEntry) -> str:
    """Read the file of an entry from end to end, and return its digest; see `open_found`."""
    with open_found(found) as file:
        try:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _unreadable(error, found.path) from None
        if StatKey.from_stat(os.fstat(file.fileno())) != found.key:
            raise _replaced()
    return sha256


def is_entry_name(name: bytes, *, in_folder: bool) -> bool:
    """Return whether a file may be an entry by its name, in a project's folder or in the root."""
    return (in_folder and name in MARKS) or not is_temporary(os.fsdecode(name))


def _find_all(project: str, root: bytes, part: ProjectEntries) -> Iterator[FoundEntry]:
    for folder in part.folders:
        for name in _names_in(root, folder):
            if name not in part.hidden and (found := _find(project, root, folder, name)) is not None:
                yield found
    for name in part.files:
        if (found := _find(project, root, b"", name)) is not None:
            yield found


def _names_in(root: bytes, folder: bytes) -> list[bytes]:
    try:
        return list_names(os.path.join(root, folder))
    except OSError as error:
        raise unreadable_error(error, folder) from None


def _find(project: str, root: bytes, folder: bytes, name: bytes) -> FoundEntry | None:
    """Look at what has a name; None if that is no entry."""
    if not is_entry_name(name, in_folder=bool(folder)):
        return None
    place = os.path.join(root, folder, name)
    path = b"%s/%s" % (folder, name) if folder else name
    try:
        status = os.lstat(place)
        is_link = stat_module.S_ISLNK(status.st_mode)
        if is_link:
            # As for a page: a link could lead to any file of the host, and a mark is no reason to read that.
            if not may_belong(os.fsdecode(name), project):
                return None
            status = os.stat(place)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise _unreadable(error, path) from None
    if not stat_module.S_ISREG(status.st_mode):
        return None
    return FoundEntry(path, place, StatKey.from_stat(status), is_link)


def _read(found: FoundEntry) -> bytes:
    with open_found(found) as file:
        try:
            content = file.read(found.key.size + 1)
        except OSError as error:
            raise _unreadable(error, found.path) from None
    if len(content) != found.key.size:
        raise _replaced()
    return content


def _replaced() -> ReplacedMeanwhile:
    return ReplacedMeanwhile("This file is being changed. Retry in a moment.", retry_after=1)


def _unreadable(error: OSError, path: bytes) -> SimpleIndexError:
    shown = printable_path(path)
    return public_read_error(error, shown, f"The file {shown}")
