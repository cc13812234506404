"""Whatever is cut, dies, takes over and joins: nothing accepted is lost, and one server takes changes."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.kit.cluster import Cluster
from twisted_index.replication import change_gate, join_folder, takeover
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.join_folder import JoinFolder
from twisted_index.replication.join_plan import plan_join
from twisted_index.replication.state_file import ReplicationState, Role, StateFile

FILES = st.sampled_from(["acme-1.0.tar.gz", "acme-2.0.tar.gz", "zoo-1.0.tar.gz"])
CONTENTS = st.sampled_from([b"one", b"two", b"three"])
NODES = st.integers(0, 2)
#: After how many steps something dies; None lets it come to its end.
LAST = st.one_of(st.none(), st.none(), st.integers(0, 25))


class Schedules(RuleBasedStateMachine):
    """Any schedule of what can happen to three servers."""

    def __init__(self):
        super().__init__()
        self.top = Path(tempfile.mkdtemp(prefix="ti-cluster-"))

    @initialize(peers_needed=st.integers(0, 1), may_manage=st.booleans())
    def begin(self, peers_needed, may_manage):
        self.cluster = Cluster(self.top, peers_needed=peers_needed, may_manage=may_manage)

    def node(self, number):
        return self.cluster.nodes[number]

    def primary(self, number):
        """One of the nodes that take themselves for the primary, or any if there is none."""
        nodes = [node for node in self.cluster.nodes if node.kept.role is Role.PRIMARY]
        return (nodes or self.cluster.nodes)[number % len(nodes or self.cluster.nodes)]

    @rule(number=NODES, other=NODES)
    def cut(self, number, other):
        if number != other:
            self.cluster.cut ^= {frozenset((self.node(number).name, self.node(other).name))}

    @rule(number=NODES)
    def kill_or_start(self, number):
        node = self.node(number)
        node.start() if node.server is None else node.kill()

    @rule(number=NODES, filename=FILES, content=CONTENTS)
    def upload(self, number, filename, content):
        self.cluster.upload(self.primary(number), filename, content)

    @rule(number=NODES, filename=FILES, content=CONTENTS)
    def upload_anywhere(self, number, filename, content):
        self.cluster.upload(self.node(number), filename, content)

    @rule(number=NODES, other=NODES)
    def split(self, number, other):
        """Cut a primary off from the others, of which one takes over."""
        primary, taker = self.primary(number), self.node(other)
        for node in self.cluster.nodes:
            if node is not primary:
                self.cluster.cut.add(frozenset((primary.name, node.name)))
        self.cluster.take_over(taker)

    @rule(number=NODES, filename=FILES, content=CONTENTS)
    def begin_upload(self, number, filename, content):
        self.cluster.begin_upload(self.node(number), filename, content)

    @rule(number=NODES)
    def end_uploads(self, number):
        self.cluster.end_uploads(self.node(number))

    @rule(number=NODES, what=st.sampled_from(["delete", "yank"]), filename=FILES)
    def change(self, number, what, filename):
        self.cluster.change(self.primary(number), what, filename)

    @rule(number=NODES, last=LAST)
    def round(self, number, last):
        self.cluster.round(self.node(number), last)

    @rule(number=NODES, planned=st.booleans(), last=LAST)
    def take_over(self, number, planned, last):
        self.cluster.take_over(self.node(number), planned=planned, last=last)

    @rule(number=NODES, other=NODES, last=LAST)
    def join(self, number, other, last):
        if number != other:
            self.cluster.join(self.node(number), self.node(other), last)

    @rule(number=NODES, other=NODES)
    def follow(self, number, other):
        if number != other and self.node(number).kept.role is not Role.PRIMARY:
            self.cluster.follow(self.node(number), self.node(other))

    def teardown(self):
        try:
            if hasattr(self, "cluster"):
                self.cluster.check()
        finally:
            shutil.rmtree(self.top)


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(settings(), stateful_step_count=30)


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


A, B, C = "acme-1.0.tar.gz", "acme-2.0.tar.gz", "zoo-1.0.tar.gz"


def split(cluster):
    """Let two servers be the primary, with files that only one has, and one name with two contents."""
    a, b, _c = cluster.nodes
    cluster.upload(a, A, b"one")
    cluster.round(b)
    cluster.cut |= {frozenset("ab"), frozenset("ac")}
    assert cluster.take_over(b) == ""
    cluster.upload(a, B, b"of a")
    cluster.upload(b, B, b"of b")
    cluster.upload(a, C, b"one")
    cluster.upload(b, "late-1.0.tar.gz", b"two")


def test_after_a_split_all_is_there_and_what_differs_is_told(cluster):
    split(cluster)
    assert len(cluster.promises.uploads) == 5
    assert len(cluster.promises.writers) == 2
    cluster.check()
    _a, b, _c = cluster.nodes
    assert b.served(B) == b"of b"
    assert b.served(C) == b"one"


def test_a_planned_switch_loses_nothing_and_needs_no_join(cluster):
    a, b, _c = cluster.nodes
    cluster.upload(a, A, b"one")
    assert cluster.begin_upload(a, B, b"two")
    assert cluster.take_over(b, planned=True) == ""
    assert b.served(B) == b"two"
    cluster.upload(a, C, b"lost?")
    cluster.upload(b, C, b"three")
    cluster.follow(a, b)
    assert cluster.round(a) == ""
    assert a.served(C) == b"three"
    assert cluster.join(a, b).conflicts == 0
    cluster.check()


def test_a_server_that_was_away_takes_nothing_once_a_peer_has_taken_over(cluster):
    a, b, _c = cluster.nodes
    a.kill()
    assert cluster.take_over(b) == ""
    a.start()
    cluster.upload(a, A, b"one")
    assert cluster.promises.uploads == set()
    assert a.kept.role is Role.RETIRED
    cluster.check()


# -- Each promise is broken by a fault that is made on purpose: so each is looked at


def test_fault_of_two_servers_that_begin_the_same_epoch(cluster, monkeypatch):
    monkeypatch.setattr(takeover, "Epoch", lambda number, _instance: Epoch(number, "ab" * 16))
    _a, b, c = cluster.nodes
    cluster.cut |= {frozenset("ab"), frozenset("ac"), frozenset("bc")}
    for node in (b, c):
        assert cluster.take_over(node) == ""
    cluster.upload(b, A, b"one")
    with pytest.raises(AssertionError, match="b and c have both accepted changes"):
        cluster.upload(c, B, b"two")


def test_fault_of_a_gate_that_does_not_look_what_the_server_is(cluster, monkeypatch):
    monkeypatch.setattr(change_gate, "_require_primary", lambda _state: None)
    with pytest.raises(AssertionError, match="b accepts a change as a replica"):
        cluster.upload(cluster.nodes[1], A, b"one")


def test_fault_of_a_server_that_forgets_the_epoch(cluster):
    split(cluster)
    primary = cluster.settle()
    cluster.check_epochs(primary)
    # As a state that was restored from a backup.
    stale = ReplicationState(role=Role.PRIMARY, epoch=Epoch(1, "0f" * 16))
    StateFile(str(cluster.nodes[0].state)).write(stale)
    with pytest.raises(AssertionError, match="do not agree on an epoch"):
        cluster.check_epochs(primary)


def test_fault_of_servers_that_go_on_after_their_epoch(cluster, monkeypatch):
    split(cluster)
    primary = cluster.settle()
    monkeypatch.setattr(change_gate, "_require_primary", lambda _state: None)
    with pytest.raises(AssertionError, match="changes are taken by"):
        cluster.check_epochs(primary)


def test_fault_of_a_join_that_replaces_without_setting_aside(cluster, monkeypatch):
    def plan(*args, they_win, is_recorded):
        return plan_join(*args, they_win=they_win, is_recorded=lambda *_conflict: True)

    monkeypatch.setattr(join_folder, "plan_join", plan)
    split(cluster)
    with pytest.raises(AssertionError, match=r"acme-2\.0\.tar\.gz with b'of a' is missing"):
        cluster.check()


def test_fault_of_a_join_that_forgets_what_it_has_set_aside(cluster, monkeypatch):
    def plan(self, project, theirs):
        def is_aside(path, _kept, aside):
            return any(Path(self.root.decode()).glob(f".conflicts/{aside[:16]}/{Path(path).name}"))

        ours = self._holdings(project, theirs)
        return tuple(plan_join(project, ours, theirs, they_win=self._they_win, is_recorded=is_aside))

    monkeypatch.setattr(JoinFolder, "plan", plan)
    monkeypatch.setattr(join_folder, "record_conflict", lambda _root, _conflict: None)
    split(cluster)
    with pytest.raises(AssertionError, match="in no list of conflicts"):
        cluster.check()


def test_fault_of_a_join_that_takes_nothing(cluster, monkeypatch):
    monkeypatch.setattr(join_folder, "plan_join", lambda *_args, **_more: ())
    split(cluster)
    with pytest.raises(AssertionError):
        cluster.check()


def test_fault_of_a_planned_switch_that_waits_for_nothing(cluster, monkeypatch):
    monkeypatch.setattr(takeover, "lacking", lambda _there, _here: [])
    a, b, _c = cluster.nodes
    cluster.upload(a, A, b"one")
    with pytest.raises(AssertionError, match="lost in a planned switch"):
        cluster.take_over(b, planned=True)


def test_fault_of_a_hand_over_that_does_not_wait_for_uploads(cluster, monkeypatch):
    async def drained(_gate):
        pass

    monkeypatch.setattr(change_gate.ChangeGate, "drained", drained)
    a, b, _c = cluster.nodes
    cluster.begin_upload(a, A, b"one")
    with pytest.raises(AssertionError, match="changes still run"):
        cluster.take_over(b, planned=True)
