"""
The plan of a join: gives a project of this server all that either server has of it. Pure.

Both servers took changes without knowing each other's. Nothing is lost: missing files are taken, the marks
and tombstones of both apply, and where a name has two contents, the file of the server with the higher epoch
keeps it, while the other is set aside.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from twisted_index.backends.layout.copies import COPIES
from twisted_index.backends.layout.entries import YANKED
from twisted_index.backends.layout.project_scan import CLAIMED, DELETED, DOCUMENTS
from twisted_index.backends.layout.tombstones import TOMBSTONES
from twisted_index.simple.names import InvalidFilename, parse_filename

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterator, Mapping

    from twisted_index.simple.entry_listing import Entry
    from twisted_index.simple.manifest import ManifestLine

#: The manifests of a project's folder, which are merged line by line.
TOMBSTONE_LINES, COPY_LINES = os.fsdecode(TOMBSTONES), os.fsdecode(COPIES)
#: Suffixes of documents that belong to the bytes of the file that they lie beside.
_OF_BYTES = tuple(DOCUMENTS)
_SIDECARS = (*_OF_BYTES, YANKED, DELETED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """
    What a server has of a project.

    Attributes:
        entries: All entries but the manifests. Digests that are not needed are empty.
        deleted: The lines of deleted files, by name.
        copies: The lines of copies, by name.
    """

    entries: tuple[Entry, ...] = ()
    deleted: Mapping[str, ManifestLine] = field(default_factory=dict)
    copies: Mapping[str, ManifestLine] = field(default_factory=dict)


class Take(NamedTuple):
    """
    Take an entry that is missing here.

    Attributes:
        entry: Their entry.
        line: Their line of it, if it is a copy.
    """

    entry: Entry
    line: ManifestLine | None = None


class SetAside(NamedTuple):
    """
    Set our entry aside, as theirs with the same name wins.

    Attributes:
        entry: Our entry.
        kept: The digest of theirs; with `deleted/` before it if they have deleted it.
        beside: Our documents of the entry.
    """

    entry: Entry
    kept: str
    beside: tuple[Entry, ...] = ()


class Replace(NamedTuple):
    """
    Replace our entry, which was set aside, by theirs.

    Attributes:
        entry: Their entry.
        old: Our entry.
        beside: Our documents of it.
    """

    entry: Entry
    old: Entry
    beside: tuple[Entry, ...] = ()


class FetchAside(NamedTuple):
    """
    Fetch their entry and set it aside, as ours with the same name wins.

    Attributes:
        entry: Their entry.
        kept: The digest of ours, as for `SetAside`.
        path: The path of ours.
        beside: Their documents of the entry.
    """

    entry: Entry
    kept: str
    path: str
    beside: tuple[Entry, ...] = ()


class Bury(NamedTuple):
    """
    Record their deletion, and remove our file if it is the deleted one, or was set aside.

    Attributes:
        line: Their line.
        entry: Our file; None without one.
        beside: What lies beside it here.
    """

    line: ManifestLine
    entry: Entry | None = None
    beside: tuple[Entry, ...] = ()


class Keep(NamedTuple):
    """
    Keep our file, and record that they have deleted another one with its name.

    Attributes:
        entry: Our file.
        aside: The file that they have deleted, as for `SetAside`.
    """

    entry: Entry
    aside: str


class Exhume(NamedTuple):
    """
    Withdraw our deletion of a file, as they have another one with its name.

    Attributes:
        entry: Their file.
        line: Our line.
    """

    entry: Entry
    line: ManifestLine


JoinStep: TypeAlias = Take | SetAside | Replace | FetchAside | Bury | Keep | Exhume

#: Returns whether a conflict is recorded, by its path, and what was kept and set aside.
IsRecorded: TypeAlias = "Callable[[str, str, str], bool]"


def key_of(project: str, name: str) -> Hashable:
    """Return a key that is equal for all spellings of a name."""
    for suffix in _SIDECARS:
        if name.endswith(suffix) and not name.startswith("."):
            return _identity(project, name.removesuffix(suffix)), suffix
    return _identity(project, name)


def _identity(project: str, name: str) -> Hashable:
    try:
        return parse_filename(name, project).identity
    except InvalidFilename:
        return name


def _by_key(project: str, entries: Collection[Entry]) -> dict[Hashable, Entry]:
    """Index entries by key; further spellings of a name are indexed by their paths."""
    found: dict[Hashable, Entry] = {}
    for entry in entries:
        key = key_of(project, entry.name)
        found[key if key not in found else entry.path] = entry
    return found


def plan_join(
    project: str, ours: Holdings, theirs: Holdings, *, they_win: bool, is_recorded: IsRecorded
) -> Iterator[JoinStep]:
    """
    Yield the steps of a join, steps that hide first.

    A plan is empty once all steps are done, so a join that was cut off makes a new plan.

    Args:
        project: A normalized name.
        ours: What this server has.
        theirs: What the other server has.
        they_win: Whether the other server has the higher epoch.
        is_recorded: Returns whether a conflict is recorded.
    """
    plan = _Plan(project, ours, theirs, they_win, is_recorded)
    yield from plan.deletions()
    yield from plan.marks()
    yield from plan.files()


def only_here(project: str, ours: Holdings, theirs: Holdings) -> list[str]:
    """Return the paths and deletions that they lack, which this server would lose by following them."""
    there = _by_key(project, theirs.entries)
    buried = _keys(project, theirs.deleted)
    paths = [
        entry.path
        for key, entry in _by_key(project, ours.entries).items()
        if key not in there and key not in buried and _owner(key) not in buried
    ]
    deletions = [name for name in ours.deleted if key_of(project, name) not in {*buried, *there}]
    return paths + deletions


def _keys(project: str, names: Collection[str]) -> dict[Hashable, str]:
    return {key_of(project, name): name for name in names}


def _owner(key: Hashable) -> Hashable:
    """Return the key of the file that a sidecar belongs to."""
    return key[0] if isinstance(key, tuple) and len(key) == 2 and key[1] in _SIDECARS else key


class _Plan:
    def __init__(
        self, project: str, ours: Holdings, theirs: Holdings, they_win: bool, is_recorded: IsRecorded
    ) -> None:
        self._they_win = they_win
        self._is_recorded = is_recorded
        self._ours = _by_key(project, ours.entries)
        self._theirs = _by_key(project, theirs.entries)
        self._copies = theirs.copies
        self._our_deleted = {key_of(project, name): line for name, line in ours.deleted.items()}
        self._their_deleted = {key_of(project, name): line for name, line in theirs.deleted.items()}

    # -- Deleted files

    def deletions(self) -> Iterator[JoinStep]:
        for key, line in self._their_deleted.items():
            entry, beside = self._ours.get(key), _beside(self._ours, key, _SIDECARS)
            is_known = key in self._our_deleted
            if entry is None:
                if beside or not is_known:
                    yield Bury(line, None, beside)
            elif entry.sha256 == line.sha256 or self._is_recorded(entry.path, _deleted(line), entry.sha256):
                # Even with our own line of it: an earlier join may have been cut off.
                yield Bury(line, entry, beside)
            elif is_known:
                continue
            elif self._they_win or line.sha256 is None:
                yield SetAside(entry, _deleted(line), beside)
            elif not self._is_recorded(entry.path, entry.sha256, _deleted(line)):
                yield Keep(entry, _deleted(line))

    # -- Marks

    def marks(self) -> Iterator[JoinStep]:
        for key, entry in self._theirs.items():
            owner, name = _owner(key), entry.name
            is_sidecar = owner is not key
            if not is_sidecar and not name.startswith("."):
                continue
            if owner in self._their_deleted or self._is_gone_here(owner):
                continue
            ours = self._ours.get(key)
            if is_sidecar and isinstance(key, tuple) and key[1] in _OF_BYTES and self._differs(owner):
                continue  # with the bytes that it belongs to
            if ours is None:
                yield Take(entry, self._line(entry))
            elif name != CLAIMED and ours.sha256 != entry.sha256:
                yield from self._differing(entry, ours)

    # -- Files

    def files(self) -> Iterator[JoinStep]:
        for key, entry in self._theirs.items():
            if _owner(key) is not key or entry.name.startswith(".") or key in self._their_deleted:
                continue
            ours, buried = self._ours.get(key), self._our_deleted.get(key)
            if ours is None and buried is not None:
                yield from self._deleted_here(key, entry, buried)
            elif ours is None:
                yield Take(entry, self._line(entry))
            elif ours.sha256 != entry.sha256:
                yield from self._differing(entry, ours, key)

    def _deleted_here(self, key: Hashable, entry: Entry, buried: ManifestLine) -> Iterator[JoinStep]:
        if entry.sha256 == buried.sha256:
            return
        path, beside = entry.path, _beside(self._theirs, key, _OF_BYTES)
        if self._they_win and buried.sha256 is not None:
            yield Exhume(entry, buried)
        elif not self._is_recorded(path, _deleted(buried), entry.sha256):
            yield FetchAside(entry, _deleted(buried), path, beside)

    def _differing(self, entry: Entry, ours: Entry, key: Hashable = None) -> Iterator[JoinStep]:
        """Yield the steps for two contents of one name."""
        if self._they_win:
            beside = _beside(self._ours, key, _OF_BYTES)
            if self._is_recorded(ours.path, entry.sha256, ours.sha256):
                yield Replace(entry, ours, beside)
            else:
                yield SetAside(ours, entry.sha256, beside)
        elif not self._is_recorded(ours.path, ours.sha256, entry.sha256):
            yield FetchAside(entry, ours.sha256, ours.path, _beside(self._theirs, key, _OF_BYTES))

    def _differs(self, key: Hashable) -> bool:
        ours, theirs = self._ours.get(key), self._theirs.get(key)
        return ours is not None and theirs is not None and ours.sha256 != theirs.sha256

    def _is_gone_here(self, key: Hashable) -> bool:
        """Return whether a file was deleted here, and stays deleted."""
        buried, theirs = self._our_deleted.get(key), self._theirs.get(key)
        if buried is None or key in self._ours:
            return False
        is_taken = theirs is not None and theirs.sha256 != buried.sha256 and buried.sha256 is not None
        return not (self._they_win and is_taken)

    def _line(self, entry: Entry) -> ManifestLine | None:
        line = self._copies.get(entry.name)
        return line if line is not None and line.sha256 == entry.sha256 else None


def _beside(entries: Mapping[Hashable, Entry], key: Hashable, suffixes: tuple[str, ...]) -> tuple[Entry, ...]:
    """Return the sidecars of a file that are there."""
    found = (entries.get((key, suffix)) for suffix in suffixes)
    return tuple(entry for entry in found if entry is not None)


def _deleted(line: ManifestLine) -> str:
    return f"deleted/{line.sha256 or '-'}"
