"""A root with a store whose threads run at once, seen through a real source."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.kit.at_once import answer
from twisted_index.backends.folder.source import FolderSource
from twisted_index.backends.folder.store import FolderStore
from twisted_index.events.audit_log import AuditLog
from twisted_index.files import anonymous_file
from twisted_index.interfaces import AuditQuery, IIndexObserver, Upload
from twisted_index.simple.model import File, ProjectPage
from twisted_index.testing import BuiltFile, SynchronousRunner


@dataclass
class Shop:
    """A root, the source that serves it, and the store that changes it."""

    path: Path
    source: FolderSource
    store: FolderStore
    audit_log: AuditLog

    def publish(self, made: BuiltFile, **options: Any) -> bool:
        spool = answer(self.store.spool)
        for start in range(0, len(made.content), 1000):
            answer(spool.write, made.content[start : start + 1000])
        return answer(self.store.publish, Upload(spool=spool, filename=made.filename, **options))

    def page(self, project: str = "demo") -> ProjectPage | None:
        return answer(self.source.project_page, project).value

    def files(self, project: str = "demo") -> dict[str, str]:
        """The listed files with their digests."""
        page = self.page(project)
        return {} if page is None else {file.filename: file.hashes["sha256"] for file in page.files}

    def file(self, filename: str, project: str = "demo") -> File:
        page = self.page(project)
        assert page is not None
        return next(file for file in page.files if file.filename == filename)

    def read(self, filename: str, sidecar: Any = None, project: str = "demo") -> bytes | None:
        body = answer(self.source.open_file, project, filename, sidecar)
        if body is None or isinstance(body.content, bytes):
            return None if body is None else body.content
        with body.content as file:
            return file.read()

    def do(self, action: str, *args: Any, **kwargs: Any) -> Any:
        return answer(getattr(self.store, action), *args, **{"by": "alice", **kwargs})

    def tree(self) -> list[str]:
        """All files below the root, hidden ones too."""
        return sorted(str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file())

    def events(self) -> list[tuple[str, str, str]]:
        """The history: who, what, to which file or project; the oldest first."""
        events = answer(self.audit_log.search, AuditQuery()).events
        return [(event.by, event.action, event.filename or event.project) for event in reversed(events)]


@pytest.fixture
def open_shop() -> Iterator[Callable[..., Shop]]:
    """Serve roots and let them be changed, with the given arguments of `FolderStore`."""
    sources: list[FolderSource] = []

    def start(
        *paths: Path,
        owners: Sequence[str | None] = (),
        observer: IIndexObserver | None = None,
        **arguments: Any,
    ) -> Shop:
        at_once = SynchronousRunner()
        clock = Clock()
        for path in paths:
            path.mkdir(exist_ok=True)
        source = FolderSource(
            *paths,
            owners=owners,
            reactor=clock,
            reader=at_once,
            cache_thread=at_once,
            observer=observer,
        )
        sources.append(source)
        history = AuditLog(None, at_once)
        store = FolderStore(source, worker=at_once, audit_log=history, reactor=clock, **arguments)
        return Shop(paths[0], source, store, history)

    yield start
    for source in sources:
        answer(source.stop)


@pytest.fixture
def shop(tmp_path: Path, open_shop: Callable[..., Shop]) -> Shop:
    return open_shop(tmp_path / "packages")


@pytest.fixture
def without_tmpfile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that has no files without names."""
    monkeypatch.setattr(anonymous_file, "_O_TMPFILE", 0)


@pytest.fixture(params=["nameless", "hidden"])
def either_way(request: pytest.FixtureRequest) -> str:
    """Both ways to keep a file that has no name of its own yet."""
    if request.param == "hidden":
        request.getfixturevalue("without_tmpfile")
    elif not anonymous_file._O_TMPFILE:
        pytest.skip("there is no O_TMPFILE here")
    return request.param


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)
