"""What a bucket's source lists, what that costs, and what it never says."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.internet.task import Clock

from tests.backends.object_store.shelf import Node, place
from tests.kit.at_once import answer
from tests.kit.memory_bucket import MemoryBucket, Operation
from twisted_index.backends.layout.facts import FileFacts
from twisted_index.backends.object_store.bucket import Unlistable
from twisted_index.backends.object_store.learned import LearnedObject, ObjectId
from twisted_index.backends.object_store.source import ObjectSource
from twisted_index.errors import Unavailable
from twisted_index.simple.model import Sidecar
from twisted_index.testing import make_sdist, make_wheel

WHEEL = make_wheel("demo", "1.0")
NEWER = make_wheel("demo", "2.0")
OTHER = make_wheel("demofoo", "1.0")
KEY = f"demo/{WHEEL.filename}"


class Threads:
    """Threads whose results come in turns. A stop waits for what has begun, and lets nothing begin."""

    def __init__(self) -> None:
        self.begun: list[Callable[[], None]] = []
        self.is_stopping = False

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        if self.is_stopping:
            return fail(CancelledError())
        done, result = execute(function, *args, **kwargs), Deferred[Any]()
        self.begun.append(lambda: done.chainDeferred(result) and None)
        return result

    def turn(self) -> None:
        begun, self.begun = self.begun, []
        for deliver in begun:
            deliver()

    def stop(self) -> Deferred[None]:
        self.is_stopping = True
        self.turn()
        self.is_stopping = False
        return succeed(None)


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


@pytest.fixture
def node(bucket: MemoryBucket) -> Node:
    return Node(bucket)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch, bucket: MemoryBucket) -> Node:
    """A node that takes the bucket for a large one."""
    monkeypatch.setattr("twisted_index.backends.object_store.listings._SMALL", 0)
    return Node(bucket)


class TestOperations:
    def test_a_warm_page_costs_none(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        node.page("demo")
        bucket.forget_operations()
        node.page("demo")
        assert not bucket.operations

    def test_a_page_after_the_rescan_costs_one_listing(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL, OTHER)
        node.page("demo")
        node.later(10)
        bucket.forget_operations()
        node.page("demo")
        node.page("demofoo-that-is-not-there")
        assert bucket.operations == {"list": 1}

    def test_the_first_page_of_another_node_costs_a_listing_and_what_was_learned(self, bucket: MemoryBucket):
        place(bucket, *(make_wheel("demo", f"1.{minor}") for minor in range(20)))
        first = Node(bucket)
        page = first.page("demo")
        first.later(10)
        bucket.forget_operations()
        assert Node(bucket).page("demo") == page
        assert bucket.operations == {"list": 1, "read": 1}

    def test_a_file_that_is_not_listed_costs_one_listing(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        node.page("demo")
        bucket.forget_operations()
        assert node.read("demo", NEWER.filename) is None
        assert bucket.operations == {"list": 1}

    def test_in_a_large_bucket_it_costs_those_of_the_root_and_of_its_folder(
        self, bucket: MemoryBucket, large: Node
    ):
        place(bucket, WHEEL)
        large.page("demo")
        bucket.forget_operations()
        assert large.read("demo", NEWER.filename) is None
        assert bucket.operations == {"list": 2}

    def test_a_page_of_a_large_bucket_costs_one_listing_of_its_folder(
        self, bucket: MemoryBucket, large: Node
    ):
        place(bucket, WHEEL, OTHER)
        large.page("demo")
        bucket.forget_operations()
        large.page("demofoo")
        assert [each.key for each in bucket.calls if each.method != "read"] == ["demofoo"]

    def test_an_idle_node_asks_nothing(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        node.page("demo")
        node.later(10)
        bucket.forget_operations()
        node.later(1000)
        assert not bucket.operations

    def test_without_a_rescan_each_answer_is_listed(self, bucket: MemoryBucket):
        node = Node(bucket, rescan=0)
        place(bucket, WHEEL)
        assert node.files("demo") == [WHEEL.filename]
        place(bucket, NEWER)
        assert node.files("demo") == [WHEEL.filename, NEWER.filename]

    def test_a_file_that_grew_by_one_costs_its_own_bytes_only(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        node.page("demo")
        node.later(10)
        place(bucket, NEWER)
        bucket.forget_operations()
        assert len(node.files("demo")) == 2
        assert [each.key for each in bucket.calls if each.method == "read"] == [
            ".learned/demo",
            f"demo/{NEWER.filename}",
        ]


class TestOddKeys:
    def test_one_that_hides_others_from_the_store_itself_takes_down_only_its_folder(
        self, bucket: MemoryBucket, node: Node
    ):
        place(bucket, WHEEL, OTHER)
        for folder in ("", "demofoo"):
            bucket.fail("list_all", keys=folder, times=99, error=Unlistable("Rename it."))
        assert node.files("demo") == [WHEEL.filename]
        with pytest.raises(Unavailable, match="Rename it"):
            node.page("demofoo")
        assert node.problems() == {"demofoo/": "Rename it."}

    def test_one_that_is_empty_is_not_read(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        bucket.place(f"demo/{NEWER.filename}", b"")
        bucket.fail("read", keys=f"demo/{NEWER.filename}", times=99)
        assert node.files("demo") == [WHEEL.filename]
        assert set(node.problems()) == {f"demo/{NEWER.filename}"}


class TestLearned:
    def test_without_it_the_page_is_the_same(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL, NEWER)
        page = node.page("demo")
        node.later(10)
        bucket.remove(".learned/demo")
        assert Node(bucket).page("demo") == page

    @pytest.mark.parametrize("damage", [b"", b"\xff\0", b'{"learned": 1}\n{"key": []}\n[]\nnull\n{"key":'])
    def test_damage_to_it_changes_nothing(self, bucket: MemoryBucket, node: Node, damage: bytes):
        place(bucket, WHEEL)
        page = node.page("demo")
        bucket.place(".learned/demo", damage)
        assert Node(bucket).page("demo") == page

    def test_what_it_says_of_other_bytes_counts_for_nothing(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        node.page("demo")
        node.later(10)
        other = make_wheel("demo", "1.0", files={"demo/more.py": ""})
        bucket.place(KEY, other.content)
        (file,) = Node(bucket).page("demo").files  # type: ignore[union-attr]
        assert file.hashes == {"sha256": other.sha256}

    def test_a_wrong_digest_in_it_is_found_when_the_bytes_are_read_and_then_forgotten(
        self, bucket: MemoryBucket, node: Node
    ):
        place(bucket, WHEEL)
        node.page("demo")
        node.later(10)
        learned = bucket.content(".learned/demo")
        bucket.place(".learned/demo", learned.replace(WHEEL.sha256.encode(), b"0" * 64))
        second = Node(bucket)
        assert second.read("demo", WHEEL.filename) == WHEEL.content

    def test_a_wrong_digest_is_on_no_page_after_that_and_not_kept(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        page = node.page("demo")
        node.later(10)
        learned = bucket.content(".learned/demo")
        bucket.place(".learned/demo", learned.replace(WHEEL.sha256.encode(), b"0" * 64))
        second = Node(bucket)
        wrong = answer(second.source.project_page, "demo")
        second.read("demo", WHEEL.filename)
        assert not wrong.is_current()
        assert second.page("demo") == page
        second.later(10)
        assert bucket.content(".learned/demo") == learned

    def test_one_that_is_far_too_large_is_none(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        page = node.page("demo")
        bucket.place(".learned/demo", b'{"learned": 1}\n' + b"[]\n" * (1 << 20))
        second = Node(bucket)
        assert second.page("demo") == page
        second.later(10)
        assert len(bucket.content(".learned/demo")) < 1000

    def test_a_file_that_is_said_to_be_wrong_is_looked_at(self, bucket: MemoryBucket, node: Node):
        stored = bucket.place(KEY, WHEEL.content)
        line = '{"key":"%s","etag":"%s","size":%d,"reason":"It is damaged.","advice":""}\n'
        bucket.place(".learned/demo", b'{"learned": 1}\n' + (line % (KEY, stored.etag, stored.size)).encode())
        assert node.files("demo") == [WHEEL.filename]

    def test_a_server_that_stops_keeps_what_it_has_learned(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        node.page("demo")
        answer(node.source.stop)
        bucket.forget_operations()
        assert Node(bucket).files("demo") == [WHEEL.filename]
        assert bucket.operations == {"list": 1, "read": 1}

    def test_a_server_that_stops_keeps_what_it_was_learning(self, bucket: MemoryBucket):
        place(bucket, WHEEL)
        threads, clock = Threads(), Clock()
        source = ObjectSource(bucket, worker=threads, reactor=clock)
        page = source.project_page("demo")
        assert isinstance(page, Deferred)
        page.addErrback(lambda failure: failure.trap(CancelledError))
        while not [call for call in bucket.calls if call.key == KEY]:
            threads.turn()
        Deferred.fromCoroutine(source.stop())
        threads.turn()
        assert WHEEL.sha256.encode() in bucket.content(".learned/demo")
        assert not clock.getDelayedCalls()

    def test_it_lies_in_the_state_folder_where_the_bucket_takes_no_writes(
        self, bucket: MemoryBucket, tmp_path: Path
    ):
        place(bucket, WHEEL)
        bucket.fail("write", times=sys.maxsize)
        first = Node(bucket, state=tmp_path)
        page = first.page("demo")
        first.later(10)
        bucket.forget_operations()
        assert Node(bucket, state=tmp_path).page("demo") == page
        assert [each.key for each in bucket.calls if each.method == "read"] == [".learned/demo"]

    def test_what_is_seeded_does_not_drive_out_what_is_kept(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        node.page("demo")
        node.later(10)
        other = Node(bucket)
        stored = bucket.place(f"demo/{NEWER.filename}", NEWER.content)
        other.source.seed(stored, FileFacts(sha256=NEWER.sha256))
        other.later(10)
        bucket.forget_operations()
        assert len(Node(bucket).files("demo")) == 2
        assert bucket.operations == {"list": 1, "read": 1}


class TestUploads:
    def test_a_file_that_is_being_uploaded_is_not_listed_and_takes_the_name(
        self, bucket: MemoryBucket, node: Node
    ):
        bucket.place(f"{KEY}.claim", b'{"sha256": "%s", "size": 9}' % WHEEL.sha256.encode())
        bucket.place(KEY)
        page = node.page("demo")
        assert page is not None
        assert page.claims
        assert page.files == ()
        assert node.names() == ("demo",)

    def test_an_upload_that_did_not_end_within_a_day_is_a_problem(self, bucket: MemoryBucket, node: Node):
        bucket.now_ns = time.time_ns() - 2 * 86_400 * 10**9
        bucket.place(f"{KEY}.claim", b"{}")
        assert list(node.problems()) == [KEY]

    def test_an_upload_that_began_just_now_is_none(self, bucket: MemoryBucket, node: Node):
        bucket.now_ns = time.time_ns()
        bucket.place(f"{KEY}.claim", b"{}")
        assert node.problems() == {}

    def test_a_claim_beside_its_file_is_not_to_be_seen(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        bucket.place(f"{KEY}.claim", b"{}")
        assert node.files("demo") == [WHEEL.filename]
        assert node.problems() == {}

    @pytest.mark.parametrize("of_large", [False, True])
    def test_what_this_node_wrote_is_in_its_next_answer(
        self, bucket: MemoryBucket, node: Node, large: Node, of_large: bool
    ):
        writer = large if of_large else node
        assert writer.page("demo") is None
        assert writer.names() == ()
        place(bucket, WHEEL)
        writer.source.note_change("demo")
        assert writer.files("demo") == [WHEEL.filename]
        assert writer.names() == ("demo",)

    def test_a_listing_that_was_sent_before_the_write_does_not_count(self, bucket: MemoryBucket, node: Node):
        def write(operation: Operation) -> None:
            if operation.method == "read" and not bucket.keys()[-1].endswith(NEWER.filename):
                place(bucket, NEWER)
                node.source.note_change("demo")

        place(bucket, WHEEL)
        bucket.before = write
        node.page("demo")
        assert len(node.files("demo")) == 2


class TestNames:
    def test_a_prefix_that_begins_another_has_its_own_files(self, bucket: MemoryBucket, large: Node):
        place(bucket, WHEEL, OTHER)
        assert large.files("demo") == [WHEEL.filename]
        assert large.files("demofoo") == [OTHER.filename]

    def test_a_project_that_came_to_a_large_bucket_is_found_within_the_rescan(
        self, bucket: MemoryBucket, large: Node
    ):
        place(bucket, *(make_sdist(f"project-{number}", "1.0") for number in range(5)))
        assert large.page("demo") is None
        place(bucket, WHEEL)
        large.later(2.5)
        assert large.files("demo") == [WHEEL.filename]

    def test_other_spellings_and_flat_files_count(self, bucket: MemoryBucket, node: Node, large: Node):
        bucket.place(f"Demo/{WHEEL.filename}", WHEEL.content)
        bucket.place(NEWER.filename, NEWER.content)
        for each in (node, large):
            assert each.files("demo") == [WHEEL.filename, NEWER.filename]

    def test_keys_that_no_folder_could_have_are_reported_and_stop_nothing(
        self, bucket: MemoryBucket, node: Node
    ):
        place(bucket, WHEEL)
        bucket.unusable.append("demo/../x")
        assert node.files("demo") == [WHEEL.filename]
        assert "demo/../x" in node.problems()

    def test_what_is_quarantined_is_not_named(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        bucket.place("demo/.quarantined", b"stolen")
        assert node.names() == ()
        assert node.files("demo") == []

    def test_a_file_that_the_page_of_another_node_has_is_there(
        self, bucket: MemoryBucket, node: Node, large: Node
    ):
        place(bucket, WHEEL)
        for each in (node, large):
            each.page("demo")
            each.page("demofoo")
        place(bucket, NEWER, OTHER)
        for each in (node, large):
            assert each.read("demo", NEWER.filename) == NEWER.content
            assert each.read("demofoo", OTHER.filename) == OTHER.content

    def test_a_name_that_lies_there_is_never_absent(self, bucket: MemoryBucket, node: Node, large: Node):
        place(bucket, WHEEL)
        for each in (node, large):
            each.page("demo")
            each.page("other")
            each.later(10)
            bucket.fail("list", times=sys.maxsize)
            for project in ("demo", "other"):
                with pytest.raises(Unavailable):
                    each.page(project)
            bucket.mend()


class TestChanges:
    def test_an_object_that_is_replaced_while_it_is_read_is_looked_at_again(
        self, bucket: MemoryBucket, node: Node
    ):
        other = make_wheel("demo", "1.0", files={"demo/more.py": ""})

        def replace(operation: Operation) -> None:
            if operation == Operation("read", KEY) and bucket.content(KEY) == WHEEL.content:
                bucket.place(KEY, other.content)

        place(bucket, WHEEL)
        bucket.before = replace
        page = node.page("demo")
        assert page is not None
        assert [file.hashes["sha256"] for file in page.files] == [other.sha256]

    def test_one_that_is_replaced_before_it_is_opened_is_looked_for_again(
        self, bucket: MemoryBucket, node: Node
    ):
        place(bucket, WHEEL)
        node.page("demo")
        other = make_wheel("demo", "1.0", files={"demo/more.py": ""})
        bucket.place(KEY, other.content)
        assert node.read("demo", WHEEL.filename) == other.content

    @pytest.mark.parametrize("whole", [16 << 20, 0])
    def test_the_upload_time_is_what_rclone_keeps(
        self, bucket: MemoryBucket, node: Node, monkeypatch: pytest.MonkeyPatch, whole: int
    ):
        """Also of files that are too large to be read by one request."""
        monkeypatch.setattr("twisted_index.backends.object_store.object_inspection._WHOLE", whole)
        bucket.place(KEY, WHEEL.content, {"mtime": "1600000000.5"})
        page = node.page("demo")
        assert page is not None
        uploaded = page.files[0].upload_time
        assert uploaded is not None
        assert uploaded.timestamp() == 1600000000.5

    def test_metadata_of_a_file_is_read_by_ranges(self, bucket: MemoryBucket, node: Node):
        big = make_wheel("demo", "3.0", files={"demo/data": bytes(range(256)) * 9000}, compress=False)
        place(bucket, big)
        node.page("demo")
        bucket.forget_operations()
        assert node.read("demo", big.filename, Sidecar.METADATA) == big.metadata
        assert {each.method for each in bucket.calls} == {"read_range"}

    @pytest.mark.parametrize("sidecar", [Sidecar.METADATA, Sidecar.SIGNATURE])
    def test_a_document_is_read_once(self, bucket: MemoryBucket, node: Node, sidecar: Sidecar):
        place(bucket, WHEEL)
        bucket.place(f"{KEY}.asc", b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n")
        first = node.read("demo", WHEEL.filename, sidecar)
        node.later(10)
        bucket.forget_operations()
        assert node.read("demo", WHEEL.filename, sidecar) == first
        assert bucket.operations["read"] == 0

    def test_pages_do_not_wait_for_threads_that_bytes_keep_busy(self, bucket: MemoryBucket):
        stuck: list[Deferred[None]] = []

        class Busy:
            def run(self, *_call: object) -> Deferred[None]:
                stuck.append(Deferred())
                return stuck[-1]

        node = Node(bucket, pieces=Busy())
        place(bucket, WHEEL)
        body = answer(node.source.open_file, "demo", WHEEL.filename)
        body.content.wait_for(0)
        assert stuck
        node.later(10)
        place(bucket, NEWER)
        assert len(node.files("demo")) == 2

    def test_a_large_wheel_takes_its_digest_from_its_claim(
        self, bucket: MemoryBucket, node: Node, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("twisted_index.backends.object_store.object_inspection._WHOLE", 10)
        place(bucket, WHEEL)
        size = len(WHEEL.content)
        bucket.place(f"{KEY}.claim", b'{"sha256": "%s", "size": %d}' % (WHEEL.sha256.encode(), size))
        assert node.page("demo") is not None
        assert "stream" not in {each.method for each in bucket.calls}

    @pytest.mark.parametrize("what", ["list", "read_range", "stream", "piece"])
    def test_a_large_wheel_that_cannot_be_read_is_no_damaged_one(
        self, bucket: MemoryBucket, node: Node, monkeypatch: pytest.MonkeyPatch, what: str
    ):
        monkeypatch.setattr("twisted_index.backends.object_store.object_inspection._WHOLE", 10)
        place(bucket, WHEEL)
        place(bucket, make_sdist("demo", "2.0"))
        bucket.fail(what)
        with pytest.raises(Unavailable):
            answer(node.source.project_page, "demo")
        assert len(node.files("demo")) == 2


class TestMarks:
    def test_of_a_huge_mark_no_more_than_a_reason_is_read_and_kept(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        bucket.place(f"{KEY}.yanked", b"broken" + b" " * (2 << 20))
        bucket.place("demo/.archived", b"old" + b" " * (2 << 20))
        page = node.page("demo")
        assert page is not None
        assert [file.yanked.reason for file in page.files if file.yanked] == ["broken"]
        assert page.status.reason == "old"
        known = node.source.root._known.peek("demo")
        assert known is not None
        assert sorted(len(one.text) for one in known.values() if one.text is not None) == [4096, 4096]
        whole = {call.key for call in bucket.calls if call.method == "read"}
        assert not whole & {f"{KEY}.yanked", "demo/.archived"}

    def test_a_large_mark_is_not_kept(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        bucket.place(f"{KEY}.yanked", b"broken" + b" " * (1 << 19))
        page = node.page("demo")
        assert page is not None
        assert [file.yanked.reason for file in page.files if file.yanked] == ["broken"]
        known = node.source.root._known.peek("demo")
        assert known is not None
        assert [one.text for one in known.values() if one.text] == []

    def test_what_is_large_leaves_less_room_for_other_projects(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL, OTHER)
        content = b"\n" * (16 << 20)
        bucket.place("demo/.deleted", content)
        node.page("demo")
        place(bucket, NEWER)
        node.later()
        node.page("demo")
        assert node.source.root._known._total >= len(content) >> 14

    def test_a_mark_that_another_source_reads_meanwhile_stops_no_page(self, bucket: MemoryBucket, node: Node):
        place(bucket, WHEEL)
        node.page("demo")
        known = node.source.root._known.peek("demo")
        assert known is not None

        class _Read(ObjectId):
            """What is looked up while the thread of another source adds what it reads."""

            def __hash__(self) -> int:
                if is_read:
                    known[ObjectId(f"demo/{len(known)}", "", 0)] = LearnedObject(text=b"")
                return super().__hash__()

        is_read = False
        known[_Read("demo/other", "", 1)] = LearnedObject(text=b"x")
        is_read = True
        bucket.place("demo/README.txt", b"nothing new to inspect")
        node.later()
        assert node.files("demo") == [WHEEL.filename]
