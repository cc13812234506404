"""A replica removes little without a question, and so much as a person has agreed to."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from twisted_index.replication.brake import WINDOW, Brake


@pytest.mark.parametrize(
    ("files", "emptied", "total", "forbidden"),
    [
        (0, 0, 0, False),
        (100, 0, 50, False),
        (101, 0, 50, True),
        (1, 1, 2, False),
        (1, 1, 1, True),
        (2, 2, 5, True),
        (5, 5, 50, False),
        (6, 6, 50, True),
    ],
)
def test_more_than_a_hundred_files_or_a_tenth_of_the_projects_or_all_is_too_much(
    files: int, emptied: int, total: int, forbidden: bool
):
    assert Brake(Clock().seconds).forbids(files, emptied, total) is forbidden


def test_removals_within_ten_minutes_are_added_up():
    clock = Clock()
    brake = Brake(clock.seconds)
    brake.note(60, 3)
    assert brake.forbids(41, 0, 50)
    assert brake.forbids(1, 3, 50)
    clock.advance(WINDOW)
    assert not brake.forbids(41, 3, 50)


def test_a_person_may_agree_to_a_number_and_no_more():
    brake = Brake(Clock().seconds)
    assert not brake.forbids(500, 50, 50, accepted=500)
    assert brake.forbids(501, 50, 50, accepted=500)


def test_the_only_project_may_go_if_its_files_were_deleted_by_name():
    brake = Brake(Clock().seconds)
    assert not brake.forbids(1, 1, 1, untold=0)
    assert brake.forbids(2, 2, 2, untold=0)
