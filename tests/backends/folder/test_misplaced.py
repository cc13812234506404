"""What lies where nothing is served is reported once, and what is no package not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kit.folder_source import Folder
from twisted_index.backends.folder import misplaced
from twisted_index.testing import make_sdist, make_wheel

WHEEL = make_wheel("demo", "1.0")
SDIST = make_sdist("demo", "1.0")


def tell(folder: Folder, path: str) -> tuple[str, str]:
    """Give reason and advice of the one problem there is."""
    (problem,) = _problems(folder)
    assert problem.path == path
    return problem.reason, problem.advice


def _problems(folder: Folder):
    from tests.kit.at_once import answer

    return answer(folder.source.problems).problems


# -- What others put beside a file

BESIDE = (
    *(".sha256", ".sha512", ".sha1", ".md5", ".b2", ".sig", ".minisig", ".sigstore", ".sigstore.json"),
    *(".publish.attestation", ".crt", ".pem", ".sbom.json", ".cdx.json", ".spdx.json", ".metadata"),
    *(".sha256.asc", ".sha512.sig", ".intoto.jsonl", ".torrent", ".meta4"),
)


@pytest.mark.parametrize("where", ["", "demo"])
@pytest.mark.parametrize("made", [WHEEL, SDIST], ids=["wheel", "sdist"])
@pytest.mark.parametrize("ending", BESIDE)
def test_what_other_tools_put_beside_a_file_is_no_problem(folder: Folder, made, ending: str, where: str):
    made.write_to(folder.path / where)
    (folder.path / where / f"{made.filename}{ending}").write_text("x")
    assert folder.files("demo") == [made.filename]
    assert folder.problems() == {}


@pytest.mark.parametrize("name", ["SHA256SUMS", "SHA256SUMS.asc", "checksums.txt", "multiple.intoto.jsonl"])
def test_what_is_about_all_files_of_a_folder_is_no_problem(folder: Folder, name: str):
    for where in (folder.path, folder.path / "demo"):
        SDIST.write_to(where)
        (where / name).write_text("x")
    assert folder.files("demo") == [SDIST.filename]
    assert folder.problems() == {}


@pytest.mark.parametrize("ending", [".sha256", ".sigstore.json", ".publish.attestation", ".sha256.asc"])
def test_what_lies_beside_a_file_that_is_gone_claims_its_name_all_the_same(folder: Folder, ending: str):
    (folder.path / f"{WHEEL.filename}{ending}").write_text("x")
    page = folder.page("demo")
    assert page is not None
    assert page.files == ()


@pytest.mark.parametrize("ending", [".asc", ".provenance", ".yanked"])
def test_a_sidecar_of_our_own_that_has_lost_its_file_is_told(folder: Folder, ending: str):
    (folder.path / f"{WHEEL.filename}{ending}").write_text("x")
    assert list(folder.problems()) == [f"{WHEEL.filename}{ending}"]


@pytest.mark.parametrize(
    "name", ["Thumbs.db", "desktop.ini", ".DS_Store", f"._{WHEEL.filename}", f".{WHEEL.filename}.Ab12Cd"]
)
def test_what_systems_put_beside_files_is_no_problem(folder: Folder, name: str):
    for where in (folder.path, folder.path / "demo"):
        SDIST.write_to(where)
        (where / name).write_bytes(b"x")
    assert folder.problems() == {}


# -- Folders of systems

SYSTEMS = (
    *("@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", ".@__thumb", "@tmp"),
    *("$RECYCLE.BIN", "System Volume Information", "lost+found", ".Trash-1000", "__MACOSX", ".AppleDouble"),
    *("RECYCLER", "RECYCLED"),
    *(".AppleDB", "Network Trash Folder", "Temporary Items", ".snapshots", ".zfs", ".git", "__pycache__"),
)


@pytest.mark.parametrize("where", ["", "demo"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_folder_that_a_system_keeps_for_itself_is_no_problem(folder: Folder, name: str, where: str):
    SDIST.write_to(folder.path / where)
    home = folder.path / where / name
    WHEEL.write_to(home)
    WHEEL.write_to(home / "below")
    (home / SDIST.filename).mkdir()
    assert folder.files("demo") == [SDIST.filename]
    assert folder.names() == ("demo",)
    assert folder.problems() == {}


# -- Too deep


@pytest.mark.parametrize("where", ["team/demo", "team/more/demo", "a/b/c/d/e", "my team/x", "demo/old"])
def test_a_file_that_lies_too_deep_is_told(folder: Folder, where: str):
    WHEEL.write_to(folder.path / where)
    reason, advice = tell(folder, f"{where}/{WHEEL.filename}")
    assert reason == "It is in a folder that is not served."
    assert advice == "Move it to the root, or to the folder demo/ in the root."


def test_many_files_that_lie_too_deep_are_one_problem_for_each_folder(folder: Folder):
    for team in ("one", "two"):
        for number in range(20):
            make_wheel("demo", f"{number}.0").write_to(folder.path / "pip" / team / "demo")
        (folder.path / "pip" / team / "demo" / "notes.txt").write_text("x")
    assert list(folder.problems()) == ["pip/one/demo/", "pip/two/demo/"]
    reason = folder.problems()["pip/one/demo/"]
    assert reason.startswith("It holds 20 distribution files, such as demo-0.0-py3-none-any.whl")


def test_links_are_not_followed_where_nothing_is_served(folder: Folder, tmp_path: Path):
    WHEEL.write_to(tmp_path / "elsewhere")
    (folder.path / "a" / "b").mkdir(parents=True)
    (folder.path / "a" / "b" / "up").symlink_to(folder.path)
    (folder.path / "a" / "b" / "out").symlink_to(tmp_path / "elsewhere")
    (folder.path / "my link").symlink_to(tmp_path / "elsewhere")
    assert folder.problems() == {}


def test_a_root_in_another_is_not_told_to_move_its_files(tmp_path: Path, serve):
    WHEEL.write_to(tmp_path / "a" / "b c")
    folder = serve(tmp_path, tmp_path / "a" / "b c")
    assert folder.files("demo") == [WHEEL.filename]
    assert folder.problems() == {}


def test_a_folder_below_that_cannot_be_read_keeps_no_other_from_being_told(folder: Folder, monkeypatch):
    WHEEL.write_to(folder.path / "a" / "locked")
    WHEEL.write_to(folder.path / "a" / "open")
    real = os.scandir

    def scandir(path):
        if os.fsencode(path).endswith(b"locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(folder.problems()) == [f"a/open/{WHEEL.filename}"]


# -- What was made for something else


@pytest.mark.parametrize("where", ["checkout", "my checkout", "a/b/checkout", "demo/demo-1.0"])
@pytest.mark.parametrize("mark", ["pyproject.toml", "setup.py"])
def test_a_source_tree_is_one_problem(folder: Folder, where: str, mark: str):
    tree = folder.path / where
    for inner in ("dist", "tests/data", "src/demo/_vendor"):
        WHEEL.write_to(tree / inner)
    (tree / mark).write_text("x")
    reason, advice = tell(folder, f"{where}/")
    assert reason == f"It holds a source tree ({mark}), which is not served."
    assert "python -m build" in advice


@pytest.mark.parametrize("where", ["site-packages", "lib/python3.11/site-packages", "demo/target"])
def test_an_installation_is_one_problem(folder: Folder, where: str):
    for name in ("six", "attrs", "setuptools"):
        (folder.path / where / f"{name}-1.0.dist-info").mkdir(parents=True)
    WHEEL.write_to(folder.path / where / "setuptools" / "_vendor")
    reason, _advice = tell(folder, f"{where}/")
    assert reason == "It holds installed packages (attrs-1.0.dist-info), which are not distribution files."


@pytest.mark.parametrize("name", ["requests-2.0-py2.7.egg-info", "demo.egg-link", "easy-install.pth"])
def test_what_old_tools_installed_is_one_problem(folder: Folder, name: str):
    (folder.path / "python2.7" / "requests").mkdir(parents=True)
    (folder.path / "python2.7" / name).write_text("x")
    WHEEL.write_to(folder.path / "python2.7" / "virtualenv_support" / "wheels")
    reason, _advice = tell(folder, "python2.7/")
    assert reason == f"It holds installed packages ({name}), which are not distribution files."


def test_a_source_tree_that_has_been_developed_in_is_still_one(folder: Folder):
    for name in ("setup.py", "demo.egg-info"):
        (folder.path / "demo-src").mkdir(exist_ok=True)
        (folder.path / "demo-src" / name).write_text("x")
    reason, _advice = tell(folder, "demo-src/")
    assert "source tree (setup.py)" in reason


def test_a_virtual_environment_is_one_problem(folder: Folder):
    (folder.path / "env").mkdir()
    (folder.path / "env" / "pyvenv.cfg").write_text("x")
    WHEEL.write_to(folder.path / "env" / "lib" / "ensurepip" / "_bundled")
    reason, _advice = tell(folder, "env/")
    assert "virtual environment" in reason


def test_a_root_that_is_a_source_tree_is_one_problem(folder: Folder):
    (folder.path / "pyproject.toml").write_text("x")
    for inner in ("dist", "tests/data"):
        make_wheel("other", "1.0").write_to(folder.path / inner / "deep")
    SDIST.write_to(folder.path)
    assert folder.files("demo") == [SDIST.filename]
    tell(folder, "./")


def test_a_project_that_is_called_like_a_recycle_bin_is_served(folder: Folder):
    made = make_wheel("recycler", "1.0")
    made.write_to(folder.path / "recycler")
    assert folder.files("recycler") == [made.filename]


# -- A whole machine, served by mistake


def test_a_walk_ends_and_says_so(folder: Folder, monkeypatch):
    monkeypatch.setattr(misplaced, "_MAX_ENTRIES", 50)
    for number in range(30):
        (folder.path / "home" / f"{number}" / "x").mkdir(parents=True)
        (folder.path / "home" / f"{number}" / "y").mkdir(parents=True)
    reason, _advice = tell(folder, "home/4/")
    assert "holds too much to scan in full" in reason


def test_a_walk_does_not_go_down_for_ever(folder: Folder):
    path = folder.path / "a"
    for _level in range(40):
        path = path / "b"
    path.mkdir(parents=True)
    reason, _advice = tell(folder, "/".join(["a", *"b" * 8]) + "/")
    assert "holds too much to scan in full" in reason


@pytest.mark.parametrize("after", ["b", "A0"])
def test_a_folder_that_is_too_deep_keeps_no_other_from_being_told(folder: Folder, after: str):
    for branch in ("b", "c"):
        (folder.path / "a" / branch / "/".join("c" * 40)).mkdir(parents=True)
    WHEEL.write_to(folder.path / after / "x" / "y")
    WHEEL.write_to(folder.path / "a" / "z" / "y")
    deep = "/".join(["a", "b", *"c" * 7]) + "/"
    expected = {deep, f"{after}/x/y/{WHEEL.filename}", f"a/z/y/{WHEEL.filename}"}
    assert {problem.path for problem in _problems(folder)} == expected


def test_served_folders_are_no_part_of_what_ends_a_walk(folder: Folder, monkeypatch):
    monkeypatch.setattr(misplaced, "_MAX_ENTRIES", 5)
    for number in range(10):
        make_wheel("demo", f"{number}.0").write_to(folder.path / "demo")
    assert len(folder.files("demo")) == 10
    assert folder.problems() == {}


# -- What is hidden


@pytest.mark.parametrize(
    "name",
    [".foo-1.0.zip", ".foo-1.0-py3-none-any.whl.Ab12Cd", "._foo-1.0.tar.gz", ".foo-1.0.tar.gz.deleted"],
)
def test_the_name_of_a_hidden_file_is_shown_nowhere_and_stays_claimed(folder: Folder, name: str):
    SDIST.write_to(folder.path)
    (folder.path / name).write_bytes(b"x")
    assert folder.names() == ("demo",)
    assert folder.problems() == {}
    page = folder.page("foo")
    assert page is not None
    assert page.files == ()


def test_a_hidden_file_hides_nothing_that_is_seen(folder: Folder):
    SDIST.write_to(folder.path)
    (folder.path / f".{SDIST.filename}.Ab12Cd").write_bytes(b"x")
    assert folder.names() == ("demo",)


def test_a_hidden_file_that_names_no_project_is_no_problem(folder: Folder):
    (folder.path / ".backup.zip").write_bytes(b"x")
    assert folder.problems() == {}
