"""
An index under test without a port: real Site, real requests, bytes that move in memory.

Nothing here needs a reactor, and no time passes but what a test lets pass.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, execute, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_index.access.control import AnonymousAccess
from twisted_index.backends.folder.source import FolderSource
from twisted_index.backends.folder.store import FolderStore
from twisted_index.config.settings import UploadSettings
from twisted_index.events.audit_log import AuditLog
from twisted_index.files.stamps import StatValidator
from twisted_index.interfaces import ILifecycle
from twisted_index.testing.memory_source import MemorySource
from twisted_index.testing.responses import IncompleteResponse, ReceivedResponse, read_responses
from twisted_index.testing.transport import CLIENT, MemoryTransport
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.site import IndexSite

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from types import TracebackType

    from twisted.web.server import Site

    from twisted_index.config.settings import Limits
    from twisted_index.interfaces import IAccessControl, IAuditLog, ISource, IStore
    from twisted_index.web.responses.response import Headers

P = ParamSpec("P")
T = TypeVar("T")

#: What requests call the server, unless they say otherwise.
HOST = "index.test"


class SynchronousRunner:
    """Runs calls at once instead of in a thread (`concurrency.thread_pool.IThreadRunner`)."""

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Call a function now."""
        return execute(function, *args, **kwargs)

    def stop(self) -> Deferred[None]:
        """Stop; there is nothing to wait for."""
        return succeed(None)


class Connection:
    """
    A client's end of a connection in memory; made by `SiteInMemory.connect`.

    Args:
        transport: The server's end.
        settle: Lets happen whatever can happen now.
    """

    def __init__(self, transport: MemoryTransport, settle: Callable[[], None]) -> None:
        self._transport = transport
        self._settle = settle
        self._methods: list[str] = []

    @property
    def received(self) -> bytes:
        """All that came so far, as it is on the wire."""
        return self._transport.received

    @property
    def closed(self) -> bool:
        """Whether the connection has ended, on either side."""
        return not self._transport.connected

    def send(self, data: bytes, *, size: int | None = None) -> None:
        """
        Send bytes as they are.

        Args:
            data: Any bytes.
            size: The server receives them in pieces of so many bytes; None for all at once.
        """
        step = size or max(1, len(data))
        for start in range(0, len(data), step):
            self._transport.incoming.append(data[start : start + step])
            self._settle()

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        size: int | None = None,
    ) -> None:
        """
        Send a request. Nothing is added but Host, and Content-Length where there is a body.

        Args:
            path: The request target, percent-encoded, perhaps with a query.
            method: The method.
            headers: Fields; a Host among them stands instead of the usual one.
            body: What follows the header.
            size: As for `send`.
        """
        fields = list(headers.items() if isinstance(headers, Mapping) else headers)
        if not any(name.lower() == "host" for name, _value in fields):
            fields.insert(0, ("Host", HOST))
        if body:
            fields.append(("Content-Length", str(len(body))))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
        self._methods.append(method)
        self.send("\r\n".join(lines).encode("latin-1") + body, size=size)

    def responses(self, *methods: str) -> list[ReceivedResponse]:
        """
        Take apart all that came so far.

        Args:
            methods: Of the requests, if they were sent by `send` and not all are GET.

        Raises:
            NoReply: The last answer has not come to its end.
        """
        return read_responses(self.received, methods or tuple(self._methods))

    def pause_reading(self) -> None:
        """Stop reading."""
        self._transport.is_reading = False

    def resume_reading(self) -> None:
        """Resume reading."""
        self._transport.is_reading = True
        self._settle()

    def half_close(self) -> None:
        """Say that nothing more will be sent, and go on listening."""
        self._transport.ended = True
        self._settle()

    def disconnect(self) -> None:
        """Be gone, without a word."""
        self._transport.disconnect()
        self._settle()


