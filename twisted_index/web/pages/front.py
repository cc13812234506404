"""The front page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.web.template import tags

from twisted_index.simple.html_writer import INCOMPLETE
from twisted_index.web.pages.elements import command, counted
from twisted_index.web.pages.layout import html_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.simple.model import ProjectList
    from twisted_index.web.pages.layout import Frame, Markup

#: Names on the page; of more there is a link to the list.
MOST_NAMES = 300


def write_front_page(
    project_list: ProjectList,
    commands: dict[str, str],
    frame: Frame,
    *,
    uploads: bool = False,
    left_out: int | None = None,
    indexes: str | None = None,
) -> bytes:
    """
    Write how to install, how to publish, and the list of projects.

    Args:
        project_list: All projects.
        commands: To type, by the name of the tool.
        frame: What surrounds it.
        uploads: Whether files can be published.
        left_out: Files that are known to be left out; None for a client that may not see which.
        indexes: The URL of the list of indexes; None without one.
    """
    names = project_list.names
    return html_page(
        frame.title,
        tags.h1(frame.title),
        [command(line, tool) for tool, line in commands.items()],
        tags.h2(counted(len(names), "project")),
        tags.p(INCOMPLETE, class_="status") if not project_list.complete else "",
        _projects(project_list, left_out),
        _left_out(left_out or 0),
        tags.p(list(_places(uploads, left_out, indexes))),
        frame=frame,
    )


def _projects(project_list: ProjectList, left_out: int | None) -> Markup:
    names = project_list.names
    if not names:
        return _no_project(left_out)
    if len(names) > MOST_NAMES:
        return tags.p(tags.a("All of them", href="simple/"))
    return tags.ul([tags.li(tags.a(name, href=f"project/{name}/")) for name in names], class_="names")


def _no_project(left_out: int | None) -> Markup:
    if left_out:
        return tags.p("No project in the folder yet.")
    # Files without a project's name are found by the list of problems alone.
    link = tags.a("why one that is there is left out", href="-/problems")
    see = () if left_out is None else (", or see ", link)
    return tags.p("No project in the folder yet: put a wheel into it", *see, ".")


def _left_out(number: int) -> Markup:
    if not number:
        return ""
    files = "1 file is" if number == 1 else f"{number} files are"
    return tags.p(f"{files} left out: ", tags.a("see why", href="-/problems"), ".")


def _places(uploads: bool, left_out: int | None, indexes: str | None) -> Iterator[Markup]:
    yield tags.a("All files", href="packages/")
    if left_out is not None:
        yield [" · ", tags.a("Files left out", href="-/problems")]
        if uploads:
            yield [" · ", tags.a("History", href="-/history")]
    yield [" · ", tags.a("Operations", href="-/")]
    if indexes is not None:
        yield [" · ", tags.a("Indexes", href=indexes)]
