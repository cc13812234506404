"""Indexes in a bucket: the same as those of a folder, looked at while requests come."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.bucket_indexes import Node, add, copy_folder
from tests.kit.memory_bucket import MemoryBucket
from tests.kit.named_indexes import EveryProject, Indexes
from twisted_index.errors import Conflict, NotFound, Unavailable
from twisted_index.indexes.bucket_catalog import BucketCatalog
from twisted_index.indexes.scope import Scope
from twisted_index.testing import make_sdist, make_wheel

ONE, TWO = make_wheel("demo", "1.0"), make_wheel("demo", "2.0")
OTHER = make_wheel("other", "1.0")


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket("s3://bucket/indexes")


@pytest.fixture
def node(bucket: MemoryBucket) -> Node:
    return Node(bucket)


def versions(node: Node, index: str, project: str = "demo") -> list[str] | None:
    files = node.files(index, project)
    return None if files is None else [file.version or "" for file in files]


class TestReading:
    def test_each_first_part_of_a_key_is_an_index(self, bucket: MemoryBucket, node: Node):
        add(bucket, "dev", ONE)
        add(bucket, "prod", OTHER)
        assert (node.names("dev"), node.names("prod")) == (("demo",), ("other",))
        assert node.registry.names() == ("dev", "prod")

    def test_an_index_has_what_its_bases_have(self, bucket: MemoryBucket, node: Node):
        add(bucket, "prod", ONE)
        add(bucket, "staging", settings='bases = ["prod"]')
        add(bucket, "dev", TWO, settings='bases = ["staging"]')
        assert versions(node, "dev") == ["1.0", "2.0"]
        assert node.find("dev").line == ("dev", "staging", "prod")

    def test_pages_and_settings_are_those_of_the_folder_that_was_copied(
        self, tmp_path: Path, bucket: MemoryBucket, node: Node
    ):
        folder = Indexes(tmp_path)
        try:
            folder.make("prod", "reserve-names = true\n", "demo", "other")
            dev = folder.make(
                "dev", 'title = "Development"\nbases = ["prod"]\noverwrite = "*.dev*"\n', "demo"
            )
            sdist = make_sdist("demo", "3.0")
            (dev / sdist.filename).write_bytes(sdist.content)
            (dev / "demo" / f"{ONE.filename}.yanked").write_text("broken")
            (folder.folder / "prod" / "other" / ".archived").write_text("")
            for path in folder.folder.rglob("*"):
                os.utime(path, (1_700_000_000, 1_700_000_000))
            copy_folder(folder.folder, bucket)
            for index in ("dev", "prod"):
                there, here = folder.find(index), node.find(index)
                assert (here.title, here.line, here.uploads.overwrite) == (
                    there.title,
                    there.line,
                    there.uploads.overwrite,
                )
                for project in ("demo", "other", "nothing"):
                    expected = answer(there.source.project_page, project).value
                    assert answer(here.source.project_page, project).value == expected
                expected = answer(there.source.project_list).value
                assert answer(here.source.project_list).value == expected
        finally:
            folder.close()

    def test_the_index_without_a_name_may_be_one_of_them(self, bucket: MemoryBucket):
        add(bucket, "prod", ONE)
        assert versions(Node(bucket, default="prod"), "") == ["1.0"]

    def test_an_unknown_index_is_absent(self, bucket: MemoryBucket, node: Node):
        add(bucket, "prod", ONE)
        with pytest.raises(NotFound):
            node.find("pr")

    def test_a_prefix_that_no_index_can_have_is_a_problem(self, bucket: MemoryBucket, node: Node):
        add(bucket, "_odd", ONE)
        add(bucket, "prod", ONE)
        node.find("prod")
        assert [problem.path for problem in node.shared.lines.catalog.problems()] == ["_odd/"]


class TestLooking:
    def test_a_warm_page_costs_no_operation(self, bucket: MemoryBucket, node: Node):
        add(bucket, "prod", ONE)
        add(bucket, "dev", TWO, settings='bases = ["prod"]')
        node.files("dev", "demo")
        bucket.forget_operations()
        node.files("dev", "demo")
        assert not bucket.operations

    def test_a_page_after_the_rescan_costs_a_listing_of_the_root_and_of_each_of_its_line(
        self, bucket: MemoryBucket, node: Node
    ):
        add(bucket, "prod", ONE)
        add(bucket, "dev", TWO, settings='bases = ["prod"]')
        node.files("dev", "demo")
        node.later(10)
        bucket.forget_operations()
        node.files("dev", "demo")
        node.files("prod", "demo")
        assert bucket.operations == {"list": 3}

    def test_a_changed_setting_is_in_force_after_the_rescan(self, bucket: MemoryBucket, node: Node):
        add(bucket, "prod", ONE)
        add(bucket, "dev", TWO, settings="")
        node.find("dev")
        add(bucket, "dev", settings='bases = ["prod"]')
        node.later()
        assert node.find("dev").line == ("dev", "prod")

    def test_an_index_is_not_recent_once_the_listing_of_its_base_is_old(
        self, bucket: MemoryBucket, node: Node
    ):
        add(bucket, "prod", ONE)
        add(bucket, "dev", TWO, settings='bases = ["prod"]')
        node.find("prod")
        node.later(1.5)
        served = node.find("dev")
        assert node.registry.recent(Scope(index="dev")) is served
        node.later(1.0)
        assert node.registry.recent(Scope(index="dev")) is None

    def test_an_index_that_is_removed_is_absent_after_the_rescan(self, bucket: MemoryBucket, node: Node):
        add(bucket, "prod", ONE)
        add(bucket, "dev", TWO)
        node.find("dev")
        for key in [key for key in bucket.keys() if key.startswith("dev/")]:  # noqa: SIM118
            bucket.remove(key)
        node.later()
        with pytest.raises(NotFound):
            node.find("dev")

    def test_while_the_store_is_away_nothing_old_is_served(self, bucket: MemoryBucket, node: Node):
        add(bucket, "prod", ONE)
        node.find("prod")
        node.later()
        bucket.fail("list", times=9)
        with pytest.raises(Unavailable):
            node.find("prod")

    def test_of_settings_that_are_replaced_while_they_are_read_the_new_ones_count(
        self, bucket: MemoryBucket, node: Node
    ):
        add(bucket, "dev", ONE, settings='title = "old"')

        def replace_once(_operation: object) -> None:
            if bucket.calls[-1].method == "read":
                bucket.before = None
                add(bucket, "dev", settings='title = "new"')

        bucket.before = replace_once
        assert node.find("dev").title == "new"


class Upstream:
    """An upstream that has every project, as the index without a name has it."""

    def __init__(self, node: Node) -> None:
        self._source = node.named.unreserved(EveryProject())

    def has(self, project: str) -> bool:
        return answer(self._source.project_page, project).value is not None


@pytest.fixture
def upstream(node: Node) -> Upstream:
    return Upstream(node)


class Later:
    """Runs calls at once, and delivers what comes of them at a call."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        done, result = execute(function, *args, **kwargs), Deferred[Any]()
        self.waiting.append(lambda: done.chainDeferred(result) and None)
        return result

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def deliver(self) -> None:
        waiting, self.waiting = self.waiting, []
        for deliver in waiting:
            deliver()


