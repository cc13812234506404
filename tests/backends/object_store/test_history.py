"""The audit log of all nodes of a bucket: what each shows, what that costs, and what a failing store does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.memory_bucket import MemoryBucket, Operation
from tests.kit.properties import examples
from twisted_index.backends.object_store.event_keys import FOLDER, EventKey
from twisted_index.backends.object_store.history import BucketHistory
from twisted_index.backends.object_store.object_editor import ObjectEditor
from twisted_index.backends.object_store.shared_audit_log import SharedAuditLog
from twisted_index.backends.object_store.source import ObjectSource
from twisted_index.backends.object_store.store import ObjectStore
from twisted_index.errors import BadRequest, Unavailable
from twisted_index.events.audit_lines import write_event
from twisted_index.events.audit_log import AuditFile, AuditLog
from twisted_index.interfaces import AuditEvent, AuditQuery, IAuditLog, Upload
from twisted_index.testing import SynchronousRunner, make_wheel

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def make_node(bucket: MemoryBucket, state: Path | None = None) -> SharedAuditLog:
    at_once = SynchronousRunner()
    return SharedAuditLog(BucketHistory(bucket), AuditLog(state and str(state), at_once), at_once)


def event(number: int = 0, time: datetime = NOON, **values: str) -> AuditEvent:
    return AuditEvent(
        time=time, **{"by": "alice", "action": "upload", "project": "demo", "detail": str(number), **values}
    )


def pages(log: IAuditLog, **conditions: object) -> Iterator[list[str]]:
    """The details of the events found, page by page."""
    before = ""
    while True:
        query = AuditQuery(**{**conditions, "before": before})
        page = answer(log.search, query)
        assert len(page.events) <= query.limit
        yield [found.detail for found in page.events]
        before = page.next
        if not before:
            return


def found(log: IAuditLog, **conditions: object) -> list[str]:
    return [detail for page in pages(log, **conditions) for detail in page]


def fill(bucket: MemoryBucket, number: int, step: timedelta) -> None:
    """Put so many events there, the youngest at noon."""
    for at in range(number):
        one = event(at, NOON - (number - 1 - at) * step, project=f"demo-{at % 10}")
        bucket.place(EventKey.of(one).key, write_event(one))


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


# -- All nodes


def test_each_node_shows_the_changes_of_all_the_latest_first(bucket: MemoryBucket):
    one, two = make_node(bucket), make_node(bucket)
    for number in range(4):
        answer((one, two)[number % 2].record, event(number, NOON + number * MINUTE))
    assert found(one) == found(two) == ["3", "2", "1", "0"]


def test_an_event_is_written_once_and_read_by_a_node_once(bucket: MemoryBucket):
    one, two = make_node(bucket), make_node(bucket)
    answer(one.record, event())
    assert bucket.operations == {"write": 1}
    assert found(two) == ["0"]
    bucket.forget_operations()
    assert found(two) == ["0"]
    assert bucket.operations == {"list": 1}


def test_an_object_has_the_line_that_a_folder_would_have(bucket: MemoryBucket):
    answer(make_node(bucket).record, event())
    (key,) = bucket.keys()
    assert key.startswith(f"{FOLDER}/2026-11/30/12/00/")
    assert bucket.content(key) == write_event(event())


def test_refusals_and_reloads_are_those_of_the_node(bucket: MemoryBucket, tmp_path: Path):
    one, two = make_node(bucket, tmp_path), make_node(bucket)
    answer(one.record, event(0))
    for number, action in enumerate(("refuse", "reload"), 1):
        answer(one.record, event(number, NOON + number * MINUTE, action=action))
    answer(two.record, event(3, NOON + 3 * MINUTE))
    assert bucket.operations == {"write": 2}
    assert found(one) == ["3", "2", "1", "0"]
    assert found(two) == ["3", "0"]
    assert found(make_node(bucket, tmp_path)) == found(one)


def test_tokens_that_another_node_made_belong_to_their_maker(bucket: MemoryBucket):
    one, two = make_node(bucket), make_node(bucket)
    answer(one.record, event(0, action="token-create", project="", detail="ci: upload demo"))
    answer(one.record, event(1, NOON + MINUTE, by="token ci"))
    answer(one.record, event(2, NOON + 2 * MINUTE, by="bob"))
    assert found(two, by="alice") == ["1", "ci: upload demo"]
    assert found(two, by="token ci") == ["1"]


# -- Paging


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["upload", "refuse", "token-create"])), max_size=30
    ),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["upload", "refuse"])), max_size=10),
    st.integers(1, 7),
)
@examples(200, deadline=None)
def test_pages_have_each_event_once_while_others_are_recorded(
    before: list[tuple[int, str]], meanwhile: list[tuple[int, str]], limit: int
) -> None:
    bucket = MemoryBucket(page_size=4)
    nodes = make_node(bucket), make_node(bucket)
    history = sorted(before)
    for number, (minute, action) in enumerate(history):
        answer(
            nodes[number % 2 and action != "refuse"].record,
            event(number, NOON + minute * MINUTE, action=action),
        )
    shown: list[str] = []
    for page in pages(nodes[0], limit=limit):
        shown += page
        for minute, action in meanwhile[:1]:
            del meanwhile[0]
            # Another node's clock may be behind.
            late = event(-1, NOON + timedelta(hours=minute - 1), action=action)
            answer(nodes[0 if action == "refuse" else 1].record, late)
    expected = [str(number) for number in range(len(history))]
    kept = [number for number in shown if number != "-1"]
    assert sorted(kept) == sorted(expected)
    minutes = [history[int(number)][0] for number in kept]
    assert minutes == sorted(minutes, reverse=True)


@pytest.mark.parametrize(
    "before", ["2026-11:12", "x", "~", "1796040000000000", "1796040000000000~x", "1" * 16 + ".~"]
)
def test_what_is_from_no_page_begins_none(bucket: MemoryBucket, before: str):
    answer(make_node(bucket).record, event())
    with pytest.raises(BadRequest, match="next link"):
        answer(make_node(bucket).search, AuditQuery(before=before))


# -- What it costs


@pytest.mark.parametrize("step", [timedelta(seconds=1), timedelta(minutes=30)])
def test_the_latest_page_of_a_long_history_lists_little(bucket: MemoryBucket, step: timedelta):
    fill(bucket, 12_000, step)
    node = make_node(bucket)
    assert next(pages(node)) == [str(number) for number in range(11_999, 11_899, -1)]
    assert bucket.operations["list"] <= 12
    bucket.forget_operations()
    next(pages(node))
    assert bucket.operations["list"] <= 8
    assert not bucket.operations["read"]


def test_a_long_history_is_found_to_its_end(bucket: MemoryBucket):
    fill(bucket, 3000, timedelta(minutes=7))
    everything = found(make_node(bucket), limit=1000)
    assert everything == [str(number) for number in range(2999, -1, -1)]


def test_a_search_reads_only_what_may_be_wanted(bucket: MemoryBucket):
    fill(bucket, 3000, timedelta(minutes=7))
    node = make_node(bucket)
    since, until = NOON - timedelta(days=5), NOON - timedelta(days=4)
    wanted = found(node, project="demo-3", since=since, until=until)
    assert wanted
    assert all(number.endswith("3") for number in wanted)
    assert bucket.operations["read"] == len(wanted)
    assert found(node, by="nobody", limit=10) == found(node, actions=frozenset({"delete"})) == []
    assert bucket.operations["read"] == len(wanted)


# -- What fails


class Stopped(SynchronousRunner):
    """Threads that stop, see `ThreadPool.run`."""

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        return fail(CancelledError())


def test_an_event_that_a_stop_leaves_out_of_the_bucket_is_kept_by_the_node(
    bucket: MemoryBucket, tmp_path: Path
):
    own = AuditLog(str(tmp_path), SynchronousRunner())
    with pytest.raises(Unavailable, match="could not be recorded"):
        answer(SharedAuditLog(BucketHistory(bucket), own, Stopped()).record, event())
    assert found(make_node(bucket, tmp_path)) == ["0"]


def test_a_change_that_the_store_does_not_record_is_an_error_and_in_the_nodes_own_log(
    bucket: MemoryBucket, tmp_path: Path
):
    node = make_node(bucket, tmp_path)
    bucket.fail("write", times=sys.maxsize)
    with pytest.raises(Unavailable, match="made, but could not be recorded"):
        answer(node.record, event())
    bucket.mend()
    assert not bucket.keys()
    assert found(node) == ["0"]
    assert [one.detail for one in AuditFile(str(tmp_path)).latest(9)] == ["0"]


def test_an_event_whose_write_was_not_answered_is_there_once(bucket: MemoryBucket):
    bucket.fail("write", times=2, effect="done")
    node = make_node(bucket)
    answer(node.record, event())
    assert found(node) == ["0"]


def test_an_event_that_came_after_all_is_shown_once(bucket: MemoryBucket, tmp_path: Path):
    node = make_node(bucket, tmp_path)
    bucket.fail("write", times=sys.maxsize, effect="later")
    with pytest.raises(Unavailable):
        answer(node.record, event())
    bucket.mend()
    bucket.land()
    assert found(node) == ["0"]


@pytest.mark.parametrize("what", ["list", "read"])
def test_while_the_store_does_not_answer_there_is_no_shorter_history(bucket: MemoryBucket, what: str):
    node = make_node(bucket)
    answer(node.record, event())
    bucket.fail(what)
    with pytest.raises(Unavailable):
        answer(node.search, AuditQuery())


def test_what_is_no_event_is_passed_over(bucket: MemoryBucket):
    node = make_node(bucket)
    answer(node.record, event(1))
    bucket.place(f"{FOLDER}/2026-11/notes.txt", b"notes")
    bucket.place(EventKey.of(event(2)).key, b"{torn")
    bucket.place(EventKey.of(event(3)).key, b" " * (1 << 20) + b"x")
    assert found(node) == ["1"]


def test_events_may_be_removed_at_any_time(bucket: MemoryBucket):
    node = make_node(bucket)
    for number in range(3):
        answer(node.record, event(number, NOON + number * MINUTE))

    def remove(operation: Operation) -> None:
        if operation.method == "read" and len(bucket.keys()) == 3:
            bucket.remove(bucket.keys()[0])

    bucket.before = remove
    assert found(node) == ["2", "1"]


def test_times_that_no_calendar_has_are_of_no_harm(bucket: MemoryBucket):
    node = make_node(bucket)
    answer(node.record, event(1, datetime(1, 1, 1, tzinfo=UTC)))
    answer(node.record, event(2, datetime(9999, 12, 31, tzinfo=UTC)))
    assert found(node) == ["2", "1"]
    assert found(node, since=datetime(1, 1, 1, tzinfo=UTC)) == ["2", "1"]


# -- Uploads that are repeated

WHEEL = make_wheel("demo", "1.0")


class _Server:
    """A node that takes uploads; its pauses are noted, and may be used by another."""

    def __init__(self, bucket: MemoryBucket) -> None:
        at_once, clock = SynchronousRunner(), Clock()
        self.bucket = bucket
        self.now = datetime.fromtimestamp(bucket.now_ns // 10**9, UTC) + MINUTE
        self.log = make_node(bucket)
        self.pauses: list[float] = []
        self.meanwhile: Callable[[], object] = lambda: None
        source = ObjectSource(bucket, worker=at_once, reactor=clock)
        editor = ObjectEditor(
            bucket,
            source.reader,
            history=BucketHistory(bucket),
            now=lambda: self.now,
            pause=lambda seconds: (self.pauses.append(seconds), self.meanwhile()),
        )
        self.store = ObjectStore(source, worker=at_once, audit_log=self.log, editor=editor)

    def upload(self) -> bool:
        spool = answer(self.store.spool)
        answer(spool.write, WHEEL.content)
        return bool(answer(self.store.publish, Upload(spool=spool, filename=WHEEL.filename, by="alice")))

    def uploads(self) -> list[str]:
        return [one.by for one in answer(self.log.search, AuditQuery()).events if one.action == "upload"]


def test_an_upload_writes_the_file_and_its_event_and_looks_for_no_other(bucket: MemoryBucket):
    server = _Server(bucket)
    assert server.store.editor.conditions
    bucket.forget_operations()
    assert server.upload()
    assert bucket.operations["write"] == 2
    assert not [call for call in bucket.calls if "list" in call.method and call.key.startswith(FOLDER)]


def test_a_repeated_upload_records_what_its_first_try_could_not(bucket: MemoryBucket):
    one, two = _Server(bucket), _Server(bucket)
    bucket.fail("write", keys=f"{FOLDER}/*", times=3)
    with pytest.raises(Unavailable, match="could not be recorded"):
        one.upload()
    assert two.uploads() == []
    assert not two.upload()
    assert not two.upload()
    assert two.uploads() == ["alice"]
    assert two.pauses == [2.0]


def test_a_repeated_upload_leaves_the_first_to_record_itself(bucket: MemoryBucket):
    one, two = _Server(bucket), _Server(bucket)
    late = event(time=one.now, filename=WHEEL.filename, detail=f"sha256={WHEEL.sha256}")
    bucket.place(f"demo/{WHEEL.filename}", WHEEL.content)
    two.meanwhile = lambda: answer(one.log.record, late)
    assert not two.upload()
    assert two.uploads() == ["alice"]


def test_what_came_otherwise_long_ago_is_not_recorded(bucket: MemoryBucket):
    server = _Server(bucket)
    bucket.place(f"demo/{WHEEL.filename}", WHEEL.content)
    server.now += timedelta(hours=2)
    assert not server.upload()
    assert server.uploads() == server.pauses == []
