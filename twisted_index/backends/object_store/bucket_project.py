"""A project as it was listed once: its scan, what is known of its files, and the page of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted_index.backends.layout.facts import KnownFile
from twisted_index.backends.layout.page_builder import build_page, claims_name, problems_of, select_files
from twisted_index.backends.layout.project_scan import ProjectScan
from twisted_index.backends.object_store.learned import object_id
from twisted_index.backends.object_store.object_problems import too_deep, unusable_key
from twisted_index.backends.object_store.object_tree import scan_parts
from twisted_index.interfaces import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted_index.backends.layout.page_builder import ListedFile
    from twisted_index.backends.object_store.bucket import StoredObject
    from twisted_index.backends.object_store.object_root import ObjectRoot
    from twisted_index.backends.object_store.object_tree import ObjectPart
    from twisted_index.backends.object_store.project_listing import ProjectListing
    from twisted_index.interfaces import Problem
    from twisted_index.simple.model import ProjectPage


@dataclass(slots=True, eq=False, kw_only=True)
class BucketProject:
    """
    A project as it was listed once.

    Attributes:
        listings: Those of its buckets, in order.
        snapshot: The page; of None if nothing is named for it.
        scan: What the names say.
        known_files: What is known of the files, by their paths.
        listed_files: The files of the page, by their names.
        problems: What is wrong with it.
    """

    listings: Sequence[ProjectListing]
    snapshot: Snapshot[ProjectPage | None]
    scan: ProjectScan = field(default_factory=ProjectScan)
    known_files: dict[bytes, KnownFile] = field(default_factory=dict)
    listed_files: Mapping[str, ListedFile] = field(default_factory=dict)
    problems: Sequence[Problem] = ()

    def count_objects(self) -> int:
        """Return how many objects it keeps in memory, and one for itself."""
        return sum(len(listing.objects) for listing in self.listings) + 1

    def find(self, roots: Sequence[ObjectRoot], path: bytes) -> tuple[ObjectRoot, StoredObject]:
        """Return the object at a path, and which of its buckets it lies in."""
        root, listing = next(
            (root, listing)
            for root, listing in zip(roots, self.listings, strict=True)
            if path.startswith(root.path + b"/")
        )
        return root, listing.objects[os.fsdecode(path[len(root.path) + 1 :])]


def build_project(
    project: str,
    parts: Sequence[ObjectPart],
    owners: Mapping[bytes, str],
    hold: Callable[[], bool],
    before: BucketProject | None,
) -> BucketProject:
    """
    Scan a project and build its page; called in a thread.

    Args:
        project: Its name.
        parts: What its buckets have of it, in order.
        owners: The names of inherited indexes, by the URLs of their buckets.
        hold: Returns whether the listings still hold.
        before: The last state, whose page goes on if the new one is equal.
    """
    scan = scan_parts(project, parts)
    known_files = _known_files(scan, parts)
    listed_files = select_files(scan.entries, scan, known_files)
    page = None
    if scan.claimed:
        claims = claims_name(scan, known_files)
        page = build_page(project, scan, listed_files.values(), claims=claims, owners=owners)
    last = None if before is None else before.snapshot.value
    own = parts[0].listing
    problems = [
        *problems_of(scan, listed_files, known_files),
        *map(unusable_key, own.unusable),
        *too_deep(project, own.objects),
    ]
    return BucketProject(
        listings=[part.listing for part in parts],
        snapshot=Snapshot(value=last if last == page else page, is_current=hold),
        scan=scan,
        known_files=known_files,
        listed_files=listed_files,
        problems=problems,
    )


def _known_files(scan: ProjectScan, parts: Sequence[ObjectPart]) -> dict[bytes, KnownFile]:
    known_files = {}
    for part in parts:
        for entry in scan.entries:
            if entry.root == part.root.path:
                learned = part.learned.get(object_id(part.listing.objects[part.key(entry.path)]))
                if learned is not None and learned.result is not None:
                    known_files[entry.path] = KnownFile(entry.key, learned.result, True, 0.0)
    return known_files
