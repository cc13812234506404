"""What is asked of the index, and what questions of HTTP have in common whatever is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from twisted.internet.defer import maybeDeferred

from twisted_index.http_rules.negotiate import format_parameter
from twisted_index.interfaces import NOBODY, Identity
from twisted_index.web.prepared import form_as, form_of
from twisted_index.web.respond import field
from twisted_index.web.response import NOSNIFF, REVALIDATE
from twisted_index.web.sentences import sentence_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted.web.server import Request

    from twisted_index.web.prepared import Form
    from twisted_index.web.response import Headers, Response
    from twisted_index.web.routes import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """
    A question that may be answered: its sender has the right to ask it.

    Attributes:
        request: As it came.
        route: What it asks for.
        identity: Who asks, where the answer depends on it; else NOBODY, whoever it is.
        private: Whether the answer is not everyone's, so that it is neither kept nor shared.
        unchanged: Says whether the rights are still those by which this was let in; None if rights never
            change.
    """

    request: Request
    route: Route
    identity: Identity = NOBODY
    private: bool = False
    unchanged: Callable[[], bool] | None = None

    @property
    def accept(self) -> bytes | None:
        """The Accept field."""
        return field(self.request, b"Accept")

    @property
    def form(self) -> Form:
        """The form of a page that is wanted; a `format` in the query wins over Accept (PEP 691)."""
        wanted = (self.request.args or {}).get(b"format")
        chosen = format_parameter(wanted[0].decode("latin-1")) if wanted else None
        encoding = field(self.request, b"Accept-Encoding")
        return form_of(self.accept, encoding) if chosen is None else form_as(chosen, encoding)


#: Answers one kind of question; errors of the package are turned into answers by whoever calls it.
Answer: TypeAlias = "Callable[[Asked], Awaitable[Response]]"

HTML: Headers = ((b"Content-Type", b"text/html; charset=utf-8"), *REVALIDATE, *NOSNIFF)
JSON: Headers = ((b"Content-Type", b"application/json"), *REVALIDATE, *NOSNIFF)


async def eventually(question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Ask a source or store, whose answer may be a value, a Deferred or a coroutine."""
    return await maybeDeferred(question, *args, **kwargs)


def redirect(request: Request, location: str, *, permanent: bool) -> Response:
    """Lead elsewhere. Relative, so that it holds below any prefix and behind any proxy."""
    _path, mark, query = request.uri.partition(b"?")
    return sentence_response(
        301 if permanent else 302,
        f"This is at {location} instead.",
        field(request, b"Accept"),
        ((b"Location", location.encode("ascii") + mark + query),),
    )


def last_segment(request: Request) -> str:
    """Give the name under which the resource is mounted, as it stands in URLs."""
    segment: bytes = request.prepath[-1] if request.prepath else b""
    return quote(segment.decode("utf-8", "replace"))
