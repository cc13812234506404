"""
A server's part in its replication: its role, and what a change of that role does.

The role is in the state file, which commands change while the server runs, so it is read before each round
and each change. Out of scope: which indexes follow (see `followed_indexes`), how a folder is made equal (see
`replication.rounds`), and how a replica relays changes (see `web.relay`).
"""

from __future__ import annotations

import os
import time
from concurrent.futures import CancelledError as NotBegun
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.backends.folder.misplaced import is_of_system
from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.errors import ConfigurationError, SimpleIndexError, Unavailable
from twisted_index.events.audit_log import AuditFile
from twisted_index.files.private_files import make_private_folder
from twisted_index.interfaces import AuditAction, AuditEvent, IReplication
from twisted_index.replication.change_gate import ChangeGate
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.folder_changes import FolderChanges
from twisted_index.replication.folder_mark import mark_folder
from twisted_index.replication.removed_files import RemovedFiles
from twisted_index.replication.state_file import (
    NAMED,
    RESTRICTED,
    UNHEARD,
    ReplicationState,
    Role,
    StateFile,
)
from twisted_index.server.followed_indexes import FollowedIndexes
from twisted_index.server.replication_report import (
    FollowedIndex,
    collect_metrics,
    describe_start,
    list_problems,
    write_health,
)
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from twisted_index.backends.folder.source import FolderSource
    from twisted_index.config.settings import Settings
    from twisted_index.events.serials import Serials
    from twisted_index.interfaces import Problem
    from twisted_index.replication.peer_client import PeerServers
    from twisted_index.replication.peers import Peers
    from twisted_index.replication.primary_client import PrimaryServer
    from twisted_index.replication.replica_folder import ReplicaFolder
    from twisted_index.server.replicated_indexes import ReplicatedIndex, ReplicatedIndexes

_log = Logger()

#: Threads that write files from the primary.
_THREADS = 4
#: Seconds after which a take-over that something holds up is tried again, if no change is wanted before.
_LEAD_AGAIN = 5.0


