"""
Builds the components of a server from settings; starts and opens nothing.

Out of scope: start and stop (see `service`), which source owns a name (see `indexes.builder`).
"""

from __future__ import annotations

import os
import secrets
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import maybeDeferred

from twisted_index.access.factory import make_access, make_proxies
from twisted_index.access.login_throttle import LoginThrottle
from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.backends.folder.shared_folders import SharedFolders
from twisted_index.backends.folder.source import FolderSource
from twisted_index.backends.folder.store import FolderStore
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.errors import SimpleIndexError
from twisted_index.events.audit_log import AuditLog
from twisted_index.events.observers import Observers
from twisted_index.events.refusals import Refusals
from twisted_index.events.serials import Serials
from twisted_index.events.webhooks import Webhooks
from twisted_index.indexes.builder import SourceBuilder, routed_away
from twisted_index.indexes.catalog import IndexCatalog
from twisted_index.indexes.index_line import IndexLines
from twisted_index.indexes.past_indexes import PastIndexes
from twisted_index.indexes.registry import IndexRegistry, LiveIndex
from twisted_index.indexes.scope import PLAIN
from twisted_index.indexes.served_index import ServedIndex
from twisted_index.interfaces import AuditAction, AuditEvent
from twisted_index.metrics.disk_use import DiskUse
from twisted_index.metrics.free_space import FreeSpace
from twisted_index.search.directories import Directories
from twisted_index.server.draft_indexes import DraftIndexes
from twisted_index.server.named_indexes import NamedIndexes
from twisted_index.server.replicated_indexes import ReplicatedIndex, ReplicatedIndexes
from twisted_index.server.replication import Replication
from twisted_index.server.state_folder import inspection_cache_path, search_folder
from twisted_index.server.upstreams import (
    build_upstream,
    cache_folder,
    upstream_names,
    upstream_urls,
    with_primary,
)
from twisted_index.statistics.day_files import downloads_folder
from twisted_index.statistics.downloads import Downloads
from twisted_index.web.requests.client_info import ClientInfoReader
from twisted_index.web.resource import IndexResource
from twisted_index.web.views.descriptions import RENDERINGS, Descriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client.registry import Collector

    from twisted_index.access.token_place import TokenPlace
    from twisted_index.access.trusted_proxies import TrustedProxies
    from twisted_index.backends.object_store.bucket import Bucket
    from twisted_index.backends.object_store.object_editor import ObjectEditor
    from twisted_index.backends.object_store.source import ObjectSource
    from twisted_index.backends.object_store.store import ObjectStore
    from twisted_index.backends.object_store.tokens import TokensInBucket
    from twisted_index.backends.upstream.source import UpstreamSource
    from twisted_index.config.reload import ConfigReloader
    from twisted_index.config.settings import Settings
    from twisted_index.interfaces import IAccessControl, IAuditLog, IIndexObserver, ISource
    from twisted_index.server.bucket_indexes import BucketIndexes
    from twisted_index.tls.certificate import ServerCertificate
    from twisted_index.web.relay import ChangeRelay


@dataclass(frozen=True, slots=True)
class Components:
    """
    The components of a server.

    Attributes:
        workers: The thread pools, in the order in which they stop.
        resource: The root web resource.
        store: Publishes files; None for a read-only index.
        webhooks: None for a read-only index.
        refusals: The same.
        has_users: Whether any user or token can authenticate.
        packages: The folders, or the bucket; None if another source replaces them.
        indexes: The indexes of the server; None if another source replaces them.
        shared: What all folders share, to be stopped after them; None with such a source.
        downloads: Counts downloads; None if they are not counted.
        replication: The part that the server has in a replication; None with such a source.
        follow: Begins to follow the primary, if this server is a replica.
    """

    workers: tuple[ThreadPool, ...]
    resource: IndexResource
    store: FolderStore | ObjectStore | None
    webhooks: Webhooks | None
    refusals: Refusals | None = None
    has_users: bool = False
    packages: FolderSource | ObjectSource | None = None
    indexes: IndexRegistry | None = None
    shared: SharedFolders | None = None
    downloads: Downloads | None = None
    replication: Replication | None = None
    follow: Callable[[], None] = lambda: None


