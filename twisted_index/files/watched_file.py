"""Small files that people edit while the server runs: parsed again when they change."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from twisted_index.errors import ConfigurationError
from twisted_index.files.portability import open_flags
from twisted_index.files.stamps import RACY_SECONDS

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

T = TypeVar("T")

#: Bytes. A file of 100,000 users has 8 million.
MAX_BYTES = 16_000_000

#: Seconds for which a report on such files waits for one that is read in a thread.
CHECK_TIMEOUT = 2.0

_Stamp: TypeAlias = tuple[int, int, int, int, int]


class WatchedFile(Generic[T]):
    """
    A file and what it means.

    Args:
        path: Absolute.
        parse: Makes the meaning of the bytes; `ConfigurationError` if they have none.
        stat: `os.stat`, or a stand-in with coarser times.
        wall: Seconds since the epoch, as file times count them.
        max_bytes: The most that is read.
        opener: Opens it for reading, and never waits for it.
    """

    def __init__(
        self,
        path: str,
        parse: Callable[[bytes], T],
        *,
        stat: Callable[[str], os.stat_result] = os.stat,
        wall: Callable[[], float] = time.time,
        max_bytes: int = MAX_BYTES,
        opener: Callable[[str], io.RawIOBase | io.BufferedReader] | None = None,
    ) -> None:
        self.path = path
        self._open = opener or _open_at_once
        self._max_bytes = max_bytes
        self._parse = parse
        self._stat = stat
        self._wall = wall
        self._stamp: _Stamp | None = None
        self._settled = False
        self._reading = threading.Lock()
        self._digest = b""
        self._value: T | ConfigurationError
        self._version = 0

    def exists(self) -> bool:
        """Return whether there is anything at the path, be it readable or not."""
        try:
            self._stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def changed(self) -> bool:
        """Say, by one `stat`, whether there may be something that `read` has not seen."""
        if not self._settled:
            return True
        try:
            return _stamp(self._stat(self.path)) != self._stamp
        except (FileNotFoundError, NotADirectoryError):
            return self._stamp is not None
        except OSError:
            return True

    def cached(self) -> T | None:
        """Return what `read` would return, by one `stat`; None if the file has to be read for that."""
        value = None if self._stamp is None or self.changed() else self._value
        return None if isinstance(value, ConfigurationError) else value

    def last(self) -> T | None:
        """Return what `read` has returned last, though the file may have changed; None if there is none."""
        value = self._value if self._digest else None
        return None if isinstance(value, ConfigurationError) else value

    def validity(self) -> Callable[[], bool]:
        """
        Return a check, by one `stat`, whether the file is there and means what it means now.

        To be called before the meaning is used: a change in between then ends the validity. The check
        keeps no old meaning in memory.
        """
        version = self._version
        return lambda: self._version == version and self._stamp is not None and not self.changed()

    def read(self) -> T:
        """
        Read the file.

        Returns:
            What it means: the very same object if its bytes are the same.

        Raises:
            OSError: It is not there, or cannot be read.
            ConfigurationError: It means nothing, or is far too large; again the same object.
        """
        # Several threads may come at once: the last to read has the last word.
        with self._reading:
            return self._read()

    def _read(self) -> T:
        self._stamp, self._settled = None, True
        try:
            with self._open(self.path) as file:
                status = os.fstat(file.fileno())
                # None where a pipe has a writer that has written nothing.
                data = file.read(self._max_bytes + 1) or b""
        except FileNotFoundError:
            raise
        except OSError:
            self._settled = False
            raise
        try:
            return self._understand(data)
        finally:
            # Last: until then another thread must not take the old meaning for that of the new bytes.
            self._stamp = _stamp(status)
            self._settled = self._wall() - status.st_ctime >= RACY_SECONDS

    def _understand(self, data: bytes) -> T:
        digest = hashlib.sha256(data).digest()
        if digest != self._digest:
            self._value = self._parsed(data)
            self._version += 1
            self._digest = digest
        if isinstance(self._value, ConfigurationError):
            raise self._value
        return self._value

    def _parsed(self, data: bytes) -> T | ConfigurationError:
        if len(data) > self._max_bytes:
            return ConfigurationError(f"{self.path}: the file is larger than {self._max_bytes} bytes.")
        try:
            return self._parse(data)
        except ConfigurationError as error:
            return error


def _open_at_once(path: str) -> io.BufferedReader:
    """Open a file; a pipe without a writer must not stop the server, which may read in the reactor thread."""
    return open(path, "rb", opener=lambda name, flags: os.open(name, open_flags(flags, "O_NONBLOCK")))


def _stamp(status: os.stat_result) -> _Stamp:
    """Take what must be equal for the file to be the same; the change time cannot be set."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
