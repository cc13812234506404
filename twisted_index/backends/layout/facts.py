"""What is known of one distribution file: its key, and what inspection read from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import os


class StatKey(NamedTuple):
    """
    Size and times by which a file counts as unchanged: bytes and nanoseconds.

    Includes the change time, since the modification time can be set to anything
    (`tar -x`, `cp -p`, `touch -r`), and the change time cannot.
    """

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def from_stat(cls, status: os.stat_result) -> StatKey:
        """Take the key from a `stat` result."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """
    What inspection read from a valid file.

    Attributes:
        sha256: Digest of the whole file, lower-case hex.
        metadata_sha256: Digest of its METADATA document; None for an sdist, and for a wheel whose METADATA
            is not UTF-8 and therefore not offered.
        requires_python: A valid specifier set, or None.
        verified: Whether the checksum of every member has been verified.
    """

    sha256: str
    metadata_sha256: str | None = None
    requires_python: str | None = None
    verified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """
    Why a file is not listed, and what to do: a sentence each.

    Attributes:
        reason: What is wrong with the file.
        advice: What to do about it.
        permanent: False if a later inspection of the same bytes may succeed: the disk failed, or the file
            was being written.
    """

    reason: str
    advice: str
    permanent: bool = True


InspectionResult: TypeAlias = FileFacts | Rejection


@dataclass(frozen=True, slots=True)
class KnownFile:
    """
    An inspection result, and the key of the file when it was inspected.

    Attributes:
        key: The file's size and times at the inspection.
        result: The inspection result.
        settled: False if the file was so young that a change might not have changed its times.
        read_at: Monotonic seconds at which this key was read; minus infinity if by an earlier process.
    """

    key: StatKey
    result: InspectionResult
    settled: bool
    read_at: float

    @property
    def verified(self) -> bool:
        """Whether nothing about the file remains to be verified."""
        return isinstance(self.result, Rejection) or self.result.verified


#: Inspected files of a project, by path. Shared by all listings of the project and filled as results
#: arrive, so that a cancelled request still makes progress.
KnownFiles: TypeAlias = dict[bytes, KnownFile]
