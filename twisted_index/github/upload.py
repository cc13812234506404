"""
One file on its way to a release: where it is sent, its body, and an end for one that stalls.

Out of scope: what happens after a failure (see `publisher`).
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from twisted.web.http_headers import Headers

from twisted_index.errors import Conflict
from twisted_index.github.repository import Forge
from twisted_index.http_client.framed_body import FramedBody
from twisted_index.http_client.stall_guard import Stalled

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.github.api import GitHubAPI
    from twisted_index.github.model import Release
    from twisted_index.github.release_plan import OutgoingFile
    from twisted_index.github.repository import Repository


def upload_url(repository: Repository, release: Release) -> str:
    """
    Return the URL that receives the assets of a release, without a query.

    Raises:
        BadGateway: It is at a server that must not get the token: neither the API's own nor the one that
            GitHub has for uploads beside it.
    """
    if repository.forge is Forge.FORGEJO or not release.upload_url:
        return f"{repository.url}/releases/{release.id}/assets"
    return repository.own_url(release.upload_url)


async def upload(
    api: GitHubAPI,
    url: str,
    file: OutgoingFile,
    *,
    label: str,
    reactor: Any,
    advance: Callable[[int], None],
) -> Any:
    """
    Send a file, once; in memory are only the pieces that are on their way.

    Args:
        api: The API.
        url: See `upload_url`.
        file: The file.
        label: A label for the asset; empty for none. Forgejo has none.
        reactor: Twisted's reactor.
        advance: Called with the number of bytes of each piece.

    Returns:
        The API's answer.

    Raises:
        Conflict: The file has another size than before.
        SimpleIndexError: As from `GitHubAPI.send`.
    """
    query = {"name": file.name, **({"label": label} if label else {})}
    kind, before, after = b"application/octet-stream", b"", b""
    if api.repository.forge is Forge.FORGEJO:
        kind, before, after = _form(file.name)
    body = FramedBody(file.open(), file.size, before, after, reactor=reactor, advance=advance)
    sending = api.send(
        "POST",
        f"{url}?{urlencode(query)}",
        body=body.producer,
        headers=Headers({b"Content-Type": [kind]}),
    )
    try:
        return await body.guard.wait(sending)
    except Stalled:
        raise
    except Exception:
        if body.is_changed:
            raise Conflict(f"{file.name} has changed while it was uploaded.") from None
        raise
    finally:
        body.finish()


def _form(name: str) -> tuple[bytes, bytes, bytes]:
    """
    Return the media type of a form with one file (RFC 7578), and what is before and after the file.

    All versions of Forgejo and Gitea take it; a plain body only those since 2024.
    """
    boundary = secrets.token_hex(16)
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    before = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="attachment"; filename="{quoted}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    kind, after = f"multipart/form-data; boundary={boundary}", f"\r\n--{boundary}--\r\n"
    return kind.encode(), before.encode(), after.encode()
