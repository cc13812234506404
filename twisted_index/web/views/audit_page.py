"""The audit log as a table and as JSON."""

from __future__ import annotations

import json
from datetime import UTC
from html import escape
from typing import TYPE_CHECKING

from twisted_index.simple.formatting import format_upload_time, one_line
from twisted_index.web.responses.html_layout import render_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.interfaces import AuditEvent

_EMPTY = "<p>Nothing has been recorded yet. Files put into the folder by hand are not recorded here.</p>\n"


def write_history_json(events: Sequence[AuditEvent]) -> bytes:
    """
    Write events as JSON.

    Args:
        events: Written in this order; usually newest first.

    Returns:
        UTF-8. Times are as on project pages: `yyyy-mm-ddThh:mm:ss[.ffffff]Z`.
    """
    document = {"events": [_entry(event) for event in events]}
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
    }


def write_history_page(events: Sequence[AuditEvent]) -> bytes:
    """
    Write events as a table.

    Args:
        events: As for `write_history_json`.
    """
    rows = "\n".join(map(_row, events))
    heads = "".join(f"<th>{head}</th>" for head in ("Time (UTC)", "Who", "What", "Project", "File", "More"))
    table = f"<table>\n<tr>{heads}</tr>\n{rows}\n</table>\n" if events else _EMPTY
    return render_page("History", f"<h1>History</h1>\n{table}")


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
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _text(text: str) -> str:
    """Escape free text: no markup, and no bidirectional control characters."""
    return escape(one_line(text))
