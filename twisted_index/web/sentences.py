"""Errors as one clear sentence: text, HTML or JSON, whichever the client asked for."""

from __future__ import annotations

import json
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING

from twisted_index.http_rules.negotiate import DocumentFormat, document_format
from twisted_index.web.page import page
from twisted_index.web.response import NO_SCRIPTS, NOSNIFF, REVALIDATE, Headers, Response

if TYPE_CHECKING:
    from twisted_index.errors import SimpleIndexError

_VARY: Headers = ((b"Vary", b"Accept"),)


def error_response(error: SimpleIndexError, accept: bytes | None) -> Response:
    """
    Turn an error into its answer.

    Args:
        error: Says its status, sentence and header fields.
        accept: The request's Accept field.
    """
    return sentence_response(error.status, error.sentence, accept, error.headers)


def sentence_response(status: int, sentence: str, accept: bytes | None, headers: Headers = ()) -> Response:
    """
    Answer with a sentence.

    Args:
        status: The HTTP status.
        sentence: Safe to show to anybody.
        accept: The request's Accept field.
        headers: Fields beyond the usual ones.
    """
    body, content_type = _write(status, sentence, document_format(accept))
    usual = ((b"Content-Type", content_type), *_VARY, *REVALIDATE, *NOSNIFF, *NO_SCRIPTS)
    return Response(status=status, headers=(*usual, *headers), body=body)


def reason_of(status: int) -> str:
    """Give the standard phrase of a status."""
    return HTTPStatus(status).phrase


def _write(status: int, sentence: str, form: DocumentFormat) -> tuple[bytes, bytes]:
    if form is DocumentFormat.JSON:
        document = json.dumps({"message": sentence}, ensure_ascii=False)
        return document.encode("utf-8") + b"\n", b"application/json"
    if form is DocumentFormat.HTML:
        title = f"{status} {reason_of(status)}"
        content = f"<h1>{escape(title)}</h1>\n<p>{escape(sentence)}</p>\n"
        return page(title, content, style=""), b"text/html; charset=utf-8"
    return sentence.encode("utf-8") + b"\n", b"text/plain; charset=utf-8"