def build_components(
    settings: Settings,
    reactor: Any,
    *,
    source: ISource | None = None,
    observer: IIndexObserver | None = None,
    reloader: ConfigReloader | None = None,
    certificates: Sequence[ServerCertificate] = (),
    looks: bool = False,
    asks: bool = True,
) -> Components:
    """
    Build the components.

    Args:
        settings: All settings.
        reactor: Twisted's reactor.
        source: Replaces the folders; the index is then read-only.
        observer: Notified of changes in the folders.
        reloader: Reloads the settings while the server runs; None if they are fixed.
        certificates: Those of the listeners.
        looks: Whether this is no server but looks at what one serves, perhaps while that runs: then nothing
            is kept that is the server's alone.
        asks: Whether upstreams are asked; else their pages are those in the cache, however old.

    Raises:
        ConfigurationError: A setting cannot be applied.
    """
    given, settings = settings, with_primary(settings)
    worker = ThreadPool(reactor, threads=settings.limits.threads, name="index-reader")
    inspections = InspectionCache(inspection_cache_path(settings.state))
    if looks:
        settings = replace(settings, state=None)
    builder = _Builder(
        settings, given, reactor, worker, observer, certificates, reloader, inspections, asks=asks
    )
    return builder.build_read_only(source) if source is not None else builder.build()


