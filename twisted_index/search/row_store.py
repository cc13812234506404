"""
The rows of a directory in SQLite, with a full-text index. Deleting the file costs only time.

Blocking: all calls in one thread. Words are searched by FTS5 where this SQLite has it, else as parts of the
text, without a rank.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twisted_index.files.cache_database import CacheDatabase
from twisted_index.search.row import ProjectRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from twisted_index.search.query import Query

#: Increment on every change of the tables, or of what is read out of files.
_FORMAT = 3
_TABLES = """
    CREATE TABLE project (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, serial INTEGER, uploaded TEXT, row TEXT NOT NULL
    );
    CREATE INDEX by_upload ON project (uploaded DESC, name);
    CREATE TABLE fact (
        kind TEXT NOT NULL, value TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (kind, value, name)
    ) WITHOUT ROWID;
    CREATE INDEX facts_of ON fact (name);
"""
_TEXT = "CREATE VIRTUAL TABLE words USING fts5(name, summary, keywords, tokenize = 'unicode61')"
_PLAIN_TEXT = "CREATE TABLE words (rowid INTEGER PRIMARY KEY, name TEXT, summary TEXT, keywords TEXT)"
#: The weights of the three columns.
_RANKED = """
    SELECT project.name FROM words JOIN project ON project.id = words.rowid
    WHERE words MATCH ? ORDER BY bm25(words, 8.0, 4.0, 2.0), project.name
