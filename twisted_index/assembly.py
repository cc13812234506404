"""
The parts of a server, made out of settings and put together; nothing is started or opened here.

Not for: when parts start and stop (`service`), or who owns a name (`composition`).
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted_index.access.forwarded import TrustedProxies
from twisted_index.access.replaceable import ReplaceableAccess
from twisted_index.access.setup import make_access
from twisted_index.composition import Composition, served_elsewhere
from twisted_index.hooks import NewFileHooks
from twisted_index.ledger import Ledger
from twisted_index.observers import Observers
from twisted_index.sources.directory import DirectorySource
from twisted_index.sources.replaceable import ReplaceableSource
from twisted_index.store.editor import Editor
from twisted_index.store.folder import FolderStore
from twisted_index.store.history import History
from twisted_index.web.resources import IndexResource
from twisted_index.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.exposition import HasMetrics
    from twisted_index.reconfiguration import Reconfiguration
    from twisted_index.settings import Settings
    from twisted_index.upstream.cachefolder import CacheFolder
    from twisted_index.upstream.source import UpstreamSource
    from twisted_index.web.upload import Uploads


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What a server consists of.

    Attributes:
        workers: The threads of the parts, in the order in which they stop.
        resource: What answers.
        store: Where files are published; None for an index that can only be read.
        hooks: Tell others of new files; None if nobody wants to hear.
        knows_users: Whether anybody can log in.
    """

    workers: tuple[Worker, ...]
    resource: IndexResource
    store: FolderStore | None
    hooks: NewFileHooks | None
    knows_users: bool = False


def assemble(
    settings: Settings,
    reactor: Any,
    *,
    source: Any = None,
    observer: Any = None,
    reconfiguration: Reconfiguration | None = None,
) -> Parts:
    """
    Make the parts.

    Args:
        settings: What is served, and how.
        reactor: Where it runs.
        source: Serves instead of the folders; such an index can only be read.
        observer: Provides `IIndexObserver`; is told what becomes of files in the folders.
        reconfiguration: Says when other settings hold; None if they never change.

    Raises:
        ConfigurationError: They cannot be made so.
    """
    worker = Worker(reactor, threads=settings.limits.threads, name="index-reader")
    making = _Making(settings, reactor, worker, observer)
    return making.around(source) if source is not None else making.all(reconfiguration)


class _Making:
    def __init__(self, settings: Settings, reactor: Any, worker: Worker, observer: Any) -> None:
        self._settings = settings
        self._reactor = reactor
        self._worker = worker
        self._observer = observer
        self._parts: list[HasMetrics] = []
        self._instance = f"twisted-index-{secrets.token_hex(8)}"

    def around(self, source: Any) -> Parts:
        return Parts((self._worker,), self._resource(source), None, None)

    def all(self, reconfiguration: Reconfiguration | None) -> Parts:
        settings = self._settings
        publishing = settings.publishing
        folder = self._folder(*settings.paths)
        self._parts.append(folder)
        composition = Composition(
            folder, make_folder=self._folder, make_upstream=self._upstream, resolve=_resolve
        )
        source = composition.of(settings.upstreams)
        access = self._access(settings)
        writes = publishing.upload or access.has_users or settings.guarding.rights is not None
        if reconfiguration is None and not writes:
            # Nobody can do anything but read, so nothing has to be asked on the way of a request.
            return self.around(source)
        writing = self._writing(folder)
        if reconfiguration is not None:
            source = ReplaceableSource(source, reconfiguration.look)
            access = ReplaceableAccess(access, reconfiguration.look)
        resource = self._resource(
            source,
            access=access,
            store=writing.store,
            history=writing.history,
            publishing=publishing,
            told=writing.hooks.tell,
            refused=None if self._observer is None else Observers(self._observer).refused,
        )
        if reconfiguration is not None:
            following = _Following(
                running=lambda: reconfiguration.settings,
                composition=composition,
                source=source,
                access=access,
                make_access=self._access,
                editor=writing.editor,
                hooks=writing.hooks,
                uploads=resource.uploads,
            )
            reconfiguration.apply = following.apply
        workers = (writing.worker, self._worker)
        return Parts(workers, resource, writing.store if writes else None, writing.hooks, access.has_users)

    def _writing(self, folder: DirectorySource) -> _Writing:
        settings = self._settings
        # Threads of its own, so that large uploads hold up nobody who reads.
        writer = Worker(self._reactor, threads=settings.limits.threads, name="index-store")
        history = History(settings.state, writer)
        editor = Editor(
            folder.paths,
            overwrite=settings.publishing.overwrite,
            elsewhere=served_elsewhere(settings.upstreams, settings.paths),
        )
        store = FolderStore(folder, worker=writer, history=history, editor=editor, reactor=self._reactor)
        hooks = NewFileHooks(settings.publishing.on_upload, reactor=self._reactor)
        return _Writing(worker=writer, history=history, editor=editor, store=store, hooks=hooks)

    def _access(self, settings: Settings) -> Any:
        return make_access(
            settings.guarding, settings.publishing, settings.state, self._reactor, self._worker
        )

    def _resource(self, source: Any, **more: Any) -> IndexResource:
        settings = self._settings
        return IndexResource(
            source,
            public_url=settings.public_url,
            cors=settings.cors,
            headers=settings.add_headers,
            worker=self._worker,
            page_cache=settings.page_cache,
            proxies=TrustedProxies(settings.guarding.trusted_proxies),
            parts=self._parts,
            instance=self._instance,
            **more,
        )

    def _folder(self, *paths: str) -> DirectorySource:
        settings = self._settings
        return DirectorySource(
            *paths,
            reactor=self._reactor,
            reader=self._worker,
            ledger=Ledger(_ledger_path(settings.state)),
            rescan=settings.rescan,
            answer_timeout=settings.limits.answer_timeout,
            observer=None if self._observer is None else Observers(self._observer),
        )

    def _upstream(self, urls: tuple[str, ...]) -> UpstreamSource:
        # Imported here, as a server without an upstream is to start without the client's share.
        from twisted_index.upstream.client import HTTPRemote
        from twisted_index.upstream.numbers import UpstreamNumbers
        from twisted_index.upstream.source import UpstreamSource

        settings = self._settings.upstreams
        remotes = [
            HTTPRemote(
                url,
                self._reactor,
                worker=self._worker,
                environ=os.environ,
                instance=self._instance,
                addresses=settings.addresses,
            )
            for url in urls
        ]
        source = UpstreamSource(
            remotes,
            self._cache(),
            reactor=self._reactor,
            worker=self._worker,
            ttl=settings.cache_ttl,
            answer_timeout=self._settings.limits.answer_timeout,
            offline=settings.offline,
        )
        self._parts.append(UpstreamNumbers(source))
        return source

    def _cache(self) -> CacheFolder | None:
        from twisted_index.upstream.cachefolder import CacheFolder

        settings = self._settings.upstreams
        if settings.mode != "cache":
            return None
        folder = cache_folder(self._settings)
        return None if folder is None else CacheFolder(folder, settings.cache_size)