@implementer(IReplication)
class Replication:
    """
    The part of a server in its replication.

    Args:
        settings: All settings.
        serials: The serials of the index without a name.
        reactor: Twisted's reactor.
        process: Names this process to the other servers.

    Attributes:
        state_file: The role of this server, and what goes with it.
        gate: Lets changes begin if this server is the primary.
        is_restricted: Whether reading is closed, since the primary restricts it and this server has no
            rights.
        named: The indexes with a name; None without any. To be set before `prepare`.
        packages: The folder, which is watched for the loss of all that it had; None if it is not.
        on_lead: Called when a server that runs has taken over.
    """

    named: ReplicatedIndexes | None = None
    packages: FolderSource | None = None
    on_lead: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, settings: Settings, serials: Serials, reactor: Any, process: str = "") -> None:
        self._settings = settings
        self._reactor = reactor
        self._process = process
        self._serials: WeakSet[Serials] = WeakSet([serials])
        # Of these, and of whether they give numbers, which threads change too.
        self._managing = Lock()
        self._may_count = True
        self._plain_serials = serials
        self._worker: ThreadPool | None = None
        self._servers: PeerServers | None = None
        self._role: Role | None = None
        self._looking: Deferred[None] | None = None
        self._leads: Epoch | None = None
        self._leading: SingleFlight[None, None] = SingleFlight(reactor.seconds)
        self._again: Any = None
        self._hindrance = ""
        self.state_file = StateFile(settings.state, self._note_written)
        self._changes = FolderChanges(self.state_file)
        self.gate = ChangeGate(self.state_file, lambda: serials.instance, self._before_change)
        self.is_restricted = False

    @cached_property
    def primary(self) -> PrimaryServer | None:
        """The primary in the settings; None without one."""
        url = self._settings.replication.replica_of
        if url is None:
            return None
        from twisted_index.replication.primary_client import PrimaryServer

        return PrimaryServer(
            url, self._reactor, worker=self._threads, environ=os.environ, epoch=lambda: self._look().epoch
        )

    @cached_property
    def followed(self) -> FollowedIndexes:
        """The indexes that follow those of the primary; none unless this server is a replica."""
        return FollowedIndexes(
            self._reactor,
            self.state_file,
            self._changes,
            threads=self._threads,
            follows=lambda: self.follows,
            check=self.check,
            look=self._look,
            folder=self._folder,
            mark=self._mark,
        )

    @cached_property
    def _threads(self) -> ThreadPool:
        self._worker = ThreadPool(self._reactor, threads=_THREADS, name="index-replica")
        return self._worker

    def _look(self) -> ReplicationState:
        """Return the current state, and update `is_restricted`."""
        state = self.state_file.read()
        # If this server has rights of its own, they decide, even if they let everyone read.
        self.is_restricted = state.restricted and self._settings.access.rights is None
        return state

    # -- What this server is

    def prepare(self) -> None:
        """
        Take the role that the settings and the state give, before anything is served. Blocking.

        Raises:
            ConfigurationError: They contradict each other, or the state cannot be read or written.
        """
        try:
            if self.primary is not None:
                self._become_replica(self.primary.url)
            state = self._look()
        except SimpleIndexError as error:
            raise ConfigurationError(error.message) from error
        except OSError as error:
            raise ConfigurationError(f"The state cannot be kept: {error.strerror}.") from error
        self._role = state.role
        self._mark(state)
        self._forget_removed()
        if state.role is Role.REPLICA:
            self._count_nothing()
            self._note_followed()
        elif self._must_lead(state):
            self._count_nothing()
            try:
                self._lead_now(state)
            except SimpleIndexError as error:
                # What is there is served meanwhile.
                self._note_hindrance(error)

    def _become_replica(self, url: str) -> None:
        settings = self._settings
        if self.state_file.exists:
            self.state_file.update(
                lambda state: (
                    state if state.role is Role.PRIMARY else replace(state, role=Role.REPLICA, primary=url)
                )
            )
            return
        folders = [*settings.paths, *_folders_of(settings.indexes)]
        for path in filter(_has_files, folders):
            raise ConfigurationError(
                f"{printable(path)} has files, and has not followed {url} so far: begin with an empty folder,"
                f" or merge what both have: twisted-index join {url} --path"
                f" {printable(settings.paths[0])} --state {printable(settings.state or '')}"
            )
        if self._plain_serials.read().changes:
            # It may be that of the primary itself: servers of one user share a state folder by default.
            raise ConfigurationError(
                f"{printable(settings.state or '')} is the state of a server with other packages: give this"
                " one a state folder of its own (--state); or, if it is its own and these packages are gone,"
                " delete keep/serials there."
            )
        # Closed until the primary says otherwise: its token may read what others may not.
        self.state_file.write(ReplicationState(role=Role.REPLICA, primary=url, restricted=True))

    async def check(self) -> bool:
        """Return whether this server is a replica; see `IStanding`."""
        while True:
            state = self._look()
            if state.role is Role.REPLICA:
                return True
            if self._role is not state.role:
                if self.follows:
                    _log.warn("This server follows no more: its role is {role} now.", role=state.role.value)
                self._role = state.role
            if not self._must_lead(state):
                return False
            # Before one begins for all: those that leave come here, too.
            self.followed.leave()
            await self._leading.run(None, partial(self._lead, state))

    def _note_written(self, before: ReplicationState, state: ReplicationState) -> None:
        self._mark(state)
        own = before.epoch or Epoch(1, "")
        # With its own epoch it has handed over, which the history has already.
        if state.role is Role.RETIRED and state.epoch is not None and state.epoch.number > own.number:
            event = AuditEvent(
                time=datetime.now(UTC),
                by="",
                action=AuditAction.RETIRE,
                detail=f"epoch {own.number} to {state.epoch.number}"
                + (f", of {state.primary}" if state.primary else ""),
            )
            # The log says why it cannot be written; a retirement does not depend on it.
            with suppress(SimpleIndexError):
                AuditFile(self._settings.state).append(event)

    def _mark(self, state: ReplicationState) -> None:
        """Let the folders say whether they follow another server's, to commands that know only of them."""
        settings = self._settings
        if settings.state is None or settings.bucket is not None:
            return
        try:
            for path in (*settings.paths, *_folders_of(settings.indexes)):
                root = os.path.abspath(os.fsencode(path))
                mark_folder(root, settings.state, is_primary=state.role is Role.PRIMARY)
        except OSError as error:
            _log.warn(
                "Commands that are not given --state do not know what this server is, as {path} cannot be"
                " changed: {error}",
                path=printable(os.fsdecode(error.filename or "")),
                error=error.strerror,
            )

    def _forget_removed(self) -> None:
        """Remove what was moved away long ago, also if this server is no replica any more."""
        if self._settings.state is not None:
            removed = RemovedFiles(os.path.join(self._settings.state, "removed"), time.time_ns)
            removed.forget(self._settings.uploads.keep_deleted)

    # -- After a take-over

    def _must_lead(self, state: ReplicationState) -> bool:
        """Return whether the serials still have to begin anew, as they do after a take-over."""
        is_new = state.epoch is not None and not state.leads and state.epoch != self._leads
        return state.role is Role.PRIMARY and is_new

    async def _lead(self, state: ReplicationState) -> None:
        """
        Let that take effect before this server takes a change.

        Raises:
            Unavailable: Something holds it up; it is tried again.
        """
        try:
            led = await self._threads.run(self._lead_now, state)
        except SimpleIndexError as error:
            self._note_hindrance(error)
            raise Unavailable(self._hindrance) from None
        self._hindrance = ""
        for serials in led:
            serials.announce()
        self.on_lead()
        if self.primary is not None:
            _log.warn(
                "replica-of still names {url}, which this server asks for nothing any more: remove it.",
                url=self.primary.url,
            )

    def _lead_now(self, state: ReplicationState) -> Sequence[Serials]:
        """Let all serials begin anew, and return them; blocking."""
        assert state.epoch is not None
        # No round puts anything behind a list any more.
        self._changes.wait()
        self._give_up()
        named = self._serials_of_named()
        with self._managing:
            known = list({*self._serials, *named})
            self._may_count = True
        for serials in known:
            serials.lead(state.epoch.instance)
        self._leads = state.epoch
        try:
            self.state_file.update(lambda now: replace(now, leads=True) if now == state else now)
        except Unavailable as error:
            # The serials begin anew once more at the next start, which costs each replica a comparison.
            _log.warn("{error}", error=error.message)
        _log.info("This server is the primary since epoch {epoch}.", epoch=state.epoch.number)
        return known

    def _note_hindrance(self, error: SimpleIndexError) -> None:
        hindrance = f"This server has taken over, and takes no changes yet: {error.message}"
        if hindrance != self._hindrance:
            self._hindrance = hindrance
            _log.error("{hindrance} It is tried again.", hindrance=hindrance)
        if self._again is None or not self._again.active():
            self._again = self._reactor.callLater(_LEAD_AGAIN, self._try_again)

    def _try_again(self) -> None:
        trying = Deferred.fromCoroutine(self.check())
        trying.addErrback(lambda failure: failure.trap(SimpleIndexError, NotBegun) and None)

    def _count_nothing(self) -> None:
        """Let all serials be those of another server, or wait until they begin anew."""
        with self._managing:
            self._may_count = False
        self._plain_serials.follow()

    def _note_followed(self) -> None:
        """Let a take-over know whether indexes with a name are followed, also before there is one."""
        state = self._settings.state
        if self.named is not None and state is not None:
            with suppress(OSError):
                make_private_folder(os.path.join(state, "keep", NAMED))

    def _give_up(self) -> None:
        """
        Let no folder wait for files of the primary that was.

        Raises:
            Unavailable: Another process holds a lock.
        """
        settings = self._settings
        named = {os.path.basename(path): path for path in _folders_of(settings.indexes)}
        for name, path in (*(("", path) for path in settings.paths), *named.items()):
            try:
                self._folder(name, os.path.abspath(os.fsencode(path))).give_up()
            except OSError as error:
                _log.warn(
                    "What has come of files that do not come any more stays hidden, by the lists in"
                    " {path}/.staged: {error}",
                    path=printable(path),
                    error=error.strerror,
                )

    def _serials_of_named(self) -> list[Serials]:
        """Return the serials of all indexes with a name, including those that no request has opened yet."""
        if self.named is None:
            return []
        try:
            known = [self.named.index(name).serials for name in self.named.make(())]
        except SimpleIndexError as error:
            _log.warn("The serials of indexes with a name go on as they were: {error}", error=error.message)
            return []
        return known

    # -- Changes

    async def _before_change(self, again: bool) -> None:
        """
        Check whether this server has just taken over, and whether another one has.

        Args:
            again: Whether to ask peers that have answered already.

        Raises:
            Unavailable: It is not known, or cannot be kept; or the folder has lost what it had.
        """
        # First, so that the change gets a serial of the epoch in which it is made.
        await self.check()
        if self._settings.replication.peers:
            await self._peers.check(again)
        if self.packages is not None:
            # What is written where a disk is not mounted is gone once it is.
            await self.packages.look()

    async def _ask_for_packages(self, packages: FolderSource) -> None:
        """Ask the peers whether there were packages, where neither state nor folder know of any."""
        from twisted_index.replication.peers import PeerAnswer, ask_all

        # A client that was told meanwhile that there is no such project would believe it.
        packages.watch_for_loss(expects_some=None)
        had_some = False
        try:
            if not (await self._threads.run(self._plain_serials.read)).changes:
                answers = await ask_all(self._peer_servers.ask, self._settings.replication.peers)
                had_some = any(
                    isinstance(answer, PeerAnswer) and answer.serial for answer in answers.values()
                )
        finally:
            # Whatever has failed, it is not doubted for ever.
            packages.watch_for_loss(expects_some=had_some)

    @cached_property
    def _peer_servers(self) -> PeerServers:
        from twisted_index.replication.peer_client import PeerServers

        self._servers = PeerServers(self._reactor, environ=os.environ)
        return self._servers

    @cached_property
    def _peers(self) -> Peers:
        from twisted_index.replication.peers import Peers

        replication = self._settings.replication
        return Peers(
            replication.peers,
            replication.peers_needed,
            state=self.state_file,
            own=lambda: Epoch(1, self._plain_serials.instance),
            ask=self._peer_servers.ask,
            runner=self._threads,
            process=self._process,
        )

    # -- Following

    @property
    def follows(self) -> bool:
        """Whether this server is a replica, so that only its followers change its folders."""
        return self._role is Role.REPLICA

    def manage(self, serials: Serials) -> None:
        """Let the serials of another index follow or lead with this server."""
        with self._managing:
            self._serials.add(serials)
            may_count = self._may_count
        if not may_count:
            serials.follow()

    def start(self, plain: ReplicatedIndex) -> None:
        """
        Start following the primary, if this server is a replica.

        Args:
            plain: The index without a name.
        """
        if not self.follows and self.packages is not None:
            self._looking = Deferred.fromCoroutine(self._ask_for_packages(self.packages))
            self._looking.addErrback(lambda failure: failure.trap(CancelledError) and None)
        if self.primary is None or not self.follows:
            return
        self.followed.start(self.primary, plain, self.named)

    def _folder(self, name: str, path: bytes) -> ReplicaFolder:
        from twisted_index.replication.replica_folder import ReplicaFolder

        below = ("indexes", name) if name else ()
        return ReplicaFolder(
            path,
            os.path.join(self._settings.state or "", "removed", *below),
            keep_deleted=self._settings.uploads.keep_deleted,
        )

    async def stop(self) -> None:
        """Stop following, and wait for running writes."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await looking
        await self.followed.stop()
        if self._worker is not None:
            await self._worker.stop()
        if self._again is not None and self._again.active():
            self._again.cancel()
        if self.primary is not None:
            await self.primary.close()
        if self._servers is not None:
            await self._servers.close()

    # -- Reports

    @property
    def refusal(self) -> str:
        """See `IReplication`."""
        return RESTRICTED if self._look().epoch is not None else UNHEARD

    def describe(self) -> list[str]:
        """Return the lines for the start."""
        return [] if self.primary is None else describe_start(self._look(), self.primary.url)

    def health(self, is_closed: bool, is_public: bool) -> tuple[Mapping[str, object] | None, Sequence[str]]:
        """See `IReplication`."""
        if not self._takes_part:
            return None, ()
        try:
            report, warnings = write_health(
                self._look(),
                self.gate.epoch,
                self._rows(),
                closed=self.refusal if is_closed else "",
                is_public=is_public,
            )
            return report, [*filter(None, [self._hindrance]), *warnings, *self._unread(is_public)]
        except Unavailable as error:
            return None, (error.message,)

    def problems(self) -> Sequence[Problem]:
        """See `IReplication`."""
        return list_problems(self._rows())

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; see `prometheus_client.registry.Collector`."""
        if self._takes_part:
            state = self._look()
            # Where the primary restricts reading and there are no rights here, everyone may see the metrics,
            # and the names of indexes are not for everyone.
            rows = [row for row in self._rows() if not (self.is_restricted and row.name)]
            yield from collect_metrics(state, self.gate.epoch, rows)

    @property
    def _takes_part(self) -> bool:
        replication = self._settings.replication
        return replication.replica_of is not None or bool(replication.peers) or self.state_file.exists

    def _unread(self, is_public: bool) -> list[str]:
        return self.followed.describe_unread(is_public) if self.follows else []

    def _rows(self) -> list[FollowedIndex]:
        # This server may have taken over, which its followers learn later.
        return self.followed.rows() if self._look().role is Role.REPLICA else []


def _folders_of(indexes: str | None) -> list[str]:
    """Return the folders of the indexes with a name."""
    try:
        return [] if indexes is None else [entry.path for entry in os.scandir(indexes) if entry.is_dir()]
    except FileNotFoundError:
        return []


def _has_files(path: str) -> bool:
    """Return whether a folder has any file but those of the system."""
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return False
    return not all(is_of_system(os.fsencode(name)) for name in names)
