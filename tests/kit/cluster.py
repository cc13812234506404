"""
Servers that may all become the primary, on a network in memory, with what was promised to their clients.

Each has real folders, and the shipped parts decide everything: its standing, its gate, its peers, its
serials, and what takes over, hands over, follows and joins. Servers, commands and links die at any moment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.kit.at_once import answer
from tests.kit.folder_source import AtOnce
from tests.kit.followed_folder import FollowedFolder, make_round
from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.folder.conflicts import read_conflicts
from twisted_index.config.settings import ReplicationSettings, Settings
from twisted_index.errors import SimpleIndexError, Unavailable
from twisted_index.events.serials import Serials, read_serials
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.hand_over import hand_over_role
from twisted_index.replication.join import Join, JoinReport, do_they_win, stand_back
from twisted_index.replication.join_folder import JoinFolder
from twisted_index.replication.peers import PeerAnswer, Peers, retire
from twisted_index.replication.replica_folder import ReplicaFolder
from twisted_index.replication.rounds import Rounds
from twisted_index.replication.state_file import Role, StateFile
from twisted_index.replication.takeover import TakeOver
from twisted_index.server.replication import Replication

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Killed(BaseException):
    """A process has died."""


class Steps:
    """Counts the steps of a command or a server, which dies before one of them."""

    def __init__(self, last: int | None = None) -> None:
        self.left = last

    def take(self) -> None:
        """Take a step, or die."""
        if self.left is not None:
            if self.left <= 0:
                raise Killed
            self.left -= 1

    def run(self, work: Callable[[], object]) -> object:
        """Take a step that is some work."""
        self.take()
        return work()


class Server:
    """A running server of a node: all of it is lost when that dies."""

    def __init__(self, node: Node, replica_of: str | None) -> None:
        cluster = node.cluster
        self.node = node
        self.serials = Serials(str(node.state / "keep" / "serials"))
        settings = Settings(
            paths=(str(node.root),),
            state=str(node.state),
            replication=ReplicationSettings(replica_of=replica_of),
        )
        self.replication = Replication(settings, self.serials, cluster.clock)
        self.state_file = self.replication.state_file
        self.replication.__dict__["_threads"] = AtOnce()
        if replica_of is not None:
            self.replication.__dict__["primary"] = Followed(url=replica_of)
        self.replication.prepare()
        self.peers = Peers(
            [other.url for other in cluster.nodes if other is not node],
            cluster.peers_needed,
            state=self.state_file,
            own=lambda: Epoch(1, self.serials.instance),
            ask=lambda url: cluster.ask(node, url),
            runner=AtOnce(),
        )
        self.gate = cluster.make_gate(self)
        self.followed = FollowedFolder(node.root, cluster.clock, self.serials)
        self.rounds: Rounds | None = None
        self.uploads: list[Callable[[], None]] = []

    @property
    def epoch(self) -> Epoch:
        """The highest epoch that it has heard of."""
        return self.gate.epoch

    def peer_answer(self) -> PeerAnswer:
        """What it says at `/-/replication`."""
        return PeerAnswer(self.state_file.read().role, self.epoch, self.serials.read().highest)


@dataclass
class Followed:
    """What a standing needs to know of the primary that is followed."""

    url: str


@dataclass
class Node:
    """A machine: its disk, and the server that runs on it, if any does."""

    cluster: Cluster
    name: str
    root: Path
    state: Path
    server: Server | None = None
    replica_of: Node | None = None

    @property
    def url(self) -> str:
        return f"https://{self.name}/"

    @property
    def kept(self) -> Any:
        return StateFile(str(self.state)).read()

    def start(self) -> None:
        """Start its server, as a replica of another node if it is configured to be one."""
        self.server = Server(self, None if self.replica_of is None else self.replica_of.url)

    def kill(self) -> None:
        """Let its server die."""
        self.server = None

    def contents(self, filename: str) -> set[bytes]:
        """What lies in its folder under a name, and what was set aside."""
        return {path.read_bytes() for path in self.root.rglob(filename) if path.is_file()}

    def served(self, filename: str) -> bytes | None:
        path = self.root / filename.partition("-")[0] / filename
        return path.read_bytes() if path.exists() and not self.is_buried(filename) else None

    def is_buried(self, filename: str) -> bool:
        lines = self.root / filename.partition("-")[0] / ".deleted"
        return lines.exists() and f"  {filename}  ".encode() in lines.read_bytes()


@dataclass
class Promises:
    """
    What clients were told.

    Attributes:
        uploads: Names and contents that were accepted.
        deleted: Those that were deleted later.
        yanked: Those that were yanked.
        writers: The node that has accepted something in an epoch.
    """

    uploads: set[tuple[str, bytes]] = field(default_factory=set)
    deleted: set[tuple[str, bytes]] = field(default_factory=set)
    yanked: set[tuple[str, bytes]] = field(default_factory=set)
    writers: dict[Epoch, str] = field(default_factory=dict)


class Cluster:
    """
    Nodes, of which the first is the primary and the others follow it.

    Args:
        top: An empty folder.
        names: Of the nodes.
        peers_needed: As the setting.
        may_manage: Whether the tokens of replicas may let a primary hand over.
    """

    def __init__(self, top: Path, names: str = "abc", peers_needed: int = 0, may_manage: bool = True) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.peers_needed = peers_needed
        self.may_manage = may_manage
        self.cut: set[frozenset[str]] = set()
        self.promises = Promises()
        self.nodes = [self._node(top, name) for name in names]
        for node in self.nodes[1:]:
            node.replica_of = self.nodes[0]
        for node in self.nodes:
            node.start()

    def _node(self, top: Path, name: str) -> Node:
        root, state = top / name / "packages", top / name / "state"
        root.mkdir(parents=True)
        state.mkdir()
        return Node(self, name, root, state)

    def make_gate(self, server: Server) -> Any:
        """Return the gate of a server, which asks its peers."""
        from twisted_index.replication.change_gate import ChangeGate

        async def ask(again: bool) -> None:
            await server.replication.check()
            await server.peers.check(again)

        return ChangeGate(server.state_file, lambda: server.serials.instance, ask)

    async def hear(self, server: Server, told: Epoch) -> None:
        """Let a server hear of the epoch that a replica follows, as `/-/changes` does by its field."""
        if self.may_manage:
            retire(server.state_file, lambda: server.epoch, told)
        elif told.ends(server.epoch) and server.state_file.read().role is Role.PRIMARY:
            with suppress(Unavailable):
                await server.gate.ask_peers()

    # -- The network

    def server_at(self, asking: Node, url: str) -> Server:
        """Return the server at a URL, if it can be reached."""
        node = next(node for node in self.nodes if node.url == url)
        if node.server is None or (node is not asking and frozenset((asking.name, node.name)) in self.cut):
            raise Unavailable(f"{url} does not answer.")
        return node.server

    async def ask(self, asking: Node, url: str) -> PeerAnswer:
        """Ask a server what it is."""
        return self.server_at(asking, url).peer_answer()

    async def hand_over(self, asking: Node, url: str) -> PeerAnswer:
        """Let a server hand over; the uploads that run there end meanwhile."""
        server = self.server_at(asking, url)

        async def last_serial() -> int:
            return (await server.followed.changes()).highest

        handing = ensureDeferred(
            hand_over_role(
                server.state_file,
                lambda: Epoch(1, server.serials.instance),
                server.gate.drained,
                last_serial,
                AtOnce(),
            )
        )
        if not handing.called:
            for end in server.uploads:
                end()
            server.uploads.clear()
        return await handing

    # -- What clients do

    def begin_upload(self, node: Node, filename: str, content: bytes) -> bool:
        """Begin an upload whose last step is still to come; return whether the server takes it."""
        server = node.server
        if server is None:
            return False
        try:
            end = answer(server.gate.begin)
        except SimpleIndexError:
            return False
        epoch = server.epoch
        if node.kept.role is not Role.PRIMARY:
            raise AssertionError(f"{node.name} accepts a change as a {node.kept.role}")

        def finish() -> None:
            self._publish(node, filename, content, epoch)
            end()

        server.uploads.append(finish)
        return True

    def end_uploads(self, node: Node) -> None:
        """Let the uploads that run come to their ends."""
        if node.server is not None:
            uploads, node.server.uploads = node.server.uploads, []
            for finish in uploads:
                finish()

    def upload(self, node: Node, filename: str, content: bytes) -> None:
        """Upload a file."""
        if self.begin_upload(node, filename, content):
            self.end_uploads(node)

    def _publish(self, node: Node, filename: str, content: bytes, epoch: Epoch) -> None:
        path = node.root / filename.partition("-")[0] / filename
        if path.exists() or node.is_buried(filename):
            return
        path.parent.mkdir(exist_ok=True)
        part = path.with_name(f"{filename}.part")
        part.write_bytes(content)
        part.rename(path)
        self._accepted(node, epoch)
        self.promises.uploads.add((filename, content))

    def change(self, node: Node, what: str, filename: str) -> None:
        """Delete or yank a file."""
        server = node.server
        if server is None or node.served(filename) is None:
            return
        try:
            end = answer(server.gate.begin)
        except SimpleIndexError:
            return
        content, project = node.served(filename), filename.partition("-")[0]
        assert content is not None
        store = BlockingStore([os.fsencode(node.root)])
        if what == "delete":
            store.delete(project, filename, by="ann", digest_of=lambda _: sha256(content).hexdigest())
            self.promises.deleted.add((filename, content))
        else:
            store.yank(project, filename=filename, reason="bad", by="ann")
            self.promises.yanked.add((filename, content))
        self._accepted(node, server.epoch)
        end()

    def _accepted(self, node: Node, epoch: Epoch) -> None:
        writer = self.promises.writers.setdefault(epoch, node.name)
        assert writer == node.name, f"{writer} and {node.name} have both accepted changes in epoch {epoch}"

    # -- What operators do, and servers by themselves

    def follow(self, node: Node, primary: Node) -> None:
        """Start a node anew, to follow another one."""
        node.kill()
        node.replica_of = primary
        node.start()

    def round(self, node: Node, last: int | None = None) -> str:
        """Let a replica ask its primary once; return its fault. It dies before a step."""
        server = node.server
        if server is None or not answer(server.replication.check) or node.replica_of is None:
            return ""
        steps, primary = Steps(last), Asked(self, node, node.replica_of.url)
        rounds = server.rounds
        if rounds is None or last is not None:
            folder = ReplicaFolder(os.fsencode(node.root), str(node.state / "removed"), step=steps.run)
            rounds = Rounds(
                primary, folder, server.serials, server.state_file, runner=AtOnce(), clock=self.clock
            )
            server.rounds = rounds if last is None else None
        try:
            feed = answer(primary.changes)
            self.clock.advance(120)
            return make_round(rounds, feed, is_all=True).fault
        except SimpleIndexError as error:
            return error.message
        except Killed:
            node.kill()
            return "killed"

    def take_over(self, node: Node, *, planned: bool = False, last: int | None = None) -> str:
        """Run the command on a node, which dies before a step; return why it was refused."""
        steps, state = Steps(last), StateFile(str(node.state))
        primary = node.replica_of.url if node.replica_of is not None else ""

        async def ask(url: str) -> PeerAnswer:
            steps.take()
            return await self.ask(node, url)

        async def hand_over(url: str) -> PeerAnswer:
            steps.take()
            answered = await self.hand_over(node, url)
            steps.take()
            return answered

        async def there() -> Any:
            steps.take()
            feed = await self.server_at(node, primary).followed.changes()
            return {"": (feed.instance, {name: change.serial for name, change in feed.changes.items()})}

        async def here() -> Any:
            steps.take()
            known = read_serials(str(node.state / "keep" / "serials"))
            return {"": (known.instance, {name: change.serial for name, change in known.changes.items()})}

        async def pause(_seconds: float) -> None:
            steps.take()
            self.round(node)

        command = TakeOver(
            state=state,
            primary=primary,
            peers=[other.url for other in self.nodes if other is not node],
            ask=ask,
            hand_over=hand_over,
            there=there,
            here=here,
            pause=pause,
            patience=2.0,
            say=lambda _sentence: None,
        )
        try:
            _now(command.run(planned=planned))
        except SimpleIndexError as error:
            return error.message
        except Killed:
            return "killed"
        if planned:
            self._check_planned(node)
        return ""

    def _check_planned(self, node: Node) -> None:
        """A planned switch loses nothing: not even what was being uploaded when it began."""
        before = node.replica_of
        assert before is not None
        assert before.server is not None
        assert not before.server.uploads, "changes still run at the primary that has handed over"
        for filename, content in self.promises.uploads:
            if before.served(filename) == content:
                assert node.served(filename) == content, f"{filename} was lost in a planned switch"

    def join(self, node: Node, other: Node, last: int | None = None) -> JoinReport | str:
        """Run the command on a node, which dies before a step; return why it was refused."""
        steps, state = Steps(last), StateFile(str(node.state))
        try:
            theirs = _now(self.ask(node, other.url))
            known = read_serials(str(node.state / "keep" / "serials")).instance
            they_win = do_they_win(state.read(), Epoch(1, known) if known else None, theirs)
            if they_win:
                steps.take()
                stand_back(state, theirs, other.url)
            folder = JoinFolder(
                os.fsencode(node.root), they_win=they_win, server=other.url, now=lambda: NOW, step=steps.run
            )
            joining = Join(folder, Asked(self, node, other.url), AtOnce(), lambda _line: None)
            _now(joining.run())
        except SimpleIndexError as error:
            return error.message
        except Killed:
            return "killed"
        if not they_win:
            joining.report.only_here.clear()
        return joining.report

    # -- What has to be true in the end

    def settle(self) -> Node:
        """Heal everything, let operators do what the documents say, and return the primary."""
        self.cut.clear()
        for node in self.nodes:
            self.end_uploads(node)
            if node.server is None:
                node.start()
        for node in self.nodes:
            assert node.server is not None
            answer(node.server.replication.check)
            answer(node.server.peers.check, True)
        primary = self._primary()
        for turn in range(4):
            complete = turn > 0  # what one has deleted goes from all others in the second turn
            for node in self.nodes:
                if node is not primary:
                    reports = [self.join(primary, node), self.join(node, primary)]
                    complete &= all(
                        isinstance(report, JoinReport) and not report.only_here and not report.failures
                        for report in reports
                    )
            if complete:
                break
        assert complete, reports
        for node in self.nodes:
            if node is not primary:
                self.follow(node, primary)
                for _ in range(4):
                    fault = self.round(node)
                assert fault == "", fault
        return primary

    def _primary(self) -> Node:
        known = {node.name: node.server.epoch for node in self.nodes if node.server is not None}
        for node in self.nodes:
            is_last = not any(epoch.ends(known[node.name]) for epoch in known.values())
            if node.kept.role is Role.PRIMARY and is_last:
                return node
        node = max(self.nodes, key=lambda node: node.kept.epoch or Epoch(0, ""))
        refused = self.take_over(node)
        assert not refused, refused
        assert node.server is not None
        answer(node.server.replication.check)
        for other in self.nodes:
            assert other.server is not None
            answer(other.server.peers.check, True)
        return node

    def check(self) -> None:
        """Check all promises, once everything has healed."""
        primary = self.settle()
        self.check_epochs(primary)
        self.check_files(primary)
        for node in self.nodes:
            assert self._tree(node) == self._tree(primary), f"{node.name} differs from {primary.name}"

    def check_epochs(self, primary: Node) -> None:
        """All nodes know the highest epoch, and only its primary takes changes."""
        epochs = {node.name: node.server.epoch for node in self.nodes if node.server is not None}
        assert len(set(epochs.values())) == 1, f"the nodes do not agree on an epoch: {epochs}"
        takers = [node.name for node in self.nodes if self._takes_changes(node)]
        assert takers == [primary.name], f"changes are taken by {takers}"

    @staticmethod
    def _takes_changes(node: Node) -> bool:
        assert node.server is not None
        try:
            answer(node.server.gate.begin)()
        except SimpleIndexError:
            return False
        return True

    def check_files(self, primary: Node) -> None:
        """No accepted file is missing, and each of several contents of one name is reported."""
        conflicts = [one for node in self.nodes for one in read_conflicts(os.fsencode(node.root))]
        told = {what for one in conflicts for what in (one.aside, one.kept)}
        for filename, content in sorted(self.promises.uploads - self.promises.deleted):
            if primary.served(filename) == content:
                continue
            found = any(content in node.contents(filename) for node in self.nodes)
            assert found, f"{filename} with {content!r} is missing"
            digest = sha256(content).hexdigest()
            assert digest in told, f"{filename} with {content!r} is set aside, and in no list of conflicts"
        for filename, content in self.promises.deleted:
            assert primary.served(filename) != content, f"{filename} was deleted, and is here"
        for filename, content in self.promises.yanked:
            if primary.served(filename) == content:
                mark = primary.root / filename.partition("-")[0] / f"{filename}.yanked"
                assert mark.exists(), f"{filename} was yanked, and is not"

    @staticmethod
    def _tree(node: Node) -> dict[str, bytes]:
        return dict(_files(node.root))


def _files(root: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.relative_to(root).parts[0].startswith("."):
            yield str(path.relative_to(root)), path.read_bytes()


class Asked:
    """Another node as a primary, over the network; provides `IPrimary`."""

    def __init__(self, cluster: Cluster, asking: Node, url: str) -> None:
        self._cluster = cluster
        self._asking = asking
        self._url = url

    def _server(self) -> Server:
        return self._cluster.server_at(self._asking, self._url)

    async def changes(self, **query: Any) -> Any:
        server, told = self._server(), self._asking.kept.epoch
        if told is not None:
            await self._cluster.hear(server, told)
        server.followed.epoch = server.epoch
        return await server.followed.changes(**query)

    async def entries(self, project: str, *, inline: int = 0) -> Any:
        return await self._server().followed.entries(project, inline=inline)

    async def read(self, project: str, entry: Any, write: Any) -> None:
        await self._server().followed.read(project, entry, write)


def _now(work: Any) -> Any:
    """Give the result of a coroutine that waits for nothing."""
    outcome: list[Any] = []
    waiting = ensureDeferred(work) if not isinstance(work, Deferred) else work
    waiting.addBoth(outcome.append)
    assert outcome, "it waits"
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]
