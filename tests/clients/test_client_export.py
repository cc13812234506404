"""pip and uv install files at releases by a static index, which no server of ours sends."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.export.test_web_servers import served
from tests.kit.github.model import Repo
from tests.kit.github_server import GitHubServer
from tests.kit.ports import free_port
from twisted_index.testing import make_sdist, make_wheel

WHEELS = (
    make_wheel("demo", "1.0", requires=["leaf"]),
    make_wheel("demo", "2.0", requires_python=">=99"),
    make_wheel("leaf", "1.0"),
)


@pytest.fixture
def forge() -> Iterator[GitHubServer]:
    with GitHubServer() as server:
        yield server
    assert server.errors == []


@pytest.fixture
def repo(forge: GitHubServer) -> Repo:
    made = forge.repository("octo/wheels")
    for number, wheel in enumerate(WHEELS):
        release = made.release(f"v{number}", {wheel.filename: wheel.content})
        if wheel.project == "demo":
            release.add(f"{wheel.filename}.metadata", wheel.metadata)
    made.release("source", {(sdist := make_sdist("demo", "1.0")).filename: sdist.content})
    return made


@pytest.fixture
def export(shell, forge: GitHubServer, repo: Repo, tmp_path: Path) -> Callable[..., Path]:
    def run(*words: str) -> Path:
        site = tmp_path / "site"
        command = [sys.executable, "-m", "twisted_index", "export", site, "--source", forge.word(repo)]
        shell.must(*command, "--state", tmp_path / "state", *words)
        return site

    return run


@contextlib.contextmanager
def by_python(site: Path) -> Iterator[str]:
    """Serve a folder by `python -m http.server`; give the URL of its index."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", site]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url, until = f"http://127.0.0.1:{port}/simple/", time.monotonic() + 60
    try:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10):
                break
            assert process.poll() is None
            assert time.monotonic() < until
        yield url
    finally:
        process.terminate()
        process.wait()


def test_files_at_releases_are_installed_by_the_plainest_server(installer, export, forge: GitHubServer):
    """A release that needs another Python is not fetched to find that out."""
    with by_python(export()) as url:
        forge.requests.clear()
        assert installer.install("--index-url", url, "demo") == {"demo-1.0", "leaf-1.0"}
    assert not any(line.endswith("demo-2.0-py3-none-any.whl") for line in forge.asked(None))


def test_files_at_releases_are_installed_by_json_alone(installer, export, tmp_path: Path, find_program):
    find_program("nginx")
    with served("nginx", export("--json-only"), tmp_path / "work") as port:
        url = f"http://127.0.0.1:{port}/simple/"
        assert installer.install("--index-url", url, "demo") == {"demo-1.0", "leaf-1.0"}


def test_metadata_is_read_at_the_release(uv, export, forge: GitHubServer):
    with by_python(export()) as url:
        forge.requests.clear()
        uv.install("--index-url", url, "demo")
    assert any(line.endswith("demo-1.0-py3-none-any.whl.metadata") for line in forge.asked(None))


def test_a_file_that_was_replaced_is_not_installed(installer, export, repo: Repo, shell):
    site = export("--project", "leaf")
    repo.releases[-2].replace(WHEELS[2].filename, make_wheel("leaf", "1.0", files={"leaf.py": b"x"}).content)
    with by_python(site) as url:
        outcome, found = installer.try_to_install("--index-url", url, "leaf")
    assert (outcome.code != 0, found) == (True, set())
    assert "hash" in outcome.output.lower()
