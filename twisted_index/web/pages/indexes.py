"""The list of indexes as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.web.template import tags

from twisted_index.indexes.scope import Scope
from twisted_index.web.pages.elements import table
from twisted_index.web.pages.layout import html_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.web.template import Tag

    from twisted_index.indexes.served_index import IndexAbout
    from twisted_index.web.pages.layout import Frame, Markup


def write_indexes_page(found: Sequence[IndexAbout], frame: Frame) -> bytes:
    """Write a table of the indexes, each with a link."""
    title, heads = "Indexes", ("Index", "Title", "Inherits from")
    rows = (_row(about, frame.root) for about in found)
    listed = table(heads, rows, caption=title) if found else tags.p("No index with a name yet.")
    return html_page(title, tags.h1(title), listed, frame=frame)


def _row(about: IndexAbout, root: str) -> Sequence[Markup]:
    title = tags.em(about.problem, class_="mark") if about.problem else about.title
    bases = [[", " if at else "", _link(base, root)] for at, base in enumerate(about.bases)]
    return (_link(about.name, root), title, bases)


def _link(name: str, root: str) -> Tag:
    return tags.a(name, href=f"{root}{Scope(index=name).path}")
