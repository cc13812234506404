"""
What the responses of a primary say: its changes, its entries, its clock.

No response is trusted: each has its media type, its bounds and its end, or is an error in one sentence.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from twisted_index.errors import BadGateway
from twisted_index.events.serials import Change, Count
from twisted_index.http_client.body import TruncatedBody
from twisted_index.simple.entry_listing import InvalidListing, parse_batch, parse_contents
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted_index.http_client.client import HTTPResponse
    from twisted_index.simple.entry_listing import EntryListing

#: What it means if a response is from no server of this project.
FOREIGN = "Is that the URL of a twisted-index server, without a proxy or a login page in between?"
#: Characters that are shown of what the primary sent.
MAX_SHOWN = 300
_CHANGES_HEAD = re.compile(rb"([0-9a-f]{32}) ([0-9]{1,16})")
_CHANGE = re.compile(rb"([1-9][0-9]{0,15}) ([0-9a-f]{32}|-) ([a-z0-9](?:[a-z0-9-]{0,253}[a-z0-9])?)")
#: More than any index has.
_MOST_PROJECTS = 2_000_000


def parse_changes(body: bytes) -> tuple[str, int, Mapping[str, Change]]:
    """
    Parse a list of changes.

    Returns:
        The instance, the highest serial, and the changes by project.

    Raises:
        BadGateway: It is no such list, or not whole.
    """
    if body.count(b"\n") > _MOST_PROJECTS:
        raise BadGateway("The primary tells of more projects than any index has.")
    head, *lines = body.split(b"\n")
    match = _CHANGES_HEAD.fullmatch(head)
    if match is None or not lines or lines.pop() != b"":
        raise BadGateway("The primary sent what is no list of changes, or only a part of one.")
    return match[1].decode("ascii"), int(match[2]), dict(_parse_lines(lines, int(match[2])))


def parse_before(field: str) -> Count | None:
    """Parse which serials others go on from; None if it is something else."""
    match = _CHANGES_HEAD.fullmatch(field.encode("latin-1", "replace"))
    return None if match is None else Count(match[1].decode("ascii"), int(match[2]))


def _parse_lines(lines: Iterable[bytes], highest: int) -> Iterable[tuple[str, Change]]:
    for line in lines:
        match = _CHANGE.fullmatch(line)
        if match is None or int(match[1]) > highest:
            raise BadGateway("The primary sent a list of changes with a line that is damaged.")
        yield match[3].decode("ascii"), Change(int(match[1]), match[2].decode("ascii"))


def parse_entries(body: bytes, limit: int) -> tuple[EntryListing, Mapping[str, bytes]]:
    """
    Parse a listing of entries with contents; see `parse_contents`.

    Raises:
        BadGateway: It is no such listing.
    """
    try:
        return parse_contents(body, limit)
    except InvalidListing as error:
        raise BadGateway(f"The primary sent what is no listing: {error}") from None


def parse_entry_batch(body: bytes, limit: int) -> Mapping[str, tuple[EntryListing, Mapping[str, bytes]]]:
    """
    Parse a batch of listings with contents, by project.

    Raises:
        BadGateway: It is no such batch.
    """
    try:
        return {project: parse_contents(text, limit) for project, text in parse_batch(body).items()}
    except InvalidListing as error:
        raise BadGateway(f"The primary sent what is no batch of listings: {error}") from None


async def read_body(response: HTTPResponse, limit: int, what: str, expected: str = "text/plain") -> bytes:
    """
    Read the body of a response, whole.

    Args:
        response: With status 200.
        limit: Bytes.
        what: What it is, for errors.
        expected: Its media type.

    Raises:
        BadGateway: It has another type, or more bytes.
        TruncatedBody: It ended early, or nothing marks its end.
    """
    body = response.body
    media_type = response.header(b"Content-Type").partition(";")[0].strip().lower()
    if response.status != 200 or media_type != expected or body.coding:
        body.abort()
        sent = printable(media_type[:MAX_SHOWN]) or "nothing"
        raise BadGateway(f"{sent} came in place of the primary's {what}. {FOREIGN}")
    body.limit = limit
    content = await body.read()
    if not body.is_delimited:
        raise TruncatedBody(f"The primary's {what} has no marked end, so it may be cut off.")
    return content


def clock_skew(date: str, began: float, ended: float) -> float:
    """
    Return how many seconds the clock of a Date field is ahead, at least; 0 without one.

    It names the second at some moment between the request and the response, which may be far apart.
    """
    try:
        told = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, told - ended) + min(0.0, told + 1 - began)
