"""A file received from another server: verified and on disk before it has a name. Blocking."""

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

#: Bytes from which a file is written back to disk while it arrives, so that the final sync has little to do.
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

    Safe in any thread: the receiver may be cancelled, and close it, while a thread still writes.

    Attributes:
        entry: The entry whose bytes it receives.
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
            BadGateway: The file has more bytes than its entry.
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
        Verify size and digest, and set the time of the entry.

        Raises:
            BadGateway: The bytes are not those of the entry.
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
        """Wait until the file is on disk."""
        with self._opened() as file:
            file.sync()

    def put(self, path: bytes) -> None:
        """Give the file a name, replacing what may have it."""
        with self._opened() as file:
            file.replace(path)

    def link(self, path: bytes) -> None:
        """
        Give the file a name.

        Raises:
            FileExistsError: The name is taken.
        """
        with self._opened() as file:
            file.link(path)

    def close(self) -> None:
        """Close the file; without a name, that deletes it. Idempotent."""
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            file.close()

    @contextmanager
    def _opened(self) -> Iterator[AnonymousFile]:
        with self._lock:
            if self._file is None:
                # The system may have given its descriptor to another file.
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            yield self._file
