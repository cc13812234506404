"""Folders keep the contract of sources."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from twisted_index.backends.folder.source import FolderSource
from twisted_index.files.stamps import StatValidator
from twisted_index.testing import BuiltFile, SourceContract, SourceHarness, SynchronousRunner


class FolderHarness(SourceHarness):
    """A root on the disk, a clock that is moved, and no threads."""

    rewrite_delay = 2.5

    def __init__(self, path: Path) -> None:
        self.root = path / "packages"
        self.root.mkdir()
        self.clock = Clock()
        self.source = FolderSource(
            self.root,
            reactor=self.clock,
            reader=SynchronousRunner(),
            cache_thread=SynchronousRunner(),
            validator=StatValidator(
                monotonic=self.clock.seconds, wall=lambda: time.time() + self.clock.seconds()
            ),
        )

    def add(self, file: BuiltFile, *, signature: bytes | None = None) -> None:
        path = file.write_to(self.root / file.project)
        if signature is not None:
            Path(f"{path}.asc").write_bytes(signature)

    def remove(self, file: BuiltFile) -> None:
        (self.root / file.project / file.filename).unlink()

    def add_empty(self, project: str) -> None:
        (self.root / project).mkdir()
        (self.root / project / ".claimed").touch()

    def fail(self) -> None:
        os.rename(self.root, f"{self.root}.away")

    def recover(self) -> None:
        os.rename(f"{self.root}.away", self.root)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestFolder(SourceContract):
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path

    def harness(self) -> FolderHarness:
        return FolderHarness(self.path)


class FlatHarness(FolderHarness):
    """All files beside each other, as a `wheelhouse` has them."""

    def add(self, file: BuiltFile, *, signature: bytes | None = None) -> None:
        path = file.write_to(self.root)
        if signature is not None:
            Path(f"{path}.asc").write_bytes(signature)

    def remove(self, file: BuiltFile) -> None:
        (self.root / file.filename).unlink()


class TestFlatFolder(TestFolder):
    def harness(self) -> FlatHarness:
        return FlatHarness(self.path)
