"""A file that is being received: what is known of it, and what remains of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed

from tests.kit.at_once import answer
from tests.kit.descriptors import open_files
from tests.kit.folder_store import Shop
from twisted_index.backends.layout.spool import open_spool
from twisted_index.errors import InsufficientStorage, SimpleIndexError, Unavailable
from twisted_index.files import anonymous_file
from twisted_index.files.anonymous_file import open_anonymous, sweep
from twisted_index.testing import SynchronousRunner, make_wheel

WHEEL = make_wheel("demo", "1.0")


@pytest.mark.parametrize("expected", [[], ["md5"], ["blake2b_256", "md5", "sha256"]])
@pytest.mark.parametrize("sizes", [[], [1], [10] * 5, [300_000, 5, 1_000_000], [1 << 18] * 2])
def test_size_and_digests_are_those_of_what_was_written(
    tmp_path: Path, sizes: list[int], either_way: str, expected: list[str]
):
    spool = open_spool(os.fsencode(tmp_path), SynchronousRunner())
    spool.expect_digests(expected)
    whole = b""
    for number, size in enumerate(sizes):
        data = bytes([number]) * size
        whole += data
        answer(spool.write, data)
        assert spool.size == len(whole)
        assert answer(spool.digests)["sha256"] == hashlib.sha256(whole).hexdigest()
    assert answer(spool.digests, ["md5", "blake2b_256"]) == {
        "sha256": hashlib.sha256(whole).hexdigest(),
        "blake2b_256": hashlib.blake2b(whole, digest_size=32).hexdigest(),
        "md5": hashlib.md5(whole).hexdigest(),
    }
    spool.close()
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_given_up_leaves_nothing(shop: Shop, either_way: str):
    before = open_files()
    spool = answer(shop.store.spool)
    answer(spool.write, b"x" * 1_000_000)
    spool.close()
    assert shop.tree() == []
    assert open_files() <= before


def test_a_publication_leaves_no_file_open(shop: Shop, either_way: str):
    shop.publish(WHEEL)
    before = open_files()
    shop.publish(make_wheel("demo", "2.0"), signature=b"signed")
    shop.publish(WHEEL)
    assert open_files() <= before


class Later:
    """A worker whose work is done when it is told to."""

    def __init__(self) -> None:
        self.work: list[Any] = []

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.work.append(lambda: maybeDeferred(function, *args, **kwargs).chainDeferred(done))
        return done

    def stop(self) -> Deferred[None]:
        return succeed(None)


def test_it_is_closed_only_after_what_is_being_written(tmp_path: Path):
    worker = Later()
    spool = open_spool(os.fsencode(tmp_path), worker)
    writing = spool.write(b"x" * 1_000_000)
    spool.close()
    for work in worker.work:
        work()
    assert writing.called
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(spool.file.descriptor)


def test_more_may_come_while_it_is_written_but_not_without_end(tmp_path: Path):
    worker = Later()
    spool = open_spool(os.fsencode(tmp_path), worker)
    assert spool.write(b"x" * 1_000_000).called
    assert spool.write(b"y" * 2_000_000).called
    waiting = spool.write(b"z" * 1_000_000)
    assert not waiting.called
    worker.work.pop(0)()
    assert not waiting.called, "it is not hashed yet"
    worker.work.pop(0)()
    assert waiting.called
    asked = Deferred.fromCoroutine(spool.digests(["sha256"]))
    while worker.work:
        worker.work.pop(0)()
    whole = b"x" * 1_000_000 + b"y" * 2_000_000 + b"z" * 1_000_000
    assert answer(lambda: asked) == {"sha256": hashlib.sha256(whole).hexdigest()}
    spool.close()
    worker.work.pop()()


def test_what_could_not_be_written_is_told_by_the_next_call(tmp_path: Path):
    worker = Later()
    spool = open_spool(os.fsencode(tmp_path), worker)
    assert spool.write(b"x" * 1_000_000).called
    os.close(spool.file.descriptor)
    spool.file.descriptor = os.open(tmp_path, os.O_RDONLY)
    while worker.work:
        worker.work.pop(0)()
    for call in (lambda: spool.write(b"x"), spool.flush, spool.digests):
        with pytest.raises(Unavailable):
            answer(call)
    spool.close()
    worker.work.pop()()
    assert worker.work == []


def test_nobody_has_to_close_what_nobody_waited_for(tmp_path: Path, open_shop):
    shop, worker, before = open_shop(tmp_path / "packages"), Later(), open_files()
    shop.store._worker = worker
    asked = shop.store.spool()
    asked.addErrback(lambda failure: failure.trap(CancelledError))
    asked.cancel()
    while worker.work:
        worker.work.pop(0)()
    assert open_files() <= before


def test_small_pieces_are_gathered(tmp_path: Path):
    worker = Later()
    spool = open_spool(os.fsencode(tmp_path), worker)
    for _ in range(100):
        assert spool.write(b"x" * 100).called
    assert worker.work == []
    spool.close()
    worker.work.pop()()


# -- What is left behind, and by whom


def test_what_nobody_holds_is_swept(tmp_path: Path, without_tmpfile: None):
    root = os.fsencode(tmp_path)
    held = open_anonymous(root)
    lost = open_anonymous(root)
    os.close(lost.descriptor)
    (tmp_path / ".uploads" / "folder").mkdir()

    assert sweep(root) == 2
    assert len(list((tmp_path / ".uploads").iterdir())) == 1
    held.write(b"still here")
    held.link(root + b"/name")
    held.close()
    assert (tmp_path / "name").read_bytes() == b"still here"
    assert not (tmp_path / ".uploads").exists()
    assert sweep(root) == 0


def test_the_store_sweeps_its_first_root(shop: Shop):
    (shop.path / ".uploads").mkdir()
    (shop.path / ".uploads" / "upload_x").write_bytes(b"half")
    answer(shop.store.sweep)
    assert list(shop.path.iterdir()) == []


def test_what_is_under_way_is_no_project_and_no_problem(shop: Shop, without_tmpfile: None):
    spool = answer(shop.store.spool)
    answer(spool.write, WHEEL.content)
    answer(spool.flush)
    assert answer(shop.source.project_list).value.names == ()
    assert answer(shop.source.problems).problems == ()
    spool.close()


def test_without_hard_links_it_is_moved(
    tmp_path: Path, without_tmpfile: None, monkeypatch: pytest.MonkeyPatch
):
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(anonymous_file.os, "link", no_links)
    for number in range(2):
        file = open_anonymous(os.fsencode(tmp_path))
        file.write(b"%d" % number)
        if number:
            with pytest.raises(FileExistsError):
                file.link(os.fsencode(tmp_path / "name"))
        else:
            file.link(os.fsencode(tmp_path / "name"))
        file.close()
    assert [path.name for path in tmp_path.iterdir()] == ["name"]
    assert (tmp_path / "name").read_bytes() == b"0"


# -- What the system refuses


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("ENOSPC", InsufficientStorage),
        ("EDQUOT", InsufficientStorage),
        ("EFBIG", InsufficientStorage),
        ("EROFS", Unavailable),
        ("EACCES", Unavailable),
        ("EMFILE", Unavailable),
        ("EIO", Unavailable),
    ],
)
def test_each_refusal_is_one_sentence_without_a_path(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, number: str, kind: type[SimpleIndexError]
):
    import errno

    def refuse(*_: object) -> int:
        raise OSError(getattr(errno, number), "refused", str(shop.path))

    spool = answer(shop.store.spool)
    with monkeypatch.context() as patched:
        patched.setattr(anonymous_file.os, "write", refuse)
        with pytest.raises(kind) as caught:
            answer(spool.write, b"x" * 1_000_000)
    assert caught.value.message.endswith(".")
    assert "/" not in caught.value.message
    spool.close()
    assert shop.tree() == []


def test_a_root_that_is_gone_is_told(shop: Shop):
    shop.path.rmdir()
    with pytest.raises(Unavailable):
        answer(shop.store.spool)


def test_a_link_that_leads_in_a_circle_keeps_no_folder_from_being_swept(tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    for number in range(5):
        (root / f"circle{number}").symlink_to(f"circle{number}")
        left = tmp_path / f"elsewhere{number}" / ".uploads" / "left"
        left.parent.mkdir(parents=True)
        left.touch()
        (root / f"linked{number}").symlink_to(tmp_path / f"elsewhere{number}")
    assert sweep(os.fsencode(root)) == 5


def test_nothing_is_removed_through_a_link_in_the_place_of_the_hidden_folder(tmp_path: Path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    (elsewhere / "folder").mkdir(parents=True)
    (elsewhere / "file").write_bytes(b"kept")
    (root / ".uploads").symlink_to(elsewhere)

    assert sweep(os.fsencode(root)) == 0
    assert sorted(path.name for path in elsewhere.iterdir()) == ["file", "folder"]
