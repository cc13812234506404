"""Projects of a folder are made equal to those of an index, over real connections."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kit.pulls import Pulls, contents
from twisted_index.errors import Conflict, Unavailable
from twisted_index.testing import RunningIndex, make_wheel


def test_files_come_with_their_upload_times(pulls: Pulls, source: RunningIndex):
    wheel = source.add_wheel("demo", "1.0")
    source.add_sdist("demo", "1.0")
    (result,) = pulls.pull(source.url, "demo")
    assert result.placed == ("demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz")
    placed = pulls.folder / "demo" / wheel.filename
    assert placed.read_bytes() == wheel.content
    assert (
        placed.stat().st_mtime_ns // 1000
        == (source.folder / "demo" / wheel.filename).stat().st_mtime_ns // 1000
    )


def test_a_second_run_asks_once_for_a_page_and_fetches_nothing(pulls: Pulls, source: RunningIndex):
    source.add_wheel("demo", "1.0")
    pulls.pull(source.url, "demo")
    before = len(source.requests)
    (result,) = pulls.pull(source.url, "demo")
    assert (result.placed, result.unchanged) == ((), ("demo-1.0-py3-none-any.whl",))
    assert [(seen.path, seen.status) for seen in source.requests[before:]] == [("/simple/demo/", 304)]


def test_yanks_and_statuses_come_and_go_with_those_of_the_index(pulls: Pulls, source: RunningIndex):
    wheel = source.add_wheel("demo", "1.0")
    yank = source.folder / "demo" / f"{wheel.filename}.yanked"
    yank.write_text("broken\n")
    (source.folder / "demo" / ".archived").write_text("old\n")
    pulls.pull(source.url, "demo")
    assert (pulls.folder / "demo" / yank.name).read_text() == "broken\n"
    assert (pulls.folder / "demo" / ".archived").read_text() == "old\n"
    yank.unlink()
    (source.folder / "demo" / ".archived").unlink()
    pulls.pull(source.url, "demo")
    assert sorted(os.listdir(pulls.folder / "demo")) == [".copies", wheel.filename]


def test_a_mark_that_was_written_by_hand_stays(pulls: Pulls, source: RunningIndex):
    wheel = source.add_wheel("demo", "1.0")
    pulls.pull(source.url, "demo")
    mark = pulls.folder / "demo" / f"{wheel.filename}.yanked"
    mark.write_text("not for us\n")
    pulls.pull(source.url, "demo")
    assert mark.read_text() == "not for us\n"


def test_an_exact_run_removes_what_the_index_has_no_more(pulls: Pulls, source: RunningIndex):
    old, new = source.add_wheel("demo", "1.0"), source.add_wheel("demo", "2.0")
    pulls.pull(source.url, "demo")
    (source.folder / "demo" / old.filename).unlink()
    (result,) = pulls.pull(source.url, "demo")
    assert result.removable == ()
    (result,) = pulls.pull(source.url, "demo", exact=True)
    assert result.removable == (old.filename,)
    assert sorted(os.listdir(pulls.folder / "demo")) == [".copies", new.filename]
    assert old.filename not in (pulls.folder / "demo" / ".copies").read_text()


def test_what_a_snapshot_names_is_moved_out_of_sight(pulls: Pulls, source: RunningIndex):
    old, new = source.add_wheel("demo", "1.0"), source.add_wheel("demo", "2.0")
    (source.folder / "demo" / f"{old.filename}.yanked").write_text("bad\n")
    pulls.pull(source.url, "demo")
    (pulls.folder / ".snapshots").mkdir()
    (pulls.folder / ".snapshots" / "freeze").write_text(f"{'0' * 64}  demo/{old.filename}\n")
    (source.folder / "demo" / old.filename).unlink()
    pulls.pull(source.url, "demo", exact=True)

    kept = pulls.folder / ".deleted" / "demo"
    assert (kept / old.filename).read_bytes() == old.content
    assert (kept / f"{old.filename}.yanked").read_text() == "bad\n"
    assert sorted(os.listdir(pulls.folder / "demo")) == [".copies", new.filename]
    assert old.filename not in (pulls.folder / "demo" / ".copies").read_text()


def test_a_project_that_is_gone_leaves_nothing(pulls: Pulls, source: RunningIndex):
    wheel = source.add_wheel("demo", "1.0")
    (source.folder / "demo" / f"{wheel.filename}.yanked").write_text("bad\n")
    pulls.pull(source.url, "demo")
    (source.folder / "demo" / wheel.filename).unlink()
    (source.folder / "demo" / f"{wheel.filename}.yanked").unlink()
    pulls.pull(source.url, "demo", exact=True)
    assert os.listdir(pulls.folder) == []


def test_a_project_with_files_of_its_own_is_refused_unless_joined(pulls: Pulls, source: RunningIndex):
    wheel = source.add_wheel("demo", "1.0")
    pulls.folder.mkdir()
    make_wheel("demo", "0.1").write_to(pulls.folder)
    (result,) = pulls.pull(source.url, "demo")
    assert "demo-0.1-py3-none-any.whl" in result.refused
    assert "--join" in result.refused
    (result,) = pulls.pull(source.url, "demo", join=True)
    assert result.placed == (wheel.filename,)


@pytest.mark.parametrize("claim", [".claimed", ".deleted"])
def test_a_claimed_name_is_refused(pulls: Pulls, source: RunningIndex, claim: str):
    source.add_wheel("demo", "1.0")
    (pulls.folder / "demo").mkdir(parents=True)
    (pulls.folder / "demo" / claim).touch()
    (result,) = pulls.pull(source.url, "demo")
    assert "claimed" in result.refused
    assert os.listdir(pulls.folder / "demo") == [claim]


def test_a_file_that_is_there_already_is_recorded(pulls: Pulls, source: RunningIndex):
    wheel = source.add_wheel("demo", "1.0")
    (pulls.folder / "demo").mkdir(parents=True)
    wheel.write_to(pulls.folder / "demo")
    (result,) = pulls.pull(source.url, "demo")
    assert (result.placed, result.adopted) == ((), (wheel.filename,))
    assert wheel.sha256 in (pulls.folder / "demo" / ".copies").read_text()
    assert not [seen for seen in source.requests if seen.path.endswith(".whl")]


def test_changed_content_is_a_failure_and_the_file_stays(pulls: Pulls, source: RunningIndex):
    wheel = source.add_wheel("demo", "1.0")
    pulls.pull(source.url, "demo")
    make_wheel("demo", "1.0", files={"demo.py": b"other"}).write_to(source.folder / "demo")
    (result,) = pulls.pull(source.url, "demo", exact=True)
    assert "changed content" in result.failures[0].reason
    assert (pulls.folder / "demo" / wheel.filename).read_bytes() == wheel.content


def test_a_deleted_name_is_not_placed_again(pulls: Pulls, source: RunningIndex):
    wheel, other = source.add_wheel("demo", "1.0"), source.add_wheel("demo", "2.0")
    pulls.pull(source.url, "demo")
    (pulls.folder / "demo" / wheel.filename).unlink()
    (pulls.folder / "demo" / ".deleted").write_text(f"-  -  2026-01-01T00:00:00Z  {wheel.filename}\n")
    (result,) = pulls.pull(source.url, "demo")
    assert (result.placed, result.deleted, result.unchanged) == ((), (wheel.filename,), (other.filename,))


def test_a_second_run_into_one_folder_is_refused(pulls: Pulls, source: RunningIndex):
    async def other(_run: object) -> None:
        pass

    async def work(run: object) -> str:
        from twisted_index.mirror.pull_run import PullRun

        second = PullRun(
            source.url,
            str(pulls.folder),
            str(pulls.state),
            reactor=run.puller._reactor,  # type: ignore[attr-defined]
        )
        try:
            async with second:
                return ""
        except Conflict as error:
            return error.message

    assert "Another run" in pulls.run(work, source.url)


def test_a_missing_folder_is_made(pulls: Pulls, source: RunningIndex, tmp_path: Path):
    source.add_wheel("demo", "1.0")
    pulls.pull(source.url, "demo", target=tmp_path / "a" / "b")
    assert contents(tmp_path / "a" / "b").keys() == {"demo/demo-1.0-py3-none-any.whl"}


def test_a_file_in_the_place_of_the_folder_is_a_sentence(pulls: Pulls, source: RunningIndex, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="file cannot be used: Not a directory"):
        pulls.pull(source.url, "demo", target=tmp_path / "file")


def test_nothing_is_left_behind(pulls: Pulls, source: RunningIndex):
    source.add_wheel("demo", "1.0")
    pulls.pull(source.url, "demo")
    assert sorted(os.listdir(pulls.folder)) == ["demo"]
