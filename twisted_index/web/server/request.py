"""Request that checks Host, logs aborted responses, and streams the bodies of uploads as they arrive."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure
from twisted.web.server import Request

from twisted_index.errors import BadRequest
from twisted_index.web.requests.method_advice import is_form
from twisted_index.web.requests.routes import path_segments
from twisted_index.web.responses.error_pages import error_response
from twisted_index.web.responses.send import header, send_response
from twisted_index.web.server.channel import IndexChannel
from twisted_index.web.uploads.body_stream import BodyStream

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from twisted_index.metrics.counters import Kind
    from twisted_index.web.responses.response import Headers, Response
    from twisted_index.web.uploads.receiver import ReceivesBody

_ABSOLUTE_FORM = re.compile(rb"(?i:https?)://(?P<authority>[^/?#]*)(?P<path>.*)")
#: The characters of a Host field (RFC 3986 sections 3.2.2 and 3.2.3).
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")

#: Bytes up to which the rest of a refused body is read, so that its connection can be reused.
_DRAINED_REST = 1 << 20


class IndexRequest(Request):
    """A request to an `IndexSite`."""

    channel: Any
    began = 0.0
    #: What it is counted as; the dispatcher sets it.
    kind: Kind = "other"
    #: The index, project and name of the distribution that it is for; its view sets it. None for all else.
    download: tuple[str, str, str] | None = None
    #: The Content-Length of the body; None without one.
    body_length: int | None = None
    #: Receives the body of an upload; None for other requests.
    receiver: ReceivesBody | None = None
    _body: BodyStream | None = None
    _detected = False
    _expects_continue = False
    _early_response: IDelayedCall | None = None
    _upload_headers: Headers = ()
    _deadline: IDelayedCall | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: When its first line was received.
        self.arrived = self._now()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Start the clock of the log, and keep Twisted from parsing a form."""
        self.began = self._now()
        self._cancel_deadline()
        if self._body is not None:
            self._body.finished()
        # Twisted would parse any form, with the standard library's parser for mail and before the client
        # is authorized; but it parses from here to the end of the body.
        assert self.content is not None
        self.content.seek(0)
        super().requestReceived(command, self._origin_form(path), version)

    def _now(self) -> float:
        return self.channel.factory.reactor.seconds() if self.channel is not None else 0.0

    def _origin_form(self, target: bytes) -> bytes:
        """
        Return the path of a target in absolute form, as proxies send it (RFC 9112 section 3.2.2).

        Its authority replaces the Host field.
        """
        match = _ABSOLUTE_FORM.fullmatch(target)
        if match is None:
            return target
        self.requestHeaders.setRawHeaders(b"Host", [match["authority"]])
        return match["path"] if match["path"].startswith(b"/") else b"/" + match["path"]

    def process(self) -> None:
        """Refuse a request without exactly one Host (RFC 9112 section 3.2)."""
        hosts = self.requestHeaders.getRawHeaders(b"Host") or []
        missing = not hosts and self.clientproto == b"HTTP/1.1"
        if missing or len(hosts) > 1 or not all(map(_HOST.fullmatch, hosts)):
            error = BadRequest("A request needs exactly one Host field, with a valid host.")
            send_response(
                self, error_response(error, header(self, b"Accept")), self.channel.factory.common_headers
            )
        else:
            super().process()

    def connectionLost(self, reason: Failure) -> None:
        """Log a response that the client did not wait for."""
        if not self.finished and self.startedWriting and self.channel is not None:
            self.channel.factory.log(self, aborted=True)
        self._cancel_deadline()
        super().connectionLost(reason)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    # -- Bodies. Over HTTP/2, Content-Length may precede other fields: so the first piece detects uploads.

    @property
    def is_uploading(self) -> bool:
        """Whether the body of an upload is arriving."""
        return self._body is not None and not self._body.is_finished

    def gotLength(self, length: int | None) -> None:
        """Start an upload before its body, which a client may send only after 100 (Continue)."""
        super().gotLength(length)
        self.body_length = length
        if not isinstance(self.channel, IndexChannel):
            # Streams need a deadline of their own: any frame of the connection resets Twisted's timer.
            self._deadline = self.channel.factory.reactor.callLater(
                self.channel.factory.limits.header_timeout, self._abort_stream
            )
        elif length != 0:
            command, target, _version = self.channel.request_line
            self._detect_upload(command, target)

    def handleContentChunk(self, data: bytes) -> None:
        """Pass on a piece of an upload; other bodies go to the file of `IndexSite.getContentFile`."""
        if not self._detected:
            self._detect_upload(self.channel.command, self.channel.path)
        if self._body is not None:
            self._body.data_received(data)
        else:
            super().handleContentChunk(data)

    def _detect_upload(self, command: bytes, target: bytes) -> None:
        """Start receiving the body if this is an upload."""
        self._detected = True
        channel, factory = self.channel, self.channel.factory
        if command != b"POST" or not is_form(header(self, b"Content-Type")):
            return
        self.uri = self._origin_form(target)
        found = factory.upload_at(self, path_segments(self.uri))
        if found is None:
            return
        uploads, misplaced = found
        self._cancel_deadline()
        # Over HTTP/2 the stream's window stays closed in a pause: its client may still send 64 KiB.
        producer, stalled = channel, self._abort_stream
        if isinstance(channel, IndexChannel):
            producer, stalled = channel.network_producer, channel.refuse_stalled
            expected = header(self, b"Expect") or b""
            self._expects_continue = (
                expected.lower() == b"100-continue" and channel.request_line[2] == b"HTTP/1.1"
            )
            # Twisted would send 100 (Continue) before the client is authorized.
            self.requestHeaders.removeHeader(b"Expect")
        self._body = BodyStream(
            factory.reactor,
            stall=factory.limits.upload_stall_timeout,
            pause=producer.pauseProducing,
            resume=producer.resumeProducing,
            on_stalled=stalled,
        )
        self.kind = "upload"
        self._upload_headers = uploads.common_headers
        self.receiver = uploads.start(self, self._body, self._refuse, misplaced)
        self.notifyFinish().addBoth(self._end_upload)
        self.receiver.start()

    def _end_upload(self, outcome: object) -> None:
        assert self._body is not None
        assert self.receiver is not None
        if self._early_response is not None:
            self._early_response.cancel()
            self._early_response = None
        if not self._body.is_finished:
            self._body.connection_lost()
        self.receiver.close()

    # -- Responding before the body has arrived

    def on_admitted(self) -> None:
        """Send 100 (Continue) if the client waits for it (RFC 9110 section 10.1.1)."""
        if self._expects_continue:
            self._expects_continue = False
            if self.is_uploading and self.channel is not None:
                self.channel.send_continue()

    def _refuse(self, response: Response) -> None:
        """
        Send the response to a rejected upload whose body is still arriving.

        Closing while the client sends would reset the connection and lose the response (RFC 9112 section
        9.6). So a small rest is read first; with a large one the response is sent at once and the rest
        is dropped as it arrives, within the time limit of other bodies.
        """
        if self._body is None or self._body.is_finished:
            return
        seconds = self.channel.factory.limits.header_timeout
        if not isinstance(self.channel, IndexChannel):
            # Over HTTP/2, Twisted sends no response before the end of a body.
            self._body.discard(math.inf, seconds, self._abort_stream)
            return
        self.channel.linger_until(self._now() + seconds)
        length = self.body_length
        at_once = self._expects_continue or (length is not None and length > _DRAINED_REST)
        self._body.discard(-1 if at_once else _DRAINED_REST, seconds, lambda: self._respond_soon(response))

    def finish_rejected(self) -> bool:
        """Respond now to a refused upload whose rest is being read; return whether this is one."""
        return self._early_response is not None or (self._body is not None and self._body.end_discarding())

    def _respond_soon(self, response: Response) -> None:
        # Not now: the channel may be in the middle of parsing this very body.
        self._early_response = self.channel.factory.reactor.callLater(0, self._respond_early, response)

    def _respond_early(self, response: Response) -> None:
        self._early_response = None
        if not self.is_uploading or self.channel is None:
            return
        channel = self.channel
        self.began = self._now()
        self.method, self.uri, self.clientproto = channel.request_line
        self.path = self.uri.partition(b"?")[0]
        self.args = {}
        channel.persistent = False
        self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        send_response(self, response, self._upload_headers)

    def _abort_stream(self) -> None:
        if self.channel is not None and not self.finished:
            self.channel.abortConnection()
            self.connectionLost(Failure(ConnectionAborted()))
