"""The list of the pages for operators, as text, HTML and JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from twisted.web.template import tags

from twisted_index.web.pages.elements import table
from twisted_index.web.pages.layout import html_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_index.web.pages.layout import Frame

#: The pages for everyone, those for clients that may operate or follow the index, and those for users.
PUBLIC_PAGES = {
    "search": "projects by name, import name, typo and summary; also search?q=QUERY",
    "stats": "how often each project was downloaded; also stats?project=NAME",
    "health": "whether every package folder can be read",
    "why/NAME": "why a project or a file of it is here, or is not; also why/NAME==VERSION",
}
OPERATOR_PAGES = {
    "problems": "files that are left out, why, and what to do",
    "wanted": "what installers asked for and could not get",
    "history": "who uploaded, yanked and deleted what",
    "metrics": "numbers for Prometheus",
}
#: Their names for people, as their headings have them.
_NAMES = {
    "search": "Search",
    "stats": "Downloads",
    "health": "Health",
    "problems": "Files left out",
    "wanted": "Wanted",
    "history": "History",
    "metrics": "Metrics",
    "changes": "Changes",
    "tokens": "Tokens",
}
FOLLOWER_PAGES = {"changes": "the serial of each project, for mirrors"}
USER_PAGES = {"tokens": "the tokens that you have made"}
_LOG_IN, _AS = "Log in", " as a user or token that may operate this index to see more."


ALL_PAGES = {**PUBLIC_PAGES, **OPERATOR_PAGES, **FOLLOWER_PAGES, **USER_PAGES}


def write_operations_json(pages: Mapping[str, str]) -> bytes:
    """Write the pages as JSON."""
    return json.dumps({"pages": pages}).encode("ascii") + b"\n"


def write_operations_text(pages: Mapping[str, str]) -> bytes:
    """Write a line for each page."""
    lines = [f"{name:10}{what}" for name, what in pages.items()]
    return "\n".join([*lines, *([] if _is_all(pages) else [_LOG_IN + _AS]), ""]).encode("ascii")


def write_operations_page(pages: Mapping[str, str], frame: Frame, *, may_log_in: bool) -> bytes:
    """
    Write a table with a link to each page.

    Args:
        pages: What each shows, by its URL below `/-/`.
        frame: What surrounds it.
        may_log_in: Whether the client has not logged in yet.
    """
    rows = [
        (tags.a(_NAMES[name], href=name), what.partition("; also")[0])
        for name, what in pages.items()
        if name in _NAMES
    ]
    why = tags.p("Why a file is listed or left out is said by a link on the page of its project.")
    log_in = tags.a(_LOG_IN, href="problems") if may_log_in else _LOG_IN
    more = "" if _is_all(pages) else tags.p(log_in, _AS)
    title = "More"
    shown = table(("Page", "What it shows"), rows, caption=title)
    return html_page(title, tags.h1(title), shown, why, more, frame=frame)


def _is_all(pages: Mapping[str, str]) -> bool:
    return OPERATOR_PAGES.keys() <= pages.keys()
