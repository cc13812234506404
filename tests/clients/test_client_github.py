"""pip, uv and poetry install what hangs on the releases of a private repository: cold, warm and offline."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.github_server import GitHubServer
from twisted_index.testing import make_sdist, make_wheel

TOKEN = "github_pat_of_the_server"
TOOLS, BASE = make_wheel("acme-tools", "1.0+cu118", requires=["acme-base>=1"]), make_wheel("acme-base", "1.0")


@pytest.fixture
def forge() -> Iterator[GitHubServer]:
    """A private repository; the name of one of its wheels was changed at upload."""
    with GitHubServer() as server:
        server.token(TOKEN, read=("acme/private",))
        repository = server.repository("acme/private", private=True)
        release = repository.release("v1.0", {BASE.filename: BASE.content})
        release.add(TOOLS.filename.replace("+", " "), TOOLS.content)
        release.add("acme_base-0.9.tar.gz", make_sdist("acme-base", "0.9").content)
        yield server
    assert server.errors == []


@pytest.fixture
def serve(forge: GitHubServer, live_server: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Start a server that has nothing of its own, with the same cache each time."""
    (tmp_path / "own").mkdir()
    (tmp_path / "token").write_text(TOKEN)
    config = tmp_path / "index.toml"
    lines = [f'upstream = "{forge.word("acme/private")}"', 'upstream-only = "acme-*"', 'cache = "cache"']
    config.write_text("\n".join([*lines, 'github-token-file = "token"']))
    return lambda *more: live_server(tmp_path / "own", options=["--config", str(config), *more])


def test_a_private_file_is_installed_cold_warm_and_offline(installer: Any, forge: GitHubServer, serve):
    wanted = {"acme_tools-1.0+cu118", "acme_base-1.0"}
    server = serve()

    assert installer.install("--index-url", server.simple, "--no-cache-dir", "acme-tools") == wanted
    storage = len(forge.asked("storage"))
    assert installer.install("--index-url", server.simple, "--no-cache-dir", "acme-tools") == wanted
    assert len(forge.asked("storage")) == storage

    forge.close()
    server = serve("--offline")
    assert installer.install("--index-url", server.simple, "--no-cache-dir", "acme-tools") == wanted


def test_poetry_locks_and_installs_a_private_file(shell, find_program, serve, read_installed):
    poetry = find_program("poetry")
    home = shell.home / "project"
    home.mkdir()
    text = f"""
        [tool.poetry]
        name = "app"
        version = "1"
        package-mode = false
        [[tool.poetry.source]]
        name = "here"
        url = "{serve().simple}"
        [tool.poetry.dependencies]
        python = ">=3.11"
        acme-tools = "*"
    """
    (home / "pyproject.toml").write_text(textwrap.dedent(text))

    shell.must(poetry, "lock", cwd=home)
    shell.must(poetry, "sync", "--no-root", cwd=home)

    assert read_installed(home / ".venv") >= {"acme_tools-1.0+cu118", "acme_base-1.0"}
