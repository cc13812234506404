"""The page of a project for people: of its latest release, or of one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from twisted.web.template import Tag, tags

from twisted_index.simple.formatting import counted, offered_files, offered_versions, one_line, yank_reason
from twisted_index.simple.model import Status
from twisted_index.simple.names import canonical_version, is_prerelease
from twisted_index.web.pages.clean_html import LINK_RELATION, safe_link, unturned
from twisted_index.web.pages.description import description_markup
from twisted_index.web.pages.elements import command, moment, table
from twisted_index.web.pages.install_commands import install_commands
from twisted_index.web.pages.layout import GAP, PageAround, html_page
from twisted_index.web.pages.project_files import files_table, grid_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Set

    from twisted_index.simple.model import File, ProjectPage
    from twisted_index.simple.release_facts import ReleaseFacts, RequiredProject
    from twisted_index.web.pages.layout import Frame, Markup

#: Releases in the history, until all are asked for; then on each page of it.
MOST_SHOWN_RELEASES, RELEASES_A_PAGE = 100, 1000
#: Projects that require this one.
MOST_REQUIRING = 100
_NOT_RENDERED = "This is its text: it is not rendered yet. Reload in a moment."
_STATUSES = {
    Status.ARCHIVED: "This project is archived: no more releases are expected.",
    Status.DEPRECATED: "This project is deprecated.",
    Status.QUARANTINED: "This project is quarantined: none of its files can be installed.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownProject:
    """
    What a page shows.

    Attributes:
        page: The files and versions.
        version: The release, as the page spells it; empty if the project has none.
        latest: The release of the page without a version.
        chosen: Whether the URL names the release.
        facts: What its metadata say.
        description: Its source; empty without one.
        html: From `rendered_html`; None if it is not rendered yet.
        unread: Why the metadata are not there, as a sentence; empty if they are.
        linked: Names of requirements that have a page here which the visitor may read.
        absent: Names of those that are not here and can come from no upstream.
        required_by: Projects here that need this one and that the visitor may read, normalized.
        source: Where the project comes from, as a clause after "comes from"; empty if that is this index.
        history: Which page of the whole history is shown, from 1; 0 for the latest releases only.
        left_out: The version of each file that is refused or cannot be read.
    """

    page: ProjectPage
    version: str
    latest: str
    chosen: bool
    facts: ReleaseFacts
    description: str
    html: str | None
    unread: str
    linked: Set[str]
    absent: Set[str]
    required_by: Sequence[str]
    source: str
    history: int
    left_out: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class WrittenPage:
    """
    A page without the lines that install the project, which are not the same for all visitors.

    Attributes:
        rest: What is the same.
        requirement: What they install; empty for nothing.
    """

    rest: PageAround
    requirement: str

    def __len__(self) -> int:
        """Return its bytes."""
        return len(self.rest.before) + len(self.rest.after)

    def at(self, url: str) -> bytes:
        """Return the whole page for a visitor who reached the index at a URL."""
        return self.rest.around(_install(url, self.requirement) if self.requirement else [])


def write_project_page(shown: ShownProject, frame: Frame, file_url: Callable[[File], str]) -> WrittenPage:
    """
    Write the page.

    Args:
        shown: What is on it.
        frame: What surrounds it.
        file_url: Returns the relative URL of a file.
    """
    page, facts = shown.page, shown.facts
    files = [file for file in offered_files(page) if _same(file.version, shown.version)]
    title = f"{facts.name} {shown.version}" if shown.version else facts.name
    page_bytes = html_page(
        title,
        tags.h1(facts.name, " ", tags.span(shown.version, class_="version")),
        [tags.p(unturned(facts.summary), class_="lead")] if facts.summary else [],
        _key_facts(shown, files),
        _notes(shown, files, frame.root),
        GAP,
        _contents(shown, files),
        tags.div(
            tags.div(_description(shown), grid_table(files) if files else [], class_="content"),
            tags.aside(_about(shown, frame), class_="about", **{"aria-label": "About"}),
            class_="columns",
        ),
        _files(files, file_url),
        _history(shown, frame.root),
        frame=frame,
        links=[_feed_link(page.name, frame.root)],
    )
    return WrittenPage(PageAround.of(page_bytes), _requirement_of(shown) if files else "")


def _feed_link(project: str, root: str) -> Tag:
    title, url = f"New releases of {project}", _feed_url(project, root)
    return tags.link(rel="alternate", type="application/atom+xml", title=title, href=url)


def _feed_url(project: str, root: str) -> str:
    return f"{root}-/feed.atom?project={project}"


def write_no_release(
    project: str, version: str, versions: Sequence[str], frame: Frame, left_out: int = 0
) -> bytes:
    """
    Write the page for a version that a project does not have.

    Args:
        project: A normalized name.
        version: As in the URL.
        versions: Those that it has, ascending.
        frame: What surrounds it.
        left_out: How many files of the version are known.
    """
    why = quote(f"{project}=={version}", safe="=")
    latest_first = list(reversed(versions))[:MOST_SHOWN_RELEASES]
    links = [tags.li(tags.a(each, href=_release_url(frame.root, project, each))) for each in latest_first]
    return html_page(
        f"{project} has no release {version}",
        tags.h1(f"{project} has no release {version}"),
        _left_out(left_out, why, frame.root),
        tags.p("These are here:") if links else tags.p("The project has no releases here."),
        tags.ul(links, class_="names"),
        tags.p(tags.a(f"All about {project}", href=f"{frame.root}project/{project}/")),
        frame=frame,
    )


def _same(one: str, other: str) -> bool:
    return one == other or canonical_version(one) == canonical_version(other)


def _release_url(root: str, project: str, version: str) -> str:
    return f"{root}project/{project}/{quote(version, safe='')}/"


# -- Above the columns


def _key_facts(shown: ShownProject, files: Sequence[File]) -> Markup:
    """Say what decides whether it can be used, in one line, which small screens show first too."""
    python = shown.facts.requires_python or next((f.requires_python for f in files if f.requires_python), "")
    uploaded = min((file.upload_time for file in files if file.upload_time is not None), default=None)
    releases = len(offered_versions(shown.page))
    entries: list[Markup] = []
    if uploaded is not None:
        entries.append(["Uploaded ", moment(uploaded)])
    if python:
        entries.append(["Python ", tags.span(unturned(one_line(python)), class_="value")])
    if releases > 1 and _same(shown.version, shown.latest):
        entries.append(tags.a(f"Latest of {releases:,} releases", href="#history"))
    return tags.ul((tags.li(entry) for entry in entries), class_="facts") if entries else []


def _notes(shown: ShownProject, files: Sequence[File], root: str) -> Markup:
    page = shown.page
    notes: list[list[Markup]] = []
    if page.status.status in _STATUSES:
        notes.append(_with_reason(_STATUSES[page.status.status], page.status.reason))
    if files and all(file.yanked is not None for file in files):
        reason = next(filter(None, map(yank_reason, files)), "")
        about = "This release is yanked: installers take it only where its exact version is named."
        notes.append(_with_reason(about, reason))
    if not page.files and page.status.status is not Status.QUARANTINED:
        notes.append(["This project has no files here."])
    elif not files and shown.version:
        notes.append(["This release has no files here."])
    latest: list[Markup] = []
    if shown.chosen and shown.latest and not _same(shown.version, shown.latest):
        link = tags.a(shown.latest, href=f"{root}project/{page.name}/")
        latest.append(tags.p("The latest release is ", link, ".", class_="note"))
    versions = {canonical_version(version) for version in shown.left_out}
    what = f"{page.name}=={quote(shown.left_out[0], safe='')}" if len(versions) == 1 else page.name
    left_out = _left_out(len(shown.left_out), what, root)
    return [[tags.p(note, class_="status") for note in notes], left_out, latest]


def _left_out(number: int, what: str, root: str) -> Markup:
    if not number:
        return []
    files = "1 file is" if number == 1 else f"{number:,} files are"
    return tags.p(f"{files} left out: ", tags.a("see why", href=f"{root}-/why/{what}"), ".", class_="status")


def _with_reason(sentence: str, reason: str) -> list[Markup]:
    reason = unturned(one_line(reason))
    return [sentence, *([f" The reason given: {reason}"] if reason else [])]


def _requirement_of(shown: ShownProject) -> str:
    exact = shown.chosen or all(file.yanked is not None for file in shown.page.files)
    return f"{shown.page.name}=={shown.version}" if exact else shown.page.name


def _install(url: str, requirement: str) -> Markup:
    lines = install_commands(url, requirement)
    return tags.section(
        tags.h2("Install", class_="unseen"),
        command(lines.pip, "pip"),
        command(lines.uv, "uv"),
        class_="install",
    )


def _contents(shown: ShownProject, files: Sequence[File]) -> Markup:
    """Link the parts of the page, since a description may be long."""
    parts = [("description", "Description")] if shown.description else []
    parts += [("requires", "Requires")] if shown.facts.requirements else []
    parts += [("required-by", "Required by")] if shown.required_by else []
    parts += [("wheels", "Wheels"), ("files", "Files")] if files else []
    parts += [("history", "Release history")] if offered_versions(shown.page) else []
    links = [tags.li(tags.a(name, href=f"#{part}")) for part, name in parts]
    if len(links) < 2:
        return []
    return tags.nav(tags.ul(links), class_="contents", **{"aria-label": "On this page"})


# -- The wide parts


def _description(shown: ShownProject) -> Markup:
    if not shown.version:
        return []
    if shown.description:
        # It begins with a heading of its own, as a rule.
        heading = tags.h2("Description", id="description", class_="unseen")
        note = tags.p(_NOT_RENDERED, class_="note") if shown.html is None else ""
        return [heading, note, description_markup(shown.description, shown.html)]
    if shown.unread:
        return [tags.h2("Description", id="description"), tags.p(shown.unread, class_="note")]
    return tags.p("This release has no description.", class_="note")


def _files(files: Sequence[File], file_url: Callable[[File], str]) -> Markup:
    if not files:
        return []
    return [
        tags.h2("Files", id="files"),
        files_table(files, file_url),
    ]


def _history(shown: ShownProject, root: str) -> Markup:
    page = shown.page
    versions = list(reversed(offered_versions(page)))
    if not versions:
        return []
    kept = versions[_part(shown.history)] if shown.history else versions[:MOST_SHOWN_RELEASES]
    releases: dict[str, list[File]] = {}
    for file in offered_files(page):
        releases.setdefault(canonical_version(file.version), []).append(file)
    files_of = [releases.get(canonical_version(version), []) for version in kept]
    latest = shown.latest if len(versions) > 1 else ""
    rows = [
        _release(each, files, page.name, root, is_latest=each == latest)
        for each, files in zip(kept, files_of, strict=True)
    ]
    return [
        tags.h2("Release history", id="history"),
        table(("Version", "Uploaded", "Files", ""), rows, caption="Releases"),
        tags.p(_other_releases(shown, len(versions), root)) if len(kept) < len(versions) else [],
    ]


def history_pages(page: ProjectPage) -> int:
    """Return how many pages the whole history of a project has."""
    return max(1, math.ceil(len(offered_versions(page)) / RELEASES_A_PAGE))


def _part(number: int) -> slice:
    return slice((number - 1) * RELEASES_A_PAGE, number * RELEASES_A_PAGE)


def _other_releases(shown: ShownProject, number: int, root: str) -> Markup:
    """Lead to the whole history; on a page of that, to the others."""
    project = shown.page.name
    here = _release_url(root, project, shown.version) if shown.chosen else f"{root}project/{project}/"
    if not shown.history:
        return tags.a(f"All {counted(number, 'release')}", href=f"{here}?versions=all#history")
    links: list[Markup] = ["From the latest: "]
    for each in range(1, history_pages(shown.page) + 1):
        part = range(number)[_part(each)]
        label, url = f"{part[0] + 1:,}–{part[-1] + 1:,}", f"{here}?versions=all&page={each}#history"
        links += [tags.strong(label) if each == shown.history else tags.a(label, href=url), " "]
    return links


def _release(
    version: str, files: Sequence[File], project: str, root: str, *, is_latest: bool
) -> Sequence[Markup]:
    first = min((file.upload_time for file in files if file.upload_time is not None), default=None)
    yanks = [reason for reason in map(yank_reason, files) if reason is not None]
    marks = ["latest"] * is_latest + ["pre-release"] * is_prerelease(version)
    notes: list[Markup] = [[tags.span(mark, class_="tag"), " "] for mark in marks]
    if yanks:
        part = "Yanked" if len(yanks) == len(files) else f"{len(yanks)} of them yanked"
        reason = unturned(next(filter(None, yanks), ""))
        notes.append(tags.span(f"{part}: {reason}" if reason else part, class_="yanked"))
    return (
        tags.th(tags.a(version, href=_release_url(root, project, version)), scope="row"),
        moment(first) if first is not None else "",
        tags.td(str(len(files)), class_="number"),
        notes,
    )


# -- The narrow column


def _about(shown: ShownProject, frame: Frame) -> Markup:
    page, facts, root = shown.page, shown.facts, frame.root
    entries: list[tuple[str, Markup]] = []
    if facts.license:
        entries.append(("License", unturned(facts.license)))
    entries += [(role, unturned(name)) for role, name in facts.people]
    if shown.source:
        entries.append(("Comes from", shown.source))
    return [
        [tags.h2("About"), tags.dl([[tags.dt(term), tags.dd(value)] for term, value in entries])]
        if entries
        else [],
        _links(facts),
        _requirements(shown, root),
        _required_by(shown, root),
        _keywords(facts.keywords),
        _classifiers(facts.classifiers),
        tags.h2("More about it"),
        tags.ul(
            tags.li(tags.a("Simple API page", href=f"{root}simple/{page.name}/")),
            tags.li(tags.a("Why are these files listed?", href=f"{root}-/why/{page.name}")),
            tags.li(tags.a("As JSON", href=f"{root}pypi/{page.name}/json")),
            tags.li(tags.a("Feed", href=_feed_url(page.name, root))),
            [tags.li(tags.a("Downloads", href=f"{root}-/stats?project={page.name}"))]
            if frame.counted
            else [],
            class_="plain",
        ),
    ]


def _links(facts: ReleaseFacts) -> Markup:
    urls = [(label, safe_link(url)) for label, url in facts.urls]
    links = [
        tags.li(tags.a(unturned(label) or url, href=url, rel=LINK_RELATION))
        for label, url in urls
        if url is not None and url.lower().startswith("http")
    ]
    return [tags.h2("Links"), tags.ul(links, class_="plain")] if links else []


def _requirements(shown: ShownProject, root: str) -> Markup:
    groups = shown.facts.requirements
    if not groups:
        return []
    parts: list[Markup] = [tags.h2("Requires", id="requires")]
    for extra, those in groups.items():
        listed = tags.ul((_requirement(each, shown, root) for each in those), class_="plain")
        if extra:
            summary = tags.summary("With the extra ", tags.code(unturned(extra)), f" ({len(those)})")
            listed = tags.details(summary, listed)
        parts.append(listed)
    if shown.facts.left_out:
        parts.append(tags.p(f"{counted(shown.facts.left_out, 'more')} are not shown.", class_="note"))
    return parts


def _requirement(each: RequiredProject, here: ShownProject, root: str) -> Tag:
    name = unturned(each.name)
    shown: Markup = name
    if each.project in here.linked:
        shown = tags.a(name, href=f"{root}project/{each.project}/")
    rest = f" {unturned(each.rest)}" if each.rest else ""
    rest += " (not here)" if each.project in here.absent else ""
    return tags.li(shown, tags.span(rest, class_="faint"))


def _required_by(shown: ShownProject, root: str) -> Markup:
    if not shown.required_by:
        return []
    kept, more = shown.required_by[:MOST_REQUIRING], len(shown.required_by) - MOST_REQUIRING
    links = [tags.li(tags.a(name, href=f"{root}project/{name}/")) for name in kept]
    rest = [tags.p(f"and {counted(more, 'more project')}", class_="note")] if more > 0 else []
    return [tags.h2("Required by", id="required-by"), tags.ul(links, class_="plain"), rest]


def _classifiers(classifiers: Sequence[str]) -> Markup:
    if not classifiers:
        return []
    items = [tags.li(unturned(each)) for each in classifiers]
    # They are many and repeat what stands above, so they do not push it away.
    return tags.details(tags.summary(tags.h2("Classifiers")), tags.ul(items, class_="plain"))


def _keywords(keywords: Sequence[str]) -> Markup:
    return [tags.h2("Keywords"), tags.p(", ".join(map(unturned, keywords)))] if keywords else []
