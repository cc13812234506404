"""The `.copies` file of a project: what is read from it, added to it and removed."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.properties import examples
from twisted_index.backends.folder import copies
from twisted_index.simple.manifest import InvalidLine, ManifestLine

from .cutting import cut_after

SINCE = datetime(2026, 11, 1, 10, tzinfo=UTC)
SHA256 = "0123456789abcdef" * 4
WHEEL = "demo-1.0-py3-none-any.whl"
SDIST = "demo-1.0.tar.gz"


def line(name: str, sha256: str = SHA256, size: int = 7) -> ManifestLine:
    return ManifestLine(name=name, sha256=sha256, size=size, time=SINCE, note=f"https://index.example/{name}")


def record(folder: Path, *lines: ManifestLine) -> None:
    copies.record(os.fsencode(folder.parent), os.fsencode(folder), lines)


def forget(folder: Path, *names: str) -> None:
    copies.forget(os.fsencode(folder.parent), os.fsencode(folder), names)


def read(folder: Path) -> dict[str, ManifestLine]:
    return copies.read(os.fsencode(folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    folder.mkdir()
    return folder


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / ".copies"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_what_is_recorded_is_read_by_name(folder: Path):
    assert read(folder) == {}
    lines = [
        line(WHEEL),
        line(SDIST),
        line(f"{WHEEL}.yanked"),
        line(f"{SDIST}.provenance"),
        line(".archived"),
    ]
    record(folder, *lines[:2])
    record(folder, *lines[2:])
    assert read(folder) == {each.name: each for each in lines}
    assert os.listdir(folder) == [".copies"]


def test_a_later_line_replaces_an_earlier_one(folder: Path):
    record(folder, line(WHEEL), line(SDIST))
    record(folder, line(WHEEL, "f" * 64, 8))
    assert read(folder)[WHEEL] == line(WHEEL, "f" * 64, 8)
    assert read(folder)[SDIST] == line(SDIST)


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_what_hands_and_crashes_leave_is_passed_over(folder: Path, ending: str):
    last = f"{SHA256}  7  2026-11-01T10:00:00Z  {SDIST}  by hand"
    write(
        folder,
        f"# ours\n\nwhat?\n\0{SHA256[1:]}  7  2026-11-01T10:00:00Z  {WHEEL}\n{SHA256}  7\n{last}{ending}",
    )
    assert list(read(folder)) == [SDIST]
    record(folder, line(WHEEL))
    assert list(read(folder)) == [SDIST, WHEEL]


def test_names_of_other_hidden_files_are_not_recorded(folder: Path):
    for name in (".claimed", ".deleted", ".archived2", "../demo-1.0.tar.gz", "demo/demo-1.0.tar.gz"):
        with pytest.raises(InvalidLine):
            record(folder, line(name))
    assert read(folder) == {}


def test_what_is_forgotten_has_no_line_and_all_else_stays(folder: Path):
    write(folder, "# ours\r\nwhat?\n")
    record(folder, line(WHEEL), line(SDIST), line(".archived"), line(WHEEL, "f" * 64))
    forget(folder, WHEEL, ".archived", "demo-2.0.tar.gz")
    assert read(folder) == {SDIST: line(SDIST)}
    assert (folder / ".copies").read_bytes().startswith(b"# ours\r\nwhat?\n")


def test_the_file_goes_with_its_last_line(folder: Path):
    record(folder, line(WHEEL))
    forget(folder, SDIST)
    assert read(folder) == {WHEEL: line(WHEEL)}
    forget(folder, WHEEL)
    assert os.listdir(folder) == []
    forget(folder, WHEEL)


def test_a_new_line_changes_the_folder_so_that_its_page_is_read_again(folder: Path):
    record(folder, line(WHEEL))
    os.utime(folder, (0, 0))
    record(folder, line(SDIST))
    assert folder.stat().st_mtime_ns > 0


@pytest.mark.parametrize("kind", ["link", "folder", "fifo", "large"])
def test_what_is_no_plain_file_of_bounded_size_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    path = folder / ".copies"
    if kind == "link":
        path.symlink_to(folder.parent / "elsewhere")
        (folder.parent / "elsewhere").write_text("")
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        record(folder, line(WHEEL))
        monkeypatch.setattr(copies, "MAX_COPIES", 20)
    with pytest.raises(OSError, match=r".+"):
        read(folder)
    with pytest.raises(OSError, match=r".+"):
        record(folder, line(SDIST))
    with pytest.raises(OSError, match=r".+"):
        forget(folder, WHEEL)


def test_a_process_may_end_at_any_call(tmp_path: Path):
    """Killed at each call in turn: earlier lines stay whole, and the next run records what is missing."""
    calls, done = 0, False
    while not done:
        folder = tmp_path / str(calls) / "demo"
        folder.mkdir(parents=True)
        record(folder, line(SDIST), line(f"{SDIST}.asc"))
        with cut_after(calls) as count:
            record(folder, line(WHEEL), line(f"{WHEEL}.yanked"))
            forget(folder, f"{SDIST}.asc")
        done = count() < calls
        assert read(folder)[SDIST] == line(SDIST)
        record(folder, line(WHEEL), line(f"{WHEEL}.yanked"))
        forget(folder, f"{SDIST}.asc")
        assert read(folder) == {each.name: each for each in map(line, (SDIST, WHEEL, f"{WHEEL}.yanked"))}
        calls += 1
    assert calls > 5


@examples(100)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_and_keep_no_line_from_being_recorded(
    tmp_path_factory: pytest.TempPathFactory, text: bytes
):
    folder = tmp_path_factory.mktemp("any") / "demo"
    folder.mkdir()
    write(folder, text)
    before = read(folder)
    record(folder, line(WHEEL))
    assert read(folder) == {**before, WHEEL: line(WHEEL)}
    forget(folder, WHEEL)
    assert read(folder) == before
