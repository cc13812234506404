"""
Uploads of twine, uv and other clients (the legacy upload API of PyPI).

Whatever the header of a request decides is decided before the body is read. Out of scope: the content of
a form (see `multipart_form`, `validation`), publishing (see `IStore`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import parse_qs

from twisted.internet.defer import Deferred, succeed

from twisted_index.errors import ContentTooLarge, Forbidden, SimpleIndexError, UnsupportedMediaType
from twisted_index.events.webhooks import FileUploaded
from twisted_index.interfaces import Action
from twisted_index.metrics.counters import Counters, Outcome
from twisted_index.web.requests.context import MAX_SMALL_BODY
from twisted_index.web.requests.method_advice import NO_XML_RPC, UPLOADS_ARE_OFF, is_form, is_xml_rpc
from twisted_index.web.responses.send import header
from twisted_index.web.uploads.multipart_form import MAX_FORM_OVERHEAD, parse_boundary, too_large
from twisted_index.web.uploads.receiver import Admission, Receiver
from twisted_index.web.uploads.responses import accepted, rejected
from twisted_index.web.uploads.slots import PARALLEL_UPLOADS, UploadSlots
from twisted_index.web.uploads.validation import check_action

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.web.server import Request

    from twisted_index.config.settings import UploadSettings
    from twisted_index.interfaces import IStore
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.client_info import ClientInfoReader
    from twisted_index.web.requests.context import RequestContext
    from twisted_index.web.responses.response import Headers, Response
    from twisted_index.web.uploads.body_stream import BodyStream
    from twisted_index.web.uploads.receiver import ChunkSource, Published

_READ = 1 << 18


class UploadView:
    """
    Takes uploads into a store.

    Args:
        store: Where files go; None if uploads are turned off.
        authorizer: Says who may do what.
        client_info: Knows where requests come from.
        settings: What may be uploaded.
        common_headers: Fields that every answer has, for those that are given before there is a resource.
        counters: Where uploads are counted.
        on_uploaded: Is called with each new file, and returns at once.
        on_rejected: Is called with project, file name and reason of each file that was not taken.
        slots: Bounds the number of concurrent uploads.

    Attributes:
        settings: As given.
    """

    def __init__(
        self,
        store: IStore | None,
        authorizer: Authorizer,
        client_info: ClientInfoReader,
        *,
        settings: UploadSettings,
        common_headers: Headers = (),
        counters: Counters | None = None,
        on_uploaded: Callable[[FileUploaded], None] | None = None,
        on_rejected: Callable[[str, str, str], None] | None = None,
        slots: UploadSlots | None = None,
    ) -> None:
        self._store = store
        self._authorizer = authorizer
        self._client_info = client_info
        self.settings = settings
        self.common_headers = common_headers
        self.counters = counters or Counters()
        self._told = on_uploaded
        self._tell_refused = on_rejected
        self.slots = slots or UploadSlots(PARALLEL_UPLOADS)

    def start(
        self,
        request: Request,
        body: BodyStream,
        on_rejected: Callable[[Response], None],
        misplaced: SimpleIndexError | None = None,
    ) -> Receiver:
        """
        Begin to receive a body that has begun to come.

        Args:
            request: All of its header fields are there.
            body: Its bytes.
            on_rejected: Called if it is refused before the body has come to its end.
            misplaced: Why nothing is taken at its URL, if that is known already.
        """
        accept = header(request, b"Accept")

        def refuse(error: SimpleIndexError) -> None:
            # Here, since one that is answered before its body has come never gets to `answer`.
            self._note_refused(receiver, error)
            on_rejected(rejected(error, accept))

        receiver = self._receiver(request, body, refuse, misplaced)
        return receiver

    async def answer(self, context: RequestContext) -> Response:
        """Publish an upload, whose body may have begun to arrive long before."""
        request = context.request
        receiver: Receiver | None = getattr(request, "receiver", None)
        try:
            if receiver is None:
                # Not our own request: Twisted has put the body somewhere.
                receiver = self._receiver(request, _BufferedBody(request.content))
                receiver.start()
            published = await receiver.publish(_asked_action(request))
        except SimpleIndexError as error:
            self._note_refused(receiver, error)
            return rejected(error, header(request, b"Accept"))
        self.counters.count_upload(Outcome.ACCEPTED if published.new else Outcome.UNCHANGED, published.size)
        if published.new and self._told is not None:
            self._told(_new_file(published))
        return accepted(published.distribution.filename, published.new)

    def _note_refused(self, receiver: Receiver | None, error: SimpleIndexError) -> None:
        """Count a file that was not taken, once, and tell of it if it is known which."""
        if receiver is not None and receiver.counted:
            return
        if receiver is not None:
            receiver.counted = True
        self.counters.count_upload(Outcome.REFUSED if error.status < 500 else Outcome.FAILED)
        file = None if receiver is None else receiver.distribution
        if file is not None and self._tell_refused is not None:
            self._tell_refused(file.project, file.filename, error.message)

    def _receiver(
        self,
        request: Request,
        body: ChunkSource,
        refused: Callable[[SimpleIndexError], None] | None = None,
        misplaced: SimpleIndexError | None = None,
    ) -> Receiver:
        return Receiver(
            body,
            store=self._store,
            authorizer=self._authorizer,
            admit=lambda: self._admit(request, misplaced),
            max_content=self.settings.max_upload,
            on_rejected=refused,
        )

    async def _admit(self, request: Request, misplaced: SimpleIndexError | None) -> Admission:
        """Decide by the header alone."""
        if misplaced is not None:
            raise misplaced
        self._client_info.refuse_cross_site(request)
        if self._store is None or not self.settings.upload:
            raise Forbidden(UPLOADS_ARE_OFF)
        identity = await self._authorizer.require(request, Action.UPLOAD)
        kind = header(request, b"Content-Type")
        if is_xml_rpc(kind):
            raise UnsupportedMediaType(NO_XML_RPC)
        if not is_form(kind) and (action := _plainly_asked_action(request)) is not None:
            # What removes files of pypiserver is a form without a file, and no matter how it is sent.
            check_action(action)
        boundary = parse_boundary(kind)
        self._check_length(header(request, b"Content-Length"))
        leave = self.slots.acquire()
        admitted: Callable[[], None] | None = getattr(request, "on_admitted", None)
        if admitted is not None:
            admitted()
        return Admission(identity, boundary, leave)

    def _check_length(self, length: bytes | None) -> None:
        most = self.settings.max_upload
        if length is not None and length.isdigit() and int(length) > most + MAX_FORM_OVERHEAD:
            raise ContentTooLarge(too_large(most))


def _new_file(published: Published) -> FileUploaded:
    distribution = published.distribution
    return FileUploaded(
        project=distribution.project,
        filename=distribution.filename,
        version=distribution.version,
        sha256=published.sha256,
        size=published.size,
        by=published.by,
        time=datetime.now(UTC),
    )


class _BufferedBody:
    """A body that Twisted has put into a file, in pieces."""

    def __init__(self, content: BinaryIO | None) -> None:
        self._content = content
        if content is not None:
            content.seek(0)

    def next(self) -> Deferred[bytes]:
        """Give the next piece."""
        return succeed(self._content.read(_READ) if self._content is not None else b"")


def _asked_action(request: Request) -> str | None:
    """Give the `:action` of the query."""
    return _last_action(request.args or {})


def _plainly_asked_action(request: Request) -> str | None:
    """Give the `:action` of a form that can hold no file, or else of the query."""
    content = request.content
    if content is None:
        return _asked_action(request)
    content.seek(0)
    fields = parse_qs(content.read(MAX_SMALL_BODY))
    content.seek(0)
    return _last_action(fields) or _asked_action(request)


def _last_action(fields: Mapping[bytes, list[bytes]]) -> str | None:
    values = fields.get(b":action")
    return values[-1].decode("utf-8", "replace") if values else None