class TestReservedNames:
    def test_an_index_that_comes_reserves_its_names_though_no_index_with_a_name_is_requested(
        self, bucket: MemoryBucket, node: Node, upstream: Upstream
    ):
        add(bucket, "dev", settings="")
        node.registry.start()
        assert upstream.has("demo")
        add(bucket, "private", ONE, settings="reserve-names = true")
        node.later()
        assert not upstream.has("demo")
        assert upstream.has("other")

    def test_an_index_that_comes_is_seen_within_the_rescan_time_of_the_listing_before(
        self, bucket: MemoryBucket, node: Node, upstream: Upstream
    ):
        add(bucket, "dev", settings="")
        node.find("dev")
        add(bucket, "private", ONE, settings="reserve-names = true")
        node.later(1.5)
        # Its survey has the names of the listing before, and is young when that is old.
        assert upstream.has("demo")
        node.later(0.6)
        assert not upstream.has("demo")

    def test_a_page_with_an_upstream_is_not_current_once_the_list_of_indexes_is_old(
        self, bucket: MemoryBucket, node: Node
    ):
        add(bucket, "dev", settings="")
        node.find("dev")
        node.later(1.5)
        page = answer(node.named.unreserved(EveryProject()).project_page, "demo")
        assert page.is_current()
        node.later(0.6)
        assert not page.is_current()

    def test_a_base_that_is_added_is_reserved_though_no_index_with_a_name_is_requested(
        self, bucket: MemoryBucket, node: Node, upstream: Upstream
    ):
        add(bucket, "vault", ONE, settings="")
        add(bucket, "private", settings="reserve-names = true")
        assert upstream.has("demo")
        add(bucket, "private", settings='reserve-names = true\nbases = ["vault"]')
        node.later()
        assert not upstream.has("demo")

    def test_after_a_start_without_the_store_upstreams_are_asked_once_it_answers(
        self, bucket: MemoryBucket, node: Node, upstream: Upstream
    ):
        add(bucket, "dev", settings="")
        bucket.fail("list", times=2)
        node.registry.start()
        with pytest.raises(Unavailable):
            upstream.has("demo")
        assert upstream.has("demo")

    def test_an_index_that_is_removed_reserves_nothing(
        self, bucket: MemoryBucket, node: Node, upstream: Upstream
    ):
        add(bucket, "private", ONE, settings="reserve-names = true")
        assert not upstream.has("demo")
        for key in bucket.keys():  # noqa: SIM118
            bucket.remove(key)
        node.later()
        assert upstream.has("demo")

    def test_an_index_that_is_surveyed_and_not_found_leaves_no_name_to_an_upstream(
        self, bucket: MemoryBucket, node: Node, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ):
        def not_found(_name: str) -> bytes:
            raise NotFound("There is no index of that name.")

        add(bucket, "private", ONE, settings="reserve-names = true")
        assert not upstream.has("demo")
        monkeypatch.setattr(node.named, "live", not_found)
        with pytest.raises(Unavailable, match="are being changed"):
            upstream.has("demo")

    def test_while_new_indexes_are_surveyed_what_was_found_before_is_not_said_of_them(
        self, bucket: MemoryBucket, node: Node, upstream: Upstream
    ):
        add(bucket, "dev", settings="")
        assert upstream.has("demo")
        node.later(1.9)
        # Surveyed anew, and a moment later listed anew.
        node.shared.lines.catalog.forget()
        add(bucket, "private", ONE, settings="reserve-names = true")
        seen: list[bool] = []

        def meanwhile(_operation: object) -> None:
            if bucket.calls[-1].key == "private/.index.toml" and not seen:
                failures: list[Any] = []
                asked = Deferred.fromCoroutine(node.named.unreserved(EveryProject()).project_page("demo"))
                asked.addCallbacks(lambda page: seen.append(page.value is not None), failures.append)

        bucket.before = meanwhile
        assert not upstream.has("demo")
        assert not any(seen)

    def test_a_survey_reads_several_settings_at_a_time_and_not_all(self, bucket: MemoryBucket):
        for number in range(20):
            add(bucket, f"pr-{number}", settings="")
        later = Later()
        node = Node(bucket, worker=later)
        found: list[Any] = []
        Deferred.fromCoroutine(node.shared.lines.survey(later)).addBoth(found.append)
        later.deliver()
        assert len(later.waiting) == 8
        while later.waiting:
            later.deliver()
        assert [name for name, _member in found[0]] == sorted(f"pr-{number}" for number in range(20))

    def test_a_survey_that_takes_longer_than_the_rescan_time_holds_for_a_while(
        self, bucket: MemoryBucket, node: Node, upstream: Upstream
    ):
        add(bucket, "dev", settings="")

        def slow(_operation: object) -> None:
            if bucket.calls[-1].method == "read":
                node.later(3.0)

        bucket.before = slow
        assert upstream.has("demo")
        bucket.before = None
        bucket.forget_operations()
        assert upstream.has("demo")
        assert bucket.operations["read"] == 0
        node.later(3.5)
        assert upstream.has("demo")
        assert bucket.operations["read"] == 1


