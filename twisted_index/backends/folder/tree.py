"""
The tree of a project: one manifest line for each entry that counts, so that a mirror can compare.

Blocking; called in a thread. Digests of distribution files are those of their inspection; only sidecars and
statuses, which are small, are read.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from twisted_index.backends.folder.tombstones import tombstones_in
from twisted_index.backends.layout.entries import YANKED
from twisted_index.backends.layout.facts import FileFacts
from twisted_index.backends.layout.inventory import STATUS_MARKS
from twisted_index.backends.layout.project_scan import DELETED
from twisted_index.files.safe_open import open_regular_file
from twisted_index.simple.archives.limits import MAX_DOCUMENT
from twisted_index.simple.manifest import ManifestLine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.backends.folder.project_cache import ProjectState

#: The note of a file that is there and not listed; the first word of that of a tombstone.
NOT_LISTED, DELETED_NOTE = "not listed", "deleted"


def read_tree(state: ProjectState) -> tuple[ManifestLine, ...]:
    """
    List all that counts of a project.

    Args:
        state: With every file inspected.

    Raises:
        OSError: The tombstones cannot be read.
    """
    lines: dict[str, ManifestLine] = {}
    for line in (*_files(state), *_small_files(state)):
        # The first root that has a name wins.
        lines.setdefault(line.name, line)
    tombstones = [
        ManifestLine(
            name=line.name,
            time=line.time,
            sha256=line.sha256,
            size=line.size,
            note=f"{DELETED_NOTE} {line.note}".rstrip(),
        )
        for path in state.scan.tombstones
        for line in tombstones_in(path)
    ]
    return tuple(sorted((*lines.values(), *tombstones), key=lambda line: (line.name, line.note)))


def _files(state: ProjectState) -> Iterator[ManifestLine]:
    for entry in state.scan.entries:
        filename = entry.distribution.filename
        known = state.known_files.get(entry.path)
        facts = known.result if known is not None and known.key == entry.key else None
        listed = state.listed_files.get(filename)
        is_listed = listed is not None and listed.entry.path == entry.path
        yield ManifestLine(
            name=filename,
            time=_time(entry.key.mtime_ns),
            sha256=facts.sha256 if isinstance(facts, FileFacts) else None,
            size=entry.key.size,
            note="" if is_listed else NOT_LISTED,
        )


def _small_files(state: ProjectState) -> Iterator[ManifestLine]:
    for path in sorted(state.scan.sidecars - state.scan.tombstones.keys()):
        name, content = os.fsdecode(os.path.basename(path)), _read(path)
        if content is None or (name.startswith(".") and name not in STATUS_MARKS):
            # A claim is no status: it says nothing of what is here.
            continue
        data, mtime_ns = content
        says = name in STATUS_MARKS or name.endswith((YANKED, DELETED))
        yield ManifestLine(
            name=name,
            time=_time(mtime_ns),
            sha256=sha256(data).hexdigest(),
            size=len(data),
            note=data.decode("utf-8", "replace") if says else "",
        )


def _read(path: bytes) -> tuple[bytes, int] | None:
    """Read a small file with its time; None if it is gone, unreadable, or too large to be served."""
    try:
        file = open_regular_file(path, follow_links=False)
    except OSError:
        return None
    if file is None:
        return None
    with file:
        data = file.read(MAX_DOCUMENT + 1)
        return (data, os.fstat(file.fileno()).st_mtime_ns) if len(data) <= MAX_DOCUMENT else None


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
