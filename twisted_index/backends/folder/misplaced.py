"""
Finds distributions, source trees and installations in places of a root that are not served.

Also lines of `.deleted` and `.copies` files that cannot be understood. Blocking; called in a thread, for the
problem report.
"""

from __future__ import annotations

import contextlib
import os
import time
from itertools import islice
from typing import TYPE_CHECKING

from twisted_index.backends.folder import copies
from twisted_index.backends.folder.conflicts import problems_of_conflicts
from twisted_index.backends.folder.staged_problems import problems_of_staged
from twisted_index.backends.folder.tombstones import unknown_lines
from twisted_index.backends.layout.copies import COPIES
from twisted_index.backends.layout.project_scan import printable_path
from twisted_index.backends.layout.tombstones import TOMBSTONES
from twisted_index.files.anonymous_file import UPLOADS
from twisted_index.interfaces import Problem
from twisted_index.simple.names import (
    Distribution,
    InvalidFilename,
    is_temporary,
    looks_like_distribution,
    parse_filename,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from twisted_index.backends.folder.root_scan import RootScan

#: Levels below a root to scan; packages are not kept deeper.
_MAX_DEPTH = 8
#: Entries to scan, over all folders that are not served, so that a home directory or a whole system
#: that is configured by mistake is not walked.
_MAX_ENTRIES = 50_000
#: Seconds after which an upload that has written nothing is taken to be left from a crash.
_ABANDONED = 3600.0
#: Names of files in roots to judge at the start, as each takes 10 µs of the interpreter.
_MAX_NAMES = 10_000
#: Folders of operating systems, network storage and tools, which hold no packages. So are all names that
#: begin with a character that no project name begins with: `@eaDir`, `#recycle`, `$RECYCLE.BIN`,
#: `.Trash-1000`, `.git`.
_SYSTEM_FOLDERS = frozenset(
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
_SYSTEM_PREFIXES = (b".", b"@", b"#", b"$", b"~")

_BUILD = "Build it with python -m build, and put the wheel and the sdist here instead."
_DOWNLOAD = "Put wheels here instead: pip download fetches them, pip wheel builds them."


def find_misplaced(readings: Iterable[RootScan]) -> list[Problem]:
    """Report distributions that are not served, as one problem for each folder."""
    readings = tuple(readings)
    walk = _Walk({reading.path for reading in readings})
    for reading in readings:
        walk.problems.extend(problems_of_staged(reading))
        walk.problems.extend(problems_of_conflicts(reading.path))
        foreign = _find_foreign(b".", [name for name, _folder in reading.names])
        if foreign is not None:
            walk.problems.append(foreign)
        else:
            walk.scan_root(reading)
    return walk.problems


def count_misnamed(readings: Iterable[RootScan]) -> int:
    """
    Count the files in roots that look like distributions and are left out for their names alone.

    Returns:
        0 also if there are too many files to look at their names at once.
    """
    names = {
        os.fsdecode(name)
        for reading in readings
        for part in (reading.unassigned, *reading.projects.values())
        for name in part.files
    }
    return sum(map(_is_misnamed, names)) if len(names) <= _MAX_NAMES else 0


def _is_misnamed(name: str) -> bool:
    if not looks_like_distribution(name) or is_temporary(name):
        return False
    try:
        parse_filename(name)
    except InvalidFilename:
        return True
    return False


class _Walk:
    """
    Walks the folders below roots.

    Args:
        roots: Paths of all roots; a root within another is skipped, since it is served itself.

    Attributes:
        problems: The problems so far.
    """

    def __init__(self, roots: Collection[bytes]) -> None:
        self._roots = roots
        self._budget = _MAX_ENTRIES
        self._too_deep: set[bytes] = set()
        self.problems: list[Problem] = []

    def scan_root(self, reading: RootScan) -> None:
        """Scan the folders of a root, and the files in it that belong to no project."""
        for name in sorted((*reading.unassigned.folders, *reading.unassigned.files)):
            path = os.path.join(reading.path, name)
            if os.path.isdir(path):
                if not os.path.islink(path):
                    self._scan(path, name)
                if name == UPLOADS:
                    self.problems.extend(_abandoned_uploads(path))
            elif name in _HOMELESS:
                self.problems.append(_HOMELESS[name])
            elif looks_like_distribution(os.fsdecode(name)) and not is_temporary(os.fsdecode(name)):
                self.problems.append(_unnamed(name))
        for _project, part in sorted(reading.projects.items()):
            for folder in part.folders:
                self._scan(os.path.join(reading.path, folder), folder, served=True)

    def _scan(self, path: bytes, display_path: bytes, *, served: bool = False) -> None:
        if self._budget <= 0 or path in self._roots or is_of_system(os.path.basename(path)):
            return
        try:
            with os.scandir(path) as entries:
                batch = entries if served else islice(entries, self._budget + 1)
                children = [(entry.name, _is_folder(entry)) for entry in batch]
        except OSError:
            # An unreadable project folder is reported elsewhere; other folders are not served.
            return
        if (foreign := _find_foreign(display_path, [name for name, _folder in children])) is not None:
            self.problems.append(foreign)
            return
        if served:
            names = {name for name, _folder in children}
            self.problems.extend(_unknown_lines(path, display_path, names))
        if not served:
            self._budget -= len(children)
            self.problems.extend(_unserved(display_path, [name for name, folder in children if not folder]))
        folders = sorted(name for name, folder in children if folder)
        if self._budget <= 0:
            self._give_up(display_path)
        elif folders and display_path.count(b"/") >= _MAX_DEPTH:
            # Its neighbours are still scanned; one problem covers everything below a top folder.
            top = display_path.partition(b"/")[0]
            if top not in self._too_deep:
                self._too_deep.add(top)
                self._give_up(display_path)
        else:
            for name in folders:
                self._scan(os.path.join(path, name), os.path.join(display_path, name))

    def _give_up(self, display_path: bytes) -> None:
        self.problems.append(
            Problem(
                path=f"{printable_path(display_path)}/",
                reason="This folder holds too much to scan in full; it may hold distributions that are"
                " neither served nor reported.",
                advice="Serve a folder that holds only distributions.",
            )
        )


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    """Return whether an entry is a folder to scan; links are not: they may lead anywhere."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def is_of_system(name: bytes) -> bool:
    """Return whether an entry of a root is of the system or a tool, and never has packages."""
    return name.startswith(_SYSTEM_PREFIXES) or name.lower() in _SYSTEM_FOLDERS


def _find_foreign(display_path: bytes, names: Sequence[bytes]) -> Problem | None:
    """Report a folder that is a virtual environment, source tree or installation."""
    if b"pyvenv.cfg" in names:
        return _problem(
            display_path, "It is a virtual environment, not a folder of distributions.", _DOWNLOAD
        )
    if (installed := _ending(names, b".dist-info")) is not None:
        return _installed(display_path, installed)
    source = next((name for name in (b"pyproject.toml", b"setup.py") if name in names), None)
    if source is not None:
        return _problem(
            display_path, f"It holds a source tree ({printable_path(source)}), which is not served.", _BUILD
        )
    # Old tools install these; a source tree may hold one too, so they are checked last.
    if (installed := _ending(names, b".egg-info", b".egg-link", b"easy-install.pth")) is not None:
        return _installed(display_path, installed)
    return None


def _abandoned_uploads(folder: bytes) -> list[Problem]:
    """Report what unfinished uploads have left; where the system has anonymous files, there is none."""
    before, count = time.time() - _ABANDONED, 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                count += entry.stat(follow_symlinks=False).st_mtime < before
    if not count:
        return []
    return [
        _problem(
            os.path.basename(folder),
            f"It holds {count} unfinished upload{'s' if count > 1 else ''} of a server that was killed.",
            "Restart the server that takes uploads, which removes what it left, or remove the folder.",
        )
    ]


def _unknown_lines(path: bytes, display_path: bytes, names: Collection[bytes]) -> Iterator[Problem]:
    """Report the lines of a project's `.deleted` and `.copies` files that cannot be understood."""
    for name, (count, what) in _LINES.items():
        # What cannot be read is reported for the whole project.
        with contextlib.suppress(OSError):
            unknown, first = count(path) if name in names else (0, 0)
            if unknown:
                yield Problem(
                    path=printable_path(os.path.join(display_path, name)),
                    reason=f"{unknown} of its lines {what}, as they cannot be understood; the first is line"
                    f" {first}.",
                    advice="Write digest, size (- if unknown), time and name; begin comments with #. Remove a"
                    " line that a crash has cut off.",
                )


#: How to count such lines in a folder, and what they do not do.
_LINES: dict[bytes, tuple[Callable[[bytes], tuple[int, int]], str]] = {
    TOMBSTONES: (lambda path: unknown_lines(os.path.join(path, TOMBSTONES)), "take no name"),
    COPIES: (copies.damaged_lines, "record nothing"),
}
_HOMELESS = {
    name: Problem(
        path=os.fsdecode(name),
        reason=f"It is in no project's folder, where it {what}.",
        advice=f"Put each of its lines into the {os.fsdecode(name)} file of the project's folder.",
    )
    for name, what in ((TOMBSTONES, "takes no name"), (COPIES, "records no copy"))
}


def _ending(names: Sequence[bytes], *endings: bytes) -> bytes | None:
    return next((name for name in sorted(names) if name.endswith(endings)), None)


def _installed(display_path: bytes, name: bytes) -> Problem:
    reason = f"It holds installed packages ({printable_path(name)}), which are not distribution files."
    return _problem(display_path, reason, _DOWNLOAD)


def _problem(display_path: bytes, reason: str, advice: str) -> Problem:
    return Problem(path=f"{printable_path(display_path)}/", reason=reason, advice=advice)


def _unserved(display_path: bytes, names: Iterable[bytes]) -> list[Problem]:
    """Report the distributions in a folder that is not served: by name if it is one, else by number."""
    distributions = [
        distribution for name in sorted(names) if (distribution := _distribution(name)) is not None
    ]
    if not distributions:
        return []
    first = distributions[0]
    if len(distributions) == 1:
        return [
            Problem(
                path=printable_path(os.path.join(display_path, os.fsencode(first.filename))),
                reason="It is in a folder that is not served.",
                advice=f"Move it to the root, or to the folder {first.project}/ in the root.",
            )
        ]
    return [
        _problem(
            display_path,
            f"It holds {len(distributions)} distribution files, such as {first.filename}, but is not served.",
            f"Move them to the root, or to project folders in the root ({first.project}/ for this one).",
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
        path=printable_path(name),
        reason="Its name contains no project name.",
        advice="Give it the name that its build tool gave it.",
    )
