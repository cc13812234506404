"""A round makes the folder of a replica equal to that of its primary, and shows nothing wrong meanwhile."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.kit.at_once import answer
from tests.kit.folder_source import AtOnce
from tests.kit.followed_folder import ReplicaPair, files_of, make_round
from tests.kit.pull_bench import Killed, Mortal
from tests.kit.replica_pages import PageWatch
from twisted_index.events.serials import REMOVED, Change, Serials
from twisted_index.files.anonymous_file import UPLOADS
from twisted_index.replication import known_digests, receipt, replica_folder
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.receipt import Receipt
from twisted_index.replication.removed_files import RemovedFiles
from twisted_index.replication.rounds import RoundResult, Rounds
from twisted_index.replication.state_file import Role
from twisted_index.simple.entry_listing import Entry
from twisted_index.testing import make_sdist, make_wheel

ONE, TWO, THREE = (make_wheel("demo", f"{number}.0") for number in (1, 2, 3))
SDIST, OTHER = make_sdist("demo", "2.0"), make_wheel("other", "1.0")


class Pair(ReplicaPair):
    def put(self, *files: Any, folder: str = "demo") -> None:
        for file in files:
            file.write_to(self.there / folder)

    def put_unnoticed(self) -> Iterator[None]:
        """Put a file, then another one with its name, size and time."""
        for minor in (1, 2):
            file = make_wheel("demo", "1.0", requires_python=f">=3.{minor}", compress=False)
            path = self.there / "demo" / file.filename
            path.unlink(missing_ok=True)
            self.put(file)
            os.utime(path, ns=(10**18, 10**18))
            yield

    def mark(self, name: str, text: str = "why", folder: str = "demo") -> Path:
        path = self.there / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def is_equal(self) -> bool:
        return files_of(self.here) == files_of(self.there)

    def numbers(self) -> list[dict[str, int]]:
        return [
            {name: change.serial for name, change in serials.read().changes.items()}
            for serials in (self.serials, self.primary.serials)
        ]

    @contextmanager
    def held(self) -> Iterator[list[Deferred[None]]]:
        """Let no bytes of files come from the primary meanwhile, and give what waits for them."""
        waiting: list[Deferred[None]] = []
        read = self.primary.read

        async def read_later(project: str, entry: Entry, write: Callable[[bytes], object]) -> None:
            waiting.append(Deferred())
            await waiting[-1]
            await read(project, entry, write)

        self.primary.read = read_later  # type: ignore[method-assign]
        yield waiting
        self.primary.read = read  # type: ignore[method-assign]
        for each in waiting:
            each.callback(None)

    def removed(self) -> list[str]:
        return sorted(path.name for path in (self.state / "removed").rglob("*") if path.is_file())


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.stop()


def lie_about(name: str) -> Callable[[Entry, bytes], bytes]:
    return lambda entry, content: b"x" * len(content) if name in entry.path else content


def honest(_entry: Entry, content: bytes) -> bytes:
    return content


class TestWhatComes:
    def test_an_empty_replica_takes_all_there_is(self, pair: Pair):
        pair.put(ONE, TWO)
        pair.put(OTHER, folder="Other")
        pair.put(make_sdist("flat", "1.0"), folder=".")
        pair.mark(f"{ONE.filename}.yanked", "broken")
        result = pair.follow()
        assert (result.fault, result.retry_in) == ("", None)
        assert pair.is_equal()
        assert pair.serials.instance == pair.primary.serials.instance
        assert pair.numbers()[0] == pair.numbers()[1]
        assert pair.rounds.reached == pair.primary.serials.read().highest

    def test_a_round_fetches_only_the_projects_that_have_changed(self, pair: Pair):
        pair.put(ONE)
        pair.put(OTHER, folder="other")
        pair.follow()
        pair.primary.asked.clear()
        pair.follow()
        assert pair.primary.asked == []
        pair.put(TWO)
        pair.follow()
        assert pair.primary.asked == ["demo"]
        assert pair.is_equal()

    def test_the_page_has_the_serial_of_the_primary(self, pair: Pair):
        pair.put(ONE)
        pair.follow()
        pair.clock.advance(5)
        pages = [answer(source.project_page, "demo") for source in (pair.source, pair.primary.source)]
        assert pages[0].value == pages[1].value
        assert pages[0].serial == pages[1].serial is not None

    @pytest.mark.parametrize("inlines", [True, False])
    def test_many_files_come_in_batches(self, pair: Pair, inlines: bool):
        pair.primary.inlines = inlines
        pair.put(*(make_wheel("demo", f"1.{number}") for number in range(70)))
        pair.follow()
        assert pair.is_equal()
        assert not (pair.here / ".staged").exists()

    def test_links_in_the_folder_of_the_primary_come_as_files(self, pair: Pair, tmp_path: Path):
        ONE.write_to(tmp_path / "elsewhere")
        (pair.there / "demo").mkdir()
        (pair.there / "demo" / ONE.filename).symlink_to(tmp_path / "elsewhere" / ONE.filename)
        pair.follow()
        assert (pair.here / "demo" / ONE.filename).read_bytes() == ONE.content
        assert not (pair.here / "demo" / ONE.filename).is_symlink()

    def test_other_bytes_of_the_same_size_and_time_are_found(self, pair: Pair):
        for _time in pair.put_unnoticed():
            pair.follow()
            assert pair.is_equal()

    def test_placed_files_are_not_read_again_to_be_compared(
        self, pair: Pair, monkeypatch: pytest.MonkeyPatch
    ):
        pair.put(ONE)
        pair.follow()
        monkeypatch.setattr(known_digests, "sha256_of", lambda _path: pytest.fail("it was read"))
        pair.primary.serials.note_unseen("demo")
        pair.primary.asked.clear()
        pair.follow()
        assert pair.primary.asked == ["demo"]
        assert pair.numbers()[0] == pair.numbers()[1]

    def test_placed_files_are_not_read_again_on_file_systems_with_coarse_times(
        self, pair: Pair, monkeypatch: pytest.MonkeyPatch
    ):
        set_time = os.utime

        def set_coarsely(path: Any, *, ns: tuple[int, int], **options: Any) -> None:
            whole = ns[1] // 10**9 * 10**9
            set_time(path, ns=(whole, whole), **options)

        pair.put(ONE)
        os.utime(pair.there / "demo" / ONE.filename, ns=(10**18 + 1, 10**18 + 1))
        monkeypatch.setattr(os, "utime", set_coarsely)
        pair.follow()
        pair.put(TWO)
        pair.follow()
        monkeypatch.setattr(known_digests, "sha256_of", lambda _path: pytest.fail("it was read"))
        pair.put(THREE)
        pair.follow()
        assert pair.files() == [ONE.filename, TWO.filename, THREE.filename]

    def test_other_bytes_of_the_same_size_and_time_are_found_after_a_replica_has_lost_its_serials(
        self, pair: Pair
    ):
        for _time in pair.put_unnoticed():
            shutil.rmtree(pair.state / "keep")
            pair.start()
            fault = pair.settle().fault
        assert "1 replaced" in fault

    def test_a_serial_above_the_feed_is_adopted_once_the_feed_has_reached_it(self, pair: Pair):
        """Others with lower ones may not be told of yet."""
        pair.put(ONE)
        feed = answer(pair.primary.changes)
        pair.put(OTHER, folder="other")
        pair.put(TWO)
        make_round(pair.rounds, feed, is_all=True)
        assert pair.is_equal() is False
        assert set(pair.files()) == {ONE.filename, TWO.filename}
        assert pair.serials.serial_of("demo") == feed.highest
        pair.primary.asked.clear()
        pair.follow()
        assert pair.primary.asked == ["other"]
        assert pair.numbers()[0] == pair.numbers()[1]

    @pytest.mark.parametrize("serial", [(1 << 52) + 1, 1 << 53])
    def test_a_serial_that_no_server_gives_is_not_adopted(self, pair: Pair, serial: int):
        pair.put(ONE)
        feed = answer(pair.primary.changes)
        for told in (
            replace(feed, highest=serial),
            replace(feed, changes={"demo": Change(serial, "0" * 32)}),
        ):
            assert "greater than any can be" in make_round(pair.rounds, told, is_all=True).fault
        assert pair.files() == []

    def test_an_absence_is_of_the_serial_that_was_known_when_the_primary_was_asked(self, pair: Pair):
        """A change that the feed tells of while the answer is on its way may have come after it."""
        entries = pair.primary.entries
        pair.mark(".claimed", "")
        feed = answer(pair.primary.changes)
        shutil.rmtree(pair.there / "demo")

        async def answer_late(project: str, *, inline: int = 0) -> Any:
            pair.primary.entries = entries  # type: ignore[method-assign]
            listed = await entries(project, inline=inline)
            pair.put(ONE)
            await pair.rounds.take(await pair.primary.changes(since=feed.highest))
            return listed

        pair.primary.entries = answer_late  # type: ignore[method-assign]
        make_round(pair.rounds, feed, is_all=True)
        pair.settle()
        assert pair.is_equal()


class TestWhatIsSeen:
    def happen(self, pair: Pair) -> None:
        pair.put(TWO, SDIST)
        pair.mark(f"{TWO.filename}.yanked")
        pair.mark(f"{ONE.filename}.yanked").unlink()
        pair.mark(".archived")
        pair.mark(f"{SDIST.filename}.asc")
        (pair.there / "demo" / THREE.filename).unlink()
        pair.put(make_wheel("new", "1.0"), make_sdist("new", "1.0"), folder="new")

    def begin(self, pair: Pair) -> None:
        pair.put(ONE, THREE)
        for file in (ONE, THREE):
            pair.mark(f"{file.filename}.yanked")
        pair.follow()
        self.happen(pair)

    @pytest.mark.parametrize("inlines", [True, False])
    def test_pages_are_valid_after_each_step_at_which_the_process_dies(self, tmp_path: Path, inlines: bool):
        lives = 0
        while True:
            (tmp_path / str(lives)).mkdir()
            pair = Pair(tmp_path / str(lives))
            pair.primary.inlines = inlines
            self.begin(pair)
            watch = PageWatch(["demo", "new"])
            watch.start(pair)
            watch.begin()
            mortal = pair.folder._step.run = Mortal(lives, watch.look)
            try:
                pair.follow()
            except Killed:
                pair.step = Mortal(None, watch.look)
                pair.start()
                watch.start(pair)
                pair.settle()
            assert pair.is_equal()
            assert not list(pair.here.glob(".staged/*"))
            pair.stop()
            if mortal.steps < lives:
                break
            lives += 1
        assert lives > 15

    def test_a_new_project_comes_in_one_step(self, pair: Pair):
        pair.put(ONE, TWO, SDIST)
        pair.mark(f"{TWO.filename}.yanked")
        seen = []
        pair.folder._step.run = Mortal(None, lambda: seen.append(len(files_of(pair.here / "demo"))))
        pair.follow()
        assert set(seen) == {0, 4}

    def test_a_file_with_wrong_bytes_is_never_visible_and_neither_are_files_that_came_with_it(
        self, pair: Pair
    ):
        pair.put(ONE)
        pair.follow()
        pair.put(TWO, SDIST)
        pair.primary.spoil = lie_about("tar.gz")
        fault = pair.follow().fault
        assert SDIST.filename in fault
        assert pair.files() == [ONE.filename]
        pair.primary.spoil = honest
        pair.clock.advance(2)
        assert pair.follow().fault == ""
        assert pair.is_equal()

    @pytest.mark.parametrize("inlines", [True, False])
    @pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"x"])
    def test_a_file_of_another_length_is_refused(
        self, pair: Pair, inlines: bool, change: Callable[[bytes], bytes]
    ):
        pair.primary.inlines = inlines
        pair.put(ONE)
        pair.primary.spoil = lambda _entry, content: change(content)
        assert "not those that the primary lists" in pair.follow().fault
        assert files_of(pair.here) == {}
        assert not list(pair.here.iterdir())


class TestWhatGoes:
    def test_files_of_a_removed_project_are_moved_to_the_state(self, pair: Pair):
        pair.put(OTHER, folder="other")
        pair.put(ONE)
        pair.mark(f"{ONE.filename}.asc", "signed")
        pair.mark(f"{ONE.filename}.yanked")
        pair.follow()
        shutil.rmtree(pair.there / "demo")
        pair.follow()
        assert not (pair.here / "demo").exists()
        assert pair.removed() == [ONE.filename, f"{ONE.filename}.asc"]
        assert pair.serials.read().changes["demo"].imprint == REMOVED
        assert pair.numbers()[0] == pair.numbers()[1]

    def test_a_file_is_moved_to_another_file_system_whole_or_not_at_all(
        self, pair: Pair, monkeypatch: pytest.MonkeyPatch
    ):
        resource = pytest.importorskip("resource")

        def rename(source: Any, target: Any) -> None:
            if b"removed" in os.fsencode(target):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            os.replace(source, target)

        monkeypatch.setattr(os, "rename", rename)
        pair.put(ONE, make_sdist("demo", "3.0", files={"random": random.Random(1).randbytes(100_000)}))
        pair.follow()
        held = files_of(pair.here)
        (pair.there / "demo" / "demo-3.0.tar.gz").unlink()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
            assert "File too large" in pair.follow().fault
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert files_of(pair.here) == held
        assert pair.removed() == []
        assert pair.settle().fault == ""
        assert pair.is_equal()
        moved = {Path(path).name: file for path, file in files_of(pair.state / "removed").items()}
        assert moved == {"demo-3.0.tar.gz": held["demo/demo-3.0.tar.gz"]}

    def test_after_a_month_it_goes_for_good(self, pair: Pair):
        days = pair.state / "removed"
        for day in ("2026-01-31", "2026-02-01"):
            (days / day / "demo").mkdir(parents=True)
        (days / "notes").mkdir()
        now = datetime(2026, 3, 3, 12, tzinfo=UTC).timestamp()
        RemovedFiles(str(days), lambda: int(now * 10**9)).forget(0.0)
        assert sorted(os.listdir(days)) == ["2026-02-01", "notes"]
        # Each hour, with the look at the folder.
        pair.put(ONE)
        pair.follow()
        assert os.listdir(days) == ["notes"]

    def test_it_stays_for_as_long_as_deleted_files_do(self, tmp_path: Path):
        (tmp_path / "indexes" / "dev" / "2026-01-31").mkdir(parents=True)
        now = datetime(2026, 4, 1, 12, tzinfo=UTC).timestamp()
        for days, left in ((90, ["2026-01-31"]), (0, [])):
            RemovedFiles(str(tmp_path), lambda: int(now * 10**9)).forget(days * 86400.0)
            assert os.listdir(tmp_path / "indexes" / "dev") == left

    def test_a_file_with_a_tombstone_is_deleted(self, pair: Pair):
        pair.put(ONE, TWO)
        pair.follow()
        (pair.there / "demo" / ONE.filename).unlink()
        pair.mark(".deleted", f"{ONE.sha256}  {len(ONE.content)}  2026-01-01T00:00:00Z  {ONE.filename}\n")
        pair.follow()
        assert pair.is_equal()
        assert pair.removed() == []

    def test_the_only_file_of_an_index_is_deleted_if_it_has_a_tombstone(self, pair: Pair):
        pair.put(ONE)
        pair.follow()
        (pair.there / "demo" / ONE.filename).unlink()
        pair.mark(".deleted", f"{ONE.sha256}  {len(ONE.content)}  2026-01-01T00:00:00Z  {ONE.filename}\n")
        assert pair.follow().fault == ""
        assert pair.is_equal()

    def lose_two(self, pair: Pair, happen: Callable[[Path], object]) -> None:
        """
        Two projects lose a file each.

        Args:
            pair: The servers.
            happen: What happens once the first is about to go here: called with the place of the second at
                the primary.
        """
        pair.put(ONE, TWO)
        pair.put(OTHER, make_wheel("other", "2.0"), folder="other")
        pair.follow()
        lost = {"demo": pair.there / "demo" / TWO.filename, "other": pair.there / "other" / OTHER.filename}
        for path in lost.values():
            path.unlink()
        remove = pair.folder.remove

        def remove_first(project: str, paths: Sequence[str]) -> list[str]:
            pair.folder.remove = remove  # type: ignore[method-assign]
            happen(next(path for name, path in lost.items() if name != project))
            return remove(project, paths)

        pair.folder.remove = remove_first  # type: ignore[method-assign]

    def test_a_file_that_comes_back_during_the_removals_stays(self, pair: Pair):
        rounds: list[Deferred[RoundResult]] = []

        def come_back(path: Path) -> None:
            (TWO if path.name == TWO.filename else OTHER).write_to(path.parent)
            answer(pair.rounds.take, answer(pair.primary.changes, since=pair.rounds.since))
            rounds.append(Deferred.fromCoroutine(pair.rounds.work()))

        self.lose_two(pair, come_back)
        assert pair.follow().fault == ""
        assert rounds[0].called
        assert pair.is_equal()
        assert len(pair.removed()) == 1
        assert pair.numbers()[0] == pair.numbers()[1]

    def test_stopped_rounds_remove_nothing_more(self, pair: Pair):
        self.lose_two(pair, lambda _path: pair.rounds.stop())
        pair.follow()
        assert len(pair.removed()) == 1

    def test_too_many_files_stay_until_a_person_accepts_their_removal(self, pair: Pair, log: list[str]):
        pair.put(OTHER, folder="other")
        pair.put(*(make_wheel("demo", f"1.{number}") for number in range(101)))
        pair.follow()
        before = files_of(pair.here)
        reached = pair.serials.read().highest
        for path in (pair.there / "demo").iterdir():
            path.unlink()
        assert "Gone at the primary: 101 files" in pair.follow().fault
        # The follower says it.
        assert not [line for line in log if "Gone" in line]
        assert files_of(pair.here) == before
        assert (pair.kept.read().awaiting, pair.rounds.awaiting) == (101, 101)
        assert pair.serials.read().highest == reached
        assert "--accept" in pair.follow().fault
        pair.kept.update(lambda kept: replace(kept, accepted=kept.awaiting))
        assert pair.follow().fault == ""
        assert pair.is_equal()
        assert len(pair.removed()) == 101
        assert (pair.kept.read().awaiting, pair.kept.read().accepted) == (0, 0)

    def test_a_round_leaves_the_acceptance_for_another_index_alone(self, pair: Pair):
        pair.put(ONE)
        pair.follow()
        pair.kept.update(lambda kept: replace(kept, awaiting=500, accepted=500))
        pair.put(TWO)
        pair.follow()
        assert (pair.kept.read().awaiting, pair.kept.read().accepted) == (500, 500)

    def test_removals_from_before_a_start_stop_waiting_once_the_files_are_back(self, pair: Pair):
        pair.put(ONE)
        pair.follow()
        (pair.there / "demo" / ONE.filename).unlink()
        pair.follow()
        assert pair.kept.read().awaiting == 1
        pair.start()
        pair.put(ONE)
        pair.settle()
        assert pair.kept.read().awaiting == 0

    def test_an_emptied_primary_empties_no_replica(self, pair: Pair):
        pair.put(ONE)
        pair.follow()
        shutil.rmtree(pair.there / "demo")
        assert "Gone at the primary: 1 file, which" in pair.follow().fault
        assert pair.files() == [ONE.filename]
        pair.put(ONE)
        assert pair.follow().fault == ""
        assert pair.is_equal()

    def test_files_whose_removal_waits_stay_yanked(self, pair: Pair):
        pair.put(ONE)
        pair.mark(f"{ONE.filename}.yanked")
        pair.follow()
        shutil.rmtree(pair.there / "demo")
        pair.follow()
        (file,) = answer(pair.source.project_page, "demo").value.files
        assert file.yanked is not None


class TestFailures:
    def test_a_project_that_fails_stops_no_other_and_is_tried_again(self, pair: Pair):
        pair.put(ONE)
        pair.put(OTHER, folder="other")
        pair.primary.spoil = lie_about("demo")
        result = pair.follow()
        assert result.fault.startswith("demo is not as at the primary: ")
        assert result.retry_in == 1.0
        assert pair.files("other") == [OTHER.filename]
        assert pair.rounds.reached == pair.primary.serials.read().highest
        pair.primary.asked.clear()
        answer(pair.rounds.work)
        assert pair.primary.asked == []
        pair.primary.spoil = honest
        pair.clock.advance(2)
        assert pair.follow().fault == ""
        assert pair.numbers()[0] == pair.numbers()[1]

    def test_a_project_that_fails_is_retried_with_back_off(self, pair: Pair):
        pair.put(ONE)
        pair.primary.spoil = lie_about("demo")
        waits = []
        for _time in range(8):
            waits.append(pair.follow().retry_in)
            pair.clock.advance(61)
        assert waits[:3] == [1.0, 2.0, 4.0]
        assert waits[-1] == 60.0

    def test_a_full_disk_is_a_fault_until_there_is_room_again(self, pair: Pair):
        pair.put(ONE, TWO)

        def is_full(_step: Callable[[], object]) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        run, pair.folder._step.run = pair.folder._step.run, is_full
        assert "The disk of the package folder is full." in pair.follow().fault
        pair.folder._step.run = run
        pair.clock.advance(2)
        assert pair.follow().fault == ""
        assert pair.is_equal()

    def test_nothing_is_written_through_a_link(self, pair: Pair, tmp_path: Path):
        (tmp_path / "outside").mkdir()
        (pair.here / "demo").symlink_to(tmp_path / "outside")
        pair.put(ONE)
        assert "Its folder is a link" in pair.follow().fault
        assert not list((tmp_path / "outside").iterdir())

    def test_names_that_differ_in_case_only_lose_no_file_where_they_are_one(self, pair: Pair):
        # As such a file system shows it.
        (pair.here / ".STAGED").mkdir()
        pair.put(ONE)
        pair.put(OTHER, folder="other")
        pair.follow()
        (pair.there / "demo").rename(pair.there / "Demo")
        fault = pair.follow().fault
        assert "Demo and demo are one name to the file system here" in fault
        assert pair.files() == [ONE.filename]
        assert pair.removed() == []
        pair.put(make_sdist("other", "2.0"), folder="other")
        pair.follow()
        assert pair.files("other") == [OTHER.filename, "other-2.0.tar.gz"]

    def test_names_that_differ_in_case_only_come_where_they_are_two(self, pair: Pair):
        pair.put(ONE)
        pair.put(TWO, folder="Demo")
        assert pair.settle().fault == ""
        assert pair.is_equal()
        assert not (pair.here / ".staged").exists()

    def test_a_name_that_leads_elsewhere_on_windows_is_not_written_there(
        self, pair: Pair, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(replica_folder, "IS_WINDOWS", True)
        pair.put(ONE)
        (pair.there / "demo" / "c:x").write_text("text")
        pair.put(OTHER, folder="other")
        assert "demo/c:x is no name that this system takes" in pair.follow().fault
        assert (pair.files(), pair.files("other")) == ([], [OTHER.filename])

    def test_a_file_that_the_disk_has_no_room_for_is_not_begun(
        self, pair: Pair, monkeypatch: pytest.MonkeyPatch
    ):
        """Until the disk is full, everything else that is written there fails too."""
        monkeypatch.setattr(receipt, "free_bytes", lambda _path: 1 << 20)
        pair.put(ONE)
        (pair.there / "demo" / "large.bin").write_bytes(bytes(2 << 20))
        monkeypatch.setattr(pair.primary, "read", None)
        assert "no room for demo/large.bin, which has 2,097,152 bytes" in pair.follow().fault

    def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(self, pair: Pair, tmp_path: Path):
        pair.put(ONE)
        pair.follow()
        (tmp_path / "outside").write_text("mine")
        (pair.here / "demo" / ONE.filename).unlink()
        (pair.here / "demo" / ONE.filename).symlink_to(tmp_path / "outside")
        pair.start()
        pair.follow()
        assert (tmp_path / "outside").read_text() == "mine"
        assert pair.is_equal()

    def test_changes_by_hand_are_found_at_the_next_start(self, pair: Pair):
        pair.put(ONE, TWO)
        pair.put(OTHER, folder="other")
        pair.follow()
        (pair.here / "demo" / ONE.filename).write_bytes(b"changed")
        (pair.here / "demo" / TWO.filename).unlink()
        THREE.write_to(pair.here / "demo")
        make_wheel("mine", "1.0").write_to(pair.here / "mine")
        pair.primary.asked.clear()
        pair.follow()
        assert pair.primary.asked == []
        pair.start()
        assert pair.follow().fault == ""
        assert sorted(pair.primary.asked) == ["demo", "mine"]
        assert pair.is_equal()
        assert pair.removed() == [THREE.filename, "mine-1.0-py3-none-any.whl"]
        assert pair.numbers()[0] == pair.numbers()[1]

    def test_other_bytes_of_the_same_size_and_time_are_found_at_the_next_start(self, pair: Pair):
        pair.put(ONE)
        pair.follow()
        path = pair.here / "demo" / ONE.filename
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        path.write_bytes(bytes(len(ONE.content)))
        os.utime(path, ns=times)
        pair.start()
        assert pair.follow().fault == ""
        assert pair.is_equal()
        pair.primary.asked.clear()
        pair.start()
        pair.follow()
        assert pair.primary.asked == []

    def test_folders_with_files_of_the_system_only_are_no_projects_and_do_no_harm(self, pair: Pair):
        for name in ("demo", "strange"):
            (pair.here / name).mkdir()
            (pair.here / name / ".DS_Store").touch()
        pair.put(ONE)
        pair.settle()
        pair.put(TWO, SDIST)
        pair.put(OTHER, folder="other")
        assert pair.settle().fault == ""
        assert pair.files() == [ONE.filename, TWO.filename, SDIST.filename]
        assert pair.numbers()[0] == pair.numbers()[1]

    def test_a_defect_in_one_project_stops_no_other_and_is_tried_again(
        self, pair: Pair, monkeypatch: pytest.MonkeyPatch, log: list[str]
    ):
        names = [f"demo{number}" for number in range(100)]
        for name in names:
            pair.put(make_wheel(name, "1.0"), folder=name)
        survey = pair.folder.survey

        def fail(project: str, *args: Any, **more: Any) -> Any:
            return {}["defect"] if project == "demo0" else survey(project, *args, **more)

        with monkeypatch.context() as patch:
            patch.setattr(pair.folder, "survey", fail)
            assert pair.follow().fault.startswith("demo0 is not as at the primary: ")
        assert all(pair.files(name) for name in names[1:])
        assert pair.rounds.reached == pair.primary.serials.read().highest
        assert any("demo0 could not be brought here" in line for line in log)
        pair.clock.advance(61)
        assert pair.follow().fault == ""
        assert pair.is_equal()

    @pytest.mark.parametrize("time", [-(10**19) + 1, 10**19 - 1])
    def test_a_file_of_another_century_comes_like_any_other(
        self, pair: Pair, monkeypatch: pytest.MonkeyPatch, time: int
    ):
        pair.put(ONE)
        entries = pair.primary.entries

        async def list_them(project: str, **more: Any) -> Any:
            listing, contents = await entries(project, **more) or pytest.fail("nothing is there")
            old = tuple(entry._replace(time=time) for entry in listing.entries)
            return listing._replace(entries=old), contents

        monkeypatch.setattr(pair.primary, "entries", list_them)
        assert pair.follow().fault == ""
        assert pair.files() == [ONE.filename]

    def test_files_that_an_earlier_process_was_receiving_are_removed(self, pair: Pair):
        folder = pair.here / os.fsdecode(UPLOADS) / "upload_1"
        folder.mkdir(parents=True)
        ONE.write_to(folder)
        pair.follow()
        assert not list(pair.here.iterdir())

    def test_a_primary_that_cannot_be_reached_changes_nothing(self, pair: Pair):
        pair.put(ONE)
        feed = answer(pair.primary.changes)
        pair.primary.is_down = True
        result = make_round(pair.rounds, feed, is_all=True)
        assert result.fault == "demo is not as at the primary: The primary cannot be reached."
        pair.primary.is_down = False
        pair.clock.advance(2)
        assert answer(pair.rounds.work).fault == ""
        assert pair.is_equal()


class TestWaiting:
    def test_a_large_file_holds_up_no_other_project(self, pair: Pair):
        held: Deferred[None] = Deferred()
        read = pair.primary.read

        async def read_slowly(project: str, entry: Entry, write: Callable[[bytes], object]) -> None:
            if project == "demo":
                await held
            await read(project, entry, write)

        pair.primary.read = read_slowly  # type: ignore[method-assign]
        pair.primary.inlines = False
        pair.put(ONE)
        answer(pair.rounds.take, answer(pair.primary.changes), is_all=True)
        first = Deferred.fromCoroutine(pair.rounds.work())
        pair.put(OTHER, folder="other")
        pair.follow()
        assert pair.files("other") == [OTHER.filename]
        assert pair.rounds.bytes_to_come == len(ONE.content)
        assert pair.serials.serial_of("other") is None
        held.callback(None)
        assert first.called
        assert pair.is_equal()
        assert pair.numbers()[0] == pair.numbers()[1]
        assert pair.rounds.bytes_to_come == 0

    def test_only_so_many_projects_are_received_by_requests_of_their_own_at_a_time(self, pair: Pair):
        pair.primary.inlines = False
        for number in range(40):
            pair.put(make_wheel(f"demo-{number}", "1.0"), folder=f"demo-{number}")
        answer(pair.rounds.take, answer(pair.primary.changes), is_all=True)
        with pair.held() as waiting:
            work = Deferred.fromCoroutine(pair.rounds.work())
            assert len(waiting) == 16
            waiting.pop(0).callback(None)
            assert len(waiting) == 16
            # What comes meanwhile does not wait for them.
            pair.put(OTHER, folder="other")
            answer(pair.rounds.take, answer(pair.primary.changes), is_all=True)
            Deferred.fromCoroutine(pair.rounds.work())
            assert len(waiting) == 17
        assert work.called
        assert pair.is_equal()

    def test_a_cancelled_round_leaves_no_open_file(self, pair: Pair):
        async def never(_project: str, _entry: Entry, write: Callable[[bytes], object]) -> None:
            write(b"PK")
            await Deferred()

        read, pair.primary.read = pair.primary.read, never  # type: ignore[method-assign]
        pair.primary.inlines = False
        pair.put(ONE)
        answer(pair.rounds.take, answer(pair.primary.changes), is_all=True)
        descriptors = len(os.listdir("/proc/self/fd"))
        work = Deferred.fromCoroutine(pair.rounds.work())
        assert len(os.listdir("/proc/self/fd")) > descriptors
        work.addErrback(lambda _cancelled: None)
        work.cancel()
        assert len(os.listdir("/proc/self/fd")) == descriptors
        pair.primary.read = read  # type: ignore[method-assign]
        pair.clock.advance(61)
        assert answer(pair.rounds.work).fault == ""
        assert pair.is_equal()

    def test_a_late_write_to_a_closed_file_is_an_error(self, pair: Pair):
        receipt = pair.folder.receive(Entry("demo/x", "0" * 64, 10, 1))
        receipt.close()
        with pytest.raises(OSError, match="descriptor"):
            receipt.write(b"late")

    def test_a_file_of_the_near_future_waits_and_others_do_not(self, pair: Pair):
        pair.put(ONE)
        pair.put(OTHER, folder="other")
        os.utime(pair.there / "other" / OTHER.filename, ns=(10**18, 10**18))
        pair.ahead = -20 * 10**9
        result = pair.follow()
        assert result.retry_in == pytest.approx(20, abs=5)
        assert (pair.files("other"), pair.files()) == ([OTHER.filename], [])
        pair.ahead = 0
        pair.clock.advance(21)
        assert pair.follow().fault == ""
        assert pair.is_equal()

    def test_with_wrong_clocks_nothing_waits_and_times_are_set_later(
        self, pair: Pair, monkeypatch: pytest.MonkeyPatch, log: list[str]
    ):
        pair.put(ONE)
        pair.ahead = -365 * 86400 * 10**9
        pair.primary.skew = 365 * 86400.0
        assert (pair.follow().fault, pair.follow().fault) == ("", "")
        assert len([line for line in log if "clocks" in line]) == 1
        assert pair.files() == [ONE.filename]
        # As the clock of that time would have stamped it.
        os.utime(pair.here / "demo" / ONE.filename, ns=(10**18, 10**18))
        pair.ahead, pair.primary.skew = 0, 0.0
        assert pair.follow().fault == ""
        assert pair.is_equal()

    def test_a_time_that_is_set_later_loses_no_serial(self, pair: Pair):
        pair.mark(".claimed", "", folder="demo")
        pair.put(ONE, folder="demo")
        answer(pair.primary.changes)
        pair.mark(".claimed", "", folder="other")
        pair.primary.spoil = lie_about("demo")
        pair.ahead, pair.primary.skew = -365 * 86400 * 10**9, 365 * 86400.0
        pair.follow()
        pair.primary.spoil = honest
        pair.ahead, pair.primary.skew = 0, 0.0
        pair.settle()
        assert pair.numbers()[0] == pair.numbers()[1]


class TestWhichPrimary:
    def lose_state(self, pair: Pair) -> None:
        answer(pair.primary.source.stop)
        pair.primary.serials = Serials()
        pair.primary.start()

    def test_a_primary_that_counts_anew_is_followed_if_all_is_equal(self, pair: Pair):
        pair.put(ONE)
        pair.follow()
        self.lose_state(pair)
        assert pair.follow().fault == "Its serials have begun anew."
        assert pair.follow().fault == ""
        assert pair.numbers()[0] == pair.numbers()[1]
        assert pair.serials.instance == pair.primary.serials.instance

    def test_a_project_that_is_received_when_the_count_begins_anew_is_compared_again(self, pair: Pair):
        pair.primary.inlines = False
        pair.put(ONE)
        with pair.held():
            answer(pair.rounds.take, answer(pair.primary.changes), is_all=True)
            first = Deferred.fromCoroutine(pair.rounds.work())
            self.lose_state(pair)
            pair.put(TWO)
            pair.rounds.ask_for_all()
            answer(pair.rounds.take, answer(pair.primary.changes), is_all=True)
            answer(pair.rounds.work)
            # By one round at a time.
            assert pair.primary.asked == ["demo"]
        assert answer(lambda: first).fault == ""
        assert pair.primary.asked == ["demo", "demo"]
        assert pair.is_equal()
        assert pair.numbers()[0] == pair.numbers()[1]

    def test_a_server_that_takes_over_while_it_compares_goes_on_giving_serials(self, pair: Pair):
        pair.put(ONE)
        pair.follow()
        self.lose_state(pair)
        pair.follow()
        entries = pair.primary.entries

        async def take_over(project: str, **more: Any) -> Any:
            pair.kept.update(lambda kept: replace(kept, role=Role.PRIMARY))
            pair.serials.lead("ab" * 16)
            return await entries(project, **more)

        pair.primary.entries = take_over  # type: ignore[method-assign]
        assert "no replica any more" in pair.follow().fault
        assert not pair.serials.follows
        assert pair.serials.instance == "ab" * 16

    def test_one_that_was_refused_is_compared_again_as_soon_as_a_person_wants_that(self, pair: Pair):
        pair.put(ONE)
        pair.follow()
        self.lose_state(pair)
        path = pair.there / "demo" / ONE.filename
        content = path.read_bytes()
        path.write_bytes(THREE.content)
        pair.follow()
        assert pair.follow().fault
        feed, entries = answer(pair.primary.changes), pair.primary.entries

        async def as_after_a_join(project: str, **more: Any) -> Any:
            path.write_bytes(content)
            return await entries(project, **more)

        pair.primary.entries = as_after_a_join  # type: ignore[method-assign]
        assert make_round(pair.rounds, feed, is_all=True).fault
        pair.rounds.retry_now()
        assert make_round(pair.rounds, feed, is_all=True).fault == ""

    def test_a_primary_that_counts_anew_is_followed_if_it_only_has_more(self, pair: Pair):
        pair.put(ONE)
        pair.follow()
        self.lose_state(pair)
        pair.put(TWO)
        pair.put(OTHER, folder="other")
        pair.settle()
        assert pair.is_equal()

    @pytest.mark.parametrize("what", ["removed", "replaced", "unyanked"])
    def test_a_primary_that_counts_anew_is_not_followed_if_anything_here_would_be_lost(
        self, pair: Pair, what: str
    ):
        pair.put(ONE, TWO)
        pair.mark(f"{ONE.filename}.yanked")
        pair.follow()
        before, known = files_of(pair.here), pair.serials.read()
        self.lose_state(pair)
        path = pair.there / "demo" / ONE.filename
        if what == "removed":
            path.unlink()
        elif what == "replaced":
            path.write_bytes(THREE.content)
        else:
            path.with_name(f"{path.name}.yanked").unlink()
        pair.follow()
        fault = pair.follow().fault
        assert "counts its changes anew" in fault
        assert "twisted-index join" in fault
        assert (files_of(pair.here), pair.serials.read()) == (before, known)

    def change_all(self, pair: Pair) -> None:
        """Delete, replace, un-yank and upload something."""
        (pair.there / "demo" / ONE.filename).write_bytes(THREE.content)
        (pair.there / "demo" / f"{TWO.filename}.yanked").unlink()
        pair.put(OTHER, folder="third")
        (pair.there / "other" / OTHER.filename).unlink()
        pair.mark(".deleted", f"{OTHER.sha256}  1  2026-01-02T03:04:05Z  {OTHER.filename}\n", folder="other")

    def fill(self, pair: Pair) -> None:
        pair.put(ONE, TWO)
        pair.put(OTHER, folder="other")
        pair.mark(f"{TWO.filename}.yanked")
        pair.settle()

    def test_one_that_had_all_when_it_took_over_is_followed_in_all_that_it_has_done_since(self, pair: Pair):
        self.fill(pair)
        pair.primary.serials.lead("e" * 32)
        self.change_all(pair)
        assert pair.settle().fault == ""
        assert pair.is_equal()
        assert pair.numbers()[0] == pair.numbers()[1]
        assert pair.serials.instance == "e" * 32
        # Those who follow this replica may go on in the same way.
        assert pair.serials.read().before == pair.primary.serials.read().before

    @pytest.mark.parametrize("what", ["adopted", "by hand", "in a new project"])
    def test_it_is_not_if_anything_is_here_that_it_did_not_have_then(self, pair: Pair, what: str):
        self.fill(pair)
        if what == "adopted":
            pair.serials.adopt("demo", pair.serials.read().changes["demo"]._replace(serial=1 << 50))
            pair.start()
        else:
            THREE.write_to(pair.here / ("demo" if what == "by hand" else "fourth"))
        before = files_of(pair.here)
        pair.primary.serials.lead("e" * 32)
        self.change_all(pair)
        assert "counts its changes anew" in pair.settle().fault
        assert files_of(pair.here) == before

    @pytest.mark.parametrize("lines", [(1, 0), (0, 1, 2), (0,), (0, 2)])
    def test_lists_of_deleted_files_only_lose_nothing_if_all_lines_are_there(
        self, pair: Pair, lines: tuple[int, ...]
    ):
        """As after a join, or a deletion of what is not here."""

        def write(*numbers: int) -> None:
            row = "{0}{0}  1  2026-01-02T03:04:05Z  demo-{1}.0.tar.gz\n"
            pair.mark(".deleted", "".join(row.format(str(number) * 32, number + 5) for number in numbers))

        pair.put(ONE)
        write(0, 1)
        pair.follow()
        self.lose_state(pair)
        write(*lines)
        refused = pair.settle().fault
        assert bool(refused) == (1 not in lines)
        assert pair.is_equal() == (not refused)

    def test_a_refused_primary_is_not_compared_again_until_it_changes(self, pair: Pair):
        pair.put(ONE)
        pair.follow()
        self.lose_state(pair)
        (pair.there / "demo" / ONE.filename).write_bytes(THREE.content)
        pair.follow()
        first = pair.follow().fault
        pair.primary.asked.clear()
        assert pair.follow().fault == first
        assert pair.primary.asked == []
        pair.put(OTHER, folder="other")
        pair.follow()
        assert pair.primary.asked

    def test_a_primary_whose_serials_were_set_back_is_compared(self, pair: Pair):
        pair.put(ONE)
        pair.follow()
        pair.serials.adopt("demo", Change(pair.serials.read().highest + 10_000, "1" * 32))
        pair.start()
        pair.settle()
        assert pair.numbers()[0] == pair.numbers()[1]

    @pytest.mark.parametrize("known", [None, Epoch(3, "c" * 32)])
    def test_an_epoch_too_high_to_be_true_is_not_followed(self, pair: Pair, known: Epoch | None):
        """The true primary would be out of date for ever, and retire when it hears of it."""
        pair.put(ONE)
        pair.kept.update(lambda kept: replace(kept, epoch=known))
        pair.primary.epoch = Epoch(999_999_999, "d" * 32)
        assert "no take-overs" in pair.follow().fault
        assert pair.kept.read().epoch == known
        pair.primary.epoch = Epoch(4, "e" * 32)
        assert pair.follow().fault == ""

    def test_an_earlier_epoch_is_never_followed(self, pair: Pair):
        pair.put(ONE)
        pair.kept.update(lambda kept: replace(kept, epoch=Epoch(3, "c" * 32)))
        pair.primary.epoch = Epoch(2, "d" * 32)
        assert "out of date" in pair.follow().fault
        assert files_of(pair.here) == {}
        pair.primary.epoch = Epoch(4, "e" * 32)
        assert pair.follow().fault == ""
        assert pair.kept.read().epoch == Epoch(4, "e" * 32)

    def test_a_restriction_of_the_primary_is_kept_before_any_file_comes(self, pair: Pair):
        pair.put(ONE)
        pair.primary.restricted = True
        kept = []
        pair.folder._step.run = Mortal(None, lambda: kept.append(pair.kept.read().restricted))
        pair.follow()
        assert set(kept) == {True}
        pair.primary.restricted = False
        pair.follow()
        assert pair.kept.read().restricted is False

    def test_a_round_does_not_overwrite_the_state_of_a_take_over(self, pair: Pair):
        mine = replace(pair.kept.read(), role=Role.PRIMARY, epoch=Epoch(5, "c" * 32))
        pair.kept.write(mine)
        pair.put(ONE)
        pair.primary.epoch, pair.primary.restricted = Epoch(6, "d" * 32), True
        pair.follow()
        assert pair.kept.read() == mine

    @pytest.mark.parametrize("name", ["Demo", "a b", "../x", ""])
    def test_a_change_of_what_is_no_project_is_refused(self, pair: Pair, name: str):
        feed = replace(answer(pair.primary.changes), changes={name: Change(5, "1" * 32)}, highest=5)
        result = make_round(pair.rounds, feed, is_all=True)
        assert "no change of a project" in result.fault

    @pytest.mark.parametrize("is_down", [False, True], ids=["between two requests", "for a while"])
    def test_a_primary_with_an_older_folder_and_state_removes_nothing(
        self, pair: Pair, tmp_path: Path, is_down: bool
    ):
        """Its serials are those of before, and go on above ours."""
        keep = tmp_path / "keep"
        pair.primary.serials = Serials(str(keep / "serials"))
        pair.primary.start()
        pair.put(ONE)
        pair.follow()
        shutil.copytree(keep, tmp_path / "backup")
        pair.put(OTHER, folder="other")
        pair.settle()
        before = files_of(pair.here)
        shutil.rmtree(pair.there / "other")
        pair.primary.serials = Serials(str(tmp_path / "backup" / "serials"))
        if is_down:
            pair.primary.is_down = True
            pair.follow()
            pair.primary.is_down = False
        pair.primary.start()
        pair.put(TWO)
        fault = pair.settle().fault
        assert "twisted-index join" in fault
        assert files_of(pair.here) == before
        # As join would.
        shutil.copytree(pair.here / "other", pair.there / "other")
        pair.clock.advance(601)
        assert pair.settle().fault == ""
        assert pair.is_equal()
        assert pair.numbers()[0] == pair.numbers()[1]

    def test_all_changes_are_requested_again_after_an_hour(self, pair: Pair):
        pair.put(ONE)
        pair.follow()
        assert pair.rounds.since == pair.primary.serials.read().highest
        pair.clock.advance(3601)
        assert pair.rounds.since is None


def test_stopped_rounds_adopt_nothing(pair: Pair):
    pair.put(ONE)
    feed = answer(pair.primary.changes)
    answer(pair.rounds.take, feed, is_all=True)
    pair.rounds.stop()
    answer(pair.rounds.work)
    assert pair.serials.read().changes == {}
    assert files_of(pair.here) == {}


def test_after_a_take_over_no_file_that_was_being_received_is_placed(pair: Pair):
    """A client may have uploaded it here by then, with other bytes."""
    pair.put(THREE)
    pair.follow()
    pair.primary.inlines = False
    pair.put(ONE)
    with pair.held():
        feed = answer(pair.primary.changes, since=pair.rounds.since)
        answer(pair.rounds.take, feed)
        work = Deferred.fromCoroutine(pair.rounds.work())
        pair.kept.update(lambda kept: replace(kept, role=Role.PRIMARY))
        (pair.here / "demo" / ONE.filename).write_bytes(b"uploaded here")
        before = files_of(pair.here)
    answer(lambda: work)
    assert files_of(pair.here) == before


class Watched(AtOnce):
    """A thread that says whether it works."""

    works = False

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        before, self.works = self.works, True
        try:
            return super().run(function, *args, **kwargs)
        finally:
            self.works = before


@pytest.mark.parametrize("spoils", [False, True])
def test_files_that_came_are_closed_in_a_thread(pair: Pair, monkeypatch: pytest.MonkeyPatch, spoils: bool):
    """Another thread may be writing them, and what is dropped takes the disk time."""
    thread, closed = Watched(), list[bool]()
    close = Receipt.close
    monkeypatch.setattr(Receipt, "close", lambda self: (closed.append(thread.works), close(self))[1])
    rounds = Rounds(
        pair.primary, pair.folder, pair.serials, pair.kept, runner=thread, clock=pair.clock, now=pair.now
    )
    pair.primary.inlines = False
    pair.put(ONE, TWO)
    pair.mark(f"{ONE.filename}.yanked")
    if spoils:
        pair.primary.spoil = lie_about("2.0")
    fault = make_round(rounds, answer(pair.primary.changes), is_all=True).fault
    assert bool(fault) is spoils
    assert closed
    assert all(closed)


def test_listeners_are_called_when_a_serial_is_reached(pair: Pair):
    heard: list[int] = []
    pair.rounds.listeners.add(lambda: heard.append(pair.rounds.reached))
    pair.put(ONE)
    pair.follow()
    assert heard[-1] == pair.primary.serials.read().highest
