"""
Changes of what lies in a bucket already: yanks, statuses, deletions. Blocking.

If the process dies after any step, no withdrawn file is listed, and repeating the change completes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.layout.entries import YANKED
from twisted_index.backends.layout.reasons import format_reason
from twisted_index.backends.layout.selection import find_equivalents, not_found, select_shown
from twisted_index.backends.layout.tombstones import TOMBSTONES
from twisted_index.backends.object_store.claims import RUNNING
from twisted_index.backends.object_store.object_digest import stored_digest
from twisted_index.backends.object_store.project_listing import CLAIM
from twisted_index.backends.object_store.tombstone_object import add_manifest_line
from twisted_index.errors import Conflict, NotFound
from twisted_index.simple.manifest import ManifestLine, format_line
from twisted_index.simple.model import ProjectStatus, Sidecar, Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.backends.object_store.object_changes import ObjectChanges
    from twisted_index.simple.names import Distribution

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
    _drop_orphans(changes.look(), files.values())
    return tuple(files)


def _drop_orphans(now: ObjectChanges, files: Iterable[ScannedFile]) -> None:
    """Remove what lies beside files that another node has deleted meanwhile."""
    gone = [entry for entry in files if now.key(entry.path) not in now.objects]
    now.delete(_sidecars(now, gone))


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

    Another node may take it for an old one, and remove it; then it is written again. Of two that are left
    the stricter one counts.

    Raises:
        NotFound: There is no such project.
    """
    inventory = changes.inventory
    if not inventory.exists:
        raise NotFound(f"There is no project {inventory.project}.")
    current = [changes.key(path) for path in inventory.status_marks()]
    if status.status is Status.ACTIVE:
        changes.delete(current)
        return
    mark = changes.key_in(inventory.folder_path, f".{status.status.value}")
    changes.writes.put(mark, format_reason(status.reason))
    changes.forget([mark])
    changes.delete(key for key in current if key != mark)
    if mark not in changes.look().objects:
        changes.writes.put(mark, format_reason(status.reason))


def delete(changes: ObjectChanges, filename: str, *, by: str, reason: str, when: datetime) -> str:
    """
    Delete a file in any spelling with its sidecars; return its name.

    The tombstones are written first, and the files removed last, so that repeating a deletion that was cut
    off finds what is left of it. Another node may have revived the file meanwhile, or marked it; so what is
    left then is completed.

    Raises:
        NotFound: There is no such file.
        Conflict: It is being uploaded.
    """
    entries = find_equivalents(changes.inventory, filename)
    if not entries:
        return _delete_unfinished(changes, filename, when)
    note = f"by {by}" + (f": {reason}" if reason else "")
    # The served file comes last, otherwise the next equivalent one would be served for a moment.
    tombstones = [_tombstone(changes, entry, when, note) for entry in reversed(entries)]
    for tombstone in tombstones:
        tombstone.write(changes)
    files = [changes.key(entry.path) for entry in reversed(entries)]
    sidecars = _sidecars(changes, entries)
    changes.delete(sidecars)
    changes.delete(files)
    changes.forget([*files, *sidecars])
    now = changes.look()
    for tombstone, key in zip(tombstones, files, strict=True):
        if key not in now.objects:
            tombstone.write(now)
    _drop_orphans(now, entries)
    return entries[0].distribution.filename


class _Tombstone(NamedTuple):
    """A line that is to be in a `.deleted`."""

    key: str
    distribution: Distribution
    line: bytes

    def write(self, changes: ObjectChanges) -> None:
        """Write it, unless its name has one."""
        taken = changes.inventory.tombstones_of(self.distribution)
        if self.distribution.filename not in {each.name for each in taken}:
            add_manifest_line(changes.bucket, changes.writes, self.key, self.line)


def _tombstone(changes: ObjectChanges, entry: ScannedFile, when: datetime, note: str) -> _Tombstone:
    stored = changes.objects[changes.key(entry.path)]
    line = ManifestLine(
        name=entry.distribution.filename,
        sha256=changes.known_sha256(stored) or stored_digest(changes.bucket, stored),
        size=stored.size,
        time=when,
        note=note,
    )
    folder = changes.inventory.folder_in(entry.root)
    return _Tombstone(changes.key_in(folder, TOMBSTONES.decode()), entry.distribution, format_line(line))


def _sidecars(changes: ObjectChanges, entries: Iterable[ScannedFile]) -> list[str]:
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
        if begun_ns > (when - RUNNING).timestamp() * 1e9:
            raise Conflict(
                f"{filename} is being uploaded, or was until less than an hour ago: upload it again to"
                " complete it, or delete it an hour after it has begun."
            )
        changes.delete([key, key + CLAIM])
    return filename
