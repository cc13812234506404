"""What a server becomes at its start, what it hears of its primary, and what it says of all that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.folder_source import AtOnce
from twisted_index.backends.folder import blocking_store
from twisted_index.config.settings import AccessSettings, ReplicationSettings, Settings
from twisted_index.errors import BadGateway, ConfigurationError, Unavailable
from twisted_index.events.audit_log import AuditFile
from twisted_index.events.serials import Change, Serials
from twisted_index.files.locks import project_lock
from twisted_index.http_client.retry import Denied
from twisted_index.indexes.catalog import IndexCatalog
from twisted_index.interfaces import AuditAction
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.folder_mark import mark_folder, marked_state
from twisted_index.replication.follower import FollowProgress
from twisted_index.replication.peers import PeerAnswer, retire
from twisted_index.replication.primary import Feed
from twisted_index.replication.state_file import NAMED, RESTRICTED, UNHEARD, ReplicationState, Role, StateFile
from twisted_index.server.replicated_indexes import ReplicatedIndex, ReplicatedIndexes
from twisted_index.server.replication import Replication
from twisted_index.server.replication_report import (
    FollowedIndex,
    collect_metrics,
    describe_start,
    list_problems,
    write_health,
)
from twisted_index.server.upstreams import asks_primary, with_primary

ONE, TWO = "1" * 32, "2" * 32
URL = "https://__token__:secret@a.example.org/packages"
CLEAN = "https://a.example.org/packages/"


class Server:
    """A server with a folder and a state, which can be started again and again."""

    def __init__(self, path: Path) -> None:
        self.folder, self.state = path / "packages", path / "state"
        self.indexes: str | None = None
        self.file = StateFile(str(self.state))

    def start(
        self,
        url: str | None = URL,
        *,
        peers: tuple[str, ...] = (),
        before: Callable[[Replication], object] = lambda _made: None,
        **more: Any,
    ) -> Replication:
        self.serials = Serials(str(self.state / "keep" / "serials"))
        given = Settings(
            paths=(str(self.folder),),
            indexes=self.indexes,
            state=str(self.state),
            replication=ReplicationSettings(replica_of=url, peers=peers),
            **more,
        )
        replication = Replication(given, self.serials, Clock())
        vars(replication).update(_threads=AtOnce())
        before(replication)
        replication.prepare()
        return replication

    def put(self, name: str = "acme-1.0.tar.gz") -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(b"content")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


class Watched:
    """A folder that notes what it learns of the packages of other servers."""

    def __init__(self) -> None:
        self.told: list[bool | None] = []

    def watch_for_loss(self, *, expects_some: bool | None) -> None:
        self.told.append(expects_some)


# The start


@pytest.mark.parametrize("entries", [[], ["lost+found/x", ".git/x", "@eaDir/x"]])
def test_a_server_with_an_empty_folder_becomes_a_replica(server: Server, entries: list[str]):
    for name in entries:
        server.put(name)
    replication = server.start()

    assert server.file.read() == ReplicationState(role=Role.REPLICA, primary=CLEAN, restricted=True)
    assert replication.follows
    assert server.serials.follows


def test_a_folder_that_has_never_followed_has_to_be_joined(server: Server):
    server.put()
    with pytest.raises(ConfigurationError) as caught:
        server.start()

    assert f"twisted-index join {CLEAN} --path {server.folder} --state {server.state}" in caught.value.message
    assert "secret" not in caught.value.message
    assert not server.file.exists


def test_a_named_index_that_has_never_followed_has_to_be_joined(server: Server, tmp_path: Path):
    server.indexes = str(tmp_path / "indexes")
    (tmp_path / "indexes" / "dev" / "acme").mkdir(parents=True)

    with pytest.raises(ConfigurationError, match="indexes/dev has files"):
        server.start()


@pytest.mark.parametrize(("serial", "had_some"), [(0, False), (7, True)])
def test_whether_an_empty_folder_has_lost_its_packages_is_open_until_the_peers_have_answered(
    server: Server, serial: int, had_some: bool
):
    peer: Deferred[PeerAnswer] = Deferred()
    replication, packages = server.start(None, peers=(CLEAN,)), Watched()
    vars(replication).update(_peer_servers=SimpleNamespace(ask=lambda _url: peer), packages=packages)
    replication.start(ReplicatedIndex("", os.fsencode(server.folder), server.serials, lambda _name: None))
    assert packages.told == [None]

    peer.callback(PeerAnswer(Role.REPLICA, None, serial))

    assert packages.told == [None, had_some]


def test_its_folders_say_that_they_follow_until_it_takes_over(server: Server, tmp_path: Path):
    server.indexes = str(tmp_path / "indexes")
    folders = [server.folder, tmp_path / "indexes" / "dev"]
    for folder in folders:
        folder.mkdir(parents=True)
    replication = server.start()
    assert [marked_state(os.fsencode(folder)) for folder in folders] == [str(server.state)] * 2
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO)))
    answer(replication.check)

    assert [marked_state(os.fsencode(folder)) for folder in folders] == [None] * 2


def test_the_folder_of_a_primary_that_retires_says_so_at_once(server: Server):
    server.put()
    replication = server.start(url=None)
    assert marked_state(os.fsencode(server.folder)) is None
    retire(replication.state_file, lambda: Epoch(1, ONE), Epoch(2, TWO))

    assert marked_state(os.fsencode(server.folder)) == str(server.state)


def test_the_audit_log_says_that_another_server_has_taken_over(server: Server):
    replication = server.start(url=None)
    for _ in range(2):
        retire(replication.state_file, lambda: Epoch(1, ONE), Epoch(3, TWO), "https://b.example/")

    (event,) = AuditFile(str(server.state)).latest(10)
    assert (event.by, event.action) == ("", AuditAction.RETIRE)
    assert event.detail == "epoch 1 to 3, of https://b.example/"


def test_what_a_replica_moved_away_goes_also_after_a_take_over(server: Server):
    server.start()
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO)))
    (server.state / "removed" / "2020-01-01").mkdir(parents=True)
    server.start()

    assert not list((server.state / "removed").iterdir())


def test_a_folder_with_a_server_of_its_own_follows_nobody(server: Server, tmp_path: Path):
    # A copy of one that did.
    server.put()
    mark_folder(os.fsencode(server.folder), str(tmp_path / "elsewhere"), is_primary=False)
    server.start(url=None)

    assert marked_state(os.fsencode(server.folder)) is None


def test_the_state_of_a_server_with_packages_is_not_taken_for_a_replica(server: Server):
    server.start(url=None)
    server.serials.note("acme", ONE)
    with pytest.raises(ConfigurationError, match="is the state of a server with other packages") as caught:
        server.start()

    assert "--state" in caught.value.message
    assert not server.file.exists


def test_a_folder_that_has_followed_goes_on(server: Server):
    server.start()
    server.put()

    assert server.start().follows


def test_a_server_that_has_taken_over_stays_the_primary_and_says_so(server: Server):
    server.start()
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(4, TWO)))
    replication = server.start()

    assert not replication.follows
    assert server.serials.instance == TWO
    (line,) = replication.describe()
    assert "primary of epoch 4" in line
    assert CLEAN in line


def test_its_serials_begin_anew_once_and_not_at_each_start(server: Server):
    server.start()
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(4, TWO)))
    server.start()
    (server.state / "keep" / "serials").unlink()
    server.start()

    assert server.serials.instance != TWO


def test_a_retired_server_that_is_given_a_primary_follows_it(server: Server):
    server.file.write(
        ReplicationState(role=Role.RETIRED, epoch=Epoch(4, TWO), primary="https://b.example.org/")
    )

    assert server.start().follows
    assert server.file.read() == ReplicationState(role=Role.REPLICA, epoch=Epoch(4, TWO), primary=CLEAN)


def test_a_replica_that_is_started_without_its_primary_gives_no_serials(server: Server):
    server.start()
    replication = server.start(None)

    assert server.serials.follows
    report, warnings = replication.health(False, True)
    assert report is not None
    assert report["role"] == "replica"
    assert "start it with --replica-of" in warnings[0]


def test_a_server_without_a_replication_says_and_keeps_nothing_of_one(server: Server):
    replication = server.start(None)

    assert replication.health(False, True) == (None, ())
    assert list(replication.collect()) == []
    assert not server.file.exists
    assert not server.serials.follows


def test_a_state_that_is_damaged_ends_the_start(server: Server):
    server.start()
    (server.state / "keep" / "replication").write_text("nonsense\n")

    with pytest.raises(ConfigurationError, match="keep/replication"):
        server.start()


# While it runs


def feed(**more: Any) -> Feed:
    return Feed(instance=ONE, highest=1, changes={}, **more)


def test_a_take_over_lets_the_running_server_lead(server: Server):
    replication = server.start()
    server.serials.follow(ONE)
    server.serials.adopt("acme", Change(7, TWO))
    dev = Serials(None)
    replication.manage(dev)
    assert answer(replication.check)
    assert dev.follows
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO)))

    assert not answer(replication.check)
    assert (server.serials.instance, dev.instance) == (TWO, TWO)
    assert not server.serials.follows
    assert server.serials.serial_of("acme") == 7
    assert server.file.read().leads


class Later:
    """A thread that works when the test says so."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []

    def run(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.work.append(lambda: execute(function, *args).chainDeferred(done))
        return done

    def go_on(self) -> None:
        work, self.work = self.work, []
        for each in work:
            each()


def test_no_change_is_taken_before_a_take_over_has_taken_effect(server: Server):
    replication = server.start()
    server.serials.follow(ONE)
    thread = Later()
    vars(replication).update(_threads=thread)
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO)))
    first, second = (Deferred.fromCoroutine(replication.gate.begin()) for _ in range(2))
    assert (first.called, second.called, replication.gate.running) == (False, False, 0)
    assert server.serials.instance == ONE
    assert len(thread.work) == 1
    thread.go_on()

    assert replication.gate.running == 2
    assert server.serials.instance == TWO
    assert server.file.read().leads