class _Builder:
    def __init__(
        self,
        settings: Settings,
        given: Settings,
        reactor: Any,
        worker: ThreadPool,
        observer: IIndexObserver | None,
        certificates: Sequence[ServerCertificate],
        reloader: ConfigReloader | None,
        inspections: InspectionCache,
        *,
        asks: bool,
    ) -> None:
        self._settings = settings
        self._given = given
        self._asks = asks
        self._reactor = reactor
        self._worker = worker
        self._observer = observer
        self._certificates = certificates
        self._reloader = reloader
        self._collectors: list[Collector] = [*certificates, FreeSpace(_own_folders(settings), reactor)]
        # Outlives reloaded settings, or a change of them would give guesses a fresh start.
        self._throttle = LoginThrottle(reactor)
        self._audit_log: IAuditLog | None = None
        self._instance = f"twisted-index-{secrets.token_hex(8)}"
        # A thread of its own, so that no search waits for files that are read.
        self._searcher = ThreadPool(reactor, threads=1, name="index-search")
        # The same for what waits for descriptions, which may be slow.
        self._renderer = ThreadPool(reactor, threads=RENDERINGS, name="index-renderer")
        self._serials = Serials(_serials_path(settings.state))
        self._replication = Replication(settings, self._serials, reactor, self._instance)
        self._collectors.append(self._replication)
        self._shared = SharedFolders(reactor=reactor, reader=worker, cache=inspections)
        downloads = Downloads(downloads_folder(settings.state), worker, reactor)
        self._downloads = downloads if settings.statistics else None

    def build_read_only(self, source: ISource) -> Components:
        # What was done here at other times, and what is done at the console, is shown by any server.
        resource = self._resource(source, audit_log=self._own_log())
        workers = (self._renderer, self._searcher, self._worker)
        return Components(workers, resource, None, None, downloads=self._downloads)

    def build(self) -> Components:
        settings = self._settings
        packages: FolderSource | ObjectSource
        if settings.bucket is None:
            packages = self._folder(*settings.paths)
            self._collectors.append(packages)
            if settings.replication.peers and len(settings.paths) == 1:
                packages.watch_for_loss()
                self._replication.packages = packages
        else:
            from twisted_index.server.buckets import build_bucket_source

            packages = build_bucket_source(settings, self._reactor, self._observers())
        bucket = self._shared_bucket(packages)
        make_access = partial(self._access, shared_tokens=self._shared_tokens(bucket))
        access = make_access(settings)
        historian, shared_log = self._shared_history(bucket)
        # Without any everyone may read and do nothing else, so requests need no checks.
        writing = self._writing(packages, shared_log) if self._may_write(access) else None
        audit_log = writing.audit_log if writing is not None else shared_log or self._own_log()
        readers = (*historian, self._renderer, self._searcher, self._worker)
        workers = readers if writing is None else (writing.worker, *readers)
        indexes = self._indexes(packages, writing)
        self._replication.named = indexes.replicated
        return self._components(packages, access, make_access, writing, audit_log, indexes, workers)

    def _writes(self, access: IAccessControl) -> bool:
        settings = self._settings
        return settings.uploads.upload or access.has_users or settings.access.rights is not None

    def _may_write(self, access: IAccessControl) -> bool:
        """Return whether clients may change anything, now or after a change of the settings."""
        return self._writes(access) or self._reloader is not None

    def _components(
        self,
        packages: FolderSource | ObjectSource,
        access: IAccessControl,
        make_access: Callable[[Settings], IAccessControl],
        writing: _WriteSide | None,
        audit_log: IAuditLog,
        indexes: _Indexes,
        workers: tuple[ThreadPool, ...],
    ) -> Components:
        settings, reloader = self._settings, self._reloader
        resource = self._resource(
            indexes.plain.source,
            # A state folder may get its first token at any time.
            None if writing is None and settings.state is None else access,
            writing,
            audit_log=audit_log,
            indexes=indexes.registry,
        )
        live = _Reloadable(self._given, settings, access, indexes, make_access, resource, writing)
        self._replication.on_lead = live.renew
        if reloader is not None and writing is not None:
            resource.poll = reloader.poll
            reloader.status.report = self._record_reload
            reloader.apply = live.apply
        return Components(
            workers,
            resource,
            writing.store if writing is not None and self._writes(access) else None,
            None if writing is None else writing.webhooks,
            None if writing is None else writing.refusals,
            has_users=access.has_users,
            packages=packages,
            indexes=indexes.registry,
            shared=self._shared,
            downloads=self._downloads,
            replication=self._replication,
            follow=partial(self._follow, packages),
        )

    def _follow(self, packages: FolderSource | ObjectSource) -> None:
        if isinstance(packages, FolderSource):
            plain = ReplicatedIndex("", packages.paths[0], self._serials, packages.drop_outdated)
            self._replication.start(plain)

    def _indexes(self, packages: FolderSource | ObjectSource, writing: _WriteSide | None) -> _Indexes:
        settings = self._settings
        builder = self._source_builder(packages)
        named = self._named(packages, writing)
        if named is not None:
            builder.guard = named.unreserved
        store = None if writing is None else writing.store
        folder = packages if isinstance(packages, FolderSource) else None
        drafts = DraftIndexes(
            self._pile,
            reactor=self._reactor,
            writer=None if writing is None else writing.worker,
            audit_log=None if writing is None else writing.audit_log,
        )
        return _Indexes(settings, folder, builder, named, store, drafts, self._reactor)

    def _named(
        self, packages: FolderSource | ObjectSource, writing: _WriteSide | None
    ) -> NamedIndexes | None:
        settings = self._settings
        if settings.indexes is None:
            return None
        bucket = self._bucket_indexes
        return NamedIndexes(
            settings,
            IndexLines(IndexCatalog(settings.indexes)) if bucket is None else bucket.lines,
            reactor=self._reactor,
            make_folder=self._pile,
            reader=self._worker,
            # Another builder, since what it makes starts and stops with the named indexes.
            upstreams=self._source_builder(packages),
            writer=None if writing is None else writing.worker,
            audit_log=None if writing is None else writing.audit_log,
            bucket=bucket,
            manage=self._replication.manage,
        )

    def _source_builder(self, packages: FolderSource | ObjectSource) -> SourceBuilder:
        return SourceBuilder(
            packages, make_folder=self._folder, make_upstream=self._upstream, resolve=upstream_urls
        )

    def _observers(self) -> Observers | None:
        return None if self._observer is None else Observers(self._observer)

    def _writing(self, packages: FolderSource | ObjectSource, shared_log: IAuditLog | None) -> _WriteSide:
        settings = self._settings
        # Threads of its own, so that large uploads do not delay readers.
        writer = ThreadPool(self._reactor, threads=settings.limits.threads, name="index-store")
        audit_log = self._audit_log = shared_log or AuditLog(settings.state, writer)
        store: FolderStore | ObjectStore
        editor: BlockingStore | ObjectEditor
        if not isinstance(packages, FolderSource):
            from twisted_index.server.buckets import build_bucket_store

            store = build_bucket_store(settings, packages, writer, audit_log)
            editor = store.editor
        else:
            editor = BlockingStore(
                packages.paths,
                overwrite=settings.uploads.overwrite,
                keep_deleted=settings.uploads.keep_deleted,
                keep_prereleases=settings.uploads.keep_prereleases,
                min_free=settings.uploads.min_free,
                routed_away=routed_away(settings.upstreams, settings.paths),
            )
            store = FolderStore(
                packages, worker=writer, audit_log=audit_log, blocking_store=editor, reactor=self._reactor
            )
        return _WriteSide(
            worker=writer,
            audit_log=audit_log,
            refusals=Refusals(audit_log, self._reactor),
            blocking_store=editor,
            store=store,
            webhooks=Webhooks(settings.uploads.on_upload, reactor=self._reactor),
        )

    # -- What all servers on a bucket share: at the root of its indexes, if it has any

    @cached_property
    def _bucket_indexes(self) -> BucketIndexes | None:
        if self._settings.bucket_of_indexes is None:
            return None
        from twisted_index.server.bucket_indexes import BucketIndexes

        return BucketIndexes(self._settings, self._reactor, self._observers)

    def _shared_bucket(self, packages: FolderSource | ObjectSource) -> Bucket | None:
        if self._bucket_indexes is not None:
            return self._bucket_indexes.bucket
        return None if isinstance(packages, FolderSource) else packages.bucket

    def _shared_tokens(self, bucket: Bucket | None) -> TokensInBucket | None:
        if bucket is None:
            return None
        from twisted_index.backends.object_store.tokens import TokensInBucket

        return TokensInBucket(bucket, self._settings.rescan)

    def _shared_history(self, bucket: Bucket | None) -> tuple[tuple[ThreadPool, ...], IAuditLog | None]:
        """Return the history, with its threads: a search of a long one waits for many objects."""
        if bucket is None:
            return (), None
        from twisted_index.backends.object_store.history import BucketHistory
        from twisted_index.backends.object_store.shared_audit_log import SharedAuditLog

        historian = ThreadPool(self._reactor, threads=8, name="index-history")
        return (historian,), SharedAuditLog(BucketHistory(bucket), self._own_log(), historian)

    def _own_log(self) -> AuditLog:
        return AuditLog(self._settings.state, self._worker)

    def _access(self, settings: Settings, shared_tokens: TokenPlace | None = None) -> IAccessControl:
        return make_access(
            settings.access,
            settings.uploads,
            settings.state,
            self._reactor,
            self._worker,
            self._throttle,
            self._record_reload,
            default_index=settings.default_index,
            shared_tokens=shared_tokens,
        )

    def _record_reload(self, detail: str) -> None:
        """Record that a file was read again."""
        if self._audit_log is not None:
            event = AuditEvent(time=datetime.now(UTC), by="", action=AuditAction.RELOAD, detail=detail)
            # The audit log logs why it cannot be written; the server may be about to stop.
            recording = maybeDeferred(self._audit_log.record, event)
            recording.addErrback(lambda gone: gone.trap(SimpleIndexError, CancelledError))

    def _resource(
        self,
        source: ISource,
        access: IAccessControl | None = None,
        writing: _WriteSide | None = None,
        *,
        audit_log: IAuditLog,
        indexes: IndexRegistry | None = None,
    ) -> IndexResource:
        settings, observer = self._settings, self._observer
        proxies = make_proxies(settings.access)
        resource = IndexResource(
            source,
            public_url=settings.public_url,
            cors=settings.cors,
            headers=settings.add_headers,
            worker=self._worker,
            page_cache=settings.page_cache,
            proxies=proxies,
            collectors=self._collectors,
            instance=self._instance,
            directories=Directories(
                search_folder(settings.state),
                thread=self._searcher,
                reader=self._worker,
                clock=self._reactor,
            ),
            descriptions=Descriptions(self._renderer, self._reactor),
            reactor=self._reactor,
            access=access,
            store=None if writing is None else writing.store,
            audit_log=audit_log,
            refusals=None if writing is None else writing.refusals,
            upload_settings=settings.uploads,
            on_uploaded=None if writing is None else writing.webhooks.notify,
            on_rejected=None if observer is None else Observers(observer).rejected,
            indexes=indexes,
            title=settings.title,
            downloads=self._downloads,
            disk_use=DiskUse(_own_folders(settings)),
            replication_state=self._replication.state_file,
            gate=self._replication.gate,
            replication=self._replication,
            relay=self._relay(proxies),
        )
        files = (*self._certificates, *(() if self._reloader is None else (self._reloader,)))
        resource.report_files(lambda: files)
        return resource

    def _relay(self, proxies: TrustedProxies | None) -> ChangeRelay | None:
        """Return what sends changes on, if this server may be a replica; only then its modules are loaded."""
        settings = self._settings
        if settings.replication.replica_of is None:
            return None
        from twisted_index.web.relay import ChangeRelay

        return ChangeRelay(
            settings.replication.replica_of,
            self._replication.state_file,
            self._reactor,
            environ=os.environ,
            client_info=ClientInfoReader(proxies),
            instance=self._instance,
            common_headers=settings.add_headers,
            wait_for=self._replication.followed.wait_for,
        )

    def _folder(self, *paths: str) -> FolderSource:
        return self._pile(paths, (), self._serials)

    def _pile(
        self, paths: Sequence[str | bytes], owners: Sequence[str | None], serials: Serials
    ) -> FolderSource:
        settings = self._settings
        return FolderSource(
            *paths,
            owners=owners,
            shared=self._shared,
            reactor=self._reactor,
            rescan=settings.rescan,
            response_timeout=settings.limits.response_timeout,
            observer=self._observers(),
            serials=serials,
        )

    def _upstream(self, urls: tuple[str, ...]) -> UpstreamSource:
        source, collectors = build_upstream(
            urls,
            self._settings,
            reactor=self._reactor,
            worker=self._worker,
            instance=self._instance,
            asks=self._asks,
        )
        self._collectors.extend(collectors)
        return source


