"""May a received file be published? The rules, without a step that changes anything."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from twisted_index.errors import Conflict, Forbidden
from twisted_index.simple.model import Sidecar, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twisted_index.backends.layout.inventory import Inventory
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.backends.layout.tombstones import TakenName
    from twisted_index.simple.names import Distribution

#: Statuses of projects that accept no files.
CLOSED = frozenset({Status.ARCHIVED, Status.QUARANTINED})
#: Sidecars that depend on the bytes of their file, and are wrong for an overwritten one.
BYTE_DEPENDENT = (Sidecar.SIGNATURE.value, Sidecar.PROVENANCE.value, Sidecar.METADATA.value)


class ICandidate(Protocol):
    """A file to be published."""

    @property
    def distribution(self) -> Distribution:
        """Its parsed name."""

    @property
    def sha256(self) -> str:
        """Lower-case hex digest of the file."""

    @property
    def may_create(self) -> bool:
        """Whether it may create a project."""


def check_routed_here(project: str, routed_away: Callable[[str], bool]) -> None:
    """
    Check that the packages of this index are served for a project.

    Raises:
        Forbidden: They are not.
    """
    if routed_away(project):
        raise Forbidden(
            f"This server's configuration routes {project} elsewhere, so an upload here would not be served;"
            " publish it there, or change that rule."
        )


def check_publishable(
    candidate: ICandidate,
    inventory: Inventory,
    overwrite: Sequence[str] = (),
    *,
    has_bytes: Callable[[ScannedFile], bool],
) -> list[ScannedFile] | None:
    """
    Decide whether a file may be published.

    Args:
        candidate: The file.
        inventory: Inventory of its project.
        overwrite: Patterns of versions whose files may be overwritten.
        has_bytes: Returns whether a file that is there has the candidate's bytes.

    Returns:
        The files that it replaces, usually none; None if a file with the same bytes is already published.

    Raises:
        Conflict, Forbidden: The file may not be published.
    """
    distribution = candidate.distribution
    check_status(inventory)
    if not inventory.is_owned and not candidate.may_create:
        what = "are only copies of" if inventory.exists else "is no project"
        raise Forbidden(f"There {what} {distribution.project}, and you may not create projects.")
    check_inherited_tombstones(distribution, inventory)
    check_deleted(distribution.filename, inventory.tombstones_of(distribution), candidate.sha256)
    equivalents = inventory.equivalents_of(distribution)
    existing = [entry for entry in equivalents if entry.root not in inventory.owners]
    if existing and has_bytes(existing[0]):
        return None
    for entry in equivalents:
        if entry.root in inventory.owners and not has_bytes(entry):
            raise _inherited_error(entry, inventory.owners[entry.root])
    if not existing:
        return []
    if not _may_overwrite(distribution, overwrite):
        raise already_exists_error(distribution.filename)
    if any(entry.root != inventory.root for entry in existing):
        raise Conflict(
            f"File already exists: {distribution.filename} is in a folder that accepts no uploads; upload a"
            " new version."
        )
    return existing


def check_status(inventory: Inventory) -> None:
    """
    Check that a project accepts files.

    Raises:
        Forbidden: It does not.
    """
    status = inventory.scan.status.status
    if status in CLOSED:
        raise Forbidden(f"The project {inventory.project} is {status.value} and accepts no new files.")


def check_inherited_tombstones(distribution: Distribution, inventory: Inventory) -> None:
    """
    Check that no other index of the pile has deleted the name: its tombstone can go there only.

    Raises:
        Conflict: One has.
    """
    for line in inventory.tombstones_of(distribution):
        owner = inventory.owner_of(line.path)
        if owner is not None:
            raise Conflict(
                f"File already exists: {distribution.filename} was deleted in {named(owner)}, whose names"
                " stay taken here; upload a new version."
            )


def check_deleted(filename: str, tombstones: Iterable[TakenName], sha256: str) -> None:
    """
    Check that nothing else was deleted under a name: the very same bytes may return, others never.

    Args:
        filename: The name.
        tombstones: Those that occupy it.
        sha256: Lower-case hex digest of the file that is to have it.

    Raises:
        Conflict: Other bytes were deleted, or bytes whose digest is not known.
    """
    digests = {line.sha256 for line in tombstones}
    if not digests - {sha256}:
        return
    known = sorted(digest for digest in digests if digest is not None)
    may_return = (
        f", except for the very file that was deleted (sha256={known[0]})"
        if len(digests) == len(known) == 1
        else ""
    )
    raise Conflict(
        f"File already exists: {filename} was deleted, and its name stays taken{may_return};"
        " upload a new version."
    )


def already_exists_error(filename: str) -> Conflict:
    """Return the error for a name that other bytes have."""
    return Conflict(f"File already exists: {filename} exists with different content; upload a new version.")


def _inherited_error(entry: ScannedFile, owner: str) -> Conflict:
    return Conflict(
        f"File already exists: {entry.distribution.filename} exists with different content in {named(owner)},"
        " whose files are inherited here; upload a new version."
    )


def named(owner: str) -> str:
    """Name the owner of a root in a sentence."""
    return f"the index {owner}" if owner else "the index without a name"


def _may_overwrite(distribution: Distribution, patterns: Sequence[str]) -> bool:
    names = (distribution.version, f"{distribution.project}=={distribution.version}")
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)
