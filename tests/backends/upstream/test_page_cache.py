"""Pages of an upstream: fresh for a while, asked for again after that, and old rather than none."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.kit.scripted_remote import Bench, ScriptedRemote, read_body, remote_file
from twisted_index import cli
from twisted_index.backends.upstream.counters import UpstreamCounters
from twisted_index.backends.upstream.page_cache import PageCache
from twisted_index.backends.upstream.page_format import encode_forgotten
from twisted_index.backends.upstream.page_freshness import CacheTimes
from twisted_index.backends.upstream.remote import NOT_MODIFIED, RemotePage
from twisted_index.errors import BadGateway, NotReady, Unavailable
from twisted_index.http_client.retry import TemporaryFailure
from twisted_index.simple.model import ProjectStatus, Status
from twisted_index.testing import SynchronousRunner

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
    assert first.is_current()
    assert second.value is first.value
    assert (first.cache_status, second.cache_status) == ("fwd=miss; stored", "hit; ttl=1")


def test_an_older_page_is_asked_for_by_its_tag_and_kept_if_it_is_still_so(bench: Bench):
    first = bench.snapshot()
    bench.clock.advance(600)
    assert not first.is_current()
    bench.remote.pages["demo"] = NOT_MODIFIED
    second = bench.snapshot()

    assert bench.remote.conditions == [None, '"1"']
    assert second.value is first.value
    assert first.is_current()
    assert second.cache_status == "fwd=stale; fwd-status=304; stored"


def test_a_page_that_says_the_same_in_other_words_is_the_same_object(bench: Bench):
    first = bench.snapshot()
    bench.clock.advance(600)
    bench.remote.offer(remote_file(b"wheel" * 100), etag='"2"')
    second = bench.snapshot()

    assert second.value is first.value
    assert second.is_current()


def test_a_changed_page_takes_the_place_of_the_old_one(bench: Bench):
    first = bench.snapshot()
    bench.clock.advance(600)
    bench.remote.offer(WHEEL, remote_file(b"more", "demo-2.0.tar.gz", version="2.0"))
    second = bench.snapshot()

    assert not first.is_current()
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
    assert not first.is_current()
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
    assert not denied.is_current()
    assert "unconfirmed" in denied.cache_status

    asked = bench.remote.count("page")
    bench.clock.advance(9)
    assert bench.page() is before
    assert bench.remote.count("page") == asked

    bench.remote.pages["demo"] = page
    bench.clock.advance(2)
    assert bench.snapshot().is_current()
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
    assert not snapshot.is_current()


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

    assert not snapshot.is_current()


def test_a_clock_that_jumps_to_and_fro_does_not_lengthen_the_life_of_a_page(bench: Bench):
    snapshot = bench.snapshot()
    bench.clock.advance(590)
    bench.epoch -= 580
    assert snapshot.is_current()
    bench.clock.advance(10)

    assert not snapshot.is_current()


@pytest.mark.parametrize("error", [DOWN, BadGateway("It makes no sense.")])
def test_an_old_page_is_given_when_the_upstream_errs(bench: Bench, error: Unavailable):
    first = bench.snapshot()
    bench.clock.advance(600)
    bench.remote.pages["demo"] = error
    second = bench.snapshot()

    assert second.value is first.value
    assert not second.is_current()
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
    assert bench.snapshot().is_current()


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


# -- Pages that are wrong for a moment


EMPTY = RemotePage(project="demo")


@pytest.fixture
def pinned(bench: Bench) -> Bench:
    """A project whose upstream promises nothing, and of which a file was fetched."""
    bench.remote.offer(remote_file(b"wheel", promise=False), etag=None)
    bench.remote.bodies[WHEEL.url] = b"wheel"
    assert bench.read() == b"wheel"
    bench.clock.advance(600)
    return bench


def test_a_page_that_is_empty_for_a_moment_is_not_believed(pinned: Bench):
    before = pinned.page()
    pinned.clock.advance(600)
    pinned.remote.pages["demo"] = EMPTY
    doubted = pinned.snapshot()
    assert doubted.value is before
    assert not doubted.is_current()
    assert doubted.cache_status == "fwd=stale; fwd-status=200; detail=unconfirmed"

    pinned.clock.advance(60)
    believed = pinned.snapshot()
    assert believed.value.files == ()
    assert believed.is_current()


def test_a_project_that_never_had_a_file_is_empty_at_once(bench: Bench):
    bench.remote.pages["new"] = RemotePage(project="new")
    assert bench.page("new").files == ()
    bench.clock.advance(600)
    assert bench.snapshot("new").is_current()


def test_a_quarantine_is_believed_at_once(pinned: Bench):
    pinned.remote.pages["demo"] = replace(EMPTY, status=ProjectStatus(status=Status.QUARANTINED))
    assert pinned.snapshot().is_current()
    assert pinned.names() == []


OTHERS = remote_file(b"more", "demo-2.0.tar.gz", version="2.0")

#: What a page says between two times that it is right.
BAD_MOMENTS: dict[str, Any] = {
    "empty": EMPTY,
    "quarantined": RemotePage(project="demo", status=ProjectStatus(status=Status.QUARANTINED)),
    "absent": None,
    "an error": BadGateway("It makes no sense."),
    "without the file": RemotePage(project="demo", files=(OTHERS,)),
}


@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("moment", BAD_MOMENTS)
def test_no_other_bytes_come_by_a_name_after_a_bad_moment(pinned: Bench, moment: str, restarts: bool):
    right = pinned.remote.pages["demo"]
    pinned.remote.pages["demo"] = BAD_MOMENTS[moment]
    for _ in range(3):  # longer than it is doubted
        pinned.page()
        pinned.clock.advance(700)
    later = again(pinned) if restarts else pinned
    later.remote.pages["demo"] = right
    later.remote.bodies[WHEEL.url] = b"other"
    (listed,) = later.page().files

    assert listed.hashes == {"sha256": hashlib.sha256(b"wheel").hexdigest()}
    assert later.read() == b"wheel"
    assert later.cache is not None
    os.unlink(later.cache.file_path(listed.hashes["sha256"]))
    with pytest.raises(BadGateway):
        later.read()


def test_a_file_that_comes_back_is_no_younger(pinned: Bench):
    since = pinned.source.first_seen("demo", WHEEL.file.filename)
    right = pinned.remote.pages["demo"]
    pinned.remote.offer(OTHERS)
    pinned.snapshot()
    pinned.clock.advance(600)
    pinned.remote.pages["demo"] = right
    pinned.snapshot()

    assert pinned.source.first_seen("demo", WHEEL.file.filename) == since


def test_a_digest_that_was_promised_holds_for_a_file_that_comes_back_without_it(bench: Bench):
    bench.snapshot()
    for page in (EMPTY, EMPTY, RemotePage(project="demo", files=(remote_file(b"other", promise=False),))):
        bench.clock.advance(600)
        bench.remote.pages["demo"] = page
        bench.snapshot()

    assert bench.page().files[0].hashes == WHEEL.file.hashes


def test_what_left_a_page_is_remembered_within_bounds_and_what_was_fetched_longest(
    pinned: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("twisted_index.backends.upstream.page_merge.MAX_REMEMBERED", 3)
    for version in range(2, 9):
        name = f"demo-{version}.0.tar.gz"
        pinned.remote.offer(remote_file(b"more", name, version=f"{version}.0"), etag=None)
        pinned.snapshot()
        pinned.clock.advance(600)

    state = pinned.source._pages[0].peek("demo")
    assert state is not None
    assert state.record is not None
    assert list(state.record.removed) == [WHEEL.file.filename, "demo-6.0.tar.gz", "demo-7.0.tar.gz"]


# -- An upstream that wants to be left alone


def busy(rest: int | None) -> TemporaryFailure:
    return TemporaryFailure("The upstream is temporarily unavailable (429).", rest)


def test_a_rest_that_was_asked_for_is_kept_to_by_all_who_come(bench: Bench):
    bench.remote.pages["demo"] = busy(60)
    with pytest.raises(Unavailable):
        bench.snapshot()
    bench.clock.advance(20.5)
    for _ in range(3):
        with pytest.raises(Unavailable, match="requested no retry for 40 seconds") as told:
            bench.snapshot()
        assert told.value.retry_after == 40
    assert bench.remote.count("page") == 1

    bench.remote.offer(WHEEL)
    bench.clock.advance(39.5)
    assert bench.names() == [WHEEL.file.filename]


def test_a_long_rest_is_kept_to_though_no_client_waits_for_it(bench: Bench):
    bench.remote.pages["demo"] = busy(3600)
    for _ in range(3):
        with pytest.raises(Unavailable, match="temporarily unavailable") as told:
            bench.snapshot()
        assert told.value.retry_after == 5
        bench.clock.advance(20)
    assert bench.remote.count("page") == 1


def test_what_was_known_before_is_given_during_a_rest(bench: Bench):
    before = bench.page()
    bench.clock.advance(600)
    bench.remote.pages["demo"] = busy(60)
    for _ in range(5):
        old = bench.snapshot()
        assert old.value is before
        assert not old.is_current()
        bench.clock.advance(11)

    assert bench.remote.count("page") == 2


def test_a_rest_is_for_the_project_that_was_asked_for(bench: Bench):
    bench.remote.pages["one"] = busy(60)
    with pytest.raises(Unavailable):
        bench.snapshot("one")

    assert bench.names() == [WHEEL.file.filename]


@pytest.mark.parametrize("rest", [None, 0])
def test_who_asks_for_no_rest_is_asked_again(bench: Bench, rest: int | None):
    bench.remote.pages["one"] = busy(rest)
    for _ in range(2):
        with pytest.raises(Unavailable):
            bench.snapshot("one")

    assert bench.remote.count("page") == 2


def test_an_endless_rest_is_kept_to_for_two_minutes(bench: Bench):
    bench.remote.pages["demo"] = busy(10**9)
    with pytest.raises(Unavailable):
        bench.snapshot()
    bench.remote.offer(WHEEL)
    bench.clock.advance(120)

    assert bench.names() == [WHEEL.file.filename]


# -- Files that are built anew under the same names


def rebuild(bench: Bench) -> None:
    """Let the upstream have other bytes by the same name."""
    assert bench.cache is not None
    bench.remote.bodies[WHEEL.url] = b"anew!"
    os.unlink(bench.cache.file_path(hashlib.sha256(b"wheel").hexdigest()))


def test_a_file_that_was_refused_makes_its_page_be_asked_for_again(pinned: Bench):
    pinned.snapshot()
    rebuild(pinned)
    with pytest.raises(BadGateway, match="twisted-index refresh"):
        pinned.read()
    pinned.remote.offer(remote_file(b"anew!"), etag='"2"')

    assert pinned.read() == b"anew!"


def test_a_refusal_does_not_end_a_digest(pinned: Bench):
    rebuild(pinned)
    for _ in range(3):
        with pytest.raises(BadGateway):
            pinned.read()


@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
def test_a_project_that_is_refreshed_is_known_no_more(pinned: Bench, restarts: bool):
    assert pinned.cache is not None
    rebuild(pinned)
    with pytest.raises(BadGateway):
        pinned.read()
    assert cli.main(["refresh", "--cache", pinned.cache.path, "Demo"]) == 0
    later = again(pinned) if restarts else pinned

    assert later.read() == b"anew!"
    assert again(pinned).read() == b"anew!"


def test_what_is_learned_after_a_refresh_does_not_undo_it(pinned: Bench):
    pinned.snapshot()
    assert pinned.cache is not None
    pinned.cache.replace(
        pinned.cache.page_path(pinned.remote.url, "demo"), encode_forgotten("demo", pinned.wall())
    )
    learning = pinned.source._pages[0].pin_digest("demo", WHEEL.file.filename, "ab" * 32, 5)
    pinned.begin(lambda: learning)
    rebuild(pinned)
    pinned.clock.advance(600)

    assert pinned.read() == b"anew!"


def test_a_refreshed_project_is_unknown_offline(pinned: Bench):
    assert pinned.cache is not None
    assert cli.main(["refresh", "--cache", pinned.cache.path, "demo"]) == 0
    assert again(pinned, offline=True).page() is None


def test_refresh_says_what_it_did(pinned: Bench, capsys: pytest.CaptureFixture[str]):
    assert pinned.cache is not None
    options = ["--cache", pinned.cache.path]
    assert cli.main(["refresh", "Demo", *options]) == 0
    assert capsys.readouterr().out == "Forgot what 1 upstream sent for demo.\n"
    assert cli.main(["refresh", "other", *options]) == 1
    assert capsys.readouterr().err == "twisted-index: Nothing is cached for other.\n"
    assert cli.main(["refresh", "../x", *options]) == 64
    assert cli.main(["refresh", *options]) == 64
    assert cli.main(["refresh", "demo", "--state", "none"]) == 64


def test_refresh_removes_the_files_of_a_project_and_no_others(
    pinned: Bench, capsys: pytest.CaptureFixture[str]
):
    assert pinned.cache is not None
    sha256, other = hashlib.sha256(b"wheel").hexdigest(), "ab" * 32
    kept = [pinned.cache.file_path(other), pinned.cache.metadata_path(other)]
    paths = [pinned.cache.metadata_path(sha256), pinned.cache.metadata_path(sha256, said_by="x"), *kept]
    assert all(pinned.cache.replace(path, [b"metadata"]) for path in paths)
    assert pinned.cache.has_file(sha256)
    assert cli.main(["refresh", "--files", "--cache", pinned.cache.path, "demo"]) == 0
    assert capsys.readouterr().out == "Forgot what 1 upstream sent for demo, and removed 1 file.\n"
    assert [path for path in paths if os.path.exists(path)] == kept
    assert not pinned.cache.has_file(sha256)
    assert pinned.read() == b"wheel"


def test_an_upstream_that_rebuilds_is_believed_whenever_its_page_comes(tmp_path: Path):
    bench = Bench(tmp_path, rebuilds=[ScriptedRemote.url])
    bench.remote.offer(remote_file(b"wheel", promise=False))
    bench.remote.bodies[WHEEL.url] = b"wheel"
    assert bench.read() == b"wheel"
    since = bench.source.first_seen("demo", WHEEL.file.filename)
    rebuild(bench)
    with pytest.raises(BadGateway):
        bench.read()

    assert bench.read() == b"anew!"
    assert bench.remote.conditions == [None, None]
    assert bench.source.first_seen("demo", WHEEL.file.filename) == since


def test_what_it_promises_is_kept_to_all_the_same(tmp_path: Path):
    bench = Bench(tmp_path, rebuilds=[ScriptedRemote.url])
    bench.remote.offer(remote_file(b"wheel"))
    bench.remote.bodies[WHEEL.url] = b"other"
    for _ in range(2):
        with pytest.raises(BadGateway):
            bench.read()


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
    assert not first.is_current()
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


class LastFirst(SynchronousRunner):
    """Threads of which the one that began last is the first to be done."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()
        self.waiting.append(
            lambda: super(LastFirst, self).run(function, *args, **kwargs).chainDeferred(result)
        )
        return result

    def work(self) -> None:
        while self.waiting:
            self.waiting.pop()()


