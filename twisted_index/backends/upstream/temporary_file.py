"""Incomplete files of the cache, before they get their name. Blocking."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class TemporaryFile:
    """
    A file that is being written, locked so that no sweep removes it.

    Args:
        descriptor: Open for reading and writing, at its start.
        path: Where it lies until it is kept; None if it has no name.
        log_write_failure: Told why something could not be written.

    Attributes:
        descriptor: As given, until it is closed.
    """

    def __init__(
        self, descriptor: int, path: str | None, log_write_failure: Callable[[OSError], None]
    ) -> None:
        self.descriptor = descriptor
        self._path = path
        self._complain = log_write_failure

    @property
    def is_named(self) -> bool:
        """Whether it has a name that can be changed."""
        return self._path is not None

    def write(self, data: bytes | memoryview, position: int) -> int:
        """
        Write at a position.

        Returns:
            How many bytes were written: less than asked if there is no room for more.
        """
        view, written = memoryview(data), 0
        while written < len(view):
            try:
                written += os.pwrite(self.descriptor, view[written:], position + written)
            except OSError as error:
                self._complain(error)
                break
        return written

    def commit(self, path: str, *, durable: bool) -> None:
        """
        Give it its name.

        Args:
            path: In place of what may be there.
            durable: Whether its bytes have to be on the disk before its name is, so that not even
                a loss of power leaves a wrong file. A name that is lost is only a gap in a cache.

        Raises:
            OSError: It cannot be kept.
        """
        assert self._path is not None
        if durable:
            os.fsync(self.descriptor)
        try:
            os.replace(self._path, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.replace(self._path, path)
        self._path = None

    def discard(self) -> None:
        """Take its name away, unless it was kept. What is open can still be read."""
        path, self._path = self._path, None
        if path is not None:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def close(self) -> None:
        """Close it; harmless twice."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def unnamed_file() -> TemporaryFile | None:
    """Begin a file that is gone when it is closed, where temporary files are; None if there is no place."""
    try:
        with tempfile.TemporaryFile() as file:
            return TemporaryFile(os.dup(file.fileno()), None, lambda _error: None)
    except OSError:
        return None
