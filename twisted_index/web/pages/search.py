"""What a search has found, as HTML and JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from twisted.web.template import Tag, tags

from twisted_index.simple.formatting import counted
from twisted_index.web.pages.elements import moment
from twisted_index.web.pages.layout import html_page

if TYPE_CHECKING:
    from twisted_index.search.results import Hit, SearchResults
    from twisted_index.web.pages.layout import Frame, Markup

#: Characters of a query that the page repeats.
_MAX_SHOWN = 200
_EXAMPLES = (
    ("pillow", "a name, or a part of it"),
    ("PIL", "what it is imported by"),
    ('"array computing"', "words of its summary; quotes keep them together"),
    ("module:yaml", "only by import name"),
    ("requires:numpy", "only projects that require it"),
)


def write_search_json(found: SearchResults) -> bytes:
    """Write JSON: what was found, best first, is the first and only list at the top."""
    results = [
        {"name": row.name, "version": row.version or None, "summary": row.summary or None, "why": why or None}
        for row, why in found.results
    ]
    document = {
        "results": results,
        "total": found.total,
        "known": found.known,
        "projects": found.projects,
        "suggestion": found.suggestion,
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def write_search_page(query: str, found: SearchResults, *, frame: Frame) -> bytes:
    """Write the page of a search; without a query, it says how to search."""
    query = query[:_MAX_SHOWN]
    if not query:
        return html_page("Search", tags.h1("Search"), _examples(frame), _coverage(found, frame), frame=frame)
    number = counted(found.total, "project") if found.total else "Nothing found"
    heading = f"{number} for “{query}”"
    return html_page(
        f"{query}: search",
        tags.h1(heading),
        _suggestion(found, frame),
        tags.ul([_result(one, frame) for one in found.results], class_="results") if found.results else "",
        _rest(found),
        "" if found.results else _examples(frame),
        _coverage(found, frame),
        frame=frame,
    )


def _suggestion(found: SearchResults, frame: Frame) -> Markup:
    name = found.suggestion
    if name is None:
        return ""
    link = tags.a(name, href=f"{frame.root}-/search?q={quote(name)}")
    return tags.p("No name has this in it. Did you mean ", link, "?")


def _result(one: Hit, frame: Frame) -> Tag:
    row = one.row
    name = tags.a(row.shown_name or row.name, href=f"{frame.root}project/{quote(row.name)}/")
    about: list[Tag | str] = [tags.strong(name)]
    if row.version:
        came = [", ", moment(row.uploaded)] if row.uploaded is not None else []
        about += [" ", tags.span(row.version, came, class_="faint")]
    if one.why:
        about += [" ", tags.span(one.why, class_="tag")]
    if row.summary:
        about += [tags.p(row.summary)]
    return tags.li(about)


def _rest(found: SearchResults) -> Markup:
    more = found.total - len(found.results)
    if not more or not found.results:
        return ""
    return tags.p(f"{counted(more, 'more project')} found; add a word to see fewer.", class_="note")


def _examples(frame: Frame) -> Markup:
    entries = [
        (tags.dt(tags.a(tags.code(text), href=f"{frame.root}-/search?q={quote(text)}")), tags.dd(what))
        for text, what in _EXAMPLES
    ]
    return [tags.p("You can search for:"), tags.dl(entries)]


def _coverage(found: SearchResults, frame: Frame) -> Markup:
    if found.projects is None or found.known is None:
        return ""
    projects = tags.a(counted(found.projects, "project"), href=f"{frame.root}simple/")
    text = ""
    if found.known < found.projects:
        text = (
            f" Of {found.known:,} the summary and the import names are known;"
            " the others are being read, and are found by name until then."
        )
    how = tags.a("How to search", href=f"{frame.root}-/search")
    return tags.p("There are ", projects, f" here.{text} ", how if frame.query else [], class_="note")
