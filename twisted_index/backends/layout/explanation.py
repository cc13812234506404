"""
What folders or buckets know of a project, and what hides each of its files. Blocking: call it in a thread.

Whether a file is listed was decided by `page_builder` when the page was made; this only finds the words.
"""

from __future__ import annotations

import os
from datetime import UTC
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.layout.facts import FileFacts, Rejection
from twisted_index.backends.layout.page_builder import is_copy, listable
from twisted_index.backends.layout.project_scan import DELETED
from twisted_index.backends.layout.tombstones import last_tombstones
from twisted_index.interfaces import Explanation
from twisted_index.simple.explanation import HiddenFile, Obstacle, SourceAnswer, SourceKind
from twisted_index.simple.formatting import printable, sentence
from twisted_index.simple.names import InvalidFilename, looks_like_distribution, parse_filename

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from twisted_index.backends.layout.facts import KnownFiles
    from twisted_index.backends.layout.page_builder import ListedFile
    from twisted_index.backends.layout.project_scan import ProjectScan, ScannedFile
    from twisted_index.errors import SimpleIndexError
    from twisted_index.interfaces import Snapshot
    from twisted_index.simple.manifest import ManifestLine
    from twisted_index.simple.model import ProjectPage

#: The last tombstones of each `.deleted` file that are read.
_MAX_TOMBSTONES = 10_000


class RootName(NamedTuple):
    """
    A root as people know it.

    Attributes:
        path: The root.
        name: What it is, and its name, printable.
        owner: The index that it belongs to, as `File.owner`.
    """

    path: bytes
    name: str
    owner: str | None = None


class Look(NamedTuple):
    """
    What a page was made of.

    Attributes:
        scan: The files that counted.
        known_files: Those of them that were inspected.
        listed_files: The listed ones, by name.
        claiming: The scan that says who claims the name.
    """

    scan: ProjectScan
    known_files: KnownFiles
    listed_files: Mapping[str, ListedFile]
    claiming: ProjectScan


class ProjectExplanation:
    """
    The explanation of one project.

    Args:
        project: A normalized name.
        roots: In order.
        look: What the page was made of; None if the roots have nothing of it.
        blocks: Reads a `.deleted` file from its path, a block of whole lines at a time.
        others: Files that did not count, with the reason why.
        more: Files that no scan has, such as those that are not to be seen yet; read in the thread.
    """

    def __init__(
        self,
        project: str,
        roots: Sequence[RootName],
        look: Look | None,
        blocks: Callable[[bytes], Iterable[bytes]] = lambda _path: (),
        others: Iterable[tuple[ScannedFile, str]] = (),
        more: Iterable[HiddenFile] = (),
    ) -> None:
        self._project = project
        self._roots = {root.path: root for root in roots}
        self._look = look
        self._blocks = blocks
        self._others = others
        self._more = more

    def read(
        self, snapshot: Snapshot[ProjectPage | None] | None, error: SimpleIndexError | None
    ) -> Explanation:
        """
        Read what is not in memory, and explain.

        Args:
            snapshot: Of the page; None if there is an error in its place.
            error: The error.

        Raises:
            OSError: The tombstones cannot be read.
        """
        look = self._look
        if look is None:
            return Explanation(
                snapshot=snapshot, error=error, sources=self._answers(error), hidden=tuple(self._more)
            )
        listed = {} if error is not None else look.listed_files
        tombstones = {
            line.name: line
            for path in look.scan.tombstones
            for line in last_tombstones(self._blocks(path), _MAX_TOMBSTONES)
        }
        return Explanation(
            snapshot=snapshot,
            error=error,
            sources=self._answers(error),
            hidden=(
                *self._hidden(look, listed, tombstones),
                *(self._not_then(entry, reason) for entry, reason in self._others),
                *self._gone(look.scan, tombstones),
                *self._more,
            ),
            paths={name: file.entry.display_path for name, file in listed.items()},
        )

    # -- The roots

    def _answers(self, error: SimpleIndexError | None) -> tuple[SourceAnswer, ...]:
        entry = None if self._look is None else _claiming_entry(self._look)
        return tuple(self._answer(root, entry, error) for root in self._roots.values())

    def _answer(self, root: RootName, entry: _Claim | None, error: SimpleIndexError | None) -> SourceAnswer:
        count = sum(file.root == root.path for file in self._look.scan.entries) if self._look else 0
        files = "1 file" if count == 1 else f"{count} files"
        says = f"has {files} of it" if count else "has no file of it"
        if error is not None and self._look is None:
            says = f"may have it: {error.message}"
        claims = entry is not None and entry.root == root.path
        if entry is not None and claims and entry.is_changed:
            says += f"; {entry.path} differs from what was recorded as a copy"
        return SourceAnswer(
            kind=SourceKind.FOLDER,
            name=root.name,
            index=root.owner,
            says=says,
            claims=claims,
            entry=entry.path if entry is not None and claims else "",
        )

    # -- The files

    def _hidden(
        self,
        look: Look,
        listed: Mapping[str, ListedFile],
        tombstones: Mapping[str, ManifestLine],
    ) -> Iterator[HiddenFile]:
        winners = {file.entry.distribution.identity: file.entry for file in listed.values()}
        for entry in look.scan.entries:
            winner = winners.get(entry.distribution.identity)
            if winner is None or winner.path != entry.path:
                yield self._hidden_file(entry, look, winner, tombstones)
        paths = {entry.display_path for entry in look.scan.entries}
        for problem in look.scan.problems:
            filename = problem.path.rpartition("/")[2]
            if problem.path not in paths and looks_like_distribution(filename):
                paths.add(problem.path)
                yield HiddenFile(
                    filename=filename,
                    version=version_in(filename, self._project),
                    obstacle=Obstacle.REFUSED,
                    reason=problem.reason,
                    path=problem.path,
                )

    def _hidden_file(
        self,
        entry: ScannedFile,
        look: Look,
        winner: ScannedFile | None,
        tombstones: Mapping[str, ManifestLine],
    ) -> HiddenFile:
        filename, note = entry.distribution.filename, ""
        found = listable(entry, look.scan, look.known_files)
        obstacle: Obstacle
        if found is Obstacle.DELETED:
            obstacle, tombstone = found, tombstones.get(filename)
            reason = f"{_deleted(tombstone)}, and its name stays taken."
            note = "" if tombstone is None else tombstone.note
        elif winner is not None:
            obstacle, reason = Obstacle.SHADOWED, self._shadow(entry, winner, look)
        elif isinstance(found, FileFacts):
            obstacle, reason = Obstacle.UNREAD, "It has been read; the page waits for other files."
        else:
            obstacle, reason = found, _reason(found, entry, look)
        return HiddenFile(
            filename=filename,
            version=entry.distribution.version,
            obstacle=obstacle,
            reason=reason,
            path=entry.display_path,
            index=self._root_of(entry).owner,
            note=note,
        )

    def _not_then(self, entry: ScannedFile, reason: str) -> HiddenFile:
        return HiddenFile(
            filename=entry.distribution.filename,
            version=entry.distribution.version,
            obstacle=Obstacle.MOMENT,
            reason=reason,
            path=entry.display_path,
            index=self._root_of(entry).owner,
        )

    def _root_of(self, entry: ScannedFile) -> RootName:
        # What is kept of deleted files is in a folder of the root.
        return self._roots.get(entry.root) or self._roots[os.path.dirname(entry.root)]

    def _shadow(self, entry: ScannedFile, winner: ScannedFile, look: Look) -> str:
        same = _digest(entry, look) is not None and _digest(entry, look) == _digest(winner, look)
        root = self._root_of(winner)
        where = f" in {root.name}" if len(self._roots) > 1 else ""
        what = "is the same file" if same else "has other bytes under a name that installers treat as equal"
        return f"{winner.display_path}{where} comes first and {what}."

    def _gone(self, scan: ProjectScan, tombstones: Mapping[str, ManifestLine]) -> Iterator[HiddenFile]:
        """Yield the deleted files that are there no more, each name once."""
        here = {entry.distribution.filename for entry in scan.entries}
        sidecars = {name for name, suffix in scan.sidecar_owners if suffix == DELETED}
        for filename in sorted((tombstones.keys() | sidecars) - here):
            tombstone = tombstones.get(filename)
            yield HiddenFile(
                filename=printable(filename),
                version=version_in(filename, self._project),
                obstacle=Obstacle.DELETED,
                reason=f"{_deleted(tombstone)}; its name stays taken.",
                note="" if tombstone is None else tombstone.note,
            )