"""
_IMPORT, _REQUIRES = "import", "requires"


class RowStore:
    """
    The rows of one index.

    Args:
        path: The file; None keeps the rows in memory.

    Raises:
        sqlite3.Error: From any method but `begin_anew` and `close`; then call the former.
    """

    def __init__(self, path: str | None = None) -> None:
        self._database = CacheDatabase(
            path,
            version=_FORMAT,
            make_tables=_make_tables,
            contents="What the search knows of projects is",
            synchronous="OFF",
        )

    def serials(self) -> dict[str, int | None]:
        """Return the serial of each row."""
        return dict(self._database.open().execute("SELECT name, serial FROM project"))

    def files(self) -> dict[str, int]:
        """Return how many files each project has."""
        statement = "SELECT name, json_extract(row, '$.files') FROM project"
        return dict(self._database.open().execute(statement))

    def put(self, row: ProjectRow, serial: int | None) -> None:
        """Keep a row, with the serial of the project when it was read."""
        facts = [(_IMPORT, module.lower(), row.name) for module in row.import_names]
        facts += [(_REQUIRES, name, row.name) for name in row.requires]
        text = (row.name, row.summary, row.keywords)
        uploaded = row.releases[0][1].astimezone(UTC).isoformat() if row.releases else None
        with self._database.open() as connection:
            self._delete(connection, row.name)
            added = connection.execute(
                "INSERT INTO project (name, serial, uploaded, row) VALUES (?, ?, ?, ?)",
                (row.name, serial, uploaded, _write(row)),
            )
            connection.execute(
                "INSERT INTO words (rowid, name, summary, keywords) VALUES (?, ?, ?, ?)",
                (added.lastrowid, *text),
            )
            connection.executemany("INSERT OR IGNORE INTO fact VALUES (?, ?, ?)", facts)

    def delete(self, names: Iterable[str]) -> None:
        """Forget projects that are gone."""
        with self._database.open() as connection:
            for name in names:
                self._delete(connection, name)

    def _delete(self, connection: sqlite3.Connection, name: str) -> None:
        found = connection.execute("SELECT id FROM project WHERE name = ?", (name,)).fetchone()
        if found is not None:
            connection.execute("DELETE FROM words WHERE rowid = ?", found)
            connection.execute("DELETE FROM project WHERE id = ?", found)
            connection.execute("DELETE FROM fact WHERE name = ?", (name,))

    def rows(self, names: Sequence[str]) -> dict[str, ProjectRow]:
        """Return the rows of projects, by name, as far as there are any."""
        found = (self._one("SELECT row FROM project WHERE name = ?", name) for name in names)
        rows = (_read(cells[0]) for cells in found if cells is not None)
        return {row.name: row for row in rows}

    def newest(self) -> list[str]:
        """Return the names of all projects that have releases, that with the latest one first."""
        return self._names("SELECT name FROM project WHERE uploaded IS NOT NULL ORDER BY uploaded DESC, name")

    def importing(self, modules: Iterable[str]) -> dict[str, str]:
        """Return which projects have one of some import names, in lower case, and which is the first."""
        found: dict[str, str] = {}
        for module in modules:
            for name in self._names(_FACTS, _IMPORT, module):
                found.setdefault(name, module)
        return found

    def import_beginning(self, text: str) -> dict[str, str]:
        """Return which projects have an import name that begins so, in lower case, and the first of those."""
        found = self._database.open().execute(_BEGINNING, (_IMPORT, text, text + _LAST))
        return {name: module for module, name in found}

    def requiring(self, project: str) -> list[str]:
        """Return the names of the projects that need one, ascending."""
        return self._names(_FACTS, _REQUIRES, project)

    def matching(self, query: Query) -> list[str]:
        """Return the names of the projects whose texts have all terms, the best first."""
        connection = self._database.open()
        if not query.terms:
            return []
        if _has_ranks(connection):
            return [name for (name,) in connection.execute(_RANKED, (_match(query),))]
        text = "' ' || words.name || ' ' || words.summary || ' ' || words.keywords"
        tests = " AND ".join(f"instr(lower({text}), ?)" for _term in query.terms)
        joined = "SELECT project.name FROM words JOIN project ON project.id = words.rowid"
        return self._names(f"{joined} WHERE {tests} ORDER BY project.name", *query.terms)

    def _names(self, statement: str, *values: str) -> list[str]:
        return [name for (name,) in self._database.open().execute(statement, values)]

    def _one(self, statement: str, *values: str) -> Sequence[Any] | None:
        found: Sequence[Any] | None = self._database.open().execute(statement, values).fetchone()
        return found

    def begin_anew(self, error: sqlite3.Error) -> None:
        """Forget all rows after an error, so that no second call fails for the same."""
        self._database.begin_anew(error)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        self._database.close()


#: Comes after every text, as SQLite compares them, that can follow the beginning of an import name.
_LAST = "\U0010ffff"
_BEGINNING = "SELECT value, name FROM fact WHERE kind = ? AND value >= ? AND value < ? ORDER BY value DESC"
_FACTS = "SELECT name FROM fact WHERE kind = ? AND value = ? ORDER BY name"


def _make_tables(connection: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";"):
        connection.execute(statement)
    try:
        connection.execute(_TEXT)
    except sqlite3.OperationalError:
        connection.execute(_PLAIN_TEXT)


def _has_ranks(connection: sqlite3.Connection) -> bool:
    made = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'words'").fetchone()[0]
    return "VIRTUAL" in str(made)


def _match(query: Query) -> str:
    """Write terms as strings of FTS5, in which nothing but the quote means anything."""
    quoted = ['"' + term.replace('"', '""') + '"' for term in query.terms]
    return " ".join(quoted) + ("" if query.whole or len(query.terms[-1]) < 2 else " *")


def _write(row: ProjectRow) -> str:
    cells = asdict(row)
    cells["uploaded"] = None if row.uploaded is None else row.uploaded.isoformat()
    cells["releases"] = [(version, time.isoformat()) for version, time in row.releases]
    return json.dumps(cells, separators=(",", ":"))


def _read(text: str) -> ProjectRow:
    cells: Mapping[str, Any] = json.loads(text)
    uploaded = cells["uploaded"]
    changed = {
        "import_names": tuple(cells["import_names"]),
        "requires": tuple(cells["requires"]),
        "releases": tuple((version, datetime.fromisoformat(time)) for version, time in cells["releases"]),
        "uploaded": None if uploaded is None else datetime.fromisoformat(uploaded),
    }
    return ProjectRow(**{**cells, **changed})
