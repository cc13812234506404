"""The rules of RFC 4287 that a feed of this server has to keep; each error names the section."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

_ATOM = "{http://www.w3.org/2005/Atom}"
#: What may be in it, how often at least and at most; all else is an error here, as we write nothing else.
_FEED = {"id": (1, 1), "title": (1, 1), "updated": (1, 1), "author": (1, 1), "link": (2, 2), "entry": (0, 50)}
_ENTRY = {"id": (1, 1), "title": (1, 1), "updated": (1, 1), "link": (1, 1), "summary": (0, 1)}
#: RFC 3339 with the letters in upper case (section 3.3).
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def feed_errors(feed: Element) -> list[str]:
    """Return what is wrong with a feed."""
    if feed.tag != f"{_ATOM}feed":
        return ["4.1.1: the root is no feed"]
    errors = [*_counted(feed, _FEED, "4.1.1"), *_parts(feed)]
    links = {link.get("rel"): link for link in feed.iterfind(f"{_ATOM}link")}
    if set(links) != {"self", "alternate"}:
        errors.append("4.1.1: it has no link to itself, or none to its page")
    if not (feed.findtext(f"{_ATOM}author/{_ATOM}name") or "").strip():
        errors.append("3.2.1: the author has no name")
    for entry in feed.iterfind(f"{_ATOM}entry"):
        errors += [*_counted(entry, _ENTRY, "4.1.2"), *_parts(entry)]
        if [link.get("rel") for link in entry.iterfind(f"{_ATOM}link")] != ["alternate"]:
            errors.append("4.1.2: an entry without content has no alternate link")
    ids = [each.text for each in feed.iter(f"{_ATOM}id")]
    return errors + (["4.2.6: an id is there twice"] if len(set(ids)) < len(ids) else [])


def _counted(element: Element, allowed: dict[str, tuple[int, int]], section: str) -> list[str]:
    tags = [child.tag.removeprefix(_ATOM) for child in element]
    errors = [f"{section}: {tag} does not belong here" for tag in tags if tag not in allowed]
    for tag, (least, most) in allowed.items():
        if not least <= tags.count(tag) <= most:
            errors.append(f"{section}: {tag} is there {tags.count(tag)} times")
    return errors


def _parts(element: Element) -> list[str]:
    errors = []
    for name, section in (("title", "4.2.14"), ("summary", "4.1.1.1")):
        part = element.find(_ATOM + name)
        if part is not None and (len(part) or part.attrib or not (part.text or "").strip()):
            errors.append(f"{section}: {name} is no text, or an empty one")
    date = element.findtext(f"{_ATOM}updated") or ""
    if not _DATE.fullmatch(date) or datetime.fromisoformat(date).tzinfo is None:
        errors.append(f"3.3: {date} is no date")
    own = element.findtext(f"{_ATOM}id") or ""
    hrefs = [link.get("href", "") for link in element.iterfind(f"{_ATOM}link")]
    errors += [f"4.2.6, 4.2.7.1: {url} is no absolute IRI" for url in (own, *hrefs) if not _is_absolute(url)]
    # What of two spellings of one IRI an id should have.
    if urlsplit(own).netloc != urlsplit(own).netloc.lower():
        errors.append(f"4.2.6.1: {own} has a host in upper case")
    return errors


def _is_absolute(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.scheme and parts.netloc) and not re.search(r'[\x00-\x20<>"{}|\\^`]', url)
