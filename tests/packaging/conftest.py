"""Servers of what is built here, started in each way that an installation offers."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kit.environments import Environment, libraries_in, make_environment, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SOURCES = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "twisted_index", "twisted")
START_SECONDS = 30.0
STOP_SECONDS = 15.0


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is installed here but twisted-index, in a folder to put on the path."""
    return libraries_in(tmp_path_factory.mktemp("libraries") / "site-packages")


@pytest.fixture(scope="session")
def new_environment(libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Environment]:
    """Make virtual environments."""
    return lambda: make_environment(tmp_path_factory.mktemp("environment") / "venv", libraries)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, with what running from a checkout leaves in it."""
    folder = tmp_path_factory.mktemp("checkout") / "twisted-index"
    folder.mkdir()
    for name in SOURCES:
        origin = REPOSITORY / name
        if origin.is_dir():
            shutil.copytree(
                origin, folder / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache")
            )
        else:
            shutil.copy(origin, folder / name)
    (folder / "twisted" / "plugins" / "dropin.cache").write_bytes(b"a pickle that nobody wants")
    return folder


@pytest.fixture(scope="session")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist: so the sdist holds all that is needed."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(checkout))
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel: Path, new_environment: Callable[[], Environment]) -> Environment:
    """An environment with the wheel."""
    environment = new_environment()
    environment.install(str(wheel))
    return environment


@pytest.fixture(scope="session")
def editable(checkout: Path, new_environment: Callable[[], Environment]) -> Environment:
    """An environment with an editable installation."""
    environment = new_environment()
    environment.install("--editable", str(checkout))
    return environment


@pytest.fixture(scope="session")
def bare(new_environment: Callable[[], Environment]) -> Environment:
    """An environment with Twisted, and without twisted-index."""
    return new_environment()


class Serving:
    """A server that was started by some command, found by what its log says."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def port(self) -> int:
        """Wait until it says where it listens."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(r"Listening on port (\d+) of 127\.0\.0\.1", self.log.read_text())
            if found:
                return int(found[1])
            time.sleep(0.02)
        raise AssertionError(f"It does not listen (exit code {self.process.poll()}):\n{self.log.read_text()}")

    def get(self, target: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{target}", timeout=20) as answer:
            body: bytes = answer.read()
            return body

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """Start `command… --path packages --listen …` in an empty folder, and stop it after the test."""
    started = []

    def start(*command: str, cwd: Path | None = None, **env: str) -> Serving:
        packages = tmp_path / "packages"
        packages.mkdir()
        words = ["--path", str(packages), "--state", "none", "--listen", "tcp:0:interface=127.0.0.1"]
        clean = {
            name: value
            for name, value in os.environ.items()
            if name != "PYTHONPATH" and not name.startswith("TWISTED_INDEX_")
        }
        log = tmp_path / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, *words],
                cwd=cwd or tmp_path,
                env={**clean, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        started.append(Serving(process, log))
        return started[-1]

    yield start
    for serving in started:
        serving.stop()
        assert "Traceback" not in serving.log.read_text()
