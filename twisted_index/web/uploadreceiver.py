"""
Receives one upload: decides, reads the form, writes the file to the spool, and publishes it.

Memory does not grow with the file: a piece is written before the next one is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.errors import BadRequest, SimpleIndexError
from twisted_index.interfaces import Action, Identity, ISpool, Upload
from twisted_index.simple.names import Kind
from twisted_index.web.asked import eventually
from twisted_index.web.form import FormReader
from twisted_index.web.uploadclaim import acceptable, check, promised_digests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from twisted_index.simple.names import Distribution
    from twisted_index.web.form import Form
    from twisted_index.web.guard import Guard
    from twisted_index.web.uploadclaim import Claim

_log = Logger()

#: Bytes that are written to the spool at once; fewer would be more turns of a thread.
PIECE = 1 << 20


class Pieces(Protocol):
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


class Admitted(NamedTuple):
    """
    What is decided by the header alone.

    Attributes:
        identity: Who sends it.
        boundary: Of the form.
        leave: Gives back the place that the upload has taken.
    """

    identity: Identity
    boundary: str
    leave: Callable[[], None]


class Receiver:
    """
    One upload.

    Args:
        body: Its bytes.
        store: Provides `IStore`.
        guard: Says who may do what.
        admit: Decides by the header alone whether the body is taken, or raises a SimpleIndexError.
        max_content: Bytes of the file.
        refused: Called if it is refused before its body has come to its end, with the reason.

    Attributes:
        distribution: What the name of the file says, as soon as it has come.
        noted: Whether it was counted as refused.
    """

    def __init__(
        self,
        body: Pieces,
        *,
        store: Any,
        guard: Guard,
        admit: Callable[[], Awaitable[Admitted]],
        max_content: int,
        refused: Callable[[SimpleIndexError], None] | None = None,
    ) -> None:
        self._body = body
        self._store = store
        self._guard = guard
        self._admit = admit
        self._max_content = max_content
        self._refused = refused
        self._spool: ISpool | None = None
        self._over = False
        self._publishing = False
        self._leave: Callable[[], None] | None = None
        self.distribution: Distribution | None = None
        self.noted = False
        self._waiting: list[Deferred[None]] = []
        self._outcome: tuple[Identity, Form] | Failure | None = None

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

    async def _receive(self) -> tuple[Identity, Form]:
        identity, boundary, self._leave = await self._admit()
        if self._over:
            self._leave()
            raise ConnectionDone
        reader = FormReader(boundary, max_content=self._max_content)
        held: list[bytes] = []
        size = 0
        while data := await self._body.next():
            for piece in reader.feed(data):
                held.append(piece)
                size += len(piece)
            if reader.filename is not None and self.distribution is None:
                self.distribution = acceptable(reader.filename)
                self._check_name(identity, self.distribution)
            if size >= PIECE:
                await self._write(held, reader)
                held, size = [], 0
        form = reader.finish()
        if held:
            await self._write(held, reader)
        return identity, form

    def _check_name(self, identity: Identity, distribution: Distribution) -> None:
        """Refuse what may not be published before it takes room on the disk."""
        # The project of some sdists can only be told with the fields that may still follow.
        if distribution.kind is Kind.WHEEL:
            self._require(identity, distribution.project)

    def _require(self, identity: Identity, project: str) -> None:
        if not self._guard.may(identity, Action.UPLOAD, project):
            self._guard.refuse(identity, Action.UPLOAD, project)

    async def _write(self, held: list[bytes], reader: FormReader) -> None:
        if self._spool is None:
            self._spool = await eventually(self._store.spool)
            # All clients send their digests before the file; those that do not cost a reading of it.
            self._spool.expect(promised_digests(reader.given))
        if self._over:
            raise ConnectionDone
        await self._spool.write(b"".join(held))
        held.clear()

    def _received(self, outcome: tuple[Identity, Form] | Failure) -> None:
        self._outcome = _told(outcome) if isinstance(outcome, Failure) else outcome
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

    async def _publish(self, identity: Identity, form: Form, asked_action: str | None) -> Published:
        claim = check(form, asked_action)
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
            may_create=self._guard.may(identity, Action.CREATE, project),
        )
        size = spool.size
        new = bool(await eventually(self._store.publish, upload))
        return Published(claim.distribution, sha256, size, identity.name, new)


async def _checked(spool: ISpool, claim: Claim) -> str:
    """Give the SHA-256 of what came, if it has every digest that was promised; else close it."""
    try:
        digests: Mapping[str, str] = await eventually(spool.digests, tuple(claim.digests))
        claim.check_bytes(digests)
    except BaseException:
        spool.close()
        raise
    return digests["sha256"]


def _told(failure: Failure) -> Failure:
    """Give what a client is told of a failure; one that is gone is told nothing."""
    if failure.check(SimpleIndexError, ConnectionDone):
        return failure
    _log.failure("An upload could not be received", failure=failure)
    return Failure(SimpleIndexError("The upload failed; the server's log says why."))
