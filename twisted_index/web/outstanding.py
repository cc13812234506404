"""How many bytes of an answer a client has not taken yet."""

from __future__ import annotations

import struct
import sys
from typing import Any

try:
    import fcntl
    import termios
except ImportError:  # not on Windows
    fcntl = termios = None  # type: ignore[assignment]


def outstanding_bytes(transport: Any) -> int:
    """
    Count what has been written and not been acknowledged.

    Of the transport's own buffer, and on Linux of the kernel's as well (tcp(7), SIOCOUTQ): a slow
    reader empties that for minutes while nothing moves in ours.

    Args:
        transport: Of a connection; if it is of a kind that does not tell, the answer is 0.
    """
    buffered = len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
    queued = buffered + getattr(transport, "_tempDataLen", 0)
    return queued + _in_kernel(transport)


def _in_kernel(transport: Any) -> int:
    socket = getattr(transport, "socket", None)
    if fcntl is None or socket is None or not sys.platform.startswith("linux"):
        return 0
    try:
        answer = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    except (OSError, ValueError):
        return 0
    return int(struct.unpack("i", answer)[0])
