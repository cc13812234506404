"""The `.deleted` file of a project: what it hides, who writes it, and what hands and crashes do to it."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.folder_source import Folder
from tests.kit.folder_store import Shop
from tests.kit.properties import examples
from twisted_index.backends.folder import manifest_file, tombstones
from twisted_index.backends.folder.blocking_store import BlockingStore, retry_while_locked
from twisted_index.backends.folder.inventory import InventoryReader
from twisted_index.backends.folder.manifest_file import read_blocks
from twisted_index.backends.folder.tombstones import unknown_lines
from twisted_index.backends.layout import manifest_blocks, project_scan
from twisted_index.backends.layout.tombstones import MAX_TOMBSTONES, equivalents, find_exact
from twisted_index.errors import Conflict, InsufficientStorage, SimpleIndexError, Unavailable
from twisted_index.files.locks import LockHeld, try_lock
from twisted_index.files.portability import optional_module, write_at
from twisted_index.files.stamps import StatValidator
from twisted_index.simple.manifest import find_names, parse_line
from twisted_index.simple.model import ProjectStatus, Status
from twisted_index.simple.names import InvalidFilename, parse_filename
from twisted_index.testing import make_sdist, make_wheel

from .cutting import Killed, cut_after

WHEEL = make_wheel("demo", "1.0")
SDIST = make_sdist("demo", "1.0")
OTHER_SPELLING = make_wheel("Demo", "1.0", filename="Demo-1.0.0-py3-none-any.whl")
SINCE = "2026-11-01T10:00:00Z"


def line(name: str, note: str = "by hand") -> str:
    return f"-  -  {SINCE}  {name}  {note}\n"


def bury(folder: Path, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".deleted"
    path.write_text("".join(lines), newline="")
    return path


def blocks(path: Path) -> Iterator[bytes]:
    return read_blocks(os.fsencode(path), MAX_TOMBSTONES)


def taken(folder: Path) -> list[str]:
    return [name.decode() for name in find_names((folder / ".deleted").read_bytes())]


# -- What it hides


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_a_named_file_is_hidden_and_its_name_stays_taken(shop: Shop, ending: str):
    for made in (WHEEL, SDIST):
        made.write_to(shop.path / "demo")
    bury(shop.path / "demo", line(SDIST.filename).rstrip() + ending)
    assert set(shop.files()) == {WHEEL.filename}
    assert shop.read(SDIST.filename) is None
    (shop.path / "demo" / SDIST.filename).unlink()
    with pytest.raises(Conflict, match="stays taken"):
        shop.publish(SDIST)


def test_of_a_named_file_the_problems_say_why_it_is_left_out(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    bury(folder.path / "demo", line(WHEEL.filename))
    assert folder.problems() == {
        f"demo/{WHEEL.filename}": "A file of this name was deleted, and its name stays taken."
    }


@pytest.mark.parametrize("name", [WHEEL.filename, OTHER_SPELLING.filename, "demo-01.0-py3-none-any.whl"])
def test_every_spelling_of_the_name_is_taken(shop: Shop, name: str):
    bury(shop.path / "demo", line("demo-0.9.tar.gz"), line(name))
    with pytest.raises(Conflict, match="stays taken"):
        shop.publish(WHEEL)


@pytest.mark.parametrize(
    "text",
    [
        f"# -  -  {SINCE}  {WHEEL.filename}\n",
        f"{WHEEL.filename}\n",
        line("demo-1.0.tar.gz", f"by hand: not {WHEEL.filename}"),
        line(f"x{WHEEL.filename}"),
        line(f"{WHEEL.filename}.asc"),
        f"\0  -  {SINCE}  {WHEEL.filename}  by alice\n",
        f"-  -  {SINCE}  {WHEEL.filename[:-1]}",
    ],
)
def test_what_is_not_named_is_neither_hidden_nor_taken(shop: Shop, text: str):
    path = WHEEL.write_to(shop.path / "demo")
    bury(shop.path / "demo", text)
    assert list(shop.files()) == [WHEEL.filename]
    path.unlink()
    assert shop.publish(WHEEL) is True


def test_it_claims_the_project(folder: Folder):
    bury(folder.path / "demo")
    page = folder.page("demo")
    assert page is not None
    assert page.files == ()
    assert folder.names() == ("demo",)


def test_a_single_file_of_a_tombstone_is_understood_and_not_doubled(shop: Shop):
    WHEEL.write_to(shop.path / "demo")
    (shop.path / "demo" / f"{WHEEL.filename}.deleted").touch()
    assert shop.files() == {}
    shop.do("delete", "demo", WHEEL.filename)
    assert shop.tree() == [f"demo/{WHEEL.filename}.deleted"]
    with pytest.raises(Conflict, match="stays taken"):
        shop.publish(WHEEL)


def test_in_a_flat_root_it_names_nothing_and_is_reported(folder: Folder):
    WHEEL.write_to(folder.path)
    bury(folder.path, line(WHEEL.filename))
    assert folder.files("demo") == [WHEEL.filename]
    assert folder.problems() == {".deleted": "It is in no project's folder, where it takes no name."}


def test_lines_that_cannot_be_understood_are_reported_once_and_hide_nothing(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    bury(folder.path / "demo", "# ours\n", "\n", line("demo-0.1.tar.gz"), "what?\r\n", "\x01\x02\n")
    assert folder.files("demo") == [WHEEL.filename]
    assert folder.problems() == {
        "demo/.deleted": "2 of its lines take no name, as they cannot be understood; the first is line 4."
    }


def test_lines_are_counted_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(manifest_blocks, "_BLOCK", 100)
    path = bury(tmp_path, *(line(f"demo-{number}.tar.gz") for number in range(20)), "?\n" * 3, "# x\n", "!")
    assert unknown_lines(os.fsencode(path)) == (4, 21)
    names = {f"demo-{number}.tar.gz" for number in range(0, 40, 3)}
    assert find_exact(blocks(path), names) == {f"demo-{number}.tar.gz" for number in range(0, 20, 3)}


@pytest.mark.parametrize("number", [1, 30])
def test_a_look_up_keeps_nothing_of_the_file_in_memory(tmp_path: Path, number: int):
    path = bury(tmp_path, *(line(f"demo-{version}.tar.gz", "x" * 100) for version in range(30_000)))
    names = {f"demo-{version}.tar.gz" for version in range(100, 100 + number)}
    tracemalloc.start()
    try:
        assert find_exact(blocks(path), names) == names
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 4


# -- When it shows


def test_a_hand_edit_in_place_shows_once_the_files_are_looked_at_again(folder: Folder):
    for made in (WHEEL, SDIST):
        made.write_to(folder.path / "demo")
    path = bury(folder.path / "demo", line("demo-0.1.tar.gz"))
    assert len(folder.files("demo")) == 2
    with path.open("a") as file:
        file.write(line(SDIST.filename))
    folder.later()
    assert folder.files("demo") == [WHEEL.filename]
    path.write_text("")
    folder.later()
    assert len(folder.files("demo")) == 2


def test_a_file_that_comes_is_looked_up_though_the_tombstones_have_not_changed(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    path = bury(folder.path / "demo", line(SDIST.filename))
    os.utime(path, (1, 1))
    assert folder.files("demo") == [WHEEL.filename]
    SDIST.write_to(folder.path / "demo")
    assert folder.files("demo") == [WHEEL.filename]
    (folder.path / "demo" / WHEEL.filename).unlink()
    assert folder.files("demo") == []


def test_a_deletion_by_another_process_shows_in_the_next_answer(shop: Shop):
    for made in (WHEEL, SDIST):
        shop.publish(made)
    bury(shop.path / "demo", line("demo-0.1.tar.gz"))
    assert len(shop.files()) == 2
    BlockingStore([os.fsencode(shop.path)]).delete("demo", SDIST.filename, by="console")
    assert set(shop.files()) == {WHEEL.filename}


def test_tombstones_that_stay_are_searched_once_for_the_files_of_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    WHEEL.write_to(tmp_path / "demo")
    path = bury(tmp_path / "demo", line("demo-0.1.tar.gz"))
    searched: list[set[str]] = []

    def search(lines: Iterator[bytes], names: Any) -> frozenset[str]:
        searched.append(set(names))
        return find_exact(lines, names)

    monkeypatch.setattr(project_scan, "find_exact", search)
    later = StatValidator(wall=lambda: time.time() + 60)
    reader = InventoryReader([os.fsencode(tmp_path)], validator=later)
    reader.read("demo")
    SDIST.write_to(tmp_path / "demo")
    assert reader.read("demo").scan.deleted == set()
    assert searched == [{WHEEL.filename}, {SDIST.filename}]
    with path.open("a") as file:
        file.write(line(SDIST.filename))
    assert reader.read("demo").scan.deleted == {SDIST.filename}


# -- What cannot be read


@pytest.mark.parametrize("kind", ["link", "folder", "fifo", "large"])
def test_while_it_cannot_be_read_the_project_is_unavailable_and_no_other(
    folder: Folder, open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, kind: str
):
    WHEEL.write_to(folder.path / "demo")
    make_wheel("other", "1.0").write_to(folder.path / "other")
    path = folder.path / "demo" / ".deleted"
    if kind == "link":
        path.symlink_to(bury(folder.path.parent, line("demo-0.1.tar.gz")))
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        bury(path.parent, line("demo-0.1.tar.gz"))
        monkeypatch.setattr(tombstones, "MAX_TOMBSTONES", 20)
    with pytest.raises(Unavailable, match=r"The file demo/\.deleted cannot be read"):
        folder.page("demo")
    assert folder.names() == ("other",)
    assert folder.files("other")
    assert folder.problems().keys() == {"demo/.deleted"}
    shop = open_shop(folder.path)
    with pytest.raises(Unavailable):
        shop.publish(SDIST)
    with pytest.raises(Unavailable):
        shop.do("delete", "demo", WHEEL.filename)
    assert (folder.path / "demo" / WHEEL.filename).exists()


def test_beyond_its_largest_size_nothing_is_deleted(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    shop.publish(WHEEL)
    path = bury(shop.path / "demo", line("demo-0.1.tar.gz"))
    monkeypatch.setattr(tombstones, "MAX_TOMBSTONES", path.stat().st_size + 10)
    with pytest.raises(InsufficientStorage):
        shop.do("delete", "demo", WHEEL.filename)
    assert taken(shop.path / "demo") == ["demo-0.1.tar.gz"]
    assert set(shop.files()) == {WHEEL.filename}


# -- Who writes it


def test_a_deletion_appends_a_line_that_says_all_that_is_known(shop: Shop):
    shop.publish(WHEEL)
    shop.publish(SDIST)
    assert len(shop.files()) == 2
    path = bury(shop.path / "demo", "# ours\n", line("demo-0.1.tar.gz").rstrip())
    shop.do("delete", "demo", WHEEL.filename)
    shop.do("delete", "demo", SDIST.filename)
    written = path.read_bytes().splitlines()
    assert [text.decode() + "\n" for text in written[:2]] == ["# ours\n", line("demo-0.1.tar.gz")]
    for text, made in zip(written[2:], (WHEEL, SDIST), strict=True):
        said = parse_line(text)
        assert (said.name, said.sha256, said.size) == (made.filename, made.sha256, made.size)
        assert said.note == "by alice"


def test_deleting_it_twice_adds_no_second_line(shop: Shop):
    shop.publish(WHEEL)
    shop.do("delete", "demo", WHEEL.filename)
    WHEEL.write_to(shop.path / "demo")
    shop.do("delete", "demo", WHEEL.filename)
    assert taken(shop.path / "demo") == [WHEEL.filename]
    assert shop.tree() == ["demo/.deleted"]


def test_of_a_flat_project_a_folder_keeps_the_tombstones_and_uploads_stay_flat(shop: Shop):
    for made in (WHEEL, SDIST):
        made.write_to(shop.path)
    shop.do("delete", "demo", SDIST.filename)
    shop.do("set_status", "demo", ProjectStatus(status=Status.DEPRECATED))
    later = make_wheel("demo", "2.0")
    shop.publish(later)
    assert shop.tree() == [WHEEL.filename, later.filename, "demo/.deleted", "demo/.deprecated"]
    assert set(shop.files()) == {WHEEL.filename, later.filename}
    with pytest.raises(Conflict, match="stays taken"):
        shop.publish(make_sdist("demo", "1.0", files={"other.py": ""}))


def test_every_process_finds_room_for_its_line(tmp_path: Path):
    made = [make_sdist("demo", f"{number}.0") for number in range(24)]
    for each in made:
        each.write_to(tmp_path / "demo")

    def delete(some: list[str]) -> None:
        store = BlockingStore([os.fsencode(tmp_path)])
        for name in some:
            retry_while_locked(store.delete, "demo", name, by=threading.current_thread().name)

    names = [each.filename for each in made]
    threads = [threading.Thread(target=delete, args=(names[start::3],)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken(tmp_path / "demo")) == sorted(names)
    assert unknown_lines(os.fsencode(tmp_path / "demo" / ".deleted")) == (0, 0)


@pytest.mark.skipif(optional_module("fcntl") is None, reason="there are no locks")
def test_on_a_file_system_that_locks_no_folders_the_file_is_locked(tmp_path: Path):
    WHEEL.write_to(tmp_path / "demo")
    path = bury(tmp_path / "demo", line("demo-0.1.tar.gz"))
    store = BlockingStore([os.fsencode(tmp_path)])
    with path.open("a") as other:
        assert try_lock(other.fileno())
        with pytest.raises(LockHeld):
            store.delete("demo", WHEEL.filename, by="alice")
    assert path.read_text() == line("demo-0.1.tar.gz")
    store.delete("demo", WHEEL.filename, by="alice")
    assert taken(tmp_path / "demo") == ["demo-0.1.tar.gz", WHEEL.filename]


# -- Crashes and full disks


@pytest.mark.parametrize("before", ["", line("demo-0.1.tar.gz"), line("demo-0.1.tar.gz").rstrip()])
def test_a_deletion_that_ends_anywhere_leaves_no_torn_tombstone(tmp_path: Path, before: str):
    """Killed at each call in turn: the name is taken or the file is there, and the next deletion is whole."""
    calls, done = 0, False
    while not done:
        root = tmp_path / str(calls)
        folder = root / "demo"
        for made in (WHEEL, SDIST):
            made.write_to(folder)
        if before:
            bury(folder, before)
        store = BlockingStore([os.fsencode(root)])
        with cut_after(calls) as count:
            store.delete("demo", WHEEL.filename, by="alice")
        done = count() < calls
        if not (folder / WHEEL.filename).exists():
            assert WHEEL.filename in taken(folder)
        store.delete("demo", SDIST.filename, by="alice")
        if (folder / WHEEL.filename).exists():
            store.delete("demo", WHEEL.filename, by="alice")
        kept = ["demo-0.1.tar.gz"] if before else []
        assert sorted(taken(folder)) == sorted([*kept, WHEEL.filename, SDIST.filename])
        calls += 1
    assert calls > 5


def test_a_line_that_is_torn_at_any_byte_takes_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Not even that of a .tar, when the line of a .tar.gz ends early."""
    SDIST.write_to(tmp_path / "demo")
    path = bury(tmp_path / "demo", line("demo-0.1.tar.gz"))
    store, before = BlockingStore([os.fsencode(tmp_path)]), path.read_bytes()
    real = write_at

    def torn(descriptor: int, data: memoryview, position: int, *, number: int) -> int:
        real(descriptor, data[:number], position)
        raise Killed

    for number in range(120):
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr(manifest_file, "write_at", partial(torn, number=number))
            store.delete("demo", SDIST.filename, by="alice")
        assert taken(tmp_path / "demo") == ["demo-0.1.tar.gz"]
        assert path.read_bytes() != before or not number
        path.write_bytes(before)


