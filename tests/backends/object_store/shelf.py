"""A source over a bucket in memory, whose threads run at once and whose clock is moved."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.memory_bucket import MemoryBucket
from twisted_index.backends.object_store.source import ObjectSource
from twisted_index.errors import ReplacedMeanwhile
from twisted_index.interfaces import FileBody, StreamingContent
from twisted_index.simple.model import ProjectPage
from twisted_index.testing import BuiltFile, SynchronousRunner


class Node:
    """A server on a bucket, as far as it reads."""

    def __init__(self, bucket: MemoryBucket, **arguments: Any) -> None:
        self.bucket = bucket
        self.clock = Clock()
        self.source = ObjectSource(bucket, worker=SynchronousRunner(), reactor=self.clock, **arguments)

    def page(self, project: str) -> ProjectPage | None:
        page: ProjectPage | None = answer(self.source.project_page, project).value
        return page

    def files(self, project: str) -> list[str]:
        page = self.page(project)
        assert page is not None
        return [file.filename for file in page.files]

    def names(self) -> tuple[str, ...]:
        names: tuple[str, ...] = answer(self.source.project_list).value.names
        return names

    def problems(self) -> dict[str, str]:
        report = answer(self.source.problems)
        assert report.complete
        return {problem.path: problem.reason for problem in report.problems}

    def read(self, project: str, filename: str, sidecar: Any = None) -> bytes | None:
        """Read a file; one that was replaced meanwhile is opened once more, as for a request."""
        try:
            return self._read(project, filename, sidecar)
        except ReplacedMeanwhile:
            return self._read(project, filename, sidecar)

    def _read(self, project: str, filename: str, sidecar: Any) -> bytes | None:
        body = answer(self.source.open_file, project, filename, sidecar)
        return None if body is None else read_whole(body)

    def later(self, seconds: float = 2.5) -> None:
        """Let the listings grow old, and what was learned be written."""
        self.clock.advance(seconds)


def read_whole(body: FileBody) -> bytes:
    """Read a file as it is sent."""
    if not isinstance(body.content, StreamingContent):
        assert isinstance(body.content, bytes)
        return body.content
    try:
        content = b""
        while len(content) < body.size:
            answer(body.content.wait_for, len(content))
            content += body.content.read(len(content), body.size)
        return content
    finally:
        body.content.close()


def place(bucket: MemoryBucket, *files: BuiltFile, prefix: str = "") -> None:
    """Put files where a folder has them."""
    for file in files:
        bucket.place(f"{prefix}{file.project}/{file.filename}", file.content)
