"""Error responses: one message as text, HTML or JSON, by Accept."""

from __future__ import annotations

import json
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING

from twisted_index.errors import PromotionRefused
from twisted_index.http_semantics.negotiation import DocumentFormat, document_format
from twisted_index.web.responses.html_layout import render_page
from twisted_index.web.responses.response import NO_CACHE, NO_SCRIPTS, NOSNIFF, Headers, Response

if TYPE_CHECKING:
    from twisted_index.errors import SimpleIndexError

_VARY: Headers = ((b"Vary", b"Accept"),)


def error_response(error: SimpleIndexError, accept: bytes | None) -> Response:
    """
    Turn an error into its response.

    Args:
        error: Provides the status, the message and header fields.
        accept: The request's Accept field.
    """
    if isinstance(error, PromotionRefused):
        return _refusals(error)
    return message_response(error.status, error.message, accept, error.headers)


def _refusals(error: PromotionRefused) -> Response:
    """Respond with all refusals, as JSON whatever is accepted: programs ask, and people read it too."""
    refusals = [{"name": one.name, "reason": one.reason} for one in error.refusals]
    document = {"message": error.message, "refusals": refusals}
    body = json.dumps(document, ensure_ascii=False).encode("utf-8") + b"\n"
    headers = ((b"Content-Type", b"application/json"), *NO_CACHE, *NOSNIFF)
    return Response(status=error.status, headers=headers, body=body)


def message_response(
    status: int, sentence: str, accept: bytes | None, headers: Headers = (), *, why: str = ""
) -> Response:
    """
    Respond with a message.

    Args:
        status: The HTTP status.
        sentence: Safe to show to any client.
        accept: The request's Accept field.
        headers: Fields in addition to the usual ones.
        why: The relative URL that explains it, safe in HTML; empty for none.
    """
    body, content_type = _write(status, sentence, why, document_format(accept))
    usual = ((b"Content-Type", content_type), *_VARY, *NO_CACHE, *NOSNIFF, *NO_SCRIPTS)
    return Response(status=status, headers=(*usual, *headers), body=body)


def reason_phrase(status: int) -> str:
    """Return the standard reason phrase of a status."""
    return HTTPStatus(status).phrase


def _write(status: int, sentence: str, why: str, form: DocumentFormat) -> tuple[bytes, bytes]:
    with_why = f"{sentence} {why} says why." if why else sentence
    if form is DocumentFormat.JSON:
        document = json.dumps({"message": with_why}, ensure_ascii=False)
        return document.encode("utf-8") + b"\n", b"application/json"
    if form is DocumentFormat.HTML:
        title = f"{status} {reason_phrase(status)}"
        link = f' <a href="{why}">Why?</a>' if why else ""
        content = f"<h1>{escape(title)}</h1>\n<p>{escape(sentence)}{link}</p>\n"
        return render_page(title, content, style=""), b"text/html; charset=utf-8"
    return with_why.encode("utf-8") + b"\n", b"text/plain; charset=utf-8"
