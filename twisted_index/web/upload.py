"""
Uploads, as twine, uv and all others send them (the legacy upload API of PyPI).

Whatever can be decided by the header of a request is decided before its body is read.
Not for: what a form says (`form`, `uploadclaim`), or what becomes of the file (`IStore`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from twisted.internet.defer import Deferred, succeed

from twisted_index.errors import Forbidden, SimpleIndexError, TooLarge
from twisted_index.hooks import NewFile
from twisted_index.interfaces import Action
from twisted_index.web.form import MAX_BESIDE, boundary_of, too_large
from twisted_index.web.metrics import Counters, Outcome
from twisted_index.web.places import AT_ONCE, Places
from twisted_index.web.respond import field
from twisted_index.web.uploadanswers import acceptance, refusal
from twisted_index.web.uploadreceiver import Admitted, Receiver

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.web.server import Request

    from twisted_index.settings import Publishing
    from twisted_index.web.guard import Guard
    from twisted_index.web.origin import Origins
    from twisted_index.web.response import Headers, Response
    from twisted_index.web.uploadbody import UploadBody
    from twisted_index.web.uploadreceiver import Published

_OFF = "Uploads are turned off here; start the server with --upload to take them."
_FORM = b"multipart/form-data"
_READ = 1 << 18


class Uploads:
    """
    Takes uploads into a store.

    Args:
        store: Provides `IStore`; None if uploads are turned off.
        guard: Says who may do what.
        origins: Knows where requests come from.
        publishing: What may be uploaded.
        always: Fields that every answer has, for those that are given before there is a resource.
        counters: Where uploads are counted.
        told: Is called with each new file, and returns at once.
        refused: Is called with project, file name and reason of each file that was not taken.
        most: Uploads that may be under way at once.

    Attributes:
        publishing: As given; another one holds from the next upload on.
    """

    def __init__(
        self,
        store: Any | None,
        guard: Guard,
        origins: Origins,
        *,
        publishing: Publishing,
        always: Headers = (),
        counters: Counters | None = None,
        told: Callable[[NewFile], None] | None = None,
        refused: Callable[[str, str, str], None] | None = None,
        most: int = AT_ONCE,
    ) -> None:
        self._store = store
        self._guard = guard
        self._origins = origins
        self.publishing = publishing
        self.always = always
        self.counters = counters or Counters()
        self._told = told
        self._tell_refused = refused
        self.places = Places(most)

    @staticmethod
    def takes(method: bytes, target: bytes, content_type: bytes | None) -> bool:
        """
        Say whether a body is that of an upload, before it is known which resource will answer.

        Args:
            method: Of the request.
            target: Of the request, perhaps with a query.
            content_type: The Content-Type field.
        """
        path = target.partition(b"?")[0]
        if method != b"POST" or not path.endswith((b"/", b"/legacy")):
            return False
        # An index may be mounted anywhere, and what is not a form may be meant for somebody else.
        return (content_type or b"").lower().lstrip().startswith(_FORM)

    def begin(self, request: Request, body: UploadBody, refused: Callable[[Response], None]) -> Receiver:
        """
        Begin to receive a body that has begun to come.

        Args:
            request: All of its header fields are there.
            body: Its bytes.
            refused: Called if it is refused before the body has come to its end.
        """
        accept = field(request, b"Accept")

        def refuse(error: SimpleIndexError) -> None:
            # Here, since one that is answered before its body has come never gets to `answer`.
            self._note_refused(receiver, error)
            refused(refusal(error, accept))

        receiver = self._receiver(request, body, refuse)
        return receiver

    async def answer(self, request: Request) -> Response:
        """Answer an upload; whoever calls this has made sure that it is one by its URL."""
        receiver: Receiver | None = getattr(request, "receiver", None)
        try:
            if receiver is None:
                # Not our own request: Twisted has put the body somewhere.
                receiver = self._receiver(request, _Spooled(request.content))
                receiver.start()
            published = await receiver.publish(_asked_action(request))
        except SimpleIndexError as error:
            self._note_refused(receiver, error)
            return refusal(error, field(request, b"Accept"))
        self.counters.count_upload(Outcome.ACCEPTED if published.new else Outcome.UNCHANGED, published.size)
        if published.new and self._told is not None:
            self._told(_new_file(published))
        return acceptance(published.distribution.filename, published.new)

    def _note_refused(self, receiver: Receiver | None, error: SimpleIndexError) -> None:
        """Count a file that was not taken, once, and tell of it if it is known which."""
        if receiver is not None and receiver.noted:
            return
        if receiver is not None:
            receiver.noted = True
        self.counters.count_upload(Outcome.REFUSED if error.status < 500 else Outcome.FAILED)
        file = None if receiver is None else receiver.distribution
        if file is not None and self._tell_refused is not None:
            self._tell_refused(file.project, file.filename, error.sentence)

    def _receiver(
        self, request: Request, body: Any, refused: Callable[[SimpleIndexError], None] | None = None
    ) -> Receiver:
        # An upload may be the first to ask after the configuration has changed.
        self._guard.refresh()
        return Receiver(
            body,
            store=self._store,
            guard=self._guard,
            admit=lambda: self._admit(request),
            max_content=self.publishing.max_upload,
            refused=refused,
        )

    async def _admit(self, request: Request) -> Admitted:
        """Decide by the header alone."""
        self._origins.refuse_foreign(request)
        if self._store is None or not self.publishing.upload:
            raise Forbidden(_OFF)
        identity = await self._guard.require(request, Action.UPLOAD)
        boundary = boundary_of(field(request, b"Content-Type"))
        self._check_length(field(request, b"Content-Length"))
        leave = self.places.take()
        admitted: Callable[[], None] | None = getattr(request, "admitted", None)
        if admitted is not None:
            admitted()
        return Admitted(identity, boundary, leave)

    def _check_length(self, length: bytes | None) -> None:
        most = self.publishing.max_upload
        if length is not None and length.isdigit() and int(length) > most + MAX_BESIDE:
            raise TooLarge(too_large(most))


def _new_file(published: Published) -> NewFile:
    distribution = published.distribution
    return NewFile(
        project=distribution.project,
        filename=distribution.filename,
        version=distribution.version,
        sha256=published.sha256,
        size=published.size,
        by=published.by,
        time=datetime.now(UTC),
    )


class _Spooled:
    """A body that Twisted has put into a file, in pieces."""

    def __init__(self, content: BinaryIO | None) -> None:
        self._content = content
        if content is not None:
            content.seek(0)

    def next(self) -> Deferred[bytes]:
        """Give the next piece."""
        return succeed(self._content.read(_READ) if self._content is not None else b"")


def _asked_action(request: Request) -> str | None:
    values = (request.args or {}).get(b":action")
    return values[-1].decode("utf-8", "replace") if values else None
