"""
Changes of what lies in the roots already: yanks, deletions, project statuses. Blocking.

A change is a plan of ordered steps. If the process dies after any of them, no withdrawn file is listed,
and repeating the change completes it.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from twisted_index.backends.folder import kept_files
from twisted_index.backends.folder.tombstones import Tombstone
from twisted_index.backends.layout.entries import YANKED
from twisted_index.backends.layout.project_scan import DELETED
from twisted_index.backends.layout.reasons import format_reason
from twisted_index.backends.layout.selection import find_equivalents, not_found, select_shown
from twisted_index.backends.layout.tombstones import TOMBSTONES
from twisted_index.errors import NotFound, Unavailable
from twisted_index.files.anonymous_file import make_folder, remove, sync_folder, write_atomically
from twisted_index.files.locks import LockHeld
from twisted_index.simple.manifest import ManifestLine
from twisted_index.simple.model import ProjectStatus, Sidecar, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from twisted_index.backends.folder.inventory import FolderInventory, Step
    from twisted_index.backends.layout.project_scan import ScannedFile

_SIDECAR_SUFFIXES = (*(sidecar.value for sidecar in Sidecar), YANKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    The planned steps of a change.

    Attributes:
        steps: Steps, in order.
        names: Names of the files to change; empty for a change of the whole project.
        undo: Steps to roll the change back if one of `steps` fails.
    """

    steps: tuple[Step, ...]
    names: tuple[str, ...] = ()
    undo: tuple[Step, ...] = ()

    def carry_out(self) -> None:
        """Carry out all steps."""
        try:
            for step in self.steps:
                step()
        except (OSError, LockHeld):
            for step in self.undo:
                with contextlib.suppress(OSError):
                    step()
            raise


def plan_yank(inventory: FolderInventory, *, version: str | None, filename: str | None, reason: str) -> Plan:
    """
    Plan to yank one file or a release.

    The reason is written beside the served file only, so that no other reason is shown. If that folder is
    read-only, it is written to the first root.

    Raises:
        NotFound: There is no such file.
        Unavailable: A folder is read-only.
    """
    steps: list[Step] = []
    files = select_shown(inventory, version, filename)
    for name, entry in files.items():
        root, folder = entry.root, entry.folder
        if not _writable(folder):
            root, folder = inventory.root, inventory.target
        mark = os.path.join(folder, os.fsencode(name + YANKED))
        others = [path for path in inventory.sidecars_of(name, YANKED) if path != mark]
        _check_writable([*map(os.path.dirname, others), folder if os.path.isdir(folder) else root])
        if not os.path.isdir(folder):
            steps.append(partial(make_folder, root, folder))
        steps.append(partial(write_atomically, root, mark, format_reason(reason)))
        # What is set here is not the source's of a copy, even if that says the same.
        steps.extend((*inventory.forget([mark, *others]), *_removals(others)))
    return Plan(steps=tuple(steps), names=tuple(files))


def plan_unyank(inventory: FolderInventory, *, version: str | None, filename: str | None) -> Plan:
    """
    Plan to undo a yank.

    Raises:
        NotFound: There is no such file.
        Unavailable: A folder is read-only.
    """
    marks = {name: inventory.sidecars_of(name, YANKED) for name in select_shown(inventory, version, filename)}
    paths = [path for marked in marks.values() for path in marked]
    _check_writable(map(os.path.dirname, paths))
    return Plan(steps=tuple(_removals(paths)), names=tuple(name for name, marked in marks.items() if marked))


