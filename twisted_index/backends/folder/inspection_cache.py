"""
Cache of inspection results across restarts: digest, metadata, or why a file is rejected.

Deleting it costs only time. So any trouble with it (damage, another version, a full disk, a held lock)
loses entries and never fails.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_log = Logger()

#: Raised with every change of the table or of the rules by which a file is read, so that what
#: was learned by other rules is learned anew.
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
#: Seconds that another process may hold the write lock before this one goes without.
_BUSY_SECONDS = 2.0
#: SQLite's integers have 64 bits.
_BEYOND = 1 << 63


class StatKey(NamedTuple):
    """
    What must be equal for a file's bytes to count as the same: bytes and nanoseconds.

    The change time is there because the modification time can be set to anything
    (`tar -x`, `cp -p`, `touch -r`), and it cannot.
    """

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def from_stat(cls, status: os.stat_result) -> StatKey:
        """Take the key out of what `stat` said."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """
    What a good file says of itself.

    Attributes:
        sha256: Of the whole file, lower-case hex.
        metadata_sha256: Of its METADATA document; None for an sdist, and for a wheel in which that
            is not UTF-8, so that it is not offered.
        requires_python: A valid specifier set, or None.
        verified: Whether the checksum of every member has been compared.
    """

    sha256: str
    metadata_sha256: str | None = None
    requires_python: str | None = None
    verified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """
    Why a file is not listed, and what to do: a sentence each.

    Attributes:
        reason: What is wrong with it.
        advice: What to do.
        permanent: False if it may be otherwise in a moment with the file unchanged: the disk failed,
            or the file was being written.
    """

    reason: str
    advice: str
    permanent: bool = True


InspectionResult: TypeAlias = FileFacts | Rejection


class CachedInspection(NamedTuple):
    """
    A finding, and how far it can be trusted.

    Attributes:
        result: What was found.
        settled: False if it has to be found again before it counts, since the file was so young
            that it might have changed without a trace.
    """

    result: InspectionResult
    settled: bool = True


class InspectionCache:
    """
    Findings by (folder, name, key). All methods block: call them in one thread, always the same.

    Args:
        path: The database file; None keeps it in memory. Its folder is made if need be.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def get(self, folder: bytes, keys: Mapping[bytes, StatKey]) -> dict[bytes, CachedInspection]:
        """
        Look up what is known of files.

        Args:
            folder: Their folder's path.
            keys: File names, and the key that each has now.

        Returns:
            What was learned under just these keys; a file that is unknown or has changed is absent.
        """
        query = f"SELECT {_COLUMNS} FROM file WHERE folder = ? AND name = ?"  # noqa: S608
        found: dict[bytes, CachedInspection] = {}
        try:
            cursor = self._open().cursor()
            for name, key in keys.items():
                row = cursor.execute(query, (folder, name)).fetchone()
                if row is not None and row[:3] == key:
                    found[name] = CachedInspection(_finding(row), bool(row[-1]))
        except sqlite3.Error as error:
            self._give_up(error)
        return found

    def put(self, folder: bytes, findings: Iterable[tuple[bytes, StatKey, CachedInspection]]) -> None:
        """
        Keep what was learned, each under (folder, name, key), in place of what was of the same name.

        A file dated where SQLite has no numbers (after 2262) is not kept, and keeps no other from it.
        """
        rows = [
            (folder, name, *key, *_cells(learned.result), learned.settled)
            for name, key, learned in findings
            if all(-_BEYOND <= number < _BEYOND for number in key)
        ]
        statement = f"INSERT OR REPLACE INTO file (folder, name, {_COLUMNS}) VALUES ({'?,' * 11}?)"  # noqa: S608
        try:
            with self._open() as connection:
                connection.executemany(statement, rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def delete(self, folder: bytes, names: Iterable[bytes]) -> None:
        """Drop what is known of files that are gone."""
        try:
            with self._open() as connection:
                connection.executemany(
                    "DELETE FROM file WHERE folder = ? AND name = ?", [(folder, name) for name in names]
                )
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        """Let go of the database. Harmless if it was never opened."""
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
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            return _prepare(self._path)
        except OSError as error:
            self._warn(error)
        except sqlite3.OperationalError as error:
            # Locked, read-only, out of space: the file may well be sound, so it stays.
            self._warn(error)
        except sqlite3.DatabaseError as error:
            _log.warn("The ledger is damaged and is made anew: {error}", error=error)
            return self._replace()
        return _prepare(":memory:")

    def _warn(self, error: Exception) -> None:
        """Say that what is learned will not last."""
        _log.warn(
            "The state in {path} cannot be used ({error}). What is learned about files is kept in memory, "
            "and a restart reads them all anew; mend it, or name another folder by --state.",
            path=self._path,
            error=getattr(error, "strerror", None) or str(error),
        )

    def _replace(self) -> sqlite3.Connection:
        assert self._path is not None
        try:
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path + suffix)
            return _prepare(self._path)
        except (OSError, sqlite3.Error) as error:
            self._warn(error)
            return _prepare(":memory:")

    def _give_up(self, error: sqlite3.Error) -> None:
        """Go on without the file: after an error in the middle, nothing in it is worth a request."""
        self.close()
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if damaged and self._path is not None:
            _log.warn("The ledger is damaged and is made anew: {error}", error=error)
            self._connection = self._replace()
        else:
            self._warn(error)
            self._connection = _prepare(":memory:")


def _prepare(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # A lost last second costs a few readings; a flush for each finding costs much more.
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


def _finding(row: tuple[int | str | None, ...]) -> InspectionResult:
    sha256, metadata_sha256, requires_python, proven, reason, advice = row[3:-1]
    if sha256 is None:
        return Rejection(reason=str(reason), advice=str(advice))
    return FileFacts(
        sha256=str(sha256),
        metadata_sha256=None if metadata_sha256 is None else str(metadata_sha256),
        requires_python=None if requires_python is None else str(requires_python),
        verified=bool(proven),
    )


def _cells(finding: InspectionResult) -> tuple[str | bool | None, ...]:
    if isinstance(finding, FileFacts):
        return (
            finding.sha256,
            finding.metadata_sha256,
            finding.requires_python,
            finding.verified,
            None,
            None,
        )
    return (None, None, None, False, finding.reason, finding.advice)