@pytest.mark.parametrize("by_follower", [False, True])
def test_a_take_over_takes_effect_once_and_leaves_the_primary(server: Server, by_follower: bool):
    replication = server.start()
    primary = NamedPrimary()
    vars(replication).update(primary=primary)
    replication.start(ReplicatedIndex("", os.fsencode(server.folder), server.serials, lambda _project: None))
    thread, told = Later(), list[str]()
    vars(replication).update(_threads=thread)
    replication.on_lead = lambda: told.append(server.serials.instance)
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO), calls=1))
    ((follower, _serials),) = replication.followed._followers.values()
    if by_follower:
        follower.leave()
    change = Deferred.fromCoroutine(replication.gate.begin())
    assert (change.called, len(thread.work)) == (False, 1)
    thread.go_on()

    assert (change.called, told, thread.work) == (True, [TWO], [])
    assert replication._reactor.getDelayedCalls() == []


def test_a_round_ends_before_a_take_over_takes_effect(server: Server):
    replication = server.start()
    begun, go_on, steps = Event(), Event(), list[str]()

    def change() -> None:
        begun.set()
        assert go_on.wait(20)
        steps.append(f"changed with {server.serials.instance}")

    server.serials.follow(ONE)
    round_of = Thread(target=replication._changes.make, args=[change])
    round_of.start()
    assert begun.wait(20)
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO)))
    taking_over = Thread(target=answer, args=[replication.check])
    taking_over.start()
    with pytest.raises(Unavailable):
        replication._changes.make(steps.append, "changed later")
    go_on.set()
    for thread in (round_of, taking_over):
        thread.join(20)

    assert steps == [f"changed with {ONE}"]
    assert server.serials.instance == TWO


