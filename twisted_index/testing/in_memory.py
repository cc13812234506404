"""
An index under test without a port: a real Site and real requests, with connections in memory.

Needs no reactor; time passes only when a test advances the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_index.access.control import AnonymousAccess
from twisted_index.backends.folder.source import FolderSource
from twisted_index.backends.folder.store import FolderStore
from twisted_index.concurrency.thread_pool import SynchronousRunner
from twisted_index.config.settings import UploadSettings
from twisted_index.events.audit_log import AuditLog
from twisted_index.files.filesystems import file_clock
from twisted_index.files.stamps import StatValidator
from twisted_index.interfaces import ILifecycle
from twisted_index.search.directories import Directories
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
    from twisted_index.indexes.served_index import IIndexes
    from twisted_index.interfaces import IAccessControl, IAuditLog, ISource, IStore
    from twisted_index.statistics.downloads import Downloads
    from twisted_index.web.responses.response import Headers


#: The default Host of requests.
HOST = "index.test"


class Connection:
    """
    A client's end of a connection in memory; made by `SiteInMemory.connect`.

    Args:
        transport: The server's end.
        settle: See `SiteInMemory.settle`.
    """

    def __init__(self, transport: MemoryTransport, settle: Callable[[], None]) -> None:
        self._transport = transport
        self._settle = settle
        self._methods: list[str] = []

    @property
    def received(self) -> bytes:
        """All bytes that the client has received so far."""
        return self._transport.received

    @property
    def closed(self) -> bool:
        """Whether either side has closed the connection."""
        return not self._transport.connected

    def send(self, data: bytes, *, size: int | None = None) -> None:
        """
        Send raw bytes.

        Args:
            data: Any bytes.
            size: Bytes per piece that the server receives; None for all at once.
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
        Send a request. Only Host is added, and Content-Length if there is a body.

        Args:
            path: The request target, percent-encoded, optionally with a query.
            method: The method.
            headers: Fields; a Host among them replaces the default one.
            body: The body.
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
        Parse the responses received so far.

        Args:
            methods: The methods of the requests, if they were sent by `send` and not all are GET.

        Raises:
            IncompleteResponse: The last response is incomplete.
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
        """Close the sending half of the connection, and keep receiving."""
        self._transport.ended = True
        self._settle()

    def disconnect(self) -> None:
        """Drop the connection."""
        self._transport.disconnect()
        self._settle()


