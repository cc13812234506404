"""Numbers of the server as a whole on the page of the statistics: caches of upstreams, and disk use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted.web.template import tags

from twisted_index.web.pages.elements import moment, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted_index.metrics.disk_use import CacheCounters, FolderSizes
    from twisted_index.web.pages.layout import Markup

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True, slots=True)
class CacheNumbers:
    """
    What came from caches of upstreams since the server started.

    Attributes:
        file_hits: Files and documents that were there.
        file_misses: Those that were fetched.
        page_hits: Pages that were there.
        page_misses: Pages that were fetched.
        bytes_saved: Bytes of files that were there.
        bytes_fetched: Bytes of files that were fetched.
    """

    file_hits: int
    file_misses: int
    page_hits: int
    page_misses: int
    bytes_saved: int
    bytes_fetched: int


@dataclass(frozen=True, slots=True)
class ServerNumbers:
    """
    What operators see besides the downloads.

    Attributes:
        cache: The sum of all caches; all 0 without one.
        disk: Bytes on disk by the name of a folder; None if they are being measured.
        measured: When, in seconds since the epoch.
    """

    cache: CacheNumbers
    disk: dict[str, int] | None
    measured: float

    @classmethod
    def of(cls, caches: Iterable[CacheCounters], measured: FolderSizes | None) -> ServerNumbers:
        """Sum caches up."""
        counters = list(caches)
        cache = CacheNumbers(
            sum(each.file_hits for each in counters),
            sum(each.file_misses for each in counters),
            sum(each.page_hits for each in counters),
            sum(each.page_misses for each in counters),
            sum(each.bytes_from_cache for each in counters),
            sum(each.bytes_from_upstream for each in counters),
        )
        return cls(cache, *((None, 0.0) if measured is None else (measured.sizes, measured.at)))


def write_server_numbers(numbers: ServerNumbers) -> list[Markup]:
    """Write both sections; the cache only if it was used."""
    cache = numbers.cache
    shown: list[Markup] = []
    if cache.file_hits or cache.file_misses or cache.page_hits or cache.page_misses:
        rows = [
            _row("Files", cache.file_hits, cache.file_misses),
            _row("Pages", cache.page_hits, cache.page_misses),
        ]
        heads = [tags.th(text, scope="col", class_="number") for text in ("From it", "Fetched", "Share")]
        saved = f"{in_units(cache.bytes_saved)} need not be fetched, {in_units(cache.bytes_fetched)} were."
        shown += [
            tags.h2("Cache of upstreams"),
            table((tags.td(), *heads), rows, caption="What came from the cache"),
            tags.p(f"Since the server started: {saved}", class_="note"),
        ]
    return [*shown, tags.h2("Disk use"), *_disk(numbers)]


def _row(name: str, hits: int, misses: int) -> tuple[Markup, ...]:
    share = f"{hits / (hits + misses):.1%}" if hits + misses else ""
    cells = (tags.td(text, class_="number") for text in (f"{hits:,}", f"{misses:,}", share))
    return (tags.th(name, scope="row"), *cells)


def _disk(numbers: ServerNumbers) -> list[Markup]:
    if numbers.disk is None:
        return [tags.p("It is being measured; load the page again.", class_="note")]
    rows = [
        (tags.th(name, scope="row"), tags.td(in_units(size), class_="number"))
        for name, size in numbers.disk.items()
    ]
    heads = ("Folder", tags.th("Size", scope="col", class_="number"))
    when = moment(datetime.fromtimestamp(int(numbers.measured), UTC))
    return [
        table(heads, rows, caption="Sizes of folders"),
        tags.p("Measured at ", when, " UTC, once in an hour at most.", class_="note"),
    ]


def in_units(size: int) -> str:
    """Return a size in decimal units, such as `1.2 GB`."""
    number, power = float(size), 0
    while number >= 999.5 and power < len(_UNITS) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.0f} {_UNITS[power]}" if power == 0 or number >= 10 else f"{number:.1f} {_UNITS[power]}"
