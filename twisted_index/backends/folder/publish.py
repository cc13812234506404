"""
Publishes a received file: the rules, and the ordered steps. Blocking.

After each step the root is in a valid state, so the process may die after any of them: either the file is
absent, or it is whole and on disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted_index.backends.folder.inspection import inspect
from twisted_index.backends.folder.tombstones import Tombstone
from twisted_index.backends.layout.entries import YANKED
from twisted_index.backends.layout.facts import FileFacts, Rejection, StatKey
from twisted_index.backends.layout.publishing_rules import BYTE_DEPENDENT, already_exists_error
from twisted_index.errors import BadRequest, Unavailable
from twisted_index.files.anonymous_file import make_folder, remove, sync_folder, write_atomically
from twisted_index.files.safe_open import open_regular_file
from twisted_index.simple.manifest import ManifestLine
from twisted_index.simple.model import Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.backends.folder.inventory import FolderInventory, Step
    from twisted_index.backends.layout.candidate import Candidate
    from twisted_index.backends.layout.project_scan import ScannedFile

_CHUNK = 1 << 20


def add_signature(candidate: Candidate, inventory: FolderInventory) -> bool:
    """
    Add the signature of a candidate to the published file with the same bytes, if that has none.

    Returns:
        Whether a signature was added.
    """
    existing = inventory.equivalents_of(candidate.distribution)[:1]
    for entry in existing:
        path = entry.path + Sidecar.SIGNATURE.value.encode()
        if (
            candidate.signature is not None
            and entry.root == inventory.root
            and not os.path.lexists(path)
            and has_bytes(entry, candidate)
        ):
            write_atomically(inventory.root, path, candidate.signature)
            return True
    return False


def own_copies(candidate: Candidate, inventory: FolderInventory) -> list[Step]:
    """Return the steps by which a candidate's equal in the folder is no longer a copy, if it is recorded."""
    existing = _own_equal(candidate, inventory)
    return (
        inventory.forget([existing.path]) if existing is not None and inventory.is_recorded(existing) else []
    )


def revive(candidate: Candidate, inventory: FolderInventory) -> list[Step]:
    """Return the steps by which a candidate's equal in the folder is no longer deleted, if it was."""
    return [] if _own_equal(candidate, inventory) is None else inventory.revive(candidate.distribution)


def _own_equal(candidate: Candidate, inventory: FolderInventory) -> ScannedFile | None:
    """Return the file of this index that has the name of a candidate, if it has its bytes."""
    for entry in inventory.equivalents_of(candidate.distribution)[:1]:
        if entry.root not in inventory.owners and has_bytes(entry, candidate):
            return entry
    return None


def has_bytes(entry: ScannedFile, candidate: Candidate) -> bool:
    """Return whether a file that is there has the bytes of a candidate."""
    if entry.key.size != candidate.size:
        return False
    try:
        file = open_regular_file(entry.path)
    except FileNotFoundError:
        return False
    if file is None:
        return False
    with file, open(candidate.file.readable_path, "rb", buffering=0) as received:
        while chunk := file.read(_CHUNK):
            if chunk != received.read(_CHUNK):
                return False
        return not received.read(1)


class Preparation:
    """
    The steps of publishing that need no lock.

    Args:
        candidate: The file.

    Attributes:
        facts: The result of the inspection; None before it.
        first_step: The first step, after which the file no longer changes.
        parallel_steps: The other steps, in any order or concurrently.
        steps: All steps.
    """

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self.facts: FileFacts | None = None
        self.first_step = candidate.file.allow_reading
        self.parallel_steps: tuple[Callable[[], None], ...] = (candidate.file.sync, self.inspect)
        self.steps = (self.first_step, *self.parallel_steps)

    def inspect(self) -> None:
        """
        Inspect the archive from end to end with all its checksums, by the same rules as for listing it.

        The digest was computed while the bytes arrived. The checksums of the members, in wheels, zips and
        compressed sdists, prove that the disk holds the same bytes.

        Raises:
            BadRequest: The archive is invalid or contradicts its name.
            Unavailable: The file cannot be read, or its size is not that of the received bytes.
        """
        candidate = self._candidate
        key = StatKey.from_stat(os.fstat(candidate.file.descriptor))
        result = inspect(
            candidate.file.readable_path,
            candidate.distribution,
            key,
            verify_members=True,
            sha256=candidate.sha256,
            strict=True,
        )
        if isinstance(result, Rejection):
            if not result.permanent:
                raise Unavailable("The received file cannot be read back.")
            raise BadRequest(f"{candidate.distribution.filename}: {result.reason} {result.advice}")
        if key.size != candidate.size:
            raise Unavailable("The file on disk differs from what was received.")
        self.facts = result


