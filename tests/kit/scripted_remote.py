"""An upstream in memory that says what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_index.backends.upstream.disk_cache import DiskCache
from twisted_index.backends.upstream.page_freshness import CacheTimes
from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
from twisted_index.backends.upstream.source import UpstreamSource
from twisted_index.errors import SimpleIndexError, Unavailable
from twisted_index.interfaces import FileBody, StreamingContent
from twisted_index.simple.model import File
from twisted_index.testing.in_memory import SynchronousRunner


class Sending:
    """A body (`ResponseStream`) of which a test lets come what it wants."""

    def __init__(self, status: int, length: int | None, total: int | None) -> None:
        self.status = status
        self.length = length
        self.total = total
        self.coding = ""
        self.modified = ""
        self.is_delimited = True
        self.paused = False
        self.aborted = False
        self._receive: Callable[[bytes], None] | None = None
        self._done: Deferred[None] = Deferred()
        self._queue: list[bytes] = []
        self._end: Any = None

    def deliver(self, receive: Callable[[bytes], None]) -> Deferred[None]:
        self._receive = receive
        self._flow()
        return self._done

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._flow()

    def abort(self) -> None:
        self.aborted = True
        self._queue.clear()
        if self._receive is not None and not self._done.called:
            self._done.errback(Unavailable("It was broken off."))

    def send(self, *pieces: bytes) -> None:
        """Let bytes come, as soon as they may."""
        self._queue.extend(pieces)
        self._flow()

    def end(self, error: SimpleIndexError | None = None) -> None:
        """Come to the end, after what is queued."""
        self._end = (error,)
        self._flow()

    def _flow(self) -> None:
        while self._receive is not None and self._queue and not self.paused and not self.aborted:
            self._receive(self._queue.pop(0))
        if self._receive is not None and not self._queue and self._end is not None and not self._done.called:
            (error,) = self._end
            self._done.callback(None) if error is None else self._done.errback(error)


@dataclass
class ScriptedRemote:
    """
    An upstream (`IUpstreamClient`).

    Attributes:
        pages: By project; an error is raised, and what is absent is not there.
        bodies: By URL; what is sent at once when a file is asked for.
        documents: By URL.
        ranged: Core metadata that can be read by ranges, by URL.
        held: While set, pages are answered only by `release`.
        by_hand: While set, bodies come only as the test sends them.
        says_length: Whether it tells how long a body is.
        tells_end: Whether anything but the end of the connection tells where a body ends.
        coding: Which coding it says that a body has.
        to_ranges: What it answers to a request for a part instead: an error, or None if it says that
            there is no such file.
        is_immutable: Whether its files never change.
        lists_digests: Whether files without a digest are fetched before they are listed.
        asked: All questions, as (what, which).
        sendings: The bodies that were asked for, in order.
    """

    url: str = "https://one.example/simple/"
    pages: dict[str, Any] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    ranged: dict[str, Any] = field(default_factory=dict)
    held: bool = False
    by_hand: bool = False
    says_length: bool = True
    tells_end: bool = True
    coding: str = ""
    to_ranges: Any = ()
    knows_ranges: bool = True
    piece: int = 10_000
    is_immutable: bool = False
    lists_digests: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    conditions: list[str | None] = field(default_factory=list)
    waiting: list[tuple[str, Deferred[Any]]] = field(default_factory=list)
    sendings: list[Sending] = field(default_factory=list)

    def page(self, project: str, *, etag: str | None = None, modified: str | None = None) -> Deferred[Any]:
        self.asked.append(("page", project))
        self.conditions.append(etag)
        if self.held:
            answer: Deferred[Any] = Deferred()
            self.waiting.append((project, answer))
            return answer
        return _result(self.pages.get(project))

    def release(self) -> None:
        """Answer all pages that were held."""
        waiting, self.waiting = self.waiting, []
        for project, answer in waiting:
            _result(self.pages.get(project)).addBoth(answer.callback)

    def document(self, url: str, limit: int) -> Deferred[bytes | None]:
        self.asked.append(("document", url))
        return _result(self.documents.get(url))

    def metadata(self, file: RemoteFile, limit: int) -> Deferred[bytes | None]:
        self.asked.append(("metadata", file.url))
        return _result(self.ranged.get(file.url))

    def fetch(self, url: str, *, first: int | None = None, last: int | None = None) -> Deferred[Any]:
        self.asked.append(("fetch", url))
        body = self.bodies.get(url)
        if body is None or isinstance(body, Exception):
            return _result(body)
        if first is not None and self.to_ranges != ():
            return _result(self.to_ranges)
        start = (first or 0) if self.knows_ranges else 0
        length = len(body) - start if self.says_length else None
        sending = Sending(206 if start else 200, length, len(body) if self.says_length else None)
        sending.is_delimited, sending.coding = self.tells_end, self.coding
        self.sendings.append(sending)
        if not self.by_hand:
            rest = body[start:]
            sending.send(*(rest[at : at + self.piece] for at in range(0, len(rest), self.piece)))
            sending.end()
        return succeed(sending)

    def count(self, what: str) -> int:
        """Say how often it was asked for something."""
        return sum(one == what for one, _which in self.asked)

    def offer(self, *made: RemoteFile, project: str = "demo", etag: str | None = '"1"', **more: Any) -> None:
        """Have a project of some files."""
        self.pages[project] = RemotePage(project=project, files=made, etag=etag, **more)


def _result(value: Any) -> Deferred[Any]:
    return fail(value) if isinstance(value, Exception) else succeed(value)


def remote_file(
    content: bytes,
    filename: str = "demo-1.0-py3-none-any.whl",
    *,
    promise: bool = True,
    sized: bool = True,
    **more: Any,
) -> RemoteFile:
    """Make what a page says of a file."""
    offers_metadata = more.pop("offers_metadata", False)
    url = more.pop("url", f"https://files.example/{filename}")
    hashes = more.pop("hashes", {"sha256": hashlib.sha256(content).hexdigest()} if promise else {})
    more.setdefault("version", "1.0")
    more.setdefault("core_metadata", {} if filename.endswith(".whl") else None)
    file = File(filename=filename, hashes=hashes, size=len(content) if sized else None, **more)
    return RemoteFile(file=file, url=url, offers_metadata=offers_metadata)


_TIMES = {"ttl", "absent_ttl", "revalidate_timeout", "response_timeout"}


class Bench:
    """A source over scripted upstreams, whose threads run at once and whose clock stands still."""

    def __init__(self, path: Any, *remotes: ScriptedRemote, keeps: bool = True, **more: Any) -> None:
        self.clock = more.pop("clock", None) or Clock()
        self.epoch = more.pop("epoch", 1_700_000_000.0)
        self.remotes = remotes or (ScriptedRemote(),)
        self.remote = self.remotes[0]
        size = more.pop("size", 1 << 30)
        times = {name: more.pop(name) for name in _TIMES & more.keys()}
        self.cache = DiskCache(str(path), size) if keeps else None
        self.source = UpstreamSource(
            self.remotes,
            self.cache,
            reactor=self.clock,
            worker=more.pop("worker", None) or SynchronousRunner(),
            times=CacheTimes(wall=self.wall, monotonic=self.clock.seconds, **times),
            **more,
        )
        self.source.start()

    def wall(self) -> float:
        return self.epoch + self.clock.seconds()

    def ask(self, question: Callable[..., Any], *args: Any) -> Any:
        """Give the answer to a question, which is there now, or raise what it failed with."""
        outcome = self.begin(question, *args)
        assert outcome, "there is no answer yet"
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]

    def begin(self, question: Callable[..., Any], *args: Any) -> list[Any]:
        """Ask; the answer, or a Failure, is put into the list that this gives."""
        outcome: list[Any] = []
        eventually(question(*args)).addBoth(outcome.append)
        return outcome

    def snapshot(self, project: str = "demo") -> Any:
        return self.ask(self.source.project_page, project)

    def page(self, project: str = "demo") -> Any:
        return self.snapshot(project).value

    def names(self, project: str = "demo") -> list[str]:
        return [file.filename for file in self.page(project).files]

    def open(self, filename: str = "demo-1.0-py3-none-any.whl", sidecar: Any = None) -> FileBody | None:
        return self.ask(self.source.open_file, "demo", filename, sidecar)

    def read(self, filename: str = "demo-1.0-py3-none-any.whl", sidecar: Any = None) -> bytes | None:
        """Read a whole file, which has to come without anybody else doing anything."""
        body = self.open(filename, sidecar)
        return None if body is None else read_body(body)

    def stop(self) -> None:
        self.ask(self.source.stop)


def eventually(value: Any) -> Deferred[Any]:
    if isinstance(value, Deferred):
        return value
    if hasattr(value, "send"):
        return Deferred.fromCoroutine(value)
    return succeed(value)


def read_body(body: FileBody) -> bytes:
    """Read a body to its end, and close it."""
    content = body.content
    if isinstance(content, bytes):
        return content
    try:
        return read_arriving(content, body.size) if isinstance(content, StreamingContent) else content.read()
    finally:
        content.close()


def read_arriving(content: StreamingContent, size: int, piece: int = 7_000) -> bytes:
    got = b""
    while len(got) < size:
        outcome: list[Any] = []
        content.wait_for(len(got)).addBoth(outcome.append)
        assert outcome, f"no more than {len(got)} bytes came"
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        while len(got) < outcome[0]:
            data = content.read(len(got), piece)
            assert data
            got += data
    return got


__all__ = ["Bench", "CancelledError", "ScriptedRemote", "Sending", "remote_file"]