class SiteInMemory:
    """
    Any Site of Twisted, asked without a port.

    Args:
        site: Made with `reactor=clock`.
        clock: The time, which stands still until `advance` is called.

    Attributes:
        site: As given.
        clock: As given.
    """

    def __init__(self, site: Site, clock: Clock) -> None:
        self.site = site
        self.clock = clock
        self._transports: list[MemoryTransport] = []

    def connect(self) -> Connection:
        """Open a connection, on which anything may be sent."""
        protocol = self.site.buildProtocol(CLIENT)
        assert protocol is not None
        transport = MemoryTransport(protocol)
        self._transports.append(transport)
        return Connection(transport, self.settle)

    def get(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> ReceivedResponse:
        """
        Ask on a connection of its own; arguments as for `Connection.ask`.

        Raises:
            NoReply: The answer has not come to its end; it may wait for the source, or for time.
        """
        connection = self.connect()
        connection.ask(path, method=method, headers=headers, body=body)
        try:
            replies = connection.responses()
        finally:
            connection.disconnect()
        if len(replies) != 1:
            raise IncompleteResponse(f"{len(replies)} responses were sent to {method} {path}.")
        return replies[0]

    def head(
        self, path: str, *, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()
    ) -> ReceivedResponse:
        """Ask by HEAD, as `get` does."""
        return self.get(path, method="HEAD", headers=headers)

    def settle(self) -> None:
        """Let happen whatever can happen now, for instance after a Deferred of a source was fired."""
        moved = True
        while moved:
            self.clock.advance(0)
            moved = False
            for transport in self._transports:
                moved = transport.step() or moved
        self._transports = [transport for transport in self._transports if transport.connected]

    def advance(self, seconds: float) -> None:
        """Let time pass, and each thing happen at its time."""
        end = self.clock.seconds() + seconds
        while True:
            due = [call.getTime() for call in self.clock.getDelayedCalls() if call.getTime() <= end]
            self.clock.advance(max(0.0, min(due, default=end) - self.clock.seconds()))
            self.settle()
            if not due:
                return

    def disconnect_all(self) -> None:
        """Let all clients be gone."""
        for transport in list(self._transports):
            transport.disconnect()
        self.settle()


class IndexInMemory(SiteInMemory):
    """
    An index in memory, for tests that return what they found without waiting.

        index = IndexInMemory(MemorySource(make_wheel("demo", "1.0")))
        assert index.get("/simple/demo/").status == 200

    It is our real Site and resource. What would be done in a thread is done at once. Use it as a
    context manager, or close it, if the source has something to close.

    Args:
        source: Any `ISource`; an empty `MemorySource` by default.
        clock: A new one by default.
        limits: As for `IndexSite`.
        public_url: As for `IndexResource`.
        cors: As for `IndexResource`.
        headers: As for `IndexResource`.
        access: Any `IAccessControl`; as for `IndexResource`, like all that follows.
        store: Any `IStore`; files come and go by it if it publishes where the source looks.
        audit_log: Any `IAuditLog`.
        upload_settings: What may be uploaded; by default all, where there is a store.

    Attributes:
        source: Where the projects come from.
    """

    def __init__(
        self,
        source: ISource | None = None,
        *,
        clock: Clock | None = None,
        limits: Limits | None = None,
        public_url: str | None = None,
        cors: bool = False,
        headers: Headers = (),
        access: IAccessControl | None = None,
        store: IStore | None = None,
        audit_log: IAuditLog | None = None,
        upload_settings: UploadSettings | None = None,
    ) -> None:
        # Any, so that a test finds what its own source has besides the contract.
        self.source: Any = MemorySource() if source is None else source
        clock = clock or Clock()
        resource = IndexResource(
            self.source,
            public_url=public_url,
            cors=cors,
            headers=headers,
            worker=SynchronousRunner(),
            access=access,
            store=store,
            audit_log=audit_log,
            upload_settings=upload_settings or UploadSettings(upload=store is not None),
        )
        super().__init__(IndexSite(resource, reactor=clock, limits=limits), clock)
        running = ILifecycle(self.source, None)
        if running is not None:
            running.start()

    @classmethod
    def of_folders(
        cls,
        *paths: str | os.PathLike[str],
        clock: Clock | None = None,
        overwrite: Iterable[str] | None = None,
        **more: Any,
    ) -> IndexInMemory:
        """
        Serve folders, as the server does, but without threads.

        Args:
            paths: Folders, read in order.
            clock: Says how long files have been at rest; a new one by default.
            overwrite: As for `FolderStore`: the folders are published into, by everyone unless an
                `access` is given. None for an index that can only be read.
            more: The other arguments of the class.
        """
        clock = clock or Clock()
        source = FolderSource(
            *paths,
            reactor=clock,
            reader=SynchronousRunner(),
            cache_thread=SynchronousRunner(),
            # Files get their times from the system, so its clock goes on, and the test's is added.
            validator=StatValidator(monotonic=clock.seconds, wall=lambda: time.time() + clock.seconds()),
        )
        if overwrite is not None:
            history = AuditLog(None, SynchronousRunner())
            store = FolderStore(
                source,
                worker=SynchronousRunner(),
                audit_log=history,
                overwrite=tuple(overwrite),
                reactor=clock,
            )
            more = {
                "access": AnonymousAccess(anonymous_upload=True),
                "store": store,
                "audit_log": history,
                **more,
            }
        return cls(source, clock=clock, **more)

    def close(self) -> None:
        """Let all clients be gone, and stop the source."""
        self.disconnect_all()
        running = ILifecycle(self.source, None)
        if running is not None:
            outcomes: list[Any] = []
            maybeDeferred(running.stop).addBoth(outcomes.append)
            self.settle()
            if outcomes and isinstance(outcomes[0], Failure):
                outcomes[0].raiseException()

    def __enter__(self) -> IndexInMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
