"""
The service tree, in the order of the start; the stop is the reverse.

Start: the access log, the listeners, the source. Stop: listeners, idle connections, running requests, the
access log, then the source with its threads and its cache; each waits for the one before.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.logger import Logger

from twisted_index.config.reload import ConfigReloader
from twisted_index.errors import SimpleIndexError
from twisted_index.server.banner import (
    Listener,
    cleartext_password_warning,
    describe_contents,
    describe_indexes,
    describe_upstreams,
    index_urls,
    startup_banner,
)
from twisted_index.server.file_limits import connections_for_nofile_limit, raise_nofile_limit
from twisted_index.server.listeners import ServerEndpoint
from twisted_index.server.network import lan_addresses
from twisted_index.server.state_folder import make_state_folder
from twisted_index.server.upstreams import (
    cache_folder,
    describe_repositories,
    requested_urls,
    with_primary,
)
from twisted_index.server.wiring import build_components
from twisted_index.web.server.access_log import STANDARD_OUTPUT, AccessLog
from twisted_index.web.server.log_formats import FORMATS, TerminalFormat
from twisted_index.web.server.site import IndexSite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IAddress, IListeningPort
    from twisted.python.failure import Failure

    from twisted_index.config.layers import ConfigSources
    from twisted_index.config.settings import Settings
    from twisted_index.interfaces import IIndexObserver, ISource

_log = Logger()


class SimpleIndexService(MultiService):
    """
    A package index that listens.

    Nothing is opened before it starts, and everything is closed when it has stopped. It can be
    started again.

    Args:
        settings: What is served, where and how.
        source: Serves instead of the folders; such an index can only be read.
        reactor: Twisted's, unless another is given.
        observer: Notified of changes in the folders.
        config_sources: What the settings were read from. If there is a configuration file among them it is
            read again when it has changed; see `config.reload`.
    """

    #: Whether this is a program of its own, whose output people watch: without an access log a terminal shows
    #: each request, and the projects are counted at the start.
    stands_alone = False

    def __init__(
        self,
        settings: Settings,
        *,
        source: ISource | None = None,
        reactor: Any = None,
        observer: IIndexObserver | None = None,
        config_sources: ConfigSources | None = None,
    ) -> None:
        super().__init__()
        self._layers = config_sources
        self._observer = observer
        self.settings = settings
        self._given_source = source
        self._reactor = reactor
        self._open: list[tuple[ServerEndpoint, IListeningPort]] = []
        self._running = False

    @property
    def addresses(self) -> list[IAddress]:
        """Where it listens, as it turned out; empty unless it runs."""
        return [port.getHost() for _endpoint, port in self._open]

    def privilegedStartService(self) -> None:
        """Open the listeners, with the rights to open low ports."""
        super().privilegedStartService()
        self._begin()

    def startService(self) -> None:
        """
        Start whatever has not been started.

        Raises:
            Exception: What keeps a listener or the access log from being opened.
        """
        super().startService()
        self._begin()
        self._resource.start()
        replication = self._parts.replication
        if replication is not None:
            self._parts.follow()
        if self._parts.store is not None and not (replication is not None and replication.follows):
            Deferred.fromCoroutine(self._parts.store.sweep()).addErrback(_log_sweep)
        self._announce()

    def _begin(self) -> None:
        if self._running:
            return
        self._running = True
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        raise_nofile_limit()
        self._build()
        try:
            if self._parts.replication is not None:
                self._parts.replication.prepare()
            if self._access_log is not None:
                self._access_log.open()
            for endpoint in self._endpoints:
                self._listen(endpoint)
            self._check_loops()
        except BaseException:
            self._abandon()
            raise
        self._watch_signal()

    def _build(self) -> None:
        settings, limits, reactor = self.settings, self.settings.limits, self._reactor
        most = limits.max_connections or connections_for_nofile_limit()
        self._endpoints = [ServerEndpoint(description, reactor) for description in settings.listen]
        certificates = [endpoint.certificate for endpoint in self._endpoints if endpoint.certificate]
        self._access_log = self._make_access_log()
        self._parts = build_components(
            settings,
            reactor,
            source=self._given_source,
            observer=self._observer,
            reloader=self._reloader(),
            certificates=certificates,
        )
        self._resource = self._parts.resource
        self._site = IndexSite(
            self._resource,
            reactor=reactor,
            limits=replace(limits, max_connections=most),
            access_log=self._access_log,
            fast_path=settings.fast_path,
        )
        self._site.displayTracebacks = settings.display_tracebacks

    def _make_access_log(self) -> AccessLog | None:
        path = self.settings.access_log
        if path is not None:
            return AccessLog(path, self._reactor, FORMATS[self.settings.access_log_format])
        if self.stands_alone and sys.__stdout__ is not None and sys.__stdout__.isatty():
            return AccessLog(STANDARD_OUTPUT, self._reactor, TerminalFormat())
        return None

    def _reloader(self) -> ConfigReloader | None:
        layers = self._layers
        if layers is None or layers.file is None:
            return None
        return ConfigReloader(self.settings, layers.file, layers.load, self._reactor)

    def _listen(self, endpoint: ServerEndpoint) -> None:
        port = endpoint.listen(self._site)
        if port is not None:
            self._open.append((endpoint, port))
            self._site.listens_on(port)

    def _check_loops(self) -> None:
        """Refuse to be one's own upstream; only now are the ports known."""
        words = with_primary(self.settings).upstreams.all_upstreams
        if not words:
            return
        from twisted_index.backends.upstream.loop_check import refuse_self_upstream

        refuse_self_upstream(
            (url for word in words for url in requested_urls(word)),
            self.addresses,
            host_name=socket.gethostname(),
            own_addresses=lan_addresses(),
            public_url=self.settings.public_url,
        )

    def _announce(self) -> None:
        listening = [
            Listener.at(endpoint.description, port.getHost(), endpoint.certificate_names)
            for endpoint, port in self._open
        ]
        lines = startup_banner(
            listening,
            socket.gethostname(),
            self.settings.public_url,
            self.settings.paths if self._given_source is None else (),
            lan=lan_addresses(),
            upstreams=self._upstream_lines(),
            indexes=self._index_lines(),
            uploads=self.settings.uploads.upload,
            login=self._parts.has_users or not self.settings.uploads.anonymous_upload,
        )
        for line in lines:
            _log.info("{line}", line=line)
        if self.settings.state is not None:
            fault = make_state_folder(self.settings.state)
            if fault is not None:
                _log.warn("{fault}", fault=fault)
        if self.stands_alone and self._parts.packages is not None:
            urls = index_urls(listening, socket.gethostname(), self.settings.public_url, lan_addresses())
            counting = Deferred.fromCoroutine(self._parts.packages.count())
            counting.addCallbacks(_log_contents, _ignore_count, callbackArgs=(urls,))
        for endpoint in self._endpoints:
            endpoint.report_warning()
        warning = cleartext_password_warning(listening)
        if warning is not None and self._parts.has_users and not self.settings.access.trusted_proxies:
            _log.warn("{warning}", warning=warning)

    def _index_lines(self) -> list[str]:
        folder, indexes = self.settings.indexes, self._parts.indexes
        if folder is None or indexes is None:
            return []
        upstreams = [named.name for named in self.settings.upstreams.named]
        if self.settings.bucket_of_indexes is not None:
            return [f"Indexes below /+NAME/ are the parts of {folder}"]
        try:
            return describe_indexes(folder, indexes.names(), upstreams)
        except SimpleIndexError as error:
            return [error.message]

    def _upstream_lines(self) -> list[str] | None:
        replication = self._parts.replication
        replicated = () if replication is None else replication.describe()
        if replicated:
            return list(replicated)
        upstreams = self.settings.upstreams
        if not upstreams.urls and not upstreams.routes:
            return None
        cache = cache_folder(self.settings) if upstreams.mode == "cache" else None
        lines = describe_upstreams(
            upstreams.urls, upstreams.mode, cache, upstreams.cache_size, offline=upstreams.offline
        )
        if "pip" in upstreams.all_upstreams and not upstreams.offline:
            from twisted_index.config.pip_index import cached_pip_index

            lines += cached_pip_index(os.environ).describe()
        return lines if upstreams.offline else lines + describe_repositories(upstreams)

    def stopService(self) -> Deferred[None]:
        """Stop in order; see the module."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await maybeDeferred(super().stopService)
        if not self._running:
            return
        self._running = False
        self._unwatch_signal()
        ports, self._open = self._open, []
        await gatherResults([maybeDeferred(port.stopListening) for _endpoint, port in ports])
        self._resource.stop_waiting()
        if self._parts.replication is not None:
            await self._parts.replication.stop()
        await self._site.drain(self.settings.limits.stop_timeout)
        if self._access_log is not None:
            self._access_log.close()
        if self._parts.webhooks is not None:
            await self._parts.webhooks.stop()
        if self._parts.refusals is not None:
            await self._parts.refusals.flush()
        if self._parts.downloads is not None:
            await self._parts.downloads.stop()
        # What is being written is finished; then nothing asks the source any more.
        *writers, reader = self._parts.workers
        for worker in writers:
            await worker.stop()
        await self._resource.close()
        if self._parts.shared is not None:
            await self._parts.shared.stop()
        await reader.stop()

    def _abandon(self) -> None:
        """Close what was opened before the start failed."""
        self._running = False
        ports, self._open = self._open, []
        for _endpoint, port in ports:
            port.stopListening()
        if self._access_log is not None:
            self._access_log.close()
        if self._parts.replication is not None:
            Deferred.fromCoroutine(self._parts.replication.stop())
        for worker in self._parts.workers:
            worker.stop()

    # -- The signal after which the access log is opened anew

    _before: Any = None

    def _watch_signal(self) -> None:
        if self._access_log is None or not hasattr(signal, "SIGUSR1"):
            return
        try:
            self._before = signal.signal(signal.SIGUSR1, self._signaled)
        except ValueError:
            # Not in the main thread, where signals are not ours to take.
            self._before = None

    def _unwatch_signal(self) -> None:
        if self._before is not None and hasattr(signal, "SIGUSR1"):
            signal.signal(signal.SIGUSR1, self._before)
            self._before = None

    def _signaled(self, number: int, frame: Any) -> None:
        if self._access_log is not None:
            self._reactor.callFromThread(self._access_log.reopen)
        if callable(self._before):
            self._before(number, frame)


def _log_contents(counts: tuple[int, int], urls: Sequence[str]) -> None:
    _log.info("{line}", line=describe_contents(*counts, urls))


def _ignore_count(failure: Failure) -> None:
    """Ignore that the projects cannot be counted: an unreadable folder has been logged."""
    failure.trap(SimpleIndexError, CancelledError)


def _log_sweep(failure: Failure) -> None:
    _log.warn("Could not check for unfinished uploads: {error}", error=failure.getErrorMessage())
