"""
Yanks, tombstones and project statuses, as small files that a text editor could have written. Blocking.

A change is a plan of ordered steps. If the process ends after any of them, nothing is listed that should
not be, and repeating the change completes it.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from twisted_index.backends.folder.inventory import DELETED, YANKED
from twisted_index.errors import BadRequest, NotFound, Unavailable
from twisted_index.files.anonymous_file import make_folder, remove, sync_folder, write_atomically
from twisted_index.simple.model import ProjectStatus, Sidecar, Status
from twisted_index.simple.names import InvalidFilename, parse_filename

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from typing import TypeAlias

    from twisted_index.backends.folder.inventory import Inventory
    from twisted_index.backends.folder.listing import ListingEntry

    Step: TypeAlias = Callable[[], object]

#: Bytes of a reason; no more are read.
_MAX_REASON = 4000
_SIDECAR_SUFFIXES = (*(sidecar.value for sidecar in Sidecar), YANKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    A change.

    Attributes:
        steps: To be taken in this order.
        names: The files that it is about; none if it is about the whole project.
        undo: To be taken if a step fails, so that nothing was changed.
    """

    steps: tuple[Step, ...]
    names: tuple[str, ...] = ()
    undo: tuple[Step, ...] = ()

    def carry_out(self) -> None:
        """Take all the steps."""
        try:
            for step in self.steps:
                step()
        except OSError:
            for step in self.undo:
                with contextlib.suppress(OSError):
                    step()
            raise


def plan_yank(holdings: Inventory, *, version: str | None, filename: str | None, reason: str) -> Plan:
    """
    Plan to yank one file or a release.

    The reason is written beside the file that is served, and nowhere else, so that no other reason
    is shown. Where the server may not write there, the first root does as well.

    Raises:
        NotFound: There is none.
        Unavailable: Nothing may be written.
    """
    steps: list[Step] = []
    files = _found(holdings, version, filename)
    for name, entry in files.items():
        root, folder = entry.root, entry.folder
        if not _writable(folder):
            root, folder = holdings.root, holdings.target
        mark = os.path.join(folder, os.fsencode(name + YANKED))
        others = [path for path in holdings.sidecars_of(name, YANKED) if path != mark]
        _check_writable([*map(os.path.dirname, others), folder if os.path.isdir(folder) else root])
        if not os.path.isdir(folder):
            steps.append(partial(make_folder, root, folder))
        steps.append(partial(write_atomically, root, mark, _text(reason)))
        steps.extend(_removals(others))
    return Plan(steps=tuple(steps), names=tuple(files))


def plan_unyank(holdings: Inventory, *, version: str | None, filename: str | None) -> Plan:
    """
    Plan to take back a yank.

    Raises:
        NotFound: There is no such file.
        Unavailable: Nothing may be written.
    """
    marks = {name: holdings.sidecars_of(name, YANKED) for name in _found(holdings, version, filename)}
    paths = [path for some in marks.values() for path in some]
    _check_writable(map(os.path.dirname, paths))
    return Plan(steps=tuple(_removals(paths)), names=tuple(name for name, some in marks.items() if some))


def plan_delete(holdings: Inventory, filename: str, *, by: str, when: datetime, reason: str = "") -> Plan:
    """
    Plan to delete a file wherever it lies, in any spelling.

    From the first step on nothing is listed: the names are taken before the files go.

    Raises:
        NotFound: There is none.
        Unavailable: It lies where nothing may be changed.
    """
    entries = _same(holdings, filename)
    if not entries:
        raise _no_file(filename)
    said = f"{when:%Y-%m-%dT%H:%M:%SZ} by {by}" + (f": {reason}" if reason else "")
    tombs = {entry.path + DELETED.encode(): entry for entry in entries}
    beside = [
        path
        for entry in entries
        for suffix in _SIDECAR_SUFFIXES
        for path in {
            entry.path + suffix.encode(),
            *holdings.sidecars_of(entry.distribution.filename, suffix),
        }
        if os.path.lexists(path)
    ]
    paths = [*(entry.path for entry in entries), *sorted(set(beside))]
    _check_writable(map(os.path.dirname, paths))
    # The one that is served comes last, or the next one would be served for a moment.
    missing = [(path, entry) for path, entry in reversed(tombs.items()) if not os.path.lexists(path)]
    return Plan(
        steps=(
            *(partial(write_atomically, entry.root, path, _text(said)) for path, entry in missing),
            *_removals(paths),
        ),
        names=(entries[0].distribution.filename,),
        undo=tuple(partial(_remove_tombstone, path, entry.path) for path, entry in missing),
    )


