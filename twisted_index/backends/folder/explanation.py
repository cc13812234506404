"""The explanation of a project in folders; see `layout.explanation`. Blocking: call it in a thread."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twisted_index.backends.folder.staged import LIST
from twisted_index.backends.folder.tombstones import tombstone_blocks
from twisted_index.backends.layout.explanation import ProjectExplanation, root_names, staged_file, version_in
from twisted_index.backends.layout.project_scan import printable_path
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.backends.layout.entries import ProjectEntries
    from twisted_index.backends.layout.explanation import Look, RootName
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.simple.explanation import HiddenFile


def explain_folders(
    project: str,
    roots: Sequence[RootName],
    look: Look | None,
    others: Iterable[tuple[ScannedFile, str]] = (),
    readings: Iterable[RootScan] = (),
) -> ProjectExplanation:
    """
    Return the explanation of a project.

    Args:
        project: A normalized name.
        roots: In order.
        look: See `ProjectExplanation`.
        others: See `ProjectExplanation`.
        readings: Those of the roots, for what is not to be seen yet.
    """
    more = _staged(project, {root.path: root for root in roots}, readings)
    return ProjectExplanation(project, roots, look, tombstone_blocks, others, more)


def _staged(project: str, roots: dict[bytes, RootName], readings: Iterable[RootScan]) -> Iterator[HiddenFile]:
    """Yield the files that lists in `.staged/` hide, each once."""
    for reading in readings:
        entries = reading.taken.get(project)
        if reading.staged is None or entries is None:
            continue
        seen: set[bytes] = set()
        for listed, one in reading.staged.lists.items():
            for path in _places(reading.path, entries, one.hidden.get(project, ())):
                filename = os.fsdecode(os.path.basename(path))
                if path not in seen and version_in(filename, project):
                    seen.add(path)
                    promotion = os.fsdecode(listed.removesuffix(LIST))
                    shown = printable_path(path)
                    yield staged_file(project, roots[reading.path], shown, promotion, filename=filename)


def _places(root: bytes, entries: ProjectEntries, names: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the paths below a root at which files of some names lie."""
    for name in sorted(names):
        if name in entries.files:
            yield name
        for folder in entries.folders:
            if os.path.lexists(os.path.join(root, folder, name)):
                yield os.path.join(folder, name)


def folder_names(paths: Sequence[bytes], owners: Sequence[str | None] = ()) -> tuple[RootName, ...]:
    """Name the roots: an index by its name, others by the name of their folders."""
    return root_names(paths, owners, _shown)


def _shown(path: bytes) -> str:
    return f"folder {printable(os.fsdecode(os.path.basename(path)))}"
