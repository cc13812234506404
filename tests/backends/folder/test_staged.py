"""Files that lie in their places and are not to be seen yet: lists in `.staged/` hide them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.kit.at_once import answer
from tests.kit.folder_source import AtOnce, Folder
from tests.kit.folder_store import Shop
from twisted_index.backends.folder import source as folder_source
from twisted_index.backends.folder.folder_check import FolderCheck
from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.backends.folder.promotion_record import Promotions
from twisted_index.backends.layout.promotion_record import PromotionRecord
from twisted_index.errors import Conflict, NotFound, UnreadableFolder
from twisted_index.indexes.name_ownership import NameOwnershipSource
from twisted_index.interfaces import Snapshot
from twisted_index.resolution.local_projects import LocalProjects
from twisted_index.simple.model import File, ProjectList, ProjectPage, Sidecar
from twisted_index.testing import make_sdist, make_wheel

WHEEL, SDIST = make_wheel("demo", "1.0"), make_sdist("demo", "1.0")
NEW, OTHER = make_wheel("demo", "2.0"), make_wheel("other", "1.0")


def hide(root: Path, *names: str, name: str = "one.list") -> Path:
    path = root / ".staged" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in names))
    return path


@pytest.fixture
def root(folder: Folder) -> Path:
    return folder.path


@pytest.mark.parametrize("below", ["demo", "."])
def test_a_file_that_a_list_names_is_not_there_until_the_list_is_gone(folder: Folder, root: Path, below: str):
    WHEEL.write_to(root / below)
    NEW.write_to(root / below)
    path = hide(root, NEW.filename)
    assert folder.files("demo") == [WHEEL.filename]
    assert folder.read("demo", NEW.filename) is None
    path.unlink()
    assert folder.files("demo") == [WHEEL.filename, NEW.filename]
    assert folder.read("demo", NEW.filename) == NEW.content


@pytest.mark.parametrize("below", ["demo", "."])
def test_a_project_of_which_all_is_hidden_is_none(folder: Folder, root: Path, below: str):
    WHEEL.write_to(root / below)
    path = hide(root, WHEEL.filename)
    assert folder.page("demo") is None
    assert folder.names() == ()
    path.unlink()
    assert folder.names() == ("demo",)
    assert folder.files("demo") == [WHEEL.filename]


def test_a_list_made_while_the_server_runs_hides_what_was_there(folder: Folder, root: Path):
    WHEEL.write_to(root / "demo")
    assert folder.names() == ("demo",)
    assert folder.files("demo") == [WHEEL.filename]
    hide(root, WHEEL.filename)
    assert folder.page("demo") is None
    folder.later()
    assert folder.names() == ()


def test_a_small_file_in_memory_is_not_sent_again_once_it_is_hidden(folder: Folder, root: Path):
    WHEEL.write_to(root / "demo")
    (root / ".staged").mkdir()
    folder.page("demo")
    folder.later()
    assert folder.page("demo") is not None
    body = answer(folder.source.open_file, "demo", WHEEL.filename)
    body.content.close()
    assert body.reopen().reopen() is not None
    hide(root, WHEEL.filename)
    assert body.reopen() is None


@pytest.mark.parametrize("suffix", [".asc", ".provenance", ".yanked"])
def test_what_lies_beside_a_hidden_file_is_hidden_too(folder: Folder, root: Path, suffix: str):
    WHEEL.write_to(root / "demo")
    (root / "demo" / f"{WHEEL.filename}{suffix}").write_bytes(b"{}")
    hide(root, WHEEL.filename)
    assert folder.page("demo") is None
    assert folder.names() == ()
    assert folder.problems() == {}


def test_a_sidecar_can_be_hidden_alone(folder: Folder, root: Path):
    WHEEL.write_to(root / "demo")
    (root / "demo" / f"{WHEEL.filename}.yanked").write_bytes(b"broken")
    path = hide(root, f"{WHEEL.filename}.yanked")
    page = folder.page("demo")
    assert page is not None
    assert page.files[0].yanked is None
    path.unlink()
    page = folder.page("demo")
    assert page is not None
    assert page.files[0].yanked is not None


def test_a_tombstone_is_not_hidden_with_its_file(folder: Folder, root: Path):
    WHEEL.write_to(root / "demo")
    (root / "demo" / f"{WHEEL.filename}.deleted").touch()
    hide(root, WHEEL.filename)
    page = folder.page("demo")
    assert page is not None
    assert page.files == ()


def test_the_other_files_of_a_root_that_another_one_has_too_are_not_hidden(
    tmp_path: Path, serve: Callable[..., Folder]
):
    first, second = tmp_path / "first", tmp_path / "second"
    WHEEL.write_to(first / "demo")
    WHEEL.write_to(second / "demo")
    folder = serve(first, second, owners=(None, "base"))
    hide(first, WHEEL.filename)
    page = folder.page("demo")
    assert page is not None
    assert [file.owner for file in page.files] == ["base"]


def test_an_sdist_is_hidden_in_whichever_project_its_name_belongs_to(folder: Folder, root: Path):
    made = make_sdist("a-1", "1", filename="a-1-1.tar.gz")
    made.write_to(root / "a-1")
    assert folder.files("a-1") == [made.filename]
    hide(root, made.filename)
    assert folder.page("a-1") is None


@pytest.mark.parametrize(
    "text",
    [
        f"{WHEEL.filename}\r\n",
        WHEEL.filename,
        f"\n  {WHEEL.filename}  \n\n",
        f"\ufeff{WHEEL.filename}\n",
        f"nonsense\n{WHEEL.filename}\n",
    ],
    ids=["windows", "no end", "blanks", "mark", "nonsense"],
)
def test_a_list_is_read_as_people_write_it(folder: Folder, root: Path, text: str):
    WHEEL.write_to(root / "demo")
    hide(root).write_bytes(text.encode())
    assert folder.page("demo") is None


@pytest.mark.parametrize("name", [".one.list", "one.lst", "one.list.part", "one"])
def test_only_what_is_called_a_list_is_one(folder: Folder, root: Path, name: str):
    WHEEL.write_to(root / "demo")
    hide(root, WHEEL.filename, name=name)
    assert folder.files("demo") == [WHEEL.filename]


NONSENSE = (
    "../demo",
    f"demo/{WHEEL.filename}",
    "demo",
    ".quarantined",
    ".deleted",
    "notes.txt",
    "\x00",
    "\udcff",
)


@pytest.mark.parametrize("line", NONSENSE, ids=ascii)
def test_a_line_that_names_no_file_is_a_problem_and_has_no_effect(folder: Folder, root: Path, line: str):
    WHEEL.write_to(root / "demo")
    (root / "demo" / ".deprecated").touch()
    before = folder.page("demo")
    hide(root).write_bytes(os.fsencode(f"{NEW.filename}\n{line}\n"))
    assert folder.page("demo") is before
    reason = "1 of its lines hide nothing, as they are no names of distribution files; the first is line 2."
    assert folder.problems() == {".staged/one.list": reason}


def test_a_list_that_is_a_link_hides_nothing_and_is_a_problem(folder: Folder, root: Path, tmp_path: Path):
    WHEEL.write_to(root / "demo")
    hide(root, WHEEL.filename).rename(tmp_path / "elsewhere")
    (root / ".staged" / "one.list").symlink_to(tmp_path / "elsewhere")
    assert folder.files("demo") == [WHEEL.filename]
    assert folder.problems() == {".staged/one.list": "It hides nothing: it is a link, a folder or a device."}


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_staged_that_is_no_folder_hides_nothing_and_is_a_problem(
    folder: Folder, root: Path, tmp_path: Path, kind: str
):
    WHEEL.write_to(root / "demo")
    if kind == "link":
        hide(root, WHEEL.filename).parent.rename(tmp_path / "elsewhere")
        (root / ".staged").symlink_to(tmp_path / "elsewhere")
    else:
        (root / ".staged").write_text(WHEEL.filename)
    assert folder.files("demo") == [WHEEL.filename]
    assert list(folder.problems()) == [".staged"]


def test_a_list_that_is_too_long_makes_its_root_unreadable(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch
):
    """Half of it would show what the other half hides."""
    monkeypatch.setattr("twisted_index.backends.folder.staged.MAX_STAGED_LIST", 100)
    OTHER.write_to(root / "other")
    path = hide(root, *[WHEEL.filename] * 10)
    with pytest.raises(UnreadableFolder):
        folder.page("other")
    [(shown, _reason)] = answer_problems(folder)
    assert shown == "packages/.staged/one.list"
    path.unlink()
    assert folder.files("other") == [OTHER.filename]


def answer_problems(folder: Folder) -> list[tuple[str, str]]:
    return [(problem.path, problem.reason) for problem in answer(folder.source.problems).problems]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("what", ["one.list", "."])
def test_what_cannot_be_read_there_makes_its_root_unreadable(folder: Folder, root: Path, what: str):
    OTHER.write_to(root / "other")
    hide(root, WHEEL.filename)
    (root / ".staged" / what).chmod(0)
    with pytest.raises(UnreadableFolder):
        folder.page("other")


def test_a_list_rewritten_in_place_counts_after_the_time_for_rewritten_files(folder: Folder, root: Path):
    WHEEL.write_to(root / "demo")
    path = hide(root, WHEEL.filename)
    assert folder.page("demo") is None
    path.write_text("")
    folder.later()
    assert folder.files("demo") == [WHEEL.filename]
    path.write_text(f"{WHEEL.filename}\n")
    folder.later()
    assert folder.page("demo") is None


# -- What does not concern a project leaves its page alone


def test_the_pages_of_other_projects_are_the_same_objects(folder: Folder, root: Path):
    OTHER.write_to(root / "other")
    WHEEL.write_to(root / "demo")
    before = answer(folder.source.project_page, "other")
    path = hide(root, WHEEL.filename)
    assert answer(folder.source.project_page, "other").value is before.value
    path.unlink()
    assert answer(folder.source.project_page, "other").value is before.value


def test_while_there_are_lists_pages_are_current_without_a_look_into_folders(folder: Folder, root: Path):
    OTHER.write_to(root / "other")
    hide(root, WHEEL.filename)
    folder.page("other")
    folder.later()
    folder.page("other")
    snapshot = answer(folder.source.project_page, "other")
    folder.times.stats = 0
    assert snapshot.is_current()
    # The root, `.staged` and the project's folder.
    assert folder.times.stats == 3


def test_without_the_folder_a_page_costs_no_stat_more(folder: Folder, root: Path):
    OTHER.write_to(root / "other")
    folder.page("other")
    folder.later()
    folder.page("other")
    snapshot = answer(folder.source.project_page, "other")
    folder.times.stats = 0
    assert snapshot.is_current()
    assert folder.times.stats == 2


def test_a_page_keeps_its_serial_while_files_come_hidden(folder: Folder, root: Path):
    WHEEL.write_to(root / "demo")
    path = hide(root, NEW.filename)
    before = answer(folder.source.project_page, "demo")
    NEW.write_to(root / "demo")
    folder.later()
    after = answer(folder.source.project_page, "demo")
    assert (after.value, after.serial) == (before.value, before.serial)
    assert answer(folder.source.sweep, lambda _name: True) == {"demo"}
    assert folder.source.serials.serial_of("demo") == before.serial
    path.unlink()
    answer(folder.source.sweep, lambda _name: True)
    assert folder.source.serials.serial_of("demo") != before.serial


def test_a_project_that_is_new_and_hidden_gets_no_serial_by_being_asked_for(folder: Folder, root: Path):
    path = hide(root, NEW.filename)
    NEW.write_to(root / "demo")
    folder.later()
    assert answer(folder.source.project_page, "demo").value is None
    assert folder.source.serials.serial_of("demo") is None
    path.unlink()
    folder.later()
    shown = answer(folder.source.project_page, "demo")
    assert shown.value is not None
    assert shown.serial == folder.source.serials.serial_of("demo") is not None


def test_the_tree_of_a_project_has_no_hidden_file(folder: Folder, root: Path):
    WHEEL.write_to(root / "demo")
    NEW.write_to(root / "demo")
    hide(root, NEW.filename)
    assert [line.name for line in answer(folder.source.tree, "demo")] == [WHEEL.filename]


def test_a_hidden_file_is_no_problem(folder: Folder, root: Path):
    (root / "demo").mkdir()
    (root / "demo" / WHEEL.filename).write_bytes(b"damaged")
    (root / "demo" / f"{NEW.filename}.asc").write_bytes(b"")
    hide(root, WHEEL.filename, NEW.filename)
    assert folder.problems() == {}


def test_a_promotion_that_was_cut_off_is_a_problem_and_one_that_runs_is_none(folder: Folder, root: Path):
    promotions = Promotions(os.fsencode(root))
    record = PromotionRecord(
        id="one", source="staging", target="prod", releases=("demo==2.0", "other==1.0"), by="alice"
    )
    (root / ".staged" / "one").mkdir(parents=True)
    lock = promotions.hold("one")
    assert folder.problems() == {}
    os.close(lock)
    nothing_known = {".staged/one": "A promotion was cut off before it wrote down what it promotes."}
    assert folder.problems() == nothing_known
    (root / ".staged" / "one" / "promotion.json").write_bytes(record.to_bytes())
    known = {".staged/one": "The promotion of demo==2.0, other==1.0 from staging was cut off."}
    assert folder.problems() == known


# -- Between two steps of what is shown together


class Interrupted(AtOnce):
    """A worker that lets something happen before a call, once."""

    def __init__(self) -> None:
        self.before: dict[str, Callable[[], object]] = {}

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.before.pop(function.__name__, lambda: None)()
        return super().run(function, *args, **kwargs)


@pytest.fixture
def interrupted() -> Interrupted:
    return Interrupted()


@pytest.mark.parametrize("exists", [True, False])
def test_files_that_come_hidden_during_a_look_are_not_seen(
    tmp_path: Path, serve: Callable[..., Folder], interrupted: Interrupted, exists: bool
):
    """The root was read before there was a list, and the folder of the project when its files were there."""
    WHEEL.write_to(tmp_path / "demo")
    if exists:
        (tmp_path / ".staged").mkdir()
    folder = serve(tmp_path, reader=interrupted)
    interrupted.before["_scan"] = lambda: (hide(tmp_path, NEW.filename), NEW.write_to(tmp_path / "demo"))
    assert folder.files("demo") == [WHEEL.filename]


@pytest.mark.parametrize("below", ["demo", "."])
def test_of_files_that_are_shown_during_a_look_all_are_seen_or_none(
    tmp_path: Path, serve: Callable[..., Folder], monkeypatch: pytest.MonkeyPatch, below: str
):
    """The folder was read when only one of them was there, and the lists when the last was gone."""
    (tmp_path / ".staged").mkdir()
    WHEEL.write_to(tmp_path / below)
    scan, steps = folder_source.scan_project, [0]

    def promote(*args: Any) -> Any:
        path = hide(tmp_path, NEW.filename, SDIST.filename)
        NEW.write_to(tmp_path / below)
        scanned = scan(*args)
        SDIST.write_to(tmp_path / below)
        path.unlink()
        steps[0] += 1
        monkeypatch.setattr(folder_source, "scan_project", scan)
        return scanned

    monkeypatch.setattr(folder_source, "scan_project", promote)
    seen = set(serve(tmp_path).files("demo"))
    assert seen & {NEW.filename, SDIST.filename} in (set(), {NEW.filename, SDIST.filename})
    assert steps == [1]


# -- Who owns the name


class Upstream:
    """An upstream that has everything, and notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def project_list(self) -> Snapshot[ProjectList]:
        return Snapshot(value=ProjectList(), is_current=lambda: True)

    def project_page(self, project: str) -> Snapshot[ProjectPage | None]:
        self.asked.append(project)
        file = File(filename=f"{project}-999-py3-none-any.whl", version="999")
        return Snapshot(
            value=ProjectPage(name=project, files=(file,), versions=("999",)), is_current=lambda: True
        )

    def open_file(self, project: str, _filename: str, _sidecar: Sidecar | None = None) -> None:
        self.asked.append(project)


