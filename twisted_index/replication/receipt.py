"""A file that comes from the primary: checked, and on disk, before it has a name. Blocking."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from twisted_index.errors import BadGateway, InsufficientStorage
from twisted_index.files.anonymous_file import open_anonymous
from twisted_index.files.free_space import free_bytes
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.files.anonymous_file import AnonymousFile
    from twisted_index.simple.entry_listing import Entry

#: Bytes of a file that the disk begins to write while it comes.
_LARGE = 1 << 20


def receive(root: bytes, entry: Entry) -> Receipt:
    """
    Begin to receive the bytes of an entry.

    Raises:
        InsufficientStorage: The disk has no room for it: what else is written there needs what it has.
        OSError: Nothing can be written there.
    """
    if entry.size > _LARGE and (free := free_bytes(root)) is not None and free < entry.size:
        raise InsufficientStorage(
            f"The disk of the package folder has no room for {printable(entry.path)}, which has"
            f" {entry.size:,} bytes."
        )
    return Receipt(open_anonymous(root), entry)


class Receipt:
    """
    A file that is being received; made by `receive`.

    Safe in any thread: who receives it may be stopped, and close it, while a thread still writes.

    Attributes:
        entry: What it has to be.
    """

    def __init__(self, file: AnonymousFile, entry: Entry) -> None:
        self.entry = entry
        self._file: AnonymousFile | None = file
        self._lock = threading.Lock()
        self._size = 0
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """
        Append bytes.

        Raises:
            BadGateway: They are more than the entry has.
            OSError: They cannot be written.
        """
        with self._opened() as file:
            if self._size + len(data) > self.entry.size:
                raise self._error()
            file.write(data)
            self._digest.update(data)
            if self.entry.size > _LARGE:
                file.start_writeback(self._size, len(data))
            self._size += len(data)

    def check(self) -> None:
        """
        Check that all of it is there, and give it its time.

        Raises:
            BadGateway: It is not what the entry says.
        """
        with self._opened() as file:
            if self._size != self.entry.size or self._digest.hexdigest() != self.entry.sha256:
                raise self._error()
            file.allow_reading()
            file.set_time(self.entry.time)

    def _error(self) -> BadGateway:
        shown = printable(self.entry.path)
        return BadGateway(f"The bytes of {shown} that came are not those that the primary lists.")

    def sync(self) -> None:
        """Wait until it is on disk."""
        with self._opened() as file:
            file.sync()

    def put(self, path: bytes) -> None:
        """Give it a name, in place of what may have it."""
        with self._opened() as file:
            file.replace(path)

    def link(self, path: bytes) -> None:
        """
        Give it a name that nothing has.

        Raises:
            FileExistsError: Something has it.
        """
        with self._opened() as file:
            file.link(path)

    def close(self) -> None:
        """Close it: without a name it is gone. Harmless when repeated."""
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            file.close()

    @contextmanager
    def _opened(self) -> Iterator[AnonymousFile]:
        with self._lock:
            if self._file is None:
                # Its descriptor may be that of another file by now.
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            yield self._file
