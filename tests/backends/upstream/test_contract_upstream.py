"""Upstreams keep the contract of sources, with a cache and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kit.scripted_remote import Bench, remote_file
from twisted_index.backends.upstream.remote import RemoteFile
from twisted_index.errors import Unavailable
from twisted_index.simple.model import Sidecar
from twisted_index.testing import BuiltFile, SourceContract, SourceHarness


class Down(dict[str, Any]):
    """The pages of an upstream that does not answer."""

    def get(self, project: str, default: Any = None) -> Any:
        return Unavailable("It is down.")


class UpstreamHarness(SourceHarness):
    """A scripted upstream, whose pages are fresh for ten minutes."""

    delay = rewrite_delay = 600.0
    lists_projects = False

    def __init__(self, path: Path, *, keeps: bool = True) -> None:
        self.bench = Bench(path, keeps=keeps)
        self.source = self.bench.source
        self.remote = self.bench.remote
        self.listed: dict[str, dict[str, RemoteFile]] = {}
        self.changes = 0

    def add(self, file: BuiltFile, *, signature: bytes | None = None) -> None:
        # As real indexes have it, other bytes are at another URL.
        made = remote_file(
            file.content,
            file.filename,
            url=f"https://files.example/{file.sha256}/{file.filename}",
            version=file.version,
            offers_metadata=file.filename.endswith(".whl"),
            sidecars=frozenset({Sidecar.SIGNATURE} if signature is not None else ()),
        )
        self.remote.bodies[made.url] = file.content
        self.remote.documents[f"{made.url}.metadata"] = file.metadata
        self.remote.documents[f"{made.url}.asc"] = signature
        self.listed.setdefault(file.project, {})[file.filename] = made
        self._offer(file.project)

    def remove(self, file: BuiltFile) -> None:
        del self.listed[file.project][file.filename]
        self._offer(file.project)

    def add_empty(self, project: str) -> None:
        self.listed[project] = {}
        self._offer(project)

    def _offer(self, project: str) -> None:
        self.changes += 1
        self.remote.offer(*self.listed[project].values(), project=project, etag=f'"{self.changes}"')

    def corrupt(self, file: BuiltFile) -> None:
        made = self.listed[file.project][file.filename]
        self.remote.bodies[made.url] = file.content[:-1] + b"?"

    def fail(self) -> None:
        self.remote.pages = Down(self.remote.pages)

    def recover(self) -> None:
        self.remote.pages = dict(self.remote.pages)

    def advance(self, seconds: float) -> None:
        self.bench.clock.advance(seconds)


class TestKeeping(SourceContract):
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path

    def harness(self) -> SourceHarness:
        return UpstreamHarness(self.path)


class TestPassingOn(TestKeeping):
    """A proxy without a cache."""

    def harness(self) -> SourceHarness:
        return UpstreamHarness(self.path, keeps=False)
