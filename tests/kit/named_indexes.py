"""Indexes of a server in folders, before an upstream that has every project; all at once, without threads."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.kit.at_once import answer
from tests.kit.folder_source import AtOnce
from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.backends.folder.shared_folders import SharedFolders
from twisted_index.backends.folder.source import FolderSource
from twisted_index.config.settings import NamedUpstream, Settings, UpstreamSettings
from twisted_index.events.audit_log import AuditLog
from twisted_index.events.serials import Serials
from twisted_index.files.stamps import StatValidator
from twisted_index.indexes.builder import SourceBuilder
from twisted_index.indexes.catalog import IndexCatalog
from twisted_index.indexes.index_line import IndexLines
from twisted_index.indexes.registry import IndexRegistry, LiveIndex
from twisted_index.indexes.scope import PLAIN, Scope
from twisted_index.indexes.served_index import ServedIndex
from twisted_index.interfaces import FileBody, ISource, Snapshot
from twisted_index.server.draft_indexes import DraftIndexes
from twisted_index.server.named_indexes import NamedIndexes
from twisted_index.simple.model import File, ProjectList, ProjectPage, Sidecar
from twisted_index.testing import make_wheel


class Reactor(Clock):
    """A clock that stands still, for what is also called from threads."""

    def callFromThread(self, function: Callable[..., Any], *args: Any) -> None:
        function(*args)


@implementer(ISource)
class EveryProject:
    """An upstream that has every project, in version 999, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        #: When the files were uploaded; None if it does not say.
        self.uploaded: datetime | None = None

    def project_list(self) -> Snapshot[ProjectList]:
        return Snapshot(value=ProjectList(), is_current=lambda: True)

    def project_page(self, project: str) -> Snapshot[ProjectPage | None]:
        self.asked.append(project)
        name = f"{project.replace('-', '_')}-999-py3-none-any.whl"
        file = File(
            filename=name,
            version="999",
            size=len(self.content(project)),
            hashes={"sha256": hashlib.sha256(self.content(project)).hexdigest()},
            upload_time=self.uploaded,
        )
        page = ProjectPage(name=project, files=(file,), versions=("999",))
        return Snapshot(value=page, is_current=lambda: True)

    def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        self.asked.append(project)
        content = self.content(project)
        return FileBody(content=content, size=len(content), sha256=None, modified=0.0)

    def content(self, project: str) -> bytes:
        return f"evil {project}".encode()


class Indexes:
    """
    The indexes of a folder.

    Attributes:
        folder: Their folder.
        plain: The folder of the index without a name.
        upstreams: By the first URL of their tables.
        registry: What a server has.
    """

    def __init__(self, place: Path, settings: Settings | None = None, *, default: str = "") -> None:
        self.folder, self.plain = place / "indexes", place / "plain"
        self.folder.mkdir()
        self.plain.mkdir()
        self.reactor = Reactor()
        self.upstreams: dict[str, EveryProject] = {}
        clock, at_once = self.reactor, AtOnce()
        self.shared = SharedFolders(
            reactor=clock,
            reader=at_once,
            cache_thread=at_once,
            cache=InspectionCache(),
            validator=StatValidator(monotonic=clock.seconds, wall=lambda: time.time() + clock.seconds()),
        )
        self.settings = settings or Settings()
        own = self._folder([os.fsencode(self.plain)], (), Serials())

        def builder() -> SourceBuilder:
            return SourceBuilder(own, make_folder=lambda _path: own, make_upstream=self._upstream)

        self.named = NamedIndexes(
            self.settings,
            IndexLines(IndexCatalog(str(self.folder))),
            reactor=self.reactor,
            make_folder=self._folder,
            reader=at_once,
            upstreams=builder(),
            writer=at_once,  # type: ignore[arg-type]
            audit_log=AuditLog(None, at_once),
        )
        guarded = builder()
        guarded.guard = self.named.unreserved
        source = self.named.reporting(guarded.build(self.settings.upstreams))
        served = ServedIndex(scope=PLAIN, line=("",), source=source)
        self.registry = IndexRegistry(
            LiveIndex(members=(), served=served, folder=own),
            reactor=self.reactor,
            named=self.named,
            default=default,
            drafts=DraftIndexes(self._folder, reactor=self.reactor),
        )

    def _folder(self, paths: Sequence[bytes], owners: Sequence[str | None], serials: Serials) -> FolderSource:
        return FolderSource(*paths, owners=owners, shared=self.shared, reactor=self.reactor, serials=serials)

    def _upstream(self, urls: tuple[str, ...]) -> EveryProject:
        return self.upstreams.setdefault(urls[0], EveryProject())

    def make(self, name: str, settings: str = "", *projects: str) -> Path:
        """Make an index, with version 1.0 of some projects."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        if settings:
            (folder / ".index.toml").write_text(settings)
        self.add(folder, *projects)
        return folder

    def add(self, folder: Path, *projects: str) -> None:
        """Add version 1.0 of some projects."""
        for project in projects:
            wheel = make_wheel(project, "1.0")
            (folder / project).mkdir(exist_ok=True)
            (folder / project / wheel.filename).write_bytes(wheel.content)

    def find(self, name: str = "") -> ServedIndex:
        return self.registry.find(Scope(index=name))

    def files(self, index: str, project: str) -> list[str] | None:
        """The names of the files on a page; None without the page."""
        page = answer(self.find(index).source.project_page, project).value
        return None if page is None else [file.filename for file in page.files]

    def problems(self, index: str = "") -> dict[str, str]:
        report = answer(self.find(index).source.problems)
        return {problem.path: problem.reason for problem in report.problems}

    def later(self, seconds: float = 2.5) -> None:
        """Let time pass: what is racy settles, what was looked at has to be looked at again."""
        self.reactor.advance(seconds)

    def close(self) -> None:
        answer(self.registry.stop)
        answer(self.shared.stop)


def upstream_settings(*named: NamedUpstream, **more: Any) -> Settings:
    """Settings with these tables of upstreams."""
    return Settings(upstreams=UpstreamSettings(named=named, **more))


PUBLIC = NamedUpstream(name="public", urls=("https://public.example/simple/",))
PARTNER = NamedUpstream(name="partner", urls=("https://partner.example/simple/",))


@pytest.fixture
def make_indexes(tmp_path: Path) -> Iterator[Callable[..., Indexes]]:
    """Make the indexes of a server with the given settings."""
    made: list[Indexes] = []

    def make(settings: Settings | None = None, **more: Any) -> Indexes:
        made.append(Indexes(tmp_path, settings or upstream_settings(PUBLIC, PARTNER), **more))
        return made[-1]

    yield make
    for indexes in made:
        indexes.close()


@pytest.fixture
def indexes(make_indexes: Callable[..., Indexes]) -> Indexes:
    """The indexes of a server with the upstreams `public` and `partner`."""
    return make_indexes()
