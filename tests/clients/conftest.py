"""Real installers, each with nothing of this machine's settings, and with no way to any other index."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 180


@dataclass(frozen=True)
class Outcome:
    """How a command ended and all it said."""

    code: int
    output: str


@dataclass(frozen=True)
class Shell:
    """Runs clients in a folder of their own."""

    home: Path
    env: dict[str, str]

    def run(
        self, *command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> Outcome:
        """Run a command and say how it went."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd or self.home,
            env=self.env | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
        return Outcome(done.returncode, done.stdout.decode("utf-8", "replace"))

    def must(self, *command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
        """Run a command that has to succeed, and give what it said."""
        outcome = self.run(*command, env=env, cwd=cwd)
        assert outcome.code == 0, f"{' '.join(map(str, command))}\n{outcome.output}"
        return outcome.output


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    home = tmp_path / "home"
    home.mkdir()
    dead_end = "http://127.0.0.1:9"  # "discard": whatever is meant for another host ends here
    env = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TMPDIR": str(tmp_path),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_STATE_HOME": str(home / "state"),
        "http_proxy": dead_end,
        "https_proxy": dead_end,
        "no_proxy": "127.0.0.1,localhost",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_LINK_MODE": "copy",
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        "POETRY_NO_INTERACTION": "1",
        "PDM_CHECK_UPDATE": "0",
        "PDM_NON_INTERACTIVE": "1",
    }
    return Shell(home, env)


class Installer:
    """One way to install into an empty folder, and to see what came."""

    def __init__(self, shell: Shell, command: list[str]) -> None:
        self.shell = shell
        self.command = command
        self._count = 0

    def try_to_install(self, *arguments: str | Path) -> tuple[Outcome, set[str]]:
        """Install into a new folder; say how it went and which `name-version` are there."""
        self._count += 1
        target = self.shell.home / f"installed-{self._count}"
        outcome = self.shell.run(*self.command, "--target", target, *arguments)
        return outcome, installed(target)

    def install(self, *arguments: str | Path) -> set[str]:
        """Install, which has to succeed."""
        outcome, found = self.try_to_install(*arguments)
        assert outcome.code == 0, outcome.output
        return found


def installed(folder: Path) -> set[str]:
    """Say which `name-version` are installed in a folder, or in an environment's site-packages."""
    return {path.name.removesuffix(".dist-info") for path in folder.rglob("*.dist-info")}


@pytest.fixture
def read_installed() -> Callable[[Path], set[str]]:
    return installed


@pytest.fixture
def pip(shell: Shell) -> Installer:
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not in this environment")
    return Installer(shell, [sys.executable, "-m", "pip", "install"])


@pytest.fixture
def uv(shell: Shell) -> Installer:
    return Installer(shell, [program("uv", shell), "pip", "install"])


@pytest.fixture(params=["pip", "uv"])
def installer(request: pytest.FixtureRequest) -> Installer:
    """Each of the two that share their options for what most tests need."""
    return request.getfixturevalue(request.param)


def program(name: str, shell: Shell) -> str:
    """Find a client, or skip the test."""
    found = shutil.which(name, path=shell.env["PATH"])
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


@pytest.fixture
def find_program(shell: Shell) -> Callable[[str], str]:
    return lambda name: program(name, shell)


@pytest.fixture
def folder(emptied_folder: Path) -> Path:
    return emptied_folder


@pytest.fixture
def server(folder: Path, module_server: Callable[..., Any]) -> Any:
    """A server of `folder`, into which a test may drop files at any time."""
    return module_server()
