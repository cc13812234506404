"""The front page, and the list of problems."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING

from twisted_index.simple.html_writer import INCOMPLETE
from twisted_index.web.responses.html_layout import render_page
from twisted_index.web.views.install_commands import install_commands

if TYPE_CHECKING:
    from twisted_index.interfaces import ProblemReport
    from twisted_index.simple.model import ProjectList


def front_page(
    project_list: ProjectList,
    url: str,
    *,
    uploads: bool = False,
    left_out: int | None = None,
    heading: str,
    indexes: str | None = None,
) -> bytes:
    """
    Write the front page: how to install, how to publish, and the list of projects.

    Args:
        project_list: All projects.
        url: Where the index is mounted, as users type it.
        uploads: Whether files can be published.
        left_out: Files that are known to be left out; None for a client that may not see which.
        heading: Of the page.
        indexes: The URL of the list of indexes; None without one.
    """
    lines = install_commands(url)
    usage = "\n".join([lines.pip, lines.uv, *([lines.twine] if uploads else [])])
    history = ' · <a href="-/history">History</a>' if uploads else ""
    more = "" if left_out is None else f' · <a href="-/problems">Files left out</a>{history}'
    names = project_list.names
    links = "\n".join(f'<li><a href="simple/{name}/">{name}</a></li>' for name in names)
    complete = "" if project_list.complete else f"<p>{INCOMPLETE}</p>\n"
    listed = f"<ul>\n{links}\n</ul>\n" if names else _no_project(left_out)
    others = "" if indexes is None else f' · <a href="{indexes}">Indexes</a>'
    return render_page(
        heading,
        f"<h1>{escape(heading)}</h1>\n"
        f"<pre>{escape(usage)}</pre>\n"
        f"<h2>{len(names)} project{'' if len(names) == 1 else 's'}</h2>\n{complete}{listed}"
        f"{_left_out(left_out or 0)}"
        f'<p><a href="packages/">All files</a>{more} · <a href="-/">Operations</a>{others}</p>\n',
    )


def _no_project(left_out: int | None) -> str:
    if left_out:
        return "<p>No project in the folder yet.</p>\n"
    # Files without a project's name are found by the list of problems alone.
    see = "" if left_out is None else ', or see <a href="-/problems">why one that is there is left out</a>'
    return f"<p>No project in the folder yet: put a wheel into it{see}.</p>\n"


def _left_out(number: int) -> str:
    if not number:
        return ""
    files = "1 file is" if number == 1 else f"{number} files are"
    return f'<p>{files} left out: <a href="-/problems">see why</a>.</p>\n'


def problems_page(report: ProblemReport) -> bytes:
    """Write the table of files that are not listed."""
    rows = "\n".join(
        f"<tr><td><code>{escape(problem.path)}</code></td><td>{escape(problem.reason)}</td>"
        f"<td>{escape(problem.advice)}</td></tr>"
        for problem in report.problems
    )
    table = (
        f"<table>\n<tr><th>File</th><th>What is wrong</th><th>What to do</th></tr>\n{rows}\n</table>\n"
        if report.problems
        else "<p>Every distribution file in the folder is listed.</p>\n"
        if report.complete
        else ""
    )
    rest = "" if report.complete else "<p>Not every file has been read yet. Reload in a moment.</p>\n"
    return render_page("Files left out", f"<h1>Files left out</h1>\n{table}{rest}")


def problems_json(report: ProblemReport) -> bytes:
    """Write the files that are not listed as JSON."""
    document = {
        "complete": report.complete,
        "problems": [
            {"path": problem.path, "reason": problem.reason, "advice": problem.advice}
            for problem in report.problems
        ],
    }
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
