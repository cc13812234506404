"""The audit log: one line of JSON per event, append-only."""

from __future__ import annotations

import errno
import json
import os
from collections import deque
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.errors import InsufficientStorage, Unavailable
from twisted_index.files.anonymous_file import sync_folder
from twisted_index.files.os_errors import public_write_error
from twisted_index.files.private_files import make_private_folder, open_private
from twisted_index.interfaces import AuditEvent, IAuditLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.concurrency.thread_pool import IThreadRunner

_log = Logger()

#: Events that are kept where there is no state.
_IN_MEMORY = 1000
_BLOCK = 1 << 16
#: Bytes of a line, so that what is no history does not fill the memory.
_MAX_LINE = 1 << 20
_FIELDS = ("time", "by", "action", "project", "filename", "detail")
#: What a line has only where it is not empty, so that it is what it always was where there is one index.
_RARE_FIELDS = ("index",)


class AuditFile:
    """
    The history itself. Blocking; several processes may write to one.

    Args:
        state: The folder of all that is kept; None keeps the last events in memory.
    """

    def __init__(self, state: str | None) -> None:
        self._path = None if state is None else os.path.join(state, "keep", "history.jsonl")
        self._memory: deque[AuditEvent] = deque(maxlen=_IN_MEMORY)

    def append(self, event: AuditEvent) -> None:
        """
        Add an event; it is on disk when this returns.

        Raises:
            InsufficientStorage, Unavailable: It cannot be kept.
        """
        if self._path is None:
            self._memory.append(event)
            return
        try:
            self._write(self._path, _line(event))
        except OSError as error:
            _log.critical("The history {path} cannot be written: {error}", path=self._path, error=str(error))
            told = "The change was made, but could not be recorded in this server's history."
            kind = (
                InsufficientStorage
                if isinstance(public_write_error(error), InsufficientStorage)
                else Unavailable
            )
            raise kind(told) from error

    def latest(self, number: int) -> tuple[AuditEvent, ...]:
        """
        Return the last events, the youngest first. What is no whole event is passed over.

        Raises:
            Unavailable: The history cannot be read.
        """
        number = max(number, 0)
        if self._path is None:
            return tuple(islice(reversed(self._memory), number))
        try:
            with open(self._path, "rb") as file:
                events = (_event(line) for line in _lines_from_end(file))
                return tuple(islice((event for event in events if event is not None), number))
        except FileNotFoundError:
            return ()
        except OSError as error:
            _log.error("The history {path} cannot be read: {error}", path=self._path, error=str(error))
            raise Unavailable("The history cannot be read right now.") from error

    def _write(self, path: str, line: bytes) -> None:
        folder = os.path.dirname(path)
        is_new = not os.path.exists(path)
        if is_new:
            make_private_folder(folder)
        with open_private(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, may_be_link=True) as descriptor:
            # One write, so that the lines of several processes do not mix.
            line = line if _ends_well(descriptor) else b"\n" + line
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, "a line was written only in part")
            os.fsync(descriptor)
        if is_new:
            sync_folder(os.fsencode(folder))


@implementer(IAuditLog)
class AuditLog:
    """
    The history in a server.

    Args:
        state: See `AuditFile`.
        worker: Threads that write and read it.
    """

    def __init__(self, state: str | None, worker: IThreadRunner) -> None:
        self._journal = AuditFile(state)
        self._worker = worker
        self._in_memory = state is None

    def record(self, event: AuditEvent) -> Deferred[None]:
        """See `IAuditLog`; fails like `AuditFile.append`."""
        if self._in_memory:
            self._journal.append(event)
            return succeed(None)
        return self._worker.run(self._journal.append, event)

    def latest(self, number: int) -> Deferred[tuple[AuditEvent, ...]]:
        """See `IAuditLog`; fails like `AuditFile.latest`."""
        if self._in_memory:
            return succeed(self._journal.latest(number))
        return self._worker.run(self._journal.latest, number)


def _line(event: AuditEvent) -> bytes:
    values = {name: getattr(event, name) for name in _FIELDS}
    values |= {name: value for name in _RARE_FIELDS if (value := getattr(event, name))}
    values["time"] = event.time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps(values).encode() + b"\n"


def _event(line: bytes) -> AuditEvent | None:
    try:
        values = json.loads(line)
        time = datetime.fromisoformat(values["time"])
        texts = {name: str(values.get(name, "")) for name in (*_FIELDS[1:], *_RARE_FIELDS)}
        return AuditEvent(time=time.astimezone(UTC), **texts) if time.tzinfo is not None else None
    # Whatever a torn line may have become: no JSON, no mapping, no time.
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None


def _ends_well(descriptor: int) -> bool:
    """Return whether the last line was written to its end."""
    size = os.fstat(descriptor).st_size
    if not size:
        return True
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1) == b"\n"


def _lines_from_end(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file, the last one first, reading no more than needed."""
    position = file.seek(0, os.SEEK_END)
    rest = b""
    while position:
        size = min(_BLOCK, position)
        position -= size
        file.seek(position)
        first, *lines = (file.read(size) + rest).split(b"\n")
        yield from reversed(lines)
        rest = first if len(first) <= _MAX_LINE else b""
    yield rest
