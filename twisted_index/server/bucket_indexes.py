"""The indexes in a bucket: one client and one pool of threads for all, a source and a store for each."""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_index.backends.object_store.bucket_view import BucketView
from twisted_index.backends.object_store.conditions import ConditionsProbe
from twisted_index.backends.object_store.object_root import ObjectRoot
from twisted_index.backends.object_store.source import ObjectBase, ObjectSource
from twisted_index.concurrency.maybe_awaitable import result_now, result_of
from twisted_index.concurrency.parallel import all_of
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.errors import SimpleIndexError
from twisted_index.indexes.bucket_catalog import BucketCatalog
from twisted_index.indexes.bucket_lines import BucketLines
from twisted_index.indexes.registry import MAX_LIVE
from twisted_index.server.buckets import THREADS, build_bucket_editor, build_bucket_store, open_bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.backends.object_store.bucket import Bucket
    from twisted_index.backends.object_store.object_editor import ObjectEditor
    from twisted_index.backends.object_store.store import ObjectStore
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.config.settings import Settings, UploadSettings
    from twisted_index.interfaces import IAuditLog, IIndexObserver

_log = Logger()


class BucketIndexes:
    """
    What the indexes of a bucket share.

    Args:
        settings: With a bucket of indexes.
        reactor: Twisted's reactor.
        observe: Returns what is notified of changes, or None.
        bucket: The bucket; by default that of the settings.
        worker: Threads that wait for it, also for bytes of files, which are stopped with the indexes; by
            default its own.

    Attributes:
        bucket: The bucket.
        lines: The indexes.

    Raises:
        ConfigurationError: The client library is missing, or there are no credentials.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        observe: Callable[[], IIndexObserver | None] = lambda: None,
        *,
        bucket: Bucket | None = None,
        worker: IThreadRunner | None = None,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._observe = observe
        self._worker = worker or ThreadPool(reactor, threads=THREADS, name="index-bucket")
        self._pieces = worker or ThreadPool(reactor, threads=THREADS, name="index-pieces")
        self._roots: WeakValueDictionary[bytes, ObjectRoot] = WeakValueDictionary()
        self.bucket = bucket or open_bucket(settings, settings.indexes or "")
        self._conditions = ConditionsProbe(self.bucket)
        self._catalog = BucketCatalog(self.bucket, self._worker, reactor, settings.rescan)
        self.lines = BucketLines(self._catalog, self.root, self._worker)

    def start(self) -> None:
        """Look at the indexes, so that the first uploads find them; a failure is logged."""
        Deferred.fromCoroutine(self._look()).addErrback(lambda gone: gone.trap(CancelledError))

    async def stop(self) -> None:
        """Write what was learned, stop the threads, and forget everything."""
        await self._pieces.stop()
        # What is being read ends first, so that it is written with the rest.
        await self._worker.stop()
        await all_of(Deferred.fromCoroutine(root.stop()) for root in list(self._roots.values()))
        await self._worker.stop()

    def root(self, path: bytes) -> ObjectRoot:
        """Return what is known of an index, from its URL."""
        root = self._roots.get(path)
        if root is None:
            name = path.rpartition(b"/")[2].decode()
            state = self._settings.state
            root = self._roots[path] = ObjectRoot(
                BucketView(self.bucket, name),
                worker=self._worker,
                reactor=self._reactor,
                rescan=self._settings.rescan,
                state=None if state is None else Path(state, "indexes", name),
            )
        return root

    def make_source(self, paths: Sequence[bytes], owners: Sequence[str | None]) -> ObjectSource:
        """Make the source of a line from the URLs of its indexes and, but for the first, their names."""
        own, *inherited = map(self.root, paths)
        bases = [
            ObjectBase(owner, root)
            for root, owner in zip(inherited, owners[1:], strict=True)
            if owner is not None
        ]
        return ObjectSource(
            own,
            bases=bases,
            worker=self._worker,
            pieces=self._pieces,
            reactor=self._reactor,
            response_timeout=self._settings.limits.response_timeout,
            observer=self._observe(),
            redirect=self._settings.objects.deliver == "redirect",
        )

    def make_store(
        self,
        name: str,
        source: ObjectSource,
        uploads: UploadSettings,
        worker: IThreadRunner,
        log: IAuditLog,
    ) -> ObjectStore:
        """Make the store of an index."""
        settings = replace(self._settings, uploads=uploads)
        return build_bucket_store(settings, source, worker, log, index=name, conditions=self._conditions)

    def open_store(self, name: str, log: IAuditLog) -> ObjectStore:
        """Make the store of an index for the console; see `make_editor`."""
        source = self._open_source(name)
        return self.make_store(name, source, self._settings.uploads, self._worker, log)

    def make_editor(self, name: str) -> ObjectEditor:
        """
        Make what changes an index from the console. Blocks: the worker has to run calls at once.

        Raises:
            NotFound: There is no such index.
            Unavailable: The bucket does not answer.
        """
        return build_bucket_editor(self._settings, self._open_source(name), name, self._conditions)

    def _open_source(self, name: str) -> ObjectSource:
        result_now(self.lines.look, name)
        own, *others = self.lines.line(name)
        paths = [member.path for member in (own, *others)]
        return self.make_source(paths, [None, *(member.name for member in others)])

    async def _look(self) -> None:
        try:
            await self._catalog.hold()
            for name in self._catalog.names()[:MAX_LIVE]:
                await result_of(self.lines.look, name)
        except SimpleIndexError as error:
            _log.warn("{url}: {error}", url=self.bucket.url, error=error.message)