def cache_folder(settings: Settings) -> str | None:
    """Say where the cache of upstreams is: absolute; None without a state, unless it is given."""
    if settings.upstreams.cache is not None or settings.state is None:
        return settings.upstreams.cache
    return os.path.join(settings.state, "cache", "upstream")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writing:
    """
    Those parts by which files come and go.

    Attributes:
        worker: Its threads.
        history: Notes each change.
        editor: Makes it.
        store: Where files are published.
        hooks: Tell others of new files.
    """

    worker: Worker
    history: History
    editor: Editor
    store: FolderStore
    hooks: NewFileHooks


@dataclass(frozen=True, slots=True, kw_only=True)
class _Following:
    """
    Those parts of a running server that follow its settings.

    Attributes:
        running: Gives the settings that hold now.
        composition: Makes the source.
        source: What is served.
        access: Who may do what.
        make_access: Makes another one.
        editor: Publishes files.
        hooks: Tell others of new files.
        uploads: Takes them.
    """

    running: Callable[[], Settings]
    composition: Composition
    source: ReplaceableSource
    access: ReplaceableAccess
    make_access: Callable[[Settings], Any]
    editor: Editor
    hooks: NewFileHooks
    uploads: Uploads

    def apply(self, settings: Settings) -> None:
        """Let other settings hold; see `Reconfiguration.apply`."""
        running = self.running()
        # Whoever is logged in is asked again where anything of this is another.
        makes_access = _access_settings(settings) != _access_settings(running)
        # All that can fail comes first.
        access = self.make_access(settings) if makes_access else None
        self.hooks.follow(settings.publishing.on_upload)
        if access is not None:
            self.access.replace(access)
        if settings.upstreams != running.upstreams:
            self.source.replace(self.composition.of(settings.upstreams))
        self.editor.overwrite = settings.publishing.overwrite
        self.editor.elsewhere = served_elsewhere(settings.upstreams, settings.paths)
        self.uploads.publishing = settings.publishing


def _access_settings(settings: Settings) -> tuple[object, ...]:
    publishing = settings.publishing
    return settings.guarding, publishing.upload, publishing.anyone_may_upload


def _resolve(word: str) -> tuple[str, ...]:
    """Say which URLs an upstream stands for."""
    from twisted_index.upstream.pipindex import urls_of

    return urls_of(word, os.environ)


def _ledger_path(state: str | None) -> str | None:
    return None if state is None else os.path.join(state, "cache", "ledger.sqlite")
