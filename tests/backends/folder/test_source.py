"""What lies in a folder, and what of it is served."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface.verify import verifyObject

from tests.kit.at_once import answer
from tests.kit.folder_source import LONG_AGO, AtOnce, Folder
from twisted_index.backends.folder.inspection_scheduler import inspect_files
from twisted_index.interfaces import ILifecycle, IProblemSource, ISource
from twisted_index.simple.model import ProjectStatus, Sidecar, Status
from twisted_index.testing import make_sdist, make_wheel

WHEEL = make_wheel("demo", "1.0", requires_python=">=3.8")
SDIST = make_sdist("demo", "1.0")


def test_it_keeps_the_contracts_of_a_source(folder: Folder):
    for contract in (ISource, IProblemSource, ILifecycle):
        assert verifyObject(contract, folder.source)


# -- Where files may lie


def test_a_project_folder_may_be_spelled_in_any_way(folder: Folder):
    made = make_wheel("foo.bar_baz", "1.0")
    made.write_to(folder.path / "Foo_Bar.BAZ")
    assert folder.files("foo-bar-baz") == [made.filename]
    assert folder.names() == ("foo-bar-baz",)


def test_spellings_of_one_name_are_one_project(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    make_wheel("demo", "2.0").write_to(folder.path / "DEMO")
    assert len(folder.files("demo")) == 2
    assert folder.names() == ("demo",)


def test_a_flat_root_works_alone_and_mixed_with_folders(folder: Folder):
    WHEEL.write_to(folder.path)
    make_wheel("demo", "2.0").write_to(folder.path / "demo")
    make_wheel("other", "1.0").write_to(folder.path)
    assert len(folder.files("demo")) == 2
    assert folder.names() == ("demo", "other")


def test_the_first_root_wins_where_two_have_the_same_file(tmp_path: Path, serve):
    WHEEL.write_to(tmp_path / "a")
    other = make_wheel("Demo", "1.0.0", files={"demo/other.py": ""}, filename="Demo-1.0.0-py3-none-any.whl")
    other.write_to(tmp_path / "b")
    folder = serve(tmp_path / "a", tmp_path / "b")
    page = folder.page("demo")
    assert page is not None
    assert [file.hashes["sha256"] for file in page.files] == [WHEEL.sha256]
    assert list(folder.problems()) == [other.filename]


def test_a_name_with_nothing_named_for_it_is_no_project(folder: Folder):
    (folder.path / "build").mkdir()
    (folder.path / "build" / "notes.txt").write_text("x")
    assert folder.page("build") is None
    assert folder.names() == ()


@pytest.mark.parametrize(
    "name",
    [
        "demo-1.0-py3-none-any.whl.part",
        ".demo-1.0-py3-none-any.whl.Ab12Cd",
        "demo-1.0-py3-none-any.whl.deleted",
        "demo-1.0-py3-none-any.whl",
        ".claimed",
        ".archived",
    ],
)
def test_whatever_is_named_for_a_project_claims_it(folder: Folder, name: str):
    (folder.path / "demo").mkdir()
    (folder.path / "demo" / name).write_bytes(b"")
    page = folder.page("demo")
    assert page is not None
    assert page.files == ()
    assert folder.names() == ("demo",)


@pytest.mark.parametrize(
    "name", ["demo-1.0-py3-none-any.whl.part", "demo-1.0.tar.gz.deleted", "demo-1.0.tar.gz"]
)
def test_what_lies_flat_claims_as_well(folder: Folder, name: str):
    (folder.path / name).write_bytes(b"")
    page = folder.page("demo")
    assert page is not None
    assert page.files == ()


def test_folders_inside_a_project_folder_are_not_read(folder: Folder):
    SDIST.write_to(folder.path / "demo")
    WHEEL.write_to(folder.path / "demo" / "old")
    assert folder.files("demo") == [SDIST.filename]
    assert list(folder.problems()) == [f"demo/old/{WHEEL.filename}"]


def test_a_file_in_another_projects_folder_is_told_where_to_go(folder: Folder):
    SDIST.write_to(folder.path / "demo")
    make_wheel("other", "1.0").write_to(folder.path / "demo")
    assert folder.files("demo") == [SDIST.filename]
    assert folder.page("other") is None
    assert "other" in folder.problems()["demo/other-1.0-py3-none-any.whl"]


# -- What a page says of a file


def test_a_dropped_wheel_has_all_that_an_uploaded_one_has(folder: Folder):
    path = WHEEL.write_to(folder.path / "demo")
    os.utime(path, (LONG_AGO, LONG_AGO))
    page = folder.page("demo")
    assert page is not None
    (file,) = page.files
    assert file.hashes == {"sha256": WHEEL.sha256}
    assert file.size == WHEEL.size
    assert file.requires_python == ">=3.8"
    assert file.core_metadata is not None
    assert file.upload_time == datetime.fromtimestamp(LONG_AGO, UTC)


def test_the_upload_time_is_never_in_the_future(folder: Folder):
    path = WHEEL.write_to(folder.path / "demo")
    os.utime(path, (2**32, 2**32))
    page = folder.page("demo")
    assert page is not None
    assert page.files[0].upload_time is not None
    assert page.files[0].upload_time <= datetime.now(UTC)


@pytest.mark.parametrize("sidecar", [None, Sidecar.METADATA, Sidecar.SIGNATURE])
def test_the_last_modification_is_never_in_the_future(folder: Folder, sidecar: Sidecar | None):
    made = make_wheel("demo", "1.0")
    path = made.write_to(folder.path)
    signature = folder.path / f"{made.filename}.asc"
    signature.write_text("x")
    for one in (path, signature):
        os.utime(one, (4_000_000_000, 4_000_000_000))
    folder.page("demo")
    body = answer(folder.source.open_file, "demo", made.filename, sidecar)
    assert body.modified <= os.stat(path).st_ctime + 1
    if not isinstance(body.content, bytes):
        body.content.close()


def test_files_are_ordered_by_version(folder: Folder):
    for version in ("1.10", "1.9", "2.0.dev1", "1.9.post1"):
        make_wheel("demo", version).write_to(folder.path / "demo")
    page = folder.page("demo")
    assert page is not None
    assert page.versions == ("1.9", "1.9.post1", "1.10", "2.0.dev1")


def test_core_metadata_is_what_is_in_the_wheel(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    assert folder.read("demo", WHEEL.filename, Sidecar.METADATA) == WHEEL.metadata
    assert folder.read("demo", SDIST.filename, Sidecar.METADATA) is None


def test_the_bytes_are_those_of_the_file(folder: Folder):
    for made in (WHEEL, SDIST):
        made.write_to(folder.path)
        assert folder.read("demo", made.filename) == made.content


# -- Sidecars and statuses


def test_a_reason_in_a_file_yanks_the_file_beside_it(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    SDIST.write_to(folder.path / "demo")
    (folder.path / "demo" / f"{SDIST.filename}.yanked").write_text("broken\n")
    page = folder.page("demo")
    assert page is not None
    yanks = {file.filename: file.yanked for file in page.files}
    assert yanks[WHEEL.filename] is None
    assert yanks[SDIST.filename] is not None
    assert yanks[SDIST.filename].reason == "broken"


def test_a_deleted_files_name_stays_taken(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    (folder.path / "demo" / f"{WHEEL.filename}.deleted").touch()
    assert folder.files("demo") == []
    assert folder.read("demo", WHEEL.filename) is None
    assert "deleted" in folder.problems()[f"demo/{WHEEL.filename}"]


@pytest.mark.parametrize("sidecar", [Sidecar.SIGNATURE, Sidecar.PROVENANCE])
def test_sidecars_are_served_when_they_exist(folder: Folder, sidecar: Sidecar):
    WHEEL.write_to(folder.path / "demo")
    assert folder.read("demo", WHEEL.filename, sidecar) is None
    (folder.path / "demo" / f"{WHEEL.filename}{sidecar.value}").write_text("document")
    page = folder.page("demo")
    assert page is not None
    assert page.files[0].sidecars == {sidecar}
    assert folder.read("demo", WHEEL.filename, sidecar) == b"document"


def test_a_sidecar_that_is_a_link_is_not_followed(folder: Folder, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    WHEEL.write_to(folder.path / "demo")
    (folder.path / "demo" / f"{WHEEL.filename}.asc").symlink_to(secret)
    assert folder.read("demo", WHEEL.filename, Sidecar.SIGNATURE) is None
    assert f"demo/{WHEEL.filename}.asc" in folder.problems()


def test_a_status_file_sets_the_status_with_its_reason(folder: Folder):
    WHEEL.write_to(folder.path)
    (folder.path / "demo").mkdir()
    (folder.path / "demo" / ".archived").write_text("see other")
    page = folder.page("demo")
    assert page is not None
    assert page.status == ProjectStatus(status=Status.ARCHIVED, reason="see other")
    assert folder.files("demo") == [WHEEL.filename]


def test_the_strictest_status_wins_over_spellings(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    (folder.path / "demo" / ".deprecated").write_text("old")
    (folder.path / "Demo").mkdir()
    (folder.path / "Demo" / ".quarantined").write_text("malware")
    page = folder.page("demo")
    assert page is not None
    assert page.status == ProjectStatus(status=Status.QUARANTINED, reason="malware")


def test_a_quarantined_project_offers_nothing_and_is_not_in_the_list(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    (folder.path / "demo" / ".quarantined").touch()
    assert folder.files("demo") == []
    assert folder.read("demo", WHEEL.filename) is None
    assert folder.names() == ()


# -- What is not served


def test_a_truncated_wheel_is_not_listed_until_it_is_whole(folder: Folder):
    path = WHEEL.write_to(folder.path / "demo")
    path.write_bytes(WHEEL.content[:-30])
    assert folder.files("demo") == []
    assert "in part" in folder.problems()[f"demo/{WHEEL.filename}"]
    path.write_bytes(WHEEL.content)
    assert folder.files("demo") == [WHEEL.filename]
    assert folder.problems() == {}


def test_a_young_wheel_with_a_hole_is_not_listed(folder: Folder):
    """Written out of order: the directory at its end is there, the middle is not."""
    wheel = make_wheel("demo", "1.0", files={"demo/data": "x" * 10_000}, compress=False)
    hole = wheel.content.replace(b"x" * 10_000, b"\0" * 10_000)
    path = wheel.write_to(folder.path / "demo")
    path.write_bytes(hole)
    assert folder.files("demo") == []
    path.write_bytes(wheel.content)
    assert folder.files("demo") == [wheel.filename]


def test_metadata_that_contradicts_the_file_name_is_not_listed(folder: Folder):
    make_wheel("demo", "1.0", metadata="Metadata-Version: 2.1\nName: other\nVersion: 1.0\n").write_to(
        folder.path
    )
    make_wheel("fine", "1.0", metadata="Metadata-Version: 2.1\nName: fine\nVersion: 2.0\n").write_to(
        folder.path
    )
    assert folder.files("demo") == []
    assert folder.files("fine") == []
    assert len(folder.problems()) == 2


def test_a_fifo_named_like_a_wheel_holds_nobody(folder: Folder):
    (folder.path / "demo").mkdir()
    os.mkfifo(folder.path / "demo" / WHEEL.filename)
    assert folder.files("demo") == []
    assert f"demo/{WHEEL.filename}" in folder.problems()


def test_links_to_files_are_followed(folder: Folder, tmp_path: Path):
    path = WHEEL.write_to(tmp_path / "store")
    (folder.path / "demo").mkdir()
    (folder.path / "demo" / WHEEL.filename).symlink_to(path)
    assert folder.read("demo", WHEEL.filename) == WHEEL.content


def test_a_link_that_leads_nowhere_is_told(folder: Folder):
    (folder.path / "demo").mkdir()
    (folder.path / "demo" / WHEEL.filename).symlink_to("nowhere")
    assert folder.files("demo") == []
    assert f"demo/{WHEEL.filename}" in folder.problems()


@pytest.mark.parametrize(
    "name", [b'"><script>-1.0.tar.gz', b"new\nline-1.0.tar.gz", b"\xff\xfe-1.0.tar.gz", b"x" * 251 + b".whl"]
)
def test_hostile_names_are_told_and_do_no_harm(folder: Folder, name: bytes):
    WHEEL.write_to(folder.path / "demo")
    with open(os.path.join(os.fsencode(folder.path), b"demo", name), "wb"):
        pass
    assert folder.files("demo") == [WHEEL.filename]
    (path,) = folder.problems()
    assert path.isprintable()


def test_a_bomb_in_the_metadata_is_refused(folder: Folder):
    path = folder.path / WHEEL.filename
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("demo-1.0.dist-info/METADATA", b"Name: demo\n" + b"x" * (64 << 20))
    assert folder.files("demo") == []
    assert list(folder.problems()) == [WHEEL.filename]


def test_other_files_are_not_told_as_problems(folder: Folder):
    (folder.path / "README.md").write_text("hello")
    WHEEL.write_to(folder.path / "demo")
    (folder.path / "demo" / "notes.txt").write_text("hello")
    assert folder.problems() == {}


def test_a_download_that_a_browser_gave_up_is_told_as_a_problem_and_a_running_copy_is_not(folder: Folder):
    for suffix in (".crdownload", ".part"):
        (folder.path / f"{WHEEL.filename}{suffix}").write_bytes(WHEEL.content[:100])
    (folder.path / f".{WHEEL.filename}.crdownload").write_bytes(b"")
    assert folder.files("demo") == []
    assert list(folder.problems()) == [f"{WHEEL.filename}.crdownload"]


def test_a_file_is_checked_alone_when_it_is_asked_for(folder: Folder, monkeypatch):
    from twisted_index.backends.folder import inspection_scheduler as scheduler

    WHEEL.write_to(folder.path / "demo")
    make_wheel("demo", "2.0").write_to(folder.path / "demo")
    seen = []
    real = scheduler.inspect
    monkeypatch.setattr(scheduler, "inspect", lambda path, *a, **k: seen.append(path) or real(path, *a, **k))
    assert folder.read("demo", WHEEL.filename) == WHEEL.content
    assert [os.path.basename(path) for path in seen] == [os.fsencode(WHEEL.filename)]


def test_a_root_that_is_gone_is_not_said_to_be_without_problems(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    assert folder.problems() == {}
    folder.path.rename(folder.path.with_name("aside"))
    report = answer(folder.source.problems)
    assert [problem.path for problem in report.problems] == [f"{folder.path.name}/"]
    assert not report.complete


def test_a_status_that_is_misspelled_is_told(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    (folder.path / "demo" / ".Quarantined").touch()
    assert folder.files("demo") == [WHEEL.filename]
    assert list(folder.problems()) == ["demo/.Quarantined"]


def test_a_yank_of_a_file_that_is_not_there_is_told(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    (folder.path / "demo" / "demo-2.0.tar.gz.yanked").touch()
    assert list(folder.problems()) == ["demo/demo-2.0.tar.gz.yanked"]


def test_a_crowd_that_asks_for_a_cold_project_has_each_file_read_once(folder: Folder, monkeypatch):
    from twisted_index.backends.folder import inspection_scheduler as scheduler

    for number in range(5):
        make_wheel("demo", f"{number}.0").write_to(folder.path / "demo")
    seen = []
    real = scheduler.inspect
    monkeypatch.setattr(scheduler, "inspect", lambda path, *a, **k: seen.append(path) or real(path, *a, **k))
    answers = [maybeDeferred(folder.source.project_page, "demo") for _ in range(50)]
    assert all(one.called for one in answers)
    assert len(seen) == 5


def test_a_yank_in_another_projects_folder_is_told_where_it_lies(folder: Folder):
    WHEEL.write_to(folder.path / "other")
    (folder.path / "other" / f"{WHEEL.filename}.yanked").touch()
    assert list(folder.problems()) == [f"other/{WHEEL.filename}", f"other/{WHEEL.filename}.yanked"]


def test_a_signature_that_is_too_large_is_told_and_not_promised(folder: Folder):
    WHEEL.write_to(folder.path / "demo")
    (folder.path / "demo" / f"{WHEEL.filename}.asc").write_bytes(b"x" * (2 << 20))
    page = folder.page("demo")
    assert page is not None
    assert page.files[0].sidecars == frozenset()
    assert folder.read("demo", WHEEL.filename, Sidecar.SIGNATURE) is None
    assert list(folder.problems()) == [f"demo/{WHEEL.filename}.asc"]


class Halting(AtOnce):
    """A worker that does not get on with one file."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.held: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        if function is not inspect_files or not any(entry.path.endswith(self.name) for entry, _ in args[0]):
            return super().run(function, *args, **kwargs)
        waiting: Deferred[Any] = Deferred()
        self.held.append((waiting, lambda: function(*args, **kwargs)))
        return waiting

    def go_on(self) -> None:
        while self.held:
            waiting, work = self.held.pop()
            waiting.callback(work())


def test_a_file_that_goes_while_the_others_are_read_keeps_nobody_from_an_answer(tmp_path, serve):
    reader = Halting(b"demo-2.0-py3-none-any.whl")
    folder = serve(tmp_path, reader=reader)
    for version in ("1.0", "2.0"):
        make_wheel("demo", version).write_to(tmp_path / "demo")
    pages = []
    maybeDeferred(folder.source.project_page, "demo").addBoth(pages.append)
    (tmp_path / "demo" / "demo-1.0-py3-none-any.whl").unlink()
    maybeDeferred(folder.source.project_page, "demo").addBoth(pages.append)
    reader.go_on()
    assert [[file.version for file in page.value.files] for page in pages] == [["2.0"], ["2.0"]]
