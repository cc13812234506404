"""
Uploads of twine, uv and other clients (the legacy upload API of PyPI).

Checks that need the request header only are made before the body is read. Out of scope: the content of
a form (see `multipart_form`, `form_validation`), publishing (see `IStore`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import parse_qs

from twisted.internet.defer import Deferred, succeed

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import ContentTooLarge, Forbidden, SimpleIndexError, Unavailable
from twisted_index.events.webhooks import FileUploaded
from twisted_index.indexes.scope import PLAIN
from twisted_index.interfaces import ANONYMOUS, Action, ISpaceLimit
from twisted_index.metrics.counters import Counters, Outcome
from twisted_index.web.requests.context import MAX_SMALL_BODY
from twisted_index.web.requests.method_advice import UPLOADS_ARE_OFF, is_form
from twisted_index.web.requests.refused import RefusalRecorder
from twisted_index.web.responses.response import with_change
from twisted_index.web.responses.send import header
from twisted_index.web.uploads.form_validation import check_action
from twisted_index.web.uploads.multipart_form import MAX_FORM_OVERHEAD, parse_boundary, too_large
from twisted_index.web.uploads.receiver import Admission, Receiver
from twisted_index.web.uploads.responses import accepted, rejected
from twisted_index.web.uploads.slots import PARALLEL_UPLOADS, UploadSlots

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted.web.server import Request

    from twisted_index.config.settings import UploadSettings
    from twisted_index.indexes.scope import Scope
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
    Receives uploads into a store.

    Args:
        store: Publishes files; None if uploads are turned off.
        authorizer: Checks the rights of clients.
        client_info: Detects cross-site requests.
        settings: What may be uploaded.
        common_headers: Fields of every response, for responses sent before a resource is found.
        counters: Counts uploads.
        on_uploaded: Called with each new file; must not block.
        on_rejected: Called with project, file name and reason of each rejected file.
        slots: Bounds the number of concurrent uploads.
        recorder: Records refused uploads.
        scope: What the URLs of the uploads are about.
        index: The name of the index that publishes them, which the one without a name may be too.
        fault: Why nothing can be uploaded there, for clients that may upload.
        confirm: Fails if this is not what serves the scope any more.

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
        recorder: RefusalRecorder | None = None,
        scope: Scope = PLAIN,
        index: str = "",
        fault: SimpleIndexError | None = None,
        confirm: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._authorizer = authorizer
        self._client_info = client_info
        self.settings = settings
        self.common_headers = common_headers
        self.counters = counters or Counters()
        self._on_uploaded = on_uploaded
        self._on_rejected = on_rejected
        self.slots = slots or UploadSlots(PARALLEL_UPLOADS)
        self._recorder = recorder or RefusalRecorder(None, client_info)
        self._scope = scope
        self._index = index
        self._fault = fault
        self._confirm = confirm

    def start(
        self,
        request: Request,
        body: BodyStream,
        on_rejected: Callable[[Response], None],
        misplaced: SimpleIndexError | None = None,
    ) -> Receiver:
        """
        Prepare to receive a body that has begun to arrive.

        Args:
            request: With all of its header fields.
            body: Provides the bytes of the body.
            on_rejected: Called if the upload is rejected before its body is complete.
            misplaced: The error to raise if the URL accepts no uploads.
        """
        accept = header(request, b"Accept")

        def refuse(error: SimpleIndexError) -> None:
            # Counted here: an upload rejected before its body is complete never reaches `answer`.
            self._note_rejected(request, receiver, error)
            on_rejected(rejected(error, accept))

        receiver = self._receiver(request, body, refuse, misplaced)
        return receiver

    async def answer(self, context: RequestContext) -> Response:
        """Publish an upload; its body may already have been received by `start`."""
        request = context.request
        receiver: Receiver | None = getattr(request, "receiver", None)
        try:
            if receiver is None:
                # A plain twisted.web Request: Twisted has buffered the body.
                receiver = self._receiver(request, _BufferedBody(request.content))
                receiver.start()
            elif receiver.scope != self._scope:
                raise Unavailable("This upload arrived at another index; try again.")
            published = await receiver.publish(_query_action(request))
        except SimpleIndexError as error:
            self._note_rejected(request, receiver, error)
            return rejected(error, header(request, b"Accept"))
        self.counters.count_upload(Outcome.ACCEPTED if published.new else Outcome.UNCHANGED, published.size)
        if published.new and self._on_uploaded is not None:
            self._on_uploaded(_new_file(published, self._index))
        response = accepted(published.distribution.filename, published.new)
        return with_change(response, self._store, [published.distribution.project])

    def _note_rejected(self, request: Request, receiver: Receiver | None, error: SimpleIndexError) -> None:
        """Count and record a rejected upload, once, and report its file if the name is known."""
        if receiver is not None and receiver.counted:
            return
        if receiver is not None:
            receiver.counted = True
        self.counters.count_upload(Outcome.REFUSED if error.status < 500 else Outcome.FAILED)
        file = None if receiver is None else receiver.distribution
        self._recorder.record_upload(request, error, file)
        if file is not None and self._on_rejected is not None:
            self._on_rejected(file.project, file.filename, error.message)

    def _receiver(
        self,
        request: Request,
        body: ChunkSource,
        on_rejected: Callable[[SimpleIndexError], None] | None = None,
        misplaced: SimpleIndexError | None = None,
    ) -> Receiver:
        return Receiver(
            body,
            store=self._store,
            authorizer=self._authorizer,
            admit=lambda: self._admit(request, misplaced),
            max_content=self.settings.max_upload,
            on_rejected=on_rejected,
            scope=self._scope,
            index=self._index,
        )

    async def _admit(self, request: Request, misplaced: SimpleIndexError | None) -> Admission:
        """Admit or reject by the request header alone."""
        if misplaced is not None:
            raise misplaced
        self._client_info.refuse_cross_site(request)
        if self._store is None or not self.settings.upload:
            await self._require_any(request)
            raise Forbidden(UPLOADS_ARE_OFF)
        identity = await self._authorizer.require(request, Action.UPLOAD)
        if self._confirm is not None:
            await self._confirm()
        if self._fault is not None:
            raise self._fault
        kind = header(request, b"Content-Type")
        if not is_form(kind) and (action := _action_without_file(request)) is not None:
            # `remove_pkg` of pypiserver clients is a form without a file, with any Content-Type.
            check_action(action)
        boundary = parse_boundary(kind)
        await self._check_length(header(request, b"Content-Length") or b"")
        release_slot = self.slots.acquire()
        admitted: Callable[[], None] | None = getattr(request, "on_admitted", None)
        if admitted is not None:
            admitted()
        return Admission(identity, boundary, release_slot)

    async def _require_any(self, request: Request) -> None:
        """Refuse clients that may not know of an index with a name, as where there is none."""
        guard = self._authorizer
        if not self._scope.index or guard.permits(ANONYMOUS, Action.READ):
            return
        identity = await guard.authenticate(request)
        if not any(guard.permits(identity, action) for action in (Action.READ, Action.UPLOAD)):
            guard.refuse(identity, Action.UPLOAD)

    async def _check_length(self, field: bytes) -> None:
        most, length = self.settings.max_upload, int(field) if field.isdigit() else 0
        if length > most + MAX_FORM_OVERHEAD:
            raise ContentTooLarge(too_large(most))
        limit = ISpaceLimit(self._store, None)
        if limit is not None:
            await result_of(limit.require_space, length)


def _new_file(published: Published, index: str) -> FileUploaded:
    distribution = published.distribution
    return FileUploaded(
        project=distribution.project,
        filename=distribution.filename,
        version=distribution.version,
        sha256=published.sha256,
        size=published.size,
        by=published.by,
        time=datetime.now(UTC),
        index=index,
    )


class _BufferedBody:
    """A body that Twisted has buffered in a file, read in pieces."""

    def __init__(self, content: BinaryIO | None) -> None:
        self._content = content
        if content is not None:
            content.seek(0)

    def next(self) -> Deferred[bytes]:
        """Return the next piece."""
        return succeed(self._content.read(_READ) if self._content is not None else b"")


def _query_action(request: Request) -> str | None:
    """Return the `:action` of the query."""
    values = (request.args or {}).get(b":action")
    return values[-1].decode("utf-8", "replace") if values else None


def _action_without_file(request: Request) -> str | None:
    """Return the `:action` of a form that can hold no file, or else of the query."""
    content = request.content
    if content is None:
        return _query_action(request)
    content.seek(0)
    values = parse_qs(content.read(MAX_SMALL_BODY).decode("latin-1")).get(":action")
    content.seek(0)
    return values[-1] if values else _query_action(request)