@dataclass(frozen=True, slots=True, kw_only=True)
class _WriteSide:
    """
    The components that change files.

    Attributes:
        worker: Their threads.
        audit_log: Records each change.
        refusals: Record there what is refused.
        blocking_store: Makes the changes.
        store: The same without blocking.
        webhooks: Announce new files.
    """

    worker: ThreadPool
    audit_log: IAuditLog
    refusals: Refusals
    blocking_store: BlockingStore | ObjectEditor
    store: FolderStore | ObjectStore
    webhooks: Webhooks


class _Indexes:
    """
    The indexes of a server: the one without a name, made of settings, and those with one.

    Attributes:
        plain: The index without a name.
        registry: All of them.
    """

    def __init__(
        self,
        settings: Settings,
        folder: FolderSource | None,
        builder: SourceBuilder,
        named: NamedIndexes | None,
        store: FolderStore | ObjectStore | None,
        drafts: DraftIndexes,
        reactor: Any,
    ) -> None:
        self._folder = folder
        self._builder = builder
        self._named = named
        self._store = store
        self._keep_deleted = settings.uploads.keep_deleted
        self._upstreams = settings.upstreams
        self._source = builder.build(settings.upstreams)
        self.plain = self._served(self._source, settings)
        self.registry = IndexRegistry(
            self._live(),
            reactor=reactor,
            named=named,
            default=settings.default_index,
            rescan=settings.rescan,
            past=PastIndexes(
                reactor,
                rescan=settings.rescan,
                keep_deleted=lambda: self._keep_deleted,
                as_of=settings.as_of or "",
            ),
            drafts=drafts,
        )

    @property
    def replicated(self) -> ReplicatedIndexes | None:
        """Those with a name that a replica keeps equal to its primary's; None without any."""
        named, lines = self._named, self.registry.lines
        if named is None or lines is None or not isinstance(lines.catalog, IndexCatalog):
            return None
        return ReplicatedIndexes(lines.catalog, named.serials_of, self.registry.drop_outdated)

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """
        Make what other settings need.

        Returns:
            Lets them take effect.

        Raises:
            ConfigurationError: Something cannot be made.
        """
        source = self._source
        if settings.upstreams != self._upstreams:
            source = self._builder.build(settings.upstreams)
        use = None if self._named is None else self._named.prepare(settings)

        def apply() -> None:
            self._upstreams, self._source = settings.upstreams, source
            self._keep_deleted = settings.uploads.keep_deleted
            self.plain = self._served(source, settings)
            if use is not None:
                use()
            self.registry.replace(self._live())

        return apply

    def _live(self) -> LiveIndex:
        folder = self._folder
        return LiveIndex(members=(), served=self.plain, folder=folder, keeps_past=folder is not None)

    def _served(self, source: ISource, settings: Settings) -> ServedIndex:
        if self._named is not None:
            source = self._named.reporting(source)
        return ServedIndex(
            scope=PLAIN,
            line=("",),
            source=source,
            store=self._store,
            uploads=settings.uploads,
            title=settings.title,
            upstreams=upstream_names(settings.upstreams.urls),
        )