class TestFaults:
    def test_an_index_whose_base_is_missing_is_unavailable(self, bucket: MemoryBucket, node: Node):
        add(bucket, "dev", ONE, settings='bases = ["prod"]')
        with pytest.raises(Unavailable, match="dev inherits prod, and there is no such index"):
            node.find("dev")

    def test_settings_that_never_were_whole_are_an_error(self, bucket: MemoryBucket, node: Node):
        add(bucket, "dev", ONE, settings="bases = prod")
        with pytest.raises(Unavailable, match=r"cannot be used\. \.index\.toml: This is not TOML"):
            node.find("dev")

    def test_broken_settings_change_nothing_and_are_a_problem(self, bucket: MemoryBucket, node: Node):
        add(bucket, "dev", ONE, settings='title = "Development"')
        node.find("dev")
        add(bucket, "dev", settings="title = ")
        node.later()
        assert node.find("dev").title == "Development"
        assert "dev/.index.toml" in node.problems("dev")

    def test_a_frozen_index_is_not_served_as_it_is_now(self, bucket: MemoryBucket, node: Node):
        add(bucket, "dev", ONE)
        bucket.place("dev/.as-of", b"2026-01-01")
        with pytest.raises(Unavailable, match=r"frozen by \.as-of, which only folders can be"):
            node.find("dev")

    @pytest.mark.parametrize(
        ("scope", "what"), [({"as_of": "2026-01-01"}, "views of the past"), ({"draft": "ab"}, "drafts")]
    )
    def test_what_only_folders_have_says_so(
        self, bucket: MemoryBucket, node: Node, scope: dict[str, str], what: str
    ):
        add(bucket, "dev", ONE)
        with pytest.raises(NotFound, match=f"lie in a bucket, of which there are no {what}"):
            node.find("dev", **scope)


