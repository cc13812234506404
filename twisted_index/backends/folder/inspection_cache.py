"""
Cache of inspection results across restarts: digest, metadata, or why a file is rejected.

Deleting it costs only time. So a failure of the database (damage, another version, a full disk, a held
lock) loses entries and raises no error.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.layout.facts import FileFacts, InspectionResult, Rejection, StatKey
from twisted_index.files.cache_database import CacheDatabase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Increment on every change of the table or of the rules of inspection, so that files inspected
#: under the old rules are inspected again.
SCHEMA_VERSION = 3
_SCHEMA = """
    CREATE TABLE file (
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
        self._database = CacheDatabase(
            path,
            version=SCHEMA_VERSION,
            make_tables=_make_tables,
            contents="Results of inspections are",
        )

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
            cursor = self._database.open().cursor()
            for name, key in keys.items():
                row = cursor.execute(query, (folder, name)).fetchone()
                if row is not None and row[:3] == key:
                    results[name] = CachedInspection(_result_of(row), bool(row[-1]))
        except sqlite3.Error as error:
            self._database.begin_anew(error)
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
            with self._database.open() as connection:
                connection.executemany(statement, rows)
        except sqlite3.Error as error:
            self._database.begin_anew(error)

    def delete(self, folder: bytes, names: Iterable[bytes]) -> None:
        """Delete the results of files that are gone."""
        try:
            with self._database.open() as connection:
                connection.executemany(
                    "DELETE FROM file WHERE folder = ? AND name = ?", [(folder, name) for name in names]
                )
        except sqlite3.Error as error:
            self._database.begin_anew(error)

    def close(self) -> None:
        """Close the database, if it was opened."""
        self._database.close()


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute(_SCHEMA)


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
