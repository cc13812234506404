"""
A file of manifest lines in a project's folder, `.deleted` or `.copies`: opened, read, added to. Blocking.

The lines are those of `simple.manifest`.
"""

from __future__ import annotations

import errno
import os
import stat as stat_module
from typing import TYPE_CHECKING

from twisted_index.backends.layout.manifest_blocks import blocks_of
from twisted_index.files.anonymous_file import remove, sync_folder, write_atomically
from twisted_index.files.locks import LockHeld, try_lock
from twisted_index.files.portability import open_flags, read_at, write_at
from twisted_index.files.safe_open import open_regular_file
from twisted_index.simple.manifest import MAX_NOTE, format_line

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterable, Iterator

    from twisted_index.simple.manifest import ManifestLine

#: Without waiting for the other end of a FIFO, and not through a link.
_APPEND = open_flags(os.O_RDWR, "O_NOFOLLOW", "O_NONBLOCK")


def open_manifest(path: bytes, limit: int) -> io.FileIO:
    """
    Open a manifest for reading.

    Args:
        path: The file.
        limit: Bytes that it may have.

    Raises:
        OSError: It is absent, unreadable, a link, no regular file, or too large.
    """
    file = open_regular_file(path, follow_links=False)
    if file is None:
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if os.fstat(file.fileno()).st_size > limit:
        file.close()
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return file


def read_blocks(path: bytes, limit: int) -> Iterator[bytes]:
    """
    Read whole lines, a block of them at a time.

    Raises:
        OSError: See `open_manifest`.
    """
    return blocks_of(lambda: open_manifest(path, limit))


def remove_lines(root: bytes, path: bytes, limit: int, goes: Callable[[bytes], bool]) -> None:
    """
    Remove lines, and with the last one the file; nothing is written if there are none of them.

    Args:
        root: The root that the file lies in.
        path: The file; the caller holds the lock of the project.
        limit: Bytes that it may have.
        goes: Returns whether a line, with its end, is to be removed.

    Raises:
        OSError: The file is unreadable, or was not changed.
    """
    try:
        lines = [line for block in read_blocks(path, limit) for line in block.splitlines(keepends=True)]
    except FileNotFoundError:
        return
    kept = [line for line in lines if not goes(line)]
    if len(kept) == len(lines):
        return
    if any(map(bytes.strip, kept)):
        write_atomically(root, path, b"".join(kept))
        return
    remove(path)
    sync_folder(os.path.dirname(path))


class Appending:
    """
    Lines that are appended to a manifest, under the lock of the project.

    Their first byte is written last, when the rest is on disk: what a crash or a full disk leaves of a line
    begins with a null byte, and says nothing. An editor's last line may lack its end, and counts.

    Args:
        root: The root that the file lies in.
        path: The file, in an existing folder.
        lines: What is appended, at least one line.
        limit: Bytes that the file may have.
    """

    def __init__(self, root: bytes, path: bytes, lines: Iterable[ManifestLine], limit: int) -> None:
        self._root = root
        self._path = path
        self._text = b"".join(map(format_line, lines))
        self._limit = limit
        self._start = -1

    def write(self) -> None:
        """
        Append the lines, durably.

        Raises:
            OSError: They were not written; `take_back` removes what there is of them.
            LockHeld: Another process appends to the file.
        """
        try:
            descriptor = os.open(self._path, _APPEND)
        except FileNotFoundError:
            self._start = 0
            write_atomically(self._root, self._path, self._text)
            return
        try:
            self._append(descriptor)
        finally:
            os.close(descriptor)

    def _append(self, descriptor: int) -> None:
        # The lock of the project is on a folder, and NFS has none for folders.
        if not try_lock(descriptor):
            raise LockHeld
        status = os.fstat(descriptor)
        if not stat_module.S_ISREG(status.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), self._path)
        end = status.st_size
        if end + len(self._text) >= self._limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), self._path)
        if end and read_at(descriptor, 1, end - 1) != b"\n":
            _write(descriptor, end, b"\n")
            end += 1
        self._start = end
        _write(descriptor, end + 1, self._text[1:])
        os.fsync(descriptor)
        _write(descriptor, end, self._text[:1])
        os.fsync(descriptor)

    def take_back(self) -> None:
        """Remove the lines, or what was written of them, if they are the last ones."""
        if self._start < 0:
            return
        descriptor = os.open(self._path, _APPEND)
        try:
            tail = read_at(descriptor, len(self._text) + MAX_NOTE, self._start)
            if self._text[1:].startswith(tail[1:]) and tail[:1] in (b"\0", self._text[:1]):
                os.ftruncate(descriptor, self._start)
                os.fsync(descriptor)
            is_empty = not os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if is_empty:
            remove(self._path)
            sync_folder(os.path.dirname(self._path))


def _write(descriptor: int, start: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        written = write_at(descriptor, rest, start)
        rest, start = rest[written:], start + written
