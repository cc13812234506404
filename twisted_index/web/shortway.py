"""
Answers plain requests straight from the bytes that came to the bytes that leave, without a Request.

Taken only when nothing else is going on on the connection, the head is plain (`head`), and the
answer is prepared and true. Everything else goes the ordinary way, and both give the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted_index.http_rules.conditional import matches_weakly
from twisted_index.interfaces import Arriving
from twisted_index.web.head import HeadReader
from twisted_index.web.metrics import Counters
from twisted_index.web.producers import PIECE, PLAIN_TRANSPORTS
from twisted_index.web.wire import Dates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_index.interfaces import FileBody
    from twisted_index.settings import Limits
    from twisted_index.web.accesslog import AccessLog
    from twisted_index.web.channel import IndexChannel
    from twisted_index.web.head import Head
    from twisted_index.web.origin import Origins
    from twisted_index.web.prepared import PreparedAnswers
    from twisted_index.web.readyfiles import ReadyFiles
    from twisted_index.web.wire import Wire


class ShortWay:
    """
    The short way of one site.

    Args:
        pages: Prepared answers of the project list (under the empty key) and of project pages.
        absent: Prepared sentences for projects that are not there.
        files: Small files.
        limits: For the length of what is read.
        access_log: Where requests are written; None for nowhere.
        counters: Where they are counted; those of the site.
        origins: Knows who is behind a proxy, for the log.
        transports: By exact type, those whose socket takes the bytes as they are.
    """

    def __init__(
        self,
        pages: PreparedAnswers,
        absent: PreparedAnswers,
        files: ReadyFiles,
        *,
        limits: Limits,
        access_log: AccessLog | None = None,
        counters: Counters | None = None,
        origins: Origins | None = None,
        transports: tuple[type, ...] = PLAIN_TRANSPORTS,
    ) -> None:
        self._pages = pages
        self._absent = absent
        self._files = files
        self._heads = HeadReader(max_uri=limits.max_uri, max_header=limits.max_header)
        self._access_log = access_log
        self._count = (counters or Counters()).count
        self._origins = origins
        self.transports = transports
        self._dates = Dates()

    def answer(self, channel: IndexChannel, data: bytes) -> bool:
        """
        Answer a request, if that can be done here.

        Args:
            channel: Waiting for a request, with nothing read or being answered.
            data: All that has come.

        Returns:
            False if nothing was done, and the ordinary way is to be gone.
        """
        transport = channel.transport
        if type(transport) not in self.transports or transport.disconnecting:
            return False
        began = self._access_log.clock() if self._access_log is not None else 0.0
        head = self._heads.read(data)
        if head is None:
            return False
        wire, body = self._find(head)
        if wire is None:
            return False
        status = wire.status
        wanted = head.fields.if_none_match
        if wanted is not None and wire.etag is not None and matches_weakly(wanted, wire.etag):
            status, body = 304, b""
            parts: tuple[bytes, ...] = (wire.before_304, self._dates.now(), wire.after_304)
        elif head.method == b"HEAD":
            body = b""
            parts = (wire.before, self._dates.now(), wire.after)
        elif len(body) > PIECE:
            return False
        else:
            parts = (wire.before, self._dates.now(), wire.after, body)
        channel.send_at_once(b"".join(parts))
        self._count(head.method, status, len(body))
        if self._access_log is not None:
            line = b"%s %s HTTP/1.1" % (head.method, head.path)
            fields = head.fields
            self._access_log.note(
                self._client(transport.getPeer(), fields.forwarded),
                line,
                status,
                len(body),
                fields.referrer,
                fields.agent,
                began=began,
            )
        return True

    def _client(self, peer: Any, forwarded: Mapping[bytes, bytes]) -> Any:
        """Give the address for the log: the one behind a proxy, where there is one."""
        if self._origins is None or not forwarded:
            return peer

        def fields(name: bytes) -> list[bytes] | None:
            value = forwarded.get(name.lower())
            return None if value is None else [value]

        return self._origins.client_behind(peer, fields) or peer

    def _find(self, head: Head) -> tuple[Wire | None, bytes]:
        page = head.page
        if page is None:
            return self._find_file(head.path)
        fields = head.fields
        ready = self._pages.ready(page, fields.form) or self._absent.ready(page, fields.document)
        return (None, b"") if ready is None else (ready.wire, ready.wire.body)

    def _find_file(self, path: bytes) -> tuple[Wire | None, bytes]:
        ready = self._files.find(path)
        if ready is None:
            return None, b""
        body = ready.reopen()
        if body is None:
            self._files.drop(path)
            return None, b""
        content = _read(body)
        return (ready.wire, content) if len(content) == body.size else (None, b"")


def _read(body: FileBody) -> bytes:
    if isinstance(body.content, bytes):
        return body.content
    if isinstance(body.content, Arriving):
        return b""
    with body.content as file:
        return file.read(body.size)
