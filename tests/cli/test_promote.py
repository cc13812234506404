"""`twisted-index promote`: what it prints, and what it leaves."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.kit.shelves import EXTRAS, OLD, OTHER_BYTES, SDIST, WHEEL, Shelves, digests, visible
from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.backends.folder.promotion import Promotion
from twisted_index.backends.layout.facts import StatKey
from twisted_index.cli import EXIT_FAILED, EXIT_OK, EXIT_USAGE, main
from twisted_index.server.state_folder import inspection_cache_path


class Printed(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def shelves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelves:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir()
    return Shelves(tmp_path / "indexes")


@pytest.fixture
def promote(shelves: Shelves, capsys: pytest.CaptureFixture[str]) -> Callable[..., Printed]:
    def run(*arguments: str, between: bool = True) -> Printed:
        ends = ("--from", "staging", "--to", "prod") if between else ()
        code = main(["promote", "--indexes", "indexes", "--state", "state", *ends, *arguments])
        printed = capsys.readouterr()
        return Printed(code, printed.out, printed.err)

    return run


def cut_off(shelves: Shelves, steps: int) -> str:
    """Begin a promotion, and end it after some steps."""
    running = Promotion(shelves.request())
    running.examine()
    running.begin()
    for step in running.copies():
        step()
    if steps > 1:
        running.place()
    running.close()
    return running.id


RELEASES = ("acme==1.2", "Acme.Extras==1.2")


def test_it_prints_what_has_come(shelves: Shelves, promote: Callable[..., Printed]):
    printed = promote(*RELEASES)
    assert printed.code == EXIT_OK
    assert printed.out.splitlines()[:-1] == [f"+ {made.filename}" for made in (EXTRAS, WHEEL, SDIST)]
    assert printed.out.splitlines()[-1].startswith("Promoted 3 files (")
    assert visible(shelves.prod) == digests(OLD, WHEEL, SDIST, EXTRAS)


def test_again_it_says_that_all_is_there(promote: Callable[..., Printed]):
    promote(*RELEASES)
    printed = promote(*RELEASES)
    assert printed.code == EXIT_OK
    assert printed.out.endswith("from staging to prod; 3 files with the same bytes there already.\n")


def test_a_dry_run_changes_nothing(shelves: Shelves, promote: Callable[..., Printed]):
    printed = promote("--dry-run", *RELEASES)
    assert printed.out.splitlines()[-1].startswith("Would promote 3 files (")
    assert visible(shelves.prod) == digests(OLD)
    assert not (shelves.prod / ".staged").exists()


def test_everything_that_is_in_the_way_is_printed(shelves: Shelves, promote: Callable[..., Printed]):
    OTHER_BYTES.write_to(shelves.prod / "acme")
    printed = promote(*RELEASES, "nothing==1")
    assert printed.code == EXIT_FAILED
    assert printed.err.splitlines() == [
        f"twisted-index: {WHEEL.filename}: Prod has other bytes under this name.",
        "twisted-index: nothing==1: There is no such release in the folder of staging.",
        "twisted-index: Nothing was promoted.",
    ]


def test_as_json_it_prints_one_object(promote: Callable[..., Printed]):
    document = json.loads(promote("--json", *RELEASES).out)
    assert (document["from"], document["to"], document["refusals"]) == ("staging", "prod", [])
    assert {file["filename"]: file["sha256"] for file in document["published"]} == digests(
        WHEEL, SDIST, EXTRAS
    )
    refused = promote("--json", "nothing==1")
    assert refused.code == EXIT_FAILED
    assert [refusal["name"] for refusal in json.loads(refused.out)["refusals"]] == ["nothing==1"]


def test_it_is_in_the_history_of_the_server(promote: Callable[..., Printed]):
    promote(*RELEASES)
    (month,) = Path("state/keep/history").iterdir()
    events = [json.loads(line) for line in month.read_text().splitlines()]
    assert {(event["action"], event["index"], event["filename"]) for event in events} == {
        ("promote", "prod", made.filename) for made in (WHEEL, SDIST, EXTRAS)
    }


def test_a_server_with_that_state_need_not_read_the_files(shelves: Shelves, promote: Callable[..., Printed]):
    promote(*RELEASES)
    path = shelves.prod / "acme" / WHEEL.filename
    cache = InspectionCache(inspection_cache_path("state"))
    try:
        key = StatKey.from_stat(path.stat())
        found = cache.get(os.fsencode(path.parent.absolute()), {os.fsencode(path.name): key})
    finally:
        cache.close()
    known: Any = found[os.fsencode(path.name)].result
    assert known.sha256 == WHEEL.sha256


def test_where_it_may_lead_is_for_the_source_to_say(shelves: Shelves, promote: Callable[..., Printed]):
    (shelves.staging / ".index.toml").write_text('promote-to = ["qa"]\nupstream = "unknown-here"\n')
    printed = promote(*RELEASES)
    assert printed.code == EXIT_FAILED
    assert "What is in staging may be promoted to qa only." in printed.err


def test_an_upstream_that_an_index_names_need_not_be_known(shelves: Shelves, promote: Callable[..., Printed]):
    for folder in (shelves.staging, shelves.prod):
        (folder / ".index.toml").write_text('upstream = "unknown-here"\n')
    assert promote(*RELEASES).code == EXIT_OK


def test_what_a_base_of_the_target_has_counts(shelves: Shelves, promote: Callable[..., Printed]):
    OTHER_BYTES.write_to(shelves.prod.parent / "base" / "acme")
    (shelves.prod / ".index.toml").write_text('bases = ["base"]\n')
    assert promote(*RELEASES).code == EXIT_FAILED


@pytest.mark.parametrize("how", ["--resume", "--cancel"])
@pytest.mark.parametrize("steps", [1, 2])
def test_one_that_was_cut_off_is_listed_and_completed_or_undone(
    shelves: Shelves, promote: Callable[..., Printed], how: str, steps: int
):
    running = cut_off(shelves, steps)
    listed = promote("--list", between=False)
    assert listed.out.startswith(f"{running}  prod  acme==1.2, acme-extras==1.2 from staging: ")
    printed = promote(how, running, between=False)
    assert printed.code == EXIT_OK, printed.err
    expected = digests(OLD, WHEEL, SDIST, EXTRAS) if how == "--resume" else digests(OLD)
    assert visible(shelves.prod) == expected
    assert promote("--list", between=False).out == "There is no unfinished promotion.\n"


def test_one_whose_files_are_placed_is_completed_without_its_source(
    shelves: Shelves, promote: Callable[..., Printed]
):
    running = cut_off(shelves, 2)
    shutil.rmtree(shelves.staging)
    assert promote("--resume", running, between=False).code == EXIT_OK
    assert visible(shelves.prod) == digests(OLD, WHEEL, SDIST, EXTRAS)


def test_one_that_runs_is_left_alone(shelves: Shelves, promote: Callable[..., Printed]):
    running = Promotion(shelves.request())
    running.examine()
    running.begin()
    assert "is running" in promote("--list", between=False).out
    for how in ("--resume", "--cancel"):
        printed = promote(how, running.id, between=False)
        assert (printed.code, "is running" in printed.err) == (EXIT_FAILED, True)
    running.abandon()
    running.close()


def test_a_list_by_hand_is_shown_and_not_undone(shelves: Shelves, promote: Callable[..., Printed]):
    (shelves.prod / ".staged").mkdir()
    (shelves.prod / ".staged" / "mine.list").write_text(f"{OLD.filename}\n")
    assert promote("--list", between=False).out == "mine  prod  a list by hand, which hides 1 name\n"
    assert promote("--cancel", "mine", between=False).code == EXIT_FAILED
    assert promote("--resume", "mine", between=False).code == EXIT_OK
    assert visible(shelves.prod) == digests(OLD)


@pytest.mark.parametrize("promotion", ["none", "../x", ""])
def test_an_unknown_one_is_said(promote: Callable[..., Printed], promotion: str):
    assert promote(f"--resume={promotion}", between=False).code in (EXIT_FAILED, EXIT_USAGE)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from", "staging", "--to", "prod"],
        ["--from", "staging", "acme==1.2"],
        ["--to", "prod", "acme==1.2"],
        ["--from", "staging", "--to", "prod", "acme"],
        ["--list", "--resume", "x"],
        ["--indexes", "nowhere", "--from", "staging", "--to", "prod", "acme==1.2"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(promote: Callable[..., Printed], arguments: list[str]):
    assert promote(*arguments, between=False).code == EXIT_USAGE


def test_an_index_that_is_not_there_is_said(promote: Callable[..., Printed]):
    printed = promote("--from", "staging", "--to", "nowhere", "acme==1.2", between=False)
    assert printed.code == EXIT_FAILED
    assert printed.err
