"""Copies files by the kernel, digests what has arrived, and gives names that nothing has. Blocking."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from typing import TYPE_CHECKING

from twisted_index.files.anonymous_file import open_anonymous
from twisted_index.files.portability import advise_not_needed, read_at, write_at

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes at a time: small enough that what was copied is still in the processor's cache when it is digested.
_CHUNK = 1 << 20
#: Bytes after which the disk begins to write, so that little is left to wait for at the end.
_WRITEBACK = 32 << 20
#: What copy_file_range(2) says where it cannot copy: other file systems, old kernels, some of FUSE.
_CANNOT_COPY = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ETXTBSY}
)
#: What link(2) says on file systems without hard links.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})


def copy_bytes(source: int, target: int, advance: Callable[[int], object] = lambda _size: None) -> str:
    """
    Copy an open file into an empty one.

    Args:
        source: Descriptor, open for reading.
        target: Descriptor, open for reading and writing.
        advance: Called with the bytes of each step.

    Returns:
        The sha256 digest of what the target holds, as lower-case hex: it is read from there, so that what the
        kernel or a network file system made of the bytes is seen.

    Raises:
        OSError: Not all of it was copied.
    """
    digest, position, written = hashlib.sha256(), 0, 0
    by_kernel = True
    while True:
        copied = _copy_by_kernel(source, target, position) if by_kernel else None
        if not copied:
            # Some file systems copy nothing and say so without an error.
            by_kernel = False
            copied = _copy_by_hand(source, target, position)
        if not copied:
            return digest.hexdigest()
        _digest(target, position, copied, digest.update)
        position += copied
        advance(copied)
        if position - written >= _WRITEBACK:
            advise_not_needed(target, written, position - written)
            written = position


def _copy_by_kernel(source: int, target: int, position: int) -> int | None:
    if not hasattr(os, "copy_file_range"):
        return None
    try:
        copied: int = os.copy_file_range(source, target, _CHUNK, position, position)
    except OSError as error:
        if error.errno not in _CANNOT_COPY:
            raise
        return None
    return copied


def _copy_by_hand(source: int, target: int, position: int) -> int:
    data = read_at(source, _CHUNK, position)
    rest, at = memoryview(data), position
    while rest:
        written = write_at(target, rest, at)
        rest, at = rest[written:], at + written
    return len(data)


def _digest(target: int, position: int, size: int, update: Callable[[bytes], object]) -> None:
    end = position + size
    while position < end:
        data = read_at(target, end - position, position)
        if not data:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        update(data)
        position += len(data)


def give_name(source: bytes, target: bytes) -> None:
    """
    Rename a file to a name that nothing has; harmless if it was cut off before, and is repeated.

    rename(2) would replace what has just come under that name.

    Raises:
        FileExistsError: Something else has the name.
        OSError: It was not renamed; EXDEV if that is another file system.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        if not os.path.samestat(os.lstat(source), os.lstat(target)):
            raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.rename(source, target)
        return
    os.unlink(source)


def move_file(source: bytes, target: bytes, sha256: str) -> None:
    """
    Give a file a name that nothing has, also on another file system, with the time that it has.

    Args:
        source: Its path.
        target: Its new path.
        sha256: Its digest, in case it is copied; empty if it is not known.

    Raises:
        FileExistsError: Something else has the name.
        OSError: It was not moved; EIO if the copy has another digest.
    """
    try:
        if not os.path.islink(source):
            give_name(source, target)
            return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    copy_file(os.path.dirname(target), source, target, sha256=sha256)
    os.unlink(source)


def copy_file(root: bytes, source: bytes, target: bytes, *, sha256: str = "", replaces: bool = False) -> None:
    """
    Copy a file, with the time that it has: whole, and on disk, before the copy has its name.

    Args:
        root: A folder on the file system of the target.
        source: The path of the file; a link is followed.
        target: The path of the copy.
        sha256: The digest of the file; empty if it is not known.
        replaces: Whether the copy replaces what may have its name.

    Raises:
        FileExistsError: Something has the name.
        OSError: It was not copied; EIO if the copy has another digest.
    """
    with contextlib.closing(open_anonymous(root)) as copy, open(source, "rb") as original:
        copied = copy_bytes(original.fileno(), copy.descriptor)
        if sha256 and copied != sha256:
            raise OSError(errno.EIO, os.strerror(errno.EIO), target)
        copy.allow_reading()
        copy.set_time(os.fstat(original.fileno()).st_mtime_ns)
        copy.sync()
        if replaces:
            copy.replace(target)
        else:
            copy.link(target)
