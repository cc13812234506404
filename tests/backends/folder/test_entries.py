"""What lies in a root for a project, as replicas are told: every file, each with the digest of its bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.folder_source import Folder
from tests.kit.folder_store import Shop
from twisted_index.backends.folder import entry_files, entry_reader
from twisted_index.errors import Conflict, Unavailable, UnreadableFolder
from twisted_index.files.filesystems import file_clock
from twisted_index.files.stamps import StatValidator
from twisted_index.interfaces import StreamingContent
from twisted_index.simple.entry_listing import Entry, EntryListing, parse_listing
from twisted_index.testing import make_sdist, make_wheel

ONE = make_wheel("demo", "1.0")
TWO = make_wheel("demo", "2.0")
LARGE = os.urandom(100_000)


def ask(folder: Folder | Shop, project: str = "demo", inline: int = 0) -> tuple[EntryListing, bytes]:
    """The listing, and what comes after it."""
    text = answer(folder.source.entries, project, inline)
    assert text is not None
    if not inline:
        return parse_listing(text), b""
    head, empty_line, contents = text.partition(b"\n\n")
    assert empty_line
    return parse_listing(head + b"\n"), contents


def paths(folder: Folder | Shop, project: str = "demo") -> list[str]:
    return [entry.path for entry in ask(folder, project)[0].entries]


def read(folder: Folder | Shop, path: str, project: str = "demo") -> bytes | None:
    body = answer(folder.source.open_entry, project, os.fsencode(path))
    if body is None:
        return None
    assert not isinstance(body.content, (bytes, StreamingContent))
    with body.content as file:
        content = file.read()
    assert (body.size, body.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    return content


def test_an_entry_has_the_digest_the_size_and_the_time_of_its_file(folder: Folder):
    path = ONE.write_to(folder.path / "demo")
    os.utime(path, ns=(5_000_000_001, 5_000_000_001))
    [entry] = ask(folder)[0].entries
    assert entry == Entry(f"demo/{ONE.filename}", ONE.sha256, len(ONE.content), 5_000_000_001)


def test_the_time_is_never_later_than_when_the_file_came(folder: Folder):
    path = ONE.write_to(folder.path / "demo")
    os.utime(path, ns=(1 << 62, 1 << 62))
    assert ask(folder)[0].entries[0].time == path.stat().st_ctime_ns


def test_marks_and_what_no_page_lists_are_entries_too(folder: Folder):
    ONE.write_to(folder.path / "demo")
    damaged, plain = f"demo/{TWO.filename}", "demo/notes of ours.txt"
    (folder.path / damaged).write_bytes(TWO.content[:-100])
    marks = [".archived", ".claimed", ".copies", ".deleted", f"{ONE.filename}.yanked", f"{ONE.filename}.asc"]
    for name in (*marks, "notes of ours.txt"):
        (folder.path / "demo" / name).write_text("")
    assert set(paths(folder)) == {*(f"demo/{name}" for name in marks), f"demo/{ONE.filename}", damaged, plain}
    [entry] = [entry for entry in ask(folder)[0].entries if entry.path == damaged]
    assert entry.sha256 == hashlib.sha256(TWO.content[:-100]).hexdigest()


def test_files_in_the_root_and_in_folders_of_any_spelling_are_of_one_project(folder: Folder):
    ONE.write_to(folder.path)
    TWO.write_to(folder.path / "Demo")
    (folder.path / "DEMO").mkdir()
    (folder.path / f"{ONE.filename}.yanked").write_text("")
    (folder.path / "README").write_text("of the root")
    assert paths(folder) == [f"Demo/{TWO.filename}", ONE.filename, f"{ONE.filename}.yanked"]


@pytest.mark.parametrize(
    "name",
    [".hidden", "x.PART", f"{TWO.filename}.tmp", f".{TWO.filename}.AbC123", "x.whl.filepart"],
)
def test_what_is_being_written_is_no_entry(folder: Folder, name: str):
    ONE.write_to(folder.path / "demo")
    (folder.path / "demo" / name).write_text("")
    assert paths(folder) == [f"demo/{ONE.filename}"]
    assert read(folder, f"demo/{name}") is None


def test_a_file_that_is_large_has_the_digest_that_inspection_knows(folder: Folder):
    made = make_wheel("demo", "3.0", files={"demo/data.bin": LARGE})
    made.write_to(folder.path / "demo")
    assert ask(folder)[0].entries[0].sha256 == made.sha256
    assert folder.files("demo") == [made.filename]


def test_a_large_file_that_is_none_is_hashed(folder: Folder):
    for path in ("demo/demo-3.0-py3-none-any.whl", "demo/notes.txt"):
        (folder.path / path).parent.mkdir(exist_ok=True)
        (folder.path / path).write_bytes(LARGE)
    digest = hashlib.sha256(LARGE).hexdigest()
    assert [entry.sha256 for entry in ask(folder)[0].entries] == [digest, digest]


def test_names_of_any_bytes_are_told_and_opened(folder: Folder):
    names = [b"demo/caf\xe9.txt", b"demo/100%.txt", b"demo/a b\nc\x7f.txt", "demo/é+&#?=.txt".encode()]
    (folder.path / "demo").mkdir()
    for name in names:
        (folder.path / os.fsdecode(name)).write_bytes(name)
    assert paths(folder) == [os.fsdecode(name) for name in sorted(names)]
    for name in names:
        assert read(folder, os.fsdecode(name)) == name


def test_nothing_else_can_be_opened(folder: Folder, tmp_path: Path):
    ONE.write_to(folder.path / "demo")
    make_wheel("other", "1.0").write_to(folder.path / "other")
    (folder.path / "README").write_text("of the root")
    (tmp_path / "secret").write_text("no")
    (folder.path / "demo" / "folder").mkdir()
    (folder.path / "demo" / "folder" / "file").write_text("")
    for path in (
        "../secret",
        "demo/../../secret",
        "demo/../other/other-1.0-py3-none-any.whl",
        "other/other-1.0-py3-none-any.whl",
        f"/{folder.path}/demo/{ONE.filename}",
        f"./demo/{ONE.filename}",
        f"demo//{ONE.filename}",
        f"DEMO/{ONE.filename}",
        f"demo/{ONE.filename}/",
        f"demo\\{ONE.filename}",
        ONE.filename,
        "README",
        "demo",
        "demo/",
        "demo/.",
        "demo/..",
        "demo/folder",
        "demo/folder/file",
        "demo/\0",
        "",
    ):
        assert read(folder, path) is None, path
    assert read(folder, f"demo/{ONE.filename}") == ONE.content


def test_links_to_distributions_and_folders_are_followed_and_no_others(folder: Folder, tmp_path: Path):
    there = tmp_path / "there"
    ONE.write_to(there / "demo")
    TWO.write_to(there)
    (there / "secret").write_text("no")
    (folder.path / "demo").symlink_to(there / "demo")
    for name in (f"{ONE.filename}.yanked", ".archived", "notes.txt"):
        (there / "demo" / name).symlink_to(there / "secret")
    (there / "demo" / TWO.filename).symlink_to(there / TWO.filename)
    (there / "demo" / "demo-3.0-py3-none-any.whl").symlink_to(there / "missing")
    assert paths(folder) == [f"demo/{ONE.filename}", f"demo/{TWO.filename}"]
    assert read(folder, f"demo/{TWO.filename}") == TWO.content
    assert read(folder, "demo/.archived") is None


def test_what_is_staged_is_no_entry(folder: Folder):
    ONE.write_to(folder.path / "demo")
    TWO.write_to(folder.path / "demo")
    (folder.path / "demo" / f"{TWO.filename}.yanked").write_text("")
    (folder.path / ".staged").mkdir()
    (folder.path / ".staged" / "it.list").write_text(f"{TWO.filename}\n")
    assert paths(folder) == [f"demo/{ONE.filename}"]
    assert read(folder, f"demo/{TWO.filename}") is None
    (folder.path / ".staged" / "it.list").unlink()
    assert len(paths(folder)) == 3


def test_contents_come_with_a_listing_in_its_order(folder: Folder):
    for name, content in {"b.txt": b"B\n\n", "a.txt": b"", "c.txt": b"larger", "d.txt": b"D"}.items():
        (folder.path / "demo").mkdir(exist_ok=True)
        (folder.path / "demo" / name).write_bytes(content)
    listing, contents = ask(folder, inline=3)
    assert [entry.path for entry in listing.entries if entry.size <= 3] == [
        "demo/a.txt",
        "demo/b.txt",
        "demo/d.txt",
    ]
    assert contents == b"B\n\nD"


def test_no_content_comes_after_one_that_does_not_fit(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    """Each is known by those before it."""
    monkeypatch.setattr(entry_files, "MAX_CONTENTS", 5)
    for name, content in {"a.txt": b"AAA", "b.txt": b"BBB", "c.txt": b"C"}.items():
        (folder.path / "demo").mkdir(exist_ok=True)
        (folder.path / "demo" / name).write_bytes(content)
    listing, contents = ask(folder, inline=1000)
    assert contents == b"AAA"
    assert [entry.sha256 for entry in listing.entries] == [
        hashlib.sha256(each).hexdigest() for each in (b"AAA", b"BBB", b"C")
    ]


def test_the_listing_has_the_serial_of_the_project_as_it_was_listed(folder: Folder):
    ONE.write_to(folder.path / "demo")
    first = ask(folder)[0]
    change = folder.source.serials.read().changes["demo"]
    assert (first.serial, first.imprint) == change
    assert ask(folder)[0] == first
    TWO.write_to(folder.path / "demo")
    again = ask(folder)[0]
    assert again.serial > first.serial
    assert again.imprint != first.imprint
    assert answer(folder.source.project_page, "demo").serial == again.serial


def test_what_is_not_there_is_none_and_gets_no_serial(folder: Folder):
    assert answer(folder.source.entries, "demo") is None
    assert answer(folder.source.open_entry, "demo", b"demo/x") is None
    assert folder.source.serials.read().changes == {}


def test_a_file_that_changes_while_it_is_read_is_read_again(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    path = ONE.write_to(folder.path / "demo")
    find, found = entry_files._find, []

    def find_and_change(*args):
        if not found:
            found.append(find(*args))
            path.write_bytes(TWO.content)
            return found[0]
        return find(*args)

    monkeypatch.setattr(entry_files, "_find", find_and_change)
    assert ask(folder)[0].entries[0].sha256 == TWO.sha256


def test_one_that_always_changes_is_503_and_no_wrong_listing(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    path = ONE.write_to(folder.path / "demo")
    taken = entry_reader.read_entries

    def read_and_change(*args):
        reading = taken(*args)
        with path.open("ab") as file:
            file.write(b"x")
        return reading

    monkeypatch.setattr(entry_reader, "read_entries", read_and_change)
    with pytest.raises(Unavailable) as caught:
        ask(folder)
    assert caught.value.retry_after == 1
    assert folder.source.serials.read().changes == {}


def test_a_file_that_cannot_be_read_is_503(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    """Without it, a replica would remove it."""
    ONE.write_to(folder.path / "demo")

    def refuse(path: bytes, **_options: object) -> None:
        raise PermissionError(13, "denied", path)

    monkeypatch.setattr(entry_files, "open_regular_file", refuse)
    with pytest.raises(UnreadableFolder, match=f"demo/{ONE.filename}"):
        ask(folder)


def test_a_folder_behind_a_link_that_leads_nowhere_is_503(folder: Folder, tmp_path: Path):
    (folder.path / "demo").symlink_to(tmp_path / "missing")
    with pytest.raises(UnreadableFolder):
        ask(folder)


def test_a_root_that_is_away_is_503(folder: Folder):
    ONE.write_to(folder.path / "demo")
    ask(folder)
    folder.path.rename(folder.path.with_name("away"))
    with pytest.raises(UnreadableFolder):
        ask(folder)


def test_an_index_with_several_folders_says_why_it_has_no_entries(
    serve: Callable[..., Folder], tmp_path: Path
):
    for name in ("one", "two"):
        ONE.write_to(tmp_path / name / "demo")
    served = serve(tmp_path / "one", tmp_path / "two")
    for ask_for in (served.source.entries, lambda name: served.source.open_entry(name, b"demo/x")):
        with pytest.raises(Conflict, match="2 folders"):
            answer(ask_for, "demo")


def test_the_entries_of_an_heir_are_its_own(serve: Callable[..., Folder], tmp_path: Path):
    ONE.write_to(tmp_path / "own" / "demo")
    TWO.write_to(tmp_path / "base" / "demo")
    make_wheel("other", "1.0").write_to(tmp_path / "base" / "other")
    served = serve(tmp_path / "own", tmp_path / "base", owners=(None, "base"))
    assert paths(served) == [f"demo/{ONE.filename}"]
    assert paths(served, "other") == []
    assert read(served, f"demo/{TWO.filename}") is None
    assert ask(served)[0].serial == answer(served.source.project_page, "demo").serial


def young(serve: Callable[..., Folder], root: Path) -> tuple[Folder, Clock]:
    """A folder in which nothing has rested yet, and the clock by which it does."""
    clock = Clock()
    clock.advance(1_000_000)
    wall = lambda: file_clock() + clock.seconds() - 1_000_000  # noqa: E731
    return serve(root, reactor=clock, validator=StatValidator(monotonic=clock.seconds, wall=wall)), clock


def sweep(folder: Folder) -> int:
    answer(folder.source.sweep, lambda _name: True)
    serial = folder.source.serials.serial_of("demo")
    assert serial is not None
    return serial


@pytest.mark.parametrize("size", [10, 100_000])
def test_what_is_written_into_a_young_file_without_a_sign_is_a_change_later(
    serve: Callable[..., Folder], tmp_path: Path, size: int
):
    path = tmp_path / "packages" / "demo" / "notes.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a" * size)
    folder, clock = young(serve, tmp_path / "packages")
    before = ask(folder)[0].serial
    assert sweep(folder) == before
    # The same size and times, as a write has them that is read half way.
    status = path.stat()
    taken = entry_files.StatKey.from_stat
    path.write_bytes(b"b" * size)
    assert taken(status) != taken(path.stat())
    changed = path.stat()
    folder.source._entries._young = {
        "demo": frozenset(
            (found._replace(key=taken(changed)), sha256)
            for found, sha256 in folder.source._entries._young["demo"]
        )
    }
    noticed = sweep(folder)
    clock.advance(3)
    assert sweep(folder) > noticed
    assert sweep(folder) == sweep(folder)


def test_what_rests_is_no_change_later(serve: Callable[..., Folder], tmp_path: Path):
    ONE.write_to(tmp_path / "packages" / "demo")
    folder, clock = young(serve, tmp_path / "packages")
    before = ask(folder)[0].serial
    clock.advance(3)
    assert sweep(folder) == before


def test_an_upload_is_certain_at_once(shop: Shop):
    shop.publish(ONE)
    ask(shop)
    assert shop.source._entries._young == {}


def test_the_entries_of_an_upload_have_its_serial(shop: Shop):
    shop.publish(ONE)
    noted = shop.source.serials.serial_of("demo")
    shop.publish(make_sdist("demo", "1.0"))
    after = shop.source.serials.serial_of("demo")
    assert noted is not None
    assert after is not None
    assert after > noted
    assert ask(shop)[0].serial == after
