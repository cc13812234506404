"""Yanking, deleting and project statuses, as the next answer of the source shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.at_once import answer
from tests.kit.folder_store import Shop
from twisted_index.backends.folder import manifest_file, markers
from twisted_index.errors import BadRequest, Conflict, NotFound, Unavailable
from twisted_index.interfaces import AuditQuery
from twisted_index.simple.manifest import find_names, parse_line
from twisted_index.simple.model import ProjectStatus, Sidecar, Status, Yanked
from twisted_index.testing import make_sdist, make_wheel

WHEEL = make_wheel("demo", "1.0")
SDIST = make_sdist("demo", "1.0.0")
LATER = make_wheel("demo", "2.0")


@pytest.fixture
def full(shop: Shop) -> Shop:
    for made in (WHEEL, SDIST, LATER):
        shop.publish(made)
    return shop


def names_in(folder: Path) -> list[str]:
    """The names that the tombstones of a folder take."""
    return [name.decode() for name in find_names((folder / ".deleted").read_bytes())]


def yanked(shop: Shop) -> dict[str, str]:
    page = shop.page()
    assert page is not None
    return {file.filename: file.yanked.reason for file in page.files if file.yanked is not None}


# -- Yanking


def test_a_file_is_yanked_and_taken_back(full: Shop):
    assert full.do("yank", "demo", filename=WHEEL.filename, reason="it is\nbroken") == (WHEEL.filename,)
    assert full.file(WHEEL.filename).yanked == Yanked(reason="it is broken")
    assert (full.path / "demo" / f"{WHEEL.filename}.yanked").read_text() == "it is broken\n"

    assert full.do("unyank", "demo", filename=WHEEL.filename) == (WHEEL.filename,)
    assert yanked(full) == {}


def test_a_release_is_yanked_however_its_version_is_spelled(full: Shop):
    names = full.do("yank", "demo", version="1", reason="why")
    assert set(names) == {WHEEL.filename, SDIST.filename}
    assert yanked(full) == dict.fromkeys(names, "why")
    assert set(full.do("unyank", "demo", version="1.0.0.0")) == set(names)
    assert yanked(full) == {}


def test_a_new_reason_takes_the_place_of_the_old_one_everywhere(tmp_path: Path, open_shop):
    WHEEL.write_to(tmp_path / "second" / "demo")
    shop = open_shop(tmp_path / "first", tmp_path / "second")
    (tmp_path / "first" / f"{WHEEL.filename}.yanked").write_text("an old reason")
    shop.do("yank", "demo", filename=WHEEL.filename, reason="")
    assert yanked(shop) == {WHEEL.filename: ""}
    shop.do("unyank", "demo", filename=WHEEL.filename)
    assert yanked(shop) == {}


def test_the_first_folder_marks_what_lies_where_nothing_may_be_written(
    tmp_path: Path, open_shop, monkeypatch: pytest.MonkeyPatch
):
    WHEEL.write_to(tmp_path / "second" / "demo")
    shop = open_shop(tmp_path / "first", tmp_path / "second")
    monkeypatch.setattr(markers, "_writable", lambda folder: b"/first" in folder)
    shop.do("yank", "demo", version="1.0", reason="why")
    assert yanked(shop) == {WHEEL.filename: "why"}
    assert shop.tree() == [f"demo/{WHEEL.filename}.yanked"]


@pytest.mark.parametrize("action", ["yank", "unyank"])
@pytest.mark.parametrize(
    "which", [{"version": "9"}, {"filename": "demo-9-py3-none-any.whl"}, {"filename": "x"}]
)
def test_what_is_not_there_is_not_yanked(full: Shop, action: str, which: dict[str, str]):
    with pytest.raises(NotFound):
        full.do(action, "demo", **which)


def test_a_whole_project_is_not_yanked_by_accident(full: Shop):
    with pytest.raises(BadRequest):
        full.do("yank", "demo")


# -- Deleting


def test_a_deleted_file_is_gone_with_all_that_spoke_of_it(shop: Shop):
    shop.publish(WHEEL, signature=b"signed")
    (shop.path / "demo" / f"{WHEEL.filename}.provenance").write_text("{}")
    shop.do("yank", "demo", version="1.0")

    shop.do("delete", "demo", WHEEL.filename)

    assert shop.files() == {}
    assert shop.read(WHEEL.filename) is None
    assert shop.read(WHEEL.filename, Sidecar.SIGNATURE) is None
    assert shop.tree() == ["demo/.deleted"]
    line = parse_line((shop.path / "demo" / ".deleted").read_bytes())
    assert (line.name, line.size, line.note) == (WHEEL.filename, WHEEL.size, "by alice")
    with pytest.raises(Conflict, match="stays taken"):
        shop.publish(make_wheel("demo", "1.0", files={"demo/other.py": ""}))


def test_it_is_deleted_in_every_root_and_spelling(tmp_path: Path, open_shop):
    WHEEL.write_to(tmp_path / "first")
    other = make_wheel("Demo", "1", files={"demo/x.py": ""}, filename="Demo-1.0.0-py3-none-any.whl")
    other.write_to(tmp_path / "second" / "Demo")
    shop = open_shop(tmp_path / "first", tmp_path / "second")
    shop.do("delete", "demo", WHEEL.filename)
    assert shop.files() == {}
    assert shop.tree() == ["demo/.deleted"]
    assert names_in(tmp_path / "first" / "demo") == [WHEEL.filename]
    assert [path.name for path in (tmp_path / "second" / "Demo").iterdir()] == [".deleted"]
    assert names_in(tmp_path / "second" / "Demo") == [other.filename]


def test_where_a_root_may_not_be_changed_nothing_is_deleted(
    tmp_path: Path, open_shop, monkeypatch: pytest.MonkeyPatch
):
    WHEEL.write_to(tmp_path / "first" / "demo")
    WHEEL.write_to(tmp_path / "second" / "demo")
    shop = open_shop(tmp_path / "first", tmp_path / "second")
    monkeypatch.setattr(markers, "_writable", lambda folder: b"/first" in folder)
    with pytest.raises(Unavailable, match="nothing was changed"):
        shop.do("delete", "demo", WHEEL.filename)
    assert shop.files() == {WHEEL.filename: WHEEL.sha256}
    assert shop.tree() == [f"demo/{WHEEL.filename}"]
    assert shop.events() == []


def test_a_deletion_that_fails_is_taken_back(tmp_path: Path, open_shop, monkeypatch: pytest.MonkeyPatch):
    for root in ("first", "second"):
        WHEEL.write_to(tmp_path / root / "demo")
    shop = open_shop(tmp_path / "first", tmp_path / "second")
    put = manifest_file.write_atomically

    def full_disk(root: bytes, path: bytes, content: bytes) -> None:
        if b"/first" in path:
            raise OSError(28, "No space left on device")
        put(root, path, content)

    monkeypatch.setattr(manifest_file, "write_atomically", full_disk)
    with pytest.raises(Exception, match="no space left"):
        shop.do("delete", "demo", WHEEL.filename)
    assert shop.files() == {WHEEL.filename: WHEEL.sha256}
    assert [path.name for path in (tmp_path / "second" / "demo").iterdir()] == [WHEEL.filename]


def test_what_is_not_there_is_not_deleted(full: Shop):
    full.do("delete", "demo", WHEEL.filename)
    for name in (WHEEL.filename, "demo-9.tar.gz", "../secret"):
        with pytest.raises(NotFound):
            full.do("delete", "demo", name)


# -- Statuses


@pytest.mark.parametrize("flat", [False, True])
def test_a_status_is_set_changed_and_taken_back(shop: Shop, flat: bool):
    WHEEL.write_to(shop.path if flat else shop.path / "demo")
    before = shop.tree()
    for status in (Status.DEPRECATED, Status.QUARANTINED, Status.ARCHIVED, Status.ACTIVE):
        wanted = ProjectStatus(status=status, reason="" if status is Status.ACTIVE else f"why {status.value}")
        shop.do("set_status", "demo", wanted)
        page = shop.page()
        assert page is not None
        assert page.status == wanted
        assert bool(page.files) == (status is not Status.QUARANTINED)
    assert shop.tree() == before
    assert (shop.path / "demo").exists() != flat


def test_a_status_holds_over_what_other_roots_say(tmp_path: Path, open_shop):
    WHEEL.write_to(tmp_path / "second" / "demo")
    (tmp_path / "second" / "demo" / ".quarantined").write_text("stolen")
    shop = open_shop(tmp_path / "first", tmp_path / "second")
    shop.do("set_status", "demo", ProjectStatus(status=Status.DEPRECATED))
    page = shop.page()
    assert page is not None
    assert page.status == ProjectStatus(status=Status.DEPRECATED)
    assert shop.tree() == ["demo/.deprecated"]


def test_there_is_no_status_without_a_project(shop: Shop):
    with pytest.raises(NotFound):
        shop.do("set_status", "demo", ProjectStatus(status=Status.ARCHIVED))
    assert shop.tree() == []


# -- The history


def test_every_change_is_in_the_history(full: Shop):
    full.do("yank", "demo", version="1.0", reason="why")
    full.do("unyank", "demo", filename=SDIST.filename)
    full.do("set_status", "demo", ProjectStatus(status=Status.ARCHIVED, reason="done"))
    full.do("delete", "demo", LATER.filename, by="bob")

    assert set(full.events()[3:5]) == {("alice", "yank", WHEEL.filename), ("alice", "yank", SDIST.filename)}
    assert full.events()[5:] == [
        ("alice", "unyank", SDIST.filename),
        ("alice", "status", "demo"),
        ("bob", "delete", LATER.filename),
    ]
    assert answer(full.audit_log.search, AuditQuery()).events[1].detail == "archived: done"
