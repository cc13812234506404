"""Parts that many pages have: tables, times, commands to copy."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING

from twisted.web.template import Tag, tags

from twisted_index.simple.formatting import format_upload_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from twisted_index.web.pages.layout import Markup


def table(
    heads: Sequence[str | Tag], rows: Iterable[Sequence[Markup]], *, caption: str = "", is_grid: bool = False
) -> Tag:
    """
    Return a table, whose cells stand one below the other where the screen is narrow.

    Args:
        heads: Of its columns; a head may be a `th` itself. Those of numbers stand above them.
        rows: The cells of each row; a cell may be a `td` or `th` itself.
        caption: Says what it is, to those who do not see what stands above it.
        is_grid: Whether its cells say nothing outside their columns: it scrolls by itself instead.
    """
    named = [tags.caption(caption, class_="unseen")] if caption else []
    cells = [[_cell(cell, head) for cell, head in zip(row, heads, strict=True)] for row in rows]
    columns = zip_longest(heads, cells[0] if cells else ())
    head = tags.thead(tags.tr([_head(each, below) for each, below in columns]))
    body = tags.tbody([tags.tr(row) for row in cells])
    return tags.div(
        tags.table(*named, head, body, class_="grid" if is_grid else "stacked"), class_="scroll", tabindex="0"
    )


def _head(content: str | Tag, below: Tag | None) -> Tag:
    if isinstance(content, Tag):
        return content
    if not content:
        # What is no head has to be none for screen readers, too.
        return tags.td()
    head = tags.th(content, scope="col")
    is_number = below is not None and below.attributes.get("class") == "number"
    return head(class_="number") if is_number else head


def _cell(content: Markup, head: str | Tag) -> Tag:
    """Return a cell, which has its head with it for where the table is stacked."""
    is_cell = isinstance(content, Tag) and content.tagName in ("td", "th")
    cell: Tag = content if is_cell else tags.td(content)  # type: ignore[assignment]
    label = "".join(map(str, head.children)) if isinstance(head, Tag) else head
    return cell(**{"data-label": label}) if label and cell.tagName == "td" else cell


def moment(time: datetime) -> Tag:
    """Return a time in UTC, to the minute."""
    return tags.time(f"{time:%Y-%m-%d %H:%M}", datetime=format_upload_time(time))


def command(text: str, label: str = "") -> Tag:
    """
    Return lines to type, with a button that copies them where scripts run.

    Args:
        text: The lines.
        label: What they are for, such as `pip`; empty for none.
    """
    shown = [tags.span(label, class_="label")] if label else []
    # The script shows the button, and says when it has copied.
    button = tags.button(
        "Copy", type="button", class_="copy", hidden="", **{"aria-label": f"Copy {label or 'this'}"}
    )
    return tags.div(*shown, tags.pre(typed(text), tabindex="0"), button, class_="command")


def typed(text: str) -> Tag:
    """
    Return something to type, whose lines go on at its spaces only.

    Browsers would begin a new line in an option or a name, too, after a hyphen: as if a space were there.
    """
    parts = re.split(r"(\s+)", text)
    return tags.code([part if part.isspace() else tags.span(part) for part in parts if part])
