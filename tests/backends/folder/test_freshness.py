"""What changes in a folder is in the next answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from tests.kit.at_once import answer
from tests.kit.folder_source import LONG_AGO, Folder, Times
from twisted_index.backends.folder.inspection_cache import CachedInspection, InspectionCache
from twisted_index.backends.folder.root_set import RootSet
from twisted_index.backends.folder.shared_roots import SharedRoots
from twisted_index.backends.layout.facts import FileFacts, StatKey
from twisted_index.errors import Unavailable
from twisted_index.files.stamps import StatValidator
from twisted_index.testing import make_sdist, make_wheel

ONE = make_wheel("demo", "1.0")
TWO = make_wheel("demo", "2.0")


#: For what is settled by moving the clock, which does not move the times of files.
SETTLED_TIMES = pytest.mark.parametrize("times", [Times()], ids=["settled times"])


@pytest.fixture(params=[1, 2 * 10**9], ids=["fine times", "coarse times"])
def times(request: pytest.FixtureRequest) -> Times:
    """The times of the file system, and times that many changes share."""
    return Times(tick_ns=request.param)


def test_a_file_that_is_added_is_in_the_next_answer(folder: Folder):
    ONE.write_to(folder.path / "demo")
    assert folder.files("demo") == [ONE.filename]
    TWO.write_to(folder.path / "demo")
    assert folder.files("demo") == [ONE.filename, TWO.filename]


def test_a_file_that_is_removed_is_not_in_the_next_answer(folder: Folder):
    ONE.write_to(folder.path / "demo")
    TWO.write_to(folder.path / "demo")
    folder.files("demo")
    (folder.path / "demo" / ONE.filename).unlink()
    assert folder.files("demo") == [TWO.filename]
    assert folder.read("demo", ONE.filename) is None


def test_a_file_that_is_renamed_is_in_the_next_answer_under_its_new_name(folder: Folder):
    path = ONE.write_to(folder.path / "demo")
    folder.files("demo")
    renamed = "demo-1.0-1-py3-none-any.whl"
    path.rename(path.with_name(renamed))
    assert folder.files("demo") == [renamed]


def test_a_project_that_is_added_or_removed_is_in_the_next_list(folder: Folder):
    ONE.write_to(folder.path / "demo")
    assert folder.names() == ("demo",)
    make_wheel("other", "1.0").write_to(folder.path)
    assert folder.names() == ("demo", "other")
    shutil.rmtree(folder.path / "demo")
    assert folder.names() == ("other",)


def test_an_absent_project_is_there_as_soon_as_it_comes(folder: Folder):
    assert folder.page("demo") is None
    ONE.write_to(folder.path)
    assert folder.files("demo") == [ONE.filename]


def test_a_new_spelling_of_the_project_is_in_the_next_answer(folder: Folder):
    ONE.write_to(folder.path / "demo")
    folder.later()
    folder.files("demo")
    TWO.write_to(folder.path / "Demo")
    assert folder.files("demo") == [ONE.filename, TWO.filename]


def test_changes_within_one_tick_are_seen(folder: Folder):
    for number in range(1, 6):
        make_wheel("demo", f"{number}.0").write_to(folder.path / "demo")
        assert len(folder.files("demo")) == number


def test_a_folder_that_rests_is_not_read_again(folder: Folder):
    ONE.write_to(folder.path / "demo")
    folder.files("demo")
    folder.later()
    folder.files("demo")
    folder.later()
    first = answer(folder.source.project_page, "demo")
    again = folder.source.project_page("demo")
    assert first.is_current()
    assert again.value is first.value


def test_a_page_that_says_the_same_after_a_look_is_the_same_object(folder: Folder):
    ONE.write_to(folder.path / "demo")
    page = folder.page("demo")
    (folder.path / "demo" / "README.txt").write_text("not for installers")
    assert folder.page("demo") is page


def test_a_fixed_date_from_an_archive_does_not_hide_a_change(folder: Folder, tmp_path: Path):
    """`tar -x` gives the folder the time that it had when it was packed."""
    for number, wheel in enumerate((ONE, TWO)):
        packed = tmp_path / f"packed{number}" / "demo"
        wheel.write_to(packed)
        os.utime(packed, (LONG_AGO, LONG_AGO))
        with tarfile.open(tmp_path / f"{number}.tar", "w") as archive:
            archive.add(packed, "demo")
    for number in range(2):
        subprocess.run(["tar", "-xf", tmp_path / f"{number}.tar", "-C", folder.path], check=True, timeout=30)
        folder.later()
        files = folder.files("demo")
    assert files == [ONE.filename, TWO.filename]
    assert (folder.path / "demo").stat().st_mtime == LONG_AGO


def test_a_file_copied_over_with_its_old_time_is_read_again(folder: Folder, tmp_path: Path):
    """`cp -p` keeps the modification time; equal size and time, other bytes."""
    path = ONE.write_to(folder.path / "demo")
    os.utime(path, (LONG_AGO, LONG_AGO))
    folder.later()
    before = folder.page("demo")
    other = tmp_path / "other.whl"
    other.write_bytes(make_wheel("demo", "1.0", files={"demo/__init__.py": '__version__ = "9.9"\n'}).content)
    os.utime(other, (LONG_AGO, LONG_AGO))
    subprocess.run(["cp", "-p", other, path], check=True, timeout=30)
    folder.later()
    after = folder.page("demo")
    assert before is not None
    assert after is not None
    assert before.files[0].size == after.files[0].size
    assert before.files[0].hashes != after.files[0].hashes


def test_a_file_rewritten_in_place_is_seen_within_the_rescan_time(folder: Folder):
    path = ONE.write_to(folder.path / "demo")
    folder.later()
    before = folder.page("demo")
    folder.later()
    folder.page("demo")
    path.write_bytes(make_wheel("demo", "1.0", files={"demo/new.py": "x = 1\n"}).content)
    folder.later(2.0)
    after = folder.page("demo")
    assert after is not None
    assert before is not None
    assert after.files[0].hashes != before.files[0].hashes


def test_a_rescan_time_of_zero_looks_at_the_files_for_every_answer(tmp_path: Path, serve):
    path = ONE.write_to(tmp_path / "demo")
    folder = serve(tmp_path, rescan=0)
    before = folder.page("demo")
    path.write_bytes(make_wheel("demo", "1.0", files={"demo/new.py": "x = 1\n"}).content)
    assert folder.page("demo") != before


def test_an_edited_reason_is_seen_within_the_rescan_time(folder: Folder):
    path = ONE.write_to(folder.path / "demo")
    reason = path.with_name(path.name + ".yanked")
    reason.write_text("slow")
    folder.later()
    folder.page("demo")
    reason.write_text("broken")
    folder.later()
    page = folder.page("demo")
    assert page is not None
    assert page.files[0].yanked is not None
    assert page.files[0].yanked.reason == "broken"


def test_a_root_that_is_a_link_may_be_swapped(tmp_path: Path, serve):
    """Deploying by `ln -sfn`: the followed folder is another one, whatever its times."""
    for name, wheel in (("blue", ONE), ("green", TWO)):
        wheel.write_to(tmp_path / name / "demo")
    link = tmp_path / "current"
    link.symlink_to("blue")
    folder = serve(link)
    folder.later()
    assert folder.files("demo") == [ONE.filename]
    folder.later()
    folder.files("demo")
    swapped = tmp_path / "next"
    swapped.symlink_to("green")
    swapped.replace(link)
    assert folder.files("demo") == [TWO.filename]


def test_a_linked_project_folder_may_be_swapped(tmp_path: Path, serve):
    root = tmp_path / "root"
    root.mkdir()
    for name, wheel in (("blue", ONE), ("green", TWO)):
        wheel.write_to(tmp_path / name)
    (root / "demo").symlink_to(tmp_path / "current")
    (tmp_path / "current").symlink_to("blue")
    folder = serve(root)
    assert folder.files("demo") == [ONE.filename]
    folder.later()
    folder.files("demo")
    (tmp_path / "next").symlink_to("green")
    (tmp_path / "next").replace(tmp_path / "current")
    assert folder.files("demo") == [TWO.filename]


def test_a_linked_folder_that_comes_later_is_seen(tmp_path: Path, serve):
    root = tmp_path / "root"
    root.mkdir()
    (root / "demo").symlink_to(tmp_path / "later")
    folder = serve(root)
    folder.later()
    with pytest.raises(Unavailable):
        folder.page("demo")
    ONE.write_to(tmp_path / "later")
    assert folder.files("demo") == [ONE.filename]


def test_a_root_that_is_gone_is_unavailable_and_never_empty(folder: Folder):
    ONE.write_to(folder.path / "demo")
    folder.later()
    folder.files("demo")
    aside = folder.path.with_name("aside")
    folder.path.rename(aside)
    for question in (folder.source.project_page, folder.source.open_file):
        with pytest.raises(Unavailable):
            answer(question, *(("demo", ONE.filename)[: 1 + (question == folder.source.open_file)]))
    with pytest.raises(Unavailable):
        folder.names()
    with pytest.raises(Unavailable):
        folder.page("unknown")
    aside.rename(folder.path)
    assert folder.files("demo") == [ONE.filename]


def test_a_project_folder_that_cannot_be_read_is_unavailable(folder: Folder, monkeypatch):
    ONE.write_to(folder.path / "demo")
    denied = os.fsencode(folder.path / "demo")
    real = os.listdir

    def listdir(path):
        if path == denied:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    with pytest.raises(Unavailable):
        folder.page("demo")
    monkeypatch.undo()
    assert folder.files("demo") == [ONE.filename]


def test_a_folder_that_empties_leaves_the_list_within_the_rescan_time(folder: Folder):
    path = ONE.write_to(folder.path / "demo")
    assert folder.names() == ("demo",)
    path.unlink()
    folder.later()
    assert folder.names() == ()
    assert folder.page("demo") is None


def test_a_restart_reads_no_file_again(tmp_path: Path, serve, monkeypatch):
    from twisted_index.backends.folder import inspection_scheduler as scheduler

    root = tmp_path / "root"
    for number in range(3):
        path = make_sdist("demo", f"{number}.0").write_to(root / "demo")
    monkeypatch.setattr("twisted_index.files.stamps.RACY_SECONDS", -1)
    ledger = str(tmp_path / "state" / "ledger.sqlite")
    before = serve(root, cache=InspectionCache(ledger)).page("demo")
    monkeypatch.setattr(scheduler, "inspect", lambda *_a, **_k: pytest.fail("a file was read again"))
    assert serve(root, cache=InspectionCache(ledger)).page("demo") == before
    assert path.exists()


@SETTLED_TIMES
def test_an_absence_is_over_when_the_project_comes_whoever_else_was_asked_for_meanwhile(folder: Folder):
    """The roots hold again as soon as they were read again; what they held before does not."""
    ONE.write_to(folder.path / "demo")
    folder.files("demo")
    folder.later()
    folder.files("demo")
    absent = answer(folder.source.project_page, "late")
    assert absent.value is None
    assert absent.is_current()
    make_wheel("late", "1.0").write_to(folder.path)
    folder.files("demo")
    folder.later()
    folder.files("demo")
    assert not absent.is_current()
    assert folder.page("late") is not None


def test_a_file_that_was_being_copied_is_listed_with_the_next_answer_once_it_is_whole(folder: Folder):
    path = ONE.write_to(folder.path / "demo")
    TWO.write_to(folder.path / "demo")
    path.write_bytes(ONE.content[:-40])
    folder.times.clock.advance(0.1)
    assert folder.files("demo") == [TWO.filename]
    with path.open("ab") as file:
        file.write(ONE.content[-40:])
    assert folder.files("demo") == [ONE.filename, TWO.filename]


def test_a_linked_file_whose_target_becomes_a_folder_is_no_longer_there(folder: Folder, tmp_path: Path):
    target = ONE.write_to(tmp_path / "store")
    (folder.path / "demo").mkdir()
    (folder.path / "demo" / ONE.filename).symlink_to(target)
    folder.later()
    assert folder.read("demo", ONE.filename) == ONE.content
    target.unlink()
    target.mkdir()
    assert folder.read("demo", ONE.filename) is None


@pytest.mark.parametrize("far", [1 << 63, -(1 << 63) - 1, 10**21])
def test_a_file_of_an_impossible_date_keeps_no_other_from_being_remembered(far: int):
    learned = CachedInspection(FileFacts(sha256="0" * 64))
    good, bad = StatKey(1, 2, 3), StatKey(1, far, 3)
    with closing(InspectionCache()) as ledger:
        ledger.put(b"/x", [(b"a", good, learned), (b"b", bad, learned), (b"c", good, learned)])
        assert ledger.get(b"/x", {b"a": good, b"b": bad, b"c": good}).keys() == {b"a", b"c"}


def with_settled_root(folder: Folder, project: str) -> None:
    """Have the root read by a request for a project, and again when its times are settled."""
    folder.page(project)
    folder.later()
    folder.page(project)


@SETTLED_TIMES
def test_a_page_stays_current_while_other_projects_come_and_go(tmp_path: Path, serve):
    ONE.write_to(tmp_path / "demo")
    folder = serve(tmp_path, rescan=100)
    with_settled_root(folder, "demo")
    snapshot = answer(folder.source.project_page, "demo")
    path = make_wheel("other", "1.0").write_to(tmp_path)
    assert not snapshot.is_current()
    with_settled_root(folder, "other")
    assert snapshot.is_current()
    path.unlink()
    with_settled_root(folder, "other")
    assert snapshot.is_current()


@SETTLED_TIMES
def test_an_absence_stays_current_while_other_projects_come(tmp_path: Path, serve):
    folder = serve(tmp_path)
    with_settled_root(folder, "absent")
    absent = answer(folder.source.project_page, "absent")
    ONE.write_to(tmp_path)
    assert not absent.is_current()
    with_settled_root(folder, "demo")
    assert absent.is_current()


@SETTLED_TIMES
def test_a_flat_file_that_is_replaced_is_read_again_after_another_project_was(tmp_path: Path, serve):
    """Its name is there as before, and a reading of the root for another project shows no difference."""
    path = ONE.write_to(tmp_path)
    make_wheel("other", "1.0").write_to(tmp_path)
    folder = serve(tmp_path, rescan=100)
    with_settled_root(folder, "demo")
    folder.page("other")
    snapshot = answer(folder.source.project_page, "demo")
    assert snapshot.is_current()
    other = make_wheel("demo", "1.0", files={"demo/new.py": "x = 1\n"})
    other.write_to(tmp_path / "aside").replace(path)
    with_settled_root(folder, "other")
    assert not snapshot.is_current()
    page = folder.page("demo")
    assert page is not None
    assert page.files[0].hashes["sha256"] == other.sha256


def test_the_list_is_the_same_object_when_a_file_comes_for_a_project_that_it_has(tmp_path: Path, serve):
    ONE.write_to(tmp_path / "demo")
    folder = serve(tmp_path)
    before = answer(folder.source.project_list).value
    TWO.write_to(tmp_path)
    assert answer(folder.source.project_list).value is before


def test_the_list_looks_only_into_folders_whose_projects_came(tmp_path: Path, serve, times: Times):
    for number in range(50):
        make_wheel(f"demo-{number}", "1.0").write_to(tmp_path / f"demo-{number}")
    folder = serve(tmp_path, rescan=100)
    assert len(folder.names()) == 50
    ONE.write_to(tmp_path / "demo")
    times.stats = 0
    assert len(folder.names()) == 51
    assert times.stats < 10


def test_requests_that_came_while_a_root_was_read_do_not_read_it_again(tmp_path: Path):
    """Each waits for a reading that began after it; unchanged times are as good as one."""
    held: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    class Held:
        def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
            held.append((Deferred(), lambda: function(*args, **kwargs)))
            return held[-1][0]

        def stop(self) -> Deferred[None]:
            return succeed(None)

    shared = SharedRoots(Held(), StatValidator(wall=lambda: time.time() + 3600))
    roots = RootSet([shared.root(os.fsencode(tmp_path))], shared)
    waiting = [Deferred.fromCoroutine(roots.refresh()) for _ in range(3)]
    reading, read = held.pop()
    reading.callback(read())
    assert all(request.called for request in waiting)
    assert held == []
