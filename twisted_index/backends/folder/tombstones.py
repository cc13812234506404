"""The `.deleted` file of a project's folder: opened, read from end to end, added to. Blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.backends.folder.manifest_file import Appending, open_manifest, read_blocks, remove_lines
from twisted_index.backends.layout.tombstones import MAX_TOMBSTONES, tombstone_lines
from twisted_index.simple.manifest import find_names

if TYPE_CHECKING:
    import io
    from collections.abc import Container, Iterator

    from twisted_index.simple.manifest import ManifestLine


def open_tombstones(path: bytes) -> io.FileIO:
    """
    Open a `.deleted` file for reading.

    Raises:
        OSError: See `open_manifest`.
    """
    return open_manifest(path, MAX_TOMBSTONES)


def exhume(root: bytes, path: bytes, names: Container[str]) -> None:
    """
    Remove the lines of files that have returned, once these lie there.

    Args:
        root: The root that the file lies in.
        path: The `.deleted` file; the caller holds the lock of the project.
        names: As the lines have them.

    Raises:
        OSError: The file is unreadable, or was not changed.
    """
    remove_lines(
        root, path, MAX_TOMBSTONES, lambda line: any(name.decode() in names for name in find_names(line))
    )


def tombstones_in(path: bytes) -> Iterator[ManifestLine]:
    """
    Read all lines that are tombstones.

    Raises:
        OSError: See `open_tombstones`.
    """
    for block in tombstone_blocks(path):
        yield from tombstone_lines(block.splitlines())


def unknown_lines(path: bytes) -> tuple[int, int]:
    """
    Count the lines that are neither tombstones nor comments (`#`) nor empty.

    Returns:
        The number of them, and the number of the first one, from 1.

    Raises:
        OSError: See `open_tombstones`.
    """
    unknown = first = before = 0
    for block in tombstone_blocks(path):
        ends = block.count(b"\n")
        if len(find_names(block)) < ends + (not block.endswith(b"\n")):
            lines = enumerate(block.split(b"\n"), before + 1)
            numbers = [number for number, line in lines if _is_unknown(line)]
            first = first or next(iter(numbers), 0)
            unknown += len(numbers)
        before += ends
    return unknown, first


class Tombstone(Appending):
    """
    A line that is appended, under the lock of the project.

    Args:
        root: The root that the file lies in.
        path: The `.deleted` file, in an existing folder.
        line: What it says.
    """

    def __init__(self, root: bytes, path: bytes, line: ManifestLine) -> None:
        super().__init__(root, path, [line], MAX_TOMBSTONES)


def _is_unknown(line: bytes) -> bool:
    return bool(line.strip()) and not line.startswith(b"#") and not find_names(line)


def tombstone_blocks(path: bytes) -> Iterator[bytes]:
    """
    Read it, a block of whole lines at a time.

    Raises:
        OSError: See `open_tombstones`.
    """
    return read_blocks(path, MAX_TOMBSTONES)
