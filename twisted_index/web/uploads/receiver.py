"""
Receives one upload: authorizes it, parses the form, writes the file to the spool, and publishes it.

Memory does not grow with the file: each piece is written before the next one is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import BadRequest, SimpleIndexError
from twisted_index.indexes.scope import PLAIN
from twisted_index.interfaces import Action, Identity, ISpool, Upload
from twisted_index.simple.names import DistributionType
from twisted_index.web.uploads.form_validation import (
    check_action,
    promised_digests,
    validate_filename,
    validate_form,
)
from twisted_index.web.uploads.multipart_form import MultipartFormParser

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from twisted.web.server import Request

    from twisted_index.indexes.scope import Scope
    from twisted_index.interfaces import IStore
    from twisted_index.simple.names import Distribution
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.responses.response import Headers, Response
    from twisted_index.web.uploads.body_stream import BodyStream
    from twisted_index.web.uploads.form_validation import ValidatedUpload
    from twisted_index.web.uploads.multipart_form import UploadForm

_log = Logger()

#: Bytes per write to the spool; fewer would take more calls in a thread.
READ_SIZE = 1 << 20


class ChunkSource(Protocol):
    """Provides the body."""

    def next(self) -> Deferred[bytes]:
        """Wait for the next piece; empty at the end."""


class ReceivesBody(Protocol):
    """Receives the body of one request while it arrives."""

    def start(self) -> None:
        """Start; called once."""

    def close(self) -> None:
        """End, since the response has been sent or the client has left."""


class TakesBodies(Protocol):
    """What forms are for, before they have arrived: an `UploadView`, or the relay of a replica."""

    common_headers: Headers

    def start(
        self,
        request: Request,
        body: BodyStream,
        on_rejected: Callable[[Response], None],
        misplaced: SimpleIndexError | None = None,
        /,
    ) -> ReceivesBody:
        """See `UploadView.start`."""


class Published(NamedTuple):
    """
    A published file.

    Attributes:
        distribution: Its parsed file name.
        sha256: Lower-case hex.
        size: In bytes.
        by: The name of the uploading identity.
        new: False if the same bytes were published already.
    """

    distribution: Distribution
    sha256: str
    size: int
    by: str
    new: bool


class Admission(NamedTuple):
    """
    An upload admitted by its request header alone.

    Attributes:
        identity: The client.
        boundary: The boundary of the form.
        release_slot: Releases the slot of the upload.
    """

    identity: Identity
    boundary: str
    release_slot: Callable[[], None]


class Receiver:
    """
    One upload.

    Args:
        body: Provides the bytes of the form.
        store: Publishes the file; None if uploads are turned off, in which case `admit` always raises.
        authorizer: Checks the rights of the client.
        admit: Admits the upload by its header alone, or raises a SimpleIndexError.
        max_content: Bytes of the file.
        on_rejected: Called with the reason if the upload is rejected before its body is complete.
        scope: What the URL of the upload is about.
        index: The name of the index that publishes it, which the one without a name may be too.

    Attributes:
        scope: As given.
        distribution: The parsed file name, as soon as it has arrived.
        counted: Whether the upload was counted as rejected.
    """

    def __init__(
        self,
        body: ChunkSource,
        *,
        store: IStore | None,
        authorizer: Authorizer,
        admit: Callable[[], Awaitable[Admission]],
        max_content: int,
        on_rejected: Callable[[SimpleIndexError], None] | None = None,
        scope: Scope = PLAIN,
        index: str = "",
    ) -> None:
        self.scope = scope
        self._index = index
        self._body = body
        self._store = store
        self._authorizer = authorizer
        self._admit = admit
        self._max_content = max_content
        self._on_rejected = on_rejected
        self._spool: ISpool | None = None
        self._closed = False
        self._publishing = False
        self._release_slot: Callable[[], None] | None = None
        self.distribution: Distribution | None = None
        self.counted = False
        self._waiting: list[Deferred[None]] = []
        self._outcome: tuple[Identity, UploadForm] | Failure | None = None

    def start(self) -> None:
        """Start receiving; called once."""
        Deferred.fromCoroutine(self._receive()).addBoth(self._received)

    async def publish(self, asked_action: str | None = None) -> Published:
        """
        Publish the file as soon as it is received.

        Args:
            asked_action: The `:action` of the query, if there is one.

        Raises:
            SimpleIndexError: The upload is rejected.
        """
        try:
            await self._wait()
            if isinstance(self._outcome, Failure):
                self._outcome.raiseException()
            assert isinstance(self._outcome, tuple)
            identity, form = self._outcome
            self._publishing = True
            return await self._publish(identity, form, asked_action)
        finally:
            self._publishing = False
            self.close()

    def close(self) -> None:
        """Discard the upload unless it is published; idempotent."""
        self._closed = True
        # While the upload is being received, `_receive` checks `_closed` and ends.
        if self._outcome is not None:
            self._drop()

    # -- Receiving

    async def _receive(self) -> tuple[Identity, UploadForm]:
        identity, boundary, self._release_slot = await self._admit()
        if self._closed:
            self._release_slot()
            raise ConnectionDone
        parser = MultipartFormParser(boundary, max_content=self._max_content)
        pieces: list[bytes] = []
        size = 0
        while data := await self._body.next():
            for piece in parser.feed(data):
                pieces.append(piece)
                size += len(piece)
            if parser.filename is not None and self.distribution is None:
                self._check_early(identity, parser)
            if size >= READ_SIZE:
                await self._write(pieces, parser)
                pieces, size = [], 0
        form = parser.finish()
        if pieces:
            await self._write(pieces, parser)
        return identity, form

    def _check_early(self, identity: Identity, parser: MultipartFormParser) -> None:
        """Reject an upload by action, file name or rights as early as possible."""
        assert parser.filename is not None
        if parser.action is not None:
            check_action(parser.action)
        elif parser.filename.endswith(".zip"):
            # Python 2 sends fields in any order, so this may be a `doc_upload`.
            return
        self.distribution = validate_filename(parser.filename)
        self._check_name(identity, self.distribution)

    def _check_name(self, identity: Identity, distribution: Distribution) -> None:
        """Reject an upload without rights to its project before it is written to disk."""
        # The project of some sdists depends on fields that may still follow.
        if distribution.kind is DistributionType.WHEEL:
            self._require(identity, distribution.project)

    def _require(self, identity: Identity, project: str) -> None:
        if not self._authorizer.permits(identity, Action.UPLOAD, project):
            self._authorizer.refuse(identity, Action.UPLOAD, project)

    async def _write(self, pieces: list[bytes], parser: MultipartFormParser) -> None:
        spool = self._spool
        if spool is None:
            # Without a store, no upload is admitted.
            assert self._store is not None
            self._spool = spool = await result_of(self._store.spool)
            # Known clients send the digests before the file; for others the file is read again.
            spool.expect_digests(promised_digests(parser.received_fields))
        if self._closed:
            raise ConnectionDone
        await spool.write(b"".join(pieces))
        pieces.clear()

    def _received(self, outcome: tuple[Identity, UploadForm] | Failure) -> None:
        self._outcome = _public_failure(outcome) if isinstance(outcome, Failure) else outcome
        if isinstance(self._outcome, Failure) or self._closed:
            self._drop()
        if isinstance(self._outcome, Failure) and self._on_rejected is not None:
            reason = self._outcome.value
            if isinstance(reason, SimpleIndexError):
                self._on_rejected(reason)
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)

    def _wait(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        if self._outcome is not None:
            waiting.callback(None)
        else:
            self._waiting.append(waiting)
        return waiting

    def _drop(self) -> None:
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.close()
        # The slot stays taken while the store publishes the file, even if the client has disconnected.
        if self._release_slot is not None and not self._publishing:
            self._release_slot()

    # -- Publishing

    async def _publish(self, identity: Identity, form: UploadForm, asked_action: str | None) -> Published:
        claim = validate_form(form, asked_action)
        self.distribution = claim.distribution
        if self._spool is None:
            raise BadRequest("The file in content is empty.")
        project = claim.distribution.project
        self._require(identity, project)
        # From here on `_checked` or the store closes the spool, even if the client disconnects.
        spool, self._spool = self._spool, None
        sha256 = await _checked(spool, claim)
        upload = Upload(
            spool=spool,
            filename=claim.distribution.filename,
            signature=form.signature,
            by=identity.name,
            may_create=self._authorizer.permits(identity, Action.CREATE, project),
            index=self._index,
        )
        size = spool.size
        assert self._store is not None
        new = await result_of(self._store.publish, upload)
        return Published(claim.distribution, sha256, size, identity.name, new)


async def _checked(spool: ISpool, claim: ValidatedUpload) -> str:
    """Return the SHA-256 of the spool if all claimed digests match; else close it and raise."""
    try:
        digests: Mapping[str, str] = await result_of(spool.digests, tuple(claim.digests))
        claim.check_digests(digests)
    except BaseException:
        spool.close()
        raise
    return digests["sha256"]


def _public_failure(failure: Failure) -> Failure:
    """Map a failure to the error sent to the client; disconnected clients get none."""
    if failure.check(SimpleIndexError, ConnectionDone):
        return failure
    _log.failure("An upload could not be received", failure=failure)
    return Failure(SimpleIndexError("The upload failed; see the server's log for the reason."))