@pytest.mark.parametrize("first", ["the page", "the digest"])
def test_a_digest_that_is_learned_while_a_page_comes_is_kept(tmp_path: Path, first: str):
    """Neither undoes the other, whichever begins first and whichever thread is done first."""
    bench = Bench(tmp_path / "cache")
    wheel = remote_file(b"wheel", promise=False)
    bench.remote.offer(wheel)
    worker = LastFirst()
    pages = PageCache(
        bench.remote,
        cache=bench.cache,
        worker=worker,
        reactor=bench.clock,
        times=CacheTimes(
            ttl=600.0,
            absent_ttl=60.0,
            revalidate_timeout=5.0,
            response_timeout=10.0,
            wall=bench.wall,
            monotonic=bench.clock.seconds,
        ),
        counters=UpstreamCounters(),
    )
    begun = [Deferred.fromCoroutine(pages.get("demo"))]
    worker.work()
    bench.clock.advance(600)
    bench.remote.offer(wheel, remote_file(b"more", "demo-2.0.tar.gz", version="2.0"))
    both = [lambda: pages.get("demo"), lambda: pages.pin_digest("demo", wheel.file.filename, "ab" * 32, 5)]
    for begin in both if first == "the page" else reversed(both):
        begun.append(Deferred.fromCoroutine(begin()))
    worker.work()

    assert all(one.called for one in begun)
    known = pages.peek("demo")
    assert known is not None
    assert known.page is not None
    listed = {file.filename: file.hashes.get("sha256") for file in known.page.files}
    assert listed == {wheel.file.filename: "ab" * 32, "demo-2.0.tar.gz": hashlib.sha256(b"more").hexdigest()}
    assert again(bench).page() == known.page