def hold(server: Server, monkeypatch: pytest.MonkeyPatch) -> ExitStack:
    """Leave a project that a round was placing, and let another process change it."""
    monkeypatch.setattr(blocking_store, "LOCK_TIMEOUT", 0.0)
    server.put("acme/acme-1.0.tar.gz")
    waiting = server.folder / ".staged" / "replica.acme.list"
    waiting.parent.mkdir()
    waiting.write_text("acme-1.0.tar.gz\n")
    held = ExitStack()
    held.enter_context(project_lock(os.fsencode(server.folder)))
    return held


def test_a_lock_of_another_process_holds_up_a_take_over_and_not_for_good(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    replication = server.start()
    server.serials.follow(ONE)
    held = hold(server, monkeypatch)
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO)))
    with held:
        for _ in range(2):
            with pytest.raises(Unavailable, match="has taken over, and takes no changes yet: Another change"):
                answer(replication.gate.begin)
        (said,) = replication.health(False, True)[1]
        assert "takes no changes yet" in said
    answer(replication.gate.begin)

    assert server.serials.instance == TWO
    assert replication.health(False, True)[1] == []
    assert not (server.folder / ".staged").exists()


def test_so_does_one_at_the_start_which_reads_do_not_wait_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    server.start()
    server.serials.follow(ONE)
    held = hold(server, monkeypatch)
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO)))
    with held:
        replication = server.start()
        dev = Serials(None)
        replication.manage(dev)
        # No number of the former primary's is given meanwhile.
        assert server.serials.note("bell", TWO) is dev.note("bell", TWO) is None
        replication._reactor.advance(5)
        assert server.serials.instance == ONE
    replication._reactor.advance(5)

    assert (server.serials.instance, dev.instance) == (TWO, TWO)
    assert server.serials.note("bell", TWO) is not None
    assert server.file.read().leads
    assert replication._reactor.getDelayedCalls() == []


