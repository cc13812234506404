"""A folder of packages, and exports of it by the shipped classes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

import pytest

from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.export.exporter import Exporter, ExportResult
from twisted_index.export.layout import ExportLayout
from twisted_index.export.memory import ExportMemory
from twisted_index.export.project_reader import PackageFolders, ProjectReader
from twisted_index.export.target import ExportTarget
from twisted_index.files.filesystems import file_clock
from twisted_index.files.stamps import StatValidator


@dataclass
class Site:
    """
    A folder that is exported.

    Attributes:
        root: The folder of packages.
        aside: A folder of the same file system.
        target: The export.
        memory: What is remembered; None remembers nothing.
    """

    root: Path
    aside: Path
    target: Path
    memory: Path | None

    def export(
        self,
        target: Path | None = None,
        *,
        may_read: Any = lambda _project: True,
        dry: bool = False,
        remember: bool = True,
        **layout: Any,
    ) -> ExportResult:
        """Export what changed; files count as old enough to show their next change."""
        made = ExportLayout(**layout)
        shape = hashlib.sha256(repr(made).encode()).hexdigest().encode()
        exporter = Exporter(
            self._opened,
            made,
            ExportTarget(str(target or self.target), dry=dry),
            ExportMemory(str(self.memory) if remember and self.memory is not None else None, shape),
            may_read,
        )
        result = exporter.run()
        tick()
        return result

    @contextlib.contextmanager
    def _opened(self) -> Iterator[ProjectReader]:
        folders = [PackageFolders((os.fsencode(self.root),), lambda _project: True)]
        with contextlib.closing(InspectionCache()) as cache:
            yield ProjectReader(folders, cache, StatValidator(wall=lambda: file_clock() + 10))

    def files(self, target: Path | None = None) -> dict[str, bytes]:
        """Give the content of every file of an export, by path; links count as what they lead to."""
        return contents(target or self.target)


def tick() -> None:
    """Wait for the next tick of the clock that files get their times from: some milliseconds."""
    before = file_clock()
    while file_clock() == before:
        pass


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def links(folder: Path) -> set[str]:
    """Give where the links of all pages lead to, below the folder."""
    found = set()
    for path, data in contents(folder).items():
        if path.endswith(("index.html", "index.v1.json")):
            for link in re.findall(r'(?:href="|"url":")([^"#]*)', data.decode()):
                to = unquote(urljoin(f"/{path}", link)).lstrip("/")
                found.add(f"{to}index.html" if to.endswith("/") else to)
    return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return made_site(tmp_path)


def made_site(base: Path) -> Site:
    """Make an empty folder of packages in another one."""
    for name in ("packages", "aside"):
        (base / name).mkdir()
    return Site(base / "packages", base / "aside", base / "site", base / "memory")
