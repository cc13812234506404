"""What was downloaded since a day, for those who delete what was not. Blocking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.errors import Unavailable
from twisted_index.statistics.rows import UNNAMED

if TYPE_CHECKING:
    from datetime import date

    from twisted_index.statistics.day_files import DayFiles


@dataclass(frozen=True, slots=True)
class Usage:
    """
    Files that were downloaded from any index of a server.

    Attributes:
        files: Projects and names.
    """

    files: frozenset[tuple[str, str]]

    def has(self, project: str, filename: str) -> bool:
        """Return whether a file was downloaded, or may have been: a day may not tell all files apart."""
        return not self.files.isdisjoint({(project, filename), (project, UNNAMED)})


def read_usage(files: DayFiles, since: date) -> Usage:
    """
    Read what was downloaded since a day; a month counts as a whole.

    Raises:
        Unavailable: The statistics do not reach back that far, or cannot tell.
        OSError: They cannot be read.
    """
    periods = files.files()
    if not periods:
        raise Unavailable(f"No downloads were counted: there are no statistics in {files.folder}.")
    first = min(each.last_day for each in periods)
    if first > since:
        raise Unavailable(
            f"The statistics reach back to {first} and not to {since}: earlier downloads are unknown."
        )
    used = {
        row[1:3] for each in periods if each.last_day >= since for row, _downloads in files.read(each.period)
    }
    if not used:
        raise Unavailable(f"Nothing at all was downloaded since {since}: are downloads still counted?")
    if any(project == UNNAMED for project, _file in used):
        raise Unavailable(
            f"The statistics since {since} do not tell all projects apart: more was downloaded in a day than"
            " they have rows for."
        )
    return Usage(frozenset(used))