@pytest.mark.parametrize("before", ["", line("demo-0.1.tar.gz"), line("demo-0.1.tar.gz").rstrip()])
@pytest.mark.parametrize("calls", [("write", "pwrite"), ("fsync",), ("unlink",)], ids="-".join)
def test_a_deletion_that_fails_at_any_call_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, calls: tuple[str, ...]
):
    """The disk is full, or broken, at each call in turn."""
    number, failed = 0, True
    while failed:
        folder = tmp_path / str(number) / "demo"
        WHEEL.write_to(folder)
        if before:
            bury(folder, before)
        store = BlockingStore([os.fsencode(folder.parent)])
        with monkeypatch.context() as patch:
            failing = FailingCalls(number, patch, calls)
            try:
                store.delete("demo", WHEEL.filename, by="alice")
            except SimpleIndexError:
                assert failing.failed
        failed = failing.failed
        names = taken(folder) if (folder / ".deleted").exists() else []
        assert (folder / WHEEL.filename).exists() is (WHEEL.filename not in names)
        assert names[: bool(before)] == ["demo-0.1.tar.gz"] * bool(before)
        number += 1
    assert number > 1


class FailingCalls:
    """Lets so many calls of the system be made, and fails the next one: of a write, a part is done."""

    def __init__(self, number: int, patch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
        self._left = number
        self.failed = False
        for name in names:
            patch.setattr(os, name, partial(self._call, getattr(os, name)))

    def _call(self, real: Callable[..., object], *args: Any) -> object:
        self._left -= 1
        if self._left != -1:
            return real(*args)
        self.failed = True
        if len(args) > 1:
            real(args[0], bytes(args[1])[:5], *args[2:])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_flat_deletion_that_fails_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    WHEEL.write_to(tmp_path)

    def full_disk(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(manifest_file, "write_atomically", full_disk)
    with pytest.raises(InsufficientStorage):
        BlockingStore([os.fsencode(tmp_path)]).delete("demo", WHEEL.filename, by="alice")
    assert os.listdir(tmp_path) == [WHEEL.filename]


# -- Spellings


spelled_projects = st.sampled_from(["foo-bar", "Foo_Bar", "foo.bar", "FOO--bar", "foo", "foo-bar2"])
spelled_versions = st.sampled_from(
    [
        *("1.0", "1", "1.0.0", "01.0", "v1.0", "0!1", "1!1.0", "1.0+a.1", "1.0+A_01", "1.0.post0", "1.0-0"),
        *("1.0.post1", "1.0-1", "1.0.r1", "1.0a1", "1.0.alpha.1", "1.0a", "1.0a0", "1.0rc10", "1.0c1", "10"),
        *("1.0.dev20261101", "1.0dev20261101", "1.0-dev-20261101", "1.00", "1.10", "2.0", "1.0.1"),
    ]
)
tag_sets = st.sampled_from(
    ["py3-none-any", "py2.py3-none-any", "py3.py2-none-any", "Py3-none-any", "cp311-cp311-linux_x86_64"]
)
builds = st.sampled_from(["", "-1", "-01", "-1a", "-2"])
wheels = st.builds(
    lambda project, version, build, tags: (
        f"{project.replace('-', '_')}-{version.replace('-', '_')}{build}-{tags}.whl"
    ),
    *(spelled_projects, spelled_versions, builds, tag_sets),
)
sdists = st.builds(
    "{}-{}{}".format,
    spelled_projects,
    spelled_versions,
    st.sampled_from([".tar.gz", ".zip", ".tar.bz2", ".tar"]),
)
filenames = wheels | sdists


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("foo_bar-1.0-1-py3-none-any.whl", "Foo.Bar-1.0.0-01-py3-none-any.whl"),
        ("foo_bar-1.0-1a-py2.py3-none-any.whl", "foo_bar-1-1a-py3.py2-none-any.whl"),
        ("foo-bar-1.0.post1.tar.gz", "Foo_Bar-1.0-1.tar.gz"),
        ("foo_bar-1.0rc10.zip", "foo-bar-01.0.0c10.zip"),
    ],
)
def test_two_spellings_of_a_distribution_are_one_name(tmp_path: Path, name: str, other: str):
    path = bury(tmp_path, line("foo_bar-0.1.tar.gz"), line(other))
    assert [line.name for line in equivalents(b"", blocks(path), parse_filename(name, "foo-bar"))] == [other]


