"""Old releases that were not downloaded are deleted, as far as the statistics can tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from twisted_index.statistics.day_files import DayFiles, day_of
from twisted_index.statistics.rows import ANY_CLIENT, UNNAMED
from twisted_index.testing import make_sdist, make_wheel

from .conftest import Console

FINALS = ["1.0", "1.1", "1.2", "2.0"]


@pytest.fixture(autouse=True)
def _releases(console: Console, aged: Callable[[Path, float], None]) -> None:
    for days, version in zip((500, 400, 300, 250), FINALS, strict=True):
        for made in (make_wheel("acme", version), make_sdist("acme", version)):
            aged(made.write_to(console.path / "acme"), days)


def versions(console: Console) -> list[str]:
    page = console.page("acme")
    assert page is not None
    return list(page.versions)


def downloaded(console: Console, days_ago: int, filename: str, project: str = "acme") -> None:
    day = (day_of(time.time()) - timedelta(days=days_ago)).isoformat()
    files = DayFiles(str(console.state / "keep" / "downloads"))
    files.add({day: {("", project, filename, ANY_CLIENT): 1}})


def refused(console: Console) -> str:
    words = (
        f"--path={console.path}",
        f"--state={console.state}",
        "--unused=180d",
        "--finals",
        "--yes",
        "acme",
    )
    code, _out, err = console.told("prune", *words)
    assert code == 1
    assert versions(console) == FINALS
    return err


def test_what_was_not_downloaded_goes_but_never_the_newest(console: Console):
    downloaded(console, 181, "acme-1.0.tar.gz")
    downloaded(console, 180, "acme-1.1-py3-none-any.whl")
    said = console.run("prune", "--unused=180d", "--finals", "acme")
    assert said.splitlines()[-1] == "Nothing was deleted yet: add --yes to delete these 4."
    assert versions(console) == FINALS
    console.run("prune", "--unused=180d", "--finals", "--yes", "acme")
    assert versions(console) == ["1.1", "2.0"]


def test_finals_stay_unless_they_are_named(console: Console):
    downloaded(console, 200, "other-1.0.tar.gz")
    downloaded(console, 1, "other-1.0.tar.gz", "other")
    assert console.run("prune", "--unused=180d", "--yes", "acme") == "There is nothing to delete.\n"


def test_what_is_younger_has_had_no_time_to_be_downloaded(console: Console):
    downloaded(console, 400, "acme-2.0.tar.gz")
    downloaded(console, 1, "acme-2.0.tar.gz")
    console.run("prune", "--unused=350d", "--finals", "--yes", "acme")
    assert versions(console) == ["1.2", "2.0"]


def test_other_rules_hold_too(console: Console):
    downloaded(console, 200, "acme-2.0.tar.gz")
    downloaded(console, 1, "acme-2.0.tar.gz")
    console.run("prune", "--unused=180d", "--keep=3", "--finals", "--yes", "acme")
    assert versions(console) == ["1.1", "1.2", "2.0"]


def test_files_that_are_not_told_apart_count_as_used(console: Console):
    downloaded(console, 200, "acme-2.0.tar.gz")
    downloaded(console, 1, UNNAMED)
    assert (
        console.run("prune", "--unused=180d", "--finals", "--yes", "acme") == "There is nothing to delete.\n"
    )


def test_statistics_that_do_not_reach_back_are_refused(console: Console):
    assert "No downloads were counted: there are no statistics in " in refused(console)
    downloaded(console, 179, "acme-1.0.tar.gz")
    first, since = (day_of(time.time()) - timedelta(days=days) for days in (179, 180))
    assert refused(console) == (
        f"twisted-index: The statistics reach back to {first} and not to {since}:"
        " earlier downloads are unknown.\n"
    )


def test_statistics_that_have_stopped_are_refused(console: Console):
    downloaded(console, 181, "acme-1.0.tar.gz")
    assert "Nothing at all was downloaded since" in refused(console)


def test_statistics_that_do_not_tell_projects_apart_are_refused(console: Console):
    downloaded(console, 180, "acme-1.0.tar.gz")
    downloaded(console, 1, UNNAMED, UNNAMED)
    assert "do not tell all projects apart" in refused(console)


def test_without_a_state_there_are_no_statistics(console: Console):
    code, _out, err = console.told("prune", f"--path={console.path}", "--state=none", "--unused=180d", "acme")
    assert (code, err) == (
        64,
        "twisted-index: --unused needs the statistics of the server, which are in its --state.\n",
    )
