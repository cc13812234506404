"""
One file on its way to a release: where it is sent, its body, and an end for one that stalls.

Out of scope: what happens after a failure (see `publisher`).
"""

from __future__ import annotations

import io
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from twisted.internet.defer import CancelledError, Deferred
from twisted.web.http_headers import Headers

from twisted_index.errors import Conflict
from twisted_index.github.repository import Forge
from twisted_index.http_client.file_body import FileRequestBody
from twisted_index.http_client.retry import TemporaryFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.github.api import GitHubAPI
    from twisted_index.github.model import Release
    from twisted_index.github.release_plan import OutgoingFile
    from twisted_index.github.repository import Repository

#: Seconds in which not one piece of a body could be sent, or after its end no response has come: GitHub
#: computes the digest of a file before it responds.
_STALLED = 180.0


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
    body = _Body(file, before, after, reactor, advance)
    sending = Deferred.fromCoroutine(
        api.send(
            "POST",
            f"{url}?{urlencode(query)}",
            body=body.producer,
            headers=Headers({b"Content-Type": [kind]}),
        )
    )
    body.on_stalled = sending.cancel
    try:
        return await sending
    except CancelledError:
        if body.is_stalled:
            raise TemporaryFailure("The upload stalled.") from None
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


class _Body:
    """
    The body of a request: a file between two other pieces.

    Args:
        file: The file.
        before: What is sent before it.
        after: What is sent after it.
        reactor: Twisted's reactor.
        advance: Called with the number of bytes of each piece of the file.

    Attributes:
        producer: What sends it.
        on_stalled: Called when nothing could be sent for a while.
        is_stalled: Whether it was called.
        is_changed: Whether the file has another size than expected.
    """

    def __init__(
        self, file: OutgoingFile, before: bytes, after: bytes, reactor: Any, advance: Callable[[int], None]
    ) -> None:
        self.on_stalled: Callable[[], object] = lambda: None
        self.is_stalled = self.is_changed = False
        self._file = file.open()
        self._left = file.size
        self._before, self._after = io.BytesIO(before), io.BytesIO(after)
        self._advance = advance
        self._timer = reactor.callLater(_STALLED, self._stall)
        self.producer = FileRequestBody(self, len(before) + file.size + len(after), reactor)

    def read(self, size: int) -> bytes:
        """Return the next piece, for the producer."""
        if self._timer.active():
            self._timer.reset(_STALLED)
        return self._before.read(size) or self._read_file(size) or self._after.read(size)

    def _read_file(self, size: int) -> bytes:
        piece = self._file.read(min(size, self._left))
        self._left -= len(piece)
        self.is_changed = self._left > 0 and not piece
        if self.is_changed:
            raise EOFError
        self._advance(len(piece))
        return piece

    def _stall(self) -> None:
        self.is_stalled = True
        self.on_stalled()

    def close(self) -> None:
        """Close the file; the producer calls it at the end of the body."""
        self._file.close()

    def finish(self) -> None:
        """Send no more, also if the response came before the end of the body, and wait no longer."""
        self.producer.stop()
        self.close()
        if self._timer.active():
            self._timer.cancel()
