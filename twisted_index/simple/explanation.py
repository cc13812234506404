"""
Why a project is as its page shows it: what each source said, and what hides each file. Pure values.

A listed file is on the page; a hidden one is known to a source, and some rule keeps it from the page.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class Obstacle(enum.StrEnum):
    """What hides a file; the values are those of JSON."""

    REFUSED = "refused"
    UNREAD = "unread"
    DELETED = "deleted"
    QUARANTINED = "quarantined"
    SHADOWED = "shadowed"
    STAGED = "staged"
    COOLDOWN = "cooldown"
    DENIED = "upstream-deny"
    NO_SDISTS = "no-sdists"
    OFFLINE = "offline"
    REMOVED = "removed"
    MOMENT = "moment"


class SourceKind(enum.StrEnum):
    """What kind of source was asked; the values are those of JSON."""

    FOLDER = "folder"
    UPSTREAM = "upstream"
    RESERVATION = "reservation"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenFile:
    """
    A file that a source knows and the page does not list.

    Attributes:
        filename: Its name, printable.
        obstacle: What hides it.
        reason: The same in one sentence, for everyone who may read the project.
        version: As for `File`; empty if its name has none.
        until: When that ends; None if no time is set for it.
        path: Below its root, printable; empty for one of an upstream.
        index: The index that has it, as `File.owner`.
        note: What those may see besides who operate the index: who did it.
    """

    filename: str
    obstacle: Obstacle
    reason: str
    version: str = ""
    until: datetime | None = None
    path: str = ""
    index: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAnswer:
    """
    A source in the order in which sources are asked, and what it says of a project.

    Attributes:
        kind: What it is.
        name: For people: the name of a folder, the URL of a bucket, the origin of an upstream; never a path
            of this machine or a secret.
        says: A clause that goes on the name: `has no such project`; or why it was not asked.
        asked: Whether it was asked.
        claims: Whether it owns the name.
        entry: The entry by which it does, below its root, printable.
        index: The index that it belongs to, as `File.owner`.
    """

    kind: SourceKind
    name: str
    says: str
    asked: bool = True
    claims: bool = False
    entry: str = ""
    index: str | None = None
