"""What can be learned again is kept in a file where that works, and in memory where it does not."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
from pathlib import Path

import pytest
from twisted.logger import capturedLogs, formatEvent

from twisted_index.files.cache_database import CacheDatabase


def database(path: Path | None, version: int = 1) -> CacheDatabase:
    return CacheDatabase(
        None if path is None else str(path), version=version, make_tables=make_tables, contents="Words are"
    )


def make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE word (text)")


def put(kept: CacheDatabase, word: str) -> None:
    with kept.open() as connection:
        connection.execute("INSERT INTO word VALUES (?)", (word,))


def words(kept: CacheDatabase) -> list[str]:
    with contextlib.closing(kept):
        return [word for (word,) in kept.open().execute("SELECT text FROM word")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "words.sqlite"


def test_what_was_put_is_there_after_a_restart(path: Path):
    kept = database(path)
    put(kept, "one")
    kept.close()
    assert words(database(path)) == ["one"]
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("version", [1, 3])
def test_another_version_begins_anew(path: Path, version: int):
    kept = database(path, version)
    put(kept, "one")
    kept.close()
    assert words(database(path, 2)) == []
    assert words(database(path, 2)) == []


def test_damage_begins_anew(path: Path):
    path.parent.mkdir()
    path.write_bytes(b"no database" * 1000)
    put(kept := database(path), "one")
    kept.close()
    assert words(database(path)) == ["one"]


def test_damage_that_shows_later_begins_anew(path: Path):
    put(kept := database(path), "one")
    kept.begin_anew(sqlite3.DatabaseError("malformed"))
    put(kept, "two")
    kept.close()
    assert words(database(path)) == ["two"]


def test_a_file_that_another_process_holds_is_left(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("twisted_index.files.cache_database._BUSY_SECONDS", 0.0)
    put(kept := database(path), "one")
    kept.begin_anew(sqlite3.OperationalError("database is locked"))
    put(kept, "two")
    assert words(kept) == ["two"]
    assert words(database(path)) == ["one"]


def test_a_folder_that_cannot_be_made_leaves_memory(tmp_path: Path):
    (tmp_path / "state").write_bytes(b"")
    with capturedLogs() as events:
        kept = database(tmp_path / "state" / "words.sqlite")
        put(kept, "one")
    assert "Words are kept in memory only" in formatEvent(events[0])
    assert words(kept) == ["one"]


def test_a_start_that_is_cut_off_leaves_a_file_that_can_be_begun(path: Path):
    def end(connection: sqlite3.Connection) -> None:
        make_tables(connection)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CacheDatabase(str(path), version=1, make_tables=end, contents="Words are").open()
    assert words(database(path)) == []


def test_a_file_that_may_only_be_read_is_read(path: Path):
    put(kept := database(path), "one")
    kept.close()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert words(database(path)) == ["one"]


def test_what_is_forgotten_is_closed():
    kept = database(None)
    put(kept, "one")
    connection = kept.open()
    del kept
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