def test_a_server_that_stops_tries_no_more_to_take_over(server: Server, monkeypatch: pytest.MonkeyPatch):
    server.start()
    held = hold(server, monkeypatch)
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO)))
    with held:
        replication = server.start()
        answer(replication.stop)

    assert replication._reactor.getDelayedCalls() == []


def test_a_take_over_that_cannot_be_noted_takes_effect_once(server: Server, monkeypatch: pytest.MonkeyPatch):
    replication = server.start()
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO)))
    told: list[str] = []
    replication.on_lead = lambda: told.append(server.serials.instance)

    def fail(_change: object) -> None:
        raise Unavailable("keep/replication cannot be written: the disk is full.")

    monkeypatch.setattr(replication.state_file, "update", fail)
    for _ in range(2):
        answer(replication.gate.begin)

    assert told == [TWO]


def test_a_replica_says_in_its_state_that_it_follows_indexes_with_a_name(server: Server, tmp_path: Path):
    server.start()
    assert not (server.state / "keep" / NAMED).exists()
    named = ReplicatedIndexes(IndexCatalog(str(tmp_path)), lambda _name: Serials(), lambda *_: None)
    server.start(before=lambda made: setattr(made, "named", named))

    assert (server.state / "keep" / NAMED).is_dir()


@pytest.mark.parametrize("index", ["", "dev"])
def test_a_take_over_hides_no_names_of_files_that_do_not_come_any_more(
    server: Server, tmp_path: Path, index: str
):
    server.indexes = str(tmp_path / "indexes")
    server.start()
    folder = tmp_path / "indexes" / index if index else server.folder
    (folder / "acme").mkdir(parents=True)
    for name in ("acme-1.0.tar.gz", "acme-0.9.tar.gz"):
        (folder / "acme" / name).write_bytes(b"content")
    waiting = folder / ".staged" / "replica.acme.list"
    waiting.parent.mkdir()
    waiting.write_text("acme-1.0.tar.gz\nacme-2.0.tar.gz\n")
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO)))
    server.start()

    assert not waiting.exists()
    assert [path.name for path in folder.rglob("*.gz")] == ["acme-0.9.tar.gz"]
    assert [path.name for path in (server.state / "removed").rglob("*.gz")] == ["acme-1.0.tar.gz"]


