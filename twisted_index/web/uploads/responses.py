"""
Responses to uploads, with the message where each client shows it.

Twine shows the reason phrase, poetry and flit the body, uv the `code` of a JSON document.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from twisted_index.http_semantics.negotiation import DocumentFormat, document_format
from twisted_index.web.responses.error_pages import message_response, reason_phrase

if TYPE_CHECKING:
    from twisted_index.errors import SimpleIndexError
    from twisted_index.web.responses.response import Response

#: Characters of a reason phrase; some clients read a status line of no more than a few hundred.
_LONGEST_REASON = 200


def rejected(error: SimpleIndexError, accept: bytes | None) -> Response:
    """
    Respond to a rejected upload, with the reason in the status line and in the body.

    Args:
        error: Provides the status, the message and header fields.
        accept: The request's Accept field.
    """
    response = message_response(error.status, error.message, accept, error.headers)
    response = replace(response, reason=message_as_reason(error.message))
    if document_format(accept) is not DocumentFormat.JSON:
        return response
    document = {
        "message": error.message,
        "code": f"{error.status} {error.message}",
        "title": reason_phrase(error.status),
    }
    return replace(response, body=json.dumps(document, ensure_ascii=False).encode("utf-8") + b"\n")


def accepted(filename: str, new: bool) -> Response:
    """Respond to a published file, or to one with the same bytes as the existing one; both succeed."""
    sentence = f"Published {filename}." if new else f"{filename} already exists with identical content."
    return message_response(200, sentence, b"text/plain")


def message_as_reason(sentence: str) -> bytes:
    """Encode a message as a reason phrase (RFC 9112 section 4)."""
    visible = "".join(character if character.isprintable() else " " for character in sentence)
    if len(visible) > _LONGEST_REASON:
        visible = visible[: _LONGEST_REASON - 3] + "..."
    return visible.encode("latin-1", "replace")
