"""What the contract suites need besides the object under test: ways to change its world, and its time."""

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

#: Bytes of a file that are read, or written, at once.
_PIECE = 7_000


class PendingCall(Generic[T]):
    """
    A question that has been asked, perhaps without an answer yet.

    Attributes:
        outcome: The value or the Failure, once it is there.
    """

    def __init__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.outcome: list[Any] = []
        self._question = call
        maybeDeferred(call, *args, **kwargs).addBoth(self.outcome.append)

    def result(self) -> T:
        """
        Give the value, or raise what the question failed with.

        Raises:
            AssertionError: There is no answer.
        """
        assert self.outcome, f"{self._question!r} has no result; settle() must let its work finish"
        if isinstance(self.outcome[0], Failure):
            self.outcome[0].raiseException()
        found: T = self.outcome[0]
        return found


class _Harness:
    """
    Asks an object under test, and starts and stops its source.

    Attributes:
        source: The source: made, and not started. The harness is a context manager that starts it.
    """

    source: ISource

    def settle(self) -> None:
        """Let all work finish that can finish now; nothing by default, where answers are there at once."""

    def advance(self, seconds: float) -> None:
        """Let the clock of the object under test go on; nothing by default."""

    def close(self) -> None:
        """Remove what the harness has made, after the source has stopped; nothing by default."""

    def begin(
        self, question: Callable[P, MaybeAwaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> PendingCall[T]:
        """Ask, and let nothing happen yet."""
        return PendingCall(question, *args, **kwargs)

    @overload
    def answer(self, question: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def answer(self, question: Callable[P, MaybeAwaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def answer(self, question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Ask, settle, and give the answer or raise what the question failed with."""
        begun: PendingCall[Any] = PendingCall(question, *args, **kwargs)
        self.settle()
        return begun.result()

    def attempt(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | SimpleIndexError:
        """Call a method of this harness that asks; give its answer, or the error that stands for one."""
        try:
            return question(*args, **kwargs)
        except SimpleIndexError as error:
            return error

    def project_list(self) -> Snapshot[ProjectList]:
        """Ask for the project list."""
        return self.answer(self.source.project_list)

    def snapshot(self, project: str) -> Snapshot[ProjectPage | None]:
        """Ask for a project page."""
        return self.answer(self.source.project_page, project)

    def page(self, project: str) -> ProjectPage | None:
        """Ask for a project page, for its value."""
        return self.snapshot(project).value

    def files_of(self, project: str) -> dict[str, File]:
        """Ask which files a project has; none if there is no such project."""
        page = self.page(project)
        return {} if page is None else {file.filename: file for file in page.files}

    def open(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """Open a file or sidecar; `read` closes it."""
        return self.answer(self.source.open_file, project, filename, sidecar)

    def read(self, body: FileBody) -> bytes:
        """
        Read a file to its end, close it, and hold it to what it says of itself.

        Raises:
            SimpleIndexError: Its bytes do not come.
        """
        content = body.content
        if isinstance(content, bytes):
            found = content
        else:
            try:
                if isinstance(content, StreamingContent):
                    found = self.read_arriving(content, body.size)
                else:
                    assert (content.fileno() >= 0, content.tell()) == (True, 0), (
                        "content is a real file, positioned at its start"
                    )
                    found = content.read()
            finally:
                content.close()
        assert len(found) == body.size, f"received {len(found)} of {body.size} bytes"
        assert body.sha256 in (None, hashlib.sha256(found).hexdigest()), "the digest is that of other bytes"
        return found

    def read_arriving(self, content: StreamingContent, size: int) -> bytes:
        """Read bytes as they come; see `StreamingContent`."""
        found = b""
        while len(found) < size:
            end = self.answer(content.wait_for, len(found))
            assert end > len(found), "wait() fires only when there is more to read"
            assert end <= size, "no more than the whole file can be read"
            while len(found) < end:
                piece = content.read(len(found), _PIECE)
                assert 0 < len(piece) <= _PIECE, "read() gives what may be read, and no more than was wanted"
                found += piece
        return found

    def __enter__(self) -> Self:
        running = ILifecycle(self.source, None)
        if running is not None:
            running.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            running = ILifecycle(self.source, None)
            if running is not None:
                self.answer(running.stop)
        finally:
            self.close()


class SourceHarness(_Harness):
    """
    A source under test, and the place where its projects come from.

    `add` and `remove` have to be there; each of the others makes some tests possible.

    Attributes:
        source: The source: made, and not started.
        delay: Seconds, by the clock that `advance` moves, after which a file that came or went has to
            show; 0 for the very next answer.
        rewrite_delay: The same for other bytes under the same name.
        lists_projects: Whether the project list names what the source has; one that has more than can
            be listed names nothing.
    """

    delay: float = 0.0
    rewrite_delay: float = 0.0
    lists_projects: bool = True

    def add(self, file: BuiltFile, *, signature: bytes | None = None) -> None:
        """
        Let the source have a file, or have it in the place of the one of the same name.

        Args:
            file: A wheel or sdist.
            signature: Its `.asc`; a source that has no signatures may ignore it.
        """
        raise NotImplementedError

    def remove(self, file: BuiltFile) -> None:
        """Take a file away; its project may stay, without files."""
        raise NotImplementedError

    def add_empty(self, project: str) -> None:
        """Let the source have a project without files."""
        _skip("how there can be a project without files")

    def fail(self) -> None:
        """Make the source unavailable: a disk is away, a server is down."""
        _skip("how it can fail")

    def recover(self) -> None:
        """Undo `fail`."""
        _skip("how it can recover")

    def corrupt(self, file: BuiltFile) -> None:
        """Let other bytes come for a file than its page promises, but as many; called before it is opened."""
        _skip("how to serve other bytes than the promised ones")

    def show_changes(self) -> None:
        """Let time pass until what was added or removed has to show."""
        self.advance(self.delay)


class StoreHarness(_Harness):
    """
    A store under test, and the source in which its changes show.

    Attributes:
        source: The source: made, and not started.
        store: The store: empty, without files that may be overwritten.
        audit_log: Where its changes are noted; None skips the tests of that.
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
