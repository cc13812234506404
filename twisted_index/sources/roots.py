"""
One reading of a root folder: which of its entries are named for which project.

Blocking; called in a thread. Nothing here opens a distribution file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.simple.names import claimed_project, is_valid_name, normalize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_index.sources.stamps import Freshness, Seen


class Part(NamedTuple):
    """
    What a root holds for one project.

    Attributes:
        folders: Names of folders that spell the project's name, in byte order.
        files: Names of entries beside them that are named for the project, in byte order.
    """

    folders: tuple[bytes, ...] = ()
    files: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class RootReading:
    """
    A root as it was read.

    Attributes:
        path: The root.
        seen: Its stamp from before the reading.
        parts: By normalized name.
        strays: Entries that belong to no project.
        places: For each entry its project and whether it is a folder, so that the next reading
            only works on what is new; None as the project marks a stray.
    """

    path: bytes
    seen: Seen
    parts: Mapping[str, Part]
    strays: tuple[bytes, ...]
    places: Mapping[tuple[bytes, bool], str | None] = field(repr=False)


def read_root(path: bytes, freshness: Freshness, before: RootReading | None) -> RootReading:
    """
    Read a root.

    Args:
        path: The root.
        freshness: Takes the stamp.
        before: The last reading, whose work is used again.

    Raises:
        OSError: If it cannot be read, or is not there.
    """
    seen = freshness.look(path, before.seen if before is not None else None)
    known = before.places if before is not None else {}
    places: dict[tuple[bytes, bool], str | None] = {}
    with os.scandir(path) as entries:
        for entry in entries:
            place = (entry.name, _may_be_folder(entry))
            places[place] = known[place] if place in known else _project_of(*place)
    if before is not None and places == before.places:
        return RootReading(path, seen, before.parts, before.strays, before.places)
    return _sort(path, seen, places)


def _may_be_folder(entry: os.DirEntry[bytes]) -> bool:
    """
    Say whether an entry is to be read as a folder.

    A link counts if it is not named like a file: it may lead to nothing now and to a folder
    later, and no time of this root would tell.
    """
    try:
        if entry.is_dir():
            return True
        return entry.is_symlink() and claimed_project(os.fsdecode(entry.name)) is None
    except OSError:
        return False


def _project_of(name: bytes, folder: bool) -> str | None:
    text = os.fsdecode(name)
    if folder:
        return normalize(text) if is_valid_name(text) else None
    return claimed_project(text)


def _sort(path: bytes, seen: Seen, places: Mapping[tuple[bytes, bool], str | None]) -> RootReading:
    folders: dict[str, list[bytes]] = {}
    files: dict[str, list[bytes]] = {}
    strays: list[bytes] = []
    for (name, folder), project in sorted(places.items()):
        if project is None:
            strays.append(name)
        else:
            (folders if folder else files).setdefault(project, []).append(name)
    parts = {
        project: Part(tuple(folders.get(project, ())), tuple(files.get(project, ())))
        for project in folders.keys() | files.keys()
    }
    return RootReading(path, seen, parts, tuple(strays), places)
