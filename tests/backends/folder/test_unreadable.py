"""What cannot be read takes down itself: its name stays claimed, everything else is answered."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.kit.at_once import answer
from tests.kit.folder_source import AtOnce, Folder
from twisted_index.backends.folder import inspection_scheduler as scheduler
from twisted_index.errors import OutOfResources, Unavailable, UnreadableFolder
from twisted_index.indexes.name_ownership import NameOwnershipSource
from twisted_index.indexes.routing import RoutedSource, SourceRoute
from twisted_index.simple.model import Sidecar, Status
from twisted_index.testing import MemorySource, make_sdist, make_wheel

DEMO = make_wheel("demo", "1.0")
OTHER = make_wheel("other", "1.0")
ERRORS = ("EACCES", "EPERM", "EIO", "ESTALE", "ELOOP", "ENAMETOOLONG", "ETIMEDOUT", "EHOSTDOWN", "ENOTCONN")
_NOBODY = 65534


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let system calls fail for one path, as a sick disk or a mount that has died does."""

    def start(path: Path, code: int, *calls: str) -> None:
        broken = os.fsencode(path)
        for name in calls:
            real = getattr(os, name)

            def call(one, *args, real=real, **kwargs):
                if os.fsencode(one) in (broken, os.path.join(broken, b".")):
                    raise OSError(code, os.strerror(code), one)
                return real(one, *args, **kwargs)

            monkeypatch.setattr(os, name, call)

    return start