def test_a_take_over_lets_indexes_lead_that_nobody_has_asked_for(server: Server, tmp_path: Path):
    server.start()
    (tmp_path / "indexes" / "dev").mkdir(parents=True)
    dev = Serials(str(tmp_path / "dev"))
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO)))
    replication = server.start(
        before=lambda made: setattr(
            made,
            "named",
            ReplicatedIndexes(IndexCatalog(str(tmp_path / "indexes")), lambda _name: dev, lambda *_: None),
        )
    )

    assert not replication.follows
    assert dev.instance == TWO


def test_a_server_that_has_taken_over_has_no_primary_to_be_behind_of(server: Server, tmp_path: Path):
    replication = server.start()
    serials = server.serials
    replication.start(ReplicatedIndex("", os.fsencode(server.folder), serials, lambda _project: None))
    assert "lag-seconds" in (replication.health(False, True)[0] or {})
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO)))

    assert replication.health(False, True) == ({"role": "primary", "epoch": 2}, [])
    Deferred.fromCoroutine(replication.stop())


def test_the_primary_is_the_upstream_until_a_take_over(server: Server):
    server.start()
    settings = Settings(state=str(server.state), replication=ReplicationSettings(replica_of=URL))
    assert with_primary(settings).upstreams.urls == (f"{URL}/simple/",)
    assert asks_primary(with_primary(settings))
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO)))

    assert with_primary(settings) == settings
    assert not asks_primary(settings)


def test_what_one_index_of_the_primary_restricts_is_restricted_for_all(server: Server):
    replication = server.start()

    assert replication.followed.weigh("dev", feed(restricted=True)).restricted
    assert replication.followed.weigh("", feed()).restricted
    assert not replication.followed.weigh("dev", feed()).restricted


class NamedPrimary:
    """A primary with an index dev, which is not for everyone; its indexes are told when that is wanted."""

    url = CLEAN

    def __init__(self) -> None:
        self.listing: Deferred[list[str]] = Deferred()
        self.heard: list[bool] = []
        self.folder: Path | None = None

    async def indexes(self) -> list[str]:
        return await self.listing

    async def close(self) -> None:
        pass

    def index(self, name: str) -> Any:
        return self if name else Silent()

    async def changes(self, **_more: object) -> Feed:
        assert self.folder is not None
        self.heard.append(self.folder.exists())
        return feed(restricted=True) if len(self.heard) == 1 else await Deferred()


class Refusing:
    """An index of a primary that does not let us follow it."""

    async def changes(self, **_more: object) -> Feed:
        raise Denied("It lacks a right.")


class Silent:
    """An index of a primary that does not answer."""

    async def changes(self, **_more: object) -> Feed:
        return await Deferred()


def start_with_indexes(server: Server, path: Path, primary: NamedPrimary) -> Replication:
    """Start a new replica that follows indexes with a name, too."""
    primary.folder = path / "dev"
    path.mkdir(exist_ok=True)
    dev = Serials(None)
    named = ReplicatedIndexes(IndexCatalog(str(path)), lambda _name: dev, lambda *_: None)
    replication = server.start(before=lambda made: setattr(made, "named", named))
    vars(replication).update(primary=primary, _threads=AtOnce())
    replication.start(ReplicatedIndex("", os.fsencode(server.folder), server.serials, lambda _project: None))
    return replication


def test_an_index_opens_nothing_before_those_with_a_name_are_heard(server: Server, tmp_path: Path):
    primary = NamedPrimary()
    replication = start_with_indexes(server, tmp_path / "indexes", primary)

    assert replication.followed.weigh("", feed()).restricted
    primary.listing.callback([])
    assert not replication.followed.weigh("", feed()).restricted


