"""
What of a request and of a response a replica relays: the target URL, and the header fields. Pure.

No part of a request is copied as it came: path, query and the few relevant fields are parsed and written
again, so that both servers see one and the same request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from twisted_index.errors import BadRequest
from twisted_index.http_client.urls import InvalidURL, normalize_url
from twisted_index.web.responses.response import CHANGE_FIELD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.web.server import Request

    from twisted_index.http_client.client import HTTPResponse

#: The field with a remark on a change that was made.
NOTICE_FIELD = b"X-Index-Notice"
#: Fields of requests and responses that are relayed unchanged.
_REQUEST_FIELDS = (
    b"Accept",
    b"Authorization",
    b"Content-Encoding",
    b"Content-Language",
    b"Content-Type",
    b"User-Agent",
)
_RESPONSE_FIELDS = (
    b"Allow",
    b"Cache-Control",
    b"Content-Language",
    b"Content-Security-Policy",
    b"Content-Type",
    b"Referrer-Policy",
    b"Retry-After",
    b"Vary",
    b"WWW-Authenticate",
    b"X-Content-Type-Options",
    CHANGE_FIELD,
    NOTICE_FIELD,
)
#: Characters of a path and of a query that need no escape (RFC 3986 appendix A).
_PLAIN_PATH, _PLAIN_QUERY = "!$&'()*+,;=:@", "%/?:@!$&'()*+,;=~-._"
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def target_url(base: str, request: Request) -> str:
    """
    Return the URL to which a request is relayed.

    Args:
        base: The URL of the primary, with a slash at the end.
        request: The request, with `uri`, and `postpath` below the index.

    Raises:
        BadRequest: The path may lead out of the index, or the URL is too long.
    """
    segments = request.postpath or []
    if any(segment in (b".", b"..") or b"/" in segment or b"\\" in segment for segment in segments):
        # Some servers resolve these to another path, perhaps above the index.
        raise BadRequest("This path is that of no index.")
    path = "/".join(quote(segment, safe=_PLAIN_PATH) for segment in segments)
    _path, mark, query = request.uri.partition(b"?")
    try:
        return normalize_url(f"{base}{path}{mark.decode()}{quote(query, safe=_PLAIN_QUERY)}")
    except InvalidURL:
        raise BadRequest("The URL is too long to be sent on to the primary.") from None


def request_fields(request: Request) -> dict[bytes, Sequence[bytes]]:
    """
    Return the header fields of a request that are relayed.

    Raises:
        BadRequest: A field has a control character, or there are two Authorization fields.
    """
    fields = {
        name: lines
        for name in _REQUEST_FIELDS
        if (lines := request.requestHeaders.getRawHeaders(name)) is not None
    }
    if any(_CONTROL.search(line) for lines in fields.values() for line in lines):
        raise BadRequest("A field of the header has a control character.")
    if len(fields.get(b"Authorization", ())) > 1:
        raise BadRequest("A request has one Authorization field.")
    return fields


def response_fields(response: HTTPResponse) -> list[tuple[bytes, bytes]]:
    """Return the header fields of a response that are relayed."""
    found = response.headers.getRawHeaders
    return [(name, value) for name in _RESPONSE_FIELDS for value in found(name, [])]
