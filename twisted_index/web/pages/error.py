"""The page of an error."""

from __future__ import annotations

from twisted.web.template import tags

from twisted_index.web.pages.layout import html_page


def write_error_page(title: str, sentence: str, *, why: str = "", back: str = "") -> bytes:
    """
    Write what went wrong.

    Args:
        title: The status and its phrase.
        sentence: What happened.
        why: The relative URL that explains it; empty for none.
        back: The relative URL of the front page; empty if it is not known.
    """
    return html_page(
        title,
        tags.h1(title),
        tags.p(sentence),
        tags.p(tags.a("Why?", href=why)) if why else "",
        tags.p(tags.a("Front page", href=back)) if back else "",
    )
