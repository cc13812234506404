"""Folders as a `PackageTree`: the file system, and the stamps that show its changes. Blocking."""

from __future__ import annotations

import contextlib
import os
import stat as stat_module
from typing import TYPE_CHECKING

from twisted_index.backends.folder.manifest_file import open_manifest
from twisted_index.backends.folder.tombstones import open_tombstones
from twisted_index.backends.layout.facts import StatKey
from twisted_index.backends.layout.tombstones import TOMBSTONES
from twisted_index.files.safe_open import open_regular_file

if TYPE_CHECKING:
    import io

    from twisted_index.files.stamps import StampedStat, StatValidator


class LocalTree:
    """
    The file system, as `PackageTree` has it.

    Args:
        validator: Takes the stamps of folders.
    """

    def __init__(self, validator: StatValidator) -> None:
        self._validator = validator

    def stamp(self, folder: bytes, before: StampedStat | None) -> StampedStat | None:
        """See `PackageTree`."""
        return self._validator.stamp(folder, before)

    def is_settled(self, key: StatKey) -> bool:
        """See `PackageTree`."""
        return self._validator.is_settled(key.ctime_ns)

    def list_names(self, folder: bytes) -> list[bytes]:
        """See `PackageTree`."""
        return list_names(folder)

    def stat(self, path: bytes) -> StatKey | None:
        """See `PackageTree`."""
        return _key_of(os.stat(path))

    def lstat(self, path: bytes) -> StatKey | None:
        """See `PackageTree`."""
        return _key_of(os.lstat(path))

    def is_link(self, path: bytes) -> bool:
        """See `PackageTree`."""
        return os.path.islink(path)

    def is_folder(self, path: bytes) -> bool:
        """See `PackageTree`."""
        return os.path.isdir(path)

    def open_small(self, path: bytes) -> io.FileIO | None:
        """See `PackageTree`."""
        return open_regular_file(path, follow_links=False)

    def open_manifest(self, path: bytes, limit: int) -> io.FileIO:
        """See `PackageTree`."""
        return open_manifest(path, limit)


def _key_of(status: os.stat_result) -> StatKey | None:
    return StatKey.from_stat(status) if stat_module.S_ISREG(status.st_mode) else None


def stat_key(path: bytes) -> StatKey | None:
    """
    Take the key of a file, following links.

    Returns:
        None if there is no regular file.
    """
    try:
        return _key_of(os.stat(path))
    except OSError:
        return None


def stat_key_no_follow(path: bytes) -> StatKey | None:
    """Take the key of a sidecar; None for a link, which could point at any file of the host."""
    try:
        return _key_of(os.lstat(path))
    except OSError:
        return None


def list_names(path: bytes) -> list[bytes]:
    """
    Return the names in a project's folder, after checking that the folder can be entered.

    Returns:
        An empty list if the folder has just been removed, or is not a folder.

    Raises:
        OSError: The folder cannot be read or entered, or is a dangling link: its target may be
            unmounted for a while, so this is no proof that the project is gone. Or its `.deleted` file
            cannot be read, so that it is not known what was deleted.
    """
    try:
        os.stat(os.path.join(path, b"."))
        names = os.listdir(path)
    except NotADirectoryError:
        return []
    except FileNotFoundError:
        if os.path.islink(path):
            raise
        return []
    if TOMBSTONES in names:
        with contextlib.suppress(FileNotFoundError), open_tombstones(os.path.join(path, TOMBSTONES)):
            pass
    return names
