"""
Publishes a received file: the rules, and the steps in their order. Blocking.

After each step the root is in a valid state, so the process may end after any of them: either the file is
absent, or it is whole and on disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from twisted_index.backends.folder.inspection import inspect
from twisted_index.backends.folder.inspection_cache import FileFacts, Rejection, StatKey
from twisted_index.backends.folder.inventory import YANKED
from twisted_index.errors import BadRequest, Conflict, Forbidden, Unavailable
from twisted_index.files.anonymous_file import make_folder, remove, sync_folder, write_atomically
from twisted_index.files.safe_open import open_regular_file
from twisted_index.simple.model import Sidecar, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.backends.folder.inventory import Inventory
    from twisted_index.backends.folder.listing import ListingEntry
    from twisted_index.files.anonymous_file import AnonymousFile
    from twisted_index.simple.names import Distribution

_CHUNK = 1 << 20
_CLOSED = frozenset({Status.ARCHIVED, Status.QUARANTINED})
#: What speaks of the bytes of a file, and is wrong of any others.
_OF_BYTES = (Sidecar.SIGNATURE.value, Sidecar.PROVENANCE.value, Sidecar.METADATA.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """
    A file that is to be published.

    Attributes:
        file: Its bytes, all written.
        distribution: What its name says.
        sha256: Lower-case hex digest of the bytes.
        size: In bytes.
        signature: To lie beside it; None without.
        may_create: Whether its project may be new.
    """

    file: AnonymousFile
    distribution: Distribution
    sha256: str
    size: int
    signature: bytes | None = None
    may_create: bool = True


def find_replaced(
    candidate: Candidate, holdings: Inventory, overwrite: Sequence[str] = ()
) -> list[ListingEntry] | None:
    """
    Decide whether a file may be published.

    Args:
        candidate: The file.
        holdings: What there is for its project.
        overwrite: Patterns of versions whose files may get other bytes.

    Returns:
        The files that it takes the place of, mostly none; None if the very same bytes are there.

    Raises:
        Conflict, Forbidden: It may not.
    """
    distribution = candidate.distribution
    status = holdings.listing.status.status
    if status in _CLOSED:
        raise Forbidden(f"The project {distribution.project} is {status.value} and takes no new files.")
    if not holdings.exists and not candidate.may_create:
        raise Forbidden(f"There is no project {distribution.project}, and you may not make new ones.")
    if holdings.was_deleted(distribution):
        raise Conflict(
            f"File already exists: {distribution.filename} was deleted, and its name stays taken;"
            " upload a new version."
        )
    there = holdings.equivalents_of(distribution)
    if not there:
        return []
    if _has_bytes(there[0], candidate):
        return None
    if not _may_overwrite(distribution, overwrite):
        raise _taken(distribution.filename)
    if any(entry.root != holdings.root for entry in there):
        raise Conflict(
            f"File already exists: {distribution.filename} lies in a folder that takes no uploads;"
            " upload a new version."
        )
    return there


def add_signature(candidate: Candidate, holdings: Inventory) -> bool:
    """
    Lay the signature of a candidate beside the same file that is there, if that one has none.

    Returns:
        False if nothing was to be done.
    """
    there = holdings.equivalents_of(candidate.distribution)[:1]
    for entry in there:
        path = entry.path + Sidecar.SIGNATURE.value.encode()
        if (
            candidate.signature is not None
            and entry.root == holdings.root
            and not os.path.lexists(path)
            and _has_bytes(entry, candidate)
        ):
            write_atomically(holdings.root, path, candidate.signature)
            return True
    return False


def _taken(filename: str) -> Conflict:
    return Conflict(f"File already exists: {filename} is there with other content; upload a new version.")


def _may_overwrite(distribution: Distribution, patterns: Sequence[str]) -> bool:
    names = (distribution.version, f"{distribution.project}=={distribution.version}")
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _has_bytes(entry: ListingEntry, candidate: Candidate) -> bool:
    if entry.key.size != candidate.size:
        return False
    try:
        file = open_regular_file(entry.path)
    except FileNotFoundError:
        return False
    if file is None:
        return False
    with file, open(candidate.file.readable_path, "rb", buffering=0) as other:
        while chunk := file.read(_CHUNK):
            if chunk != other.read(_CHUNK):
                return False
        return not other.read(1)


class Preparation:
    """
    The work on a file that needs no lock.

    Args:
        candidate: The file.

    Attributes:
        facts: What the file says of itself; there at the end.
        first_step: The first step, after which the file no longer changes.
        parallel_steps: The other steps; in any order, or at once.
        steps: All of them.
    """

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self.facts: FileFacts | None = None
        self.first_step = candidate.file.allow_reading
        self.parallel_steps: tuple[Callable[[], None], ...] = (candidate.file.sync, self.inspect)
        self.steps = (self.first_step, *self.parallel_steps)

    def inspect(self) -> None:
        """
        Read the archive from end to end, with all its checksums, as it will be read when it is listed.

        The digest was taken while it was received; that it is what the disk has kept, the checksums
        say, which wheels, zips and compressed sdists have of all their members.

        Raises:
            BadRequest: It is not what its name says.
            Unavailable: It cannot be read, or is no longer what was received.
        """
        candidate = self._candidate
        key = StatKey.from_stat(os.fstat(candidate.file.descriptor))
        finding = inspect(
            candidate.file.readable_path,
            candidate.distribution,
            key,
            whole=True,
            sha256=candidate.sha256,
            strict=True,
        )
        if isinstance(finding, Rejection):
            if not finding.permanent:
                raise Unavailable("What was received cannot be read again.")
            raise BadRequest(f"{candidate.distribution.filename}: {finding.reason} {finding.advice}")
        if key.size != candidate.size:
            raise Unavailable("What was received is not what the disk has kept.")
        self.facts = finding


class Publication:
    """
    The naming of a file, to be done while no other change of its project is under way.

    Args:
        candidate: The file, prepared.
        inventory: What there is for its project.
        replaced: From `find_replaced`.

    Attributes:
        path: Where it goes.
        key: Its size and times under its name; there after it was named.
        steps: To be taken in this order.
    """

    def __init__(
        self, candidate: Candidate, inventory: Inventory, replaced: Sequence[ListingEntry] = ()
    ) -> None:
        self._file = candidate.file
        self._filename = candidate.distribution.filename
        self._signature = candidate.signature
        self._root = inventory.root
        self._replaced = list(replaced)
        self._folder = replaced[0].folder if replaced else inventory.target
        self.path = os.path.join(self._folder, os.fsencode(self._filename))
        self.key: StatKey | None = None
        self.steps: tuple[Callable[[], None], ...] = (
            self.make_folder,
            self.drop_outdated,
            self.link_name,
            self.drop_old_spellings,
            self.sync_folder,
            self.put_signature,
        )

    @property
    def overwrites(self) -> bool:
        """Whether it takes the place of another file."""
        return bool(self._replaced)

    def make_folder(self) -> None:
        """Make the project's folder, if it goes into one that is not there."""
        if self._folder != self._root:
            make_folder(self._root, self._folder)

    def drop_outdated(self) -> None:
        """Remove what speaks of the old bytes, while the old bytes are still there."""
        for entry in self._replaced:
            for suffix in _OF_BYTES:
                remove(entry.path + suffix.encode())

    def link_name(self) -> None:
        """Let it appear, whole, under its name."""
        try:
            self._name_it()
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # The project's folder is a link to another disk.
            self._file = self._file.copy_to(self._folder)
            self._name_it()
        self.key = StatKey.from_stat(os.fstat(self._file.descriptor))

    def _name_it(self) -> None:
        if self._replaced:
            # By way of the old spelling, so that at each moment there is just one file.
            self._file.replace(self._replaced[0].path)
            os.rename(self._replaced[0].path, self.path)
            return
        try:
            self._file.link(self.path)
        except FileExistsError:
            raise _taken(self._filename) from None

    def drop_old_spellings(self) -> None:
        """Remove other names that mean the same, with the mark of a yank moved to the new one."""
        for entry in self._replaced:
            if entry.path != self.path:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(entry.path + YANKED.encode(), self.path + YANKED.encode())
                remove(entry.path)

    def sync_folder(self) -> None:
        """Wait until the name is on disk."""
        sync_folder(self._folder)

    def put_signature(self) -> None:
        """Lay the signature beside it, if there is one."""
        if self._signature is not None:
            write_atomically(self._root, self.path + Sidecar.SIGNATURE.value.encode(), self._signature)

    def withdraw(self) -> None:
        """Take a new file back, if it is still there and still this one."""
        with contextlib.suppress(FileNotFoundError):
            if not self.overwrites and os.path.samestat(
                os.stat(self.path, follow_symlinks=False), os.fstat(self._file.descriptor)
            ):
                remove(self.path)
                remove(self.path + Sidecar.SIGNATURE.value.encode())
                sync_folder(self._folder)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
