"""
The indexes of a replica that follow those of its primary: which they are, and a follower for each.

Out of scope: how one of them follows (see `replication.follower`), and the role of the server (see
`server.replication`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_index.errors import SimpleIndexError
from twisted_index.replication.follower import Follower
from twisted_index.replication.state_file import ReplicationState, Role
from twisted_index.server.replication_report import FollowedIndex

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.events.serials import Serials
    from twisted_index.replication.folder_changes import FolderChanges
    from twisted_index.replication.primary import Feed, IPrimary
    from twisted_index.replication.primary_client import PrimaryServer
    from twisted_index.replication.replica_folder import ReplicaFolder
    from twisted_index.replication.state_file import StateFile
    from twisted_index.server.replicated_indexes import ReplicatedIndex, ReplicatedIndexes

_log = Logger()

#: Seconds between two requests for the names of the primary's indexes.
_LOOK = 30.0


class FollowedIndexes:
    """
    The followers of all indexes.

    Args:
        reactor: Twisted's reactor.
        state_file: The role of this server, and whether the primary restricts reading.
        changes: Lets rounds change the folders.
        threads: Threads that write files from the primary.
        follows: Returns whether this server is a replica, as far as it is known by now.
        check: See `IStanding.check`.
        look: Returns the current state, and lets it take effect.
        folder: Returns the folder of an index by its name and its path.
        mark: Lets the folders say to commands whether they follow another server's; blocking.
    """

    def __init__(
        self,
        reactor: Any,
        state_file: StateFile,
        changes: FolderChanges,
        *,
        threads: IThreadRunner,
        follows: Callable[[], bool],
        check: Callable[[], Awaitable[bool]],
        look: Callable[[], ReplicationState],
        folder: Callable[[str, bytes], ReplicaFolder],
        mark: Callable[[ReplicationState], None],
    ) -> None:
        self._reactor = reactor
        self._state_file = state_file
        self._changes = changes
        self._threads = threads
        self._follows = follows
        self._check = check
        self._look = look
        self._folder = folder
        self._mark = mark
        self._followers: dict[str, tuple[Follower, Serials]] = {}
        self._restricted: dict[str, bool] = {}
        #: Why indexes of the primary that are not here do not come, by their names.
        self._unread: dict[str, str] = {}
        self._follows_all = True
        self._looking: Deferred[None] | None = None

    @property
    def names(self) -> Collection[str]:
        """The names of the indexes that follow; empty for that without one."""
        return self._followers.keys()

    def start(self, primary: PrimaryServer, plain: ReplicatedIndex, named: ReplicatedIndexes | None) -> None:
        """
        Start following.

        Args:
            primary: The primary.
            plain: The index without a name.
            named: Those with a name; None without any.
        """
        self._follows_all = named is None
        self._follow(primary, plain)
        if named is not None:
            self._looking = Deferred.fromCoroutine(self._follow_named(primary, named))
            self._looking.addErrback(lambda failure: failure.trap(CancelledError) and None)

    def leave(self) -> None:
        """Let all followers end their rounds; they need not have ended when it returns."""
        for follower, _serials in self._followers.values():
            follower.leave()

    async def stop(self) -> None:
        """Stop following, and wait for running writes."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await looking
        followers, self._followers = self._followers, {}
        for follower, _serials in followers.values():
            await follower.stop()

    async def wait_for(self, name: str, serial: int, seconds: float) -> bool:
        """
        Wait until an index has all changes of the primary up to a serial; see `Follower.wait_for`.

        Args:
            name: The name of the index.
            serial: A serial of the primary.
            seconds: Maximum wait.
        """
        found = self._followers.get(name)
        return found is not None and await found[0].wait_for(serial, seconds)

    def weigh(self, name: str, feed: Feed) -> Feed:
        """
        Return a feed, restricted if the feed of any index is; see `IStanding`.

        Args:
            name: The name of its index.
            feed: The feed.
        """
        self._restricted[name] = feed.restricted
        # Until every index has a feed, the last known value applies.
        restricted = any(self._restricted.values()) or (self._look().restricted and not self._are_all_heard())
        return replace(feed, restricted=restricted)

    def _are_all_heard(self) -> bool:
        return self._follows_all and self._followers.keys() <= self._restricted.keys()

    async def _open(self) -> None:
        """Open reading if the feeds that came before the last index was known restrict nothing."""

        def change(state: ReplicationState) -> ReplicationState:
            # A feed that has come meanwhile counts here, or what it restricts is written after this.
            restricted = any(self._restricted.values())
            return replace(state, restricted=restricted) if state.role is Role.REPLICA else state

        # What cannot be read or written is tried again at the next look.
        with suppress(SimpleIndexError):
            if self._are_all_heard() and self._look().restricted:
                await self._threads.run(self._state_file.update, change)
                self._look()

    def rows(self) -> list[FollowedIndex]:
        """Return how far each index is."""
        return [
            FollowedIndex(name, follower.progress(), serials.highest)
            for name, (follower, serials) in sorted(self._followers.items())
        ]

    def describe_unread(self, is_public: bool) -> list[str]:
        """Say which indexes do not come here; their names are not for everyone."""
        if not self._unread:
            return []
        if not is_public:
            return ["Not all indexes of the primary are followed; the log says which, and why."]
        return [f"The index {name} is not followed: {why}" for name, why in sorted(self._unread.items())]

    async def _follow_named(self, primary: PrimaryServer, named: ReplicatedIndexes) -> None:
        """Follow all indexes with a name, of this server and of the primary, while this is a replica."""
        fault = ""
        while self._follows():
            last = fault
            try:
                fault = await self._follow_known(primary, named)
            except CancelledError:
                raise
            except SimpleIndexError as error:
                fault = error.message
            except Exception:
                # A defect must not end the loop.
                _log.failure("It was not found out which indexes are to be followed")
            if fault not in ("", last):
                _log.warn("Indexes that are not here yet are not followed: {fault}", fault=fault)
            await deferLater(self._reactor, _LOOK)

    async def _follow_known(self, primary: PrimaryServer, named: ReplicatedIndexes) -> str:
        """
        Follow the indexes that are known by now, and no others any more.

        Returns:
            Why those of the primary that are not here are not among them, in a sentence; empty if they are.

        Raises:
            Unavailable: The state cannot be read.
        """
        fault = ""
        # Those that are here are followed whatever the primary says of others, and before.
        names = await self._follow_all(primary, named, await self._names_here(named))
        try:
            heard = await self._threads.run(named.make, await self._heard(primary, named))
        except (SimpleIndexError, OSError) as error:
            fault = _reason(error)
        else:
            names = await self._follow_all(primary, named, heard)
        self._follows_all = True
        for name in self._followers.keys() - {"", *names}:
            follower, _serials = self._followers.pop(name)
            await follower.stop()
        for name in self._restricted.keys() - {"", *names}:
            del self._restricted[name]
        await self._open()
        return fault

    async def _follow_all(
        self, primary: PrimaryServer, named: ReplicatedIndexes, names: Collection[str]
    ) -> Collection[str]:
        """Follow the indexes with these names, and return them."""
        if not self._followers.keys() >= frozenset(names):
            await self._threads.run(self._mark, self._look())
        for name in frozenset(names) - self._followers.keys():
            # Or it has just gone: then the next look does not find it.
            with suppress(SimpleIndexError):
                self._follow(primary, await self._threads.run(named.index, name))
        return names

    async def _heard(self, primary: PrimaryServer, named: ReplicatedIndexes) -> Collection[str]:
        """
        Return the names of the primary's indexes, less new ones whose feeds cannot be read.

        As soon as an index is here, clients may read it. So first its feed says whether the primary
        restricts that.
        """
        names, unread = frozenset(await primary.indexes()), dict[str, str]()
        for name in names - frozenset(await self._threads.run(named.make, ())):
            try:
                feed = await primary.index(name).changes()
            except SimpleIndexError as error:
                names -= {name}
                unread[name] = error.message
                if self._unread.get(name) != error.message:
                    _log.warn("The index {name} is not followed: {error}", name=name, error=error.message)
                continue
            self._restricted[name] = feed.restricted
            if feed.restricted:
                await self._threads.run(self._state_file.update, _close)
                self._look()
        self._unread = unread
        return names

    async def _names_here(self, named: ReplicatedIndexes) -> Collection[str]:
        try:
            return await self._threads.run(named.make, ())
        except SimpleIndexError:
            return self._followers.keys()

    def _follow(self, primary: PrimaryServer, index: ReplicatedIndex) -> None:
        follower = self._make_follower(primary.index(index.name), index)
        self._followers[index.name] = follower, index.serials
        follower.start()

    def _make_follower(self, primary: IPrimary, index: ReplicatedIndex) -> Follower:
        from twisted_index.replication.rounds import Rounds

        rounds = Rounds(
            primary,
            self._folder(index.name, index.path),
            index.serials,
            self._state_file,
            runner=self._threads,
            clock=self._reactor,
            adopted=index.adopted,
            changes=self._changes,
        )
        standing = _Standing(index.name, self._check, self.weigh, self._state_file)
        return Follower(primary, rounds, standing, self._reactor, name=index.name)


class _Standing:
    """The standing of this server, for the follower of one index; provides `IStanding`."""

    def __init__(
        self,
        name: str,
        check: Callable[[], Awaitable[bool]],
        weigh: Callable[[str, Feed], Feed],
        state_file: StateFile,
    ) -> None:
        self._name = name
        self._check = check
        self._weigh = weigh
        self._state_file = state_file

    async def check(self) -> bool:
        return await self._check()

    def weigh(self, feed: Feed) -> Feed:
        return self._weigh(self._name, feed)

    def calls(self) -> int:
        return self._state_file.read().calls


def _reason(error: SimpleIndexError | OSError) -> str:
    if isinstance(error, SimpleIndexError):
        return error.message
    return f"The folder of one cannot be made: {error.strerror}."


def _close(state: ReplicationState) -> ReplicationState:
    """Close reading, unless this server has taken over since."""
    return replace(state, restricted=True) if state.role is Role.REPLICA else state
