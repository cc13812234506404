"""`twisted-index prefetch`: what it fetches through a server, and what it says of it."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from tests.kit.front import entry, page_of
from tests.kit.hostile_upstream import Asked, HostileUpstream, answer, page
from twisted_index.backends.upstream.client import HTTPUpstream
from twisted_index.cli._download import DownloadItem, download_all
from twisted_index.cli._progress import Progress, format_size
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.mirror.source_index import SourceIndex
from twisted_index.testing import RunningIndex, make_wheel
from twisted_index.testing.reactor_thread import BackgroundReactor

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def no_settings(without_settings):
    """Nothing of this machine is read."""


@pytest.fixture
def index():
    with RunningIndex() as running:
        yield running


@pytest.fixture
def told(command):
    return lambda *words: command("prefetch", *words)


def fetched(index: RunningIndex) -> set[str]:
    """The files that the server was asked for."""
    return {request.path.rpartition("/")[2] for request in index.requests if not request.path.endswith("/")}


# -- Through a server that runs


def test_what_requirements_need_is_fetched_and_nothing_else(index, told):
    wheel = index.add_wheel("demo", "2.0", requires=["needed"])
    index.add_wheel("demo", "1.0")
    index.add_wheel("other", "1.0")
    needed = index.add_wheel("needed", "1.0")

    code, out, err = told("--index-url", index.url, "demo")

    assert code == 0
    assert out.startswith("2 files of 2 projects, ")
    assert out.endswith("; no failures.\n")
    wheels = {name for name in fetched(index) if name.endswith(".whl")}
    assert wheels == {wheel.filename, needed.filename}
    assert f"{wheel.filename}  {format_size(wheel.size)}\n" in err


def test_a_file_of_requirements_is_read(index, told, tmp_path):
    wheel = index.add_wheel("demo", "1.0")
    index.add_wheel("demo", "2.0")
    (tmp_path / "requirements.txt").write_text("demo<2\n")

    assert told("--index-url", index.url, "-r", "requirements.txt")[0] == 0
    assert wheel.filename in fetched(index)
    assert "demo-2.0-py3-none-any.whl" not in fetched(index)


def test_all_files_of_a_version_can_be_fetched_for_other_platforms(index, told):
    index.add_wheel("demo", "1.0")
    index.add_wheel("demo", "1.0", tag="cp39-cp39-win_amd64", build="1")
    index.add_sdist("demo", "1.0")
    index.add_sdist("demo", "0.9")

    code, out, _err = told("--index-url", index.url, "--all-files", "demo")

    assert code == 0
    assert out.startswith("5 files of 1 project")
    assert {
        "demo-1.0-py3-none-any.whl",
        "demo-1.0-1-cp39-cp39-win_amd64.whl",
        "demo-1.0-1-cp39-cp39-win_amd64.whl.metadata",
        "demo-1.0.tar.gz",
    } <= fetched(index)
    assert "demo-0.9.tar.gz" not in fetched(index)


def test_what_cannot_be_resolved_is_told_in_the_words_of_the_resolver(index, told):
    code, out, err = told("--index-url", index.url, "absent")

    assert code == 1
    assert out == ""
    assert "absent was not found" in err
    assert err.startswith("twisted-index: uv cannot resolve the requirements for Python ")


def test_files_for_other_pythons_and_platforms_are_fetched(index, told):
    index.add_wheel("demo", "1.0", requires=["for-windows; sys_platform == 'win32'"])
    windows = index.add_wheel("for-windows", "1.0", tag="cp312-cp312-win_amd64")
    index.add_wheel("for-windows", "1.0", tag="cp313-cp313-win_amd64")

    words = ("--platform", "win_amd64", "--python-version", "3.12")
    code, out, _err = told("--index-url", index.url, *words, "demo")

    assert code == 0
    assert out.startswith("2 files of 2 projects")
    wheels = {name for name in fetched(index) if name.endswith(".whl")}
    assert wheels == {"demo-1.0-py3-none-any.whl", windows.filename}


def test_a_lock_file_is_fetched_as_it_is(index, told, tmp_path):
    old = index.add_wheel("demo", "1.0")
    index.add_wheel("demo", "2.0")
    (tmp_path / "uv.lock").write_text(
        'version = 1\n[[package]]\nname = "demo"\nversion = "1.0"\n'
        'source = { registry = "https://example.org/" }\n'
        f'wheels = [{{ url = "https://example.org/{old.filename}", hash = "sha256:{old.sha256}" }}]\n'
    )

    assert told("--index-url", index.url, "-r", "uv.lock")[0] == 0
    assert fetched(index) == {old.filename}


def test_only_the_named_index_is_asked(index, told, monkeypatch, tmp_path):
    """Whatever pip is configured to do here."""
    (tmp_path / "pip.conf").write_text("[global]\nfind-links = /nowhere\nindex-url = http://127.0.0.1:9/\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", f"{tmp_path}/pip.conf")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:9/")
    index.add_wheel("demo", "1.0")

    assert told("--index-url", index.url, "demo")[0] == 0


def test_a_password_is_neither_shown_nor_passed_as_an_option(index, told, monkeypatch):
    calls = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda words, **more: calls.append(words) or run(words, **more))
    url = index.url.replace("://", "://me:s3cret@")
    index.add_wheel("demo", "1.0")

    code, out, err = told("--index-url", url, "demo", "absent")

    assert code == 1
    assert "s3cret" not in out + err + str(calls)
    code, out, err = told("--index-url", url, "demo")
    assert code == 0
    assert "s3cret" not in out + err


# -- Fetching


def wanted(index, file, **more):
    values = {
        "name": file.filename,
        "project": file.project,
        "url": index.url + f"{file.project}/{file.filename}",
        "sha256": file.sha256,
    }
    return DownloadItem(**{**values, **more})


def test_each_failure_is_told_and_counted(index):
    good, stream = index.add_wheel("demo", "1.0"), io.StringIO()
    files = [
        wanted(index, good),
        wanted(index, good, name="other bytes", sha256="0" * 64),
        wanted(index, good, name="absent", url=index.url + "demo/demo-9.0.tar.gz"),
        wanted(index, good, name="elsewhere", url="http://127.0.0.1:9/simple/demo/demo-1.0.tar.gz"),
    ]

    background, outcome = BackgroundReactor(), []

    async def fetch():
        reactor = background.reactor
        worker = ThreadPool(reactor)
        remote = HTTPUpstream(index.url, reactor, worker=worker, environ={}, instance="test")
        asked = SourceIndex([remote], None, worker)
        progress = Progress(stream=stream)
        outcome.append(await download_all(asked, files, jobs=2, progress=progress, reactor=reactor))
        await remote.stop()
        await worker.stop()

    background.call(lambda: Deferred.fromCoroutine(fetch()), 20)
    background.stop(10)

    assert outcome == [(3, 2 * good.size)]
    lines = sorted(stream.getvalue().splitlines())
    assert lines[0].startswith("absent: It could not be fetched: It does not exist")
    assert lines[1].startswith(f"{good.filename}  ")
    assert lines[2].startswith("elsewhere: It is not a file of the index")
    assert lines[3].startswith("other bytes: Its digest differs")


# -- Mistakes


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "There is nothing to fetch"),
        (("demo",), "There is no upstream to fetch from"),
        (("--frob", "demo"), "unrecognized arguments: --frob".capitalize()),
        (("--jobs", "0", "demo"), "--jobs must be from 1 to 16"),
        (("--jobs", "x", "demo"), "invalid int value"),
        (("--index-url", "me:s3cret@host", "demo"), "--index-url: this is not an http or https URL"),
        (("--config", "nope.toml", "demo"), "cannot be read"),
        (("--upstream", "http://127.0.0.1:9/", "--state", "none", "demo"), "give one with --state"),
        (
            ("--index-url", "http://127.0.0.1:9/", "--upstream", "pip", "--state", "s", "demo"),
            "leave out --upstream and --state.",
        ),
    ],
)
def test_a_mistake_is_one_line(told, words, part):
    code, out, err = told(*words)

    assert (code, out) == (64, "")
    assert part in err
    assert "s3cret" not in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ("offline = true", "sets offline"),
        ('upstream-mode = "proxy"', "no cache to fill with upstream-mode proxy"),
        ('upstream-mode = "redirect"', "no cache to fill with upstream-mode redirect"),
    ],
)
def test_an_index_that_cannot_fill_a_cache_is_not_run(told, tmp_path, config, part):
    (tmp_path / "index.toml").write_text(f'upstream = "http://127.0.0.1:9/"\n{config}\n')

    code, _out, err = told("--config", "index.toml", "demo")

    assert code == 64
    assert part in err


# -- Without a server


def test_without_a_server_an_index_of_the_configuration_is_run_meanwhile(index, tmp_path):
    (tmp_path / "packages").mkdir()
    index.add_wheel("demo", "1.0").write_to(tmp_path / "packages")
    (tmp_path / "index.toml").write_text(
        f'path = "packages"\nstate = "state"\nlisten = "tcp:1"\nupstream = "{index.url}"\n'
    )

    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "twisted_index", "prefetch", "--config", "index.toml", "demo"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.stderr.startswith("demo-1.0-py3-none-any.whl  ")
    assert run.stdout.startswith("1 file of 1 project")
    assert run.returncode == 0


def test_upstream_and_state_can_be_options(index, tmp_path):
    wheel = index.add_wheel("demo", "1.0")

    run = subprocess.run(
        [
            *(sys.executable, "-m", "twisted_index", "prefetch"),
            *("--upstream", index.url, "--state", "kept", "demo"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (run.returncode, run.stderr.partition("  ")[0]) == (0, wheel.filename)
    cached = (tmp_path / "kept" / "cache" / "upstream").rglob("*")
    assert wheel.content in [path.read_bytes() for path in cached if path.is_file()]


def test_what_was_fetched_is_in_the_cache_from_then_on(index, tmp_path):
    index.add_wheel("demo", "1.0")
    index.add_wheel("acme-core", "9.0")
    (tmp_path / "packages").mkdir()
    (tmp_path / "index.toml").write_text(
        f'path = "packages"\nstate = "state"\nupstream = "{index.url}"\nlocal-only = "acme-*"\n'
    )

    def prefetch(*words: str) -> int:
        command = [sys.executable, "-m", "twisted_index", "prefetch", "--config", "index.toml", *words]
        environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        run = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, timeout=60, check=False)
        return run.returncode

    assert prefetch("demo") == 0
    assert "demo-1.0-py3-none-any.whl" in fetched(index)
    index.clear_requests()
    assert prefetch("demo") == 0
    assert prefetch("acme-core") == 1
    assert index.requests == []


# -- When it is interrupted


def test_an_interrupt_ends_it_in_order(tmp_path):
    """What runs is closed, nothing is left unsaid by Python, and the exit code is not 0."""
    upstream, wheel, asked = HostileUpstream(), make_wheel("demo", "1.0"), threading.Event()
    file = f"/simple/demo/{wheel.filename}"
    promise = {"sha256": hashlib.sha256(wheel.metadata).hexdigest()}
    upstream.on("/simple/demo/", page(page_of("demo", entry("demo", **{"core-metadata": promise}))))
    upstream.on(f"{file}.metadata", answer(200, wheel.metadata))

    def silent(_client: socket.socket, _asked: Asked) -> None:
        asked.set()
        upstream.wait()

    upstream.on(file, silent)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "twisted_index",
            "prefetch",
            "--index-url",
            f"{upstream.origin}/simple/",
            "demo",
        ],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=30)[0]
    finally:
        process.kill()
        process.wait()
        upstream.close()

    assert process.returncode == 1
    assert "never awaited" not in output
    assert "Traceback" not in output
    assert "Unhandled" not in output
