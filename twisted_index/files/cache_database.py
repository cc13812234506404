"""
A SQLite database of what can be learned again. Deleting it costs only time.

A file that is damaged, or of another version, begins anew; one that cannot be used (a full disk, a held
lock) is left, and the database goes on in memory. Blocking: all calls in one thread.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import weakref
from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_index.files.ownership import make_file, make_folders

if TYPE_CHECKING:
    from collections.abc import Callable

_log = Logger()

#: Seconds to wait for another process before continuing in memory.
_BUSY_SECONDS = 2.0


class CacheDatabase:
    """
    A database that is opened by the first call, and again by a call after `close`.

    Args:
        path: Its file, whose folder is created if missing; None keeps it in memory.
        version: Of its tables and of what they mean; a file of another one begins anew.
        make_tables: Makes the tables, in a transaction.
        contents: What it keeps, as the beginning of a sentence in the log, with its verb.
        synchronous: That of SQLite: NORMAL keeps all but the last moments over a loss of power, OFF may lose
            the file then.
    """

    def __init__(
        self,
        path: str | None,
        *,
        version: int,
        make_tables: Callable[[sqlite3.Connection], None],
        contents: str,
        synchronous: str = "NORMAL",
    ) -> None:
        self._path = path
        self._version, self._make_tables = version, make_tables
        self._contents = contents
        self._synchronous = synchronous
        self._connection: sqlite3.Connection | None = None
        self._closing: Callable[[], object] | None = None

    def open(self) -> sqlite3.Connection:
        """Return the connection, opened if it is not; it raises `sqlite3.Error` as it likes."""
        if self._connection is None:
            self._keep(self._connect(":memory:") if self._path is None else self._open_file(self._path))
        assert self._connection is not None
        return self._connection

    def begin_anew(self, error: sqlite3.Error) -> None:
        """
        Continue empty after an error, so that no second call fails for the same.

        Args:
            error: Damage replaces the file; anything else leaves it, and continues in memory.
        """
        self.close()
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if damaged and self._path is not None:
            self._keep(self._replace(self._path, error))
        else:
            self._keep(self._in_memory(error))

    def close(self) -> None:
        """Close the database, if it was opened."""
        closing, self._closing, self._connection = self._closing, None, None
        if closing is not None:
            with contextlib.suppress(sqlite3.Error):
                closing()

    def _keep(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # Python warns of a connection that is forgotten while it is open, as one in memory may well be.
        self._closing = weakref.finalize(self, connection.close)

    def _open_file(self, path: str) -> sqlite3.Connection:
        try:
            make_folders(os.path.dirname(path), 0o700)
            return self._connect_file(path)
        except (OSError, sqlite3.OperationalError) as error:
            # Locked, read-only, out of space: the file may well be sound.
            return self._in_memory(error)
        except sqlite3.DatabaseError as error:
            return self._replace(path, error)

    def _replace(self, path: str, error: sqlite3.Error) -> sqlite3.Connection:
        _log.warn("The cache in {path} begins anew: {error}", path=path, error=error)
        try:
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path + suffix)
            return self._connect_file(path)
        except (OSError, sqlite3.Error) as again:
            return self._in_memory(again)

    def _in_memory(self, error: Exception) -> sqlite3.Connection:
        _log.warn(
            "The state in {path} cannot be used ({error}). {contents} kept in memory only, and every restart"
            " reads all files again; repair it, or choose another folder with --state.",
            path=self._path or "memory",
            error=getattr(error, "strerror", None) or str(error),
            contents=self._contents,
        )
        return self._connect(":memory:")

    def _connect_file(self, path: str) -> sqlite3.Connection:
        # SQLite gives the files beside it to the owner of this one.
        make_file(path)
        return self._connect(path)

    def _connect(self, path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            if self._version_of(connection) == 0:
                # A start that is cut off, or a second one at the same time, finds all tables or none.
                connection.execute("BEGIN IMMEDIATE")
                if self._version_of(connection) == 0:
                    self._make_tables(connection)
                    connection.execute(f"PRAGMA user_version = {self._version}")
                connection.commit()
        except BaseException:
            connection.close()
            raise
        return connection

    def _version_of(self, connection: sqlite3.Connection) -> int:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, self._version):
            raise sqlite3.DatabaseError(f"it is of version {version}")
        return version