@pytest.fixture
def open_root() -> Iterator[Path]:
    """A folder that every user of the machine may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Ask as a user to whom the modes of files mean something."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def refused(folder: Folder, project: str = "demo") -> str:
    with pytest.raises(UnreadableFolder) as caught:
        folder.page(project)
    return caught.value.message


# -- One project's folder


@pytest.mark.parametrize("call", ["stat", "listdir"])
@pytest.mark.parametrize("code", ERRORS)
def test_a_folder_that_cannot_be_read_takes_down_its_project_alone(
    folder: Folder, fail: Callable[..., None], code: str, call: str
):
    DEMO.write_to(folder.path / "demo")
    OTHER.write_to(folder.path / "other")
    fail(folder.path / "demo", getattr(errno, code), call)

    assert refused(folder) == (
        f"The folder demo/ cannot be read right now: {os.strerror(getattr(errno, code))}."
    )
    assert folder.files("other") == [OTHER.filename]
    seen = answer(folder.source.project_list).value
    assert seen.names == ("other",)
    assert seen.complete
    assert list(folder.problems()) == ["demo/"]


@pytest.mark.parametrize("code", ["EACCES", "EIO", "ENOTCONN"])
def test_nobody_else_is_asked_for_a_name_whose_folder_cannot_be_read(
    folder: Folder, fail: Callable[..., None], code: str
):
    DEMO.write_to(folder.path / "demo")
    theirs = MemorySource(DEMO)
    both = NameOwnershipSource(folder.source, theirs)
    fail(folder.path / "demo", getattr(errno, code), "listdir")
    for question, *about in ((both.project_page, "demo"), (both.open_file, "demo", DEMO.filename)):
        with pytest.raises(UnreadableFolder):
            answer(question, *about)
    assert theirs.calls == []


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_folder_is_read_again_as_soon_as_the_right_is_given_back(open_root: Path, serve, mode: int):
    DEMO.write_to(open_root / "demo")
    OTHER.write_to(open_root / "other")
    folder = serve(open_root)
    assert folder.names() == ("demo", "other")
    folder.later()
    folder.files("demo")
    (open_root / "demo").chmod(mode)
    with as_nobody():
        folder.later()
        refused(folder)
        assert folder.names() == ("other",)
        assert folder.files("other") == [OTHER.filename]
        assert "Permission denied" in folder.problems()["demo/"]
    (open_root / "demo").chmod(0o755)
    with as_nobody():
        assert folder.names() == ("demo", "other")
        assert folder.files("demo") == [DEMO.filename]
        assert folder.problems() == {}


def test_a_folder_that_was_never_read_is_read_as_soon_as_it_can_be(open_root: Path, serve):
    DEMO.write_to(open_root / "demo")
    (open_root / "demo").chmod(0)
    folder = serve(open_root)
    with as_nobody():
        assert folder.names() == ()
        refused(folder)
    (open_root / "demo").chmod(0o755)
    with as_nobody():
        assert folder.files("demo") == [DEMO.filename]
        assert folder.names() == ("demo",)


def test_many_folders_that_cannot_be_read_come_back_at_once_too(open_root: Path, serve):
    for number in range(30):
        make_wheel(f"p{number}", "1.0").write_to(open_root / f"p{number}")
        (open_root / f"p{number}").chmod(0)
    folder = serve(open_root)
    with as_nobody():
        assert folder.names() == ()
        assert len(folder.problems()) == 30
    (open_root / "p7").chmod(0o755)
    with as_nobody():
        assert folder.names() == ("p7",)


def test_the_list_holds_while_a_folder_still_cannot_be_read(open_root: Path, serve):
    DEMO.write_to(open_root / "demo")
    OTHER.write_to(open_root / "other")
    (open_root / "demo").chmod(0)
    folder = serve(open_root)
    folder.later()
    with as_nobody():
        folder.names()
        folder.later()
        seen = answer(folder.source.project_list)
        assert seen.is_current()
    (open_root / "demo").chmod(0o755)
    with as_nobody():
        assert not seen.is_current()


def test_one_spelling_that_cannot_be_read_hides_the_files_of_none(folder: Folder, fail: Callable[..., None]):
    """A page without them would have files missing, or offer what the other folder quarantines."""
    DEMO.write_to(folder.path / "demo")
    (folder.path / "Demo").mkdir()
    fail(folder.path / "Demo", errno.EACCES, "listdir")
    assert "Demo/" in refused(folder)


def test_the_metric_counts_it_once_the_list_was_made(folder: Folder, fail: Callable[..., None], monkeypatch):
    DEMO.write_to(folder.path / "demo")
    fail(folder.path / "demo", errno.EACCES, "listdir")
    folder.names()
    (metric,) = folder.source.collect()
    assert [sample.value for sample in metric.samples] == [1]
    monkeypatch.undo()
    folder.later()
    folder.names()
    (metric,) = folder.source.collect()
    assert [sample.value for sample in metric.samples] == [0]


@pytest.mark.parametrize("code", ["EMFILE", "ENFILE", "ENOMEM"])
def test_a_server_that_is_short_of_means_leaves_nothing_out(
    folder: Folder, fail: Callable[..., None], code: str
):
    """It says nothing of the folder, and so the list is an answer for later."""
    DEMO.write_to(folder.path / "demo")
    fail(folder.path / "demo", getattr(errno, code), "listdir")
    with pytest.raises(OutOfResources):
        folder.names()
    with pytest.raises(OutOfResources):
        folder.page("demo")


def test_a_folder_that_goes_between_two_looks_is_gone(folder: Folder, monkeypatch):
    DEMO.write_to(folder.path / "demo")
    real = os.listdir

    def listdir(path):
        shutil.rmtree(path)
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    assert folder.page("demo") is None


# -- Links


def test_a_link_to_a_folder_that_is_away_keeps_its_name(folder: Folder, tmp_path: Path):
    """What it led to may be a disk that is not mounted right now."""
    DEMO.write_to(tmp_path / "store")
    (folder.path / "demo").symlink_to(tmp_path / "store")
    assert folder.files("demo") == [DEMO.filename]
    (tmp_path / "store").rename(tmp_path / "away")
    folder.later()
    assert refused(folder).endswith("No such file or directory.")
    assert folder.names() == ()
    assert list(folder.problems()) == ["demo/"]
    (tmp_path / "away").rename(tmp_path / "store")
    assert folder.files("demo") == [DEMO.filename]
    assert folder.names() == ("demo",)


def test_links_that_lead_in_a_circle_keep_their_name(folder: Folder):
    (folder.path / "demo").symlink_to("other")
    (folder.path / "other").symlink_to("demo")
    (folder.path / "self").symlink_to("self")
    for project in ("demo", "other", "self"):
        refused(folder, project)
    assert folder.names() == ()


def test_a_link_into_a_folder_that_may_not_be_entered_keeps_its_name(open_root: Path, serve):
    root = open_root / "packages"
    root.mkdir()
    DEMO.write_to(open_root / "locked" / "demo")
    (root / "demo").symlink_to(open_root / "locked" / "demo")
    (open_root / "locked").chmod(0)
    folder = serve(root)
    with as_nobody():
        refused(folder)
        assert folder.names() == ()
    (open_root / "locked").chmod(0o755)
    with as_nobody():
        assert folder.files("demo") == [DEMO.filename]
        assert folder.names() == ("demo",)


def test_a_link_to_a_file_claims_no_name(folder: Folder):
    (folder.path / "README.md").write_text("hello")
    (folder.path / "readme").symlink_to("README.md")
    assert folder.page("readme") is None
    assert folder.problems() == {}


# -- One file


def test_a_file_that_cannot_be_opened_hides_no_other(open_root: Path, serve):
    secret = make_sdist("demo", "2.0")
    DEMO.write_to(open_root / "demo")
    path = secret.write_to(open_root / "demo")
    path.chmod(0)
    folder = serve(open_root)
    with as_nobody():
        assert folder.files("demo") == [DEMO.filename]
        assert list(folder.problems()) == [f"demo/{secret.filename}"]
    path.chmod(0o644)
    with as_nobody():
        assert folder.files("demo") == [DEMO.filename, secret.filename]


@pytest.mark.parametrize("code", ["EIO", "ESTALE", "EACCES"])
def test_a_file_that_cannot_be_looked_at_hides_no_other(
    folder: Folder, fail: Callable[..., None], code: str, monkeypatch
):
    DEMO.write_to(folder.path / "demo")
    broken = make_sdist("demo", "2.0").write_to(folder.path / "demo")
    fail(broken, getattr(errno, code), "stat", "lstat")
    assert folder.files("demo") == [DEMO.filename]
    assert os.strerror(getattr(errno, code)) in folder.problems()[f"demo/{broken.name}"]
    monkeypatch.undo()
    assert folder.files("demo") == [DEMO.filename, broken.name]


def test_a_link_to_a_file_that_may_not_be_reached_is_listed_once_it_may(open_root: Path, serve):
    root = open_root / "packages"
    OTHER.write_to(root / "other")
    path = DEMO.write_to(open_root / "locked")
    (root / "demo").mkdir()
    (root / "demo" / DEMO.filename).symlink_to(path)
    (open_root / "locked").chmod(0)
    folder = serve(root)
    with as_nobody():
        assert folder.files("demo") == []
        assert folder.problems()[f"demo/{DEMO.filename}"] == (
            "It is a link that cannot be followed: Permission denied."
        )
        (problem,) = answer(folder.source.problems).problems
        assert problem.advice == "Grant the server permission to enter the folders on the path to its target."
    (open_root / "locked").chmod(0o755)
    with as_nobody():
        assert folder.files("demo") == [DEMO.filename]


def test_a_file_that_goes_while_its_folder_is_read_is_no_problem(folder: Folder, monkeypatch):
    DEMO.write_to(folder.path / "demo")
    real = os.listdir
    monkeypatch.setattr(
        os,
        "listdir",
        lambda path: [*real(path), b"demo-2.0.tar.gz"] if path.endswith(b"demo") else real(path),
    )
    assert folder.files("demo") == [DEMO.filename]
    assert folder.problems() == {}


# -- What says something of a file or a project


def test_a_yank_whose_reason_cannot_be_read_counts(open_root: Path, serve):
    DEMO.write_to(open_root / "demo")
    mark = open_root / "demo" / f"{DEMO.filename}.yanked"
    mark.write_text("secret")
    mark.chmod(0)
    folder = serve(open_root)
    with as_nobody():
        page = folder.page("demo")
    assert page is not None
    assert page.files[0].yanked is not None
    assert page.files[0].yanked.reason == ""


@pytest.mark.parametrize("code", ["EIO", "ESTALE"])
def test_a_mark_that_cannot_be_looked_at_counts(folder: Folder, fail: Callable[..., None], code: str):
    """To forget it would offer again what was taken back."""
    gone = make_sdist("demo", "2.0")
    for made in (DEMO, gone):
        made.write_to(folder.path / "demo")
    for mark in (f"{DEMO.filename}.yanked", f"{gone.filename}.deleted"):
        (folder.path / "demo" / mark).touch()
        fail(folder.path / "demo" / mark, getattr(errno, code), "lstat")
    page = folder.page("demo")
    assert page is not None
    assert [(file.filename, file.yanked is not None) for file in page.files] == [(DEMO.filename, True)]

    OTHER.write_to(folder.path / "other")
    (folder.path / "other" / ".quarantined").touch()
    fail(folder.path / "other" / ".quarantined", getattr(errno, code), "lstat")
    page = folder.page("other")
    assert page is not None
    assert (page.files, page.status.status) == ((), Status.QUARANTINED)


def test_a_signature_that_cannot_be_read_is_told_and_not_promised(open_root: Path, serve):
    DEMO.write_to(open_root / "demo")
    signature = open_root / "demo" / f"{DEMO.filename}.asc"
    signature.write_text("signature")
    signature.chmod(0)
    folder = serve(open_root)
    with as_nobody():
        page = folder.page("demo")
        assert list(folder.problems()) == [f"demo/{signature.name}"]
        assert folder.read("demo", DEMO.filename, Sidecar.SIGNATURE) is None
    assert page is not None
    assert page.files[0].sidecars == frozenset()


# -- One of several roots

BOTH, FIRST, SECOND, UNKNOWN = "both", "first", "second", "unknown"


@pytest.fixture
def roots(open_root: Path) -> tuple[Path, Path]:
    a, b = open_root / "a", open_root / "b"
    for project, folders in ((BOTH, (a, b)), (FIRST, (a,)), (SECOND, (b,))):
        for number, root in enumerate(folders, 1):
            make_wheel(project, f"{number}.0").write_to(root / project)
    return a, b


@pytest.mark.parametrize(("locked", "left", "lost"), [("b", FIRST, SECOND), ("a", SECOND, FIRST)])
def test_a_root_that_cannot_be_read_takes_down_its_own_names_alone(
    roots: tuple[Path, Path], serve, locked: str, left: str, lost: str
):
    folder = serve(*roots)
    theirs = MemorySource(*(make_wheel(name, "9.0") for name in (BOTH, FIRST, SECOND, UNKNOWN)))
    chain = NameOwnershipSource(folder.source, theirs)
    assert folder.names() == (BOTH, FIRST, SECOND)
    root = roots[0].parent / locked
    root.chmod(0)
    with as_nobody():
        folder.later()
        assert folder.files(left) == [f"{left}-1.0-py3-none-any.whl"]
        assert answer(chain.project_page, left).value.versions == ("1.0",)
        for project in (BOTH, lost, UNKNOWN):
            for question in (folder.source.project_page, chain.project_page):
                with pytest.raises(Unavailable):
                    answer(question, project)
        seen = answer(folder.source.project_list).value
        assert (seen.names, seen.complete) == ((left,), False)
        report = answer(folder.source.problems)
        assert [problem.path for problem in report.problems] == [f"{locked}/"]
        assert not report.complete
    assert theirs.calls == []
    root.chmod(0o755)
    with as_nobody():
        assert folder.files(BOTH) == [f"{BOTH}-{n}.0-py3-none-any.whl" for n in (1, 2)]
        assert folder.names() == (BOTH, FIRST, SECOND)
        assert folder.page(UNKNOWN) is None


def test_a_root_that_may_be_listed_but_not_entered_is_not_read(roots: tuple[Path, Path], serve):
    """All that is in it would look as if each of its files had a fault of its own."""
    folder = serve(*roots)
    folder.names()
    roots[1].chmod(0o444)
    with as_nobody():
        assert answer(folder.source.project_list).value.names == (FIRST,)
        with pytest.raises(UnreadableFolder):
            folder.page(SECOND)


def test_nothing_can_be_told_before_every_root_was_read_once(roots: tuple[Path, Path], serve):
    """Any name may be in the other one, with a yank or a quarantine."""
    roots[1].chmod(0)
    folder = serve(*roots)
    with as_nobody():
        for project in (BOTH, FIRST, SECOND, UNKNOWN):
            refused(folder, project)
        with pytest.raises(UnreadableFolder):
            folder.names()


def test_no_path_of_the_server_is_told(roots: tuple[Path, Path], serve):
    folder = serve(*roots)
    folder.names()
    roots[1].chmod(0)
    with as_nobody():
        assert (
            refused(folder, SECOND)
            == "One of the package folders cannot be read right now: Permission denied."
        )


def test_a_root_that_stays_away_costs_no_more_with_every_question(roots: tuple[Path, Path], serve):
    folder = serve(*roots)
    folder.names()
    roots[1].rename(roots[1].with_name("away"))
    frames = set()
    for _question in range(20):
        with pytest.raises(UnreadableFolder) as caught:
            folder.page(SECOND)
        frames.add(len(list(traceback.walk_tb(caught.tb))))
    assert len(frames) == 1


def test_the_list_of_several_sources_lacks_the_names_of_one_that_cannot_tell(folder: Folder):
    OTHER.write_to(folder.path / "other")
    away = MemorySource(DEMO)
    routed = RoutedSource([SourceRoute(pattern="demo", source=away)], folder.source)
    assert answer(routed.project_list).value.names == ("demo", "other")
    away.failure = Unavailable("It is down.")
    seen = answer(routed.project_list)
    assert (seen.value.names, seen.value.complete) == (("other",), False)
    away.failure = None
    assert not seen.is_current()
    assert answer(routed.project_list).value.names == ("demo", "other")


def test_a_project_that_cannot_be_looked_at_by_our_fault_hides_no_other_problem(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
):
    DEMO.write_to(folder.path / "demo").write_bytes(b"damaged")
    OTHER.write_to(folder.path / "other")
    real = scheduler.inspect

    def inspect(path, *args, **kwargs):
        if path.endswith(os.fsencode(OTHER.filename)):
            raise ZeroDivisionError
        return real(path, *args, **kwargs)

    monkeypatch.setattr(scheduler, "inspect", inspect)
    assert sorted(folder.problems()) == [f"demo/{DEMO.filename}", "other/"]


class _Mover(AtOnce):
    """Threads in which a root goes away, or is another one, when a project in it is about to be read."""

    def __init__(self, root: Path) -> None:
        self._root, self.calls, self.before, self.replaces = root, 0, 0, False

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        self.calls += 1
        if self.calls == self.before:
            self._root.rename(self._root.with_name("moved"))
            if self.replaces:
                make_wheel("demo", "9.0").write_to(self._root / "demo")
        return super().run(function, *args, **kwargs)


@pytest.mark.parametrize("before", range(1, 6))
def test_a_root_that_goes_while_a_project_in_it_is_read_is_no_page_without_files(
    tmp_path: Path, serve, before: int
):
    root = tmp_path / "packages"
    DEMO.write_to(root / "demo")
    mover = _Mover(root)
    mover.before = before
    folder = serve(root, reader=mover)
    with contextlib.suppress(Unavailable):
        page = folder.page("demo")
        assert page is not None
        assert [file.filename for file in page.files] == [DEMO.filename]


@pytest.mark.parametrize("before", range(1, 6))
def test_a_root_that_is_replaced_while_it_is_read_is_read_again(tmp_path: Path, serve, before: int):
    root = tmp_path / "packages"
    DEMO.write_to(root / "demo")
    mover = _Mover(root)
    mover.before, mover.replaces = before, True
    folder = serve(root, reader=mover)
    page = folder.page("demo")
    assert page is not None
    assert page.files
