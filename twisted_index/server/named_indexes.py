"""
Makes the indexes with a name: of their folders, the upstreams that they name, and a store for each.

Upstreams are made at the start, one for each table of the configuration; all else when it is requested.
"""

from __future__ import annotations

import os
from concurrent.futures import CancelledError
from dataclasses import replace
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.folder.source import FolderSource
from twisted_index.backends.folder.store import FolderStore
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.config.settings import NamedUpstream
from twisted_index.errors import NotFound, SimpleIndexError, Unavailable
from twisted_index.events.serials import Serials
from twisted_index.indexes.composite import lifecycles
from twisted_index.indexes.index_changes import IndexChanges
from twisted_index.indexes.index_file import NAME as FILE_NAME
from twisted_index.indexes.index_file import IndexSettings
from twisted_index.indexes.index_line import IndexMember
from twisted_index.indexes.index_source import IndexSource
from twisted_index.indexes.name_ownership import NameOwnershipSource
from twisted_index.indexes.past_indexes import AS_OF, as_of_fault
from twisted_index.indexes.registry import LiveIndex
from twisted_index.indexes.reserved_names import ReservedNames, UnreservedSource
from twisted_index.indexes.scope import Scope
from twisted_index.indexes.served_index import ServedIndex
from twisted_index.indexes.upstream_line import LineUpstream, UnknownUpstream, UpstreamLine
from twisted_index.interfaces import Problem
from twisted_index.replication.state_file import NAMED
from twisted_index.server.upstreams import asks_primary, primary_index_urls, upstream_names
from twisted_index.simple.explanation import Obstacle
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from twisted.python.failure import Failure

    from twisted_index.backends.object_store.source import ObjectSource
    from twisted_index.concurrency.thread_pool import IThreadRunner, ThreadPool
    from twisted_index.config.settings import Settings, UploadSettings
    from twisted_index.indexes.builder import SourceBuilder
    from twisted_index.indexes.index_line import IndexLines
    from twisted_index.indexes.upstream_policy import PolicySource
    from twisted_index.interfaces import IAuditLog, ISource, IStore, Snapshot
    from twisted_index.server.bucket_indexes import BucketIndexes
    from twisted_index.simple.explanation import HiddenFile
    from twisted_index.simple.model import File, ProjectPage

_log = Logger()


