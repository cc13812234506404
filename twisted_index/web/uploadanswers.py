"""
What upload clients are told, where each of them shows it.

Twine shows the reason phrase, poetry and flit the body, uv the `code` of a JSON document.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from twisted_index.http_rules.negotiate import DocumentFormat, document_format
from twisted_index.web.sentences import reason_of, sentence_response

if TYPE_CHECKING:
    from twisted_index.errors import SimpleIndexError
    from twisted_index.web.response import Response

#: Characters of a reason phrase; some clients read a status line of no more than a few hundred.
_LONGEST_REASON = 200


def refusal(error: SimpleIndexError, accept: bytes | None) -> Response:
    """
    Say why an upload is not taken, in the status line and in the body.

    Args:
        error: Says its status, sentence and header fields.
        accept: The request's Accept field.
    """
    response = sentence_response(error.status, error.sentence, accept, error.headers)
    response = replace(response, reason=reason_phrase(error.sentence))
    if document_format(accept) is not DocumentFormat.JSON:
        return response
    document = {
        "message": error.sentence,
        "code": f"{error.status} {error.sentence}",
        "title": reason_of(error.status),
    }
    return replace(response, body=json.dumps(document, ensure_ascii=False).encode("utf-8") + b"\n")


def acceptance(filename: str, new: bool) -> Response:
    """Say that an upload was taken, or that the same bytes are there already; both are a success."""
    sentence = f"Published {filename}." if new else f"{filename} is here already, with these very bytes."
    return sentence_response(200, sentence, b"text/plain")


def reason_phrase(sentence: str) -> bytes:
    """Give a sentence as the phrase of a status line (RFC 9112 section 4)."""
    visible = "".join(character if character.isprintable() else " " for character in sentence)
    if len(visible) > _LONGEST_REASON:
        visible = visible[: _LONGEST_REASON - 3] + "..."
    return visible.encode("latin-1", "replace")
