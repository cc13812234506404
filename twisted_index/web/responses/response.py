"""A response as a value, independent of a connection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from twisted_index.interfaces import ICountingStore
from twisted_index.replication.change_gate import EPOCH_FIELD
from twisted_index.simple.html_writer import STYLE
from twisted_index.web.pages.layout import PAGE_POLICY, page_policy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from twisted_index.interfaces import FileBody

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

#: Clients revalidate each time and get a 304, so the very next response shows a change in the folder.
#: Without this field, clients would derive a freshness of minutes from Last-Modified.
NO_CACHE: Headers = ((b"Cache-Control", b"no-cache"),)
#: For a response that contains the URL that the client used: a proxy may convey it in fields that no
#: cache considers, so only the client itself may store it (RFC 9111 section 5.2.2.7).
UNSHARED: Headers = ((b"Cache-Control", b"private, no-cache"),)
#: Browsers must not guess another type than the Content-Type.
NOSNIFF: Headers = ((b"X-Content-Type-Options", b"nosniff"),)
#: A file, as it is.
BINARY: Headers = (
    (b"Content-Type", b"application/octet-stream"),
    (b"Accept-Ranges", b"bytes"),
    *NO_CACHE,
    *NOSNIFF,
)
#: Listings have one style sheet and no scripts, whatever a file may be called.
NO_SCRIPTS: Headers = ((b"Content-Security-Policy", page_policy(style=f"\n{STYLE}\n")),)
#: What pages for people may do. Requests to other sites do not say from which page they come.
PAGE: Headers = ((b"Content-Security-Policy", PAGE_POLICY), (b"Referrer-Policy", b"same-origin"))

#: PyPI's field with the serial of a project, or the highest one; spelled as Twisted writes it.
SERIAL_FIELD = b"X-Pypi-Last-Serial"

#: Tells a replica that some of what its primary has is not for everyone.
READING_FIELD = b"X-Index-Reading"
#: The serials that those of a primary go on from, since it took over.
BEFORE_FIELD = b"X-Index-Before"
#: Bytes up to which files have come with a listing.
INLINE_FIELD = b"X-Index-Inline"
#: A serial at or above that of the change that a response is to, for which a replica waits.
CHANGE_FIELD = b"X-Index-Serial"

#: Fields that a 304 repeats (RFC 9110 section 15.4.5), and what may change without the body: the serial, and
#: what replicas learn. The others describe the body, which is not sent.
HEADERS_OF_304 = frozenset(
    {
        b"Cache-Control",
        b"Vary",
        b"Content-Location",
        b"Expires",
        b"Referrer-Policy",
        SERIAL_FIELD,
        EPOCH_FIELD,
        READING_FIELD,
        BEFORE_FIELD,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """
    A complete response to GET.

    Attributes:
        status: The HTTP status.
        headers: Field names and values, without Content-Length, ETag and Last-Modified.
        body: The whole body, or an open file, or pieces of a body whose length is unknown.
        etag: Strong, with its quotes; None for a response without one.
        modified: Seconds since the epoch, for Last-Modified; None if unknown.
        reason: The reason phrase, in Latin-1; None for the standard one.
    """

    status: int = 200
    headers: Headers = ()
    body: bytes | FileBody | AsyncIterator[bytes] = b""
    etag: bytes | None = None
    modified: float | None = None
    reason: bytes | None = None


def with_serial(response: Response, serial: int | None) -> Response:
    """Add a serial to a response; not to its body, since equal folders have equal pages."""
    if serial is None:
        return response
    return replace(response, headers=(*response.headers, (SERIAL_FIELD, b"%d" % serial)))


def with_change(response: Response, store: object, projects: Iterable[str]) -> Response:
    """Add the serial of a change to the response to it: the greatest of the projects that were changed."""
    counting = ICountingStore(store, None)
    if counting is None:
        return response
    serials = [serial for project in projects if (serial := counting.serial_of(project)) is not None]
    field = ((CHANGE_FIELD, b"%d" % max(serials)),) if serials else ()
    return replace(response, headers=(*response.headers, *field))


def keep_secret(response: Response) -> Response:
    """Keep a response at a URL with a token out of all caches, and the URL out of requests to other sites."""
    others = tuple(pair for pair in response.headers if pair[0] not in (b"Cache-Control", b"Referrer-Policy"))
    fields = ((b"Cache-Control", b"private, no-store"), (b"Referrer-Policy", b"no-referrer"))
    return replace(response, headers=(*others, *fields))


def keep_private(response: Response) -> Response:
    """Keep a response for one client out of shared caches (RFC 9111 section 5.2.2.7)."""
    vary = b", ".join([*(value for name, value in response.headers if name == b"Vary"), b"Authorization"])
    stored = any(name == b"Cache-Control" and value != b"no-store" for name, value in response.headers)
    others = tuple(pair for pair in response.headers if pair[0] not in (b"Vary", b"Cache-Control"))
    caching = b"private, no-cache" if stored else b"private, no-store"
    return replace(response, headers=(*others, (b"Cache-Control", caching), (b"Vary", vary)))
