"""`twisted-index download`: what it places, what it says, and what it says of what it cannot place."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from tests.kit.front import entry, eventually, page_of
from tests.kit.hostile_upstream import Asked, HostileUpstream, answer, page
from twisted_index.testing import BuiltFile, RunningIndex, make_wheel

REPOSITORY = Path(__file__).resolve().parents[2]
WINDOWS = ("--python-version", "3.12", "--platform", "win_amd64")
LINUX = ("--python-version", "3.12", "--platform", "manylinux_2_28_x86_64")


@pytest.fixture(autouse=True)
def no_settings(without_settings):
    """Nothing of this machine is read."""


@pytest.fixture
def index():
    with RunningIndex() as running:
        yield running


@pytest.fixture
def download(command, index):
    """Download into `packages`, with the state of this test alone."""
    return lambda *words: command(
        "download", "--index-url", index.url, "--path", "packages", "--state", "state", *words
    )


def placed() -> set[str]:
    """The names of the distribution files of the folder."""
    return {path.name for path in Path("packages").rglob("*") if path.name.endswith((".whl", ".tar.gz"))}


def sdist(project: str, version: str, build: str | None) -> BuiltFile:
    """An sdist of a pure project, and what builds it; None without a pyproject.toml."""
    metadata = f"Metadata-Version: 2.2\nName: {project}\nVersion: {version}\n".encode()
    members = {"PKG-INFO": metadata}
    if build is not None:
        members["pyproject.toml"] = f"[build-system]\nrequires = {build}\n".encode()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(f"{project}-{version}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return BuiltFile(
        project=project,
        version=version,
        filename=f"{project}-{version}.tar.gz",
        content=content.getvalue(),
        metadata=metadata,
    )


# -- What is placed


def test_each_target_gets_what_its_markers_and_tags_need(index, download):
    index.add_wheel("demo", "1.0", requires=["win; sys_platform == 'win32'", "compiled"])
    index.add_wheel("win", "1.0")
    windows = index.add_wheel("compiled", "1.0", tag="cp312-cp312-win_amd64")
    linux = index.add_wheel("compiled", "1.0", tag="cp312-cp312-manylinux_2_17_x86_64")
    index.add_wheel("compiled", "1.0", tag="cp313-cp313-win_amd64")
    index.add_sdist("compiled", "1.0")

    code, out, _err = download(*LINUX, "demo")
    assert (code, placed()) == (0, {"demo-1.0-py3-none-any.whl", linux.filename})
    code, out, _err = download(*LINUX, "--platform", "win_amd64", "demo")

    assert code == 0
    assert placed() == {
        *("demo-1.0-py3-none-any.whl", "win-1.0-py3-none-any.whl"),
        *(linux.filename, windows.filename),
    }
    assert out.endswith(
        "2 files already there, 0 failures; 2 of 2 targets can be installed from the folder.\n"
    )


def test_placed_files_are_recorded_as_copies(index, download):
    wheel = index.add_wheel("demo", "1.0")

    download(*WINDOWS, "demo")

    (line,) = Path("packages/demo/.copies").read_text().splitlines()
    assert wheel.sha256 in line
    assert wheel.filename in line
    assert index.base_url in line


def test_a_second_run_requests_no_file(index, download):
    index.add_wheel("demo", "1.0")
    download(*WINDOWS, "demo")
    index.clear_requests()

    code, out, _err = download(*WINDOWS, "demo")

    assert code == 0
    assert out.startswith("0 files downloaded (0 bytes), 1 file already there")
    assert [request.path for request in index.requests if request.path.endswith(".whl")] == []


def test_what_builds_an_sdist_is_placed_and_what_builds_that(index, download):
    index.add(sdist("demo", "1.0", "[\"backend>=1; sys_platform == 'win32'\"]"))
    index.add(sdist("backend", "1.0", '["bootstrap"]'))
    index.add_wheel("bootstrap", "1.0", requires=["deep"])
    index.add_wheel("deep", "1.0")
    index.add_sdist("deep", "1.0")

    code, _out, err = download(*WINDOWS, "demo")

    assert (code, err.count("missing")) == (0, 0)
    assert placed() == {
        *("demo-1.0.tar.gz", "backend-1.0.tar.gz"),
        *("bootstrap-1.0-py3-none-any.whl", "deep-1.0-py3-none-any.whl"),
    }


def test_an_sdist_that_does_not_say_it_is_built_by_setuptools_and_wheel(index, download):
    index.add(sdist("demo", "1.0", None))
    index.add_wheel("setuptools", "80.0")
    index.add_wheel("wheel", "0.45")

    assert download(*WINDOWS, "demo")[0] == 0
    assert placed() == {"demo-1.0.tar.gz", "setuptools-80.0-py3-none-any.whl", "wheel-0.45-py3-none-any.whl"}


def test_sdists_can_be_placed_beside_wheels(index, download):
    index.add_wheel("demo", "1.0")
    index.add_sdist("demo", "1.0")

    assert download(*WINDOWS, "--sdists", "demo")[0] == 0
    assert placed() == {"demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"}


def test_requirements_constraints_and_locks_are_files(index, download):
    old = index.add_wheel("locked", "1.0")
    for project in ("locked", "demo", "other"):
        index.add_wheel(project, "2.0")
    index.add_wheel("demo", "1.0")
    Path("requirements.txt").write_text("demo\nother\n")
    Path("constraints.txt").write_text("demo<2\n")
    Path("pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "a test"\n[[packages]]\nname = "locked"\nversion = "1.0"\n'
        f'wheels = [{{ url = "https://x.org/{old.filename}", hashes = {{ sha256 = "{old.sha256}" }} }}]\n'
    )

    code, _out, _err = download(
        *WINDOWS, "-r", "requirements.txt", "-c", "constraints.txt", "-r", "pylock.toml"
    )

    assert code == 0
    assert placed() == {f"{name}-py3-none-any.whl" for name in ("demo-1.0", "other-2.0", "locked-1.0")}


def test_without_uv_this_machine_is_served_and_another_is_refused(index, download, monkeypatch):
    for module in ("uv", "resolver", "completeness"):
        monkeypatch.setattr(f"twisted_index.resolution.{module}.find_uv", lambda: None)
    index.add_wheel("demo", "1.0", requires=["needed"])
    index.add_wheel("needed", "1.0")

    assert download("demo")[0] == 0
    assert len(placed()) == 2
    code, out, err = download(*WINDOWS, "demo")
    assert (code, out, err.count("\n")) == (64, "", 1)
    assert "pip install 'twisted-index[download]'" in err


# -- What is said


def test_a_dry_run_changes_nothing(index, download):
    index.add_wheel("demo", "1.0")

    code, out, _err = download(*WINDOWS, "--dry-run", "demo")

    assert code == 0
    assert out.startswith("demo-1.0-py3-none-any.whl  ")
    assert out.endswith("Nothing was changed.\n")
    assert placed() == set()


def test_the_report_in_json_says_why_nothing_could_be_chosen(index, download):
    code, out, err = download(*WINDOWS, "--json", "--quiet", "absent")

    report = json.loads(out)
    assert code == 1
    assert "absent" in report["error"]
    assert report["placed"] == []
    assert report["error"].splitlines()[0] in err


def test_the_report_in_json_holds_pins_and_what_is_missing(index, download):
    index.add_wheel("demo", "1.0", tag="cp312-cp312-win_amd64")

    code, out, _err = download(*WINDOWS, "--json", "--quiet", "demo")

    report = json.loads(out)
    assert code == 0
    assert report["placed"] == ["demo-1.0-cp312-cp312-win_amd64.whl"]
    assert report["failures"] == []
    assert report["targets"] == [
        {"python": "3.12", "platform": "win_amd64", "pins": ["demo==1.0"], "missing": []}
    ]


def test_what_no_index_serves_is_said_and_the_rest_is_placed(index, download):
    index.add_wheel("demo", "1.0")
    Path("requirements.txt").write_text("-e .\n--index-url http://127.0.0.1:9/\ndemo\n")

    code, _out, err = download(*WINDOWS, "-r", "requirements.txt")

    assert code == 1
    assert placed() == {"demo-1.0-py3-none-any.whl"}
    assert "requirements.txt, line 1: -e . is a project on this machine" in err
    assert "requirements.txt, line 2: --index-url http://127.0.0.1:9/ names where pip looks" in err


def test_all_targets_that_cannot_be_resolved_are_named(index, download):
    index.add_wheel("demo", "1.0", requires=["absent; sys_platform == 'win32'", "gone"])

    code, out, err = download(*WINDOWS, "--platform", "macosx_14_0_arm64", "demo")

    assert (code, out, placed()) == (1, "", set())
    assert "for Python 3.12 on win_amd64" in err
    assert "Python 3.12 on macosx_14_0_arm64" in err


def test_what_builds_an_sdist_and_cannot_be_had_is_a_failure(index, download):
    index.add(sdist("demo", "1.0", '["absent"]'))

    code, _out, err = download(*WINDOWS, "demo")

    assert code == 1
    assert "demo-1.0.tar.gz: What builds it for Python 3.12 on win_amd64 cannot be had" in err
    assert "missing: absent, needed by the build of demo 1.0, for Python 3.12 on win_amd64: " in err


def test_an_sdist_that_does_not_say_clearly_what_builds_it_is_a_failure(index, download):
    index.add(sdist("demo", "1.0", "5"))

    code, _out, err = download(*WINDOWS, "demo")

    assert code == 1
    assert "demo-1.0.tar.gz: Its pyproject.toml does not say what builds it." in err


def test_a_project_with_files_of_its_own_is_left_alone_unless_joined(index, download):
    index.add_wheel("demo", "2.0")
    Path("packages/demo").mkdir(parents=True)
    make_wheel("demo", "1.0").write_to("packages/demo")

    code, out, _err = download(*WINDOWS, "--json", "demo")
    assert code == 1
    assert "--join" in json.loads(out)["failures"][0]["reason"]
    assert placed() == {"demo-1.0-py3-none-any.whl"}
    assert download(*WINDOWS, "--join", "demo")[0] == 0
    assert placed() == {"demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl"}


def test_targets_that_lack_the_same_are_named_in_one_sentence(download):
    code, _out, err = download(*WINDOWS, "--platform", "win32", "absent")

    assert code == 1
    assert err.count("absent was not found") == 1
    assert "Python 3.12 on win_amd64" in err
    assert "Python 3.12 on win32" in err


def test_pre_releases_come_if_a_file_or_an_option_allows_them(index, download):
    index.add_wheel("demo", "1.0")
    index.add_wheel("demo", "2.0a1")
    Path("requirements.txt").write_text("--pre\ndemo\n")

    assert download(*WINDOWS, "-r", "requirements.txt")[0] == 0
    assert placed() == {"demo-2.0a1-py3-none-any.whl"}
    assert "1 file already there" in download(*WINDOWS, "--pre", "demo")[1]


def test_the_summary_counts_what_no_index_can_serve(index, download):
    index.add_wheel("demo", "1.0")
    Path("requirements.txt").write_text("-e .\ndemo\n")

    code, out, _err = download(*WINDOWS, "-r", "requirements.txt")

    assert code == 1
    assert out.endswith(
        "1 of 1 target can be installed from the folder, but for 1 requirement that no index can serve.\n"
    )


@pytest.mark.parametrize(
    ("content", "name", "words", "part"),
    [
        (b"[project]\n", "pyproject.toml", ("-r", "pyproject.toml"), "is not a file of requirements"),
        (b"demo\n", "requirements.txt", ("requirements.txt",), "is a file; put -r before it"),
        ("demo\n".encode("utf-16-le"), "u.txt", ("-r", "u.txt"), "is not text in utf-8"),
    ],
)
def test_a_wrong_file_is_one_sentence_with_the_cure(download, content, name, words, part):
    Path(name).write_bytes(content)

    code, out, err = download(*words)

    assert (code, out, err.count("\n")) == (64, "", 1)
    assert part in err


def test_a_password_of_the_index_is_written_nowhere(index, command):
    index.add_wheel("demo", "1.0")
    url = index.url.replace("://", "://me:s3cret@")

    code, out, err = command(
        "download", "--index-url", url, "--path", "packages", "--state", "state", *WINDOWS, "demo"
    )

    assert code == 0
    files = [path for top in ("packages", "state") for path in Path(top).rglob("*") if path.is_file()]
    assert "s3cret" not in out + err
    assert [path for path in files if b"s3cret" in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "There is nothing to download"),
        (("./local",), "is a project on this machine"),
        (("-e", "."), "is a project on this machine"),
        (("--no-deps", "demo"), "twisted-index download --help lists the options"),
        (("--platform", "beos", "demo"), "uv resolves for no such platform"),
        (("--python-version", "2", "demo"), "write it as 3.12"),
        (("--jobs", "0", "demo"), "--jobs must be from 1 to 16"),
        (("-r", "none.txt"), "none.txt cannot be read"),
        (("demo >= x",), "is not a requirement"),
        (("--index-url", "ftp://me:s3cret@host/", "demo"), "this is not an http or https URL"),
    ],
)
def test_a_mistake_is_one_line(download, words, part):
    code, out, err = download(*words)

    assert (code, out, err.count("\n")) == (64, "", 1)
    assert part in err
    assert "s3cret" not in err


def test_the_folder_has_to_be_named(command):
    assert command("download", "demo")[0] == 64


# -- When it is interrupted


def test_an_interrupted_run_ends_in_order_and_the_next_one_goes_on(index, download, tmp_path):
    """What runs is closed, nothing is left unsaid by Python, and what is there stays."""
    first, second = index.add_wheel("first", "1.0"), make_wheel("second", "1.0")
    upstream, asked = HostileUpstream(), threading.Event()
    for wheel in (first, second):
        promise = {"core-metadata": {"sha256": hashlib.sha256(wheel.metadata).hexdigest()}}
        upstream.on(
            f"/simple/{wheel.project}/", page(page_of(wheel.project, entry(wheel.project, **promise)))
        )
        upstream.on(f"/simple/{wheel.project}/{wheel.filename}.metadata", answer(200, wheel.metadata))
    upstream.on(f"/simple/first/{first.filename}", answer(200, first.content))

    def silent(_client: socket.socket, _asked: Asked) -> None:
        asked.set()
        upstream.wait()

    upstream.on(f"/simple/second/{second.filename}", silent)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "twisted_index", "download", "--index-url", f"{upstream.origin}/simple/"),
            *("--path", "packages", "--state", "state", *WINDOWS, "first", "second"),
        ],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert asked.wait(60)
        assert eventually(Path("packages", "first", first.filename).exists)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=30)[0]
    finally:
        process.kill()
        process.wait()
        upstream.close()

    assert process.returncode == 1
    assert [word for word in ("never awaited", "Traceback", "Unhandled") if word in output] == []
    index.add(second)
    code, out, _err = download(*WINDOWS, "first", "second")
    assert (code, placed()) == (0, {first.filename, second.filename})
    assert "1 file downloaded" in out