def test_reading_opens_with_the_names_of_all_indexes_if_their_feeds_came_before(
    server: Server, tmp_path: Path
):
    primary = NamedPrimary()
    replication = start_with_indexes(server, tmp_path / "indexes", primary)
    assert replication.followed.weigh("", feed()).restricted
    assert replication.is_restricted
    primary.listing.callback([])

    assert not replication.is_restricted
    assert not server.file.read().restricted


def test_reading_stays_closed_if_one_of_them_restricts_it(server: Server, tmp_path: Path):
    primary = NamedPrimary()
    replication = start_with_indexes(server, tmp_path / "indexes", primary)
    replication.followed.weigh("", feed(restricted=True))
    primary.listing.callback([])

    assert replication.is_restricted
    assert server.file.read().restricted


def test_the_metrics_name_no_index_while_the_primary_restricts_reading(server: Server, tmp_path: Path):
    primary = NamedPrimary()
    replication = start_with_indexes(server, tmp_path / "indexes", primary)
    primary.listing.callback(["dev"])

    def labels() -> set[str]:
        samples = [sample for family in replication.collect() for sample in family.samples]
        return {sample.labels["index"] for sample in samples if "index" in sample.labels}

    assert replication.is_restricted
    assert labels() == {""}
    server.file.update(lambda state: replace(state, restricted=False))
    assert labels() == {"", "dev"}


def test_who_may_read_an_index_is_heard_before_there_is_one(server: Server, tmp_path: Path):
    primary = NamedPrimary()
    replication = start_with_indexes(server, tmp_path / "indexes", primary)
    server.file.update(lambda state: replace(state, restricted=False))
    primary.listing.callback(["dev"])

    assert primary.heard[0] is False
    assert (tmp_path / "indexes" / "dev").exists()
    assert replication.is_restricted
    assert replication.followed.weigh("", feed()).restricted


def test_a_replica_is_closed_until_its_primary_says_who_may_read(server: Server):
    replication = server.start()
    assert (replication.is_restricted, replication.refusal) == (True, UNHEARD)
    server.file.update(lambda state: replace(state, epoch=Epoch(1, TWO)))
    assert replication.refusal == RESTRICTED
    server.file.update(lambda state: replace(state, restricted=False))
    answer(replication.check)

    assert not replication.is_restricted


def test_what_was_restricted_stays_so_over_a_restart(server: Server):
    replication = server.start()
    server.file.update(lambda state: replace(state, restricted=True))
    assert answer(replication.check)

    assert replication.is_restricted
    assert server.start().is_restricted


def test_a_take_over_opens_nothing_that_the_primary_restricted(server: Server):
    server.start()
    server.file.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, TWO), restricted=True))
    replication = server.start()

    assert replication.is_restricted
    assert not answer(replication.check)
    assert replication.is_restricted


def test_rights_that_a_person_has_written_decide_instead(server: Server):
    server.start()
    server.file.update(lambda state: replace(state, restricted=True))
    replication = server.start(access=AccessSettings(rights="/rights.toml"))

    assert not replication.is_restricted
    assert answer(replication.check)
    assert not replication.is_restricted


class SilentPrimary:
    """A primary with two indexes, which answers nothing else."""

    def __init__(self) -> None:
        self.followed: list[str] = []

    async def indexes(self) -> tuple[str, ...]:
        return "dev", "prod"

    def index(self, name: str) -> SilentPrimary:
        self.followed.append(name)
        return self

    async def changes(self, **asked: object) -> Feed:
        if not asked:
            # Who may read an index that is not here yet.
            return feed()
        never: Deferred[Feed] = Deferred()
        return await never

    async def close(self) -> None:
        pass


