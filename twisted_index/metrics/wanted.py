"""
What installers asked for and could not get: projects that are absent, and projects without a file that fits.

Kept in memory alone and bounded; nothing is kept of a client but its Python and its platform.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_index.simple.interpreters import may_install

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from twisted_index.simple.interpreters import Interpreter, Offers

_log = Logger()

#: Projects that are remembered, interpreters of each, and those that are judged for one page.
_MOST_PROJECTS, _MOST_INTERPRETERS, _MOST_JUDGED = 1000, 8, 64
#: Seconds until a project is logged again, and projects that are logged in that time.
_HOUR, _MOST_LOGGED = 3600.0, 100
#: Stands for the further interpreters of a project.
_OTHERS = "others"
#: Offers that a log line names.
_MOST_NAMED = 5


class Lack(enum.Enum):
    """Why an installer got nothing."""

    ABSENT = "absent"
    NO_FILE_FITS = "no_file_fits"


@dataclass(slots=True)
class Tally:
    """
    Requests of one interpreter for one project.

    Attributes:
        count: The requests.
        last: When the last one was, in seconds since the epoch.
        until: From when on a request is noticed (`WantedProjects.notice`) rather than counted here.
    """

    count: int = 0
    last: float = 0.0
    until: float = 0.0


@dataclass(slots=True)
class Askers:
    """
    The installers that asked for one page, as long as the page is the same.

    Attributes:
        offers: What the page has; None for an absent project.
        tallies: What counts the requests of each interpreter.
    """

    offers: Offers | None = None
    tallies: dict[Interpreter, Tally] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedProject:
    """
    A project that some installers could not get.

    Attributes:
        name: Normalized.
        lack: Why.
        offers: What was there; empty if there was no file or no project.
        requests: By the name of an interpreter (`Interpreter.name`).
        last: When the last request was, in seconds since the epoch.
    """

    name: str
    lack: Lack
    offers: tuple[str, ...]
    requests: dict[str, int]
    last: float


@dataclass(slots=True)
class _Entry:
    lack: Lack
    offers: Offers
    log_again: float = 0.0
    tallies: dict[str, Tally] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        return sum(tally.count for tally in self.tallies.values())

    @property
    def last(self) -> float:
        return max(tally.last for tally in self.tallies.values())


class WantedProjects:
    """
    Remembers the projects that installers could not get.

    With too many, those with the fewest requests are forgotten, the oldest of these first: a client that
    invents names pushes out its own.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._forgotten = dict.fromkeys(Lack, 0)
        self._hour_ends = 0.0
        self._logged = 0
        #: Counts for interpreters that may install a file: they need not be noticed again.
        self._fits = Tally(until=math.inf)

    def notice(self, project: str, interpreter: Interpreter, askers: Askers, now: float) -> None:
        """
        Count a request of an installer for a page, and let its next requests be counted by a tally.

        Args:
            project: A normalized name.
            interpreter: From the User-Agent.
            askers: Of the page.
            now: Seconds since the epoch.
        """
        tally = askers.tallies.get(interpreter)
        if tally is None or tally.until <= now:
            offers = askers.offers
            if offers is not None and may_install(offers, interpreter):
                self._forget_served(project, interpreter)
                tally = self._fits
            else:
                lack = Lack.ABSENT if offers is None else Lack.NO_FILE_FITS
                tally = self._tally(project, lack, offers or (), interpreter.name, now)
            if len(askers.tallies) >= _MOST_JUDGED:
                askers.tallies.clear()
            askers.tallies[interpreter] = tally
        tally.count += 1
        tally.last = now

    def _tally(self, project: str, lack: Lack, offers: Offers, name: str, now: float) -> Tally:
        entry = self._entries.get(project)
        if entry is not None and entry.lack is not lack:
            self._forget(project)
            entry = None
        if entry is None:
            if len(self._entries) >= _MOST_PROJECTS:
                self._make_room()
            entry = self._entries[project] = _Entry(lack, offers)
        entry.offers = offers
        if name not in entry.tallies and len(entry.tallies) >= _MOST_INTERPRETERS - 1:
            name = _OTHERS
        tally = entry.tallies.setdefault(name, Tally())
        if entry.log_again <= now:
            entry.log_again = now + _HOUR
            self._log(project, entry, name, now)
        tally.until = entry.log_again
        return tally

    def _forget_served(self, project: str, interpreter: Interpreter) -> None:
        entry = self._entries.get(project)
        if entry is None:
            return
        if entry.lack is Lack.NO_FILE_FITS and len(entry.tallies) > 1:
            served = entry.tallies.pop(interpreter.name, None)
            if served is not None:
                served.until = 0.0
                self._forgotten[entry.lack] += served.count
        elif entry.lack is Lack.ABSENT or interpreter.name in entry.tallies:
            self._forget(project)

    def _make_room(self) -> None:
        """Forget a tenth at once, since sorting for each new name would cost too much."""
        entries = sorted(self._entries.items(), key=lambda item: (item[1].requests, item[1].last))
        for project, _entry in entries[: _MOST_PROJECTS // 10]:
            self._forget(project)

    def _forget(self, project: str) -> None:
        entry = self._entries.pop(project)
        self._forgotten[entry.lack] += entry.requests
        for tally in entry.tallies.values():
            # Pages may still hold it: their next request is noticed.
            tally.until = 0.0

    def _log(self, project: str, entry: _Entry, name: str, now: float) -> None:
        if self._hour_ends <= now:
            self._hour_ends, self._logged = now + _HOUR, 0
        self._logged += 1
        if self._logged > _MOST_LOGGED:
            return
        if entry.lack is Lack.ABSENT:
            _log.info("{project} was asked for ({name}) and is not here.", project=project, name=name)
        else:
            _log.info(
                "{project} has no file for {name}; here: {offers}.",
                project=project,
                name=name,
                offers=summary(tuple(map(str, entry.offers))),
            )
        if self._logged == _MOST_LOGGED:
            _log.info("Further projects that are wanted are not logged for an hour; see /-/wanted.")

    def projects(self) -> list[WantedProject]:
        """Return what is wanted, that with the most requests first."""
        wanted = [
            WantedProject(
                name=name,
                lack=entry.lack,
                offers=tuple(map(str, entry.offers)),
                requests={python: tally.count for python, tally in entry.tallies.items()},
                last=entry.last,
            )
            for name, entry in self._entries.items()
        ]
        return sorted(wanted, key=lambda project: (-sum(project.requests.values()), project.name))

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, see `prometheus_client.registry.Collector`; names of projects are no labels."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        text = "Projects that installers asked for and could not get, as /-/wanted lists them."
        projects = GaugeMetricFamily("twisted_index_wanted_projects", text, labels=["reason"])
        text = "Requests of installers for projects that they could not get."
        requests = CounterMetricFamily("twisted_index_wanted_requests", text, labels=["reason"])
        for lack in Lack:
            entries = [entry for entry in self._entries.values() if entry.lack is lack]
            projects.add_metric([lack.value], len(entries))
            counted = sum(entry.requests for entry in entries)
            requests.add_metric([lack.value], self._forgotten[lack] + counted)
        yield projects
        yield requests


def summary(offers: tuple[str, ...], most: int = _MOST_NAMED) -> str:
    """Name a few offers, and the number of the others."""
    if not offers:
        return "no file that is listed (/-/problems may say why)"
    more = f" and {len(offers) - most} more" if len(offers) > most else ""
    return ", ".join(offers[:most]) + more
