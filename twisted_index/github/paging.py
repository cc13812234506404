"""
Lists in pages that change while they are read: read whole, or not at all.

GitHub has no snapshots. An item that is deleted moves all later ones forward, and one of them from a page
that has not been read yet to one that has been; one that is added moves them back. Out of scope: requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from twisted_index.errors import BadGateway, Unavailable
from twisted_index.github.links import numbered, page_number

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Mapping

T = TypeVar("T")
R = TypeVar("R")

#: GitHub's own limit is 10,000 releases.
_MAX_PAGES = 1000
#: Items that the smallest pages of known servers have; those of the largest servers have 30, 50 or 100.
SMALLEST_PAGE = 30
#: Requests for one list, of a thousand items in pages of 100.
MAX_REQUESTS = 12
_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """
    A page of a list.

    Attributes:
        url: Its URL, as requested.
        items: Its items.
        etag: The ETag field, to be sent back unchanged; None without one.
        links: URLs of the next and the last page, by relation; empty if the server names neither.
        is_linked: Whether the response has a Link field.
        total: Number of items of the whole list; None if the server does not say it.
    """

    url: str
    items: tuple[T, ...]
    etag: str | None = None
    links: Mapping[str, str]
    is_linked: bool = False
    total: int | None = None


class ListChanged(Exception):
    """A list changed while it was read."""


class PagedList(Generic[T]):
    """
    A list, read page by page.

    If the server names the last page, the list is read from there to the first one: what is deleted
    meanwhile moves items to pages that are yet to be read, so that they come twice and not never. `verify`
    then reads pages again, for what is added.

    Args:
        read: Requests a page; None if there is no such list any more.
        first: The page that has been read.
        key: Returns the identity of an item; None for one that has none.
        number: The number of that page.
        sends_links: Whether the server is known to link pages, so that one without a Link field is the last.
    """

    def __init__(
        self,
        read: Callable[[str], Awaitable[Page[T] | None]],
        first: Page[T],
        key: Callable[[T], Hashable],
        number: int = 1,
        sends_links: bool = False,
    ) -> None:
        self._read_page = read
        self._first = first
        self._number = number
        self._key = key
        self._pages: dict[int, Page[T]] = {}
        self._keys: set[Hashable] = set()
        self._is_backward = False
        self._is_guessed = False
        self._sends_links = sends_links

    @property
    def pages(self) -> list[Page[T]]:
        """The pages in their order."""
        return [self._pages[number] for number in sorted(self._pages)]

    @property
    def items(self) -> tuple[T, ...]:
        """The items in their order."""
        return tuple(item for page in self.pages for item in page.items)

    @property
    def is_certain(self) -> bool:
        """Whether the list is what one response said, so that it need not be verified."""
        return len(self._pages) == 1 and not self._is_guessed

    async def read(self) -> None:
        """
        Read the rest of the list.

        Raises:
            ListChanged: It changed meanwhile.
            BadGateway: Its pages have no end.
            SimpleIndexError: A page cannot be read.
        """
        last = self._first.links.get("last")
        number = None if last is None else page_number(last)
        if last is None or not number:
            await self._read_forward()
            return
        if number > _MAX_PAGES:
            raise _too_many_pages()
        self._is_backward = True
        self._add(self._number, self._first)
        end = _with_items(await self._read_number(last, number))
        await self._follow(end, number)  # it may have grown
        for earlier in range(number - 1, 0, -1):
            page = _with_items(await self._read_number(last, earlier))
            if "next" in self._first.links and "next" not in page.links:
                raise ListChanged

    async def verify(self, requests: int) -> None:
        """
        Read pages again, to know that the list did not change.

        The page that was read first comes first, then the last ones, which show each change before them. All
        pages prove that there was a moment at which the list was as it was read: each item of a page was
        there from the first reading to the second one, and no item can have come between two pages, or one
        of them would have come twice.

        Args:
            requests: The most that it may take; one is always made. If it is less than there are pages and
                the server does not name the last one, an item may be missed: one behind another that was
                deleted from neither of those pages, meanwhile.

        Raises:
            ListChanged: It did.
            SimpleIndexError: A page cannot be read.
        """
        first = self._number if self._is_backward else 1
        others = sorted(self._pages.keys() - {first}, reverse=True)
        for number in sorted([first, *others][: max(1, requests)], reverse=True):
            page = self._pages[number]
            if (await self._read_again(page.url)).items != page.items:
                raise ListChanged

    async def _read_forward(self) -> None:
        page = self._first
        if self._number != 1:
            page = await self._read_again(numbered(page.url, 1))
        self._add(1, page)
        await self._follow(page, 1)

    async def _follow(self, page: Page[T], number: int) -> None:
        """Read what comes after a page."""
        urls = {page.url}
        while True:
            url = self._next(page, number)
            if url is None:
                return
            if url in urls:
                raise BadGateway("The releases API links from page to page in a loop.")
            urls.add(url)
            is_guess = "next" not in page.links
            page, number = await self._read_again(url), number + 1
            if not is_guess:
                page = _with_items(page)
            elif page.is_linked and not page.items:
                return  # the server links pages, so the one before was the last
            self._is_guessed |= is_guess
            # Some servers give the whole list, whichever page is requested.
            if is_guess and all(self._key(item) in self._keys for item in page.items):
                return
            self._add(number, page)

    def _next(self, page: Page[T], number: int) -> str | None:
        """Return the URL of the next page; a page without any link may be one of a server that sends none."""
        if page.is_linked:
            return page.links.get("next")
        is_cut = page.total is not None and len(self.items) < page.total
        may_go_on = not self._sends_links and may_be_cut(len(page.items))
        return numbered(page.url, number + 1) if is_cut or may_go_on else None

    async def _read_number(self, template: str, number: int) -> Page[T]:
        if number not in self._pages:
            self._add(number, await self._read_again(numbered(template, number)))
        return self._pages[number]

    async def _read_again(self, url: str) -> Page[T]:
        page = await self._read_page(url)
        if page is None:
            raise ListChanged
        return page

    def _add(self, number: int, page: Page[T]) -> None:
        if len(self._pages) >= _MAX_PAGES:
            raise _too_many_pages()
        self._pages[number] = page
        keys = [key for item in page.items if (key := self._key(item)) is not None]
        if len(self._keys.union(keys)) != len(self._keys) + len(keys):
            raise ListChanged
        self._keys.update(keys)


def _with_items(page: Page[T]) -> Page[T]:
    """Return a page to which the server has linked; an empty one was cut, or its items are gone."""
    if not page.items:
        raise ListChanged
    return page


def may_be_cut(number: int) -> bool:
    """Return whether a list of so many items may be one that a server cut at its limit, a round number."""
    return number >= SMALLEST_PAGE and number % 10 == 0


async def until_steady(read: Callable[[], Awaitable[R]]) -> R:
    """
    Read a list until it does not change meanwhile.

    Raises:
        Unavailable: It always did.
        SimpleIndexError: It cannot be read.
    """
    for _ in range(_TRIES):
        try:
            return await read()
        except ListChanged:
            continue
    raise Unavailable("The releases change while they are read, or pages of them are missing.")


def _too_many_pages() -> BadGateway:
    return BadGateway(f"The releases API has more than {_MAX_PAGES} pages of one list.")