class SiteInMemory:
    """
    Any Site of Twisted, without a port.

    Args:
        site: Created with `reactor=clock`.
        clock: Provides the time, which changes only by `advance`.

    Attributes:
        site: The Site.
        clock: The clock.
    """

    def __init__(self, site: Site, clock: Clock) -> None:
        self.site = site
        self.clock = clock
        self._transports: list[MemoryTransport] = []

    def connect(self) -> Connection:
        """Open a connection, for requests or raw bytes."""
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
        Send a request on a new connection; arguments as for `Connection.ask`.

        Raises:
            IncompleteResponse: The response is incomplete; it may depend on the source, or on the clock.
        """
        connection = self.connect()
        connection.ask(path, method=method, headers=headers, body=body)
        try:
            responses = connection.responses()
        finally:
            connection.disconnect()
        if len(responses) != 1:
            raise IncompleteResponse(f"{len(responses)} responses were sent to {method} {path}.")
        return responses[0]

    def head(
        self, path: str, *, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()
    ) -> ReceivedResponse:
        """Send a HEAD request, like `get`."""
        return self.get(path, method="HEAD", headers=headers)

    def settle(self) -> None:
        """Process all pending calls and bytes, for instance after a Deferred of a source was fired."""
        progressed = True
        while progressed:
            self.clock.advance(0)
            progressed = False
            for transport in self._transports:
                progressed = transport.step() or progressed
        self._transports = [transport for transport in self._transports if transport.connected]

    def advance(self, seconds: float) -> None:
        """Advance the clock, and run each delayed call at its time."""
        end = self.clock.seconds() + seconds
        while True:
            due = [call.getTime() for call in self.clock.getDelayedCalls() if call.getTime() <= end]
            self.clock.advance(max(0.0, min(due, default=end) - self.clock.seconds()))
            self.settle()
            if not due:
                return

    def disconnect_all(self) -> None:
        """Drop all connections."""
        for transport in list(self._transports):
            transport.disconnect()
        self.settle()


class IndexInMemory(SiteInMemory):
    """
    An index in memory, for synchronous tests.

        index = IndexInMemory(MemorySource(make_wheel("demo", "1.0")))
        assert index.get("/simple/demo/").status == 200

    It uses the real Site and resource; calls that a server runs in threads are run synchronously. Use it as
    a context manager, or close it, if the source has something to close.

    Args:
        source: Any `ISource`; an empty `MemorySource` by default.
        clock: A new `Clock` by default.
        limits: As for `IndexSite`.
        public_url: As for `IndexResource`.
        cors: As for `IndexResource`.
        headers: As for `IndexResource`.
        access: Any `IAccessControl`, as for `IndexResource`.
        store: Any `IStore`, as for `IndexResource`; it should publish into the source.
        audit_log: Any `IAuditLog`, as for `IndexResource`.
        upload_settings: As for `IndexResource`; by default uploads are enabled if there is a store.
        indexes: Any `IIndexes`, as for `IndexResource`.
        title: As for `IndexResource`.
        downloads: As for `IndexResource`, with the same clock.

    Attributes:
        source: Provides the projects.
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
        indexes: IIndexes | None = None,
        title: str = "",
        downloads: Downloads | None = None,
    ) -> None:
        # Any, so that tests can use members of their source that are not part of the contract.
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
            indexes=indexes,
            title=title,
            downloads=downloads,
            directories=Directories(
                None, thread=SynchronousRunner(), reader=SynchronousRunner(), clock=clock
            ),
        )
        super().__init__(IndexSite(resource, reactor=clock, limits=limits), clock)
        lifecycle = ILifecycle(self.source, None)
        if lifecycle is not None:
            lifecycle.start()

    @classmethod
    def of_folders(
        cls,
        *paths: str | os.PathLike[str],
        clock: Clock | None = None,
        overwrite: Iterable[str] | None = None,
        **more: Any,
    ) -> IndexInMemory:
        """
        Serve folders like the server, but without threads.

        Args:
            paths: Folders, read in order.
            clock: Measures how long files have been unchanged; a new `Clock` by default.
            overwrite: As for `FolderStore`: enables uploads into the folders, for everyone unless an
                `access` is given. None for a read-only index.
            more: The other arguments of the class.
        """
        clock = clock or Clock()
        source = FolderSource(
            *paths,
            reactor=clock,
            reader=SynchronousRunner(),
            cache_thread=SynchronousRunner(),
            # Files get their times from the system's clock, so the test's clock is added to it.
            validator=StatValidator(monotonic=clock.seconds, wall=lambda: file_clock() + clock.seconds()),
        )
        if overwrite is not None:
            audit_log = AuditLog(None, SynchronousRunner())
            store = FolderStore(
                source,
                worker=SynchronousRunner(),
                audit_log=audit_log,
                overwrite=tuple(overwrite),
                reactor=clock,
            )
            more = {
                "access": AnonymousAccess(anonymous_upload=True),
                "store": store,
                "audit_log": audit_log,
                **more,
            }
        return cls(source, clock=clock, **more)

    def close(self) -> None:
        """Drop all connections, and stop the source."""
        self.disconnect_all()
        lifecycle = ILifecycle(self.source, None)
        if lifecycle is not None:
            outcomes: list[Any] = []
            maybeDeferred(lifecycle.stop).addBoth(outcomes.append)
            self.settle()
            if outcomes and isinstance(outcomes[0], Failure):
                outcomes[0].raiseException()

    def __enter__(self) -> IndexInMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
