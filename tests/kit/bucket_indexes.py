"""The indexes of a bucket in memory, as a server has them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.memory_bucket import MemoryBucket
from tests.kit.named_indexes import EveryProject
from twisted_index.concurrency.thread_pool import IThreadRunner
from twisted_index.config.settings import Settings, UploadSettings
from twisted_index.events.audit_log import AuditLog
from twisted_index.indexes.builder import SourceBuilder
from twisted_index.indexes.registry import IndexRegistry, LiveIndex
from twisted_index.indexes.scope import PLAIN, Scope
from twisted_index.indexes.served_index import ServedIndex
from twisted_index.server.bucket_indexes import BucketIndexes
from twisted_index.server.named_indexes import NamedIndexes
from twisted_index.simple.model import File
from twisted_index.testing import BuiltFile, MemorySource, SynchronousRunner

_WRITES = UploadSettings(upload=True, anonymous_upload=True)


class Node:
    """A server on a bucket of indexes."""

    def __init__(
        self,
        bucket: MemoryBucket,
        settings: Settings | None = None,
        *,
        default: str = "",
        worker: IThreadRunner | None = None,
    ) -> None:
        self.bucket = bucket
        self.clock = Clock()
        # What threads would do is done at once.
        self.clock.callFromThread = lambda call, *args: call(*args)  # type: ignore[attr-defined]
        settings = settings or Settings(uploads=_WRITES)
        at_once: Any = SynchronousRunner()
        self.shared = BucketIndexes(settings, self.clock, bucket=bucket, worker=worker or at_once)
        plain = MemorySource()
        self.named = NamedIndexes(
            settings,
            self.shared.lines,
            reactor=self.clock,
            make_folder=_no_folder,
            reader=at_once,
            upstreams=SourceBuilder(
                plain, make_folder=_no_folder, make_upstream=lambda _urls: EveryProject()
            ),
            writer=at_once,
            audit_log=AuditLog(None, at_once),
            bucket=self.shared,
        )
        served = ServedIndex(scope=PLAIN, line=("",), source=plain)
        self.registry = IndexRegistry(
            LiveIndex(members=(), served=served, folder=None, keeps_past=False),
            reactor=self.clock,
            named=self.named,
            default=default,
        )

    def find(self, index: str = "", **scope: str) -> ServedIndex:
        """Look, and return what an index serves, as for a request."""
        wanted = Scope(index=index, **scope)
        answer(self.registry.look, wanted)
        return self.registry.find(wanted)

    def files(self, index: str, project: str) -> list[File] | None:
        page = answer(self.find(index).source.project_page, project).value
        return None if page is None else list(page.files)

    def names(self, index: str) -> tuple[str, ...]:
        names: tuple[str, ...] = answer(self.find(index).source.project_list).value.names
        return names

    def problems(self, index: str) -> dict[str, str]:
        report = answer(self.find(index).source.problems)
        return {problem.path: problem.reason for problem in report.problems}

    def later(self, seconds: float = 2.5) -> None:
        """Let what was looked at grow old."""
        self.clock.advance(seconds)


def add(bucket: MemoryBucket, index: str, *files: BuiltFile, settings: str | None = None) -> None:
    """Put files and settings into an index by hand."""
    if settings is not None:
        bucket.place(f"{index}/.index.toml", settings.encode())
    for file in files:
        bucket.place(f"{index}/{file.project}/{file.filename}", file.content)


def copy_folder(folder: Path, bucket: MemoryBucket) -> None:
    """Copy a folder into a bucket, as rclone does."""
    bucket.now_ns = time.time_ns()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            seconds, fraction = divmod(path.stat().st_mtime_ns, 10**9)
            mtime = f"{seconds}.{fraction:09d}"
            bucket.place(path.relative_to(folder).as_posix(), path.read_bytes(), {"mtime": mtime})


def _no_folder(*_arguments: Any) -> Any:
    raise AssertionError("An index in a bucket is no folder.")
