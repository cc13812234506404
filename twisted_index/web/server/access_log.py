"""
Access log: Combined Log Format, then the seconds taken, and `aborted` if the client left early.

Lines are buffered, since a system call for each would cost more than a response of the fast path.
"""

from __future__ import annotations

import os
import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from twisted_index.files.portability import open_flags

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

_log = Logger()

#: Seconds for which lines are buffered, and bytes that are written at once.
_DELAY = 0.5
_BATCH_BYTES = 1 << 16
#: Printable ASCII but for what would end a quoted field; all else is escaped, so that no request can
#: forge a line.
_SAFE = bytes(range(0x20, 0x7F)).translate(None, b'"\\')
_ESCAPES = {byte: f"\\x{byte:02x}" for byte in range(256) if byte not in _SAFE}
_TABLE = {byte: _ESCAPES.get(byte, chr(byte)) for byte in range(256)}

#: The characters of an address, with a zone (RFC 4007).
_ADDRESS = re.compile(r"[0-9A-Za-z:.%-]+", re.ASCII)
#: Clients that are remembered with the form in which they are written.
_MOST_CLIENTS = 1024


def escape_field(value: bytes) -> str:
    """Escape a header field for a quoted field of the log."""
    return value.decode("latin-1").translate(_TABLE)


def quote_request(method: bytes, target: bytes, version: bytes) -> str:
    """Return the request line, as the log has it."""
    return f'"{escape_field(b" ".join((method, target, version)))}"'


def quote_client(referrer: bytes | None, agent: bytes | None) -> str:
    """Return the Referer and User-Agent fields, as the log has them."""
    return f'"{escape_field(referrer or b"-")}" "{escape_field(agent or b"-")}"'


@lru_cache(_MOST_CLIENTS)
def _host(client: str | None) -> str:
    """Return an address as it is written; a unix socket has none, and a PROXY line may contain anything."""
    return client if isinstance(client, str) and _ADDRESS.fullmatch(client) else "-"


@lru_cache(_MOST_CLIENTS)
def _word(user: str) -> str:
    """Escape a user's name to one word."""
    return escape_field(user.encode("utf-8", "replace")).replace(" ", "\\x20") or "-"


class AccessLog:
    """
    Appends lines to a file.

    Args:
        path: The file; created if it does not exist.
        reactor: The clock, and the timer of the buffer.
    """

    def __init__(self, path: str, reactor: IReactorTime) -> None:
        self._path = path
        self._reactor = reactor
        self.clock = reactor.seconds
        self._descriptor: int | None = None
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
        self._descriptor = os.open(self._path, open_flags(os.O_WRONLY | os.O_APPEND | os.O_CREAT), 0o644)

    def reopen(self) -> None:
        """Reopen the file after log rotation has renamed it."""
        self.close()
        try:
            self.open()
        except OSError as error:
            _log.error("The access log cannot be opened: {error}", error=str(error))

    def close(self) -> None:
        """Flush and close."""
        self._flush()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

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
            quote_request(request.method, request.uri, request.clientproto),
            request.code,
            request.sentLength or 0,
            quote_client(request.getHeader(b"referer"), request.getHeader(b"user-agent")),
            began=request.began,
            end=" aborted" if aborted else "",
            user=getattr(request, "user_name", "-"),
        )

    def write_entry(
        self,
        client: Any,
        head: str,
        status: int,
        size: int,
        agent: str,
        *,
        began: float,
        end: str = "",
        user: str = "-",
    ) -> None:
        """
        Write a line.

        Args:
            client: An address of Twisted's, or a textual one.
            head: From `quote_request`.
            status: The status of the response.
            size: Bytes of the body that were sent.
            agent: From `quote_client`.
            began: When the request was received, by `clock`.
            end: Appended to the line.
            user: The authenticated user, or a hyphen.
        """
        now = self._reactor.seconds()
        host = client if isinstance(client, str) else getattr(client, "host", None)
        self._add(
            f"{_host(host)} - {_word(user)} {self._time(now)} {head} {status} {size} {agent} "
            f"{now - began:.6f}{end}\n"
        )

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= _BATCH_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = self._reactor.callLater(_DELAY, self._flush)

    def _time(self, now: float) -> str:
        if int(now) != self._second:
            self._second = int(now)
            self._stamp = time.strftime("[%d/%b/%Y:%H:%M:%S +0000]", time.gmtime(now))
        return self._stamp

    def _flush(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        lines, self._lines, self._bytes = self._lines, [], 0
        if lines and self._descriptor is not None:
            rest = memoryview("".join(lines).encode("ascii", "backslashreplace"))
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError as error:
                _log.error("The access log cannot be written: {error}", error=str(error))
