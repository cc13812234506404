"""A response as a value, independent of a connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from twisted_index.interfaces import FileBody

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

#: A client asks each time and gets a 304: a change in the folder is in the very next answer.
#: Without it, clients would take Last-Modified as a licence to repeat an answer for minutes.
NO_CACHE: Headers = ((b"Cache-Control", b"no-cache"),)
#: The same for an answer that repeats by which address its client came: a proxy may know that from
#: fields that no cache looks at, so only the client itself keeps it (RFC 9111 section 5.2.2.7).
UNSHARED: Headers = ((b"Cache-Control", b"private, no-cache"),)
#: What is served is never anything but what its type says.
NOSNIFF: Headers = ((b"X-Content-Type-Options", b"nosniff"),)
#: Our pages carry one style sheet and nothing that runs, whatever a file may be called. What follows
#: does not fall back to `default-src`: who may frame a page, where its links start and its forms lead.
NO_SCRIPTS: Headers = (
    (
        b"Content-Security-Policy",
        b"default-src 'none'; style-src 'unsafe-inline'; "
        b"frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
)

#: Fields that a 304 repeats (RFC 9110 section 15.4.5); the rest describes a body that is not sent.
HEADERS_OF_304 = frozenset({b"Cache-Control", b"Vary", b"Content-Location", b"Expires"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """
    A complete answer to GET.

    Attributes:
        status: The HTTP status.
        headers: Field names and values, without Content-Length, ETag and Last-Modified.
        body: All of it; or an open file.
        etag: Strong, with its quotes; None if the answer has none.
        modified: Seconds since the epoch, for Last-Modified; None if unknown.
        reason: The phrase beside the status, in Latin-1; None for the standard one.
    """

    status: int = 200
    headers: Headers = ()
    body: bytes | FileBody = b""
    etag: bytes | None = None
    modified: float | None = None
    reason: bytes | None = None