def staged_file(project: str, root: RootName, path: str, promotion: str, *, filename: str) -> HiddenFile:
    """
    Explain a file that is not to be seen yet.

    Args:
        project: The normalized project name.
        root: The root that it lies in.
        path: Below that, printable.
        promotion: The name of what shows it.
        filename: Its name.
    """
    return HiddenFile(
        filename=filename,
        version=version_in(filename, project),
        obstacle=Obstacle.STAGED,
        reason=f"It is not published yet: the promotion {printable(promotion)} shows it when it is complete.",
        path=path,
        index=root.owner,
    )


def version_in(filename: str, project: str) -> str:
    """Return the version that a file name has; empty if it has none."""
    try:
        return parse_filename(filename, project).version
    except InvalidFilename:
        return ""


def unasked_roots(roots: Iterable[RootName], why: str) -> tuple[SourceAnswer, ...]:
    """See `IExplains.unasked`."""
    return tuple(
        SourceAnswer(kind=SourceKind.FOLDER, name=root.name, index=root.owner, says=why, asked=False)
        for root in roots
    )


class _Claim(NamedTuple):
    """An entry that claims a name: its root, its printable path below that, was it recorded as a copy."""

    root: bytes
    path: str
    is_changed: bool = False


def _claiming_entry(look: Look) -> _Claim | None:
    """Return the first entry that claims the name."""
    scan = look.claiming
    if scan.owned_by is not None:
        return _Claim(*scan.owned_by)
    changed = (file for file in scan.entries if not is_copy(file, scan, look.known_files))
    first = next(changed, None)
    return None if first is None else _Claim(first.root, first.display_path, is_changed=True)


def _reason(obstacle: Obstacle, entry: ScannedFile, look: Look) -> str:
    if obstacle is Obstacle.QUARANTINED:
        return sentence("The project is quarantined", look.scan.status.reason)
    known = look.known_files.get(entry.path)
    if obstacle is Obstacle.REFUSED and known is not None and isinstance(known.result, Rejection):
        return known.result.reason
    return "It has not been read yet."


def _digest(entry: ScannedFile, look: Look) -> str | None:
    known = look.known_files.get(entry.path)
    facts = None if known is None or known.key != entry.key else known.result
    return facts.sha256 if isinstance(facts, FileFacts) else None


def _deleted(tombstone: ManifestLine | None) -> str:
    if tombstone is None:
        return "It was deleted"
    return f"It was deleted at {tombstone.time.astimezone(UTC):%Y-%m-%d %H:%M UTC}"


def root_names(
    paths: Sequence[bytes], owners: Sequence[str | None], shown: Callable[[bytes], str]
) -> tuple[RootName, ...]:
    """Name the roots: an index by its name, others as they are shown."""
    owned = (*owners, *(None for _path in paths[len(owners) :]))
    return tuple(
        RootName(path, f"index {owner}" if owner else shown(path), owner)
        for path, owner in zip(paths, owned, strict=True)
    )