def test_what_was_pinned_holds_though_its_page_is_evicted_while_it_is_asked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("twisted_index.backends.upstream.page_store._MAX_FILES", 3)
    theirs = remote_file(b"wheel", promise=False)
    bench.remote.offer(theirs)
    bench.remote.bodies[theirs.url] = b"wheel"
    assert bench.read() == b"wheel"
    pinned = bench.page()
    assert pinned.files[0].hashes == {"sha256": hashlib.sha256(b"wheel").hexdigest()}

    bench.clock.advance(600)
    bench.remote.held = True
    coming = bench.begin(bench.source.project_page, "demo")
    bench.remote.held = False
    for name in ("a", "b", "c", "d"):
        bench.remote.pages[name] = replace(bench.remote.pages["demo"], project=name)
        bench.page(name)
    bench.remote.release()

    assert coming[0].value == pinned
    assert again(bench).page() == pinned


def test_a_digest_is_learned_though_its_page_was_evicted_while_the_file_came(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("twisted_index.backends.upstream.page_store._MAX_FILES", 3)
    theirs = remote_file(b"wheel", promise=False)
    bench.remote.offer(theirs)
    bench.remote.bodies[theirs.url] = b"wheel"
    bench.remote.by_hand = True
    body = bench.open()
    assert body is not None
    body.content.wait_for(0)
    for name in ("a", "b", "c", "d"):
        bench.remote.pages[name] = replace(bench.remote.pages["demo"], project=name)
        bench.page(name)
    (sending,) = bench.remote.sendings
    sending.send(b"wheel")
    sending.end()

    assert read_body(body) == b"wheel"
    assert bench.page().files[0].hashes == {"sha256": hashlib.sha256(b"wheel").hexdigest()}
