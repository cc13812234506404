"""The pages of the statistics: of an index, and of one project."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from twisted.web.template import tags

from twisted_index.simple.formatting import counted
from twisted_index.simple.names import InvalidFilename, parse_filename, version_sort_key
from twisted_index.web.pages.elements import table
from twisted_index.web.pages.layout import html_page
from twisted_index.web.pages.plot import plot_days
from twisted_index.web.pages.server_numbers import write_server_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.web.template import Tag

    from twisted_index.statistics.report import ProjectCounts
    from twisted_index.web.pages.layout import Frame, Markup
    from twisted_index.web.pages.server_numbers import ServerNumbers

#: Days that are plotted: at most, and however short the time is that was counted.
PLOTTED_DAYS, FEWEST_DAYS = 90, 14
_HEADING = "Downloads"
_NUMBER, _RECENT, _SHARE = (
    tags.th(text, scope="col", class_="number") for text in ("Downloads", "Last 30 days", "Share")
)
_WHAT_COUNTS = (
    "A download is a file that was sent to its end. Nothing is kept of who took it but the installer, its"
    " Python, its system, and whether it runs in continuous integration."
)


def write_statistics_page(
    projects: Sequence[tuple[str, int, int]],
    counts: ProjectCounts,
    *,
    number: int,
    today: date,
    notes: Sequence[str],
    server: ServerNumbers | None = None,
    frame: Frame,
) -> bytes:
    """
    Write the page of an index.

    Args:
        projects: Those with the most downloads: name, downloads, and those of the last 30 days.
        counts: Of all projects that the client may read.
        number: How many these are.
        today: The day, in UTC.
        notes: Sentences: since when is counted, what keeps it from being kept.
        server: Numbers of the server as a whole; None for those who do not operate it.
        frame: What surrounds it.
    """
    rows = [
        (
            tags.th(tags.a(name, href=f"{frame.root}-/stats?project={name}"), scope="row"),
            _number(total),
            _number(recent),
        )
        for name, total, recent in projects
    ]
    top = [
        tags.h2("Projects"),
        *_only_the_first(len(rows), number),
        table(("Project", _NUMBER, _RECENT), rows, caption="Projects with the most downloads"),
    ]
    return html_page(
        _HEADING,
        tags.h1(_HEADING),
        *_overview(counts, today, notes),
        *(top if rows else ()),
        *_shares(counts),
        *(() if server is None else write_server_numbers(server)),
        tags.p(_WHAT_COUNTS, class_="note"),
        frame=frame,
    )


def write_project_statistics(
    name: str,
    files: Mapping[str, Mapping[str, int]],
    counts: ProjectCounts,
    *,
    today: date,
    notes: Sequence[str],
    frame: Frame,
) -> bytes:
    """
    Write the page of a project.

    Args:
        name: Normalized.
        files: Its downloads by file, and then by day or month.
        counts: Of the project.
        today: The day, in UTC.
        notes: As for `write_statistics_page`.
        frame: What surrounds it.
    """
    heading = f"{_HEADING} of {name}"
    totals = {file: sum(days.values()) for file, days in files.items()}
    return html_page(
        heading,
        tags.h1(heading),
        tags.p(tags.a(f"The project {name}", href=f"{frame.root}project/{name}/")),
        *_overview(counts, today, notes),
        *(_by_version(name, totals) if totals else ()),
        *_shares(counts),
        frame=frame,
    )


def _overview(counts: ProjectCounts, today: date, notes: Sequence[str]) -> list[Markup]:
    numbers = [(day, counts.days.get(day.isoformat(), 0)) for day in _plotted(counts, today)]
    lately = sum(number for _day, number in numbers)
    shown: list[Markup] = [tags.p(f"{counted(counts.total, 'download')} in all.", class_="lead")]
    if lately:
        most, most_day = max((number, day) for day, number in numbers)
        description = f"{counted(lately, 'download')} in all of them; the most on {most_day}: {most:,}."
        shown += [
            tags.h2(f"The last {len(numbers)} days"),
            plot_days("Downloads a day", description, numbers),
            _as_table(counts),
        ]
    return [*shown, *(tags.p(note, class_="note") for note in notes)]


def _plotted(counts: ProjectCounts, today: date) -> list[date]:
    """Return the last days, from the first that has a download."""
    days = [today - timedelta(days=back) for back in reversed(range(PLOTTED_DAYS))]
    first = min(counts.days, default="")
    return [day for day in days[:-FEWEST_DAYS] if day.isoformat() >= first] + days[-FEWEST_DAYS:]


def _as_table(counts: ProjectCounts) -> Tag:
    rows = [(tags.th(day, scope="row"), _number(number)) for day, number in reversed(counts.days.items())]
    return tags.details(
        tags.summary("As a table"), table(("Day or month", _NUMBER), rows, caption="Downloads by day")
    )


def _by_version(name: str, totals: Mapping[str, int]) -> list[Markup]:
    versions: dict[str, list[str]] = {}
    for file in totals:
        versions.setdefault(_version(name, file), []).append(file)
    ordered = sorted(versions, key=lambda version: (version != "", version_sort_key(version)), reverse=True)
    rows = [
        (
            tags.th(version or "others", scope="row"),
            _number(sum(totals[file] for file in versions[version])),
            [
                tags.div(f"{file} ", tags.span(f"{totals[file]:,}", class_="faint"))
                for file in sorted(versions[version], key=lambda file: (-totals[file], file))
            ],
        )
        for version in ordered
    ]
    return [tags.h2("Versions"), table(("Version", _NUMBER, "Files"), rows, caption="Downloads by version")]


def _version(name: str, file: str) -> str:
    """Return the version of a file; empty for what stands for files that are not told apart."""
    try:
        return parse_filename(file, name).version
    except InvalidFilename:
        return ""


def _shares(counts: ProjectCounts) -> list[Markup]:
    if not counts.total:
        return []
    return [
        _share("Installers", "Installer", counts.installers, counts.total),
        _share("Python", "Python", counts.pythons, counts.total),
        _share("Systems", "System", counts.systems, counts.total),
        tags.p(f"{counts.ci:,} of them in continuous integration, as far as installers say so."),
    ]


def _share(heading: str, column: str, numbers: Mapping[str, int], total: int) -> list[Markup]:
    rows = [
        (tags.th(name, scope="row"), _number(number), tags.td(f"{number / total:.1%}", class_="number"))
        for name, number in numbers.items()
    ]
    return [tags.h2(heading), table((column, _NUMBER, _SHARE), rows, caption=f"Downloads by {column}")]


def _number(number: int) -> Tag:
    return tags.td(f"{number:,}", class_="number")


def _only_the_first(shown: int, number: int) -> list[Markup]:
    if shown == number:
        return []
    return [tags.p(f"The first {shown} of {number:,}; the same page as JSON has all.", class_="faint")]
