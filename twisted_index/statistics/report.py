"""Sums of the statistics of one index, for those who may read some of its projects. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from twisted_index.statistics.rows import Row


@dataclass(slots=True)
class ProjectCounts:
    """
    The downloads of one project.

    Attributes:
        total: All of them.
        days: By day and by month, as the files are: `YYYY-MM-DD` and `YYYY-MM`.
        installers: By installer.
        pythons: By version of Python.
        systems: By system.
        ci: Those in continuous integration.
    """

    total: int = 0
    days: dict[str, int] = field(default_factory=dict)
    installers: dict[str, int] = field(default_factory=dict)
    pythons: dict[str, int] = field(default_factory=dict)
    systems: dict[str, int] = field(default_factory=dict)
    ci: int = 0

    def copy(self) -> ProjectCounts:
        """Return the same numbers, to which can be added."""
        days, installers, pythons, systems = (
            dict(each) for each in (self.days, self.installers, self.pythons, self.systems)
        )
        return ProjectCounts(self.total, days, installers, pythons, systems, self.ci)

    def add(self, period: str, row: Row, downloads: int) -> None:
        """Add the downloads of a row of a day or month."""
        client = row[3]
        self.total += downloads
        for counts, key in (
            (self.days, period),
            (self.installers, client.installer),
            (self.pythons, client.python),
            (self.systems, client.system),
        ):
            counts[key] = counts.get(key, 0) + downloads
        if client.ci == "yes":
            self.ci += downloads


#: The projects of each index, by its name.
Counts: TypeAlias = "defaultdict[str, defaultdict[str, ProjectCounts]]"


def no_counts() -> Counts:
    """Return what rows are added to."""
    return defaultdict(lambda: defaultdict(ProjectCounts))


def copy_counts(counts: Counts) -> Counts:
    """Return the same counts, to which rows can be added while others read the first."""
    copied = no_counts()
    for index, projects in counts.items():
        copied[index].update((name, each.copy()) for name, each in projects.items())
    return copied


def add_rows(counts: Counts, period: str, rows: Iterable[tuple[Row, int]]) -> None:
    """Add the rows of a day or month."""
    for row, downloads in rows:
        counts[row[0]][row[1]].add(period, row, downloads)


class Report:
    """
    The downloads from one index.

    Args:
        parts: What is summed, by project; of several times.
    """

    def __init__(self, parts: Sequence[Mapping[str, ProjectCounts]]) -> None:
        self._parts = parts

    def names(self) -> list[str]:
        """Return the projects that were downloaded, and `-` for those that are not told apart."""
        return sorted({name for part in self._parts for name in part})

    def downloads_of(self, project: str) -> int:
        """Return all downloads of a project."""
        return sum(counts.total for counts in self._of(project))

    def projects(self, names: Iterable[str]) -> dict[str, int]:
        """Return the downloads of projects: the most first, and by name where they are equal."""
        totals = ((name, self.downloads_of(name)) for name in names)
        return dict(sorted(totals, key=lambda item: (-item[1], item[0])))

    def downloads_since(self, project: str, day: str) -> int:
        """Return the downloads of a project from a day on, `YYYY-MM-DD`, which is not of a folded month."""
        return sum(
            number for counts in self._of(project) for each, number in counts.days.items() if each >= day
        )

    def summary(self, names: Collection[str]) -> ProjectCounts:
        """Sum projects up; the values with the most downloads come first, days in their order."""
        total, ci = 0, 0
        counters: tuple[Counter[str], ...] = (Counter(), Counter(), Counter(), Counter())
        for name in names:
            for each in self._of(name):
                total, ci = total + each.total, ci + each.ci
                for counter, counts in zip(
                    counters, (each.days, each.installers, each.pythons, each.systems), strict=True
                ):
                    for key, number in counts.items():
                        counter[key] += number
        days, *others = counters
        installers, pythons, systems = (dict(counter.most_common()) for counter in others)
        return ProjectCounts(total, dict(sorted(days.items())), installers, pythons, systems, ci)

    def _of(self, project: str) -> list[ProjectCounts]:
        return [part[project] for part in self._parts if project in part]