def test_an_index_that_has_just_gone_keeps_no_other_from_being_followed(server: Server, tmp_path: Path):
    server.indexes = str(tmp_path / "indexes")
    (tmp_path / "indexes").mkdir()
    replication = server.start()
    replication.primary = SilentPrimary()  # type: ignore[assignment]
    replication._threads = AtOnce()  # type: ignore[assignment]
    named = ReplicatedIndexes(IndexCatalog(server.indexes), lambda _name: Serials(), print)
    make = named.make

    def make_and_lose(names: Iterable[str]) -> tuple[str, ...]:
        found = make(names)
        if names:
            (tmp_path / "indexes" / "dev").rmdir()
            named.make = make  # type: ignore[method-assign]
        return found

    named.make = make_and_lose  # type: ignore[method-assign]
    replication.named = named
    replication.start(ReplicatedIndex("", os.fsencode(server.folder), server.serials, print))
    assert set(replication.followed.names) == {"", "prod"}
    replication._reactor.pump([31, 31])
    followed = set(replication.followed.names)
    answer(replication.stop)

    assert followed == {"", "dev", "prod"}


def test_an_index_that_is_here_is_followed_before_the_primary_says_which_it_has(
    server: Server, tmp_path: Path, log: list[str]
):
    """One of which it says nothing, or never comes to an end, holds up no other."""
    (tmp_path / "indexes" / "dev").mkdir(parents=True)
    primary = NamedPrimary()
    primary.index = lambda _name: Silent()  # type: ignore[method-assign]
    replication = start_with_indexes(server, tmp_path / "indexes", primary)
    followed = set(replication.followed.names)
    for _look in range(2):
        listing, primary.listing = primary.listing, Deferred()
        listing.errback(BadGateway("It lists too many."))
        replication._reactor.advance(31)
    answer(replication.stop)

    assert followed == {"", "dev"}
    assert [line for line in log if "too many" in line] == [
        "Indexes that are not here yet are not followed: It lists too many."
    ]


@pytest.mark.parametrize("error", [Unavailable("The state cannot be read."), ZeroDivisionError()])
def test_an_index_is_followed_though_the_look_for_indexes_has_failed_before(
    server: Server, tmp_path: Path, error: Exception, log: list[str]
):
    primary = NamedPrimary()
    primary.index = lambda _name: Silent()  # type: ignore[method-assign]
    primary.listing.callback([])
    replication = start_with_indexes(server, tmp_path / "indexes", primary)
    (tmp_path / "indexes" / "dev").mkdir()
    mark, errors = replication.followed._mark, [error]

    def fail_once(state: ReplicationState) -> None:
        if errors:
            raise errors.pop()
        mark(state)

    replication.followed._mark = fail_once
    primary.listing = Deferred()
    replication._reactor.advance(31)
    assert set(replication.followed.names) == {""}
    replication._reactor.advance(31)
    followed = set(replication.followed.names)
    answer(replication.stop)

    assert followed == {"", "dev"}


def test_an_index_that_may_not_be_followed_is_told_once_and_in_the_report_of_health(
    server: Server, tmp_path: Path, log: list[str]
):
    primary = NamedPrimary()
    primary.index = lambda name: Refusing() if name else Silent()  # type: ignore[method-assign]
    replication = start_with_indexes(server, tmp_path / "indexes", primary)
    for _look in range(2):
        listing, primary.listing = primary.listing, Deferred()
        listing.callback(["dev"])
        replication._reactor.advance(31)
    told, public = replication.health(False, True)[1], replication.health(False, False)[1]
    answer(replication.stop)

    assert told == ["The index dev is not followed: It lacks a right."]
    assert [line for line in log if "lacks a right" in line] == told
    assert public == ["Not all indexes of the primary are followed; the log says which, and why."]


def test_a_wait_for_an_index_that_is_not_followed_ends_at_once(server: Server):
    replication = server.start()

    assert Deferred.fromCoroutine(replication.followed.wait_for("dev", 5, 10.0)).result is False


# What is said

GOOD = FollowProgress(
    primary_serial=7,
    is_current=True,
    contact=1.25,
    lag=0.0,
    bytes_to_go=0,
    pending=0,
    fault="",
    skew=0.25,
)
REPLICA = ReplicationState(role=Role.REPLICA, primary=CLEAN)


def health(*followed: FollowedIndex, state: ReplicationState = REPLICA, closed: str = ""):
    return write_health(state, Epoch(2, ONE), followed, closed=closed)


