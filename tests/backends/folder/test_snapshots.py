"""Snapshots: the files that an index had, whatever became of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.at_once import answer
from tests.kit.history import DAY, Past, rendered
from twisted_index.backends.folder.dated import DatedFolder, InSnapshot
from twisted_index.backends.folder.snapshots import (
    IndexSnapshot,
    held_names,
    read_snapshot,
    snapshots_in,
    taken_at,
    write_snapshot,
)
from twisted_index.errors import Conflict, NotFound, Unavailable
from twisted_index.simple.model import ProjectStatus, Sidecar, Status
from twisted_index.testing import make_sdist, make_wheel

WHEEL, LATER, SDIST = make_wheel("demo", "1.0"), make_wheel("demo", "2.0"), make_sdist("other", "1.0")
#: Other bytes under the name of the first one.
OTHER = make_wheel("demo", "1.0", files={"demo/x.py": ""})


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    past = Past(tmp_path / "packages", keep_deleted=0)
    yield past
    past.close()


def take(past: Past, name: str = "freeze") -> None:
    """Take a snapshot of what is served."""
    snapshot = IndexSnapshot(name, past.now)
    for listed in past.names():
        page = past.page(listed)
        assert page is not None
        project = snapshot.of(listed)
        project.status = page.status
        for file in page.files:
            path = os.fsencode(past.path / listed / file.filename)
            project.files[path] = file.hashes["sha256"]
            if file.yanked is not None:
                project.yanked[path] = file.yanked.reason
    write_snapshot(os.fsencode(past.path), snapshot)
    past.pass_time()


def view(past: Past, name: str = "freeze") -> DatedFolder:
    return DatedFolder(past.past, InSnapshot(os.fsencode(past.path), name, "", past.source.reader))


def page_in(past: Past, project: str = "demo", name: str = "freeze") -> Any:
    return answer(view(past, name).project_page, project).value


def verify(past: Past) -> int:
    """What sha256sum says of it."""
    if shutil.which("sha256sum") is None:
        pytest.skip("there is no sha256sum here")
    command = ["sha256sum", "-c", "--strict", ".snapshots/freeze"]
    return subprocess.run(command, cwd=past.path, capture_output=True, check=False).returncode


def test_a_snapshot_serves_what_there_was(past: Past):
    past.publish(WHEEL)
    past.publish(SDIST)
    past.do("yank", "demo", filename=WHEEL.filename, reason="it is broken")
    past.do("set_status", "other", ProjectStatus(status=Status.DEPRECATED, reason="use demo"))
    served = {name: rendered(past.page(name)) for name in ("demo", "other")}
    take(past)
    assert verify(past) == 0

    past.publish(LATER)
    past.do("unyank", "demo", filename=WHEEL.filename)
    past.do("set_status", "other", ProjectStatus())
    past.publish(make_wheel("third", "1.0"))

    assert {name: rendered(page_in(past, name)) for name in ("demo", "other")} == served
    assert page_in(past, "third") is None
    assert answer(view(past).project_list).value.names == ("demo", "other")
    assert answer(view(past).open_file, "demo", LATER.filename) is None


def test_what_a_snapshot_names_is_kept_when_it_is_deleted(past: Past):
    past.publish(WHEEL)
    past.publish(LATER)
    take(past)
    served = rendered(page_in(past))
    past.do("delete", "demo", WHEEL.filename)
    past.pass_time(1000 * DAY)

    assert past.page().versions == ("2.0",)
    assert past.page_at(past.now).versions == ("2.0",)
    assert rendered(page_in(past)) == served
    assert [file.owner for file in page_in(past).files] == [None, ""]
    body = answer(view(past).open_file, "demo", WHEEL.filename)
    with body.content as file:
        assert file.read() == WHEEL.content
    assert verify(past) == 1

    (past.path / ".snapshots" / "freeze").unlink()
    past.publish(make_wheel("demo", "3.0"))
    past.page_at(past.now)
    assert not (past.path / ".deleted").exists()


def test_what_no_snapshot_names_is_not_kept(past: Past):
    past.publish(WHEEL)
    take(past)
    past.publish(LATER)
    past.do("delete", "demo", LATER.filename)

    assert not (past.path / ".deleted").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (
            lambda path: path.write_bytes(make_wheel("demo", "1.0", files={"demo/x.py": ""}).content),
            "has changed",
        ),
        (lambda path: path.write_bytes(b"damaged"), "has changed"),
    ],
)
def test_a_snapshot_without_one_of_its_files_is_unavailable_and_says_which(
    past: Past, change: Any, said: str
):
    past.publish(WHEEL)
    past.publish(LATER)
    past.publish(SDIST)
    take(past)
    change(past.path / "demo" / WHEEL.filename)
    past.pass_time()

    with pytest.raises(Unavailable, match=f"freeze names demo/{WHEEL.filename}, which {said}"):
        page_in(past)
    with pytest.raises(Unavailable, match=said):
        answer(view(past).open_file, "demo", LATER.filename)
    assert page_in(past, "other") is not None


def test_documents_beside_files_belong_to_a_snapshot(past: Past):
    past.publish(WHEEL)
    beside = past.path / "demo" / f"{WHEEL.filename}.asc"
    beside.write_bytes(b"signed")
    past.pass_time()
    digest = hashlib.sha256(b"signed").hexdigest()
    take(past)
    with open(past.path / ".snapshots" / "freeze", "a") as file:
        file.write(f"{digest}  demo/{beside.name}\n")
    assert page_in(past).files[0].sidecars == {Sidecar.SIGNATURE}
    assert answer(view(past).open_file, "demo", WHEEL.filename, Sidecar.SIGNATURE).content == b"signed"

    beside.write_bytes(b"other!")
    past.pass_time()
    with pytest.raises(Unavailable, match=r"asc, which has changed"):
        answer(view(past).open_file, "demo", WHEEL.filename, Sidecar.SIGNATURE)

    beside.unlink()
    past.pass_time()
    with pytest.raises(Unavailable, match=r"asc, which is missing"):
        page_in(past)


def test_a_snapshot_made_by_hand_counts_too(past: Past):
    past.publish(WHEEL)
    digest = past.page().files[0].hashes["sha256"]
    (past.path / ".snapshots").mkdir()
    (past.path / ".snapshots" / "freeze").write_text(f"{digest.upper()} *./demo/{WHEEL.filename}\r\n\n")

    assert page_in(past).versions == ("1.0",)
    assert verify(past) == 0


@pytest.mark.parametrize(
    "line", ["nonsense", "0" * 64, "\\" + "0" * 64 + "  demo/x", "0" * 64 + "  a\\nb", "abc  demo/x"]
)
def test_a_line_that_is_none_makes_the_snapshot_unavailable(past: Past, line: str):
    past.publish(WHEEL)
    take(past)
    with open(past.path / ".snapshots" / "freeze", "a") as file:
        file.write(line + "\n")

    with pytest.raises(Unavailable, match="Line 3 of the snapshot freeze"):
        page_in(past)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "../elsewhere/secret-1.0.tar.gz"])
def test_a_line_opens_nothing_that_is_not_served(past: Past, path: str):
    past.publish(WHEEL)
    take(past)
    with open(past.path / ".snapshots" / "freeze", "a") as file:
        file.write("0" * 64 + f"  {path}\n")

    snapshot = read_snapshot(os.fsencode(past.path), "freeze")
    for project in snapshot.projects.keys() - {"demo"}:
        with pytest.raises(Unavailable, match="is missing"):
            page_in(past, project)


def test_a_link_is_no_snapshot(past: Past, tmp_path: Path):
    (past.path / ".snapshots").mkdir()
    (tmp_path / "secret").write_text("secret")
    (past.path / ".snapshots" / "freeze").symlink_to(tmp_path / "secret")

    with pytest.raises(Unavailable) as caught:
        read_snapshot(os.fsencode(past.path), "freeze")
    assert "secret" not in caught.value.message
    assert snapshots_in(os.fsencode(past.path)) == []


def test_a_snapshot_that_is_not_there_is_not_found(past: Past):
    with pytest.raises(NotFound, match="no snapshot freeze"):
        page_in(past)


def test_a_snapshot_is_not_taken_twice(past: Past):
    past.publish(WHEEL)
    take(past)
    with pytest.raises(Conflict):
        take(past)


def test_another_snapshot_of_the_name_is_served_at_once(past: Past):
    past.publish(WHEEL)
    take(past)
    look = view(past)
    before = answer(look.project_page, "demo")
    past.publish(LATER)
    (past.path / ".snapshots" / "freeze").unlink()
    take(past)

    assert not before.is_current()
    assert answer(look.project_page, "demo").value.versions == ("1.0", "2.0")


def test_a_snapshot_says_when_it_was_taken(past: Past):
    past.publish(WHEEL)
    now = past.now
    take(past)
    assert taken_at(os.fsencode(past.path), "freeze") == now

    by_hand = past.path / ".snapshots" / "byhand"
    by_hand.write_text("")
    os.utime(by_hand, (1_700_000_000, 1_700_000_000))
    assert taken_at(os.fsencode(past.path), "byhand").timestamp() == 1_700_000_000


def test_a_snapshot_of_a_folder_beside_keeps_files_too(past: Past, tmp_path: Path):
    past.publish(WHEEL)
    past.publish(LATER)
    (tmp_path / "dev" / ".snapshots").mkdir(parents=True)
    line = (
        "0" * 64 + f"  ../packages/demo/{WHEEL.filename}\n" + "0" * 64 + f"  ../other/demo/{LATER.filename}\n"
    )
    (tmp_path / "dev" / ".snapshots" / "x").write_text(line)
    root = os.fsencode(past.path)
    names = {os.fsencode(made.filename) for made in (WHEEL, LATER)}

    assert held_names([root], root, names) == {os.fsencode(WHEEL.filename)}
    past.do("delete", "demo", WHEEL.filename)
    past.do("delete", "demo", LATER.filename)
    assert sorted(path.name for path in (past.path / ".deleted" / "demo").iterdir()) == [
        ".kept",
        WHEEL.filename,
    ]
