"""Per-request context, and helpers shared by all views."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import quote

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone

from twisted_index.errors import BadRequest, ContentTooLarge, UnsupportedMediaType
from twisted_index.http_semantics.negotiation import DocumentFormat, document_format, format_parameter
from twisted_index.indexes.scope import PLAIN, without_tokens
from twisted_index.interfaces import ANONYMOUS, Identity
from twisted_index.web.pages.layout import DEFAULT_TITLE, Frame
from twisted_index.web.responses.error_pages import message_response
from twisted_index.web.responses.response import NO_CACHE, NOSNIFF, PAGE, Response
from twisted_index.web.responses.response_cache import negotiate_representation, representation_as
from twisted_index.web.responses.send import header

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from twisted.web.server import Request

    from twisted_index.indexes.scope import Scope
    from twisted_index.web.requests.routes import Route
    from twisted_index.web.responses.response import Headers
    from twisted_index.web.responses.response_cache import Representation

T = TypeVar("T")

#: Bytes of a request body that is not an upload. Requests to manage projects have some hundred bytes.
MAX_SMALL_BODY = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """
    An authorized request, with everything that a view needs to respond to it.

    Attributes:
        route: What the URL names.
        identity: The client, where the response depends on it; else ANONYMOUS.
        private: Whether the response is for this client only, so that no cache may share it.
        scope: What the URL is about.
        title: Of the index, for people.
        counted: Whether downloads are counted here.
    """

    request: Request
    route: Route
    identity: Identity = ANONYMOUS
    private: bool = False
    scope: Scope = PLAIN
    title: str = DEFAULT_TITLE
    counted: bool = False

    @property
    def accept(self) -> bytes | None:
        """The Accept field."""
        return header(self.request, b"Accept")

    @property
    def up(self) -> str:
        """The relative URL of the index, for a URL that is not that itself: `../` for each folder."""
        return way_up(self.request)

    @property
    def frame(self) -> Frame:
        """What surrounds a page for people."""
        return Frame(root=self.up, title=self.title, counted=self.counted)

    @property
    def representation(self) -> Representation:
        """The negotiated representation of a page; `format` in the query wins over Accept (PEP 691)."""
        formats = (self.request.args or {}).get(b"format")
        chosen = format_parameter(formats[0].decode("latin-1")) if formats else None
        encoding = header(self.request, b"Accept-Encoding")
        if chosen is None:
            return negotiate_representation(self.accept, encoding)
        return representation_as(chosen, encoding)


#: Responds for one endpoint. Raises errors of the package; the resource turns them into responses.
View: TypeAlias = "Callable[[RequestContext], Awaitable[Response]]"

HTML: Headers = ((b"Content-Type", b"text/html; charset=utf-8"), *NO_CACHE, *NOSNIFF, *PAGE)
TEXT: Headers = ((b"Content-Type", b"text/plain; charset=utf-8"), *NO_CACHE, *NOSNIFF)
JSON: Headers = ((b"Content-Type", b"application/json"), *NO_CACHE, *NOSNIFF)


def negotiate_document(
    context: RequestContext,
    as_json: Callable[[], bytes],
    as_html: Callable[[], bytes],
    as_text: Callable[[], bytes] | None = None,
) -> Response:
    """Respond with JSON, HTML or, where there is one, text, as the Accept field prefers."""
    form, vary = document_format(context.accept), (b"Vary", b"Accept")
    if form is DocumentFormat.HTML:
        return Response(headers=(*HTML, vary), body=as_html())
    if form is DocumentFormat.TEXT and as_text is not None:
        return Response(headers=(*TEXT, vary), body=as_text())
    return Response(headers=(*JSON, vary), body=as_json())


def way_up(request: Request, more: int = 0) -> str:
    """Return the relative URL of the index of a request, or of what is `more` folders above it."""
    return "../" * (len(request.postpath or ()) - 1 + more) or "./"


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """
    Work for a client, and cancel that when the client leaves, so that it keeps no place in a queue.

    Raises:
        ConnectionDone: The client has left.
    """
    working = Deferred.fromCoroutine(work)
    if not working.called:
        request.notifyFinish().addErrback(lambda _gone: working.cancel())
    try:
        return await working
    except CancelledError:
        raise ConnectionDone from None


def may_have_left(request: Request) -> bool:
    """
    Return whether a client sends no more while it waits.

    One that has closed its connection looks like one that still reads, until something is written. So a
    response that may take a minute should come at once then. HTTP/2 and other servers say who has left.
    """
    return getattr(request.channel, "half_closed", False)


def when_it_may_have_left(request: Request, call: Callable[[], object]) -> None:
    """Call something when `may_have_left` becomes true."""
    if hasattr(request.channel, "on_half_close"):
        request.channel.on_half_close = call


def read_small_body(request: Request) -> bytes:
    """
    Read the body of a request that is not an upload.

    Raises:
        ContentTooLarge: It has more than `MAX_SMALL_BODY` bytes.
    """
    assert request.content is not None
    request.content.seek(0)
    body: bytes = request.content.read(MAX_SMALL_BODY + 1)
    if len(body) > MAX_SMALL_BODY:
        raise ContentTooLarge("The body is larger than this URL accepts.")
    return body


def read_json(request: Request) -> object:
    """
    Read a body of JSON.

    Raises:
        UnsupportedMediaType: The client calls it something else.
        BadRequest: It is none.
        ContentTooLarge: See `read_small_body`.
    """
    kind = (header(request, b"Content-Type") or b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        raise UnsupportedMediaType("Send application/json; curl does with --json.")
    try:
        # Decoded here, as json.loads would take UTF-16 too.
        return json.loads(read_small_body(request).decode("utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON in UTF-8.") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a key that is there twice: readers differ in which of the two counts."""
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise BadRequest(f"The key {key[:80]!r} is there twice.")
        found[key] = value
    return found


def redirect(request: Request, location: str, *, permanent: bool, shown: str | None = None) -> Response:
    """
    Redirect, keeping the query. Relative locations hold below any prefix and behind any proxy.

    Args:
        request: Is redirected.
        location: Where to.
        permanent: Whether clients may keep the redirect.
        shown: The location in the message; None for the same.
    """
    _path, mark, query = request.uri.partition(b"?")
    return message_response(
        301 if permanent else 302,
        f"This is at {without_tokens(location) if shown is None else shown} instead.",
        header(request, b"Accept"),
        ((b"Location", location.encode("ascii") + mark + query),),
    )


def last_segment(request: Request) -> str:
    """Return the last segment of the path where the resource is mounted, percent-encoded."""
    segment: bytes = request.prepath[-1] if request.prepath else b""
    return quote(segment.decode("utf-8", "replace"), safe="+")
