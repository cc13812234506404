"""
Fast path: serves cached responses directly from the channel, without building a Request.

Taken only if the connection is otherwise idle, the request head is plain (see `request_head`), the client
may read what it requests, which is known without waiting, and the response is cached and current.
Everything else becomes a Request; both ways send the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted_index.http_semantics.conditional import weak_match
from twisted_index.interfaces import ANONYMOUS, StreamingContent
from twisted_index.web.responses.producers import CHUNK_SIZE
from twisted_index.web.responses.serialized import DateHeader
from twisted_index.web.server.request_head import HeadParser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted_index.config.settings import Limits
    from twisted_index.interfaces import FileBody, Identity
    from twisted_index.metrics.counters import Counters
    from twisted_index.web.dispatcher import Caches
    from twisted_index.web.requests.client_info import ClientInfoReader
    from twisted_index.web.responses.serialized import SerializedResponse
    from twisted_index.web.server.access_log import AccessLog
    from twisted_index.web.server.request_head import RequestHead


class FastChannel(Protocol):
    """A channel that awaits a request."""

    transport: Any

    def send_now(self, data: bytes) -> None:
        """Send a whole response."""


class FastPath:
    """
    The fast path of one site.

    Args:
        caches: Returns the cached responses that are current now.
        limits: Bound the length of URL and header.
        client_info: Reads the address of a client behind a proxy, for the access log, and its user.
    """

    def __init__(
        self,
        caches: Callable[[], Caches],
        *,
        limits: Limits,
        access_log: AccessLog | None,
        counters: Counters,
        client_info: ClientInfoReader,
    ) -> None:
        self._caches = caches
        self._heads = HeadParser(max_uri=limits.max_uri, max_header=limits.max_header)
        self._access_log = access_log
        self._count = counters.count
        self._client_info = client_info
        self._dates = DateHeader()

    def try_answer(self, channel: FastChannel, data: bytes) -> bool:
        """
        Respond to a request if a cached response will do.

        Args:
            channel: Awaits a request; nothing is parsed or handled.
            data: What it has received.

        Returns:
            False if nothing was sent and the channel has to parse the data.
        """
        transport = channel.transport
        if transport.disconnecting:
            return False
        began = self._access_log.clock() if self._access_log is not None else 0.0
        head = self._heads.parse(data)
        if head is None:
            return False
        found = self._find(head, transport)
        if found is None:
            return False
        reader, response, body = found
        status, fields = response.status, head.fields
        etags = fields.if_none_match
        if etags is not None and response.etag is not None and weak_match(etags, response.etag):
            status, body = 304, b""
            parts: tuple[bytes, ...] = (
                response.head_304_before_date,
                self._dates.now(),
                response.head_304_after_date,
            )
        elif head.method == b"HEAD":
            body = b""
            parts = (response.head_before_date, self._dates.now(), response.head_after_date)
        elif len(body) > CHUNK_SIZE:
            return False
        else:
            parts = (response.head_before_date, self._dates.now(), response.head_after_date, body)
        channel.send_now(b"".join(parts))
        self._count(head.method, status, len(body))
        if self._access_log is not None:
            self._access_log.write_entry(
                self._client(transport.getPeer(), fields.forwarded),
                b"%s %s HTTP/1.1" % (head.method, head.path),
                status,
                len(body),
                fields.referrer,
                fields.agent,
                began=began,
                user="-" if reader is ANONYMOUS else reader.name,
            )
        return True

    def _client(self, peer: Any, forwarded: Mapping[bytes, bytes]) -> Any:
        """Return the address for the log: that of the client behind a trusted proxy."""
        if not forwarded:
            return peer

        def fields(name: bytes) -> list[bytes] | None:
            value = forwarded.get(name.lower())
            return None if value is None else [value]

        return self._client_info.client_behind(peer, fields) or peer

    def _find(self, head: RequestHead, transport: Any) -> tuple[Identity, SerializedResponse, bytes] | None:
        """Return the client, the response without its body, and the body; None unless all are known."""
        caches, page, fields = self._caches(), head.page, head.fields
        if page is None:
            return self._find_file(caches, head, transport)
        # First: a client that may not read a name must not learn from the time taken whether it exists.
        user = None
        if fields.remote_user is not None:
            user = self._client_info.user_behind(transport.getPeer(), (fields.remote_user,))
        reader = caches.authorizer.reader(page, fields.credentials, user)
        if reader is None:
            return None
        cached = caches.pages.get(page, fields.representation) or caches.absent.get(page, fields.document)
        if cached is None:
            return None
        response = cached.forms.public if reader is ANONYMOUS else cached.forms.private
        return reader, response, response.body

    def _find_file(
        self, caches: Caches, head: RequestHead, transport: Any
    ) -> tuple[Identity, SerializedResponse, bytes] | None:
        file, fields = caches.files.get(head.path), head.fields
        if file is None:
            return None
        user = None
        if fields.remote_user is not None:
            user = self._client_info.user_behind(transport.getPeer(), (fields.remote_user,))
        reader = caches.authorizer.reader(file.project, fields.credentials, user)
        if reader is None:
            return None
        body = file.reopen()
        if body is None:
            caches.files.drop(head.path)
            return None
        content = _read(body)
        if len(content) != body.size:
            return None
        return reader, file.forms.public if reader is ANONYMOUS else file.forms.private, content


def _read(body: FileBody) -> bytes:
    if isinstance(body.content, bytes):
        return body.content
    if isinstance(body.content, StreamingContent):
        return b""
    with body.content as file:
        return file.read(body.size)
