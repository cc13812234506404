"""What installers asked for and could not get, as text, HTML and JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted.web.template import tags

from twisted_index.metrics.wanted import Lack, summary
from twisted_index.simple.formatting import format_upload_time
from twisted_index.web.pages.elements import moment, table
from twisted_index.web.pages.layout import html_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.metrics.wanted import WantedProject
    from twisted_index.web.pages.layout import Frame, Markup

_EMPTY = "Every installer found what it asked for."
_NOTE = "Requests since the server started. Files that are there, but left out, are at /-/problems."


def write_wanted_text(projects: Sequence[WantedProject]) -> bytes:
    """Write a line for each project."""
    lines = [f"{_minute(each)}  {each.name}: {_requests(each)}; {_reason(each)}" for each in projects]
    return "\n".join([*(lines or [_EMPTY]), _NOTE, ""]).encode("utf-8")


def write_wanted_json(projects: Sequence[WantedProject]) -> bytes:
    """Write JSON; times are as on project pages: `yyyy-mm-ddThh:mm:ssZ`."""
    document = {
        "wanted": [
            {
                "project": each.name,
                "reason": each.lack.value,
                "requests": each.requests,
                "last": format_upload_time(_moment(each)),
                "offers": each.offers,
            }
            for each in projects
        ]
    }
    return json.dumps(document).encode("ascii") + b"\n"


def write_wanted_page(projects: Sequence[WantedProject], frame: Frame, *, sees_problems: bool) -> bytes:
    """
    Write a table.

    Args:
        projects: What is wanted.
        frame: What surrounds it.
        sees_problems: Whether the client may see the files that are left out.
    """
    heads = ("Last (UTC)", "Project", "Requests", "Why it got no file")
    rows = [_row(each, frame) for each in projects]
    shown = table(heads, rows, caption="Wanted projects") if rows else tags.p(_EMPTY)
    what = "What installers asked for and could not get since the server started."
    problems = [" See also the ", tags.a("files left out", href=f"{frame.root}-/problems"), "."]
    note = tags.p(what, problems if sees_problems else [], class_="note")
    title = "Wanted"
    return html_page(title, tags.h1(title), note, shown, frame=frame)


def _row(project: WantedProject, frame: Frame) -> Sequence[Markup]:
    name = tags.a(tags.code(project.name), href=f"{frame.root}-/why/{project.name}")
    return (moment(_moment(project)), name, _requests(project), _reason(project))


def _requests(project: WantedProject) -> str:
    """Name the interpreters with their requests."""
    ordered = sorted(project.requests.items(), key=lambda item: -item[1])
    return ", ".join(f"{number} × {name}" for name, number in ordered)


def _reason(project: WantedProject) -> str:
    if project.lack is Lack.ABSENT:
        return "not here"
    return f"no file fits; here: {summary(project.offers)}"


def _moment(project: WantedProject) -> datetime:
    return datetime.fromtimestamp(int(project.last), UTC)


def _minute(project: WantedProject) -> str:
    return f"{_moment(project):%Y-%m-%d %H:%M}"
