"""The explanation of a project in a bucket; see `layout.explanation`. Blocking: call it in a thread."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from twisted_index.backends.layout.explanation import ProjectExplanation, staged_file, version_in
from twisted_index.backends.layout.manifest_blocks import blocks_of
from twisted_index.backends.layout.tombstones import MAX_TOMBSTONES
from twisted_index.backends.object_store.object_tree import tree_of
from twisted_index.backends.object_store.project_listing import CLAIM
from twisted_index.backends.object_store.staged_objects import marked_in, read_list
from twisted_index.simple.explanation import HiddenFile, Obstacle
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from twisted_index.backends.layout.explanation import Look, RootName
    from twisted_index.backends.object_store.object_tree import ObjectPart


def explain_objects(
    project: str, roots: Sequence[RootName], look: Look, parts: Sequence[ObjectPart]
) -> ProjectExplanation:
    """
    Return the explanation of a project.

    Args:
        project: A normalized name.
        roots: In order.
        look: What the page was made of.
        parts: What the buckets have of it, in the same order.
    """
    more = (file for root, part in zip(roots, parts, strict=True) for file in _more(project, root, part))
    return ProjectExplanation(project, roots, look, partial(_tombstone_blocks, parts), more=more)


def _tombstone_blocks(parts: Sequence[ObjectPart], path: bytes) -> Iterable[bytes]:
    return blocks_of(partial(tree_of(parts).open_manifest, path, MAX_TOMBSTONES))


def _more(project: str, root: RootName, part: ObjectPart) -> Iterator[HiddenFile]:
    """Yield the files that are not to be seen yet, and those that are being uploaded."""
    for key, promotion in _staged(project, part).items():
        yield staged_file(project, root, printable(key), promotion, filename=os.path.basename(key))
    for claim in part.listing.unfinished:
        key = claim.key.removesuffix(CLAIM)
        filename = os.path.basename(key)
        yield HiddenFile(
            filename=printable(filename),
            version=version_in(filename, project),
            obstacle=Obstacle.UNREAD,
            reason="Its upload has not come to its end.",
            path=printable(key),
            index=root.owner,
        )


def _staged(project: str, part: ObjectPart) -> dict[str, str]:
    """Return the keys of files that are not to be seen yet, with the promotion that shows each."""
    found: dict[str, str] = {}
    for promotion in sorted(marked_in(part.listing.objects)):
        names = read_list(part.root.bucket, promotion) or ()
        for key in part.listing.objects:
            name = key.rpartition("/")[2]
            if name in names and version_in(name, project):
                found.setdefault(key, promotion)
    return found
