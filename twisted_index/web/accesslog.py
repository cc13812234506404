"""
The access log: Combined Log Format, then seconds, and `aborted` where the client left early.

Lines are gathered and written together, as a system call for each costs more than the answer.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

_log = Logger()

#: Seconds that a line waits for others, and bytes that do not wait.
_DELAY = 0.5
_BATCH_BYTES = 1 << 16
#: Printable ASCII without what would end a quoted field; all else is escaped, so that no request
#: can write a line of its own.
_SAFE = bytes(range(0x20, 0x7F)).translate(None, b'"\\')
_ESCAPES = {byte: f"\\x{byte:02x}" for byte in range(256) if byte not in _SAFE}
_TABLE = {byte: _ESCAPES.get(byte, chr(byte)) for byte in range(256)}

#: What an address can be written with, a zone (RFC 4007) included.
_ADDRESS = re.compile(r"[0-9A-Za-z:.%-]+", re.ASCII)


def escape_field(value: bytes) -> str:
    """Make a header field fit for a quoted field of the log."""
    return value.decode("latin-1").translate(_TABLE)


def _word(user: str) -> str:
    """Make a user's name one word of the line."""
    return escape_field(user.encode("utf-8", "replace")).replace(" ", "\\x20") or "-"


class AccessLog:
    """
    Appends to a file.

    Args:
        path: The file; made if it is not there.
        reactor: Tells the time, and when to write.
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
            OSError: If that cannot be done.
        """
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def reopen(self) -> None:
        """Go on in a new file of the same name, after the old one was moved away."""
        self.close()
        try:
            self.open()
        except OSError as error:
            _log.error("The access log cannot be opened: {error}", error=str(error))

    def close(self) -> None:
        """Write what waits, and close."""
        self._flush()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def write(self, request: Any, *, aborted: bool, client: Any = None) -> None:
        """
        Note a request.

        Args:
            request: Answered, or left by its client.
            aborted: Whether the client left before the end of the answer.
            client: The address behind a proxy, textual; None for that of the connection.
        """
        self.note(
            client or request.getClientAddress(),
            b"%s %s %s" % (request.method, request.uri, request.clientproto),
            request.code,
            request.sentLength or 0,
            request.getHeader(b"referer") or b"-",
            request.getHeader(b"user-agent") or b"-",
            began=request.began,
            end=" aborted" if aborted else "",
            user=getattr(request, "user_name", "-"),
        )

    def note(
        self,
        client: Any,
        head: bytes,
        status: int,
        size: int,
        referrer: bytes,
        agent: bytes,
        *,
        began: float,
        end: str = "",
        user: str = "-",
    ) -> None:
        """
        Note a request by its parts.

        Args:
            client: Its address, or the text of one.
            head: The request line.
            status: Of the answer.
            size: Bytes of the body that were sent.
            referrer: The field, or a hyphen.
            agent: Likewise.
            began: When it was received, by `clock`.
            end: What follows the line.
            user: Who it was, as far as the answer depended on it.
        """
        now = self._reactor.seconds()
        host = client if isinstance(client, str) else getattr(client, "host", None)
        if not isinstance(host, str) or _ADDRESS.fullmatch(host) is None:
            # None for a unix socket; and what a PROXY line says may be no address at all.
            host = "-"
        self._add(
            f'{host} - {_word(user)} {self._time(now)} "{escape_field(head)}" {status} {size} '
            f'"{escape_field(referrer)}" "{escape_field(agent)}" '
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
