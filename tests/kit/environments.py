"""
Fresh environments without the network: what is built here is installed as a user would have it.

The environments see what this one has installed, but for twisted-index itself: the plugin must be
found because the installation under test brought it, not because it lay here already.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

#: What pip would write for the scripts of these packages.
_SCRIPT = "#!{}\nimport sys\nfrom {} import {}\nsys.exit({}())\n"
_SCRIPTS = {"twistd": ("twisted.scripts.twistd", "run"), "pip": ("pip._internal.cli.main", "main")}


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


def libraries_in(folder: Path) -> Path:
    """Link all that is installed here but twisted-index, in a folder to put on the path."""
    _mirror(Path(sysconfig.get_path("purelib")), folder)
    return folder


def make_environment(folder: Path, libraries: Path) -> Environment:
    """Make a virtual environment that sees these libraries."""
    environment = Environment(folder)
    run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(f"{libraries}\n")
    for name, (module, function) in _SCRIPTS.items():
        script = Path(environment.script(name))
        script.write_text(_SCRIPT.format(environment.python, module, function, function))
        script.chmod(0o755)
    return environment
