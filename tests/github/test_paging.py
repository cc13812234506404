"""Lists in pages that change between any two requests."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.properties import examples
from twisted_index.errors import BadGateway, SimpleIndexError, Unavailable
from twisted_index.github.links import numbered, page_number
from twisted_index.github.paging import ListChanged, Page, PagedList, until_steady

T = TypeVar("T")
URL = "https://api.example/list?per_page=30"


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


@dataclass
class Server:
    """
    A list in pages of 30 items; `change` is called before each request.

    Attributes:
        moments: The list of each moment since the first request.
    """

    items: list[int]
    change: Callable[[list[int]], object] = lambda items: None
    has_links: bool = True
    has_last: bool = True
    size: int = 30
    moments: list[tuple[int, ...]] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)

    async def read(self, url: str) -> Page[int]:
        self.change(self.items)
        self.moments.append(tuple(self.items))
        number, last = page_number(url) or 1, max(1, -(-len(self.items) // self.size))
        self.requests.append(number)
        links = {}
        if number < last:
            links["next"] = numbered(url, number + 1)
            if self.has_last:
                links["last"] = numbered(url, last)
        is_linked = self.has_links and last > 1
        items = tuple(self.items[(number - 1) * self.size : number * self.size])
        return Page(url=url, items=items, links=links if is_linked else {}, is_linked=is_linked)


async def read_once(server: Server, requests: int = 1000) -> tuple[int, ...]:
    pages = PagedList(server.read, await server.read(URL), lambda item: item)
    await pages.read()
    if not pages.is_certain:
        await pages.verify(requests)
    return pages.items


def read(server: Server, requests: int = 1000) -> tuple[int, ...]:
    return finish(until_steady(lambda: read_once(server, requests)))


@pytest.mark.parametrize("number", [0, 1, 29, 30, 31, 60, 61, 95])
@pytest.mark.parametrize(
    "kind", [{}, {"has_last": False}, {"has_links": False}], ids=["last", "next", "no links"]
)
def test_a_list_is_read_to_its_end(number: int, kind: dict[str, bool]):
    assert read(Server(list(range(number)), **kind)) == tuple(range(number))  # type: ignore[arg-type]


def change_at_random(seed: int, often: float) -> Callable[[list[int]], object]:
    """Delete and insert items anywhere, never an identity twice."""
    chance, fresh = random.Random(seed), iter(range(10_000, 100_000))

    def change(items: list[int]) -> None:
        while chance.random() < often:
            if items and chance.random() < 0.5:
                del items[chance.randrange(len(items))]
            else:
                items.insert(chance.randrange(len(items) + 1), next(fresh))

    return change


KINDS = st.sampled_from([{}, {"has_last": False}, {"has_links": False}])


@given(st.integers(0, 130), st.integers(), st.floats(0, 0.6), KINDS)
@examples(300)
def test_the_result_is_the_list_of_one_moment(number: int, seed: int, often: float, kind: dict[str, bool]):
    """With as many requests as it takes: nothing is missed, and nothing is there that was not at once."""
    server = Server(list(range(number)), change_at_random(seed, often), **kind)  # type: ignore[arg-type]
    try:
        found = read(server)
    except Unavailable:
        return

    assert found in server.moments


def hostile_changes(seed: int) -> Callable[[list[int]], object]:
    """Insert before a page boundary and take it away again, so that the pages look as before."""
    chance, fresh, there = random.Random(seed), iter(range(10_000, 100_000)), list[int]()

    def change(items: list[int]) -> None:
        if there and chance.random() < 0.5:
            items.remove(there.pop())
        elif chance.random() < 0.5:
            there.append(next(fresh))
            items.insert(chance.choice([0, 29, 30, 59, 60]), there[-1])

    return change


@given(st.integers(61, 130), st.integers(), KINDS)
@examples(300)
def test_changes_that_take_themselves_back_hide_nothing(number: int, seed: int, kind: dict[str, bool]):
    server = Server(list(range(number)), hostile_changes(seed), **kind)  # type: ignore[arg-type]
    try:
        found = read(server)
    except Unavailable:
        return

    assert found in server.moments


@given(st.integers(31, 400), st.integers(1, 400), st.integers(0, 40), st.booleans(), st.booleans())
@examples(300)
def test_one_change_at_any_time_hides_nothing_with_two_more_requests(
    number: int, place: int, when: int, is_deleted: bool, is_front: bool
):
    """Two pages are read again: that of the first request, and the last one."""
    place = 0 if is_front else place % number
    times = iter(range(1000))

    def change(items: list[int]) -> None:
        if next(times) != when:
            return
        if is_deleted:
            del items[place]
        else:
            items.insert(place, 10_000)

    server = Server(list(range(number)), change)
    constant = set(range(number)) - ({place} if is_deleted else set())
    assert constant <= set(read(server, 2))


@given(st.integers(31, 400), st.integers(), st.floats(0, 0.6))
@examples(300)
def test_deletions_and_later_additions_hide_nothing_with_one_more_request(
    number: int, seed: int, often: float
):
    """As in lists of assets in the order of their upload."""
    chance, fresh, gone = random.Random(seed), iter(range(10_000, 100_000)), set[int]()

    def change(items: list[int]) -> None:
        while items and chance.random() < often:
            if chance.random() < 0.5:
                gone.add(items.pop(chance.randrange(len(items))))
            else:
                items.append(next(fresh))

    server = Server(list(range(number)), change)
    try:
        found = read(server, 1)
    except Unavailable:
        return
    assert set(range(number)) - gone <= set(found)


def test_a_page_after_which_none_comes_is_read_again():
    """An item has moved into it, meanwhile."""
    requests = iter(range(1000))
    server = Server(list(range(31)), lambda items: next(requests) == 1 and items.pop(0), has_links=False)
    assert read(server) == tuple(range(1, 31))


def test_pages_beyond_the_last_one_are_read_if_there_are_some_by_now():
    """A page that has not changed may come without its links, as they were."""
    server = Server(list(range(95)))
    first = Page(url=URL, items=tuple(range(30)), links={"last": numbered(URL, 2)}, is_linked=True)
    pages = PagedList(server.read, first, lambda item: item)
    finish(pages.read())
    assert pages.items == tuple(range(95))


def test_a_thousand_items_take_eleven_requests():
    server = Server(list(range(1000)), size=100)
    read(server, 1)
    assert server.requests == [1, *range(10, 1, -1), 1]


def test_a_server_that_ignores_the_number_of_a_page_has_one():
    whole = Page(url=URL, items=tuple(range(50)), links={})

    async def same(url: str) -> Page[int]:
        return whole

    async def read() -> tuple[int, ...]:
        pages = PagedList(same, whole, lambda item: item)
        await pages.read()
        return pages.items

    assert finish(read()) == whole.items


@pytest.mark.parametrize("is_numbered", [True, False])
def test_pages_without_an_end_are_an_error(is_numbered: bool):
    numbers = iter(range(10_000))

    async def read(url: str) -> Page[int]:
        number = next(numbers)
        links = {"next": numbered(URL, number) if is_numbered else URL}
        return Page(url=url, items=(number,), links=links, is_linked=True)

    async def read_list() -> None:
        await PagedList(read, await read(URL), lambda item: item).read()

    with pytest.raises(BadGateway):
        finish(read_list())


@pytest.mark.parametrize("last", [2000, 10**8])
def test_a_last_page_far_away_is_an_error(last: int):
    server = Server([1])
    first = Page(url=URL, items=(1,), links={"last": numbered(URL, last)}, is_linked=True)
    with pytest.raises(SimpleIndexError):
        finish(PagedList(server.read, first, lambda item: item).read())
    assert server.requests == []


def test_a_last_page_before_the_first_one_is_none():
    first = Page(url=URL, items=(1,), links={"last": numbered(URL, 0)}, is_linked=True)
    pages = PagedList(Server([1]).read, first, lambda item: item)
    finish(pages.read())
    assert pages.items == (1,)


def test_a_list_that_always_changes_is_unavailable():
    tries = []

    async def never() -> None:
        tries.append(1)
        raise ListChanged

    with pytest.raises(Unavailable):
        finish(until_steady(never))
    assert len(tries) == 3
