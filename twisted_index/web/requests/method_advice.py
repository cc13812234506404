"""The message of a 405: the URL and the method that the client probably meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.web.requests.routes import Endpoint, is_upload_path, match_route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UPLOADS_ARE_OFF = "Uploads are turned off here; start the server with --upload to accept them."
_READ_ONLY = (
    "This index can only be read; to publish, put the file into its folder, or start it with --upload."
)
_PAST = "The past can only be read; upload to the index as it is now."
_POST_HERE = "Upload by POST here, as twine and uv do."
_NO_SUCH_METHOD = "This URL does not support that method."
#: Methods of clients that upload.
SENDING = (b"POST", b"PUT")
#: Methods of changes, which only a primary makes. Any other one is for no index, and refused by any server.
CHANGING = (*SENDING, b"PATCH", b"DELETE")


def is_form(content_type: bytes | None) -> bool:
    """Whether a body with this Content-Type is a form that may hold a file."""
    return (content_type or b"").lower().lstrip().startswith(b"multipart/form-data")


def method_advice(
    method: bytes,
    segments: Sequence[bytes],
    content_type: bytes | None,
    *,
    read_only: bool,
    past: bool,
    uploads: bool,
    url: Callable[[], str],
) -> str:
    """
    Explain why a method is not allowed at a URL.

    Args:
        method: A method that the endpoint does not support.
        segments: As for `match_route`.
        content_type: The Content-Type field of the request.
        read_only: Whether the index has no store.
        past: Whether the URL is about the index as it was.
        uploads: Whether uploads are turned on.
        url: Returns the URL of the index as the client knows it.
    """
    if past:
        return _PAST
    if read_only:
        return _READ_ONLY
    endpoint = match_route(segments).endpoint
    sending = method in SENDING
    if endpoint is Endpoint.UPLOAD or (sending and is_upload_path(segments)):
        return _POST_HERE
    is_upload = endpoint in (Endpoint.NO_ROUTE, Endpoint.OPERATIONS) and is_form(content_type)
    if not sending or (segments[:1] == [b"-"] and not is_upload):
        return _NO_SUCH_METHOD
    return f"Upload to {url()}/legacy/ instead: this URL accepts no uploads." if uploads else UPLOADS_ARE_OFF
