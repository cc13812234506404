"""What the directory of projects knows of one project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

#: Releases that are known of a project.
MOST_RELEASES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRow:
    """
    A project, as its latest release describes it. Of a project that has not been read only the name is known.

    Attributes:
        name: Normalized.
        shown_name: As its authors spell it.
        version: The release that represents it (`simple.legacy_json.latest_version`); empty if unknown.
        summary: One line; empty if unknown.
        keywords: Separated by spaces.
        import_names: What Python imports it by: packages and modules, of namespace packages with dots.
        requires: Normalized names of what it needs, without extras.
        uploaded: When the newest file of that release came; None if unknown.
        releases: The latest releases with the time of their newest file; see `legacy_json.latest_releases`.
        files: How many there are of all releases.
    """

    name: str
    shown_name: str = ""
    version: str = ""
    summary: str = ""
    keywords: str = ""
    import_names: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    uploaded: datetime | None = None
    releases: tuple[tuple[str, datetime], ...] = ()
    files: int = 0
