"""A page of the audit log as a table and as JSON."""

from __future__ import annotations

import json
from datetime import UTC
from html import escape
from typing import TYPE_CHECKING

from twisted_index.simple.formatting import format_upload_time, one_line
from twisted_index.web.responses.html_layout import render_page
from twisted_index.web.views.audit_query import PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted_index.interfaces import AuditEvent

_EMPTY = "<p>Nothing has been recorded yet. Files put into the folder by hand are not recorded here.</p>\n"
_NO_MATCH = "<p>Nothing that matches has been recorded.</p>\n"
_HEADS = ("Time (UTC)", "Who", "What", "Project", "File", "More", "Address", "Client")


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
    *,
    next_url: str | None = None,
    values: Mapping[str, str] | None = None,
    note: str = "",
) -> bytes:
    """
    Write events as a table, with a form for other queries.

    Args:
        events: As for `write_history_json`.
        next_url: As for `write_history_json`.
        values: The parameters of the URL.
        note: As for `write_history_json`.
    """
    values = values or {}
    rows = "\n".join(map(_row, events))
    heads = "".join(f"<th>{head}</th>" for head in _HEADS)
    empty = _NO_MATCH if values else _EMPTY
    table = f"<table>\n<tr>{heads}</tr>\n{rows}\n</table>\n" if events else empty
    older = f'<p><a rel="next" href="{escape(next_url)}">Older</a></p>\n' if next_url is not None else ""
    said = f"<p>{escape(note)}</p>\n" if note else ""
    return render_page("History", f"<h1>History</h1>\n{said}{_form(values)}{table}{older}")


def _form(values: Mapping[str, str]) -> str:
    # The form is for a first page.
    fields = " ".join(
        f'<label>{name} <input name="{name}" value="{escape(values.get(name, ""))}" size="10"></label>'
        for name in PARAMETERS
        if name != "before"
    )
    return f"<form>{fields} <button>Show</button></form>\n"


def _row(event: AuditEvent) -> str:
    moment = event.time.astimezone(UTC)
    time = f'<time datetime="{format_upload_time(moment)}">{moment:%Y-%m-%d %H:%M:%S}</time>'
    # The page is below `/-/`; the index is mounted one level up.
    project = escape(event.project)
    link = f'<a href="../project/{project}/">{project}</a>' if event.project else ""
    cells = (
        time,
        _text(event.by),
        _text(event.action),
        link,
        f"<code>{_text(event.filename)}</code>" if event.filename else "",
        _text(event.detail),
        _text(event.address),
        _text(event.client),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _text(text: str) -> str:
    """Escape free text: no markup, and no bidirectional control characters."""
    return escape(one_line(text))
