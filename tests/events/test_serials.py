"""Serials grow, whatever happens to the clock, to the file and to the process."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from twisted_index.events.serials import REMOVED, Change, ChangeList, Count, Serials
from twisted_index.files.private_files import replace_private

NOW = 1_800_000_000_000
ONE, TWO = "1" * 32, "2" * 32


class ClockOnTheWall:
    """A clock that can be set."""

    def __init__(self) -> None:
        self.milliseconds = NOW

    def __call__(self) -> int:
        return self.milliseconds


@pytest.fixture
def now() -> ClockOnTheWall:
    return ClockOnTheWall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "keep" / "serials"


def opened(path: Path, now: ClockOnTheWall) -> Serials:
    return Serials(str(path), now=now)


def test_a_first_serial_is_the_time_and_a_second_at_once_is_one_more(now: ClockOnTheWall):
    serials = Serials(now=now)
    assert [serials.note("demo", ONE), serials.note("other", ONE)] == [NOW, NOW + 1]


def test_a_project_that_is_the_same_keeps_its_serial(now: ClockOnTheWall):
    serials = Serials(now=now)
    serials.note("demo", ONE)
    now.milliseconds += 5
    assert serials.note("demo", ONE) == NOW
    assert serials.note("demo", TWO) == NOW + 5


def test_a_clock_that_is_set_back_does_not_lower_them(now: ClockOnTheWall):
    serials = Serials(now=now)
    serials.note("demo", ONE)
    now.milliseconds = 1000
    assert serials.note("demo", TWO) == NOW + 1


def test_a_removed_project_keeps_a_serial_and_one_that_comes_back_gets_a_higher_one(now: ClockOnTheWall):
    serials = Serials(now=now)
    serials.note("demo", ONE)
    assert serials.note("demo", REMOVED) == NOW + 1
    assert serials.read().changes["demo"].imprint == REMOVED
    assert serials.note("demo", ONE) == NOW + 2


def test_they_are_the_same_after_a_restart_and_so_is_the_instance(path: Path, now: ClockOnTheWall):
    first = opened(path, now)
    first.note("demo", ONE)
    first.note("other", REMOVED)
    now.milliseconds = 1000
    again = opened(path, now)
    assert again.read() == first.read()
    assert again.note("demo", TWO) > first.read().highest


def test_the_file_is_rewritten_at_the_start_if_it_has_old_lines(path: Path, now: ClockOnTheWall):
    first = opened(path, now)
    for imprint in (ONE, TWO, ONE, TWO):
        first.note("demo", imprint)
    assert len(path.read_text().splitlines()) == 5
    assert opened(path, now).read() == first.read()
    assert path.read_text().splitlines()[1:] == [f"{NOW + 3} {TWO} demo"]


@pytest.mark.parametrize("kept", range(1, 60, 7))
def test_a_torn_tail_is_a_new_instance_with_a_higher_serial(path: Path, now: ClockOnTheWall, kept: int):
    first = opened(path, now)
    first.note("demo", ONE)
    first.note("other", ONE)
    data = path.read_bytes()
    path.write_bytes(data[: -len(data.splitlines()[-1]) - 1] + data.splitlines()[-1][:kept] + b"")
    now.milliseconds += 1000
    again = opened(path, now)
    assert again.note("demo", ONE) == NOW
    assert again.note("other", ONE) == NOW + 1000
    assert again.read().instance != first.read().instance
    assert opened(path, now).read() == again.read()


def test_lines_that_are_lost_as_a_whole_are_a_new_instance(path: Path, now: ClockOnTheWall):
    """Else one who had seen a project that is gone since would keep it."""
    first = opened(path, now)
    first.note("demo", ONE)
    first.note("other", ONE)
    path.write_bytes(path.read_bytes().rpartition(b"\n" + str(NOW + 1).encode())[0] + b"\n")
    now.milliseconds += 1000
    assert opened(path, now).read().instance != first.read().instance


def test_a_file_of_an_earlier_version_keeps_its_instance(path: Path, now: ClockOnTheWall):
    first = opened(path, now)
    first.note("demo", ONE)
    head, _newline, rows = path.read_bytes().partition(b"\n")
    path.write_bytes(head.rpartition(b" ")[0] + b"\n" + rows)
    assert opened(path, now).read() == first.read()
    assert path.read_bytes() == head + b"\n" + rows


@pytest.mark.parametrize("garbage", [b"", b"\0" * 100, b"instance ", b"\xff\xfe", b"12 34 56\n" * 3])
def test_garbage_is_a_new_instance_with_higher_serials(path: Path, now: ClockOnTheWall, garbage: bytes):
    first = opened(path, now)
    first.note("demo", ONE)
    path.write_bytes(garbage)
    now.milliseconds += 1000
    again = opened(path, now)
    assert again.note("demo", ONE) == NOW + 1000
    assert again.read().instance != first.read().instance


def test_lost_lines_and_a_clock_that_is_set_back_are_a_new_instance(path: Path, now: ClockOnTheWall):
    first = opened(path, now)
    first.note("demo", ONE)
    first.note("other", ONE)
    path.write_bytes(path.read_bytes()[:-5])
    now.milliseconds = 1000
    assert opened(path, now).read().instance != first.read().instance


def test_a_lost_file_is_a_new_instance_with_higher_serials(path: Path, now: ClockOnTheWall):
    first = opened(path, now)
    first.note("demo", ONE)
    path.unlink()
    now.milliseconds += 1
    again = opened(path, now)
    assert again.note("demo", ONE) == NOW + 1
    assert again.read().instance != first.read().instance


def test_a_file_that_cannot_be_written_leaves_them_in_memory(path: Path, now: ClockOnTheWall):
    path.parent.parent.mkdir()
    path.parent.write_text("not a folder")
    serials = opened(path, now)
    assert serials.note("demo", ONE) == NOW
    assert serials.note("demo", TWO) == NOW + 1


def test_only_its_owner_may_read_the_file(path: Path, now: ClockOnTheWall):
    """It names projects that not everyone may know."""
    opened(path, now).note("demo", ONE)
    assert path.stat().st_mode & 0o077 == 0


def test_listeners_learn_of_a_change_once(now: ClockOnTheWall):
    serials, heard = Serials(now=now), []
    serials.listeners.add(lambda: heard.append("changed"))
    serials.note("demo", ONE)
    serials.announce()
    serials.announce()
    serials.note("demo", ONE)
    serials.announce()
    assert heard == ["changed"]


def test_what_is_no_file_keeps_nothing_and_blocks_nothing(tmp_path: Path):
    path = tmp_path / "keep" / "serials"
    path.parent.mkdir(mode=0o700)
    os.mkfifo(path)
    serials = Serials(str(path), now=lambda: 5000)
    assert serials.note("demo", "a" * 32) == 5000
    assert serials.read().highest == 5000


def test_a_serial_that_was_not_given_here_is_passed_over(tmp_path: Path):
    path = tmp_path / "keep" / "serials"
    path.parent.mkdir(mode=0o700)
    imprint = "a" * 32
    path.write_text(f"instance {imprint}\n{10**16 - 1} {imprint} demo\n4000 {imprint} other\n")
    serials = Serials(str(path), now=lambda: 5000)
    assert serials.read().highest == 4000
    assert serials.note("demo", imprint) == 5000


# -- Those of another server

OURS = "c" * 32


def test_what_follows_gives_no_serials(path: Path, now: ClockOnTheWall):
    serials = opened(path, now)
    serials.follow(OURS)
    assert (serials.note("demo", ONE), serials.note_unseen("demo")) == (None, None)
    serials.adopt("demo", Change(7, ONE))
    assert (serials.note("demo", TWO), serials.note_unseen("demo")) == (7, 7)
    assert serials.read() == ChangeList(instance=OURS, highest=7, changes={"demo": Change(7, ONE)})


def test_adopted_serials_are_there_after_a_restart_and_read_as_any_others(path: Path, now: ClockOnTheWall):
    serials = opened(path, now)
    serials.follow(OURS)
    serials.adopt("demo", Change(7, ONE))
    serials.adopt("other", Change(9, REMOVED))
    again = opened(path, now)
    again.follow()
    assert again.read() == serials.read()
    assert again.instance == OURS
    assert path.read_text().splitlines()[1:] == [f"7 {ONE} demo", "9 - other"]


def test_of_an_adopted_serial_the_last_imprint_counts_and_it_never_falls(path: Path, now: ClockOnTheWall):
    serials = opened(path, now)
    serials.follow(OURS)
    for change in (Change(7, ONE), Change(7, TWO), Change(5, ONE)):
        serials.adopt("demo", change)
    assert serials.read().changes["demo"] == opened(path, now).read().changes["demo"] == Change(7, ONE)


def test_another_instance_leaves_nothing_of_the_one_before(path: Path, now: ClockOnTheWall):
    serials = opened(path, now)
    serials.note("demo", ONE)
    serials.follow(OURS)
    assert serials.read() == opened(path, now).read() == ChangeList(instance=OURS)
    serials.adopt("demo", Change(7, ONE))
    serials.follow(OURS)
    assert serials.serial_of("demo") == 7
    serials.follow(OURS, anew=True)
    assert serials.read() == opened(path, now).read() == ChangeList(instance=OURS)


def test_what_takes_over_gives_greater_serials_to_what_changes_only(path: Path, now: ClockOnTheWall):
    serials = opened(path, now)
    serials.follow("d" * 32)
    serials.adopt("demo", Change(NOW + 70, ONE))
    serials.adopt("other", Change(NOW + 60, ONE))
    serials.lead(OURS)
    assert serials.note("demo", ONE) == NOW + 70
    assert serials.note("other", TWO) == NOW + 71
    assert opened(path, now).read() == serials.read()
    assert serials.instance == OURS
    serials.adopt("demo", Change(NOW + 99, TWO))
    assert serials.serial_of("demo") == NOW + 70
    serials.lead()
    assert serials.instance != OURS


def test_what_takes_over_counts_anew_if_what_it_has_followed_is_too_high(path: Path, now: ClockOnTheWall):
    """Whatever a server gave that it followed: what changes from then on is kept, and is a change."""
    serials = opened(path, now)
    serials.follow("d" * 32)
    serials.adopt("demo", Change(1 << 52, ONE))
    serials.lead(OURS)
    assert serials.note("demo", TWO) == NOW
    assert serials.note("other", TWO) == NOW + 1
    assert opened(path, now).read() == serials.read()


def test_it_is_known_after_a_restart_which_serials_were_before_a_take_over(path: Path, now: ClockOnTheWall):
    serials = opened(path, now)
    assert serials.read().before is None
    serials.follow("d" * 32)
    serials.adopt("demo", Change(NOW + 70, ONE))
    serials.lead(OURS)
    serials.note("demo", TWO)
    for known in (serials, opened(path, now)):
        assert known.read().before == Count("d" * 32, NOW + 70)
    serials.follow("e" * 32)
    assert opened(path, now).read().before is None


def test_what_goes_on_under_another_name_keeps_all_that_was_adopted(path: Path, now: ClockOnTheWall):
    serials = opened(path, now)
    serials.note("demo", ONE)
    known = serials.read()
    serials.follow_on("e" * 32)
    assert serials.follows
    assert serials.read().changes == opened(path, now).read().changes == known.changes
    assert opened(path, now).read().instance == "e" * 32


def test_listeners_learn_of_what_is_adopted_and_of_another_instance(now: ClockOnTheWall):
    serials, heard = Serials(now=now), []
    serials.listeners.add(lambda: heard.append(serials.read().highest))
    for change in (
        lambda: serials.follow(OURS),
        lambda: serials.adopt("demo", Change(7, ONE)),
        lambda: serials.follow("d" * 32),
        serials.lead,
    ):
        change()
        serials.announce()
        serials.announce()
    assert heard == [0, 7, 0, 0]


def test_a_serial_between_an_older_file_and_what_follows_was_not_given_by_it(
    path: Path, now: ClockOnTheWall, tmp_path: Path
):
    serials = opened(path, now)
    first = serials.note("demo", ONE)
    older = path.read_bytes()
    now.milliseconds += 5
    lost = serials.note("demo", TWO)
    assert all(map(serials.may_have_given, (first, lost)))
    path.write_bytes(older)
    now.milliseconds += 5
    restored = opened(path, now)
    assert [restored.may_have_given(serial) for serial in (first, lost)] == [True, False]
    after = restored.note("demo", "3" * 32)
    now.milliseconds += 5
    last = restored.note("demo", ONE)
    told = [restored.may_have_given(serial) for serial in (first, lost, after, last)]
    assert told == [True, False, True, True]


def test_of_the_serials_of_another_server_none_is_doubted(path: Path, now: ClockOnTheWall):
    serials = opened(path, now)
    serials.follow(ONE)
    serials.adopt("demo", Change(NOW + 10, TWO))
    assert serials.may_have_given(NOW + 5)


def test_what_is_known_is_told_while_the_file_is_written_anew(
    path: Path, now: ClockOnTheWall, monkeypatch: pytest.MonkeyPatch
):
    """The reactor's thread asks, and waits for no disk."""
    serials = opened(path, now)
    serials.note("demo", ONE)
    before = serials.read()
    told: list[object] = []

    def replace_and_look(*arguments: Any) -> None:
        asking = Thread(target=lambda: told.extend((serials.instance, serials.highest, serials.read())))
        asking.start()
        asking.join(20)
        replace_private(*arguments)

    monkeypatch.setattr("twisted_index.events.serials.replace_private", replace_and_look)
    serials.lead(TWO)

    # The new name counts once it is in the file.
    assert told == [before.instance, before.highest, before]
    assert (serials.instance, serials.highest) == (TWO, before.highest)
    assert opened(path, now).instance == TWO


def test_a_take_over_that_is_repeated_goes_on_from_the_same_serials(path: Path, now: ClockOnTheWall):
    serials = opened(path, now)
    serials.note("demo", ONE)
    serials.lead(TWO)
    before = serials.read().before
    serials.note("other", ONE)
    serials.lead(TWO)

    assert before is not None
    assert serials.read().before == before
