"""
From a received file to one that is listed: the rules, and the steps in their order. Blocking.

Each step leaves the root in a state that is right in itself, so that the process may end after any
of them: either the file is not there, or it is there whole and on disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from twisted_index.errors import BadRequest, Conflict, Forbidden, Unavailable
from twisted_index.ledger import Facts, FileKey, Refusal
from twisted_index.simple.model import Companion, Status
from twisted_index.simple.names import Kind
from twisted_index.sources.inspection import inspect
from twisted_index.sources.regular import open_regular
from twisted_index.store.holdings import YANKED
from twisted_index.store.nameless import make_folder, put_document, remove, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.simple.names import Distribution
    from twisted_index.sources.listing import Entry
    from twisted_index.store.holdings import Holdings
    from twisted_index.store.nameless import Nameless

_CHUNK = 1 << 20
_CLOSED = frozenset({Status.ARCHIVED, Status.QUARANTINED})
#: What speaks of the bytes of a file, and is wrong of any others.
_OF_BYTES = (Companion.SIGNATURE.value, Companion.PROVENANCE.value, Companion.METADATA.value)


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

    file: Nameless
    distribution: Distribution
    sha256: str
    size: int
    signature: bytes | None = None
    may_create: bool = True


def find_replaced(
    candidate: Candidate, holdings: Holdings, overwrite: Sequence[str] = ()
) -> list[Entry] | None:
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
    there = holdings.same_as(distribution)
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


def add_signature(candidate: Candidate, holdings: Holdings) -> bool:
    """
    Lay the signature of a candidate beside the same file that is there, if that one has none.

    Returns:
        False if nothing was to be done.
    """
    there = holdings.same_as(candidate.distribution)[:1]
    for entry in there:
        path = entry.path + Companion.SIGNATURE.value.encode()
        if (
            candidate.signature is not None
            and entry.root == holdings.root
            and not os.path.lexists(path)
            and _has_bytes(entry, candidate)
        ):
            put_document(holdings.root, path, candidate.signature)
            return True
    return False


def _taken(filename: str) -> Conflict:
    return Conflict(f"File already exists: {filename} is there with other content; upload a new version.")


def _may_overwrite(distribution: Distribution, patterns: Sequence[str]) -> bool:
    names = (distribution.version, f"{distribution.project}=={distribution.version}")
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _has_bytes(entry: Entry, candidate: Candidate) -> bool:
    if entry.key.size != candidate.size:
        return False
    try:
        file = open_regular(entry.path)
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
    What is done with a file before anybody else has to wait for it.

    Args:
        candidate: The file.

    Attributes:
        facts: What the file says of itself; there at the end.
        begin: The first step, after which the file no longer changes.
        together: The other steps; in any order, or at once.
        steps: All of them.
    """

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self.facts: Facts | None = None
        self.begin = candidate.file.allow_reading
        self.together: tuple[Callable[[], None], ...] = (candidate.file.sync, self.inspect)
        self.steps = (self.begin, *self.together)

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
        key = FileKey.of(os.fstat(candidate.file.descriptor))
        # Nobody writes to it any more. For a wheel the checksums of all members have to be asked
        # for; an sdist is read to its end anyway, and a plain tar has none.
        settled = candidate.distribution.kind is Kind.SDIST
        finding = inspect(
            candidate.file.readable_path,
            candidate.distribution,
            key,
            settled=settled,
            sha256=candidate.sha256,
        )
        if isinstance(finding, Refusal):
            if not finding.lasting:
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
        holdings: What there is for its project.
        replaced: From `find_replaced`.

    Attributes:
        path: Where it goes.
        key: Its size and times under its name; there after it was named.
        steps: To be taken in this order.
    """

    def __init__(self, candidate: Candidate, holdings: Holdings, replaced: Sequence[Entry] = ()) -> None:
        self._file = candidate.file
        self._filename = candidate.distribution.filename
        self._signature = candidate.signature
        self._root = holdings.root
        self._replaced = list(replaced)
        self._folder = replaced[0].folder if replaced else holdings.target
        self.path = os.path.join(self._folder, os.fsencode(self._filename))
        self.key: FileKey | None = None
        self.steps: tuple[Callable[[], None], ...] = (
            self.make_folder,
            self.drop_outdated,
            self.give_name,
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

    def give_name(self) -> None:
        """Let it appear, whole, under its name."""
        try:
            self._name_it()
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # The project's folder is a link to another disk.
            self._file = self._file.copied_to(self._folder)
            self._name_it()
        self.key = FileKey.of(os.fstat(self._file.descriptor))

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
            put_document(self._root, self.path + Companion.SIGNATURE.value.encode(), self._signature)

    def withdraw(self) -> None:
        """Take a new file back, if it is still there and still this one."""
        with contextlib.suppress(FileNotFoundError):
            if not self.overwrites and os.path.samestat(
                os.stat(self.path, follow_symlinks=False), os.fstat(self._file.descriptor)
            ):
                remove(self.path)
                remove(self.path + Companion.SIGNATURE.value.encode())
                sync_folder(self._folder)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
