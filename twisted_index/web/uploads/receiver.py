"""
Receives one upload: authorizes it, parses the form, writes the file to the spool, and publishes it.

Memory does not grow with the file: a piece is written before the next one is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import BadRequest, SimpleIndexError
from twisted_index.interfaces import Action, Identity, ISpool, Upload
from twisted_index.simple.names import DistributionType
from twisted_index.web.uploads.multipart_form import MultipartFormParser
from twisted_index.web.uploads.validation import (
    check_action,
    promised_digests,
    validate_filename,
    validate_form,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from twisted_index.interfaces import IStore
    from twisted_index.simple.names import Distribution
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.uploads.multipart_form import UploadForm
    from twisted_index.web.uploads.validation import ValidatedUpload

_log = Logger()

#: Bytes that are written to the spool at once; fewer would be more turns of a thread.
READ_SIZE = 1 << 20


class ChunkSource(Protocol):
    """Where the body comes from."""

    def next(self) -> Deferred[bytes]:
        """Wait for the next piece; an empty one is the end."""


class Published(NamedTuple):
    """
    A file that was taken.

    Attributes:
        distribution: What its name says.
        sha256: Of its bytes, lower-case hex.
        size: In bytes.
        by: Who sent it.
        new: False if the very same bytes were there already.
    """

    distribution: Distribution
    sha256: str
    size: int
    by: str
    new: bool


class Admission(NamedTuple):
    """
    What is decided by the header alone.

    Attributes:
        identity: Who sends it.
        boundary: Of the form.
        release_slot: Gives back the place that the upload has taken.
    """

    identity: Identity
    boundary: str
    release_slot: Callable[[], None]


class Receiver:
    """
    One upload.

    Args:
        body: Its bytes.
        store: Where the file goes; None if uploads are turned off, where `admit` lets nothing through.
        authorizer: Says who may do what.
        admit: Decides by the header alone whether the body is taken, or raises a SimpleIndexError.
        max_content: Bytes of the file.
        on_rejected: Called if it is refused before its body has come to its end, with the reason.

    Attributes:
        distribution: What the name of the file says, as soon as it has come.
        counted: Whether it was counted as refused.
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
    ) -> None:
        self._body = body
        self._store = store
        self._authorizer = authorizer
        self._admit = admit
        self._max_content = max_content
        self._refused = on_rejected
        self._spool: ISpool | None = None
        self._over = False
        self._publishing = False
        self._leave: Callable[[], None] | None = None
        self.distribution: Distribution | None = None
        self.counted = False
        self._waiting: list[Deferred[None]] = []
        self._outcome: tuple[Identity, UploadForm] | Failure | None = None

    def start(self) -> None:
        """Begin; called once."""
        Deferred.fromCoroutine(self._receive()).addBoth(self._received)

    async def publish(self, asked_action: str | None = None) -> Published:
        """
        Publish what was received, when all of it is.

        Args:
            asked_action: The `:action` of the query, if there is one.

        Raises:
            SimpleIndexError: It was not taken.
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
        """Let go of what is not published; harmless if there is nothing."""
        self._over = True
        # While it is still being received, whatever does so sees that it is over.
        if self._outcome is not None:
            self._drop()

    # -- Receiving

    async def _receive(self) -> tuple[Identity, UploadForm]:
        identity, boundary, self._leave = await self._admit()
        if self._over:
            self._leave()
            raise ConnectionDone
        reader = MultipartFormParser(boundary, max_content=self._max_content)
        held: list[bytes] = []
        size = 0
        while data := await self._body.next():
            for piece in reader.feed(data):
                held.append(piece)
                size += len(piece)
            if reader.filename is not None and self.distribution is None:
                self._judge(identity, reader)
            if size >= READ_SIZE:
                await self._write(held, reader)
                held, size = [], 0
        form = reader.finish()
        if held:
            await self._write(held, reader)
        return identity, form

    def _judge(self, identity: Identity, reader: MultipartFormParser) -> None:
        """Refuse what cannot be wanted as soon as that is known."""
        assert reader.filename is not None
        if reader.action is not None:
            check_action(reader.action)
        elif reader.filename.endswith(".zip"):
            # Python 2 sends its fields in any order, and this may be documentation.
            return
        self.distribution = validate_filename(reader.filename)
        self._check_name(identity, self.distribution)

    def _check_name(self, identity: Identity, distribution: Distribution) -> None:
        """Refuse what may not be published before it takes room on the disk."""
        # The project of some sdists can only be told with the fields that may still follow.
        if distribution.kind is DistributionType.WHEEL:
            self._require(identity, distribution.project)

    def _require(self, identity: Identity, project: str) -> None:
        if not self._authorizer.permits(identity, Action.UPLOAD, project):
            self._authorizer.refuse(identity, Action.UPLOAD, project)

    async def _write(self, held: list[bytes], reader: MultipartFormParser) -> None:
        spool = self._spool
        if spool is None:
            # Without a store, nothing was admitted.
            assert self._store is not None
            self._spool = spool = await result_of(self._store.spool)
            # All clients send their digests before the file; those that do not cost a reading of it.
            spool.expect_digests(promised_digests(reader.received_fields))
        if self._over:
            raise ConnectionDone
        await spool.write(b"".join(held))
        held.clear()

    def _received(self, outcome: tuple[Identity, UploadForm] | Failure) -> None:
        self._outcome = _public_failure(outcome) if isinstance(outcome, Failure) else outcome
        if isinstance(self._outcome, Failure) or self._over:
            self._drop()
        if isinstance(self._outcome, Failure) and self._refused is not None:
            reason = self._outcome.value
            if isinstance(reason, SimpleIndexError):
                self._refused(reason)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

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
        # No place is free while a store still has the file, though its sender be gone.
        if self._leave is not None and not self._publishing:
            self._leave()

    # -- Publishing

    async def _publish(self, identity: Identity, form: UploadForm, asked_action: str | None) -> Published:
        claim = validate_form(form, asked_action)
        self.distribution = claim.distribution
        if self._spool is None:
            raise BadRequest("The file in content is empty.")
        project = claim.distribution.project
        self._require(identity, project)
        # From here on it is closed by what is done with it, also if the client does not wait for that.
        spool, self._spool = self._spool, None
        sha256 = await _checked(spool, claim)
        upload = Upload(
            spool=spool,
            filename=claim.distribution.filename,
            signature=form.signature,
            by=identity.name,
            may_create=self._authorizer.permits(identity, Action.CREATE, project),
        )
        size = spool.size
        assert self._store is not None
        new = await result_of(self._store.publish, upload)
        return Published(claim.distribution, sha256, size, identity.name, new)


async def _checked(spool: ISpool, claim: ValidatedUpload) -> str:
    """Give the SHA-256 of what came, if it has every digest that was promised; else close it."""
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
