"""PackageTree: where a scan reads names, sizes and small files; a file system, or the listing of a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import BinaryIO

    from twisted_index.backends.layout.facts import StatKey
    from twisted_index.files.stamps import StampedStat


class PackageTree(Protocol):
    """
    The entries below some roots. Paths are bytes: a root, perhaps the name of a folder, the name of a file.

    All methods may block, and raise OSError as the system does.
    """

    def stamp(self, folder: bytes, before: StampedStat | None) -> StampedStat | None:
        """
        Take the stamp of a folder, before it is read.

        Args:
            folder: The folder.
            before: What was seen there last.

        Returns:
            None where nothing has stamps.
        """

    def is_settled(self, key: StatKey) -> bool:
        """Return whether a file whose bytes change later is sure to have another key then."""

    def list_names(self, folder: bytes) -> list[bytes]:
        """
        Return the names in a project's folder; nothing if it has just gone.

        Raises:
            OSError: They cannot be read, or it cannot be known what was deleted there.
        """

    def stat(self, path: bytes) -> StatKey | None:
        """Take the key of a file, following links; None if it is no regular file."""

    def lstat(self, path: bytes) -> StatKey | None:
        """Take the key of a file, following no links; None if it is no regular file."""

    def is_link(self, path: bytes) -> bool:
        """Return whether a path is a link; raises nothing."""

    def is_folder(self, path: bytes) -> bool:
        """Return whether a path is a folder, following links; raises nothing."""

    def open_small(self, path: bytes) -> BinaryIO | None:
        """Open a sidecar or status for reading, following no links; None if it is no regular file."""

    def open_manifest(self, path: bytes, limit: int) -> BinaryIO:
        """
        Open a `.deleted` or `.copies` file for reading.

        Args:
            path: The file.
            limit: Bytes that it may have.

        Raises:
            OSError: It is absent, unreadable, a link, no regular file, or too large.
        """
