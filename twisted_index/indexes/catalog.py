"""
Which indexes there are: the subfolders of one folder, listed again when its stamp changes.

A name from a URL is compared with the listing, and becomes part of a path only if it is there, letter for
letter. Blocking: one `stat`, or one listing of a folder.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.errors import NotFound, Unavailable
from twisted_index.files.filesystems import has_coarse_folders
from twisted_index.files.stamps import StatValidator
from twisted_index.interfaces import Problem
from twisted_index.simple.formatting import printable
from twisted_index.simple.name_patterns import is_index_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_index.files.stamps import StampedStat

#: Folders that can be no indexes, of which each is a problem.
MAX_MISNAMED = 100


class _Listing(NamedTuple):
    """What lies in the folder: names of indexes, their folders, and names that no index can have."""

    stamp: StampedStat
    names: tuple[str, ...]
    paths: Mapping[str, bytes]
    misnamed: tuple[str, ...]


class IndexCatalog:
    """
    The folder of indexes.

    Args:
        folder: Absolute.
        validator: Replaces the clock and `stat` in tests.
    """

    def __init__(self, folder: str, validator: StatValidator | None = None) -> None:
        self.folder = os.fsencode(folder)
        self._validator = validator or StatValidator(trusts_times=not has_coarse_folders(self.folder))
        #: Replaced as a whole, since threads read it too.
        self._listing: _Listing | None = None

    def names(self) -> tuple[str, ...]:
        """
        List the names of all indexes, sorted: the same object while they are the same.

        Raises:
            Unavailable: The folder cannot be read.
        """
        return self._current().names

    def path(self, name: str) -> bytes:
        """
        Return the absolute folder of an index.

        Raises:
            NotFound: There is none of that name.
            Unavailable: The folder of indexes cannot be read.
        """
        path = self._current().paths.get(name)
        if path is None:
            raise NotFound("There is no index of that name on this server; /+ lists its indexes.")
        return path

    def problems(self) -> list[Problem]:
        """
        List the subfolders that are no indexes.

        Raises:
            Unavailable: The folder of indexes cannot be read.
        """
        return [misnamed(name) for name in self._current().misnamed]

    def _current(self) -> _Listing:
        listing = self._listing
        try:
            if listing is None or not self._validator.is_current(self.folder, listing.stamp):
                listing = self._listing = self._read(listing)
        except OSError as error:
            self._listing = None
            raise Unavailable(f"The folder of indexes cannot be read right now: {error.strerror}.") from error
        return listing

    def _read(self, before: _Listing | None) -> _Listing:
        stamp = self._validator.stamp(self.folder, None if before is None else before.stamp)
        with os.scandir(self.folder) as entries:
            folders = {os.fsdecode(entry.name): entry.path for entry in entries if _is_folder(entry)}
        paths = {name: path for name, path in folders.items() if is_index_name(name)}
        names = tuple(sorted(paths))
        others = sorted(name for name in folders if name not in paths and not name.startswith("."))
        if before is not None and before.names == names:
            names = before.names
        return _Listing(stamp, names, paths, tuple(others[:MAX_MISNAMED]))


def misnamed(name: str) -> Problem:
    """Make the problem of a folder that is no index."""
    return Problem(
        path=printable(name) + "/",
        reason="This folder has a name that no index can have.",
        advice="Use letters and digits, with -, . and _ inside; at, draft and simple have a meaning.",
    )


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    """
    Return whether an entry is a folder, or a link to what should be one.

    A dangling link may lead to a mount that is away: such an index is unavailable, not absent.
    """
    try:
        return entry.is_dir() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True