@examples(300)
@given(st.lists(filenames, min_size=1, max_size=12), filenames)
def test_a_name_is_taken_if_and_only_if_a_line_names_the_same_distribution(names: list[str], asked: str):
    try:
        distribution = parse_filename(asked)
    except InvalidFilename:
        return

    def same(name: str) -> bool:
        try:
            return parse_filename(name, distribution.project).identity == distribution.identity
        except InvalidFilename:
            return False

    with tempfile.TemporaryDirectory() as folder:
        path = bury(Path(folder), *map(line, names))
        found = [line.name for line in equivalents(b"", blocks(path), distribution)]
        assert sorted(found) == sorted(filter(same, names))
        for few in (frozenset({asked}), frozenset({asked, *(f"x{number}" for number in range(20))})):
            assert find_exact(blocks(path), few) == few & set(names)


# -- What returns

CHANGED = make_wheel("demo", "1.0", files={"demo/other.py": ""})


def test_the_very_file_that_was_deleted_may_return_and_its_line_goes(shop: Shop):
    for made in (WHEEL, SDIST):
        shop.publish(made)
        shop.do("delete", "demo", made.filename)
    assert shop.publish(WHEEL) is True
    assert shop.files() == {WHEEL.filename: WHEEL.sha256}
    assert taken(shop.path / "demo") == [SDIST.filename]


