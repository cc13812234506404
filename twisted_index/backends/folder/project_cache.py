"""The state of requested projects in memory, and its validity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted_index.backends.folder.listing import stat_key, stat_key_no_follow
from twisted_index.concurrency.lru import LRU

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.backends.folder.inspector import KnownFiles
    from twisted_index.backends.folder.listing import Listing
    from twisted_index.backends.folder.page_builder import ListedFile
    from twisted_index.backends.folder.root_listing import ProjectEntries
    from twisted_index.backends.folder.root_set import RootSet
    from twisted_index.concurrency.single_flight import SharedResult
    from twisted_index.files.stamps import Stamp, StampedStat, StatValidator
    from twisted_index.interfaces import Problem, Snapshot
    from twisted_index.simple.model import ProjectPage

#: Files whose state is kept, over all projects, at about 2.5 KB each. Beyond it the projects that
#: were asked for longest ago are dropped; they come back from the ledger, without being read.
MAX_FILES_KEPT = 20_000


class FolderValidity:
    """
    Is what was said of a project still true?

    Small, and without a way to the project's files: prepared answers keep it for as long as
    they are kept, which is longer than states are.

    Args:
        roots: The roots.
        validator: Compares stamps.
        folders: The project's folders, with their stamps from before they were read.
        generation: Of the roots, when they were looked at.
        checked_at: Monotonic seconds at which the project's files were last looked at.
        lifetime: Seconds for which that look counts.
    """

    __slots__ = (
        "_folders",
        "_is_revoked",
        "_roots",
        "_stamps",
        "_validator",
        "checked_at",
        "generation",
        "lifetime",
    )

    def __init__(
        self,
        roots: RootSet,
        validator: StatValidator,
        folders: list[tuple[bytes, StampedStat]],
        *,
        generation: int,
        checked_at: float,
        lifetime: float,
    ) -> None:
        self._roots = roots
        self._validator = validator
        self._folders = folders
        #: What has to be as it was: None while a stamp is not clean, and nothing can be told from it.
        self._stamps: list[tuple[bytes, Stamp]] | None = None
        self._is_revoked = False
        self.generation = generation
        self.checked_at = checked_at
        self.lifetime = lifetime

    def __call__(self) -> bool:
        """Say whether it is: a look at the clock, and one `stat` for each root and folder."""
        # On the way of every request, so in one piece. A generation that has passed, or a root
        # that was read again, is looked into by `folders_are_current` and not here.
        validator = self._validator
        if (
            self._stamps is None
            or validator.monotonic() - self.checked_at >= self.lifetime
            or self.generation != self._roots.generation
        ):
            return False
        stat = validator.stat
        try:
            for path, stamp in self._stamps:
                status = stat(path)
                if (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns) != stamp:
                    return False
        except OSError:
            return False
        return True

    def is_recent(self) -> bool:
        """Say whether the last look at the files still counts."""
        return self._validator.monotonic() - self.checked_at < self.lifetime

    def folders_are_current(self) -> bool:
        """Say whether the roots and the project's folders are as they were, and take note of it."""
        self._stamps = None
        roots = self._roots.stamps()
        if roots is None or self._is_revoked:
            return False
        seen = [*roots, *self._folders]
        if not all(self._validator.is_current(path, one) for path, one in seen):
            return False
        self._stamps = [(path, one.stamp) for path, one in seen]
        return True

    def invalidate(self) -> None:
        """Say no from now on: something was found that no time in the file system tells of."""
        self._is_revoked = True
        self._stamps = None


@dataclass(slots=True, eq=False)
class ProjectState:
    """
    A project as it was found at one look.

    Attributes:
        entries: What the roots held for it.
        listing: What lies there.
        known_files: What is known of its files; shared by all states of the project.
        validity: Tells whether all this is still so.
        inspecting: The reading of its files, once it has begun.
        previous: The page before, to be kept if the new one says the same.
        has_baseline: Whether what was before is known, so that observers can be told what has changed.
        problems: What is left out; while a file is young, what was left out before.
        snapshot: None until every file is known. Its value is None if nothing is named for the
            project.
        listed_files: The files that are listed, by file name.
        settled: False while a file is so young that it has to be read once more.
    """

    entries: list[tuple[bytes, ProjectEntries]]
    listing: Listing
    known_files: KnownFiles
    validity: FolderValidity
    inspecting: SharedResult[None] | None = None
    previous: ProjectPage | None = None
    has_baseline: bool = False
    problems: Sequence[Problem] = ()
    snapshot: Snapshot[ProjectPage | None] | None = None
    listed_files: dict[str, ListedFile] = field(default_factory=dict)
    settled: bool = False

    def files_are_current(self) -> bool:
        """Say whether every file is as it was: one `stat` each, so only for small projects at once."""
        beside = self.listing.sidecars
        return all(
            (stat_key_no_follow(path) if path in beside else stat_key(path)) == key
            for path, key in self.listing.watched.items()
        )


def project_cache(limit: int = MAX_FILES_KEPT) -> LRU[str, ProjectState]:
    """Return an empty cache of states by project, bounded by the number of their files."""
    return LRU(limit, _weight)


def _weight(state: ProjectState) -> int:
    return len(state.listing.watched) + 1
