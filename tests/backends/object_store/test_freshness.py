"""
A page that is asked for more than `rescan` after a file was added has it, or is 503.

In buckets of every size, in whatever spelling the file lies there, while time passes and the store fails.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.backends.object_store.shelf import Node
from tests.kit.at_once import answer
from tests.kit.memory_bucket import MemoryBucket, Operation
from tests.kit.properties import examples
from twisted_index.backends.object_store.held_listings import HeldListings, Hold
from twisted_index.backends.object_store.project_listing import ProjectListing
from twisted_index.errors import Unavailable
from twisted_index.testing import make_sdist

RESCAN = 2.0
SIZES = {
    "small": {},
    "now and then small": {"_SMALL": 4, "_LARGE_SECONDS": 5.0},
    "large with a short root": {"_SMALL": 0},
    "large with a long root": {"_SMALL": 0, "_SHORT": 0},
    "large with names that begin those of many": {"_SMALL": 0, "_SHORT": 0, "_SEEKS": 0},
}
FILES = [make_sdist("foo-bar", f"{number}.0") for number in range(4)]
KEYS = {
    f"{place}{file.filename}": file
    for place in ("foo-bar/", "Foo.Bar/", "foo__bar/", "FOO-BAR/", "")
    for file in FILES
}
#: What claims the name, and is not listed.
DAMAGED = ("._foo-bar-1.0.zip", "FOO_BAR-2.0.whl.part", "foo-bar/foo-bar-9.0.tar.gz")
OTHERS = ("foo/x", "foo-baz/x", "zoo/x", "Foo-A/x", "x.txt")

ADD = st.tuples(st.just("add"), st.sampled_from([*KEYS, *DAMAGED, *OTHERS]))
WAIT = st.tuples(st.just("wait"), st.sampled_from([0.5, 1.9, 2.1, 3.0, 6.0, 70.0]))
FAIL = st.tuples(st.just("fail"), st.integers(1, 3))
#: Each ends with a page that is asked for.
ROUND = st.lists(st.one_of(ADD, ADD, WAIT, WAIT, FAIL), max_size=4)


class Shelf:
    """A node, and what was added when."""

    def __init__(self, can_seek: bool, page_size: int) -> None:
        self.bucket = MemoryBucket(page_size=page_size)
        self.bucket.can_seek = can_seek
        self.node = Node(self.bucket)
        self.added: dict[str, float] = {}

    def do(self, what: str, argument: object) -> None:
        match what, argument:
            case "wait", float(seconds):
                self.node.clock.advance(seconds)
            case "add", str(key) if key not in self.added:
                self.bucket.place(key, KEYS[key].content if key in KEYS else b"")
                self.added[key] = self.node.clock.seconds()
            case "fail", int(times):
                self.bucket.fail("list", times=times)

    def ask(self) -> None:
        asked_at = self.node.clock.seconds()
        old = {
            key for key, added_at in self.added.items() if added_at < asked_at - RESCAN and key not in OTHERS
        }
        try:
            page = answer(self.node.source.project_page, "foo-bar").value
        except Unavailable:
            return
        assert page is not None or not old
        listed = set() if page is None else {file.filename for file in page.files}
        assert {KEYS[key].filename for key in old if key in KEYS} <= listed


@pytest.mark.parametrize("can_seek", [True, False])
@pytest.mark.parametrize("size", SIZES)
@given(
    rounds=st.lists(ROUND, min_size=2, max_size=8),
    meanwhile=st.lists(st.one_of(ADD, WAIT, FAIL), max_size=10),
    page_size=st.sampled_from([1, 2, 1000]),
)
@examples(80, deadline=None)
def test_a_page_has_what_was_added_more_than_the_rescan_before(
    size: str,
    can_seek: bool,
    rounds: list[list[tuple[str, object]]],
    meanwhile: list[tuple[str, object]],
    page_size: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SIZES[size].items():
            patch.setattr(f"twisted_index.backends.object_store.listings.{name}", value)
        shelf = Shelf(can_seek, page_size)

        def between(operation: Operation) -> None:
            if meanwhile and operation.method.startswith("list"):
                shelf.do(*meanwhile.pop())

        shelf.bucket.before = between
        for steps in rounds:
            for step in steps:
                shelf.do(*step)
            shelf.ask()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "key", ["foo-bar-1.0.tar.gz", "Foo_Bar/foo-bar-1.0.tar.gz", "._FOO.bar-1.0.zip.part"]
)
def test_a_name_that_is_new_in_any_spelling_is_ours_after_the_rescan(
    monkeypatch: pytest.MonkeyPatch, size: str, key: str
) -> None:
    for name, value in SIZES[size].items():
        monkeypatch.setattr(f"twisted_index.backends.object_store.listings.{name}", value)
    bucket = MemoryBucket(page_size=1)
    node = Node(bucket)
    for other in OTHERS:
        bucket.place(other)
    assert node.page("foo-bar") is None
    bucket.place(key)
    node.later(2.1)
    assert node.page("foo-bar") is not None


def test_a_bucket_that_was_large_becomes_small_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twisted_index.backends.object_store.listings._SMALL", 3)
    bucket = MemoryBucket(page_size=3)
    node = Node(bucket)
    for key in KEYS:
        bucket.place(key, KEYS[key].content)
    node.page("foo-bar")
    for key in list(KEYS)[1:]:
        bucket.remove(key)
    node.later(70)
    bucket.forget_operations()
    assert node.page("foo-bar") is not None
    assert node.page("other") is None
    assert bucket.operations["list"] == 1


def test_a_name_that_is_absent_is_not_said_to_be_while_that_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("twisted_index.backends.object_store.listings._SMALL", 0)
    bucket = MemoryBucket()
    node = Node(bucket)
    assert node.page("foo-bar") is None
    node.later()
    bucket.place(FILES[0].filename, FILES[0].content)
    bucket.fail("list_level")
    with pytest.raises(Unavailable):
        answer(node.source.project_page, "foo-bar")
    assert node.files("foo-bar") == [FILES[0].filename]


class Slow:
    """Listings whose answers come when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sent: list[tuple[Hold, Deferred[None]]] = []
        self.listings: HeldListings[str, ProjectListing] = HeldListings(self._read, self.clock, RESCAN)

    async def _read(self, _key: str, hold: Hold) -> ProjectListing:
        arrived: Deferred[None] = Deferred()
        self.sent.append((hold, arrived))
        await arrived
        return ProjectListing(hold=hold)

    def ask(self) -> list[ProjectListing]:
        answers: list[ProjectListing] = []
        Deferred.fromCoroutine(self.listings.get("foo")).addCallback(answers.append)
        return answers


