"""Several upstreams in order, and what a source owes to whoever asks it."""

from __future__ import annotations

from pathlib import Path

import pytest
from zope.interface.verify import verifyObject

from twisted_index.errors import Unavailable
from twisted_index.interfaces import IRunning, ISource
from twisted_index.testing.harness import AtOnce
from twisted_index.upstream.source import UpstreamSource

from .scripted import Bench, ScriptedRemote, remote_file

CONTENT = b"wheel" * 100
WHEEL = remote_file(CONTENT)
OTHER = remote_file(b"other", "demo-2.0.tar.gz", version="2.0")


@pytest.fixture
def two(tmp_path: Path) -> Bench:
    first, second = ScriptedRemote(), ScriptedRemote(url="https://two.example/simple/")
    second.offer(OTHER)
    return Bench(tmp_path, first, second)


def test_it_provides_what_sources_have_to(two: Bench):
    assert verifyObject(ISource, two.source)
    assert verifyObject(IRunning, two.source)


def test_the_project_list_is_empty_and_lasting(two: Bench):
    snapshot = two.ask(two.source.project_list)

    assert snapshot.value.names == ()
    assert snapshot.value is two.ask(two.source.project_list).value
    assert snapshot.still_true()
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
    assert not snapshot.still_true()
    two.remotes[0].offer(WHEEL)

    assert two.names() == [WHEEL.file.filename]


def test_an_absence_that_can_no_longer_be_had_hides_what_comes_after_it(two: Bench):
    two.snapshot()
    two.clock.advance(60)
    two.remotes[0].pages["demo"] = Unavailable("It is down.")

    with pytest.raises(Unavailable):
        two.snapshot()


def test_a_project_that_nobody_has_is_not_there(two: Bench):
    snapshot = two.snapshot("nope")

    assert snapshot.value is None
    assert snapshot.still_true()
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
    source = UpstreamSource((), reactor=two.clock, worker=AtOnce())

    assert two.ask(source.project_page, "demo").value is None
    assert two.ask(source.open_file, "demo", WHEEL.file.filename) is None


def test_numbers_tell_what_was_done(two: Bench):
    two.remotes[1].bodies[OTHER.url] = b"other"
    two.read(OTHER.file.filename)
    two.read(OTHER.file.filename)
    numbers = two.source.metrics()

    assert numbers["page_misses"] == 2
    assert numbers["file_misses"] == 1
    assert numbers["file_hits"] == 1
    assert numbers["bytes_from_upstream"] == 5
    assert numbers["bytes_in_cache"] == 5
