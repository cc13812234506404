"""A page of the audit log as a table and as JSON."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING

from twisted.web.template import tags

from twisted_index.simple.formatting import format_upload_time, one_line
from twisted_index.web.pages.elements import table, typed
from twisted_index.web.pages.layout import html_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.web.template import Tag

    from twisted_index.interfaces import AuditEvent
    from twisted_index.web.pages.layout import Frame, Markup

_TITLE = "History"
_EMPTY = "Nothing has been recorded yet. Files put into the folder by hand are not recorded here."
_NO_MATCH = "Nothing that matches has been recorded."
_HEADS = ("Time (UTC)", "Who", "What", "Project", "File", "More", "Address", "Client")
#: What gives somebody the right to see more.
OPERATOR_COMMAND = "twisted-index token create NAME --operate"
#: The parameters of the form, and what people call them.
FIELDS = {
    "since": "Since",
    "until": "Until",
    "project": "Project",
    "by": "Who",
    "action": "What",
    "limit": "At most",
}


def write_history_json(events: Sequence[AuditEvent], *, next_url: str | None = None, note: str = "") -> bytes:
    """
    Write events as JSON.

    Args:
        events: Written in this order; usually newest first.
        next_url: The URL of the next page, relative to this one; None after the last event.
        note: What a reader has to know; empty for nothing.

    Returns:
        UTF-8. Times are as on project pages: `yyyy-mm-ddThh:mm:ss[.ffffff]Z`.
    """
    document = {"events": [_entry(event) for event in events], "next": next_url}
    if note:
        document["note"] = note
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _entry(event: AuditEvent) -> dict[str, str]:
    return {
        "time": format_upload_time(event.time),
        "by": event.by,
        "action": event.action,
        "project": event.project,
        "filename": event.filename,
        "detail": event.detail,
        **({"index": event.index} if event.index else {}),
        "address": event.address,
        "client": event.client,
    }


def write_history_page(
    events: Sequence[AuditEvent],
    frame: Frame,
    *,
    next_url: str | None = None,
    values: Mapping[str, str] | None = None,
    note: str = "",
) -> bytes:
    """
    Write events as a table, with a form for other queries.

    Args:
        events: As for `write_history_json`.
        frame: What surrounds them.
        next_url: As for `write_history_json`.
        values: The parameters of the URL.
        note: As for `write_history_json`.
    """
    values = values or {}
    rows = (_row(event, frame.root) for event in events)
    empty = tags.p(_NO_MATCH if values else _EMPTY)
    return html_page(
        _TITLE,
        tags.h1(_TITLE),
        tags.p(_note(note), class_="note") if note else "",
        _form(values),
        table(_HEADS, rows, caption="Events") if events else empty,
        tags.p(tags.a("Older", rel="next", href=next_url)) if next_url is not None else "",
        frame=frame,
    )


def _note(note: str) -> Markup:
    before, typed_part, after = note.partition(OPERATOR_COMMAND)
    return [before, typed(typed_part), after] if typed_part else note


def _form(values: Mapping[str, str]) -> Tag:
    # The form is for a first page.
    fields = [
        tags.label(label, tags.input(name=name, value=values.get(name, ""))) for name, label in FIELDS.items()
    ]
    return tags.form(fields, tags.button("Show"), class_="query")


def _row(event: AuditEvent, root: str) -> Sequence[Markup]:
    time = event.time.astimezone(UTC)
    project = event.project
    return (
        tags.time(f"{time:%Y-%m-%d %H:%M:%S}", datetime=format_upload_time(time)),
        one_line(event.by),
        one_line(event.action),
        tags.a(project, href=f"{root}project/{project}/") if project else "",
        tags.code(one_line(event.filename)) if event.filename else "",
        tags.td(one_line(event.detail), class_="long"),
        one_line(event.address),
        one_line(event.client),
    )
