"""Puts a response on a request: preconditions, ranges, HEAD, and the length that was promised."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted_index.http_rules import conditional, ranges
from twisted_index.http_rules.conditional import Precondition
from twisted_index.interfaces import Arriving, FileBody
from twisted_index.web.arriving import send_arriving, takes_ranges
from twisted_index.web.producers import PIECE, send_bytes, send_file
from twisted_index.web.response import KEPT_BY_304
from twisted_index.web.sentences import sentence_response

if TYPE_CHECKING:
    from twisted.web.http import Request

    from twisted_index.http_rules.ranges import ByteRange
    from twisted_index.web.response import Headers, Response


def field(request: Request, name: bytes) -> bytes | None:
    """Give a header field, several lines of it joined as RFC 9110 section 5.3 says; None without."""
    lines = request.requestHeaders.getRawHeaders(name)
    return b", ".join(lines) if lines else None


def respond(request: Request, response: Response, always: Headers = ()) -> None:
    """
    Answer a request.

    Args:
        request: Not answered yet.
        response: The answer to a plain GET. An open file in it is closed, whatever happens.
        always: Fields that every answer has.
    """
    chosen = _check_preconditions(request, response)
    if chosen is not response:
        close(response)
        _send(request, chosen, always)
    elif isinstance(response.body, FileBody):
        _respond_with_file(request, response, response.body, always)
    else:
        _send(request, response, always)


def _check_preconditions(request: Request, response: Response) -> Response:
    if response.status != 200 or request.method not in (b"GET", b"HEAD"):
        return response
    if response.etag is None and response.modified is None:
        return response
    outcome = conditional.evaluate(
        method=request.method,
        etag=response.etag,
        modified=response.modified,
        if_match=field(request, b"If-Match"),
        if_none_match=field(request, b"If-None-Match"),
        if_modified_since=field(request, b"If-Modified-Since"),
        if_unmodified_since=field(request, b"If-Unmodified-Since"),
    )
    if outcome is Precondition.NOT_MODIFIED:
        kept = tuple(pair for pair in response.headers if pair[0] in KEPT_BY_304)
        return replace(response, status=304, headers=kept, body=b"")
    if outcome is Precondition.FAILED:
        return sentence_response(
            412, "What you have is not what is here any more.", field(request, b"Accept")
        )
    return response


def _respond_with_file(request: Request, response: Response, body: FileBody, always: Headers) -> None:
    chosen = _choose_range(request, response, body.size) if takes_ranges(body) else None
    if chosen is ranges.UNSATISFIABLE:
        close(response)
        unsatisfiable = ((b"Content-Range", ranges.content_range(chosen, body.size)),)
        sentence = "The file has no bytes in the range that was asked for."
        refusal = sentence_response(416, sentence, field(request, b"Accept"), unsatisfiable)
        _send(request, refusal, always)
        return
    first, length = 0, body.size
    if chosen is not None:
        first, length = chosen.first, chosen.last - chosen.first + 1
        part = (b"Content-Range", ranges.content_range(chosen, body.size))
        response = replace(response, status=206, headers=(*response.headers, part))
    _send_head(request, response, length, always)
    if request.method == b"HEAD" or not length:
        close(response)
        request.finish()
    elif isinstance(body.content, bytes):
        _send_bytes(request, memoryview(body.content)[first : first + length])
    elif isinstance(body.content, Arriving):
        send_arriving(request, body.content, first, length)
    else:
        send_file(request, body.content, first, length)


def _choose_range(request: Request, response: Response, size: int) -> ByteRange | ranges.Unsatisfiable | None:
    header = field(request, b"Range")
    # RFC 9110 section 14.2 defines ranges for GET only.
    if header is None or request.method != b"GET":
        return None
    if_range = field(request, b"If-Range")
    if if_range is not None and not conditional.if_range_holds(if_range, response.etag, response.modified):
        return None
    return ranges.parse_range(header, size)


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

    A reader that has not taken the last answer yet gets none at once, or pipelined requests for a
    few bytes each would queue as many answers.
    """
    if len(body) <= PIECE and not getattr(request.channel, "_waitingForTransport", False):
        request.write(bytes(body))
        request.finish()
    else:
        send_bytes(request, body)


def _send_head(request: Request, response: Response, length: int | None, always: Headers) -> None:
    request.setResponseCode(response.status, response.reason)
    headers: Headers = (*response.headers, *always)
    if response.etag is not None:
        headers = (*headers, (b"ETag", response.etag))
    if response.modified is not None:
        headers = (*headers, (b"Last-Modified", conditional.format_http_date(response.modified)))
    if length is not None:
        headers = (*headers, (b"Content-Length", b"%d" % length))
    for name, value in headers:
        request.responseHeaders.addRawHeader(name, value)


def close(response: Response) -> None:
    """Close the open file of a response that is not sent."""
    if isinstance(response.body, FileBody) and not isinstance(response.body.content, bytes):
        response.body.content.close()
