"""
Cache of inspection results across restarts: digest, metadata, or why a file is rejected.

Deleting it costs only time. So a failure of the database (damage, another version, a full disk, a held
lock) loses entries and raises no error.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from twisted.logger import Logger

from twisted_index.backends.layout.facts import FileFacts, InspectionResult, Rejection, StatKey
from twisted_index.files.ownership import make_file, make_folders

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_log = Logger()

#: Increment on every change of the table or of the rules of inspection, so that files inspected
#: under the old rules are inspected again.
SCHEMA_VERSION = 3
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS file (
        folder BLOB NOT NULL,
        name BLOB NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        sha256 TEXT,
        metadata_sha256 TEXT,
        requires_python TEXT,
        proven INTEGER NOT NULL,
        reason TEXT,
        advice TEXT,
        settled INTEGER NOT NULL,
        PRIMARY KEY (folder, name)
    ) WITHOUT ROWID
"""
_COLUMNS = (
    "size, mtime_ns, ctime_ns, sha256, metadata_sha256, requires_python, proven, reason, advice, settled"
)
#: Seconds to wait for another process's write lock before continuing in memory.
_BUSY_SECONDS = 2.0
#: SQLite's integers have 64 bits.
_INTEGER_LIMIT = 1 << 63


class CachedInspection(NamedTuple):
    """
    An inspection result, and whether it is final.

    Attributes:
        result: The result.
        settled: False if the file has to be inspected again, since it was so young that a change might
            not have changed its times.
    """

    result: InspectionResult
    settled: bool = True


class InspectionCache:
    """
    Inspection results by (folder, name, key). All methods block: call them always in the same thread.

    Args:
        path: The database file; None keeps it in memory. Its folder is created if missing.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def get(self, folder: bytes, keys: Mapping[bytes, StatKey]) -> dict[bytes, CachedInspection]:
        """
        Look up the inspection results of files.

        Args:
            folder: Path of the files' folder.
            keys: Current key of each file, by name.

        Returns:
            Results recorded under exactly these keys, by name; unknown and changed files are absent.
        """
        query = f"SELECT {_COLUMNS} FROM file WHERE folder = ? AND name = ?"  # noqa: S608
        results: dict[bytes, CachedInspection] = {}
        try:
            cursor = self._open().cursor()
            for name, key in keys.items():
                row = cursor.execute(query, (folder, name)).fetchone()
                if row is not None and row[:3] == key:
                    results[name] = CachedInspection(_result_of(row), bool(row[-1]))
        except sqlite3.Error as error:
            self._give_up(error)
        return results

    def put(self, folder: bytes, results: Iterable[tuple[bytes, StatKey, CachedInspection]]) -> None:
        """
        Store results under (folder, name, key), replacing earlier results of the same name.

        A file whose times exceed SQLite's integers (after 2262) is skipped.
        """
        rows = [
            (folder, name, *key, *_cells(cached.result), cached.settled)
            for name, key, cached in results
            if all(-_INTEGER_LIMIT <= number < _INTEGER_LIMIT for number in key)
        ]
        statement = f"INSERT OR REPLACE INTO file (folder, name, {_COLUMNS}) VALUES ({'?,' * 11}?)"  # noqa: S608
        try:
            with self._open() as connection:
                connection.executemany(statement, rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def delete(self, folder: bytes, names: Iterable[bytes]) -> None:
        """Delete the results of files that are gone."""
        try:
            with self._open() as connection:
                connection.executemany(
                    "DELETE FROM file WHERE folder = ? AND name = ?", [(folder, name) for name in names]
                )
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the database. Harmless if it was never opened."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._open_file() if self._path is not None else _prepare(":memory:")
        return self._connection

    def _open_file(self) -> sqlite3.Connection:
        assert self._path is not None
        try:
            make_folders(os.path.dirname(self._path), 0o700)
            return _prepare_file(self._path)
        except OSError as error:
            self._warn(error)
        except sqlite3.OperationalError as error:
            # Locked, read-only, out of space: the file may well be sound, so keep it.
            self._warn(error)
        except sqlite3.DatabaseError as error:
            _log.warn("The inspection cache is damaged; it is recreated: {error}", error=error)
            return self._replace()
        return _prepare(":memory:")

    def _warn(self, error: Exception) -> None:
        """Log that results will not survive a restart."""
        _log.warn(
            "The state in {path} cannot be used ({error}). Results of inspections are kept in memory only,"
            " and every restart reads all files again; repair it, or choose another folder with --state.",
            path=self._path,
            error=getattr(error, "strerror", None) or str(error),
        )

    def _replace(self) -> sqlite3.Connection:
        assert self._path is not None
        try:
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path + suffix)
            return _prepare_file(self._path)
        except (OSError, sqlite3.Error) as error:
            self._warn(error)
            return _prepare(":memory:")

    def _give_up(self, error: sqlite3.Error) -> None:
        """After an error, replace a damaged database, or continue in memory: no request may fail for it."""
        self.close()
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if damaged and self._path is not None:
            _log.warn("The inspection cache is damaged; it is recreated: {error}", error=error)
            self._connection = self._replace()
        else:
            self._warn(error)
            self._connection = _prepare(":memory:")


def _prepare_file(path: str) -> sqlite3.Connection:
    # SQLite gives the files beside it to the owner of this one.
    make_file(path)
    return _prepare(path)


def _prepare(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # A lost last second costs a few inspections; a flush for each result costs much more.
        connection.execute("PRAGMA synchronous = NORMAL")
        with connection:
            if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
                connection.execute("DROP TABLE IF EXISTS file")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _result_of(row: tuple[int | str | None, ...]) -> InspectionResult:
    sha256, metadata_sha256, requires_python, proven, reason, advice = row[3:-1]
    if sha256 is None:
        return Rejection(reason=str(reason), advice=str(advice))
    return FileFacts(
        sha256=str(sha256),
        metadata_sha256=None if metadata_sha256 is None else str(metadata_sha256),
        requires_python=None if requires_python is None else str(requires_python),
        verified=bool(proven),
    )


def _cells(result: InspectionResult) -> tuple[str | bool | None, ...]:
    if isinstance(result, FileFacts):
        return (
            result.sha256,
            result.metadata_sha256,
            result.requires_python,
            result.verified,
            None,
            None,
        )
    return (None, None, None, False, result.reason, result.advice)
