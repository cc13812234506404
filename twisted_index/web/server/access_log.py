"""
Access log: a line for each request, to a file or to standard output.

Lines are buffered, since a system call for each would cost more than a response of the fast path.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from twisted_index.concurrency.background_writer import BackgroundWriter
from twisted_index.files.portability import open_flags
from twisted_index.web.server.log_formats import CombinedFormat

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from twisted_index.web.server.log_formats import LogFormat

_log = Logger()

#: The path that means standard output.
STANDARD_OUTPUT = "-"

#: Seconds for which lines are buffered, and bytes that are written at once.
_DELAY = 0.5
_BATCH_BYTES = 1 << 16
#: Seconds that the end waits for the last lines to be written.
_CLOSE_TIMEOUT = 1.0


class AccessLog:
    """
    Appends lines to a file or to standard output.

    Args:
        path: The file; created if it does not exist. `STANDARD_OUTPUT` for that.
        reactor: The clock, and the timer of the buffer.
        log_format: What lines look like.
    """

    def __init__(self, path: str, reactor: IReactorTime, log_format: LogFormat | None = None) -> None:
        self._path = path
        self._reactor = reactor
        self.format: LogFormat = CombinedFormat() if log_format is None else log_format
        self.clock = reactor.seconds
        self._writer: BackgroundWriter | None = None
        self._lines: list[str] = []
        self._bytes = 0
        self._timer: IDelayedCall | None = None
        self._second = -1
        self._stamp = ""

    def open(self) -> None:
        """
        Open the file.

        Raises:
            OSError: It cannot be opened.
        """
        if self._path == STANDARD_OUTPUT:
            # Not descriptor 1: if the process was started without it, that is another file by now.
            if sys.__stdout__ is None:
                raise OSError(errno.EBADF, "Standard output is closed", self._path)
            self._writer = BackgroundWriter(sys.__stdout__.fileno(), name="Standard output", owned=False)
            return
        descriptor = os.open(self._path, open_flags(os.O_WRONLY | os.O_APPEND | os.O_CREAT), 0o644)
        self._writer = BackgroundWriter(descriptor, name="The access log")

    def reopen(self) -> None:
        """Reopen the file after log rotation has renamed it."""
        self._close(0)
        try:
            self.open()
        except OSError as error:
            _log.error("The access log cannot be opened: {error}", error=str(error))

    def close(self) -> None:
        """Write what is buffered, and close."""
        self._close(_CLOSE_TIMEOUT)

    def _close(self, timeout: float) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close(timeout)
            self._writer = None

    def write(self, request: Any, *, aborted: bool, client: Any = None) -> None:
        """
        Write the line of a request.

        Args:
            request: Its response is finished or aborted.
            aborted: Whether the client left before the end of the response.
            client: The textual address of the client behind a proxy; None for that of the connection.
        """
        self.write_entry(
            client or request.getClientAddress(),
            self.format.request(request.method, request.uri, request.clientproto),
            request.code,
            request.sentLength or 0,
            self.format.fields(request.getHeader(b"referer"), request.getHeader(b"user-agent")),
            began=request.began,
            aborted=aborted,
            user=getattr(request, "user_name", "-"),
        )

    def write_entry(
        self,
        client: Any,
        head: str,
        status: int,
        size: int,
        fields: str,
        *,
        began: float,
        aborted: bool = False,
        user: str = "-",
    ) -> None:
        """
        Write a line.

        Args:
            client: An address of Twisted's, or a textual one.
            head: The request line as the format has it.
            status: The status of the response.
            size: Bytes of the body that were sent.
            fields: Referer and User-Agent as the format has them.
            began: When the request was received, by `clock`.
            aborted: Whether the client left before the end of the response.
            user: The authenticated user, or a hyphen.
        """
        now = self._reactor.seconds()
        host = client if isinstance(client, str) else getattr(client, "host", None)
        if int(now) != self._second:
            self._second = int(now)
            self._stamp = self.format.stamp(now)
        self._add(self.format.line(host, user, self._stamp, head, status, size, fields, now - began, aborted))

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= _BATCH_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = self._reactor.callLater(_DELAY, self._flush)

    def _flush(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        lines, self._lines, self._bytes = self._lines, [], 0
        if lines and self._writer is not None:
            self._writer.write("".join(lines).encode("ascii", "backslashreplace"))
