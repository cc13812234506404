"""Runs that fill a folder, and what lies in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from twisted_index.mirror.plan import Selection
from twisted_index.mirror.pull_run import PullRun
from twisted_index.mirror.puller import ProjectResult
from twisted_index.testing.reactor_thread import BackgroundReactor


class Pulls:
    """
    Pulls whole projects into `folder`, over real connections.

    Args:
        path: Where the folder and the state are made.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path / "packages"
        self.state = path / "state"
        self._background = BackgroundReactor()

    def __enter__(self) -> Pulls:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._background.stop(20)

    def run(self, work: Callable[[PullRun], Any], url: str, **options: Any) -> Any:
        """Do some work within a run."""
        results: list[Any] = []

        async def whole() -> None:
            target = options.pop("target", self.folder)
            reactor = self._background.reactor
            async with PullRun(url, str(target), str(self.state), reactor=reactor, **options) as run:
                results.append(await work(run))

        self._background.call(whole, 60)
        return results[0]

    def pull(self, url: str, *projects: str, lists: bool = False, **options: Any) -> list[ProjectResult]:
        """Pull all files of projects, one project after the other; then remove what an exact run removes."""

        async def work(run: PullRun) -> list[ProjectResult]:
            if lists:
                await run.index.projects()
            results = []
            for project in projects:
                page = await run.index.page(project)
                files = () if page is None else page.files
                results.append(await run.puller.pull(Selection(project=project, files=files, page=page)))
            for result in results:
                if result.removable:
                    assert not await run.puller.remove(result.project, result.removable)
            return results

        return self.run(work, url, **options)


def contents(folder: Path, *, skip: Sequence[str] = (".copies",)) -> dict[str, tuple[bytes, int]]:
    """Give the bytes of each file below a folder, and the time of each distribution, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in skip:
            is_timed = path.name.endswith((".whl", ".gz"))
            time = os.stat(path).st_mtime_ns // 1000 if is_timed else 0
            found[str(path.relative_to(folder))] = (path.read_bytes(), time)
    return found
