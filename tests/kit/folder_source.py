"""A directory source whose threads run at once and whose clocks stand still until they are moved."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.task import Clock

from tests.kit.at_once import answer
from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.backends.folder.source import FolderSource
from twisted_index.files.filesystems import has_fine_times
from twisted_index.files.stamps import StatValidator
from twisted_index.simple.model import ProjectPage

LONG_AGO = 1_600_000_000


class AtOnce:
    """A worker whose calls are done when they return."""

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        return execute(function, *args, **kwargs)

    def stop(self) -> Deferred[None]:
        return succeed(None)


@dataclass
class Times:
    """The clocks of a test, and how coarsely its file system ticks."""

    clock: Clock = field(default_factory=Clock)
    #: What the wall clock says; None follows the real one, as files made by a test do.
    tick_ns: int = 1
    stats: int = 0

    def stat(self, path: bytes) -> os.stat_result:
        """A `stat` whose times are rounded down to a tick."""
        self.stats += 1
        status = os.stat(path)
        if self.tick_ns == 1:
            return status
        values = list(status)
        coarse = {
            "st_mtime_ns": status.st_mtime_ns // self.tick_ns * self.tick_ns,
            "st_ctime_ns": status.st_ctime_ns // self.tick_ns * self.tick_ns,
        }
        return os.stat_result(values, coarse)

    def are_fine(self, path: bytes, status: os.stat_result) -> bool:
        """Whether these times tick as finely as the kernel's: never if they are rounded."""
        return self.tick_ns == 1 and has_fine_times(path, status)


@dataclass
class Folder:
    """A root, and the source that serves it."""

    path: Path
    source: FolderSource
    times: Times

    def page(self, project: str) -> ProjectPage | None:
        return answer(self.source.project_page, project).value

    def files(self, project: str) -> list[str]:
        page = self.page(project)
        assert page is not None
        return [file.filename for file in page.files]

    def names(self) -> tuple[str, ...]:
        return answer(self.source.project_list).value.names

    def read(self, project: str, filename: str, sidecar: Any = None) -> bytes | None:
        body = answer(self.source.open_file, project, filename, sidecar)
        if body is None:
            return None
        if isinstance(body.content, bytes):
            return body.content
        with body.content as file:
            return file.read()

    def problems(self) -> dict[str, str]:
        report = answer(self.source.problems)
        assert report.complete
        return {problem.path: problem.reason for problem in report.problems}

    def later(self, seconds: float = 2.5) -> None:
        """Let time pass: what is racy settles, what was looked at has to be looked at again."""
        self.times.clock.advance(seconds)


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def serve(times: Times) -> Iterator[Callable[..., Folder]]:
    """Serve folders, with the given arguments of `FolderSource`."""
    sources = []

    def start(*paths: Path, **arguments: Any) -> Folder:
        at_once = AtOnce()
        freshness = StatValidator(
            stat=times.stat, monotonic=times.clock.seconds, has_fine_times=times.are_fine
        )
        source = FolderSource(
            *paths,
            **{
                "reactor": times.clock,
                "reader": at_once,
                "cache_thread": at_once,
                "cache": InspectionCache(),
                "validator": freshness,
                **arguments,
            },
        )
        sources.append(source)
        return Folder(paths[0], source, times)

    yield start
    for source in sources:
        answer(source.stop)


@pytest.fixture
def folder(tmp_path: Path, serve: Callable[..., Folder]) -> Folder:
    root = tmp_path / "packages"
    root.mkdir()
    return serve(root)
