"""The page of an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.web.template import tags

from twisted_index.web.pages.layout import html_page

if TYPE_CHECKING:
    from twisted_index.web.pages.layout import Frame


def write_error_page(
    title: str, sentence: str, *, why: str = "", search: str = "", frame: Frame | None = None
) -> bytes:
    """
    Write what went wrong.

    Args:
        title: The status and its phrase.
        sentence: What happened.
        why: The relative URL that explains it; empty for none.
        search: The relative URL of a search for what is not there; empty for none.
        frame: What surrounds it; None if the way to the front page is not known.
    """
    return html_page(
        title,
        tags.h1(title),
        tags.p(sentence),
        tags.p(tags.a("Search for what is like it", href=search)) if search else "",
        tags.p(tags.a("Why?", href=why)) if why else "",
        frame=frame,
    )
