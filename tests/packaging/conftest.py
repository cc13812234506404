"""
Fresh environments without the network: what is built here is installed as a user would have it.

The environments see what this one has installed, but for twisted-index itself: the plugin must be
found because the installation under test brought it, not because it lay here already.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SOURCES = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "twisted_index", "twisted")

START_SECONDS = 30.0
STOP_SECONDS = 15.0

#: What pip would write for the script of that name.
_TWISTD = "#!{}\nimport sys\nfrom twisted.scripts.twistd import run\nsys.exit(run())\n"


class Environment:
    """A virtual environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"

    def script(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def install(self, *words: str) -> None:
        """Install with pip, from here only."""
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet"]
        run(*command, "--no-index", "--no-deps", "--no-build-isolation", *words)


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a command that must succeed, and give what it said."""
    found = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def _mirror(origin: Path, target: Path, inside: tuple[str, ...] = ("twisted", "plugins")) -> None:
    """Link all that lies in site-packages but what belongs to twisted-index."""
    target.mkdir()
    for entry in origin.iterdir():
        if entry.name.startswith(("twisted_index", "dropin.cache", "__pycache__")):
            continue
        if inside and entry.name == inside[0]:
            _mirror(entry, target / entry.name, inside[1:])
        elif not (target / entry.name).exists():
            (target / entry.name).symlink_to(entry)


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is installed here but twisted-index, in a folder to put on the path."""
    folder = tmp_path_factory.mktemp("libraries") / "site-packages"
    _mirror(Path(sysconfig.get_path("purelib")), folder)
    return folder


@pytest.fixture(scope="session")
def new_environment(libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Environment]:
    """Make virtual environments."""

    def make() -> Environment:
        environment = Environment(tmp_path_factory.mktemp("environment") / "venv")
        run(sys.executable, "-m", "venv", "--without-pip", str(environment.folder))
        (site,) = environment.folder.glob("lib/python*/site-packages")
        (site / "libraries.pth").write_text(f"{libraries}\n")
        twistd = Path(environment.script("twistd"))
        twistd.write_text(_TWISTD.format(environment.python))
        twistd.chmod(0o755)
        return environment

    return make


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
