"""The audit log: one line of JSON per event, append-only."""

from __future__ import annotations

import errno
import itertools
import os
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.errors import InsufficientStorage, Unavailable
from twisted_index.events.audit_files import BEFORE_MONTHS, AuditFolder, AuditPosition
from twisted_index.events.audit_filter import AuditFilter, TokenMakers, depends_on_makers
from twisted_index.events.audit_lines import write_event
from twisted_index.events.audit_search import TokenHistory, page_of, search_files
from twisted_index.files.anonymous_file import sync_folder
from twisted_index.files.os_errors import public_write_error
from twisted_index.files.private_files import make_private_folder, open_private
from twisted_index.interfaces import AuditAction, AuditEvent, AuditPage, AuditQuery, IAuditLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted_index.concurrency.thread_pool import IThreadRunner

P = ParamSpec("P")
T = TypeVar("T")
_log = Logger()

#: Events that are kept where there is no state.
_IN_MEMORY = 1000


class AuditFile:
    """
    The audit log itself. Blocking; several processes may write to one.

    Args:
        state: The folder of all that is kept; None keeps the last events in memory.
    """

    def __init__(self, state: str | None) -> None:
        self._folder = None if state is None else AuditFolder(os.path.join(state, "keep"))
        self._tokens = None if self._folder is None else TokenHistory(self._folder)
        self._memory: deque[tuple[AuditPosition, AuditEvent]] = deque(maxlen=_IN_MEMORY)
        self._numbers = itertools.count(1)

    def append(self, event: AuditEvent) -> None:
        """
        Add an event; it is on disk when this returns.

        Raises:
            InsufficientStorage, Unavailable: It cannot be kept.
        """
        if self._folder is None:
            self._memory.append((AuditPosition(BEFORE_MONTHS, True, next(self._numbers)), event))
            return
        path = self._folder.path_for(event.time)
        try:
            _append(path, write_event(event))
        except OSError as error:
            _log.critical("The history {path} cannot be written: {error}", path=path, error=str(error))
            message = "The change was made, but could not be recorded in this server's history."
            kind = (
                InsufficientStorage
                if isinstance(public_write_error(error), InsufficientStorage)
                else Unavailable
            )
            raise kind(message) from error

    def search(self, query: AuditQuery) -> AuditPage:
        """See `IAuditLog`. What is no whole event is passed over."""
        makers = TokenMakers(self.made_tokens() if depends_on_makers(query) else ())
        return page_of(self.find(query, makers), query.limit)

    def find(self, query: AuditQuery, makers: TokenMakers) -> list[tuple[AuditPosition, AuditEvent]]:
        """
        Find events, one more than a page has, each with its position.

        Args:
            query: What to find.
            makers: Makers of tokens; not needed unless `depends_on_makers`.

        Raises:
            Unavailable: They cannot be read.
        """
        if self._folder is None:
            return self._find_in_memory(query, makers)
        with self._reading(self._folder):
            return search_files(self._folder, query, makers)

    def end(self) -> AuditPosition:
        """Return the position after all events so far, from which pages go back; fails like `find`."""
        if self._folder is None:
            last = self._memory[-1][0].offset if self._memory else 0
            return AuditPosition(BEFORE_MONTHS, True, last + 1)
        with self._reading(self._folder):
            return self._folder.end()

    def made_tokens(self) -> list[AuditEvent]:
        """Return the events of all tokens that were made; fails like `find`."""
        if self._folder is None or self._tokens is None:
            return [event for _at, event in self._memory if event.action == AuditAction.TOKEN_CREATE]
        with self._reading(self._folder):
            return self._tokens.events()

    @contextmanager
    def _reading(self, folder: AuditFolder) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            _log.error(
                "The history {path} cannot be read: {error}",
                path=error.filename or folder.path,
                error=str(error),
            )
            raise Unavailable("The history cannot be read right now; see the server's log.") from error

    def latest(self, number: int) -> tuple[AuditEvent, ...]:
        """Return the last events, the youngest first."""
        return self.search(AuditQuery(limit=number)).events

    def _find_in_memory(
        self, query: AuditQuery, makers: TokenMakers
    ) -> list[tuple[AuditPosition, AuditEvent]]:
        before = AuditPosition.parse(query.before) if query.before else None
        wanted = AuditFilter(query, makers)
        found = (
            (position, event)
            for position, event in reversed(self._memory)
            if (before is None or position < before) and wanted.wants(event)
        )
        return list(itertools.islice(found, query.limit + 1))


@implementer(IAuditLog)
class AuditLog:
    """
    The audit log of a server.

    Args:
        state: See `AuditFile`.
        worker: Threads that write and read it.
    """

    def __init__(self, state: str | None, worker: IThreadRunner) -> None:
        self._file = AuditFile(state)
        self._worker = worker
        self._in_memory = state is None

    def record(self, event: AuditEvent) -> Deferred[None]:
        """See `IAuditLog`; fails like `AuditFile.append`."""
        return self._call(self._file.append, event)

    def search(self, query: AuditQuery) -> Deferred[AuditPage]:
        """See `IAuditLog`; fails like `AuditFile.search`."""
        return self._call(self._file.search, query)

    def find(
        self, query: AuditQuery, makers: TokenMakers
    ) -> Deferred[list[tuple[AuditPosition, AuditEvent]]]:
        """See `AuditFile.find`."""
        return self._call(self._file.find, query, makers)

    def end(self) -> Deferred[AuditPosition]:
        """See `AuditFile.end`."""
        return self._call(self._file.end)

    def made_tokens(self) -> Deferred[list[AuditEvent]]:
        """See `AuditFile.made_tokens`."""
        return self._call(self._file.made_tokens)

    def _call(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        if self._in_memory:
            return execute(call, *args, **kwargs)
        return self._worker.run(call, *args, **kwargs)


def _append(path: str, line: bytes) -> None:
    """Append a line to a file, which is made if it is not there."""
    folder = os.path.dirname(path)
    is_new = not os.path.exists(path)
    if is_new:
        make_private_folder(os.path.dirname(folder))
        make_private_folder(folder)
    with open_private(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, may_be_link=True) as descriptor:
        # One write, so that the lines of several processes do not mix.
        line = line if _ends_well(descriptor) else b"\n" + line
        if os.write(descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, "a line was written only in part")
        os.fsync(descriptor)
    if is_new:
        sync_folder(os.fsencode(folder))
        sync_folder(os.fsencode(os.path.dirname(folder)))


def _ends_well(descriptor: int) -> bool:
    """Return whether the last line was written to its end."""
    size = os.fstat(descriptor).st_size
    if not size:
        return True
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1) == b"\n"
