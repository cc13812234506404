"""
The relay of a replica: streams changes to the primary, and responses back to clients.

The primary authorizes each change by the client's own credentials; the replica only refuses cross-site
requests. Out of scope: what of a request and a response is relayed (see `responses.relayed_fields`), and
which server is a replica (see `replication.change_gate`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers as ClientHeaders

from twisted_index.errors import BadGateway, LoopDetected, SimpleIndexError, Unavailable
from twisted_index.http_client.client import HTTPClient
from twisted_index.http_client.credentials import split_userinfo
from twisted_index.http_client.limits import ClientLimits
from twisted_index.http_client.retry import TemporaryFailure
from twisted_index.http_client.stall_guard import STALL, Stalled, StallGuard
from twisted_index.http_client.streamed_body import StreamedBody
from twisted_index.http_client.urls import origin_of
from twisted_index.http_semantics.via import remember_via
from twisted_index.indexes.scope import split_scope
from twisted_index.replication.change_gate import EPOCH_FIELD
from twisted_index.replication.state_file import Role
from twisted_index.web.pages.install_commands import is_loopback
from twisted_index.web.requests.context import read_small_body, while_connected
from twisted_index.web.requests.method_advice import CHANGING
from twisted_index.web.requests.routes import is_replication_path
from twisted_index.web.responses.relayed_fields import (
    NOTICE_FIELD,
    request_fields,
    response_fields,
    target_url,
)
from twisted_index.web.responses.response import CHANGE_FIELD, Response
from twisted_index.web.responses.send import header
from twisted_index.web.uploads.responses import message_as_reason, rejected
from twisted_index.web.uploads.slots import PARALLEL_UPLOADS, UploadSlots

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from twisted.web.server import Request

    from twisted_index.http_client.client import HTTPResponse
    from twisted_index.replication.state_file import StateFile
    from twisted_index.web.requests.client_info import ClientInfoReader
    from twisted_index.web.responses.response import Headers
    from twisted_index.web.uploads.body_stream import BodyStream
    from twisted_index.web.uploads.receiver import ChunkSource

_log = Logger()

#: The remark on a change that the replica does not have in time.
_BEHIND = b"The change is made. This replica does not show it yet."

#: Seconds that a response waits for the replica to have the change.
_SERIAL_SECONDS = 10.0
#: Seconds for the head of a response: no limit. `StallGuard` ends an upload that does not move.
_NO_LIMIT = 30 * 86400.0
#: Bytes of a response; the response to a promotion names all files.
_MAX_ANSWER = 4 << 20


async def _never(index: str, serial: int, seconds: float) -> bool:
    """Return False: this server does not follow the primary."""
    return False


class ChangeRelay:
    """
    Relays changes to the primary.

    Args:
        url: The configured URL of the primary. The user and the password in it are the replica's own, and
            are not used for changes.
        state: The role of this server, and the epoch that it follows.
        reactor: Twisted's reactor.
        environ: Environment variables that name proxies and certificates.
        client_info: Reads the address of a client, and refuses cross-site requests.
        instance: The pseudonym of this server in the Via field.
        common_headers: Fields of every response, for responses sent before a resource is found.
        wait_for: Waits until an index, by its name, has all changes up to a serial, for at most so many
            seconds. Returns whether it has them.
        stall: Seconds without progress after which a change is given up.
        slots: Bounds the number of parallel changes.

    Attributes:
        common_headers: As given.
        wait_for: As given.

    Raises:
        ConfigurationError: The URL or the environment cannot be used.
    """

    def __init__(
        self,
        url: str,
        state: StateFile,
        reactor: Any,
        *,
        environ: Mapping[str, str],
        client_info: ClientInfoReader,
        instance: str,
        common_headers: Headers = (),
        wait_for: Callable[[str, int, float], Awaitable[bool]] = _never,
        stall: float = STALL,
        slots: UploadSlots | None = None,
    ) -> None:
        self._url, _account = split_userinfo(url)
        self._state = state
        self._reactor = reactor
        self.client_info = client_info
        self._instance = instance.encode("ascii")
        self.common_headers = common_headers
        self.wait_for = wait_for
        self._stall = stall
        self.slots = slots or UploadSlots(PARALLEL_UPLOADS)
        origin = origin_of(self._url)
        is_here = is_loopback(origin.host) or origin.host == "localhost"
        self._takes_credentials = origin.scheme == "https" or is_here
        self.peer = f"primary {self._url}"
        self._client = HTTPClient(
            origin,
            reactor,
            self.peer,
            # A proxy has no use between two servers on one machine.
            environ={**environ, "no_proxy": "*"} if is_here else environ,
            # The operator has named this server, so any address is allowed; redirects are not followed.
            egress_policy=None,
            via=b"1.1 " + self._instance,
            limits=ClientLimits(head=_NO_LIMIT, max_body=_MAX_ANSWER),
            # A change is sent only once, so it must not be lost on a connection that was just closed.
            persistent=False,
        )

    def takes(self, request: Request, method: bytes, segments: Sequence[bytes]) -> bool:
        """
        Return whether a request is relayed.

        Args:
            request: The request; its body may have begun to arrive.
            method: Its method.
            segments: Its path below the mount point of the index, percent-decoded.
        """
        if getattr(request, "relayed", None) is not None:
            return True
        if method not in CHANGING or is_replication_path(segments):
            return False
        try:
            return self._state.read().role is Role.REPLICA
        except Unavailable:
            # The gate refuses the change, and says why.
            return False

    def start(
        self,
        request: Request,
        body: BodyStream,
        on_early: Callable[[Response], None],
        misplaced: SimpleIndexError | None = None,
    ) -> RelayedChange:
        """
        Prepare to relay a form that has begun to arrive.

        Args:
            request: The request with its header fields, `uri`, and `postpath` below the index.
            body: Provides the bytes of the body.
            on_early: Called with the response if it comes before the end of the body.
            misplaced: Not used: the primary refuses misplaced forms.
        """
        change = RelayedChange(self, request, b"POST", body, request.body_length, on_early)  # type: ignore[attr-defined]
        request.relayed = change  # type: ignore[attr-defined]
        return change

    async def respond(self, request: Request) -> Response:
        """Relay a request that has arrived, or that `start` has prepared."""
        change: RelayedChange | None = getattr(request, "relayed", None)
        if change is None:
            try:
                content = read_small_body(request)
            except SimpleIndexError as error:
                return rejected(error, header(request, b"Accept"))
            change = RelayedChange(self, request, request.method, _Whole(content), len(content))
            change.start()
        return await while_connected(request, change.response())

    # -- For a change

    async def send(self, request: Request, method: bytes, body: StreamedBody) -> HTTPResponse:
        """
        Relay a request, and wait for the head of the response.

        Raises:
            SimpleIndexError: The request may not be relayed, or has no response.
        """
        via = header(request, b"Via") or b""
        if self._instance in via:
            raise LoopDetected("This server is its own primary: the request looped back to it.")
        remember_via(via)
        url, fields = target_url(self._url, request), self._fields(request)
        try:
            return await body.guard.wait(self._client.request(method.decode("ascii"), url, fields, body))
        except Stalled:
            raise TemporaryFailure(f"The {self.peer} stalled.{_unknown(body)}") from None
        except TemporaryFailure as error:
            raise TemporaryFailure(error.message + _unknown(body), error.retry_after) from None

    async def answer(self, request: Request, response: HTTPResponse) -> Response:
        """
        Make the response for the client from that of the primary.

        Raises:
            BadGateway: The primary sent a response that is not for clients, such as a redirect.
        """
        status = response.status
        if 300 <= status < 400 or status == 407 or status > 599:
            response.body.abort()
            advice = " Write the URL that it redirects to in replica-of." if status < 400 else ""
            raise BadGateway(f"The {self.peer} responded with {status}.{advice}")
        body = await response.body.read()
        fields = response_fields(response)
        serial = response.header(CHANGE_FIELD)
        if status < 300 and serial.isascii() and serial.isdigit() and len(serial) <= 16:
            index = split_scope(request.postpath or [])[0].index
            if not await self.wait_for(index, int(serial), _SERIAL_SECONDS):
                fields.append((NOTICE_FIELD, _BEHIND))
        via = [*response.headers.getRawHeaders(b"Via", []), b"1.1 " + self._instance]
        fields.append((b"Via", b", ".join(via)))
        reason = message_as_reason(response.reason.decode("latin-1")) or None
        return Response(status=status, headers=tuple(fields), body=body, reason=reason)

    def _fields(self, request: Request) -> ClientHeaders:
        fields = request_fields(request)
        if b"Authorization" in fields and not self._takes_credentials:
            raise Unavailable(
                f"The {self.peer} is reached without TLS, so no password or token is sent on to it; use the"
                " primary itself, or let replica-of be an https URL."
            )
        # Only responses to GET are decoded. Without this field, treq requests gzip.
        fields[b"Accept-Encoding"] = [b"identity"]
        epoch = self._state.read().epoch
        if epoch is not None:
            fields[EPOCH_FIELD] = [str(epoch).encode("ascii")]
        if address := self.client_info.read(request).address:
            # Used by a primary that trusts this server as a proxy.
            fields[b"X-Forwarded-For"] = [address.encode("ascii", "replace")]
        return ClientHeaders(fields)

    def body_of(
        self, change: ChunkSource, length: int | None, on_started: Callable[[], object]
    ) -> StreamedBody:
        """Make the body of a relayed request."""
        return StreamedBody(
            change.next, length, guard=StallGuard(self._reactor, self._stall), on_started=on_started
        )


class RelayedChange:
    """
    One relayed change.

    Args:
        relay: The relay.
        request: The request of the client.
        method: Its method.
        body: Its body.
        length: The length of the body in bytes; None if it is not known.
        on_early: See `ChangeRelay.start`.
    """

    def __init__(
        self,
        relay: ChangeRelay,
        request: Request,
        method: bytes,
        body: ChunkSource,
        length: int | None,
        on_early: Callable[[Response], None] = lambda response: None,
    ) -> None:
        self._relay = relay
        self._request = request
        self._method = method
        self._on_early = on_early
        admitted: Callable[[], None] = getattr(request, "on_admitted", lambda: None)
        # A client that waits for 100 (Continue) gets it once the connection to the primary is made.
        self._body = relay.body_of(body, length, admitted)
        self._outcome: Response | Failure | None = None
        self._running: Deferred[Any] | None = None
        self._waiting: list[Deferred[None]] = []

    def start(self) -> None:
        """Start; called once."""
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addBoth(self._ended)

    def close(self) -> None:
        """Cancel the change, if it has no response yet; idempotent."""
        if self._running is not None:
            self._running.cancel()

    async def response(self) -> Response:
        """
        Wait for the response.

        Raises:
            ConnectionDone: The client has left.
        """
        if self._outcome is None:
            waiting: Deferred[None] = Deferred(lambda _: self.close())
            self._waiting.append(waiting)
            await waiting
        if isinstance(self._outcome, Failure):
            self._outcome.raiseException()
        assert isinstance(self._outcome, Response)
        return self._outcome

    async def _run(self) -> Response:
        release: Callable[[], None] | None = None
        try:
            self._relay.client_info.refuse_cross_site(self._request)
            release = self._relay.slots.acquire()
            response = await self._relay.send(self._request, self._method, self._body)
            return await self._relay.answer(self._request, response)
        except SimpleIndexError as error:
            return rejected(error, header(self._request, b"Accept"))
        except (CancelledError, ConnectionDone):
            raise ConnectionDone from None
        except Exception:
            _log.failure("A change could not be sent on")
            failed = SimpleIndexError("The change could not be sent on; see the log of this replica.")
            return rejected(failed, header(self._request, b"Accept"))
        finally:
            self._body.finish()
            if release is not None:
                release()

    def _ended(self, outcome: Response | Failure) -> None:
        self._outcome = outcome
        if isinstance(outcome, Response):
            self._on_early(outcome)
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)


class _Whole:
    """A body that is in memory."""

    def __init__(self, content: bytes) -> None:
        self._pieces = [content] if content else []

    def next(self) -> Deferred[bytes]:
        """Return the whole body, then an empty piece."""
        return succeed(self._pieces.pop() if self._pieces else b"")


def _unknown(body: StreamedBody) -> str:
    """Return the remark on a change that was sent completely and got no response."""
    return " Whether the change was made is not known: look, or repeat it." if body.is_sent else ""
