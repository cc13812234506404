"""The message of an error response, if a server like this one sent it, and nothing in between."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from twisted_index.errors import SimpleIndexError
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from twisted_index.http_client.client import HTTPResponse

#: Bytes of such a response that are read, and characters of its message that are shown.
_MAX_BODY, _MAX_SHOWN = 64 << 10, 300


async def read_error_message(response: HTTPResponse) -> str:
    """
    Read the body of an error response.

    Returns:
        The message that servers of this project give as JSON, printable; empty for any other body.
    """
    if response.header(b"Content-Type").partition(";")[0] != "application/json":
        response.body.drain()
        return ""
    response.body.limit = _MAX_BODY
    try:
        message = json.loads(await response.body.read())["message"]
    except (SimpleIndexError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return printable(message[:_MAX_SHOWN]) if isinstance(message, str) else ""
