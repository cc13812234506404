"""
Fast path: serves cached responses directly from the channel, without building a Request.

Taken only if the connection is otherwise idle, the request head is plain (see `request_head`), the client
may read what it requests, which is known without waiting, and the response is cached and current.
Everything else becomes a Request; both ways send the same bytes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from twisted.web.http import datetimeToString

from twisted_index.http_semantics.conditional import weak_match
from twisted_index.interfaces import ANONYMOUS, StreamingContent
from twisted_index.web.responses.producers import CHUNK_SIZE
from twisted_index.web.server.log_formats import CombinedFormat
from twisted_index.web.server.request_head import HeadParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.config.settings import Limits
    from twisted_index.indexes.scope import Scope
    from twisted_index.interfaces import FileBody, Identity
    from twisted_index.metrics.counters import Counters
    from twisted_index.metrics.wanted import Askers
    from twisted_index.statistics.downloads import Downloads
    from twisted_index.web.dispatcher import Caches
    from twisted_index.web.requests.client_info import ClientInfoReader
    from twisted_index.web.responses.serialized import SerializedResponse
    from twisted_index.web.server.access_log import AccessLog
    from twisted_index.web.server.request_head import HeadFields, RequestHead

#: Whole responses that are kept for a second, and the bytes of each: 1 MB at most.
_MAX_WHOLES, _MAX_WHOLE = 64, 1 << 14


class FastChannel(Protocol):
    """A channel that awaits a request."""

    transport: Any

    @property
    def peer(self) -> Any:
        """The address of the client, as the transport has it."""

    def send_now(self, data: bytes, now: float) -> None:
        """Send a whole response."""

    def loseConnection(self) -> None:
        """Close when it is sent."""


class FastPath:
    """
    The fast path of one site.

    Args:
        caches: Returns the cached responses of a scope that are current now; None if that is not known.
        reactor: The clock.
        limits: Bound the length of URL and header.
        client_info: Reads the address of a client behind a proxy, for the access log, and its user.
        downloads: Counts downloads; None counts none.
    """

    def __init__(
        self,
        caches: Callable[[Scope], Caches | None],
        *,
        reactor: IReactorTime,
        limits: Limits,
        access_log: AccessLog | None,
        counters: Counters,
        client_info: ClientInfoReader,
        downloads: Downloads | None = None,
    ) -> None:
        self._caches = caches
        self._seconds = reactor.seconds
        self._heads = HeadParser(
            max_uri=limits.max_uri,
            max_header=limits.max_header,
            log_format=CombinedFormat() if access_log is None else access_log.format,
            user_fields=client_info.user_fields,
        )
        self._access_log = access_log
        self._count = counters.count
        self._notice = counters.wanted.notice
        self._client_info = client_info
        self._count_download = None if downloads is None else downloads.count
        self._second = -1
        self._date = b""
        #: Whole responses with the date of this second.
        self._wholes: dict[SerializedResponse, bytes] = {}

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
        now = self._seconds()
        head = self._heads.parse(data)
        if head is None:
            return False
        found = self._find(head, channel)
        if found is None:
            return False
        reader, response, body, askers, index = found
        if int(now) != self._second:
            self._begin_second(int(now))
        whole = self._wholes.get(response) if head.is_plain_get else None
        status, size = response.status, len(body)
        if whole is None:
            made = self._serialize(head, response, body)
            if made is None:
                return False
            status, size, whole = made
        channel.send_now(whole, now)
        self._count(head.method, status, size, head.kind)
        download = head.download
        if download is not None and status == 200:
            count = download.count
            if now < count.until:
                count.number += 1
            elif self._count_download is not None:
                client, name = head.fields.client, download.filename
                download.count = self._count_download(index, head.project, name, client, now)
        interpreter = head.interpreter
        if interpreter is not None and askers is not None:
            # What `notice` does; nearly always without a call.
            tally = askers.tallies.get(interpreter)
            if tally is not None and now < tally.until:
                tally.count += 1
                tally.last = now
            else:
                self._notice(head.project, interpreter, askers, now)
        if self._access_log is not None:
            self._log(head, channel, reader, status, size, now)
        if head.fields.closes:
            channel.loseConnection()
        return True

    def _begin_second(self, second: int) -> None:
        self._second = second
        self._date = datetimeToString(time.time())
        self._wholes.clear()

    def _serialize(
        self, head: RequestHead, response: SerializedResponse, body: bytes
    ) -> tuple[int, int, bytes] | None:
        """Return status, bytes of the body, and the whole; None if a slow reader should share the body."""
        fields, status = head.fields, response.status
        etags = fields.if_none_match
        before, after = response.head_before_date, response.head_after_date
        if etags is not None and response.etag is not None and weak_match(etags, response.etag):
            status, body = 304, b""
            before, after = response.head_304_before_date, response.head_304_after_date
        elif head.method == b"HEAD":
            body = b""
        elif len(body) > CHUNK_SIZE:
            return None
        if fields.closes:
            # Where Twisted's Request has it.
            before = before.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        whole = b"".join((before, self._date, after, body))
        if head.is_plain_get and len(whole) <= _MAX_WHOLE and len(self._wholes) < _MAX_WHOLES:
            # A file's body does not change as long as its response is cached.
            self._wholes[response] = whole
        return status, len(body), whole

    def _log(
        self, head: RequestHead, channel: FastChannel, reader: Identity, status: int, size: int, began: float
    ) -> None:
        assert self._access_log is not None
        fields = head.fields
        self._access_log.write_entry(
            self._client(channel.peer, fields) if fields.forwarded else channel.peer,
            head.logged,
            status,
            size,
            fields.logged,
            began=began,
            user="-" if reader is ANONYMOUS else reader.name,
        )

    def _client(self, peer: Any, fields: HeadFields) -> Any:
        """Return the address for the log: that of the client behind a trusted proxy."""
        return self._client_info.client_behind(peer, fields.forwarded.get) or peer

    def _find(
        self, head: RequestHead, channel: FastChannel
    ) -> tuple[Identity, SerializedResponse, bytes, Askers | None, str] | None:
        """
        Return the client, the response, its body, the askers of its page, and the name of the index.

        None unless all is known.
        """
        page, fields = head.page, head.fields
        if page is None and not head.project:
            return None
        caches = self._caches(head.scope)
        if caches is None:
            return None
        # First: a client that may not read a name must not learn from the time taken whether it exists.
        stated = fields.stated_user
        user = self._client_info.user_behind(channel.peer, stated.get) if stated else None
        reader = caches.authorizer.reader(head.project, fields.credentials, user)
        if reader is None:
            return None
        if page is None:
            return _find_file(caches, head.path, reader)
        cached = caches.pages.get(page, fields.representation) or caches.absent.get(page, fields.document)
        if cached is None:
            return None
        response = cached.forms.public if reader is ANONYMOUS else cached.forms.private
        return reader, response, response.body, cached.askers, caches.index


def _find_file(
    caches: Caches, path: bytes, reader: Identity
) -> tuple[Identity, SerializedResponse, bytes, None, str] | None:
    files = caches.files
    file = files.get(path)
    body = None if file is None else file.reopen()
    if file is None or body is None:
        files.drop(path)
        return None
    content = body.content if type(body.content) is bytes else _read(body)
    if len(content) != body.size:
        return None
    response = file.forms.public if reader is ANONYMOUS else file.forms.private
    return reader, response, content, None, caches.index


def _read(body: FileBody) -> bytes:
    if isinstance(body.content, (bytes, StreamingContent)):
        return b""
    with body.content as file:
        return file.read(body.size)
