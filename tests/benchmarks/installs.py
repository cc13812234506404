"""
Installs by the real clients, with nothing in their caches.

Not for: what is installed (`trees`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.load import WrongAnswer
from tests.benchmarks.processes import on
from tests.benchmarks.servers import quiet_environment
from tests.benchmarks.trees import REAL_PROJECTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.bench import Bench
    from tests.benchmarks.servers import Server

_SECONDS = 300

#: Installs from a server, and tells what that took.
Client = Callable[["Bench", "Server"], dict[str, float]]


def _uv() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "uv"
    return str(beside) if beside.exists() else (shutil.which("uv") or "uv")


def with_uv(bench: Bench, server: Server) -> dict[str, float]:
    """Install by uv, and tell the seconds that it took and the server's CPU."""
    place = bench.place()
    python = _environment(place)
    command = [_uv(), "pip", "install", "--quiet", "--no-config", "--cache-dir", str(place / "cache")]
    command += ["--python", python, "--link-mode", "hardlink", "--only-binary", ":all:"]
    before = server.process.cpu_seconds()
    took = _run(bench, place, [*command, "--default-index", server.index_url, *REAL_PROJECTS])
    return {"install_uv": took, "install_cpu": server.process.cpu_seconds() - before}


def with_pip(bench: Bench, server: Server) -> dict[str, float]:
    """Install by pip, and tell the seconds that it took."""
    place = bench.place()
    command = [sys.executable, "-m", "pip", "--python", _environment(place), "install", "--quiet"]
    command += ["--no-cache-dir", "--no-compile", "--only-binary", ":all:", "--disable-pip-version-check"]
    took = _run(bench, place, [*command, "--index-url", server.index_url, *REAL_PROJECTS])
    return {"install_pip": took}


def _environment(place: Path) -> str:
    command = [sys.executable, "-m", "venv", "--without-pip", str(place / "venv")]
    subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
    return str(place / "venv" / "bin" / "python")


def _run(bench: Bench, place: Path, command: Sequence[str]) -> float:
    with on(bench.cores.client):
        began = time.monotonic()
        ran = subprocess.run(
            command,
            env=quiet_environment(),
            cwd=place,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        took = time.monotonic() - began
    installed = len(list(place.glob("venv/lib/python*/site-packages/*.dist-info")))
    shutil.rmtree(place)
    if ran.returncode or installed < len(REAL_PROJECTS):
        said = " ".join((ran.stderr or ran.stdout).split())
        raise WrongAnswer(f"{installed} of {len(REAL_PROJECTS)} projects were installed: {said[-300:]}")
    return took
