"""What a bucket has of a project, and at its root: a listing, sorted by what its keys are named for."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from twisted_index.backends.layout.entries import ProjectEntries, entry_project
from twisted_index.backends.layout.project_scan import CLAIMING, QUARANTINE
from twisted_index.simple.names import claimed_project

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from twisted_index.backends.object_store.bucket import Bucket, Listing, StoredObject
    from twisted_index.backends.object_store.held_listings import Hold

#: Ends the key of what says that a file is being uploaded, and which.
CLAIM = ".claim"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectListing:
    """
    What a bucket has of a project.

    Attributes:
        entries: The folders and flat files that are named for it.
        objects: All objects in these folders, and those flat files, by key.
        unfinished: Claims of files that are not there, or have no bytes yet.
        unusable: Keys below these folders that no folder could have, escaped.
        hold: Whether it still holds.
    """

    entries: ProjectEntries = field(default_factory=ProjectEntries)
    objects: Mapping[str, StoredObject] = field(default_factory=dict)
    unfinished: tuple[StoredObject, ...] = ()
    unusable: tuple[str, ...] = ()
    hold: Hold

    def is_like(self, other: ProjectListing) -> bool:
        """Return whether the same is there."""
        return self.entries == other.entries and self.objects == other.objects

    def without(self, hidden: frozenset[bytes]) -> ProjectListing:
        """Return it without files that are not to be seen yet, and their claims."""
        if not hidden:
            return self
        claims = (claim for claim in self.unfinished if _announced(claim.key) not in hidden)
        entries = self.entries._replace(hidden=self.entries.hidden | hidden)
        return replace(self, entries=entries, unfinished=tuple(claims))


def _announced(claim: str) -> bytes:
    """Return the name of the file that a claim announces, from its key."""
    return claim.rpartition("/")[2].removesuffix(CLAIM).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class RootListing:
    """
    What a bucket has at its root.

    Attributes:
        projects: What it has of each project; in a large bucket without the objects in folders.
        unassigned: Flat objects that belong to no project, by name.
        unusable: Keys that no folder could have, escaped.
        is_whole: Whether this is all that the bucket has.
        requests: How many it took.
        hold: Whether it still holds.
    """

    projects: Mapping[str, ProjectListing] = field(default_factory=dict)
    unassigned: Mapping[str, StoredObject] = field(default_factory=dict)
    unusable: tuple[str, ...] = ()
    is_whole: bool = False
    requests: int = 1
    hold: Hold


def list_folders(
    bucket: Bucket, folders: Iterable[bytes], flat: ProjectListing | None, hold: Hold
) -> ProjectListing:
    """
    List the folders of a project, and add its flat files; blocks.

    Args:
        bucket: The bucket.
        folders: Their names; without objects they are none.
        flat: What the root has of the project.
        hold: That of the listing.
    """
    objects = {} if flat is None else dict(flat.objects)
    found: list[bytes] = []
    unusable: list[str] = []
    for folder in folders:
        listing = bucket.list_all(folder.decode())
        unusable += listing.unusable
        if listing.objects:
            found.append(folder)
            objects.update(listing.objects)
    return _listing_of(found, () if flat is None else flat.entries.files, objects, unusable, hold)


def listing_of_project(
    project: str, objects: Mapping[str, StoredObject], unusable: Iterable[str], hold: Hold
) -> ProjectListing:
    """
    Make the listing of a project of all its objects.

    Args:
        project: The normalized project name.
        objects: Its objects, in its folders and flat.
        unusable: Keys that no folder could have, of any project.
        hold: That of the listing.
    """
    heads = {(key.partition("/")[0], "/" in key) for key in objects}
    return _listing_of(
        sorted(name.encode() for name, is_folder in heads if is_folder),
        sorted(name.encode() for name, is_folder in heads if not is_folder),
        objects,
        (key for key in unusable if project_of_key(key) == project),
        hold,
    )


def project_of_key(key: str) -> str | None:
    """Return the normalized project that a key is named for; None for none."""
    name, slash, _rest = key.partition("/")
    return entry_project(name.encode("utf-8", "surrogateescape"), bool(slash))


def root_of(
    listing: Listing, hold: Hold, *, is_whole: bool, hidden: Mapping[str, frozenset[bytes]] | None = None
) -> RootListing:
    """
    Sort a listing by projects.

    Args:
        listing: Of the whole bucket, or of its root.
        hold: That of the listing.
        is_whole: Which of both.
        hidden: Names of files that are not to be seen yet, by their projects.
    """
    names = {(folder, True) for folder in listing.folders}
    by_name: defaultdict[tuple[str, bool], dict[str, StoredObject]] = defaultdict(dict)
    for key, stored in listing.objects.items():
        name, slash, _rest = key.partition("/")
        by_name[name, bool(slash)][key] = stored
    by_project: defaultdict[str | None, list[tuple[str, bool]]] = defaultdict(list)
    for entry in sorted(names | by_name.keys()):
        by_project[entry_project(entry[0].encode(), entry[1])].append(entry)
    unassigned = by_project.pop(None, [])
    projects = {
        project: _listing_of(
            [name.encode() for name, is_folder in its_names if is_folder],
            [name.encode() for name, is_folder in its_names if not is_folder],
            {key: stored for name in its_names for key, stored in by_name.get(name, {}).items()},
            (),
            hold,
        ).without((hidden or {}).get(project, frozenset()))
        for project, its_names in by_project.items()
        if project is not None
    }
    return RootListing(
        projects=projects,
        unassigned={name: by_name[name, False][name] for name, is_folder in unassigned if not is_folder},
        unusable=listing.unusable,
        is_whole=is_whole,
        requests=listing.requests,
        hold=hold,
    )


def _listing_of(
    folders: Iterable[bytes],
    files: Iterable[bytes],
    objects: Mapping[str, StoredObject],
    unusable: Iterable[str],
    hold: Hold,
) -> ProjectListing:
    """Make the listing of a project; claims, and what they announce, are not to be seen."""
    hidden, unfinished = set(), []
    for key, stored in objects.items():
        if not key.endswith(CLAIM) or key.count("/") != 1:
            continue
        announced = objects.get(key.removesuffix(CLAIM))
        hidden.add(key.partition("/")[2].encode())
        if announced is None or not announced.size:
            unfinished.append(stored)
            hidden.add(key.partition("/")[2].removesuffix(CLAIM).encode())
    return ProjectListing(
        entries=ProjectEntries(tuple(folders), tuple(files), frozenset(hidden)),
        objects=objects,
        unfinished=tuple(unfinished),
        unusable=tuple(unusable),
        hold=hold,
    )


def listed_names(roots: Sequence[RootListing]) -> tuple[str, ...]:
    """Return the names to list, sorted: of what is not known from within, a folder is enough."""
    names, quarantined = set[str](), set[str]()
    for root in roots:
        for name, listing in root.projects.items():
            within = {key.split("/")[1] for key in listing.objects if "/" in key}
            within -= {os.fsdecode(hidden) for hidden in listing.entries.hidden}
            if QUARANTINE in within:
                quarantined.add(name)
            elif _is_listed(name, listing, within, root):
                names.add(name)
    return tuple(sorted(names - quarantined))


def _is_listed(project: str, listing: ProjectListing, within: set[str], root: RootListing) -> bool:
    if not root.is_whole and listing.entries.folders:
        return True
    return (
        any(not name.startswith(b".") for name in listing.entries.files)
        or bool(listing.unfinished)
        or any(name in CLAIMING or claimed_project(name) == project for name in within)
    )
