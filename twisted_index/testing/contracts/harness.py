"""Harnesses of the contract suites: they change the environment and the clock of the object under test."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, overload
from unittest import SkipTest

from twisted.internet.defer import maybeDeferred
from twisted.python.failure import Failure

from twisted_index.errors import SimpleIndexError
from twisted_index.interfaces import ILifecycle, StreamingContent, Upload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from twisted_index.interfaces import (
        FileBody,
        IAuditLog,
        ISource,
        ISpool,
        IStore,
        MaybeAwaitable,
        Snapshot,
    )
    from twisted_index.simple.model import File, ProjectList, ProjectPage, Sidecar
    from twisted_index.testing.distributions import BuiltFile

P = ParamSpec("P")
T = TypeVar("T")

#: Bytes of a file that are read or written at once.
_PIECE = 7_000


class PendingCall(Generic[T]):
    """
    A call that may not have finished yet.

    Attributes:
        outcome: The result or the Failure; empty while the call is pending.
    """

    def __init__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.outcome: list[Any] = []
        self._call = call
        maybeDeferred(call, *args, **kwargs).addBoth(self.outcome.append)

    def result(self) -> T:
        """
        Return the result, or raise the exception of the call.

        Raises:
            AssertionError: The call is pending.
        """
        assert self.outcome, f"{self._call!r} has no result; settle() must let its work finish"
        if isinstance(self.outcome[0], Failure):
            self.outcome[0].raiseException()
        data: T = self.outcome[0]
        return data


class _Harness:
    """
    Calls an object under test, and starts and stops its source.

    Attributes:
        source: The source, not started. The harness is a context manager that starts it.
    """

    source: ISource

    def settle(self) -> None:
        """Let all work finish that can finish now; no-op by default, for synchronous implementations."""

    def advance(self, seconds: float) -> None:
        """Advance the clock of the object under test; no-op by default."""

    def close(self) -> None:
        """Release the resources of the harness, after the source has stopped; no-op by default."""

    def begin(
        self, question: Callable[P, MaybeAwaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> PendingCall[T]:
        """Call a method, without settling."""
        return PendingCall(question, *args, **kwargs)

    @overload
    def answer(self, question: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def answer(self, question: Callable[P, MaybeAwaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def answer(self, question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method, settle, and return the result or raise the exception of the call."""
        pending: PendingCall[Any] = PendingCall(question, *args, **kwargs)
        self.settle()
        return pending.result()

    def attempt(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | SimpleIndexError:
        """Call a method of this harness; return its result or its SimpleIndexError."""
        try:
            return question(*args, **kwargs)
        except SimpleIndexError as error:
            return error

    def project_list(self) -> Snapshot[ProjectList]:
        """Return the project list."""
        return self.answer(self.source.project_list)

    def snapshot(self, project: str) -> Snapshot[ProjectPage | None]:
        """Return the snapshot of a project page."""
        return self.answer(self.source.project_page, project)

    def page(self, project: str) -> ProjectPage | None:
        """Return a project page."""
        return self.snapshot(project).value

    def files_of(self, project: str) -> dict[str, File]:
        """Return the files of a project; empty if there is no such project."""
        page = self.page(project)
        return {} if page is None else {file.filename: file for file in page.files}

    def open(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """Open a file or sidecar; `read` closes it."""
        return self.answer(self.source.open_file, project, filename, sidecar)

    def read(self, body: FileBody) -> bytes:
        """
        Read a file to its end, close it, and check its size and digest.

        Raises:
            SimpleIndexError: The bytes cannot be read.
        """
        content = body.content
        if isinstance(content, bytes):
            data = content
        else:
            try:
                if isinstance(content, StreamingContent):
                    data = self.read_arriving(content, body.size)
                else:
                    assert (content.fileno() >= 0, content.tell()) == (True, 0), (
                        "content is a real file, positioned at its start"
                    )
                    data = content.read()
            finally:
                content.close()
        assert len(data) == body.size, f"received {len(data)} of {body.size} bytes"
        assert body.sha256 in (None, hashlib.sha256(data).hexdigest()), "the digest is that of other bytes"
        return data

    def read_arriving(self, content: StreamingContent, size: int) -> bytes:
        """Read bytes as they arrive; see `StreamingContent`."""
        data = b""
        while len(data) < size:
            end = self.answer(content.wait_for, len(data))
            assert end > len(data), "wait() fires only when there is more to read"
            assert end <= size, "no more than the whole file can be read"
            while len(data) < end:
                piece = content.read(len(data), _PIECE)
                assert 0 < len(piece) <= _PIECE, "read() gives what may be read, and no more than was wanted"
                data += piece
        return data

    def __enter__(self) -> Self:
        lifecycle = ILifecycle(self.source, None)
        if lifecycle is not None:
            lifecycle.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            lifecycle = ILifecycle(self.source, None)
            if lifecycle is not None:
                self.answer(lifecycle.stop)
        finally:
            self.close()


class SourceHarness(_Harness):
    """
    A source under test, and the origin of its projects.

    `add` and `remove` are required; each of the other methods enables some tests.

    Attributes:
        source: The source, not started.
        delay: Seconds, by the clock of `advance`, after which an added or removed file has to show; 0 for
            the very next call.
        rewrite_delay: Seconds after which other bytes under the same name have to show.
        lists_projects: Whether the project list contains the projects; a source with too many projects may
            have an empty list.
    """

    delay: float = 0.0
    rewrite_delay: float = 0.0
    lists_projects: bool = True

    def add(self, file: BuiltFile, *, signature: bytes | None = None) -> None:
        """
        Add a file to the source, replacing one of the same name.

        Args:
            file: A wheel or sdist.
            signature: Its `.asc`; a source without signatures may ignore it.
        """
        raise NotImplementedError

    def remove(self, file: BuiltFile) -> None:
        """Remove a file; its project may remain, without files."""
        raise NotImplementedError

    def add_empty(self, project: str) -> None:
        """Add a project without files."""
        _skip("how there can be a project without files")

    def fail(self) -> None:
        """Make the source unavailable, as by a missing disk or a server that is down."""
        _skip("how it can fail")

    def recover(self) -> None:
        """Undo `fail`."""
        _skip("how it can recover")

    def corrupt(self, file: BuiltFile) -> None:
        """Replace the bytes of a file by as many others, without changing its page; called before `open`."""
        _skip("how to serve other bytes than the promised ones")

    def show_changes(self) -> None:
        """Advance the clock until added and removed files have to show."""
        self.advance(self.delay)


class StoreHarness(_Harness):
    """
    A store under test, and the source in which its changes show.

    Attributes:
        source: The source, not started.
        store: The store, empty, which allows no file to be overwritten.
        audit_log: Records the changes; None skips its tests.
    """

    store: IStore
    audit_log: IAuditLog | None = None

    def receive(self, content: bytes) -> ISpool:
        """Write bytes to a new spool, in pieces."""
        spool = self.answer(self.store.spool)
        for start in range(0, len(content), _PIECE):
            self.answer(spool.write, content[start : start + _PIECE])
        return spool

    def publish(self, file: BuiltFile, **options: Any) -> bool:
        """Receive and publish a file; options are fields of `Upload`."""
        upload = Upload(spool=self.receive(file.content), filename=file.filename, **options)
        return self.answer(self.store.publish, upload)


def _skip(what: str) -> NoReturn:
    raise SkipTest(f"The harness does not say {what}.")
