"""Sends a response: preconditions, ranges, HEAD and Content-Length."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted_index._twisted.server import waits_for_transport
from twisted_index.http_semantics import conditional, ranges
from twisted_index.http_semantics.conditional import Precondition
from twisted_index.interfaces import FileBody, RangedContent, StreamingContent
from twisted_index.web.responses.error_pages import message_response, reason_phrase
from twisted_index.web.responses.in_progress import (
    accepts_ranges,
    send_streaming,
    wait_for_part,
    wait_until_sendable,
)
from twisted_index.web.responses.pieces import PiecesProducer
from twisted_index.web.responses.producers import CHUNK_SIZE, send_bytes, send_file
from twisted_index.web.responses.response import HEADERS_OF_304, Response

if TYPE_CHECKING:
    from twisted.web.http import Request

    from twisted_index.http_semantics.ranges import ByteRange
    from twisted_index.web.responses.response import Headers


def header(request: Request, name: bytes) -> bytes | None:
    """Return a header field, repeated lines joined (RFC 9110 section 5.3); None if absent."""
    lines = request.requestHeaders.getRawHeaders(name)
    return b", ".join(lines) if lines else None


async def prepare_file(request: Request, response: Response, clock: Any = None) -> Response:
    """
    Wait until a file can be sent. Nothing is fetched for a response without bytes of it: to HEAD, 304, 416.

    Args:
        request: Not responded to yet.
        response: With the opened file, which is closed if this fails.
        clock: Measures the deadline; the reactor of the site by default.

    Returns:
        The same response with a body that can be sent, or a redirect.

    Raises:
        SimpleIndexError: The bytes do not come, or not in time.
    """
    body = response.body
    if not isinstance(body, FileBody) or not isinstance(body.content, StreamingContent):
        return response
    if request.method != b"GET" or _check_preconditions(request, response) is not response:
        return response
    if request.channel is None:  # The client has left.
        return response
    clock = clock or request.channel.factory.reactor
    range_field = header(request, b"Range")
    if not isinstance(body.content, RangedContent):
        wants_range = range_field is not None
        return replace(response, body=await wait_until_sendable(body, wants_range, clock))
    if body.elsewhere is not None and range_field is None and header(request, b"If-Range") is None:
        location = await body.elsewhere()
        if location is not None:
            close_response(response)
            return _redirect_once(location)
    chosen = _choose_range(request, response, body.size)
    if chosen is not ranges.UNSATISFIABLE and body.size:
        first, length = (0, body.size) if chosen is None else (chosen.first, chosen.length)
        await wait_for_part(body.content, first, length, clock)
    return response


def _redirect_once(location: str) -> Response:
    """
    Redirect to a URL that is a secret for as long as it holds.

    No cache stores it (RFC 9111 section 5.2.2.5), and no other site is shown it.
    """
    return Response(
        status=302,
        headers=(
            (b"Location", location.encode("ascii")),
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Cache-Control", b"no-store"),
            (b"Referrer-Policy", b"no-referrer"),
        ),
        body=b"The file is at the URL in the Location field.\n",
    )


def send_response(request: Request, response: Response, always: Headers = ()) -> None:
    """
    Respond to a request.

    Args:
        request: Without a response so far.
        response: The response to a plain GET. An open file in it is always closed.
        always: Fields of every response.
    """
    chosen = _check_preconditions(request, response)
    if chosen is not response:
        close_response(response)
        _send(request, chosen, always)
    elif isinstance(response.body, FileBody):
        _respond_with_file(request, response, response.body, always)
    elif isinstance(response.body, bytes):
        _send(request, response, always)
    else:
        _send_head(request, response, None, always)
        if request.method == b"HEAD":
            request.finish()
        else:
            PiecesProducer(request, response.body).start()


def _check_preconditions(request: Request, response: Response) -> Response:
    if response.status != 200 or request.method not in (b"GET", b"HEAD"):
        return response
    if response.etag is None and response.modified is None:
        return response
    outcome = conditional.evaluate(
        method=request.method,
        etag=response.etag,
        modified=response.modified,
        if_match=header(request, b"If-Match"),
        if_none_match=header(request, b"If-None-Match"),
        if_modified_since=header(request, b"If-Modified-Since"),
        if_unmodified_since=header(request, b"If-Unmodified-Since"),
    )
    if outcome is Precondition.NOT_MODIFIED:
        headers = tuple(pair for pair in response.headers if pair[0] in HEADERS_OF_304)
        return replace(response, status=304, headers=headers, body=b"")
    if outcome is Precondition.FAILED:
        error = message_response(
            412,
            "The precondition failed: the content is not what the request expects.",
            header(request, b"Accept"),
        )
        return _as_private(error, response)
    return response


def _as_private(error: Response, response: Response) -> Response:
    """Keep the error that takes the place of a private response out of the same caches."""
    fields = tuple(pair for pair in response.headers if pair[0] in (b"Cache-Control", b"Referrer-Policy"))
    if not any(value.startswith(b"private") for _name, value in fields):
        return error
    others = tuple(pair for pair in error.headers if pair[0] not in dict(fields))
    return replace(error, headers=(*others, *fields))


def _respond_with_file(request: Request, response: Response, body: FileBody, always: Headers) -> None:
    chosen = _choose_range(request, response, body.size) if accepts_ranges(body) else None
    if chosen is ranges.UNSATISFIABLE:
        close_response(response)
        unsatisfiable = ((b"Content-Range", ranges.format_content_range(chosen, body.size)),)
        sentence = "The requested range is outside the file."
        error = message_response(416, sentence, header(request, b"Accept"), unsatisfiable)
        _send(request, _as_private(error, response), always)
        return
    first, length = 0, body.size
    if chosen is not None:
        first, length = chosen.first, chosen.last - chosen.first + 1
        content_range = (b"Content-Range", ranges.format_content_range(chosen, body.size))
        response = replace(response, status=206, headers=(*response.headers, content_range))
    _send_head(request, response, length, always)
    if request.method == b"HEAD" or not length:
        close_response(response)
        request.finish()
    elif isinstance(body.content, bytes):
        _send_bytes(request, memoryview(body.content)[first : first + length])
    elif isinstance(body.content, StreamingContent):
        send_streaming(request, body.content, first, length)
    else:
        send_file(request, body.content, first, length)


def _choose_range(request: Request, response: Response, size: int) -> ByteRange | ranges.Unsatisfiable | None:
    range_field = header(request, b"Range")
    # RFC 9110 section 14.2 defines ranges for GET only.
    if range_field is None or request.method != b"GET":
        return None
    if_range = header(request, b"If-Range")
    if if_range is not None and not conditional.if_range_matches(if_range, response.etag, response.modified):
        return None
    return ranges.parse_range(range_field, size)


def _send(request: Request, response: Response, always: Headers) -> None:
    assert isinstance(response.body, bytes)
    without_body = response.status in (204, 304)
    _send_head(request, response, None if without_body else len(response.body), always)
    if request.method == b"HEAD" or without_body:
        request.finish()
    else:
        _send_bytes(request, memoryview(response.body))


def _send_bytes(request: Request, body: memoryview) -> None:
    """
    Send a body at once if it is small, else in pieces, so that slow readers share its bytes.

    While an earlier response is still queued, a small body is sent in pieces too: else pipelined requests
    of a few bytes each would queue as many responses.
    """
    if len(body) <= CHUNK_SIZE and not waits_for_transport(request.channel):
        request.write(bytes(body))
        request.finish()
    else:
        send_bytes(request, body)


def _send_head(request: Request, response: Response, length: int | None, always: Headers) -> None:
    # Twisted has no phrase for 429.
    reason = response.reason or reason_phrase(response.status).encode("ascii")
    request.setResponseCode(response.status, reason)
    headers: Headers = (*response.headers, *always)
    if response.etag is not None:
        headers = (*headers, (b"ETag", response.etag))
    if response.modified is not None:
        headers = (*headers, (b"Last-Modified", conditional.format_http_date(response.modified)))
    if length is not None:
        headers = (*headers, (b"Content-Length", b"%d" % length))
    for name, value in headers:
        request.responseHeaders.addRawHeader(name, value)


def close_response(response: Response) -> None:
    """Close the open file of a response that is not sent."""
    if isinstance(response.body, FileBody) and not isinstance(response.body.content, bytes):
        response.body.content.close()
