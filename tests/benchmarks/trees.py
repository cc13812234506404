"""
The folders that are served: made once, and kept in the cache.

Not for: pages of them (`static`).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from twisted_index.testing import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: What is installed: 60 projects with wheels for common platforms, which need no others.
_NAMES = """
annotated-doc annotated-types anyio asgiref attrs babel beautifulsoup4 blinker boto3 botocore cachetools
certifi charset-normalizer click django fastapi filelock flask h11 httpcore httpx idna imagesize
iniconfig itsdangerous jinja2 jmespath mako markdown markdown-it-py markupsafe mdurl more-itertools
opentelemetry-api packaging pathspec platformdirs pluggy pydantic pydantic-core pygments pyjwt
pyparsing pytest python-dateutil pyyaml requests rich s3transfer six snowballstemmer soupsieve sqlparse
starlette tqdm typing-extensions typing-inspection urllib3 webencodings werkzeug
"""
REAL_PROJECTS = _NAMES.split()

#: The project whose page is asked for, and one whose name is nowhere.
DEMO, ABSENT = "demo", "absent-name"
#: Indexes, each the base of the one before.
LINE = ("dev", "staging", "prod")

_BIG_FILE = "blob-1.0-py3-none-any.whl"
_DOWNLOAD_SECONDS = 900


def kept(place: Path, make: Callable[[Path], None]) -> Path:
    """Make a folder, unless it was made before; whole or not at all."""
    if not place.exists():
        part = place.with_name(place.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        make(part)
        part.rename(place)
    return place


def _fill(folder: Path, project: str, files: int, size: int = 0) -> None:
    (folder / project).mkdir(parents=True, exist_ok=True)
    ballast = {f"{project.replace('-', '_')}/data": os.urandom(size)} if size else None
    for number in range(files):
        wheel = make_wheel(project, f"{number}.0", requires_python=">=3.9", files=ballast)
        wheel.write_to(folder / project)


def small(cache: Path) -> Path:
    """One project of 10 files; one with a file of 5 KB."""

    def make(folder: Path) -> None:
        _fill(folder, DEMO, 10)
        _fill(folder, "small-file", 1, 4200)

    return kept(cache / "small", make)


def line(cache: Path, files: int, project: str = DEMO) -> Path:
    """Three indexes, each the base of the one before; so many files of one project are spread over them."""

    def make(folder: Path) -> None:
        _fill(folder / "all", project, files)
        for number, wheel in enumerate(sorted((folder / "all" / project).iterdir())):
            place = folder / LINE[number % len(LINE)] / project
            place.mkdir(parents=True, exist_ok=True)
            wheel.rename(place / wheel.name)
        shutil.rmtree(folder / "all")
        for name, base in itertools.pairwise(LINE):
            (folder / name / ".index.toml").write_text(f'bases = ["{base}"]\n')

    return kept(cache / f"line-{files}-{project}", make)


def large_file(cache: Path, megabytes: int) -> Path:
    """One project with one wheel of so many MB, stored."""

    def make(folder: Path) -> None:
        piece = os.urandom(1 << 20)
        wheel = make_wheel("blob", "1.0", files={"blob/data": piece * megabytes}, compress=False)
        wheel.write_to(folder / "blob")

    return kept(cache / f"blob-{megabytes}", make) / "blob" / _BIG_FILE


def many(cache: Path, projects: int, files: int) -> Path:
    """So many projects with so many files each."""

    def make(folder: Path) -> None:
        for number in range(projects):
            _fill(folder, f"project-{number:05d}", files)

    return kept(cache / f"many-{projects}-{files}", make)


def installable(cache: Path, given: Path | None) -> Path:
    """
    Wheels of `REAL_PROJECTS` and the project `demo`, a folder each, named normally.

    Args:
        cache: Where it is kept.
        given: A folder of distributions to take them from; None fetches them by pip, once, from
            wherever pip is set to.
    """
    wheels = given or _downloads(cache)
    name = hashlib.sha256(f"{wheels} {REAL_PROJECTS}".encode()).hexdigest()[:12]

    def make(folder: Path) -> None:
        shutil.copytree(small(cache) / DEMO, folder / DEMO)
        for wheel in sorted(wheels.rglob("*.whl")):
            project = canonicalize_name(wheel.name.partition("-")[0])
            if project in REAL_PROJECTS or given is None:
                (folder / project).mkdir(exist_ok=True)
                shutil.copyfile(wheel, folder / project / wheel.name)

    return kept(cache / f"installable-{name}", make)


def _downloads(cache: Path) -> Path:
    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:"]
        subprocess.run([*command, "-d", str(folder), *REAL_PROJECTS], check=True, timeout=_DOWNLOAD_SECONDS)

    return kept(cache / "downloads", make)