def test_the_refusal_of_other_bytes_says_which_file_may_return(shop: Shop):
    shop.publish(WHEEL)
    shop.do("delete", "demo", WHEEL.filename)
    with pytest.raises(Conflict, match=f"stays taken, except for the very file .*{WHEEL.sha256}"):
        shop.publish(CHANGED)


def test_of_two_lines_about_other_bytes_none_may_return(shop: Shop):
    text = [f"{made.sha256}  -  {SINCE}  {WHEEL.filename}\n" for made in (WHEEL, CHANGED)]
    bury(shop.path / "demo", *text)
    for made in (WHEEL, CHANGED):
        with pytest.raises(Conflict, match="stays taken;"):
            shop.publish(made)


def test_comments_and_the_lines_of_others_stay(shop: Shop):
    bury(
        shop.path / "demo",
        "# ours\r\n",
        f"{WHEEL.sha256}  -  {SINCE}  {WHEEL.filename}\r\n",
        line("demo-0.1.zip"),
    )
    assert shop.publish(WHEEL) is True
    assert (shop.path / "demo" / ".deleted").read_text() == "# ours\n" + line("demo-0.1.zip")


def test_the_digest_is_taken_at_the_deletion_if_it_is_not_known(tmp_path: Path):
    WHEEL.write_to(tmp_path / "demo")
    BlockingStore([os.fsencode(tmp_path)]).delete("demo", WHEEL.filename, by="alice")
    assert parse_line((tmp_path / "demo" / ".deleted").read_bytes()).sha256 == WHEEL.sha256


