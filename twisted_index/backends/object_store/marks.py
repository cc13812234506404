"""
Changes of what lies in a bucket already: yanks, statuses, deletions. Blocking.

If the process dies after any step, no withdrawn file is listed, and repeating the change completes it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from twisted_index.backends.layout.inventory import YANKED
from twisted_index.backends.layout.project_scan import DELETED
from twisted_index.backends.layout.reasons import format_reason
from twisted_index.backends.layout.selection import find_equivalents, not_found, select_shown
from twisted_index.backends.layout.tombstones import TOMBSTONES
from twisted_index.backends.object_store.claims import stored_digest
from twisted_index.backends.object_store.listings import CLAIM
from twisted_index.backends.object_store.tombstone_object import add_manifest_line
from twisted_index.errors import Conflict, NotFound
from twisted_index.simple.manifest import ManifestLine
from twisted_index.simple.model import ProjectStatus, Sidecar, Status

if TYPE_CHECKING:
    from datetime import datetime

    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.backends.object_store.object_changes import ObjectChanges

#: For so long after it has begun, an upload may be running somewhere, and would be written over another file.
_UNFINISHED = timedelta(hours=1)
_SIDECARS = (*(sidecar.value for sidecar in Sidecar), YANKED, CLAIM)


def yank(
    changes: ObjectChanges, *, version: str | None, filename: str | None, reason: str
) -> tuple[str, ...]:
    """
    Yank one file or a release; return the names of the files.

    Raises:
        NotFound: There is no such file.
    """
    files = select_shown(changes.inventory, version, filename)
    for name, entry in files.items():
        mark = changes.key_in(entry.folder, name + YANKED)
        others = [key for key in _marks_of(changes, name) if key != mark]
        changes.writes.put(mark, format_reason(reason))
        # What is set here is not the source's of a copy, even if that says the same.
        changes.forget([mark, *others])
        changes.delete(others)
    return tuple(files)


def unyank(changes: ObjectChanges, *, version: str | None, filename: str | None) -> tuple[str, ...]:
    """
    Undo a yank; return the names of the files that had one.

    Raises:
        NotFound: There is no such file.
    """
    files = select_shown(changes.inventory, version, filename)
    marks = {name: found for name in files if (found := _marks_of(changes, name))}
    for found in marks.values():
        changes.delete(found)
    return tuple(marks)


def _marks_of(changes: ObjectChanges, name: str) -> list[str]:
    return [changes.key(path) for path in changes.inventory.sidecars_of(name, YANKED)]


def set_status(changes: ObjectChanges, status: ProjectStatus) -> None:
    """
    Set the status of a project: the new one is written before the old ones are removed.

    Raises:
        NotFound: There is no such project.
    """
    inventory = changes.inventory
    if not inventory.exists:
        raise NotFound(f"There is no project {inventory.project}.")
    current = [changes.key(path) for path in inventory.status_marks()]
    mark = ""
    if status.status is not Status.ACTIVE:
        mark = changes.key_in(inventory.folder_path, f".{status.status.value}")
        changes.writes.put(mark, format_reason(status.reason))
        changes.forget([mark])
    changes.delete(key for key in current if key != mark)


def delete(changes: ObjectChanges, filename: str, *, by: str, reason: str, when: datetime) -> str:
    """
    Delete a file in any spelling with its sidecars; return its name.

    The tombstones are written first, and the files removed last, so that repeating a deletion that was cut
    off finds what is left of it.

    Raises:
        NotFound: There is no such file.
        Conflict: It is being uploaded.
    """
    entries = find_equivalents(changes.inventory, filename)
    if not entries:
        return _delete_unfinished(changes, filename, when)
    note = f"by {by}" + (f": {reason}" if reason else "")
    # The served file comes last, otherwise the next equivalent one would be served for a moment.
    for entry in reversed(_without_tombstone(changes, entries)):
        stored = changes.objects[changes.key(entry.path)]
        line = ManifestLine(
            name=entry.distribution.filename,
            sha256=changes.known_sha256(stored) or stored_digest(changes.bucket, stored),
            size=stored.size,
            time=when,
            note=note,
        )
        folder = changes.inventory.folder_in(entry.root)
        add_manifest_line(changes.bucket, changes.writes, changes.key_in(folder, TOMBSTONES.decode()), line)
    files = [changes.key(entry.path) for entry in reversed(entries)]
    sidecars = _sidecars(changes, entries)
    changes.delete(sidecars)
    changes.delete(files)
    changes.forget([*files, *sidecars])
    return entries[0].distribution.filename


def _sidecars(changes: ObjectChanges, entries: list[ScannedFile]) -> list[str]:
    inventory = changes.inventory
    return sorted(
        {
            key
            for entry in entries
            for suffix in _SIDECARS
            for key in (
                changes.key(entry.path) + suffix,
                *map(changes.key, inventory.sidecars_of(entry.distribution.filename, suffix)),
            )
        }
    )


def _without_tombstone(changes: ObjectChanges, entries: list[ScannedFile]) -> list[ScannedFile]:
    """Return the entries whose names have no tombstone, each name once."""
    taken = {name for lookup in changes.inventory.scan.tombstones.values() for name in lookup.found}
    missing = {entry.distribution.filename: entry for entry in entries}
    return [
        entry
        for name, entry in missing.items()
        if name not in taken and changes.key(entry.path) + DELETED not in changes.objects
    ]


def _delete_unfinished(changes: ObjectChanges, filename: str, when: datetime) -> str:
    """
    Free a name that an upload has taken and not filled: its file has never been there, so others may come.

    Raises:
        NotFound: There is no such upload.
        Conflict: It may be running.
    """
    keys = [
        key.removesuffix(CLAIM) for key in changes.objects if key.rpartition("/")[2] == f"{filename}{CLAIM}"
    ]
    if not keys:
        raise not_found(filename)
    for key in keys:
        begun_ns = changes.objects[key + CLAIM].modified_ns
        if begun_ns > (when - _UNFINISHED).timestamp() * 1e9:
            raise Conflict(
                f"{filename} is being uploaded, or was until less than an hour ago: upload it again to"
                " complete it, or delete it an hour after it has begun."
            )
        changes.delete([key, key + CLAIM])
    return filename
