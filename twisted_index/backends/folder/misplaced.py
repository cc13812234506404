"""
Finds distributions, source trees and installations in the roots where the source serves nothing.

Blocking; called in a thread, for a report of problems.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING

from twisted_index.backends.folder.listing import printable_path
from twisted_index.interfaces import Problem
from twisted_index.simple.names import (
    Distribution,
    InvalidFilename,
    is_temporary,
    looks_like_distribution,
    parse_filename,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from twisted_index.backends.folder.root_listing import RootListing

#: Levels below a root that are scanned; packages are not kept deeper.
_DEEPEST = 8
#: Entries that are looked at, over all folders of which nothing is served, so that a whole home or
#: system that is served by mistake is not walked through.
_MOST_ENTRIES = 50_000
#: What systems, network storage and programs make for themselves. All of them, and whatever begins
#: with a character that no project's name can, hold no packages: `@eaDir`, `#recycle`,
#: `$RECYCLE.BIN`, `.Trash-1000`, `.git`.
_OTHERS_OWN = frozenset(
    {
        b"lost+found",
        b"recycler",
        b"recycled",
        b"system volume information",
        b"network trash folder",
        b"temporary items",
        b"thevolumesettingsfolder",
        b"__macosx",
        b"__pycache__",
        b"node_modules",
    }
)
_OTHERS_FIRST = (b".", b"@", b"#", b"$", b"~")

_BUILD = "Build it (python -m build), and put the wheel and the sdist here instead."
_DOWNLOAD = "Put the wheels here instead, as pip download fetches and pip wheel builds them."


def find_misplaced(readings: Iterable[RootListing]) -> list[Problem]:
    """Tell of what is not served, by one problem for each folder."""
    readings = tuple(readings)
    walk = _Walk({reading.path for reading in readings})
    for reading in readings:
        foreign = _foreign(b".", [name for name, _folder in reading.assignments])
        if foreign is not None:
            walk.found.append(foreign)
        else:
            walk.look_below(reading)
    return walk.found


class _Walk:
    """
    Looks below roots.

    Args:
        roots: Their paths; a root within another is served itself.

    Attributes:
        found: What was found so far.
    """

    def __init__(self, roots: Collection[bytes]) -> None:
        self._roots = roots
        self._left = _MOST_ENTRIES
        self._too_deep: set[bytes] = set()
        self.found: list[Problem] = []

    def look_below(self, reading: RootListing) -> None:
        """Look into the folders of a root, and at what lies beside them and belongs to no project."""
        for name in reading.unassigned:
            path = os.path.join(reading.path, name)
            if os.path.isdir(path):
                if not os.path.islink(path):
                    self._look(path, name)
            elif looks_like_distribution(os.fsdecode(name)) and not is_temporary(os.fsdecode(name)):
                self.found.append(_unnamed(name))
        for _project, part in sorted(reading.projects.items()):
            for folder in part.folders:
                self._look(os.path.join(reading.path, folder), folder, served=True)

    def _look(self, path: bytes, shown: bytes, *, served: bool = False) -> None:
        if self._left <= 0 or path in self._roots or _is_others(os.path.basename(path)):
            return
        try:
            with os.scandir(path) as entries:
                some = entries if served else islice(entries, self._left + 1)
                found = [(entry.name, _is_folder(entry)) for entry in some]
        except OSError:
            # A project reports its own; otherwise nothing is served from it anyhow.
            return
        if (foreign := _foreign(shown, [name for name, _folder in found])) is not None:
            self.found.append(foreign)
            return
        if not served:
            self._left -= len(found)
            self.found.extend(_unserved(shown, [name for name, folder in found if not folder]))
        folders = sorted(name for name, folder in found if folder)
        if self._left <= 0:
            self._give_up(shown)
        elif folders and shown.count(b"/") >= _DEEPEST:
            # Such a folder says nothing about its neighbours; one report covers everything below one top.
            top = shown.partition(b"/")[0]
            if top not in self._too_deep:
                self._too_deep.add(top)
                self._give_up(shown)
        else:
            for name in folders:
                self._look(os.path.join(path, name), os.path.join(shown, name))

    def _give_up(self, shown: bytes) -> None:
        self.found.append(
            Problem(
                path=f"{printable_path(shown)}/",
                reason="There is more in this folder than is looked through; it may hold distributions"
                " that are neither served nor told of.",
                advice="Serve a folder that holds nothing but distributions.",
            )
        )


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    """Say whether something is to be looked into; links could lead anywhere, or in a circle."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _is_others(name: bytes) -> bool:
    return name.startswith(_OTHERS_FIRST) or name.lower() in _OTHERS_OWN


def _foreign(shown: bytes, names: Sequence[bytes]) -> Problem | None:
    """Recognize a folder that was made for something else, and as a whole."""
    if b"pyvenv.cfg" in names:
        return _problem(shown, "It is a virtual environment, and no folder of distributions.", _DOWNLOAD)
    if (installed := _ending(names, b".dist-info")) is not None:
        return _installed(shown, installed)
    source = next((name for name in (b"pyproject.toml", b"setup.py") if name in names), None)
    if source is not None:
        return _problem(
            shown, f"It holds a source tree ({printable_path(source)}), which is not served.", _BUILD
        )
    # What old tools install; a source tree may have one too.
    if (installed := _ending(names, b".egg-info", b".egg-link", b"easy-install.pth")) is not None:
        return _installed(shown, installed)
    return None


def _ending(names: Sequence[bytes], *endings: bytes) -> bytes | None:
    return next((name for name in sorted(names) if name.endswith(endings)), None)


def _installed(shown: bytes, name: bytes) -> Problem:
    reason = f"It holds installed packages ({printable_path(name)}), which are no distribution files."
    return _problem(shown, reason, _DOWNLOAD)


def _problem(shown: bytes, reason: str, advice: str) -> Problem:
    return Problem(path=f"{printable_path(shown)}/", reason=reason, advice=advice)


def _unserved(shown: bytes, names: Iterable[bytes]) -> list[Problem]:
    """Tell of the distributions in a folder that is not served: by its one name, or how many they are."""
    distributions = [one for name in sorted(names) if (one := _distribution(name)) is not None]
    if not distributions:
        return []
    first = distributions[0]
    if len(distributions) == 1:
        return [
            Problem(
                path=printable_path(os.path.join(shown, os.fsencode(first.filename))),
                reason="It lies in a folder that is not served.",
                advice=f"Move it to the root, or to the folder {first.project}/ in it.",
            )
        ]
    return [
        _problem(
            shown,
            f"It holds {len(distributions)} distribution files, {first.filename} for one, and is not served.",
            f"Move them to the root, or to folders of their projects in it ({first.project}/ for this one).",
        )
    ]


def _distribution(name: bytes) -> Distribution | None:
    text = os.fsdecode(name)
    try:
        return parse_filename(text) if looks_like_distribution(text) else None
    except InvalidFilename:
        return None


def _unnamed(name: bytes) -> Problem:
    try:
        parse_filename(os.fsdecode(name))
    except InvalidFilename as error:
        return Problem(path=printable_path(name), reason=error.reason, advice=error.advice)
    return Problem(
        path=printable_path(name), reason="It names no project.", advice="Rename it as its build tool did."
    )
