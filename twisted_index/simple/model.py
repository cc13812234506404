"""The values of an index: project lists, pages, files. Frozen: a new state is a new value."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Sidecar(enum.Enum):
    """A document that belongs to a file and is served at the file's URL plus this suffix."""

    METADATA = ".metadata"  # PEP 658
    SIGNATURE = ".asc"  # PEP 503
    PROVENANCE = ".provenance"  # PEP 740


class Status(enum.Enum):
    """A project status marker (PEP 792)."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    QUARANTINED = "quarantined"
    DEPRECATED = "deprecated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectStatus:
    """
    The status of a project and why (PEP 792).

    Attributes:
        status: The marker.
        reason: Free text for users; may be empty.
    """

    status: Status = Status.ACTIVE
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Yanked:
    """
    A file that installers use only if its exact version is requested (PEP 592).

    Attributes:
        reason: Free text for users; may be empty.
    """

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """
    A distribution file of a project: a wheel or an sdist.

    Attributes:
        filename: The last segment of its URL, decoded.
        version: PEP 440, in normal form if valid, else as the file name spells it.
        hashes: Algorithm to lower-case hex digest. The writers emit `sha256` only.
        size: In bytes; None if unknown (PEP 700 then forbids to claim 1.1).
        upload_time: Aware, UTC (PEP 700); None if unknown, never invented.
        requires_python: A valid specifier set, as the metadata spells it; None if there is none.
        core_metadata: Digests of the file's `.metadata` (PEP 714): empty if its digest is unknown, None if
            it does not exist.
        yanked: None unless yanked.
        sidecars: Which of `.asc` and `.provenance` exist beside the file.
        provenance_url: An absolute https URL given by an upstream; None for a local file.
        owner: The name of the index that has the file and that its URL leads to, empty for the one without a
            name; None for the index of the page.
    """

    filename: str
    version: str
    hashes: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    upload_time: datetime | None = None
    requires_python: str | None = None
    core_metadata: Mapping[str, str] | None = None
    yanked: Yanked | None = None
    sidecars: frozenset[Sidecar] = frozenset()
    provenance_url: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class ProjectPage:
    """
    The page of one project.

    Attributes:
        name: Normalized (PEP 503).
        files: Ordered by version, then file name.
        versions: Every version of the project once, ascending (PEP 700), including versions without
            files.
        status: Active by default. A quarantined project offers no files.
        claims: Whether the source claims the name, so that no other one is requested for it; False if all
            that it has are copies of another index's. No writer emits it.
    """

    name: str
    files: tuple[File, ...] = ()
    versions: tuple[str, ...] = ()
    status: ProjectStatus = ProjectStatus()
    claims: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class ProjectList:
    """
    The names of the projects of an index.

    Attributes:
        names: Normalized, ascending, each once.
        complete: False while an unreadable folder may contain further, unknown names.
        serials: The last serials of projects by name; empty unless they were asked for.
        last_serial: The highest of all, also of projects that are gone; None unless it was asked for.
    """

    names: tuple[str, ...] = ()
    complete: bool = True
    serials: Mapping[str, int] = field(default_factory=dict)
    last_serial: int | None = None
