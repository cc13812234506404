"""The feed of new releases: Atom (RFC 4287). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring

from twisted_index.simple.formatting import format_upload_time

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What XML does not allow (XML 1.0, "Char").
_NOT_ALLOWED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: When nothing has changed yet; a feed has to have a time.
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEntry:
    """
    A release.

    Attributes:
        title: Its name and version.
        url: Of its page, absolute; identifies it in all feeds.
        updated: When its newest file came; aware.
        summary: One line; empty without one.
    """

    title: str
    url: str
    updated: datetime
    summary: str = ""


def write_feed(title: str, url: str, page: str, entries: Sequence[FeedEntry], *, author: str) -> bytes:
    """
    Write a feed.

    Args:
        title: Of the feed.
        url: Its own URL, absolute, which identifies it.
        page: The absolute URL of the page that it belongs to.
        entries: The latest first.
        author: The name of the index.
    """
    feed = Element("feed", xmlns="http://www.w3.org/2005/Atom")
    _text(feed, "id", url)
    _text(feed, "title", title)
    _text(feed, "updated", format_upload_time(max((entry.updated for entry in entries), default=_NEVER)))
    _text(SubElement(feed, "author"), "name", author)
    SubElement(feed, "link", rel="self", type="application/atom+xml", href=_cleaned(url))
    SubElement(feed, "link", rel="alternate", type="text/html", href=_cleaned(page))
    for entry in entries:
        _entry(feed, entry)
    written: bytes = tostring(feed, encoding="utf-8", xml_declaration=True)
    return written


def _entry(feed: Element, entry: FeedEntry) -> None:
    element = SubElement(feed, "entry")
    _text(element, "id", entry.url)
    _text(element, "title", entry.title)
    _text(element, "updated", format_upload_time(entry.updated))
    SubElement(element, "link", rel="alternate", type="text/html", href=_cleaned(entry.url))
    if entry.summary.strip():
        _text(element, "summary", entry.summary)


def _text(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = _cleaned(text)


def _cleaned(text: str) -> str:
    return _NOT_ALLOWED.sub("\N{REPLACEMENT CHARACTER}", text)