class NamedIndexes:
    """
    Makes indexes for an `IndexRegistry`.

    Args:
        settings: All settings.
        lines: The indexes.
        reactor: Twisted's reactor.
        make_folder: Makes the source of the folders of a line from their absolute paths, the index's own
            first, the names of the indexes that they belong to, None for its own, and the serials.
        reader: Threads that look at the files of all indexes.
        upstreams: Builds upstreams with their policies.
        writer: Threads that change files; None if nothing can be changed.
        audit_log: Records the changes.
        bucket: What the indexes share, if they are in a bucket; else they are folders.
        manage: Called with the serials of each index.

    Attributes:
        lines: The indexes.
        changes: Lists them all, makes and removes them.
        live: Returns an index by its name: that of the registry, which needs this first.
    """

    def __init__(
        self,
        settings: Settings,
        lines: IndexLines,
        *,
        reactor: Any,
        make_folder: Callable[[Sequence[bytes], Sequence[str | None], Serials], FolderSource],
        reader: IThreadRunner,
        upstreams: SourceBuilder,
        writer: ThreadPool | None = None,
        audit_log: IAuditLog | None = None,
        bucket: BucketIndexes | None = None,
        manage: Callable[[Serials], object] = lambda _serials: None,
    ) -> None:
        self.lines = lines
        self.changes = IndexChanges(
            lines, writer or reader, hold=0.0 if bucket is None else settings.rescan, now=reactor.seconds
        )
        self._bucket = bucket
        self._manage = manage
        self._reactor = reactor
        self._make_folder = make_folder
        self._builder = upstreams
        self._reader = reader
        self._writer = writer
        self._audit_log = audit_log
        self.live: Callable[[str], LiveIndex] = _no_index
        self._reserved = ReservedNames(lines, self._claiming, reader, reactor, settings.rescan)
        self._swept: set[bytes] = set()
        self._serials: WeakValueDictionary[str, Serials] = WeakValueDictionary()
        self._naming = Lock()
        self._started: list[Any] | None = None
        self._upstreams: dict[str, PolicySource] = {}
        self._settings = settings
        self.prepare(settings)()

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """
        Make the upstreams that other settings need.

        Returns:
            Uses these settings for all that is made from then on.

        Raises:
            ConfigurationError: An upstream cannot be made.
        """
        upstreams = {named.name: self._upstream(named, settings) for named in settings.upstreams.named}

        def use() -> None:
            self._settings, self._upstreams = settings, upstreams
            self.changes.patterns = settings.create_indexes
            if self._started is not None:
                self.start()

        return use

    def unreserved(self, upstream: ISource) -> ISource:
        """Return an upstream without the names that indexes reserve."""
        return UnreservedSource(upstream, self._reserved)

    def _upstream(self, named: NamedUpstream, settings: Settings) -> PolicySource:
        alone = replace(settings.upstreams, urls=named.urls, policy=named.policy, routes=(), named=())
        return self._builder.build_upstream(alone)

    def start(self) -> None:
        """Start the upstreams that have not been started, and look which indexes there are."""
        if self._bucket is not None and self._started is None:
            self._bucket.start()
        started = self._started = self._started or []
        for source in lifecycles(self._upstreams.values()):
            if source not in started:
                source.start()
                started.append(source)

    async def stop(self) -> None:
        """Stop all upstreams that have been started, and what the indexes share."""
        started, self._started = self._started or [], None
        for source in reversed(started):
            await result_of(source.stop)
        if self._bucket is not None:
            await self._bucket.stop()

    # -- One index

    def make(self, members: tuple[IndexMember, ...], before: LiveIndex | None) -> LiveIndex:
        """
        Make an index.

        Args:
            members: Its line.
            before: What was made of an earlier state of it.
        """
        name = members[0].name
        folder = self._packages(members, before)
        own = members[0].settings
        uploads = self._uploads(members[0])
        served = ServedIndex(
            scope=Scope(index=name),
            line=tuple(member.name for member in members),
            source=IndexSource(self._source(members, folder), lambda: self._faults(members)),
            store=self._store(name, folder, uploads),
            uploads=uploads,
            title=own.title,
            promote_to=own.promote_to,
            upstreams=self._upstream_names(members),
        )
        if not isinstance(folder, FolderSource):
            return LiveIndex(members=members, served=served, folder=None, objects=folder, keeps_past=False)
        return LiveIndex(members=members, served=served, folder=folder)

    def _packages(
        self, members: Sequence[IndexMember], before: LiveIndex | None
    ) -> FolderSource | ObjectSource:
        paths = tuple(member.path for member in members)
        last = None if before is None else before.folder or before.objects
        if last is not None and last.paths == paths:
            return last
        own, *others = members
        owners = (None, *(member.name for member in others))
        if self._bucket is not None:
            return self._bucket.make_source(paths, owners)
        return self._make_folder(paths, owners, self.serials_of(own.name))

    def serials_of(self, name: str) -> Serials:
        """Return the serials of an index: the same ones as long as anything has them. Safe in any thread."""
        with self._naming:
            serials = self._serials.get(name)
            if serials is None:
                state = self._settings.state
                path = None if state is None else os.path.join(state, "keep", NAMED, name, "serials")
                serials = self._serials[name] = Serials(path)
                self._manage(serials)
            return serials

    def _uploads(self, member: IndexMember) -> UploadSettings:
        uploads, own = self._settings.uploads, member.settings
        if own.overwrite is not None:
            uploads = replace(uploads, overwrite=own.overwrite)
        return replace(uploads, upload=False) if own.upload is False else uploads

    def _store(
        self, name: str, folder: FolderSource | ObjectSource, uploads: UploadSettings
    ) -> IStore | None:
        if self._writer is None or self._audit_log is None:
            return None
        if not isinstance(folder, FolderSource):
            assert self._bucket is not None
            return self._bucket.make_store(name, folder, uploads, self._writer, self._audit_log)
        blocking_store = BlockingStore(
            folder.paths,
            owners=folder.owners,
            overwrite=uploads.overwrite,
            keep_deleted=uploads.keep_deleted,
            keep_prereleases=uploads.keep_prereleases,
            min_free=uploads.min_free,
            index=name,
        )
        store = FolderStore(
            folder,
            worker=self._writer,
            audit_log=self._audit_log,
            blocking_store=blocking_store,
            reactor=self._reactor,
        )
        if folder.paths[0] not in self._swept:
            self._swept.add(folder.paths[0])
            Deferred.fromCoroutine(store.sweep()).addErrback(_log_sweep)
        return store

    def _claiming(self, name: str) -> ISource:
        """Return the folders of an index that reserves its names; its own, if its bases never were known."""
        try:
            live = self.live(name)
            packages = live.folder or live.objects
        except Unavailable:
            if self.lines.is_known(name):
                raise
            own = IndexMember(name, self.lines.catalog.path(name), IndexSettings())
            packages = self._packages((own,), None)
        assert packages is not None
        return packages

    # -- Upstreams

    def _source(self, members: Sequence[IndexMember], folder: ISource) -> ISource:
        """Put the folders before the upstreams of the line; before the primary's index, in a replica."""
        if asks_primary(self._settings):
            return self._before_primary(members[0].name, folder)
        named: dict[str, LineUpstream] = {}
        known: list[PolicySource] = []
        local, merged = list(self._settings.upstreams.policy.local_only), list[str]()
        policies = {one.name: one.policy for one in self._settings.upstreams.named}
        for member in members:
            owner = None if member is members[0] else member.name
            for upstream in member.settings.upstreams:
                if upstream in named:
                    continue
                source = self._upstreams.get(upstream)
                if source is None:
                    named[upstream] = LineUpstream(UnknownUpstream(_unknown(member.name, upstream)), owner)
                    continue
                policy = policies[upstream]
                local += policy.local_only
                merged += policy.merge_upstream
                known.append(source)
                named[upstream] = LineUpstream(source, owner, policy.merge_upstream)
        if not named:
            return folder
        theirs = self.unreserved(UpstreamLine(list(named.values())))
        if not known:
            return NameOwnershipSource(folder, theirs, local_only=local)
        return NameOwnershipSource(
            folder,
            theirs,
            local_only=local,
            merge_upstream=merged,
            visible_copies=_visible_copies(known),
            hidden_copy=_hidden_copy(known),
        )

    def _before_primary(self, name: str, folder: ISource) -> ISource:
        urls = primary_index_urls(self._settings, name)
        key = f"+{name}"
        if key not in self._upstreams:
            theirs = NamedUpstream(name=name, urls=urls, policy=self._settings.upstreams.policy)
            self._upstreams[key] = self._upstream(theirs, self._settings)
            if self._started is not None:
                self.start()
        upstream = self._upstreams[key]
        return NameOwnershipSource(
            folder,
            self.unreserved(UpstreamLine([LineUpstream(upstream, None)])),
            local_only=self._settings.upstreams.policy.local_only,
            visible_copies=_visible_copies([upstream]),
            hidden_copy=_hidden_copy([upstream]),
        )

    def _upstream_names(self, members: Sequence[IndexMember]) -> tuple[str, ...]:
        """Return what people are told of the upstreams of a line."""
        if asks_primary(self._settings):
            return upstream_names(primary_index_urls(self._settings, members[0].name))
        urls = {one.name: one.urls for one in self._settings.upstreams.named}
        names = (name for member in members for name in member.settings.upstreams)
        return upstream_names(url for name in names for url in urls.get(name, ()))

    # -- Problems

    def _faults(self, members: Sequence[IndexMember]) -> Iterator[Problem]:
        """Yield what is wrong with the settings of a line."""
        for member in members:
            broken = self.lines.problem(member.name)
            if broken is not None:
                yield broken
            for reason in self._without_effect(member):
                yield Problem(
                    path=f"{member.name}/{FILE_NAME}",
                    reason=reason,
                    advice="Change the file, or the configuration of the server.",
                )
            unusable = None if self._bucket is not None else as_of_fault(member.path, datetime.now(UTC))
            if unusable is not None:
                yield Problem(
                    path=f"{member.name}/{os.fsdecode(AS_OF)}",
                    reason=unusable,
                    advice="The index stays at the last moment that was read; without one it answers 503.",
                )

    def _without_effect(self, member: IndexMember) -> Iterator[str]:
        for upstream in member.settings.upstreams:
            if upstream not in self._upstreams:
                yield _unknown(member.name, upstream)
        if member.settings.upload and not self._settings.uploads.upload:
            yield "Uploads are off on this server, so upload = true has no effect."

    def reporting(self, source: ISource) -> ISource:
        """Return the source of the index without a name, which reports what is wrong with any index."""
        return IndexSource(source, self._all_faults, self._reader)

    def _all_faults(self) -> list[Problem]:
        """List what is wrong with any index; called in a thread."""
        problems: list[Problem] = []
        try:
            problems += self.lines.catalog.problems()
            for name in self.lines.catalog.names():
                problems += self._faults_of(name)
        except Unavailable as error:
            advice = "Mount the folder, or let the server read it."
            problems.append(Problem(path=".", reason=error.message, advice=advice))
        return problems

    def _faults_of(self, name: str) -> list[Problem]:
        try:
            members = self.lines.line(name)
        except NotFound:
            return []
        except Unavailable as error:
            broken = self.lines.problem(name)
            advice = "Until this is mended, requests to the index get 503."
            problem = Problem(path=f"{name}/{FILE_NAME}", reason=error.message, advice=advice)
            return [problem if broken is None else replace(broken, advice=advice)]
        return list(self._faults(members[:1]))