def test_health_says_how_far_each_index_is():
    report, warnings = health(FollowedIndex("", GOOD, 7), FollowedIndex("dev", GOOD, 5))

    assert (report["role"], report["epoch"], report["primary"]) == ("replica", 2, CLEAN)
    assert (report["serial"], report["primary-serial"], report["lag-seconds"]) == (7, 7, 0.0)
    assert report["indexes"]["dev"]["serial"] == 5  # type: ignore[index]
    assert warnings == []


def test_health_warns_of_a_fault_and_of_where_it_is():
    faulty = replace(GOOD, fault="It is away.")
    _report, warnings = health(FollowedIndex("", faulty, 7), FollowedIndex("dev", faulty, 5))

    assert warnings == ["It is away.", "In the index dev: It is away."]
    assert [problem.path for problem in list_problems([FollowedIndex("dev", faulty, 5)])] == ["+dev/"]


@pytest.mark.parametrize(("skew", "says"), [(61.0, "61 seconds ahead of"), (-90.0, "90 seconds behind")])
def test_a_clock_that_is_wrong_is_a_fault(skew: float, says: str):
    index = FollowedIndex("", replace(GOOD, skew=skew), 7)

    assert says in health(index)[1][0]
    assert says in list_problems([index])[0].reason


def test_health_names_no_index_and_no_project_to_those_who_may_not_read_them():
    faulty = replace(GOOD, fault="secret is not as at the primary: It is away.", names_projects=True)
    away = replace(GOOD, fault="The primary is away.")
    followed = [FollowedIndex("", faulty, 7), FollowedIndex("hidden", faulty, 5), FollowedIndex("", away, 7)]
    report, warnings = write_health(REPLICA, Epoch(2, ONE), followed[:2], closed="", is_public=False)

    assert not any(name in str((report, warnings)) for name in ("secret", "hidden", "indexes"))
    assert report["fault"] == warnings[0]
    assert len(warnings) == 2
    report, _warnings = write_health(REPLICA, Epoch(2, ONE), followed[2:], closed="", is_public=False)
    assert report["fault"] == "The primary is away."


def test_a_replica_that_answers_nobody_says_why():
    assert health(FollowedIndex("", GOOD, 7), closed=RESTRICTED)[1] == [RESTRICTED]


def test_a_retired_server_says_what_it_waits_for():
    assert "takes no changes" in health(state=ReplicationState(role=Role.RETIRED))[1][0]


def test_the_metrics_have_a_value_for_each_index():
    unheard = replace(GOOD, contact=None, lag=None, fault="It is away.")
    rows = [FollowedIndex("", GOOD, 7), FollowedIndex("dev", unheard, 5)]
    samples = {
        (sample.name.removeprefix("twisted_index_replication_"), *sample.labels.values()): sample.value
        for family in collect_metrics(REPLICA, Epoch(2, ONE), rows)
        for sample in family.samples
    }

    assert (samples["role", "replica"], samples["role", "primary"], samples["epoch",]) == (1, 0, 2)
    assert (samples["serial", ""], samples["serial", "dev"]) == (7, 5)
    assert (samples["fault", ""], samples["fault", "dev"]) == (0, 1)
    assert samples["lag_seconds", ""] == 0
    assert ("lag_seconds", "dev") not in samples


def test_the_start_says_whose_replica_it_is():
    [line] = describe_start(REPLICA, CLEAN)
    assert line.startswith(f"Replica of {CLEAN}")


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("http://a.example.org/", True),
        ("http://10.0.0.11:8080/", True),
        ("http://127.0.0.1:8080/", False),
        ("http://[::1]:8080/", False),
        ("http://localhost/", False),
        ("https://a.example.org/", False),
    ],
)
def test_the_start_warns_of_a_token_that_can_be_intercepted(url: str, warns: bool):
    assert any("can be intercepted" in line for line in describe_start(REPLICA, url)) is warns