def plan_status(holdings: Inventory, status: ProjectStatus) -> Plan:
    """
    Plan to set the status of a project.

    Raises:
        NotFound: There is no such project.
        Unavailable: A status is set where nothing may be changed.
    """
    if not holdings.exists:
        raise NotFound(f"There is no project {holdings.project}.")
    folder = holdings.folder_path
    standing = holdings.status_marks()
    _check_writable(map(os.path.dirname, standing))
    if status.status is Status.ACTIVE:
        return Plan(steps=(*_removals(standing), partial(_drop_if_empty, folder)))
    _check_writable([folder if os.path.isdir(folder) else holdings.root])
    mark = os.path.join(folder, b"." + status.status.value.encode())
    return Plan(
        steps=(
            partial(make_folder, holdings.root, folder),
            partial(write_atomically, holdings.root, mark, _text(status.reason)),
            *_removals(path for path in standing if path != mark),
        )
    )


def _found(holdings: Inventory, version: str | None, filename: str | None) -> dict[str, ListingEntry]:
    """Find files by their names, each with the place where it wins."""
    if filename is not None:
        entries = _same(holdings, filename)
    elif version is not None:
        entries = holdings.of_version(version)
    else:
        raise BadRequest("Say which file or which version is meant.")
    entries = [entry for entry in entries if not holdings.was_deleted(entry.distribution)]
    if not entries:
        raise _no_file(filename if filename is not None else f"{holdings.project}=={version}")
    found: dict[str, ListingEntry] = {}
    for entry in entries:
        found.setdefault(entry.distribution.filename, entry)
    return found


def _same(holdings: Inventory, filename: str) -> list[ListingEntry]:
    try:
        return holdings.equivalents_of(parse_filename(filename, holdings.project))
    except InvalidFilename:
        return []


def _no_file(name: str) -> NotFound:
    shown = name if name.isascii() and name.isprintable() else ascii(name)
    return NotFound(f"There is no {shown} here.")


def _text(reason: str) -> bytes:
    line = " ".join(reason.split()).encode("utf-8", "replace")[:_MAX_REASON]
    return line.decode("utf-8", "ignore").encode() + b"\n"


def _writable(folder: bytes) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _check_writable(folders: Iterable[bytes]) -> None:
    """
    Make sure of all folders before the first of them is changed.

    Raises:
        Unavailable: One of them may not be changed.
    """
    if not all(map(_writable, set(folders))):
        raise Unavailable("It lies in a folder that the server may not change; nothing was changed.")


def _removals(paths: Iterable[bytes]) -> list[Step]:
    paths = list(paths)
    return [
        *(partial(remove, path) for path in paths),
        *(partial(sync_folder, folder) for folder in sorted(set(map(os.path.dirname, paths)))),
    ]


def _remove_tombstone(tomb: bytes, path: bytes) -> None:
    """Take back a deletion, as long as the file is there."""
    if os.path.lexists(path):
        remove(tomb)


def _drop_if_empty(folder: bytes) -> None:
    """Remove a folder that was only made for a status; one that claims nothing would be no project."""
    with contextlib.suppress(OSError):
        os.rmdir(folder)