def test_an_upload_that_brings_a_file_back_may_be_cut_off_anywhere(tmp_path: Path, open_shop):
    """Until its line has gone the file is hidden and its name taken; the same upload goes on from there."""
    for calls in range(40):
        shop = open_shop(tmp_path / str(calls))
        shop.publish(WHEEL)
        shop.do("delete", "demo", WHEEL.filename)
        with cut_after(calls):
            shop.publish(WHEEL)
        again = open_shop(tmp_path / str(calls))
        if not again.files():
            assert taken(again.path / "demo") == [WHEEL.filename]
        with pytest.raises(Conflict):
            again.publish(CHANGED)
        again.publish(WHEEL)
        assert again.files() == {WHEEL.filename: WHEEL.sha256}


# -- All of it together

made_files = [make_wheel("demo", f"{number}.0") for number in range(3)] + [OTHER_SPELLING]
actions = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(made_files)),
    st.tuples(st.just("delete"), st.sampled_from(made_files)),
    st.tuples(st.just("killed"), st.sampled_from(made_files), st.integers(0, 12)),
    st.tuples(st.just("edit"), st.sampled_from(["", "\n", "# x\n", "?", "\0-  -", line("demo-9.0.tar.gz")])),
    st.tuples(st.just("name"), st.sampled_from(made_files)),
    st.tuples(st.just("torn"), st.integers(1, 40)),
)