def plan_delete(
    inventory: FolderInventory,
    filename: str,
    *,
    by: str,
    when: datetime,
    reason: str = "",
    digest_of: Callable[[ScannedFile], str | None] = lambda _entry: None,
    keeps: Callable[[ScannedFile], bool] = lambda _entry: False,
    remembers: bool = True,
) -> Plan:
    """
    Plan to delete a file from all roots, in any spelling.

    The tombstones are written before the files are removed, so that no equal file is listed in between. If
    one of the files is to be kept, all of them are moved out of sight with their sidecars (`kept_files`).
    Without `remembers` there are no tombstones, and others may take the name.

    Raises:
        NotFound: There is no such file.
        Unavailable: A folder is read-only.
        OSError: The tombstones cannot be read.
    """
    entries = find_equivalents(inventory, filename)
    if not entries:
        raise not_found(filename)
    note = f"by {by}" + (f": {reason}" if reason else "")
    files = [entry.path for entry in entries]
    paths = [*files, *_existing_sidecars(inventory, entries)]
    _check_writable(map(os.path.dirname, paths))
    steps: list[Step] = []
    undo: list[Step] = []
    # The served file comes last, otherwise the next equivalent one would be served for a moment.
    for entry in reversed(_without_tombstone(inventory, entries) if remembers else ()):
        folder = inventory.folder_in(entry.root)
        line = ManifestLine(
            name=entry.distribution.filename,
            sha256=digest_of(entry),
            size=entry.key.size,
            time=when,
            note=note,
        )
        tombstone = Tombstone(entry.root, os.path.join(folder, TOMBSTONES), line)
        if not os.path.isdir(folder):
            _check_writable([entry.root])
            steps.append(partial(make_folder, entry.root, folder))
            undo.append(partial(_remove_if_empty, folder))
        else:
            _check_writable([folder])
        steps.append(tombstone.write)
        undo.append(partial(_take_back, tombstone, files))
    removals = _removals(paths)
    if any(map(keeps, entries)):
        _check_writable({entry.root for entry in entries})
        digests = [(entry, digest_of(entry)) for entry in entries]
        beside = [(inventory.root_of(path), path) for path in paths if path not in files]
        removals = kept_files.keep(inventory.project, digests, beside, when)
    return Plan(
        steps=(*steps, *removals, *inventory.forget(paths)),
        names=(entries[0].distribution.filename,),
        undo=tuple(reversed(undo)),
    )


def _existing_sidecars(inventory: FolderInventory, entries: Iterable[ScannedFile]) -> list[bytes]:
    """Return the paths of the sidecars of files, in all roots."""
    paths = {
        path
        for entry in entries
        for suffix in _SIDECAR_SUFFIXES
        for path in (
            entry.path + suffix.encode(),
            *inventory.sidecars_of(entry.distribution.filename, suffix),
        )
    }
    return sorted(filter(os.path.lexists, paths))


def _without_tombstone(inventory: FolderInventory, entries: Iterable[ScannedFile]) -> list[ScannedFile]:
    """Return the entries whose names have no tombstone in their root, each name once."""
    missing = {(entry.root, entry.distribution.filename): entry for entry in entries}
    for path, lookup in inventory.scan.tombstones.items():
        for name in lookup.found:
            missing.pop((os.path.dirname(os.path.dirname(path)), name), None)
    return [entry for entry in missing.values() if not os.path.lexists(entry.path + DELETED.encode())]


def plan_status(inventory: FolderInventory, status: ProjectStatus) -> Plan:
    """
    Plan to set the status of a project.

    Raises:
        NotFound: There is no such project.
        Unavailable: A folder is read-only.
    """
    if not inventory.exists:
        raise NotFound(f"There is no project {inventory.project}.")
    folder = inventory.folder_path
    current = inventory.status_marks()
    _check_writable(map(os.path.dirname, current))
    if status.status is Status.ACTIVE:
        return Plan(steps=(*_removals(current), partial(_remove_if_empty, folder)))
    _check_writable([folder if os.path.isdir(folder) else inventory.root])
    mark = os.path.join(folder, b"." + status.status.value.encode())
    return Plan(
        steps=(
            partial(make_folder, inventory.root, folder),
            partial(write_atomically, inventory.root, mark, format_reason(status.reason)),
            *inventory.forget([mark]),
            *_removals(path for path in current if path != mark),
        )
    )


def _writable(folder: bytes) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _check_writable(folders: Iterable[bytes]) -> None:
    """
    Check all folders before the first of them is changed.

    Raises:
        Unavailable: A folder is read-only.
    """
    if not all(map(_writable, set(folders))):
        raise Unavailable("It is in a folder that the server cannot change; nothing was changed.")


def _removals(paths: Iterable[bytes]) -> list[Step]:
    paths = list(paths)
    return [
        *(partial(remove, path) for path in paths),
        *(partial(sync_folder, folder) for folder in sorted(set(map(os.path.dirname, paths)))),
    ]


def _take_back(tombstone: Tombstone, paths: Iterable[bytes]) -> None:
    """Roll a deletion back, unless one of the files has been removed already."""
    if all(map(os.path.lexists, paths)):
        tombstone.take_back()


def _remove_if_empty(folder: bytes) -> None:
    """Remove a folder that was only created for a status or a tombstone."""
    with contextlib.suppress(OSError):
        os.rmdir(folder)
