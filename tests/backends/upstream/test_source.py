"""Several upstreams in order, and what a source owes its callers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from zope.interface.verify import verifyObject

from tests.kit.scripted_remote import Bench, ScriptedRemote, remote_file
from twisted_index.backends.upstream.source import UpstreamSource
from twisted_index.errors import Unavailable
from twisted_index.interfaces import ILifecycle, IProblemSource, ISource
from twisted_index.testing.in_memory import SynchronousRunner

CONTENT = b"wheel" * 100
WHEEL = remote_file(CONTENT)
OTHER = remote_file(b"other", "demo-2.0.tar.gz", version="2.0")
DOWN = Unavailable("It is down.")


@pytest.fixture
def two(tmp_path: Path) -> Bench:
    first, second = ScriptedRemote(), ScriptedRemote(url="https://two.example/simple/")
    second.offer(OTHER)
    return Bench(tmp_path, first, second)


def test_it_provides_what_sources_have_to(two: Bench):
    assert verifyObject(ISource, two.source)
    assert verifyObject(ILifecycle, two.source)


def test_the_project_list_is_empty_and_lasting(two: Bench):
    snapshot = two.ask(two.source.project_list)

    assert snapshot.value.names == ()
    assert snapshot.value is two.ask(two.source.project_list).value
    assert snapshot.is_current()
    assert two.remote.asked == []


def test_the_first_that_has_a_project_has_it_alone(two: Bench):
    two.remotes[0].offer(WHEEL)

    assert two.names() == [WHEEL.file.filename]
    assert two.remotes[1].asked == []


def test_only_absence_leads_on_to_the_next(two: Bench):
    assert two.names() == [OTHER.file.filename]
    assert two.remotes[0].count("page") == 1


def test_a_failure_ends_the_search(two: Bench):
    two.remotes[0].pages["demo"] = Unavailable("It is down.", 7)

    with pytest.raises(Unavailable) as told:
        two.snapshot()

    assert told.value.retry_after == 7
    assert two.remotes[1].asked == []


def test_an_absence_that_is_no_longer_sure_is_asked_about_again(two: Bench):
    snapshot = two.snapshot()
    two.clock.advance(60)
    assert not snapshot.is_current()
    two.remotes[0].offer(WHEEL)

    assert two.names() == [WHEEL.file.filename]


def test_while_the_first_is_away_what_it_did_not_have_is_given_as_it_was(two: Bench):
    before = two.page()
    two.clock.advance(601)
    two.remotes[0].pages["demo"] = DOWN
    two.remotes[1].offer(OTHER, WHEEL)
    old = two.snapshot()

    assert old.value is before
    assert not old.is_current()
    assert two.remotes[1].count("page") == 1
    two.remotes[1].bodies[OTHER.url] = b"other"
    assert two.read(OTHER.file.filename) == b"other"
    assert two.remotes[0].count("page") == 2  # the second time it was left alone for a moment

    del two.remotes[0].pages["demo"]
    two.clock.advance(10)
    assert len(two.snapshot().value.files) == 2


def again(two: Bench, *remotes: ScriptedRemote) -> Bench:
    assert two.cache is not None
    return Bench(two.cache.path, *(remotes or two.remotes), clock=two.clock, epoch=two.epoch)


def test_an_old_page_of_a_later_upstream_is_given_after_a_restart_too(two: Bench):
    before = two.page()
    two.clock.advance(10_000)
    two.remotes[0].pages["demo"] = DOWN

    assert again(two).page() == before


def test_a_first_that_is_slow_is_waited_for_as_if_there_was_an_old_page(two: Bench):
    before = two.page()
    two.clock.advance(60)
    two.remotes[0].held = True
    outcome = two.begin(two.source.project_page, "demo")
    two.clock.advance(5)

    assert outcome[0].value is before


def test_what_the_first_may_have_is_never_given_by_the_second(two: Bench):
    """A name that was not requested from the first is unknown, though the second has its page."""
    again(two, two.remotes[1]).page()
    two.remotes[0].pages["demo"] = DOWN

    with pytest.raises(Unavailable):
        two.snapshot()


def test_what_the_first_had_last_is_never_given_by_the_second(two: Bench):
    two.page()
    two.clock.advance(60)
    two.remotes[0].offer(WHEEL)
    assert two.names() == [WHEEL.file.filename]
    two.clock.advance(600)
    two.remotes[0].pages["demo"] = DOWN
    assert two.names() == [WHEEL.file.filename]

    assert two.cache is not None
    os.unlink(two.cache.page_path(two.remotes[0].url, "demo"))
    with pytest.raises(Unavailable):
        again(two).page()


def test_what_nobody_had_is_not_known_to_be_absent_while_the_first_is_away(two: Bench):
    two.snapshot("nope")
    two.clock.advance(60)
    two.remotes[0].pages["nope"] = DOWN

    with pytest.raises(Unavailable):
        two.snapshot("nope")


def test_each_between_has_to_have_said_that_it_is_not_there(tmp_path: Path):
    urls = ("https://one.example/simple/", "https://two.example/simple/", "https://three.example/simple/")
    one, between, three = (ScriptedRemote(url=url) for url in urls)
    three.offer(OTHER)
    bench = Bench(tmp_path, one, between, three)
    before = bench.page()
    bench.clock.advance(60)
    one.pages["demo"] = between.pages["demo"] = DOWN
    assert again(bench).page() == before

    assert bench.cache is not None
    os.unlink(bench.cache.page_path(between.url, "demo"))
    with pytest.raises(Unavailable):
        again(bench).page()


def test_a_project_that_nobody_has_is_not_there(two: Bench):
    snapshot = two.snapshot("nope")

    assert snapshot.value is None
    assert snapshot.is_current()
    assert [remote.count("page") for remote in two.remotes] == [1, 1]
    assert two.snapshot("nope").value is None
    assert [remote.count("page") for remote in two.remotes] == [1, 1]


def test_a_file_is_opened_at_the_upstream_that_lists_it(two: Bench):
    two.remotes[1].bodies[OTHER.url] = b"other"

    assert two.read(OTHER.file.filename) == b"other"
    assert two.source.first_seen("demo", OTHER.file.filename) == two.wall()


def test_a_file_that_is_not_listed_is_never_asked_for(two: Bench):
    two.remotes[1].bodies["https://files.example/demo-9.0.tar.gz"] = b"hidden"

    assert two.open("demo-9.0.tar.gz") is None
    assert two.open("../../etc/passwd") is None
    assert two.remotes[1].count("fetch") == 0


def test_without_upstreams_there_is_nothing(two: Bench):
    source = UpstreamSource((), reactor=two.clock, worker=SynchronousRunner())

    assert two.ask(source.project_page, "demo").value is None
    assert two.ask(source.open_file, "demo", WHEEL.file.filename) is None


def test_numbers_tell_what_was_done(two: Bench):
    two.remotes[1].bodies[OTHER.url] = b"other"
    two.read(OTHER.file.filename)
    two.read(OTHER.file.filename)
    numbers = two.source.counters

    assert numbers.page_misses == 2
    assert numbers.file_misses == 1
    assert numbers.file_hits == 1
    assert numbers.bytes_from_upstream == 5
    assert numbers.bytes_in_cache == 5


# -- What is left out is reported


LEFT_OUT = {"they are named for another project": 2, "their URL cannot be requested: it contains a user": 1}


def lines(monkeypatch: pytest.MonkeyPatch, name: str) -> list[str]:
    """Collect what a module logs from now on."""
    said: list[str] = []

    def log(level: str) -> Callable[..., None]:
        return lambda form, **fields: said.append(f"{level}: {form.format(**fields)}")

    for level in ("info", "warn"):
        monkeypatch.setattr(f"{name}._log.{level}", log(level))
    return said


def test_links_that_are_left_out_are_logged_once_and_are_problems(
    two: Bench, monkeypatch: pytest.MonkeyPatch
):
    said = lines(monkeypatch, "twisted_index.backends.upstream.page_cache")
    two.remote.offer(left_out=LEFT_OUT)
    for _ in range(3):
        two.snapshot()
        two.clock.advance(600)

    (line,) = said
    assert line == (
        "warn: https://one.example/simple/ has no usable files of demo; others are left out: 2 because they"
        " are named for another project; 1 because their URL cannot be requested: it contains a user."
    )
    problems = two.ask(two.source.problems).problems
    assert [
        (problem.path, problem.reason.partition(" on the upstream's page")[0]) for problem in problems
    ] == [
        ("demo/", "2 files are"),
        ("demo/", "1 file is"),
    ]
    later = again(two)
    later.snapshot()
    assert later.ask(later.source.problems).problems == problems


def test_a_page_that_leaves_nothing_out_is_no_problem(two: Bench):
    two.snapshot()
    assert verifyObject(IProblemSource, two.source)
    assert two.ask(two.source.problems).problems == ()


def test_an_empty_page_that_ends_the_search_is_logged(two: Bench, monkeypatch: pytest.MonkeyPatch):
    said = lines(monkeypatch, "twisted_index.backends.upstream.source")
    two.remote.offer()
    for _ in range(2):
        assert two.page().files == ()

    assert said == [
        "info: https://one.example/simple/ has a page without files for demo: no later upstream gets a"
        " request for it"
    ]
