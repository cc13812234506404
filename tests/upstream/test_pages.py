"""Pages of an upstream: fresh for a while, asked for again after that, and old rather than none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.python.failure import Failure

from twisted_index.errors import BadGateway, NotReady, Unavailable
from twisted_index.simple.model import ProjectStatus, Status
from twisted_index.upstream.remote import NOT_MODIFIED

from .scripted import Bench, ScriptedRemote, remote_file

WHEEL = remote_file(b"wheel" * 100)
DOWN = Unavailable("It is down.")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "cache")
    bench.remote.offer(WHEEL)
    return bench


def again(bench: Bench, **more: Any) -> Bench:
    """Start once more on the same cache, with an upstream that says the same."""
    remote = ScriptedRemote(pages=bench.remote.pages, bodies=bench.remote.bodies)
    assert bench.cache is not None
    later = Bench(bench.cache.path, remote, clock=bench.clock, epoch=bench.epoch, **more)
    remote.asked.clear()
    return later


def page_file(bench: Bench) -> Path:
    assert bench.cache is not None
    return Path(bench.cache.page_path(bench.remote.url, "demo"))


def test_a_fresh_page_is_given_without_a_request(bench: Bench):
    first = bench.snapshot()
    bench.clock.advance(599)
    second = bench.snapshot()

    assert bench.remote.count("page") == 1
    assert first.still_true()
    assert second.value is first.value
    assert (first.cache_status, second.cache_status) == ("fwd=miss; stored", "hit; ttl=1")


def test_an_older_page_is_asked_for_by_its_tag_and_kept_if_it_is_still_so(bench: Bench):
    first = bench.snapshot()
    bench.clock.advance(600)
    assert not first.still_true()
    bench.remote.pages["demo"] = NOT_MODIFIED
    second = bench.snapshot()

    assert bench.remote.conditions == [None, '"1"']
    assert second.value is first.value
    assert first.still_true()
    assert second.cache_status == "fwd=stale; fwd-status=304; stored"


def test_a_page_that_says_the_same_in_other_words_is_the_same_object(bench: Bench):
    first = bench.snapshot()
    bench.clock.advance(600)
    bench.remote.offer(remote_file(b"wheel" * 100), etag='"2"')
    second = bench.snapshot()

    assert second.value is first.value
    assert second.still_true()


def test_a_changed_page_takes_the_place_of_the_old_one(bench: Bench):
    first = bench.snapshot()
    bench.clock.advance(600)
    bench.remote.offer(WHEEL, remote_file(b"more", "demo-2.0.tar.gz", version="2.0"))
    second = bench.snapshot()

    assert not first.still_true()
    assert [file.filename for file in second.value.files] == [WHEEL.file.filename, "demo-2.0.tar.gz"]
    assert second.value.versions == ("1.0", "2.0")


def test_absence_is_remembered_for_a_minute(bench: Bench):
    first = bench.snapshot("other")
    bench.clock.advance(59)
    second = bench.snapshot("other")

    assert first.value is None
    assert second.value is None
    assert bench.remote.count("page") == 1

    bench.clock.advance(1)
    assert not first.still_true()
    bench.snapshot("other")
    assert bench.remote.count("page") == 2


def test_guessed_names_leave_nothing_on_the_disk(bench: Bench):
    for number in range(20):
        bench.snapshot(f"guess-{number}")

    assert bench.cache is not None
    assert not os.path.exists(bench.cache.path)


def test_a_project_that_is_gone_is_gone_and_may_come_back(bench: Bench):
    bench.snapshot()
    since = bench.source.first_seen("demo", WHEEL.file.filename)
    page = bench.remote.pages.pop("demo")
    bench.clock.advance(600)
    bench.snapshot()
    bench.clock.advance(60)
    assert bench.page() is None
    assert again(bench).page() is None

    bench.remote.pages["demo"] = page
    bench.clock.advance(60)
    assert bench.names() == [WHEEL.file.filename]
    assert bench.remote.conditions[-1] is None
    assert bench.source.first_seen("demo", WHEEL.file.filename) == since


def test_an_upstream_that_denies_a_project_for_a_moment_is_not_believed(bench: Bench):
    before = bench.page()
    page = bench.remote.pages.pop("demo")
    bench.clock.advance(600)
    denied = bench.snapshot()
    assert denied.value is before
    assert not denied.still_true()
    assert "unconfirmed" in denied.cache_status

    asked = bench.remote.count("page")
    bench.clock.advance(9)
    assert bench.page() is before
    assert bench.remote.count("page") == asked

    bench.remote.pages["demo"] = page
    bench.clock.advance(2)
    assert bench.snapshot().still_true()
    del bench.remote.pages["demo"]
    bench.clock.advance(600)
    assert bench.page() is before


def test_an_upstream_that_fails_in_between_does_not_go_on_saying_that_a_project_is_gone(bench: Bench):
    before = bench.page()
    bench.clock.advance(600)
    for said in (None, DOWN, None):
        bench.remote.pages["demo"] = said
        assert bench.page() is before
        bench.clock.advance(60)
    assert bench.page() is None


def test_a_project_that_is_gone_is_gone_at_once_where_nothing_is_kept(tmp_path: Path):
    bench = Bench(tmp_path, keeps=False)
    bench.remote.offer(WHEEL)
    assert bench.page() is not None
    del bench.remote.pages["demo"]
    assert bench.page() is None


def test_all_who_ask_at_once_share_one_request(bench: Bench):
    bench.remote.held = True
    outcomes = [bench.begin(bench.source.project_page, "demo") for _ in range(50)]
    bench.remote.release()

    assert bench.remote.count("page") == 1
    assert len({id(outcome[0].value) for outcome in outcomes}) == 1


def test_pages_survive_a_restart_with_their_age(bench: Bench):
    before = bench.page()
    bench.clock.advance(100)
    later = again(bench)

    snapshot = later.snapshot()

    assert snapshot.value == before
    assert snapshot.cache_status == "hit; ttl=500"
    assert later.remote.asked == []
    later.clock.advance(500)
    assert not snapshot.still_true()


def test_a_page_that_was_found_unchanged_is_fresh_after_a_restart(bench: Bench):
    bench.snapshot()
    bench.clock.advance(600)
    bench.remote.pages["demo"] = NOT_MODIFIED
    bench.snapshot()
    bench.clock.advance(300)

    assert again(bench).snapshot().cache_status == "hit; ttl=300"


def test_a_page_from_the_future_is_asked_for_again(bench: Bench):
    bench.snapshot()
    later = Bench(bench.cache.path, bench.remote, epoch=bench.epoch - 10_000)  # type: ignore[union-attr]

    later.snapshot()

    assert bench.remote.count("page") == 2


def test_a_clock_that_is_set_back_makes_no_page_fresh_for_ever(bench: Bench):
    snapshot = bench.snapshot()
    bench.epoch -= 100_000

    assert not snapshot.still_true()


def test_a_clock_that_jumps_to_and_fro_does_not_lengthen_the_life_of_a_page(bench: Bench):
    snapshot = bench.snapshot()
    bench.clock.advance(590)
    bench.epoch -= 580
    assert snapshot.still_true()
    bench.clock.advance(10)

    assert not snapshot.still_true()


@pytest.mark.parametrize("error", [DOWN, BadGateway("It makes no sense.")])
def test_an_old_page_is_given_when_the_upstream_errs(bench: Bench, error: Unavailable):
    first = bench.snapshot()
    bench.clock.advance(600)
    bench.remote.pages["demo"] = error
    second = bench.snapshot()

    assert second.value is first.value
    assert not second.still_true()
    assert second.cache_status.startswith("fwd=stale; detail=")


def test_after_an_error_the_upstream_is_left_alone_for_a_moment(bench: Bench):
    bench.snapshot()
    bench.clock.advance(600)
    bench.remote.pages["demo"] = DOWN
    bench.snapshot()
    assert bench.snapshot().cache_status == "hit; ttl=0; detail=backing-off"
    assert bench.remote.count("page") == 2

    bench.clock.advance(10)
    bench.remote.offer(WHEEL)
    assert bench.snapshot().still_true()


def test_an_old_page_is_given_when_the_upstream_is_slow_and_the_late_answer_is_kept(bench: Bench):
    bench.snapshot()
    bench.clock.advance(600)
    bench.remote.held = True
    first = bench.begin(bench.source.project_page, "demo")
    bench.clock.advance(4.9)
    assert first == []
    bench.clock.advance(0.1)
    assert first[0].cache_status == "fwd=stale; detail=slow"
    second = bench.begin(bench.source.project_page, "demo")
    bench.clock.advance(0)
    assert second[0].cache_status == "fwd=stale; detail=slow"

    bench.remote.offer(WHEEL, remote_file(b"more", "demo-2.0.tar.gz", version="2.0"))
    bench.remote.release()

    assert bench.remote.count("page") == 2
    assert len(bench.page().files) == 2
    assert again(bench).snapshot().cache_status == "hit; ttl=600"


def test_an_old_page_is_given_after_a_restart_with_the_upstream_gone(bench: Bench):
    before = bench.page()
    bench.clock.advance(10_000)
    later = again(bench)
    later.remote.pages = {"demo": DOWN}

    assert later.snapshot().value == before


def test_without_an_old_page_the_error_is_told(bench: Bench):
    bench.remote.pages["demo"] = DOWN

    with pytest.raises(Unavailable) as told:
        bench.snapshot()

    assert told.value is DOWN
    assert isinstance(told.value.retry_after, int)


def test_without_an_old_page_a_slow_upstream_is_waited_for_and_then_told(bench: Bench):
    bench.remote.held = True
    outcome = bench.begin(bench.source.project_page, "demo")
    bench.clock.advance(9.9)
    assert outcome == []
    bench.clock.advance(0.1)
    assert isinstance(outcome[0], Failure)
    assert outcome[0].check(NotReady)

    bench.remote.release()
    assert bench.snapshot().cache_status == "hit; ttl=600"


def test_an_error_does_not_turn_an_absence_that_was_known_into_one_that_is(bench: Bench):
    bench.snapshot("other")
    bench.clock.advance(60)
    bench.remote.pages["other"] = DOWN

    with pytest.raises(Unavailable):
        bench.snapshot("other")


@pytest.mark.parametrize("cut", [0, 5, 30, 100, 400, -1])
def test_a_damaged_page_counts_as_none(bench: Bench, cut: int):
    bench.snapshot()
    path = page_file(bench)
    path.write_bytes(path.read_bytes()[:cut])
    later = again(bench)

    assert later.names() == [WHEEL.file.filename]
    assert later.remote.count("page") == 1


def test_a_page_with_a_flipped_bit_counts_as_none(bench: Bench):
    bench.snapshot()
    path = page_file(bench)
    content = path.read_bytes()
    for at in range(90, len(content), 37):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        later = again(bench)
        later.snapshot()
        assert later.remote.count("page") == 1
        path.write_bytes(content)


def test_a_page_of_another_upstream_is_not_taken(bench: Bench):
    bench.snapshot()
    other = ScriptedRemote(url="https://two.example/simple/")
    assert Bench(bench.cache.path, other, clock=bench.clock).page() is None  # type: ignore[union-attr]


def test_what_another_process_has_fetched_is_taken_from_the_disk(bench: Bench):
    other = again(bench)
    bench.snapshot()
    bench.clock.advance(600)
    bench.remote.offer(WHEEL, remote_file(b"more", "demo-2.0.tar.gz", version="2.0"))
    bench.snapshot()

    assert len(other.page().files) == 2
    assert other.remote.asked == []


def test_a_cache_may_be_deleted_at_any_time(bench: Bench, tmp_path: Path):
    bench.snapshot()
    (tmp_path / "cache").rename(tmp_path / "gone")
    bench.clock.advance(600)

    assert bench.names() == [WHEEL.file.filename]
    assert again(bench).snapshot().cache_status == "hit; ttl=600"


def test_a_page_has_the_files_that_it_says_in_the_order_of_their_versions(bench: Bench):
    bench.remote.offer(
        remote_file(b"10", "demo-10.0.tar.gz", version="10.0"),
        remote_file(b"9", "demo-9.0.tar.gz", version="9.0"),
        versions=("8.0",),
        status=ProjectStatus(status=Status.ARCHIVED, reason="old"),
    )

    page = bench.page()

    assert [file.version for file in page.files] == ["9.0", "10.0"]
    assert page.versions == ("8.0", "9.0", "10.0")
    assert page.status.reason == "old"


def test_a_quarantined_project_has_no_files_also_offline(bench: Bench):
    content = b"wheel" * 100
    bench.remote.bodies[WHEEL.url] = content
    bench.read()
    bench.clock.advance(600)
    bench.remote.offer(WHEEL, etag=None, status=ProjectStatus(status=Status.QUARANTINED))

    assert bench.names() == []
    assert bench.open() is None
    assert again(bench, offline=True).names() == []


# -- First seen


def test_the_time_at_which_a_file_was_first_seen_is_kept(bench: Bench):
    bench.snapshot()
    seen = bench.wall()
    bench.clock.advance(1000)
    bench.remote.offer(WHEEL, remote_file(b"more", "demo-2.0.tar.gz", version="2.0"))
    bench.snapshot()
    later = again(bench)
    later.snapshot()

    for one in (bench, later):
        assert one.source.first_seen("demo", WHEEL.file.filename) == seen
        assert one.source.first_seen("demo", "demo-2.0.tar.gz") == seen + 1000
        assert one.source.first_seen("demo", "demo-3.0.tar.gz") is None


def test_a_file_that_gets_other_bytes_is_young_again(bench: Bench):
    bench.snapshot()
    bench.clock.advance(1000)
    bench.remote.offer(remote_file(b"something else", WHEEL.file.filename))
    bench.snapshot()

    assert bench.source.first_seen("demo", WHEEL.file.filename) == bench.wall()


# -- Without a cache, and offline


def test_a_proxy_asks_for_each_page_and_keeps_nothing(tmp_path: Path):
    bench = Bench(tmp_path / "cache", keeps=False)
    bench.remote.offer(WHEEL)
    first = bench.snapshot()
    bench.remote.pages["demo"] = NOT_MODIFIED
    second = bench.snapshot()

    assert bench.remote.count("page") == 2
    assert second.value is first.value
    assert not first.still_true()
    assert list(tmp_path.iterdir()) == []
    bench.remote.pages["demo"] = DOWN
    with pytest.raises(Unavailable):
        bench.snapshot()


def test_a_proxy_joins_those_who_ask_at_once(tmp_path: Path):
    bench = Bench(tmp_path, keeps=False)
    bench.remote.offer(WHEEL)
    bench.remote.held = True
    outcomes = [bench.begin(bench.source.project_page, "demo") for _ in range(10)]
    bench.remote.release()

    assert bench.remote.count("page") == 1
    assert all(outcome[0].value.files for outcome in outcomes)


def test_offline_only_what_is_there_is_listed_and_nothing_is_asked(bench: Bench):
    bench.remote.bodies[WHEEL.url] = b"wheel" * 100
    bench.remote.offer(WHEEL, remote_file(b"more", "demo-2.0.tar.gz", version="2.0"))
    bench.read()
    bench.clock.advance(100_000)
    later = again(bench, offline=True)

    assert later.names() == [WHEEL.file.filename]
    assert later.read() == b"wheel" * 100
    assert later.open("demo-2.0.tar.gz") is None
    assert later.snapshot("other").value is None
    assert later.remote.asked == []


def test_offline_notices_what_another_process_brings(bench: Bench):
    bench.snapshot()
    later = again(bench, offline=True)
    assert later.names() == []
    bench.remote.bodies[WHEEL.url] = b"wheel" * 100
    bench.read()
    bench.clock.advance(10)

    assert later.names() == [WHEEL.file.filename]
