"""The list of the pages for operators, as text, HTML and JSON."""

from __future__ import annotations

import json

from twisted_index.web.responses.html_layout import render_page

#: The pages for everyone, those for clients that may operate or follow the index, and those for users.
PUBLIC_PAGES = {
    "health": "whether every package folder can be read",
    "why/NAME": "why a project or a file of it is here, or is not; also why/NAME==VERSION",
}
OPERATOR_PAGES = {
    "problems": "files that are left out, why, and what to do",
    "wanted": "what installers asked for and could not get",
    "history": "who uploaded, yanked and deleted what",
    "metrics": "numbers for Prometheus",
}
FOLLOWER_PAGES = {"changes": "the serial of each project, for mirrors"}
USER_PAGES = {"tokens": "the tokens that you have made"}
_LOG_IN, _AS = "Log in", " as a user or token that may operate this index to see more."


def write_operations(*, everything: bool, follows: bool, is_user: bool) -> tuple[bytes, bytes, bytes]:
    """
    Write the list.

    Args:
        everything: Whether the client may operate the index.
        follows: Whether it may follow the index.
        is_user: Whether it is a user who has logged in.

    Returns:
        JSON, HTML and text.
    """
    pages = {
        **PUBLIC_PAGES,
        **(OPERATOR_PAGES if everything else {}),
        **(FOLLOWER_PAGES if follows else {}),
        **(USER_PAGES if is_user else {}),
    }
    as_json = json.dumps({"pages": pages}).encode("ascii") + b"\n"
    items = "\n".join(f"<tr><td>{_link(name)}</td><td>{what}</td></tr>" for name, what in pages.items())
    more = "" if everything else f'<p><a href="problems">{_LOG_IN}</a>{_AS}</p>\n'
    as_html = render_page("Operations", f"<h1>Operations</h1>\n<table>\n{items}\n</table>\n{more}")
    lines = [f"{name:10}{what}" for name, what in pages.items()]
    text = "\n".join([*lines, *([] if everything else [_LOG_IN + _AS]), ""])
    return as_json, as_html, text.encode("ascii")


def _link(name: str) -> str:
    """Link a page, unless its URL has a part to be filled in."""
    return name if "NAME" in name else f'<a href="{name}">{name}</a>'
