"""What upstreams of each kind share: responses with a file or a document, checked; metrics of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.web.http_headers import Headers

from twisted_index.errors import BadGateway
from twisted_index.http_semantics.ranges import format_range, parse_content_range, satisfies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from twisted_index.http_client.body import BoundedBody
    from twisted_index.http_client.client import HTTPResponse
    from twisted_index.http_client.outcomes import Outcomes


def file_headers(first: int | None = None, last: int | None = None) -> Headers:
    """Return the header fields of a request for a file or a range of it, without a content coding."""
    headers = Headers({b"Accept": [b"*/*"], b"Accept-Encoding": [b"identity"]})
    byte_range = format_range(first, last)
    if byte_range is not None:
        headers.setRawHeaders(b"Range", [byte_range])
    return headers


def file_body(response: HTTPResponse, first: int | None, last: int | None) -> BoundedBody:
    """
    Return the body of a response to `file_headers`, with its `total` and `modified`.

    Raises:
        BadGateway: It is not the requested range, nor the whole file.
    """
    body = response.body
    body.modified = response.header(b"Last-Modified")
    try:
        body.total = _total(response, first, last)
    except BadGateway:
        body.abort()
        raise
    return body


def _total(response: HTTPResponse, first: int | None, last: int | None) -> int | None:
    """Return the size of the whole file in bytes; None if unknown."""
    length = response.body.length
    if response.status == 200:
        return length
    if response.status != 206:
        raise _unexpected(response)
    content_range = parse_content_range(response.header(b"Content-Range"))
    if content_range is None or not satisfies(content_range, first, last):
        raise BadGateway("The upstream sent a different part of the file than requested.")
    if length is not None and length != content_range.last - content_range.first + 1:
        raise BadGateway("The upstream sent contradictory lengths for its response.")
    return content_range.total


async def whole_document(response: HTTPResponse, limit: int) -> bytes:
    """
    Read a small document whole.

    Raises:
        BadGateway: It is larger than `limit` bytes, or may be incomplete.
    """
    body = require_complete(response).body
    body.limit = limit
    document = await body.read()
    if not body.is_delimited:
        raise BadGateway("The upstream does not delimit this document, so it may be incomplete.")
    return document


def require_complete(response: HTTPResponse) -> HTTPResponse:
    """Refuse a response without the complete content (any status but 200)."""
    if response.status != 200:
        response.body.abort()
        raise _unexpected(response)
    return response


def _unexpected(response: HTTPResponse) -> BadGateway:
    return BadGateway(f"The upstream sent unexpected status {response.status}.")


def request_metrics(name: str, outcomes: Outcomes) -> Iterator[Metric]:
    """
    Yield the metrics of the requests to an upstream.

    Args:
        name: Of the upstream, without what may be a secret.
        outcomes: What became of them.
    """
    from prometheus_client.core import CounterMetricFamily

    text = "Responses of upstreams, also those to repeated requests and redirects."
    responses = CounterMetricFamily("twisted_index_upstream_responses", text, labels=["upstream", "status"])
    text = "Requests to upstreams without a response, or without the whole of it."
    failures = CounterMetricFamily("twisted_index_upstream_failures", text, labels=["upstream", "reason"])
    for status, number in outcomes.responses.items():
        responses.add_metric([name, status], number)
    for reason, number in outcomes.failures.items():
        failures.add_metric([name, reason], number)
    yield from (responses, failures)
