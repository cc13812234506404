"""The front page: what this index is, how to install from it and publish to it, and what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.web.template import tags

from twisted_index.simple.formatting import counted
from twisted_index.simple.html_writer import INCOMPLETE
from twisted_index.web.pages.elements import command, moment
from twisted_index.web.pages.install_commands import (
    default_commands,
    dockerfile_lines,
    install_commands,
    netrc_lines,
    project_commands,
    requirements_lines,
)
from twisted_index.web.pages.layout import GAP, Frame, PageAround, html_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.search.row import ProjectRow
    from twisted_index.simple.model import ProjectList
    from twisted_index.web.pages.layout import Markup

#: Names that are listed; of more there is the number and a link.
MOST_NAMES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontContent:
    """
    What the front page says, of what its visitor may see.

    Attributes:
        index: The name of the index; empty for the one without a name.
        upstreams: Where projects come from that are not here; for people.
        uploads: Whether files can be published.
        anonymous: Whether everyone may publish.
        logs_in: Whether clients have to log in to read.
        left_out: Files that are known to be left out; None for a visitor who may not see which.
        files: How many files the projects have; empty if that is not known.
        newest: What came last, the latest first.
        indexes: The URL of the list of indexes; empty without one.
        has_files: Whether there are configuration files of installers.
    """

    index: str = ""
    upstreams: tuple[str, ...] = ()
    uploads: bool = False
    anonymous: bool = False
    logs_in: bool = False
    left_out: int | None = None
    files: str = ""
    newest: tuple[ProjectRow, ...] = ()
    indexes: str = ""
    has_files: bool = True


def write_front_page(content: FrontContent, projects: ProjectList, frame: Frame) -> PageAround:
    """
    Write the front page around `front_commands`.

    Args:
        content: What it says.
        projects: Those that the visitor may see.
        frame: What surrounds it.
    """
    page = html_page(
        frame.title,
        tags.h1(frame.title),
        tags.p(_lead(content, projects), class_="lead"),
        *([] if projects.complete else [tags.p(INCOMPLETE, class_="status")]),
        _left_out(content.left_out or 0),
        GAP,
        _newest(content.newest) if content.newest else [],
        _projects(content, projects),
        frame=frame,
        links=[_FEED],
    )
    return PageAround.of(page)


def front_commands(content: FrontContent, url: str) -> Markup:
    """
    Return the commands of the front page.

    Args:
        content: What the page says.
        url: Where the index is mounted, as users type it.
    """
    return [_installing(content, url), _publishing(content, url) if content.uploads else []]


_FEED = tags.link(rel="alternate", type="application/atom+xml", title="New releases", href="-/feed.atom")


def _newest(rows: Sequence[ProjectRow]) -> Markup:
    return tags.section(
        tags.h2("Newest releases"),
        tags.ul([_release(row) for row in rows], class_="results newest"),
        tags.p(tags.a("Atom feed of new releases", href="-/feed.atom")),
    )


def _release(row: ProjectRow) -> Markup:
    name = tags.a(row.shown_name or row.name, href=f"project/{row.name}/")
    came = [", ", moment(row.uploaded)] if row.uploaded is not None else []
    about = [tags.strong(name), " ", tags.span(row.version, came, class_="faint")]
    return tags.li(about, tags.p(row.summary) if row.summary else "")


def _lead(content: FrontContent, projects: ProjectList) -> str:
    here = counted(len(projects.names), "project") if projects.names else "No projects"
    files = f" with {content.files}" if projects.names and content.files else ""
    others = " and ".join(content.upstreams)
    rest = f"; other names come from {others}" if others else ", and no upstream for other names"
    return f"{here}{files} here{rest}."


def _left_out(number: int) -> Markup:
    if not number:
        return []
    files = "1 file is" if number == 1 else f"{number:,} files are"
    return tags.p(files, " left out: ", tags.a("see why", href="-/problems"), ".", class_="status")


def _installing(content: FrontContent, url: str) -> Markup:
    commands, always = install_commands(url), default_commands(url)
    in_project = project_commands(url, content.index or "index")
    return tags.section(
        tags.h2("Install from here"),
        _logging_in(url) if content.logs_in else [],
        command(commands.pip, "pip"),
        command(commands.uv, "uv"),
        _more(
            "By default, for all that you install",
            command(always.pip, "pip"),
            command(always.pip_undo, "pip, undo"),
            command(always.uv, "uv"),
            command(always.uv_undo, "uv, undo"),
            _files() if content.has_files else [],
        ),
        _more(
            "In a project: uv, Poetry, PDM",
            command(in_project.uv, "uv"),
            command(in_project.poetry, "Poetry"),
            command(in_project.pdm, "PDM"),
        ),
        _more(
            "In requirements.txt and in a Dockerfile",
            command(requirements_lines(url), "requirements"),
            command(dockerfile_lines(url), "Dockerfile"),
            _secret_of_docker() if content.logs_in else [],
        ),
    )


def _files() -> Markup:
    pip, uv = tags.a("pip.conf", href="pip.conf"), tags.a("uv.toml", href="uv.toml")
    return tags.p("Or save ", pip, " or ", uv, "; each says where.")


def _logging_in(url: str) -> Markup:
    return [
        tags.p(
            "This index asks for a user and a password, or for ",
            tags.code("__token__"),
            " and a token. Write them once into ",
            tags.code("~/.netrc"),
            " (Windows: ",
            tags.code("_netrc"),
            " in the home folder), which pip, uv, Poetry and PDM read:",
        ),
        command(netrc_lines(url), ".netrc"),
    ]


def _secret_of_docker() -> Markup:
    return [
        command("RUN --mount=type=secret,id=netrc NETRC=/run/secrets/netrc pip install NAME", "log in"),
        command('docker build --secret id=netrc,src="$HOME/.netrc" .', "build"),
    ]


def _more(summary: str, *content: Markup) -> Markup:
    return tags.details(tags.summary(summary), *content)


def _publishing(content: FrontContent, url: str) -> Markup:
    commands = install_commands(url, login=not content.anonymous)
    return tags.section(
        tags.h2("Publish here"),
        command(commands.twine, "twine"),
        command(commands.uv_publish, "uv"),
    )


def _projects(content: FrontContent, projects: ProjectList) -> Markup:
    names = projects.names
    all_projects = tags.a(f"All {counted(len(names), 'project')}", href="simple/")
    places = [
        *([all_projects] if names else []),
        tags.a("All files", href="packages/"),
        *([tags.a("Files left out", href="-/problems")] if content.left_out is not None else []),
        *([tags.a("Indexes", href=content.indexes)] if content.indexes else []),
    ]
    return tags.section(
        tags.h2("Projects", id="projects"),
        _names(content, names),
        tags.p([[", " if number else "", place] for number, place in enumerate(places)], class_="faint"),
    )


def _names(content: FrontContent, names: tuple[str, ...]) -> Markup:
    if not names:
        return tags.p(_nothing(content))
    if len(names) > MOST_NAMES:
        return []
    links = [tags.li(tags.a(name, href=f"project/{name}/")) for name in names]
    return tags.ul(*links, class_="names")


def _nothing(content: FrontContent) -> Markup:
    if content.left_out:
        return "No project in the folder yet."
    if content.uploads:
        return "No project yet: publish one, or put a wheel into the folder."
    # Files without a project's name are found by the list of problems alone.
    see = [", or see ", tags.a("why one that is there is left out", href="-/problems")]
    return [
        "No project in the folder yet: put a wheel into it",
        *([] if content.left_out is None else see),
        ".",
    ]
