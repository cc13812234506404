"""`twisted-index mirror`: folders that follow an index, and what is said of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TypeAlias

import pytest

from tests.kit.front import entry, page_of
from tests.kit.github_server import GitHubServer
from tests.kit.hostile_upstream import Asked, HostileUpstream, answer, page
from twisted_index.backends.folder import copies
from twisted_index.testing import BuiltFile, RunningIndex, make_wheel

#: Runs a subcommand; gives exit code, standard output and standard error.
Command: TypeAlias = Callable[..., tuple[int, str, str]]

REPOSITORY = Path(__file__).resolve().parents[2]


class Mirror:
    """A file of rules, and the command on it."""

    def __init__(self, folder: Path, command: Command) -> None:
        self.file = folder / "mirror.toml"
        self.into = folder / "packages"
        self._command = command

    def write(self, url: str, text: str = "") -> None:
        self.file.write_text(f'from = "{url}"\ninto = "packages"\nstate = "state"\n{text}', encoding="utf-8")

    def told(self, *words: str) -> tuple[int, str, str]:
        return self._command("mirror", str(self.file), *words)

    def run(self, *words: str) -> str:
        """Mirror, which has to go well; give the last line of the output."""
        code, out, err = self.told(*words)
        assert code == 0, err
        return out.splitlines()[-1]

    def files(self) -> list[str]:
        return sorted(path.name for path in self.into.rglob("*") if path.is_file() and path.name != ".copies")


@pytest.fixture
def mirror(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    for name in os.environ:
        if name.startswith(("TWISTED_INDEX_", "PIP_")):
            monkeypatch.delenv(name)
    return Mirror(tmp_path, command)


@pytest.fixture
def source() -> Iterator[RunningIndex]:
    with RunningIndex() as index:
        yield index


def offer(hostile: HostileUpstream, wheel: BuiltFile) -> None:
    """Let an upstream serve a project with one wheel."""
    hostile.on(f"/simple/{wheel.project}/", page(page_of(wheel.project, entry(wheel.project))))
    hostile.on(f"/simple/{wheel.project}/{wheel.filename}", answer(200, wheel.content))


@contextmanager
def running(mirror: Mirror) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own, killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "twisted_index", "mirror", str(mirror.file)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_files_are_placed_and_the_second_run_fetches_nothing(mirror: Mirror, source: RunningIndex):
    wheel = source.add_wheel("demo", "1.0")
    mirror.write(source.url)
    assert mirror.run().startswith("Placed 1 file (")
    time = (mirror.into / "demo" / wheel.filename).stat().st_mtime_ns
    source.clear_requests()
    assert mirror.run() == "Placed 0 files (0 bytes) of 0 projects, removed 0, 1 unchanged."
    assert not any(request.path.endswith(".whl") for request in source.requests)
    assert (mirror.into / "demo" / wheel.filename).stat().st_mtime_ns == time


def test_without_rules_all_projects_are_mirrored(mirror: Mirror, source: RunningIndex):
    wheels = [source.add_wheel(name, "1.0").filename for name in ("demo", "other")]
    mirror.write(source.url)
    mirror.run()
    assert mirror.files() == sorted(wheels)


def test_names_without_wildcards_need_no_list_of_projects(mirror: Mirror, source: RunningIndex):
    source.add_wheel("demo", "1.0")
    mirror.write(source.url, '[[select]]\nprojects = "demo"\n')
    mirror.run()
    assert "/simple/" not in [request.path for request in source.requests]


def test_the_pages_of_the_mirror_are_those_of_the_source(mirror: Mirror, source: RunningIndex):
    wheel = source.add_wheel("demo", "1.0", requires=["other>=2"])
    source.add_sdist("demo", "1.1")
    source.yank(wheel.filename, "broken")
    (source.folder / "demo" / f"{wheel.filename}.provenance").write_text('{"version": 1}')
    (source.folder / "demo" / ".archived").write_text("use other\n")
    mirror.write(source.url)
    mirror.run()
    with RunningIndex() as copy:
        shutil.copytree(mirror.into, copy.folder, dirs_exist_ok=True)
        pages = [_page(index.url, accept) for accept in ("json", "html") for index in (source, copy)]
    assert pages[0] == pages[1]
    assert pages[2] == pages[3]
    assert b"broken" in pages[0]
    assert b"archived" in pages[0]


def _page(url: str, kind: str) -> bytes:
    accept = {"Accept": f"application/vnd.pypi.simple.v1+{kind}"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}demo/", headers=accept)) as response:
        content: bytes = response.read()
    return content


# -- What goes


def test_a_changed_rule_adds_and_removes(mirror: Mirror, source: RunningIndex):
    for version in ("1.0", "2.0", "3.0"):
        source.add_wheel("demo", version)
    source.add_wheel("other", "1.0")
    mirror.write(source.url, 'exact = true\n[[select]]\nprojects = "demo"\nlatest = 2\n')
    mirror.run()
    assert mirror.files() == ["demo-2.0-py3-none-any.whl", "demo-3.0-py3-none-any.whl"]
    rules = '[[select]]\nprojects = "other"\n[[select]]\nprojects = "demo"\nversions = "<3"\n'
    mirror.write(source.url, f"exact = true\nmax-delete = 2\n{rules}")
    assert "removed 1" in mirror.run()
    assert mirror.files() == [
        "demo-1.0-py3-none-any.whl",
        "demo-2.0-py3-none-any.whl",
        "other-1.0-py3-none-any.whl",
    ]
    mirror.write(source.url, 'exact = true\nmax-delete = "100%"\n[[select]]\nprojects = "other"\n')
    mirror.run()
    assert mirror.files() == ["other-1.0-py3-none-any.whl"]


def test_what_goes_stays_without_exact(mirror: Mirror, source: RunningIndex):
    wheel = source.add_wheel("demo", "1.0")
    mirror.write(source.url)
    mirror.run()
    source.remove(wheel.filename)
    mirror.run()
    assert mirror.files() == [wheel.filename]


def test_more_than_the_limit_is_not_removed_until_it_is_allowed(mirror: Mirror, source: RunningIndex):
    gone = [source.add_wheel("demo", version).filename for version in ("1.0", "2.0")]
    mirror.write(source.url, "exact = true\n")
    mirror.run()
    for name in gone:
        source.remove(name)
    new = source.add_wheel("other", "1.0")
    code, _out, err = mirror.told()
    assert code == 1
    assert "2 of 2 files would go, and max-delete allows 5%" in err
    assert "--max-delete 2" in err
    assert mirror.files() == sorted([*gone, new.filename])
    assert "removed 2" in mirror.run("--max-delete", "2")
    assert mirror.files() == [new.filename]


def test_a_project_that_the_source_says_is_gone_goes(mirror: Mirror, hostile: HostileUpstream):
    wheel = make_wheel("demo", "1.0")
    offer(hostile, wheel)
    mirror.write(f"{hostile.origin}/simple/", 'exact = true\nmax-delete = 1\n[[select]]\nprojects = "demo"\n')
    mirror.run()
    hostile.on("/simple/demo/", answer(404))
    assert mirror.run().endswith("; the source does not have demo.")
    assert mirror.files() == []


@pytest.mark.parametrize(
    "bad", [answer(500), answer(503), page(b"{"), answer(200, b"<html>sorry", Content_Type="text/html")]
)
def test_a_project_that_cannot_be_read_keeps_its_files_and_stops_no_other(
    mirror: Mirror, hostile: HostileUpstream, bad: bytes
):
    wheel, other = make_wheel("demo", "1.0"), make_wheel("other", "1.0")
    offer(hostile, wheel)
    offer(hostile, other)
    rules = 'exact = true\nmax-delete = "100%"\n[[select]]\nprojects = ["demo", "other"]\n'
    mirror.write(f"{hostile.origin}/simple/", rules.replace(', "other"', ""))
    mirror.run()
    hostile.on("/simple/demo/", bad)
    mirror.write(f"{hostile.origin}/simple/", rules)
    code, out, err = mirror.told()
    assert code == 1
    assert "demo could not be read, and keeps its files: " in err
    assert out.startswith("Placed 1 file")
    assert out.endswith("; 1 project could not be read.\n")
    assert mirror.files() == [wheel.filename, other.filename]


def test_a_circle_of_links_stops_no_mirror(mirror: Mirror, source: RunningIndex):
    source.add_wheel("demo", "1.0")
    mirror.write(source.url)
    mirror.into.mkdir()
    (mirror.into / "circle").symlink_to("circle")

    mirror.run()

    assert mirror.files() == ["demo-1.0-py3-none-any.whl"]


def test_without_the_list_of_projects_nothing_changes(mirror: Mirror, hostile: HostileUpstream):
    hostile.on("/simple/", answer(500))
    mirror.write(f"{hostile.origin}/simple/", 'exact = true\nmax-delete = "100%"\n')
    code, out, _err = mirror.told()
    assert (code, out) == (1, "")
    code, out, err = mirror.told("--json")
    assert (code, json.loads(out)["error"]) == (1, "The upstream is temporarily unavailable (500).")
    assert json.loads(out)["error"] in err


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_copies_that_cannot_be_read_stop_no_other_project(
    mirror: Mirror, source: RunningIndex, dry: tuple[str, ...]
):
    wheels = [source.add_wheel(name, "1.0") for name in ("bad", "good")]
    mirror.write(source.url, 'exact = true\nmax-delete = "100%"\n')
    mirror.run()
    (mirror.into / "bad" / ".copies").unlink()
    (mirror.into / "bad" / ".copies").mkdir()
    code, out, err = mirror.told(*dry)
    assert code == 1
    assert "bad/.copies in the folder cannot be read: Is a directory." in err
    assert "1 unchanged" in out
    assert mirror.files() == [wheel.filename for wheel in wheels]


def test_a_dry_run_says_what_would_fail(mirror: Mirror, hostile: HostileUpstream):
    offer(hostile, make_wheel("demo", "1.0"))
    mirror.write(f"{hostile.origin}/simple/", '[[select]]\nprojects = "demo"\n')
    mirror.run()
    offer(hostile, make_wheel("demo", "1.0", files={"other.py": b"1"}))
    cells = entry("demo") | {"size": 5}
    hostile.on("/simple/demo/", page(page_of("demo", cells)))
    code, _out, err = mirror.told("--dry-run")
    assert code == 1
    assert "The index has changed content under the name demo-1.0-py3-none-any.whl" in err


def test_a_project_with_files_of_its_own_is_left_alone(mirror: Mirror, source: RunningIndex):
    source.add_wheel("demo", "1.0")
    own = make_wheel("demo", "0.1")
    (mirror.into / "demo").mkdir(parents=True)
    own.write_to(mirror.into / "demo")
    mirror.write(source.url)
    code, _out, err = mirror.told()
    assert code == 1
    assert "demo was left alone: The project demo holds files of its own" in err
    assert mirror.files() == [own.filename]


# -- What is said


def test_a_dry_run_prints_what_would_change_and_changes_nothing(mirror: Mirror, source: RunningIndex):
    old = source.add_wheel("demo", "1.0")
    mirror.write(source.url, "exact = true\nmax-delete = 1\n")
    mirror.run()
    source.remove(old.filename)
    new = source.add_wheel("demo", "2.0")
    code, out, _err = mirror.told("--dry-run")
    assert code == 0
    assert out.splitlines()[:2] == [f"+ {new.filename}", f"- {old.filename}"]
    assert out.splitlines()[2].startswith("Would place 1 file (")
    assert mirror.files() == [old.filename]


def test_why_says_which_rule_took_or_left_each_file(mirror: Mirror, source: RunningIndex):
    source.add_wheel("demo", "1.0")
    source.add_wheel("demo", "2.0")
    source.add_sdist("demo", "2.0")
    mirror.write(source.url, '[[select]]\nprojects = "d*"\nlatest = 1\nkinds = "wheel"\n')
    code, out, _err = mirror.told("--why", "Demo")
    assert code == 0
    assert out.splitlines() == [
        "left   demo-1.0-py3-none-any.whl  rule 1: not of the latest 1",
        "taken  demo-2.0-py3-none-any.whl  rule 1",
        "left   demo-2.0.tar.gz  rule 1: an sdist",
    ]
    assert mirror.told("--why", "absent") == (1, "The source has no project absent.\n", "")
    assert mirror.files() == []


def test_a_project_of_which_no_file_fits_is_named(mirror: Mirror, source: RunningIndex):
    source.add_wheel("demo", "1.0")
    mirror.write(source.url, '[[select]]\nprojects = "demo"\nkinds = "sdist"\n')
    assert mirror.run().endswith("; no file fits of demo.")


def test_the_report_is_json_on_request(mirror: Mirror, source: RunningIndex):
    wheel = source.add_wheel("demo", "1.0")
    mirror.write(source.url)
    code, out, _err = mirror.told("--json")
    report = json.loads(out)
    assert code == 0
    assert report["placed"] == [wheel.filename]
    assert report["size"] == len(wheel.content)
    assert (report["unread"], report["withheld"], report["dry_run"]) == ({}, "", False)


def test_quiet_says_nothing_of_what_went_well(mirror: Mirror, source: RunningIndex):
    source.add_wheel("demo", "1.0")
    mirror.write(source.url)
    assert mirror.told("--quiet") == (0, "", "")


def test_a_size_that_the_page_lacks_is_asked_for_where_a_rule_limits_it(
    mirror: Mirror, hostile: HostileUpstream
):
    offer(hostile, make_wheel("demo", "1.0"))
    mirror.write(f"{hostile.origin}/simple/", '[[select]]\nprojects = "demo"\nmax-size = 100\n')
    mirror.run()
    assert mirror.files() == []
    mirror.write(f"{hostile.origin}/simple/", '[[select]]\nprojects = "demo"\nmax-size = "1MB"\n')
    mirror.run()
    assert mirror.files() == ["demo-1.0-py3-none-any.whl"]


def test_a_wrong_file_is_one_line(mirror: Mirror):
    mirror.file.write_text('form = "pip"\n', encoding="utf-8")
    code, out, err = mirror.told()
    assert (code, out) == (64, "")
    assert err == f"twisted-index: {mirror.file}: form is not a setting; did you mean from?\n"


def test_an_interrupt_ends_it_with_the_report_of_what_was_done(mirror: Mirror, hostile: HostileUpstream):
    done, slow, asked = make_wheel("demo", "1.0"), make_wheel("slow", "1.0"), threading.Event()
    offer(hostile, done)
    offer(hostile, slow)

    def silent(_client: socket.socket, _asked: Asked) -> None:
        asked.set()
        hostile.wait()

    mirror.write(f"{hostile.origin}/simple/", '[[select]]\nprojects = "demo"\n')
    mirror.run()
    hostile.on(f"/simple/slow/{slow.filename}", silent)
    mirror.write(f"{hostile.origin}/simple/", '[[select]]\nprojects = ["demo", "slow"]\n')
    with running(mirror) as process:
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out.startswith("Interrupted: placed 0 files")
    assert "Traceback" not in err
    hostile.on(f"/simple/slow/{slow.filename}", answer(200, slow.content))
    mirror.run()
    assert mirror.files() == [done.filename, slow.filename]


def test_a_run_that_is_killed_five_times_is_one_run(mirror: Mirror, hostile: HostileUpstream):
    """At random moments, by SIGKILL. What has a name is whole and recorded; nothing else is left behind."""
    random, sent = Random(1), threading.Semaphore(0)
    projects = [f"p{number}" for number in range(6)]
    wheels = [make_wheel(project, f"{number}.0") for project in projects for number in range(10)]
    whole = {wheel.filename: wheel.content for wheel in wheels}

    def sending(content: bytes) -> Callable[[socket.socket, Asked], None]:
        def send(client: socket.socket, _asked: Asked) -> None:
            client.sendall(answer(200, content))
            sent.release()

        return send

    for wheel in wheels:
        hostile.on(f"/simple/{wheel.project}/{wheel.filename}", sending(wheel.content))
    for project in projects:
        entries = [entry(project, f"{number}.0") for number in range(10)]
        hostile.on(f"/simple/{project}/", page(page_of(project, *entries)))
    mirror.write(f"{hostile.origin}/simple/", f"[[select]]\nprojects = {projects}\n")
    for _life in range(5):
        with running(mirror):
            for _file in range(random.randint(1, 6)):
                assert sent.acquire(timeout=60)
        for folder in mirror.into.iterdir():
            lines = copies.read(os.fsencode(folder))
            for path in folder.glob("*.whl"):
                assert path.read_bytes() == whole[path.name]
                assert path.name in lines
    mirror.run()
    assert mirror.files() == sorted(whole)
    assert mirror.run().startswith("Placed 0 files")


def test_a_second_run_at_once_is_refused(mirror: Mirror, hostile: HostileUpstream):
    wheel, asked = make_wheel("slow", "1.0"), threading.Event()
    offer(hostile, wheel)

    def silent(_client: socket.socket, _asked: Asked) -> None:
        asked.set()
        hostile.wait()

    hostile.on(f"/simple/slow/{wheel.filename}", silent)
    mirror.write(f"{hostile.origin}/simple/", '[[select]]\nprojects = "slow"\n')
    with running(mirror):
        assert asked.wait(60)
        code, _out, err = mirror.told()
    assert code == 1
    assert err == f"twisted-index: Another run fills {mirror.into} right now; wait for its end.\n"


def test_the_releases_of_a_private_repository_are_mirrored(mirror: Mirror, monkeypatch: pytest.MonkeyPatch):
    with GitHubServer() as forge:
        monkeypatch.setenv("GH_TOKEN", forge.token("s3cret", read=("octo/private",)))
        made = [make_wheel("acme", version) for version in ("1.0", "2.0")]
        release = forge.repository("octo/private", private=True).release("v1")
        for wheel in made:
            release.add(wheel.filename, wheel.content, digest=wheel.version == "2.0")
        mirror.write(forge.word("octo/private"))

        assert mirror.run().startswith("Placed 2 files")
        forge.forget()
        assert mirror.run().startswith("Placed 0 files")

        assert mirror.files() == [wheel.filename for wheel in made]
        assert forge.asked("storage") == []
        kept = [path.read_bytes() for path in mirror.file.parent.rglob("*") if path.is_file()]
        assert not any(b"s3cret" in content for content in kept)
    assert forge.errors == []


def test_a_repository_that_cannot_be_read_ends_a_mirror_with_a_sentence(mirror: Mirror):
    with GitHubServer() as forge:
        mirror.write(forge.word("octo/nothing"))
        code, _out, err = mirror.told()
    assert code == 1
    assert "no such repository" in err
    assert err.count("\n") == 1