class Publication:
    """
    Links a file under its name; the caller holds the lock of the project.

    Args:
        candidate: The prepared file.
        inventory: FolderInventory of its project.
        replaced: Result of `check_publishable`.

    Attributes:
        path: Path under which the file is published.
        key: Its size and times once it is linked; None before.
        steps: Steps, in order.
    """

    def __init__(
        self, candidate: Candidate, inventory: FolderInventory, replaced: Sequence[ScannedFile] = ()
    ) -> None:
        self._file = candidate.file
        self._filename = candidate.distribution.filename
        self._signature = candidate.signature
        self._root = inventory.root
        self._replaced = list(replaced)
        self._folder = replaced[0].folder if replaced else inventory.target
        self.path = os.path.join(self._folder, os.fsencode(self._filename))
        self._forget = inventory.forget(
            path + suffix.encode()
            for path in {self.path, *(entry.path for entry in self._replaced)}
            for suffix in ("", *BYTE_DEPENDENT)
        )
        self._tombstones = inventory.tombstones_of(candidate.distribution)
        self._revive = inventory.revive(candidate.distribution)
        self._is_revived = False
        self.key: StatKey | None = None
        self.steps: tuple[Step, ...] = (
            self.make_folder,
            self.drop_outdated,
            *self._forget,
            self.link_name,
            self.drop_old_spellings,
            self.sync_folder,
            self.put_signature,
            self.revive,
        )

    @property
    def overwrites(self) -> bool:
        """Whether the file replaces another one."""
        return bool(self._replaced)

    def make_folder(self) -> None:
        """Create the project's folder if it is missing."""
        if self._folder != self._root:
            make_folder(self._root, self._folder)

    def drop_outdated(self) -> None:
        """Remove sidecars of the old bytes, before the old bytes are replaced."""
        for entry in self._replaced:
            for suffix in BYTE_DEPENDENT:
                remove(entry.path + suffix.encode())

    def link_name(self) -> None:
        """Link the whole file under its name."""
        try:
            self._link()
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # The project's folder is a link to another disk.
            self._file = self._file.copy_to(self._folder)
            self._link()
        self.key = StatKey.from_stat(os.fstat(self._file.descriptor))

    def _link(self) -> None:
        if self._replaced:
            # Through the old spelling, so that there is exactly one file at any time.
            self._file.replace(self._replaced[0].path)
            if self._replaced[0].path != self.path:
                os.rename(self._replaced[0].path, self.path)
            return
        try:
            self._file.link(self.path)
        except FileExistsError:
            raise already_exists_error(self._filename) from None

    def drop_old_spellings(self) -> None:
        """Remove equivalent spellings of the name, moving a yank to the new one."""
        for entry in self._replaced:
            if entry.path != self.path:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(entry.path + YANKED.encode(), self.path + YANKED.encode())
                remove(entry.path)

    def sync_folder(self) -> None:
        """Sync the folder, so that the name is on disk."""
        sync_folder(self._folder)

    def put_signature(self) -> None:
        """Write the signature beside the file, if there is one."""
        if self._signature is not None:
            write_atomically(self._root, self.path + Sidecar.SIGNATURE.value.encode(), self._signature)

    def revive(self) -> None:
        """Remove the tombstones of the same bytes, which hide the file; before it, they kept its name."""
        for step in self._revive:
            self._is_revived = True
            step()

    def _bury(self) -> None:
        """Write the tombstones again that were removed."""
        for line in self._tombstones if self._is_revived else ():
            again = ManifestLine(
                name=line.name, sha256=line.sha256, time=datetime.now(UTC), note="it could not be listed"
            )
            Tombstone(self._root, line.path, again).write()

    def withdraw(self) -> None:
        """Remove a newly published file, unless another one has taken its name."""
        with contextlib.suppress(FileNotFoundError):
            if not self.overwrites and os.path.samestat(
                os.stat(self.path, follow_symlinks=False), os.fstat(self._file.descriptor)
            ):
                self._bury()
                remove(self.path)
                remove(self.path + Sidecar.SIGNATURE.value.encode())
                sync_folder(self._folder)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
