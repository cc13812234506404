"""
Responses serialized as bytes, except for the date.

The bytes are those that Twisted's Request writes for the same response; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from twisted.web.server import version

from twisted_index.http_semantics.conditional import format_http_date
from twisted_index.web.responses.error_pages import reason_phrase
from twisted_index.web.responses.response import HEADERS_OF_304, keep_private

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted_index.web.responses.response import Headers, Response


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SerializedResponse:
    """
    A response as bytes, together with its 304.

    Attributes:
        status: The HTTP status.
        head_before_date: The head up to the date.
        head_after_date: The head from the end of the date on.
        body: Empty if the body is read from a file.
        etag: With its quotes; None if there is none.
        head_304_before_date: The head of the 304 up to the date.
        head_304_after_date: The head of the 304 from the end of the date on.
    """

    status: int
    head_before_date: bytes
    head_after_date: bytes
    body: bytes
    etag: bytes | None
    head_304_before_date: bytes
    head_304_after_date: bytes


class SerializedForms:
    """
    The two forms in which a response is sent, with the same body.

    Args:
        response: With a status that has a body.
        always: Fields of every response.
        length: Bytes of the body.
        body: The whole body, unless it is read from a file.

    Attributes:
        length: Bytes of the body.
    """

    def __init__(self, response: Response, always: Headers, length: int, body: bytes = b"") -> None:
        # Without the open file that a body may be.
        self._response = replace(response, body=b"")
        self._always, self._body = always, body
        self.length = length

    @cached_property
    def public(self) -> SerializedResponse:
        """The form for a response that everyone may read."""
        return serialize(self._response, self._always, self.length, self._body)

    @cached_property
    def private(self) -> SerializedResponse:
        """The form for clients of whom not everyone may read the response."""
        return serialize(keep_private(self._response), self._always, self.length, self._body)


def serialize(response: Response, always: Headers, length: int, body: bytes = b"") -> SerializedResponse:
    """
    Serialize a response.

    Args:
        response: With a status that has a body.
        always: Fields of every response.
        length: Bytes of the body.
        body: The whole body, unless it is read from a file.
    """
    validators: Headers = ()
    if response.etag is not None:
        validators = ((b"ETag", response.etag),)
    if response.modified is not None:
        validators = (*validators, (b"Last-Modified", format_http_date(response.modified)))
    headers_304 = tuple(pair for pair in response.headers if pair[0] in HEADERS_OF_304)
    size = ((b"Content-Length", b"%d" % length),)
    return SerializedResponse(
        status=response.status,
        head_before_date=_before(response.status, response.reason),
        head_after_date=_fields((*response.headers, *always, *validators, *size)),
        body=body,
        etag=response.etag,
        head_304_before_date=_before(304),
        head_304_after_date=_fields((*headers_304, *always, *validators)),
    )


def _before(status: int, reason: bytes | None = None) -> bytes:
    reason = reason or reason_phrase(status).encode("ascii")
    return b"HTTP/1.1 %d %s\r\nServer: %s\r\nDate: " % (status, reason, version)


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"\r\n" + b"".join(b"%s: %s\r\n" % pair for pair in headers) + b"\r\n"