@examples(150)
@given(st.lists(actions, max_size=12))
def test_what_is_listed_is_what_no_line_names(done: list[tuple]):
    """Whatever is deleted, put back, edited and cut off: a server that starts shows what the lines say."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder = root / "demo"
        folder.mkdir()
        store = BlockingStore([os.fsencode(root)])
        gone: set[str] = set()
        for action, *details in done:
            what = details[0]
            path = folder / ".deleted"
            if action == "put":
                what.write_to(folder)
            elif action == "edit":
                with path.open("ab") as file:
                    file.write(what.encode())
            elif action == "name":
                before = path.read_bytes() if path.exists() else b""
                path.write_bytes(before + b"\n" * (not before.endswith(b"\n")) + line(what.filename).encode())
                gone.add(what.filename)
            elif action == "torn":
                with path.open("ab") as file:
                    file.write(b"\n\0" + line("demo-0.0-py3-none-any.whl").encode()[1:what])
            else:
                there = (folder / what.filename).exists()
                with cut_after(details[1] if action == "killed" else 1000):
                    try:
                        store.delete("demo", what.filename, by="alice")
                    except SimpleIndexError:
                        assert not there
                if there and not (folder / what.filename).exists():
                    gone.add(what.filename)
        inventory = store.inventory("demo")
        lines = set(taken(folder)) if (folder / ".deleted").exists() else set()
        assert gone <= lines
        for made in made_files:
            distribution = parse_filename(made.filename)
            assert inventory.was_deleted(distribution) is any(
                parse_filename(each, "demo").identity == distribution.identity for each in lines
            )
        for entry in inventory.scan.entries:
            assert inventory.is_hidden(entry) is (entry.distribution.filename in lines)
