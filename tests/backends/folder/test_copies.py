"""What the page of a project says of its copies, and when it claims its name nevertheless."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.copies import SOURCE, line_of, place, place_beside, record
from tests.kit.folder_source import Folder
from twisted_index.backends.folder import copies
from twisted_index.backends.folder.inventory import InventoryReader
from twisted_index.backends.layout import project_scan
from twisted_index.files.stamps import StatValidator
from twisted_index.simple.model import ProjectPage, Sidecar, Status, Yanked
from twisted_index.testing import make_sdist, make_wheel

WHEEL = make_wheel("demo", "1.0")
SDIST = make_sdist("demo", "1.0")
OTHER = make_wheel("demo", "1.0", files={"demo/other.py": ""})


def page_of(folder: Folder) -> ProjectPage:
    page = folder.page("demo")
    assert page is not None
    return page


def claims(folder: Folder) -> bool:
    return page_of(folder).claims


def test_a_project_of_copies_is_served_and_does_not_claim_its_name(folder: Folder):
    place(folder.path, WHEEL, SDIST)
    assert not claims(folder)
    assert folder.files("demo") == [WHEEL.filename, SDIST.filename]
    assert folder.read("demo", WHEEL.filename) == WHEEL.content
    assert folder.names() == ("demo",)
    assert folder.problems() == {}


def test_one_file_that_is_not_recorded_claims_for_all(folder: Folder):
    place(folder.path, WHEEL)
    assert not claims(folder)
    SDIST.write_to(folder.path / "demo")
    assert claims(folder)
    assert folder.files("demo") == [WHEEL.filename, SDIST.filename]


@pytest.mark.parametrize(
    "entry", [".claimed", ".deleted", ".archived", f"{WHEEL.filename}.yanked", f"{SDIST.filename}.part"]
)
def test_whatever_else_claims_a_name_does_so_beside_copies(folder: Folder, entry: str):
    place(folder.path, WHEEL)
    (folder.path / "demo" / entry).write_bytes(b"")
    assert claims(folder)


def test_a_file_in_the_root_is_no_copy(folder: Folder):
    WHEEL.write_to(folder.path)
    record(folder.path / "demo", line_of(WHEEL.filename, WHEEL.content))
    (folder.path / ".copies").write_bytes((folder.path / "demo" / ".copies").read_bytes())
    assert claims(folder)
    assert folder.problems() == {".copies": "It is in no project's folder, where it records no copy."}


def test_lines_count_for_the_folder_that_they_lie_in(folder: Folder):
    place(folder.path, WHEEL)
    WHEEL.write_to(folder.path / "Demo")
    assert claims(folder)
    record(folder.path / "Demo", line_of(WHEEL.filename, WHEEL.content))
    assert not claims(folder)


def test_several_roots_may_have_copies(tmp_path: Path, serve: Callable[..., Folder]):
    roots = [tmp_path / "first", tmp_path / "second"]
    place(roots[0], WHEEL)
    place(roots[1], SDIST)
    folder = serve(*roots)
    assert not claims(folder)
    (roots[1] / "demo" / ".copies").unlink()
    assert claims(folder)


def test_lines_without_a_file_make_no_project(folder: Folder):
    record(folder.path / "demo", line_of(WHEEL.filename, WHEEL.content))
    assert folder.page("demo") is None
    assert folder.names() == ()
    assert folder.problems() == {}


# -- What is no copy


def test_other_bytes_than_the_recorded_ones_claim_and_are_reported(folder: Folder):
    record(folder.path / "demo", line_of(WHEEL.filename, WHEEL.content))
    OTHER.write_to(folder.path / "demo")
    assert claims(folder)
    assert folder.problems() == {
        f"demo/{WHEEL.filename}": "It differs from what was recorded as a copy of"
        f" {SOURCE}{WHEEL.filename}; it claims the name."
    }


def test_a_copy_that_is_rewritten_in_place_claims(folder: Folder):
    place(folder.path, WHEEL)
    assert not claims(folder)
    (folder.path / "demo" / WHEEL.filename).write_bytes(OTHER.content)
    folder.later()
    assert claims(folder)


def test_a_damaged_copy_claims(folder: Folder):
    content = WHEEL.content[:-30]
    place_beside(folder.path / "demo", WHEEL.filename, content)
    assert claims(folder)
    assert folder.files("demo") == []


@pytest.mark.parametrize("digest", ["-", "f" * 64])
def test_a_line_without_the_digest_records_no_copy(folder: Folder, digest: str):
    WHEEL.write_to(folder.path / "demo")
    text = f"{digest}  {WHEEL.size}  2026-11-01T10:00:00Z  {WHEEL.filename}\n"
    (folder.path / "demo" / ".copies").write_text(text)
    assert claims(folder)


def test_a_line_without_the_size_or_with_another_one(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    for size, is_claimed in (("-", False), (str(WHEEL.size + 1), True)):
        text = f"{WHEEL.sha256.upper()} {size} 2026-11-01T10:00:00Z {WHEEL.filename} by hand\r\n"
        (folder.path / "demo" / ".copies").write_text(text, newline="")
        folder.later()
        assert claims(folder) is is_claimed


def test_a_link_that_leads_nowhere_claims_though_it_is_recorded(folder: Folder):
    place(folder.path, SDIST)
    record(folder.path / "demo", line_of(WHEEL.filename, WHEEL.content))
    (folder.path / "demo" / WHEEL.filename).symlink_to("nowhere")
    assert claims(folder)


# -- Sidecars and statuses


def test_what_was_placed_beside_a_copy_with_its_digest_does_not_claim(folder: Folder):
    place(folder.path, WHEEL)
    place_beside(folder.path / "demo", f"{WHEEL.filename}.yanked", b"too old\n")
    place_beside(folder.path / "demo", f"{WHEEL.filename}.provenance", b"{}")
    place_beside(folder.path / "demo", ".deprecated", b"use other\n")
    page = page_of(folder)
    assert not page.claims
    assert page.status.status is Status.DEPRECATED
    assert page.files[0].yanked == Yanked(reason="too old")
    assert folder.read("demo", WHEEL.filename, Sidecar.PROVENANCE) == b"{}"


@pytest.mark.parametrize("name", [".deprecated", f"{WHEEL.filename}.yanked", f"{WHEEL.filename}.asc"])
def test_what_an_operator_writes_over_it_claims_and_is_reported(folder: Folder, name: str):
    place(folder.path, WHEEL)
    place_beside(folder.path / "demo", name, b"theirs")
    assert not claims(folder)
    (folder.path / "demo" / name).write_bytes(b"ours")
    folder.later()
    assert claims(folder)
    assert folder.problems() == {
        f"demo/{name}": f"It differs from what was recorded as a copy of {SOURCE}{name}; it claims the name."
    }


def test_a_recorded_tombstone_or_claim_claims_nevertheless(folder: Folder):
    place(folder.path, WHEEL)
    place_beside(folder.path / "demo", f"{SDIST.filename}.deleted", b"")
    assert claims(folder)


# -- The file


@pytest.mark.parametrize("kind", ["link", "folder", "fifo", "large"])
def test_while_it_cannot_be_read_all_files_claim_and_are_served(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, kind: str
):
    place(folder.path, WHEEL)
    path = folder.path / "demo" / ".copies"
    if kind == "large":
        monkeypatch.setattr(project_scan, "MAX_COPIES", 20)
    else:
        path.rename(folder.path.parent / "away")
    if kind == "link":
        path.symlink_to(folder.path.parent / "away")
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    assert claims(folder)
    assert folder.files("demo") == [WHEEL.filename]
    assert list(folder.problems()) == ["demo/.copies"]
    assert "no file here counts as a copy" in folder.problems()["demo/.copies"]


def test_what_is_recorded_and_forgotten_shows_in_the_next_answer(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    SDIST.write_to(folder.path / "demo")
    assert claims(folder)
    record(folder.path / "demo", line_of(WHEEL.filename, WHEEL.content))
    record(folder.path / "demo", line_of(SDIST.filename, SDIST.content))
    assert not claims(folder)
    copies.forget(os.fsencode(folder.path), os.fsencode(folder.path / "demo"), [SDIST.filename])
    assert claims(folder)


def test_lines_by_hand_show_as_soon_as_files_are_looked_at_again(folder: Folder):
    place(folder.path, WHEEL)
    SDIST.write_to(folder.path / "demo")
    assert claims(folder)
    with (folder.path / "demo" / ".copies").open("a") as file:
        file.write(f"{SDIST.sha256}  {SDIST.size}  2026-11-01T10:00:00Z  {SDIST.filename}\n")
    folder.later()
    assert not claims(folder)


def test_it_is_read_again_only_if_it_may_have_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place(tmp_path, WHEEL)
    read = []
    real = project_scan.copies_in
    monkeypatch.setattr(project_scan, "copies_in", lambda blocks: read.append(blocks) or real(blocks))
    later = StatValidator(wall=lambda: time.time() + 60)
    reader = InventoryReader([os.fsencode(tmp_path)], later)
    for _ in range(3):
        assert not reader.read("demo").scan.owned
        (tmp_path / "demo" / WHEEL.filename).touch()
    assert len(read) == 1
    place(tmp_path, SDIST)
    assert not reader.read("demo").scan.owned
    assert len(read) == 2


@pytest.mark.parametrize("name", [".Copies", ".copies "])
def test_a_name_like_it_is_reported(folder: Folder, name: str):
    WHEEL.write_to(folder.path / "demo")
    (folder.path / "demo" / name).touch()
    assert folder.problems() == {f"demo/{name}": "Its name resembles .copies, but has no effect."}


def test_lines_that_cannot_be_understood_are_reported(folder: Folder):
    place(folder.path, WHEEL)
    with (folder.path / "demo" / ".copies").open("a") as file:
        file.write("# ours\n\nwhat?\n")
    place_beside(folder.path / "demo", ".archived", b"")
    assert not claims(folder)
    assert folder.problems() == {
        "demo/.copies": "1 of its lines record nothing, as they cannot be understood; the first is line 4."
    }
