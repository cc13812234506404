"""The files that are left out, as JSON and as a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from twisted.web.template import tags

from twisted_index.simple.formatting import counted
from twisted_index.simple.names import InvalidFilename, parse_filename
from twisted_index.web.pages.elements import table
from twisted_index.web.pages.layout import html_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.interfaces import ProblemReport
    from twisted_index.web.pages.layout import Frame, Markup

_TITLE = "Files left out"
#: Rows of the table: people read the first ones, and programs read JSON.
MOST_ROWS = 1000


def write_problems_json(report: ProblemReport) -> bytes:
    """Write the files that are not listed as JSON."""
    document = {
        "complete": report.complete,
        "problems": [
            {"path": problem.path, "reason": problem.reason, "advice": problem.advice}
            for problem in report.problems
        ],
    }
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def write_problems_page(report: ProblemReport, frame: Frame) -> bytes:
    """Write a table of the files that are not listed."""
    return html_page(_TITLE, tags.h1(_TITLE), list(_content(report, frame.root)), frame=frame)


def _content(report: ProblemReport, root: str) -> Iterator[Markup]:
    problems = report.problems
    if problems:
        rows = ((_path(one.path, root), one.reason, one.advice) for one in problems[:MOST_ROWS])
        yield table(("File", "What is wrong", "What to do"), rows, caption=_TITLE)
    elif report.complete:
        yield tags.p("Every distribution file in the folder is listed.")
    if more := len(problems) - MOST_ROWS if len(problems) > MOST_ROWS else 0:
        yield tags.p(f"{counted(more, 'file')} more: this page as JSON has all.")
    if not report.complete:
        yield tags.p("Not every file has been read yet. Reload in a moment.")


def _path(path: str, root: str) -> Markup:
    """Link a file of a project to what says more about it."""
    try:
        project = parse_filename(path.rpartition("/")[2]).project
    except InvalidFilename:
        return tags.code(path)
    return tags.a(tags.code(path), href=f"{root}-/why/{project}")
