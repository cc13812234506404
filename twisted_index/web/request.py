"""
One request, with what Twisted's own lacks.

It minds its Host field, is logged when its client is gone, and passes on the body of an upload as
it arrives.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure
from twisted.web.server import Request

from twisted_index.errors import BadRequest
from twisted_index.web.channel import IndexChannel
from twisted_index.web.respond import field, respond
from twisted_index.web.sentences import error_response
from twisted_index.web.uploadbody import UploadBody

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from twisted_index.web.response import Response
    from twisted_index.web.upload import Uploads
    from twisted_index.web.uploadreceiver import Receiver

_ABSOLUTE_FORM = re.compile(rb"(?i:https?)://(?P<authority>[^/?#]*)(?P<path>.*)")
#: What can stand in a Host field at all (RFC 3986 sections 3.2.2 and 3.2.3).
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")

#: Bytes of a refused body that are read to its end, so that its connection can be used again.
_READ_ON = 1 << 20
#: Seconds for which more of it is read and dropped over HTTP/2, where no answer may come before its end.
_DROP = 30.0


class IndexRequest(Request):
    """A request to an `IndexSite`."""

    channel: Any
    began = 0.0
    #: Bytes of the body, as its sender says; None if that is not said.
    body_length: int | None = None
    #: Whoever receives the upload that this is.
    receiver: Receiver | None = None
    _body: UploadBody | None = None
    _looked = False
    _expecting = False
    _cut: IDelayedCall | None = None

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Note the time, for the log, and leave forms alone."""
        self.began = self._now()
        if self._body is not None:
            self._body.ended()
        # A form is read by whoever takes it. Twisted would read any that comes, by the parser that it
        # has for mail, before anything is known of who sends it: it does so only at the end of a body.
        assert self.content is not None
        self.content.seek(0)
        super().requestReceived(command, self._origin_form(path), version)

    def _now(self) -> float:
        return self.channel.factory.reactor.seconds() if self.channel is not None else 0.0

    def _origin_form(self, target: bytes) -> bytes:
        """
        Give the path of a target that is a whole URL, as proxies send it (RFC 9112 section 3.2.2).

        Its authority takes the place of the Host field.
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
            error = BadRequest("A request needs one Host field with a host in it.")
            respond(self, error_response(error, field(self, b"Accept")))
        else:
            super().process()

    def connectionLost(self, reason: Failure) -> None:
        """Log what was asked and not answered to its end."""
        if not self.finished and self.startedWriting and self.channel is not None:
            self.channel.factory.log(self, aborted=True)
        super().connectionLost(reason)

    # -- Bodies. Over HTTP/2 the length may come before other fields, so that is decided at the first piece.

    @property
    def uploading(self) -> bool:
        """Whether the body of an upload is on its way."""
        return self._body is not None and not self._body.over

    def gotLength(self, length: int | None) -> None:
        """Begin with an upload before its body is asked for, where the client waits for that."""
        super().gotLength(length)
        self.body_length = length
        if length != 0 and isinstance(self.channel, IndexChannel):
            self._look(self.channel._command, self.channel._path)

    def handleContentChunk(self, data: bytes) -> None:
        """Pass on a piece of an upload; of other bodies the site says where they go."""
        if not self._looked:
            self._look(self.channel.command, self.channel.path)
        if self._body is not None:
            self._body.arrived(data)
        else:
            super().handleContentChunk(data)

    def _look(self, command: bytes, target: bytes) -> None:
        """Find out whether this is an upload, and begin with it."""
        self._looked = True
        uploads: Uploads | None = self.channel.factory.uploads
        if uploads is None or not uploads.takes(command, target, field(self, b"Content-Type")):
            return
        expected = field(self, b"Expect")
        if isinstance(self.channel, IndexChannel) and expected is not None:
            # Twisted would ask for the body at once, whoever sends it.
            self._expecting = expected.lower() == b"100-continue" and self.channel._version == b"HTTP/1.1"
            self.requestHeaders.removeHeader(b"Expect")
        factory = self.channel.factory
        self._body = UploadBody(
            factory.reactor,
            stall=factory.limits.upload_stall_timeout,
            hold=self._hold,
            release=self._release,
            stalled=self._stalled,
        )
        self.receiver = uploads.begin(self, self._body, self._refuse)
        self.notifyFinish().addBoth(self._end_upload)
        self.receiver.start()

    def _end_upload(self, outcome: object) -> None:
        assert self._body is not None
        assert self.receiver is not None
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
        if not self._body.over:
            self._body.lost()
        self.receiver.close()

    # -- Holding the connection

    def _hold(self) -> None:
        if isinstance(self.channel, IndexChannel):
            self.channel._networkProducer.pauseProducing()
        else:
            # A stream whose window is not opened again: its client may send 64 KiB more.
            self.channel.pauseProducing()

    def _release(self) -> None:
        if isinstance(self.channel, IndexChannel):
            self.channel._networkProducer.resumeProducing()
        else:
            self.channel.resumeProducing()

    def _stalled(self) -> None:
        if isinstance(self.channel, IndexChannel):
            self.channel.refuse_stalled()
        else:
            self._abort_stream()

    # -- Answering before the body has come

    def admitted(self) -> None:
        """Ask for the body, if the client waits for that (RFC 9110 section 10.1.1)."""
        if self._expecting:
            self._expecting = False
            if self.uploading and self.channel is not None:
                self.channel._send100Continue()

    def _refuse(self, response: Response) -> None:
        """
        See to it that a client hears that its upload is refused, however much of it is still to come.

        One that closes while a client still sends makes it see a reset instead of the answer (RFC 9112
        section 9.6). So a small rest is read, and with a large one the answer is sent while what still
        comes is dropped.
        """
        if self._body is None or self._body.over:
            return
        rest = self.body_length
        at_once = self._expecting or (rest is not None and rest > _READ_ON)
        self._body.discard(-1 if at_once else _READ_ON, lambda: self._answer_soon(response))

    def _answer_soon(self, response: Response) -> None:
        reactor = self.channel.factory.reactor
        if isinstance(self.channel, IndexChannel):
            # Not now: the channel may be in the middle of this very body.
            self._cut = reactor.callLater(0, self._answer_early, response)
        else:
            self._cut = reactor.callLater(_DROP, self._abort_stream)

    def _answer_early(self, response: Response) -> None:
        self._cut = None
        if not self.uploading or self.channel is None:
            return
        channel = self.channel
        self.began = self._now()
        self.method, self.uri, self.clientproto = channel._command, channel._path, channel._version
        self.path = self.uri.partition(b"?")[0]
        self.args = {}
        channel.persistent = False
        self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        respond(self, response, channel.factory.uploads.always)

    def _abort_stream(self) -> None:
        self._cut = None
        if self.channel is not None and not self.finished:
            self.channel.abortConnection()
            self.connectionLost(Failure(ConnectionAborted()))
