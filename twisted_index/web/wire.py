"""
Responses as the bytes that leave, all but the date.

The same bytes as Twisted's Request writes for the same response; a test holds the two together.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.web.http import datetimeToString
from twisted.web.server import version

from twisted_index.http_rules.conditional import format_http_date
from twisted_index.web.response import KEPT_BY_304
from twisted_index.web.sentences import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted_index.web.response import Headers, Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """
    A response with nothing left to be decided.

    Attributes:
        status: The HTTP status.
        before: The head up to the date.
        after: The head from the end of the date on.
        body: Empty where the body is read from a file.
        etag: With its quotes; None if there is none.
        before_304: As `before`, for the answer to one who has these bytes already.
        after_304: Likewise.
    """

    status: int
    before: bytes
    after: bytes
    body: bytes
    etag: bytes | None
    before_304: bytes
    after_304: bytes


def compose(response: Response, always: Headers, length: int, body: bytes = b"") -> Wire:
    """
    Compose the bytes of a response.

    Args:
        response: With a status that has a body.
        always: Fields that every answer has.
        length: Of the body, in bytes.
        body: All of it, if it is at hand.
    """
    tags: Headers = ()
    if response.etag is not None:
        tags = ((b"ETag", response.etag),)
    if response.modified is not None:
        tags = (*tags, (b"Last-Modified", format_http_date(response.modified)))
    kept = tuple(pair for pair in response.headers if pair[0] in KEPT_BY_304)
    size = ((b"Content-Length", b"%d" % length),)
    return Wire(
        status=response.status,
        before=_before(response.status, response.reason),
        after=_fields((*response.headers, *always, *tags, *size)),
        body=body,
        etag=response.etag,
        before_304=_before(304),
        after_304=_fields((*kept, *always, *tags)),
    )


def _before(status: int, reason: bytes | None = None) -> bytes:
    reason = reason or reason_of(status).encode("ascii")
    return b"HTTP/1.1 %d %s\r\nServer: %s\r\nDate: " % (status, reason, version)


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"\r\n" + b"".join(b"%s: %s\r\n" % pair for pair in headers) + b"\r\n"


class Dates:
    """The Date field, made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._date = b""

    def now(self) -> bytes:
        """Give the date as it is now (RFC 9110 section 5.6.7)."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = datetimeToString(second)
        return self._date