class TestSlowListings:
    def test_one_serves_all_that_asked_within_the_rescan_of_it(self) -> None:
        slow = Slow()
        first = slow.ask()
        slow.clock.advance(1.9)
        second = slow.ask()
        slow.clock.advance(10)
        slow.sent[0][1].callback(None)
        assert first == second != []
        assert len(slow.sent) == 1

    def test_who_asks_later_gets_the_next(self) -> None:
        slow = Slow()
        slow.ask()
        slow.clock.advance(2.1)
        late, later = slow.ask(), slow.ask()
        slow.sent[0][1].callback(None)
        assert late == []
        slow.sent[1][1].callback(None)
        assert late == later != []
        assert len(slow.sent) == 2

    def test_who_asks_after_a_write_gets_the_next(self) -> None:
        slow = Slow()
        slow.ask()
        slow.listings.forget("foo")
        late = slow.ask()
        slow.sent[0][1].callback(None)
        assert late == []

    def test_who_joined_one_that_is_made_of_an_older_one_gets_the_next(self) -> None:
        slow = Slow()
        slow.clock.advance(10)
        slow.ask()
        slow.clock.advance(1.9)
        late = slow.ask()
        slow.sent[0][0].sent_at = 9.0
        slow.sent[0][1].callback(None)
        assert late == []
        assert len(slow.sent) == 2