def _no_index(name: str) -> LiveIndex:
    raise NotFound(f"There is no index {name} yet.")


def _log_sweep(failure: Failure) -> None:
    failure.trap(SimpleIndexError, CancelledError)
    _log.warn("Could not check for unfinished uploads: {error}", error=failure.getErrorMessage())


def _unknown(index: str, upstream: str) -> str:
    return (
        f"{index} names the upstream {printable(upstream)}, which this server does not define: there is no"
        f" [upstreams.{printable(upstream)}] in its configuration."
    )


def _hidden_copy(upstreams: Sequence[PolicySource]) -> Callable[[str, File], HiddenFile]:
    """Return what says which of several policies denies a copy."""

    def hidden(project: str, file: File) -> HiddenFile:
        found = [upstream.hidden_copy(project, file) for upstream in upstreams]
        return next((one for one in found if one.obstacle is Obstacle.DENIED), found[0])

    return hidden


def _visible_copies(
    upstreams: Sequence[PolicySource],
) -> Callable[[Snapshot[ProjectPage | None]], Snapshot[ProjectPage | None]]:
    """Return what lets be seen of copies only what no policy denies."""

    def visible(copies: Snapshot[ProjectPage | None]) -> Snapshot[ProjectPage | None]:
        for upstream in upstreams:
            copies = upstream.visible_copies(copies)
        return copies

    return visible
