"""Why an upstream's page is what it is: who answered what, and which of its files are not listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kit.scripted_remote import Bench, ScriptedRemote, remote_file
from twisted_index.errors import Unavailable
from twisted_index.http_client.retry import TemporaryFailure
from twisted_index.interfaces import Explanation
from twisted_index.simple.explanation import Obstacle
from twisted_index.simple.model import ProjectStatus, Status

WHEEL = remote_file(b"wheel" * 100)
SDIST = remote_file(b"sdist" * 100, "demo-1.0.tar.gz")
FIRST, SECOND = "https://one.example/simple/", "https://two.example/simple/"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "cache", ScriptedRemote(url=FIRST), ScriptedRemote(url=SECOND))
    bench.remotes[1].offer(WHEEL)
    return bench


def why(bench: Bench) -> Explanation:
    found: Explanation = bench.ask(bench.source.explain, "demo")
    return found


def answers(bench: Bench) -> list[tuple[str, str, bool]]:
    return [(one.name, one.says, one.asked) for one in why(bench).sources]


def test_each_upstream_says_what_it_has(bench: Bench):
    (first, second) = answers(bench)
    assert first == ("https://one.example", "has no such project", True)
    assert second[1].startswith("has 1 file of it, as of 2023-11-14")
    assert why(bench).page is bench.page()


def test_after_the_first_that_has_the_project_none_is_asked(bench: Bench):
    bench.remote.offer(SDIST)
    assert answers(bench)[1] == ("https://two.example", "was not asked, as https://one.example has it", False)
    assert bench.remotes[1].count("page") == 0


def test_an_explanation_asks_what_a_page_asks_and_no_more(bench: Bench):
    why(bench)
    bench.page()
    why(bench)
    assert [remote.count("page") for remote in bench.remotes] == [1, 1]


def test_a_failure_is_the_error_of_the_page_and_ends_the_search(bench: Bench):
    bench.remote.pages["demo"] = Unavailable("It is down.")
    assert isinstance(why(bench).error, Unavailable)
    assert answers(bench) == [
        ("https://one.example", "did not answer: It is down.", True),
        ("https://two.example", "was not asked, as https://one.example may have it", False),
    ]


def test_a_back_off_is_said_and_kept(bench: Bench):
    bench.remote.pages["demo"] = TemporaryFailure("It is busy.", requested_delay=60)
    why(bench)
    assert "requested no retry for" in answers(bench)[0][1]
    assert bench.remote.count("page") == 1


def test_a_later_upstream_that_owned_the_name_is_shown_while_an_earlier_one_is_away(bench: Bench):
    why(bench)
    bench.clock.advance(1000)
    bench.remote.pages["demo"] = Unavailable("It is down.")
    assert answers(bench)[0][1] == "did not answer, and had no such project before"
    assert [file.filename for file in why(bench).files] == [WHEEL.file.filename]


@pytest.mark.parametrize(
    "url", ["https://user:secret@one.example/simple/", "https://one.example/SECRET/simple/"]
)
def test_no_part_of_an_upstream_s_url_but_its_origin_is_named(tmp_path: Path, url: str):
    bench = Bench(tmp_path / "cache", ScriptedRemote(url=url))
    assert {name for name, _says, _asked in answers(bench)} == {"https://one.example"}


def hidden(bench: Bench) -> dict[str, Obstacle]:
    return {file.filename: file.obstacle for file in why(bench).hidden}


def test_a_file_that_the_upstream_took_back_is_known(tmp_path: Path):
    bench = Bench(tmp_path / "cache")
    bench.remote.offer(WHEEL, SDIST)
    why(bench)
    bench.clock.advance(1000)
    bench.remote.offer(SDIST, etag='"2"')
    assert hidden(bench) == {WHEEL.file.filename: Obstacle.REMOVED}


def test_a_quarantined_project_s_files_are_hidden_by_that(tmp_path: Path):
    bench = Bench(tmp_path / "cache")
    bench.remote.offer(WHEEL, status=ProjectStatus(status=Status.QUARANTINED, reason="malware"))
    (found,) = why(bench).hidden
    assert (found.obstacle, found.reason) == (Obstacle.QUARANTINED, "The project is quarantined: malware.")


def test_what_is_left_out_of_a_page_is_counted_with_its_reason(tmp_path: Path):
    bench = Bench(tmp_path / "cache")
    bench.remote.offer(WHEEL, left_out={"their names are unusable": 2})
    assert answers(bench)[0][1].endswith("; 2 more are left out, because their names are unusable")


def test_offline_a_file_that_is_not_in_the_cache_is_hidden_by_that(tmp_path: Path):
    bench = Bench(tmp_path / "cache")
    bench.remote.offer(WHEEL, SDIST)
    bench.remote.bodies[WHEEL.url] = b"wheel" * 100
    bench.read()
    later: dict[str, Any] = {"clock": bench.clock, "epoch": bench.epoch, "offline": True}
    assert bench.cache is not None
    offline = Bench(bench.cache.path, ScriptedRemote(), **later)
    assert hidden(offline) == {SDIST.file.filename: Obstacle.OFFLINE}
    assert offline.remote.asked == []
