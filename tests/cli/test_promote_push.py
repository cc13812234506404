"""`twisted-index promote --to URL`: releases are uploaded to another server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.configured_server import ConfiguredServer
from twisted_index.testing import make_sdist, make_wheel

WHEEL, SDIST = make_wheel("acme", "1.2", requires=("other",)), make_sdist("acme", "1.2")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ConfiguredServer]:
    """Another server, to which everyone may upload."""
    folder = tmp_path / "other"
    folder.mkdir()
    made = ConfiguredServer(folder)
    made.start("upload = true\nanonymous-upload = true\n")
    yield made
    made.stop()


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "indexes" / "staging"
    WHEEL.write_to(folder / "acme")
    SDIST.write_to(folder / "acme")
    return folder


def push(staging: Path, url: str, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "twisted_index", "promote", f"--indexes={staging.parent}"]
    done = subprocess.run(
        [*command, "--from=staging", f"--to={url}", "--state=none", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "NETRC": os.devnull},
    )
    return done.returncode, done.stdout + done.stderr


def test_releases_are_uploaded_wheels_first(staging: Path, server: ConfiguredServer):
    code, said = push(staging, f"http://127.0.0.1:{server.port}/legacy/", "acme==1.2")
    assert code == 0, said
    assert said.splitlines()[:2] == [f"+ {WHEEL.filename}", f"+ {SDIST.filename}"]
    there = server.folder / "packages" / "acme"
    assert (there / WHEEL.filename).read_bytes() == WHEEL.content
    assert (there / SDIST.filename).read_bytes() == SDIST.content


def test_the_same_bytes_are_success_and_other_bytes_a_refusal_of_that_file(
    staging: Path, server: ConfiguredServer
):
    url = f"http://127.0.0.1:{server.port}/legacy/"
    make_wheel("acme", "1.2", files={"x.py": ""}).write_to(server.folder / "packages" / "acme")
    for _time in range(2):
        code, said = push(staging, url, "acme==1.2")
        assert code == 1
        assert f"{WHEEL.filename}: The server responded with 409" in said
        assert f"+ {SDIST.filename}" in said


def test_what_no_upload_can_say_is_refused_before_anything_is_sent(staging: Path, server: ConfiguredServer):
    (staging / "acme" / f"{SDIST.filename}.yanked").write_text("broken")
    code, said = push(staging, f"http://127.0.0.1:{server.port}/legacy/", "acme==1.2", "nothing==1.0")
    assert code == 1
    assert f"{SDIST.filename}: It is yanked" in said
    assert "nothing==1.0: There is no such release" in said
    assert not list((server.folder / "packages").iterdir())


def test_where_releases_may_go_holds_for_other_servers(staging: Path, server: ConfiguredServer):
    (staging / ".index.toml").write_text('promote-to = ["prod"]\n')
    code, said = push(staging, f"http://u:secret@127.0.0.1:{server.port}/legacy/", "acme==1.2")
    assert code == 1
    assert "may be promoted to prod only" in said
    assert "secret" not in said


def test_a_server_that_is_away_is_said_for_each_file(staging: Path, server: ConfiguredServer):
    server.stop()
    code, said = push(staging, f"http://127.0.0.1:{server.port}/legacy/", "acme==1.2")
    server._background = None
    assert code == 1
    assert said.count("The server cannot be reached") == 2
