"""A puller over a scripted index, whose threads run at once, and which can die after any step."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.kit.scripted_remote import ScriptedRemote
from twisted_index.backends.folder import copies
from twisted_index.backends.upstream.disk_cache import DiskCache
from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
from twisted_index.mirror.folder import TargetFolder
from twisted_index.mirror.plan import Selection
from twisted_index.mirror.puller import ProjectResult, Puller
from twisted_index.mirror.source_index import SourceIndex
from twisted_index.testing.in_memory import SynchronousRunner

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Killed(BaseException):
    """The process has died."""


class _Reactor(Clock):
    def callFromThread(self, function: Callable[..., object], *args: object) -> None:
        function(*args)


class Mortal:
    """
    Carries out steps, and dies after some of them: no later step happens.

    Attributes:
        steps: How many steps there were.
        seen: Called after each step.
    """

    def __init__(self, lives: int | None = None, seen: Callable[[], object] = lambda: None) -> None:
        self._lives = lives
        self.steps = 0
        self.seen = seen

    def __call__(self, step: Callable[[], object]) -> None:
        if self.steps == self._lives:
            raise Killed
        step()
        self.steps += 1
        self.seen()
        if self.steps == self._lives:
            raise Killed


@dataclass
class PullBench:
    """
    Pulls from a scripted index.

    Attributes:
        path: Where folders and memory are made.
        remote: The index.
        now: The time.
        joins: Whether copies join other files.
    """

    path: Path
    remote: ScriptedRemote = field(default_factory=ScriptedRemote)
    now: datetime = NOW
    joins: bool = False

    def list(self, project: str, *files: RemoteFile, **more: Any) -> None:
        """Have the index list a project."""
        self.remote.pages[project] = RemotePage(project=project, files=files, **more)

    def offer(self, content: bytes, listed: RemoteFile) -> RemoteFile:
        """Have the index send the bytes of a file."""
        self.remote.bodies[listed.url] = content
        return listed

    def run(
        self, target: Path, projects: Iterable[str], *, mortal: Mortal | None = None, exact: bool = True
    ) -> list[ProjectResult]:
        """
        Pull projects into a folder; an exact run removes at its end.

        Raises:
            Killed: It died.
        """
        target.mkdir(exist_ok=True)
        worker, step = SynchronousRunner(), mortal or Mortal()
        index = SourceIndex(
            [self.remote],  # type: ignore[list-item]
            DiskCache(str(self.path / "cache")),
            worker,
            wall=self.now.timestamp,
        )
        folder = TargetFolder(os.fsencode(target), now=lambda: self.now, step=step)
        puller = Puller(
            index,
            folder,
            worker=worker,
            reactor=_Reactor(),
            exact=exact,
            join=self.joins,
            now=lambda: self.now,
        )

        async def work() -> list[ProjectResult]:
            results = []
            for project in projects:
                page = await index.page(project)
                files = () if page is None else page.files
                results.append(await puller.pull(Selection(project=project, files=files, page=page)))
            for result in results:
                if result.removable:
                    assert await puller.remove(result.project, result.removable) == ()
            return results

        outcome: list[Any] = []
        Deferred.fromCoroutine(work()).addBoth(outcome.append)
        assert outcome, "it waits for something"
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        results: list[ProjectResult] = outcome[0]
        return results


def picture(root: Path) -> dict[str, Any]:
    """
    Give all that a folder holds: bytes, times of distributions, and what is recorded of each entry.

    The times of marks are those of the run that wrote them, and are left out.
    """
    found: dict[str, Any] = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        found[folder.name] = None
        lines = copies.read(os.fsencode(folder))
        for name, line in lines.items():
            time = line.time.timestamp() if is_distribution(name) else 0
            found[f"{folder.name}/.copies/{name}"] = (line.sha256, line.size, time)
        for path in sorted(folder.iterdir()):
            if path.name != ".copies":
                time = path.stat().st_mtime_ns if is_distribution(path.name) else 0
                found[f"{folder.name}/{path.name}"] = (path.read_bytes(), time)
    return found


def is_distribution(name: str) -> bool:
    return name.endswith((".whl", ".tar.gz"))


def distributions(root: Path) -> dict[str, str]:
    """Give the digest of each distribution in a folder, by name."""
    paths = [path for path in root.rglob("*") if path.is_file() and is_distribution(path.name)]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
