"""The gzip coding of pages (RFC 9110 section 8.4). Pure."""

from __future__ import annotations

import gzip

#: Above level 6 pages hardly shrink, and some grow.
_LEVEL = 6


def gzip_smaller(body: bytes) -> bytes | None:
    """
    Compress a page; equal pages give equal bytes, as no time is in them.

    Returns:
        None if the result is not smaller.
    """
    packed = gzip.compress(body, _LEVEL, mtime=0)
    return packed if len(packed) < len(body) else None
