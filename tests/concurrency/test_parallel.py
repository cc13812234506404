"""Work in groups: how much of it runs, when the next group begins, and what an error leaves."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred

from tests.kit.at_once import answer
from twisted_index.concurrency.parallel import in_groups


class Work:
    """Notes which items were begun; each runs until `end`."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.running: dict[int, Deferred[None]] = {}

    async def __call__(self, item: int) -> None:
        self.begun.append(item)
        self.running[item] = Deferred()
        await self.running[item]

    def end(self, *items: int) -> None:
        for item in items:
            self.running.pop(item).callback(None)


def started(work: Work, number: int, size: int, items: int) -> Deferred[None]:
    return Deferred.fromCoroutine(in_groups(number, size, work, range(items)))


def test_as_many_groups_begin_as_may_run():
    work = Work()
    started(work, 5, 2, 10)
    assert work.begun == [0, 1, 2, 3]


def test_the_next_group_begins_when_there_is_room_for_all_of_it():
    work = Work()
    started(work, 4, 2, 10)
    work.end(0)
    assert work.begun == [0, 1, 2, 3]
    # Of whichever groups they are.
    work.end(3)
    assert work.begun == [0, 1, 2, 3, 4, 5]


def test_it_is_done_when_the_last_item_is():
    work = Work()
    done = started(work, 4, 2, 3)
    work.end(2, 0)
    assert not done.called
    work.end(1)
    assert done.called


def test_nothing_to_do_is_done():
    assert answer(in_groups, 4, 2, Work(), ()) is None


def test_thousands_of_items_that_end_immediately_do_not_exhaust_the_stack():
    seen: list[int] = []

    async def look(item: int) -> None:
        seen.append(item)

    answer(in_groups, 4, 2, look, range(5000))
    assert seen == [*range(5000)]


def test_the_first_error_ends_it_and_nothing_more_begins():
    work = Work()
    done = started(work, 4, 2, 10)
    work.running.pop(1).errback(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        answer(lambda: done)
    work.end(0, 2, 3)
    assert work.begun == [0, 1, 2, 3]


def test_when_it_is_cancelled_so_is_what_runs():
    work = Work()
    done = started(work, 4, 2, 10)
    done.cancel()
    with pytest.raises(CancelledError):
        answer(lambda: done)
    assert all(each.called for each in work.running.values())
    assert work.begun == [0, 1, 2, 3]
