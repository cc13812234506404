"""Where a header of the PROXY protocol ends (HAProxy, proxy-protocol.txt, sections 2.1 and 2.2). Pure."""

from __future__ import annotations

_VERSION_1 = b"PROXY "
_VERSION_2 = b"\r\n\r\n\0\r\nQUIT\n"
#: Bytes of a longest line of version 1, and of version 2 before its addresses.
_LONGEST_LINE, _FIXED = 107, 16


def end_of_header(received: bytes) -> int | None:
    """
    Find the end of a header.

    Args:
        received: What has come so far.

    Returns:
        The number of its bytes; None if it is not whole.

    Raises:
        ValueError: It is no such header.
    """
    if _begins(received, _VERSION_2):
        size = _FIXED + int.from_bytes(received[14:_FIXED], "big")
        return size if len(received) >= max(size, _FIXED) else None
    end = received.find(b"\r\n", 0, _LONGEST_LINE) + 2
    if not _begins(received, _VERSION_1) or (end < 2 and len(received) >= _LONGEST_LINE):
        raise ValueError("no header of the PROXY protocol")
    return end if end >= 2 else None


def _begins(received: bytes, mark: bytes) -> bool:
    return received[: len(mark)] == mark[: len(received)]