class TestOverview:
    def test_it_holds_for_the_rescan_time_as_anyone_may_ask_for_it(self, bucket: MemoryBucket, node: Node):
        add(bucket, "dev", settings='title = "old"')
        assert [about.title for about in answer(node.registry.overview)] == ["old"]
        add(bucket, "dev", settings='title = "new"')
        bucket.forget_operations()
        assert [about.title for about in answer(node.registry.overview)] == ["old"]
        assert not bucket.operations
        node.later()
        assert [about.title for about in answer(node.registry.overview)] == ["new"]

    def test_it_has_an_index_that_was_made_just_now(self, bucket: MemoryBucket, node: Node):
        add(bucket, "prod", settings="")
        answer(node.registry.overview)
        answer(node.registry.create, "dev", ["prod"])
        assert [about.name for about in answer(node.registry.overview)] == ["dev", "prod"]


class TestChanges:
    def test_a_listing_that_was_sent_before_an_index_was_made_does_not_hold_after_that(
        self, bucket: MemoryBucket
    ):
        add(bucket, "prod", ONE)
        later = Later()
        catalog = BucketCatalog(bucket, later, Clock(), 2.0)
        Deferred.fromCoroutine(catalog.hold())
        add(bucket, "dev", TWO)
        catalog.forget()
        Deferred.fromCoroutine(catalog.hold())
        later.deliver()
        assert catalog.names() == ("prod",)
        later.deliver()
        assert catalog.names() == ("dev", "prod")

    def test_a_slow_listing_is_shared_by_the_requests_that_come_meanwhile(self, bucket: MemoryBucket):
        later = Later()
        catalog = BucketCatalog(bucket, later, Clock(), 2.0)
        asked = [Deferred.fromCoroutine(catalog.hold()) for _ in range(2)]
        later.deliver()
        assert all(hold.called for hold in asked)
        assert bucket.operations["list"] == 1

    def test_a_base_that_another_node_made_just_now_can_be_inherited(self, bucket: MemoryBucket, node: Node):
        answer(node.registry.overview)
        answer(Node(bucket).registry.create, "prod", [])
        assert answer(node.registry.create, "dev", ["prod"])

    def test_an_index_is_made_with_its_bases_and_is_there_at_once(self, bucket: MemoryBucket, node: Node):
        add(bucket, "prod", ONE)
        assert answer(node.registry.create, "dev", ["prod"])
        assert versions(node, "dev") == ["1.0"]

    def test_an_index_that_is_there_is_left_as_it_is(self, bucket: MemoryBucket, node: Node):
        add(bucket, "prod", ONE, settings='title = "Production"')
        assert not answer(node.registry.create, "prod", [])
        assert bucket.content("prod/.index.toml") == b'title = "Production"'

    def test_of_two_nodes_that_make_it_with_other_bases_one_does(self, bucket: MemoryBucket, node: Node):
        add(bucket, "prod", ONE)
        other = Node(bucket)

        def overtake(_operation: object) -> None:
            if bucket.calls[-1].method == "create" and "dev" in bucket.calls[-1].key:
                bucket.before = None
                answer(other.registry.create, "dev", [])

        bucket.before = overtake
        with pytest.raises(Conflict, match="was just made"):
            answer(node.registry.create, "dev", ["prod"])

    def test_removing_an_index_says_how(self, bucket: MemoryBucket, node: Node):
        add(bucket, "dev", ONE)
        node.find("dev")
        with pytest.raises(Conflict, match="rclone purge"):
            answer(node.registry.remove, "dev")

    def test_a_store_of_an_index_publishes_below_its_prefix(self, bucket: MemoryBucket, node: Node):
        add(bucket, "dev", ONE)
        served = node.find("dev")
        assert served.store is not None
        answer(served.store.delete, "demo", ONE.filename, by="alice")
        assert node.files("dev", "demo") == []
        assert "dev/demo/.deleted" in set(bucket.keys())