@dataclass(slots=True)
class _Reloadable:
    """
    A running server whose settings can be replaced.

    Attributes:
        given: The current settings, as a person has written them.
        settings: The same with a primary as the upstream.
        access: Built from them.
        indexes: The same.
        make_access: Builds access control.
        resource: Serves all of that.
        writing: The components that change files; None for a read-only index.
    """

    given: Settings
    settings: Settings
    access: IAccessControl
    indexes: _Indexes
    make_access: Callable[[Settings], IAccessControl]
    resource: IndexResource
    writing: _WriteSide | None

    def renew(self) -> None:
        """Ask a primary for nothing any more, once this server has taken over."""
        self.apply(self.given)

    def apply(self, settings: Settings) -> None:
        """Replace the settings; see `ConfigReloader.apply`."""
        access, given, settings = self.access, settings, with_primary(settings)
        # All that can fail comes first, so that settings apply as a whole or not at all.
        use_indexes = self.indexes.prepare(settings)
        # Clients that have logged in authenticate again only if any of this has changed.
        if _access_settings(settings) != _access_settings(self.settings):
            access = self.make_access(settings)
        if self.writing is not None:
            self._write_by(self.writing, settings)
        use_indexes()
        self.resource.serve(self.indexes.plain.source, access, settings.uploads)
        self.given, self.settings, self.access = given, settings, access

    def _write_by(self, writing: _WriteSide, settings: Settings) -> None:
        writing.webhooks.set_urls(settings.uploads.on_upload)
        store = writing.blocking_store
        store.overwrite = settings.uploads.overwrite
        store.routed_away = routed_away(settings.upstreams, settings.paths)
        if isinstance(store, BlockingStore):
            store.keep_deleted = settings.uploads.keep_deleted
        store.keep_prereleases = settings.uploads.keep_prereleases
        store.min_free = settings.uploads.min_free


def _access_settings(settings: Settings) -> tuple[object, ...]:
    publishing = settings.uploads
    return settings.access, publishing.upload, publishing.anonymous_upload


def _own_folders(settings: Settings) -> list[str]:
    """Return the folders whose file systems the server writes to or reads from."""
    cache = cache_folder(settings) if settings.upstreams.all_upstreams else None
    packages = () if settings.bucket is not None else settings.paths
    indexes = None if settings.bucket_of_indexes is not None else settings.indexes
    paths = (*packages, indexes, settings.state, cache)
    return [path for path in paths if path is not None]


def _serials_path(state: str | None) -> str | None:
    return None if state is None else os.path.join(state, "keep", "serials")
