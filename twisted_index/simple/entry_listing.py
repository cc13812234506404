"""
The listing of a project's entries, by which a replica compares its folder with that of its primary. Pure.

The first line is `serial imprint`. Each other line is `sha256 size time path`: the size in bytes, the time in
nanoseconds since the epoch, the path below the root, percent-encoded. After an empty line come the contents
of those files that were asked for with it, without anything between them.

A batch has the listings of several projects, each after a line `project length`, with its length in bytes.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_HEAD = re.compile(rb"([0-9]{1,16}) ([0-9a-f]{32})")
_BATCH_HEAD = re.compile(rb"([a-z0-9-]{1,255}) ([0-9]{1,10})\n")
_LINE = re.compile(rb"([0-9a-f]{64}) ([0-9]{1,19}) (-?[0-9]{1,19}) ([!-~]+)")
#: Bytes of a file up to which its contents may come with a listing, and are worth asking for: more would take
#: longer than a request of its own.
MAX_INLINE = 64 << 10
#: Bytes of all contents that come with a listing.
MAX_CONTENTS = 4 << 20
#: Projects in a batch. So many names fit into a URL, too.
MAX_BATCH = 32
#: Characters of a path that are written as they are.
_SAFE = "/!+,@=~"


class InvalidListing(ValueError):
    """What is no listing of entries."""


class Entry(NamedTuple):
    """
    A file that lies there for a project: a distribution, what is beside it, or what says something of it.

    Attributes:
        path: Below the root, with slashes: `name`, or `folder/name`. Bytes that are no UTF-8 are surrogates.
        sha256: Lower-case hex digest.
        size: Bytes.
        time: When it was published, in nanoseconds since the epoch: its mtime, or its ctime if that is less.
    """

    path: str
    sha256: str
    size: int
    time: int

    @property
    def name(self) -> str:
        """Its name in its folder."""
        return self.path.rpartition("/")[2]


class EntryListing(NamedTuple):
    """
    All entries of a project.

    Attributes:
        serial: Of the project when it was listed; 0 if it has none.
        imprint: What belongs to that serial (`events.serials`).
        entries: Ordered by path.
    """

    serial: int
    imprint: str
    entries: tuple[Entry, ...]


def format_listing(listing: EntryListing) -> bytes:
    """Write a listing, without contents and the empty line before them."""
    lines = [f"{listing.serial} {listing.imprint}\n"]
    lines.extend(
        f"{entry.sha256} {entry.size} {entry.time} {quote_from_bytes(os.fsencode(entry.path), _SAFE)}\n"
        for entry in listing.entries
    )
    return "".join(lines).encode("ascii")


def parse_listing(text: bytes) -> EntryListing:
    """
    Parse a listing, up to the empty line.

    Raises:
        InvalidListing: It is none, or is not whole, or names a path twice.
    """
    head, *lines = text.split(b"\n")
    match = _HEAD.fullmatch(head)
    if match is None or not lines or lines.pop() != b"":
        raise InvalidListing(f"{text[:100]!r} is not the beginning of a listing of entries.")
    entries = tuple(map(_parse_line, lines))
    if len({entry.path for entry in entries}) < len(entries):
        raise InvalidListing("A listing of entries names a path twice.")
    return EntryListing(int(match[1]), match[2].decode("ascii"), _sorted(entries))


def parse_contents(text: bytes, limit: int) -> tuple[EntryListing, dict[str, bytes]]:
    """
    Parse a listing with the contents that came with it.

    Args:
        text: The listing; perhaps an empty line, and contents.
        limit: Bytes of a file up to which its contents are there, for as many files as there are bytes.

    Returns:
        The listing, and contents by path. Whether they are those of the entries is for the caller to check.

    Raises:
        InvalidListing: See `parse_listing`.
    """
    head, mark, rest = text.partition(b"\n\n")
    listing = parse_listing(head + b"\n" if mark else head)
    contents: dict[str, bytes] = {}
    at = 0
    for entry in listing.entries if mark else ():
        if entry.size <= limit:
            if at + entry.size > len(rest):
                break
            contents[entry.path] = rest[at : at + entry.size]
            at += entry.size
    return listing, contents


def format_batch(listings: Mapping[str, bytes]) -> bytes:
    """Write a batch of listings, by project."""
    return b"".join(
        b"%s %d\n%s" % (project.encode("ascii"), len(text), text) for project, text in listings.items()
    )


def parse_batch(text: bytes) -> dict[str, bytes]:
    """
    Take a batch of listings apart, by project.

    Raises:
        InvalidListing: It is none, or is not whole.
    """
    listings: dict[str, bytes] = {}
    at = 0
    while at < len(text):
        head = _BATCH_HEAD.match(text, at)
        end = 0 if head is None else head.end() + int(head[2])
        if head is None or end > len(text):
            raise InvalidListing(f"{text[at : at + 100]!r} is not the beginning of a listing in a batch.")
        listings[head[1].decode("ascii")] = text[head.end() : end]
        at = end
    return listings


def _parse_line(line: bytes) -> Entry:
    match = _LINE.fullmatch(line)
    if match is None:
        raise InvalidListing(f"{line[:200]!r} is not a line of a listing of entries.")
    path = os.fsdecode(unquote_to_bytes(match[4]))
    return Entry(path, match[1].decode("ascii"), int(match[2]), int(match[3]))


def _sorted(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: os.fsencode(entry.path)))
