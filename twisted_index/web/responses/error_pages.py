"""Error responses: one message as text, HTML or JSON, by Accept."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from twisted_index.errors import PromotionRefused
from twisted_index.http_semantics.negotiation import DocumentFormat, document_format
from twisted_index.web.pages.error import write_error_page
from twisted_index.web.responses.response import NO_CACHE, NOSNIFF, PAGE, Headers, Response

if TYPE_CHECKING:
    from twisted_index.errors import SimpleIndexError
    from twisted_index.web.pages.layout import Frame

_VARY: Headers = ((b"Vary", b"Accept"),)


def error_response(error: SimpleIndexError, accept: bytes | None, *, frame: Frame | None = None) -> Response:
    """
    Turn an error into its response.

    Args:
        error: Provides the status, the message and header fields.
        accept: The request's Accept field.
        frame: As for `message_response`.
    """
    if isinstance(error, PromotionRefused):
        return _refusals(error)
    return message_response(error.status, error.message, accept, error.headers, frame=frame)


def _refusals(error: PromotionRefused) -> Response:
    """Respond with all refusals, as JSON whatever is accepted: programs ask, and people read it too."""
    refusals = [{"name": one.name, "reason": one.reason} for one in error.refusals]
    document = {"message": error.message, "refusals": refusals}
    body = json.dumps(document, ensure_ascii=False).encode("utf-8") + b"\n"
    headers = ((b"Content-Type", b"application/json"), *NO_CACHE, *NOSNIFF)
    return Response(status=error.status, headers=headers, body=body)


def message_response(
    status: int,
    sentence: str,
    accept: bytes | None,
    headers: Headers = (),
    *,
    why: str = "",
    search: str = "",
    frame: Frame | None = None,
) -> Response:
    """
    Respond with a message.

    Args:
        status: The HTTP status.
        sentence: Safe to show to any client.
        accept: The request's Accept field.
        headers: Fields in addition to the usual ones.
        why: The relative URL that explains it; empty for none.
        search: As for `write_error_page`.
        frame: What surrounds it for people; None if the way to the front page is not known.
    """
    with_why = f"{sentence} {why} says why." if why else sentence
    form = document_format(accept)
    if form is DocumentFormat.HTML:
        title = f"{status} {reason_phrase(status)}"
        body = write_error_page(title, sentence, why=why, search=search, frame=frame)
        content_type = b"text/html; charset=utf-8"
    elif form is DocumentFormat.JSON:
        body = json.dumps({"message": with_why}, ensure_ascii=False).encode("utf-8") + b"\n"
        content_type = b"application/json"
    else:
        body, content_type = with_why.encode("utf-8") + b"\n", b"text/plain; charset=utf-8"
    usual = ((b"Content-Type", content_type), *_VARY, *NO_CACHE, *NOSNIFF, *PAGE)
    return Response(status=status, headers=(*usual, *headers), body=body)


def absence_response(project: str, index: str, absence: str, accept: bytes | None, frame: Frame) -> Response:
    """
    Respond that there is no such project.

    Args:
        project: A normalized name.
        index: The name of the index; empty for the one without a name.
        absence: From its `Snapshot`.
        accept: The request's Accept field.
        frame: What surrounds the page of it.
    """
    where = f"in the index {index}" if index else "here"
    message = f"There is no project {project} {where}. {absence}".rstrip()
    why, search = f"{frame.root}-/why/{project}", f"{frame.root}-/search?q={project}"
    return message_response(404, message, accept, why=why, search=search, frame=frame)


def reason_phrase(status: int) -> str:
    """Return the standard reason phrase of a status."""
    return HTTPStatus(status).phrase