@pytest.mark.parametrize("below", ["demo", "."])
def test_a_name_is_the_upstreams_until_what_claims_it_is_shown(folder: Folder, root: Path, below: str):
    WHEEL.write_to(root / below)
    path = hide(root, WHEEL.filename)
    upstream = Upstream()
    source = NameOwnershipSource(folder.source, upstream)  # type: ignore[arg-type]
    assert answer(source.project_page, "demo").value.versions == ("999",)
    assert upstream.asked == ["demo"]
    path.unlink()
    assert answer(source.project_page, "demo").value.versions == ("1.0",)
    assert answer(source.open_file, "demo", "demo-999-py3-none-any.whl") is None
    assert upstream.asked == ["demo"]


# -- Whatever else reads or changes the folder


def test_the_name_of_a_hidden_file_is_taken(shop: Shop):
    WHEEL.write_to(shop.path / "demo")
    hide(shop.path, WHEEL.filename)
    with pytest.raises(Conflict, match="exists with different content"):
        shop.publish(make_wheel("demo", "1.0", files={"demo/other.py": "x = 1\n"}))


@pytest.mark.parametrize("action", ["delete", "yank"])
def test_a_hidden_file_is_not_changed(shop: Shop, action: str):
    WHEEL.write_to(shop.path / "demo")
    hide(shop.path, WHEEL.filename)
    arguments = {"delete": {}, "yank": {"filename": WHEEL.filename}}[action]
    with pytest.raises(NotFound):
        shop.do(action, "demo", *([WHEEL.filename] if action == "delete" else []), **arguments)
    assert (shop.path / "demo" / WHEEL.filename).exists()


def test_other_files_of_a_hidden_project_are_published(shop: Shop):
    WHEEL.write_to(shop.path / "demo")
    hide(shop.path, WHEEL.filename)
    assert shop.publish(NEW)
    assert list(shop.files()) == [NEW.filename]


def test_a_check_looks_at_no_hidden_file(tmp_path: Path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / WHEEL.filename).write_bytes(b"damaged")
    hide(tmp_path, WHEEL.filename)
    with closing(InspectionCache()) as cache:
        report = FolderCheck([os.fsencode(tmp_path)], cache).run()
    assert (report.problems, report.claimed) == ((), frozenset())


def test_a_resolution_finds_no_hidden_file(tmp_path: Path):
    WHEEL.write_to(tmp_path / "demo")
    NEW.write_to(tmp_path / "demo")
    hide(tmp_path, NEW.filename)
    files = LocalProjects([os.fsencode(tmp_path)]).files("demo")
    assert [local.file.filename for local in files] == [WHEEL.filename]
