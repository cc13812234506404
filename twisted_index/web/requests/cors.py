"""`--cors`: web pages of other sites may read the index (Fetch standard, section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted_index.web.responses.response import Headers

#: For every response, errors and redirects too: without them a script learns only that it failed.
#: The star excludes `Access-Control-Allow-Credentials`: only scripts themselves can send passwords.
CORS_HEADERS: Headers = (
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Access-Control-Expose-Headers", b"Accept-Ranges, Cache-Status, Content-Range, ETag, Retry-After"),
)

#: Request fields that browsers do not allow by default: conditions, and ranges from the end of a file.
_FIELDS = (
    b"Cache-Control, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Range, "
    b"If-Unmodified-Since, Range"
)


def preflight(*, has_users: bool) -> Headers:
    """
    Return the header fields of the response to a preflight request.

    Args:
        has_users: Whether requests may have credentials, which a star of field names would not cover.
    """
    return (
        (b"Access-Control-Allow-Methods", b"GET"),  # and HEAD, which needs no permission
        (b"Access-Control-Allow-Headers", b"Authorization, " + _FIELDS if has_users else _FIELDS),
        # Seconds. Browsers cap it at two hours or a day.
        (b"Access-Control-Max-Age", b"86400"),
    )
