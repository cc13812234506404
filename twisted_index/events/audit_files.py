"""
The files of the audit log: one for each month of events, and one from before there were months.

A month that is no longer written may be deleted, moved away or compressed with gzip at any time.
"""

from __future__ import annotations

import errno
import gzip
import os
import re
import shutil
import tempfile
import weakref
import zlib
from datetime import UTC
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from twisted_index.errors import BadRequest
from twisted_index.files.safe_open import open_regular_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

#: Sorts before every month.
BEFORE_MONTHS = "0000-00"
_NAME = re.compile(r"([0-9]{4}-(?:0[1-9]|1[0-2]))\.jsonl(\.gz)?")
_CURSOR = re.compile(r"([0-9]{4}-[0-9]{2})(\.gz)?:([0-9]{1,18})")
_UNPACKING = 1 << 18
#: Bytes of a compressed file, to which nothing is added.
_NEVER_REACHED = 10**18 - 1


class AuditPosition(NamedTuple):
    """
    A place in the audit log, by which pages follow each other.

    Lines are only ever added, so a place stays what it is. Older events have lesser positions.

    Attributes:
        month: `yyyy-mm`.
        plain: Whether the file is not compressed.
        offset: Bytes from the start of the file, uncompressed.
    """

    month: str
    plain: bool
    offset: int

    @classmethod
    def parse(cls, text: str) -> AuditPosition:
        """
        Read a position that `str` wrote.

        Raises:
            BadRequest: It is none.
        """
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise BadRequest("The value of before is not from the next link of a page of the history.")
        return cls(match[1], match[2] is None, int(match[3]))

    def __str__(self) -> str:
        return f"{self.month}{'' if self.plain else '.gz'}:{self.offset}"


class AuditMonth(NamedTuple):
    """
    The file of one month.

    Attributes:
        month: `yyyy-mm`; `0000-00` for the file from before there were months.
        plain: Whether it is not compressed.
        path: Where it is.
    """

    month: str
    plain: bool
    path: str


class AuditFolder:
    """
    The files below a state folder. Blocking.

    Args:
        keep: The folder `keep` in it.
    """

    def __init__(self, keep: str) -> None:
        self._keep = keep
        self.path = os.path.join(keep, "history")
        #: The month that was uncompressed last, for the next page: its path, size and time, and a descriptor.
        self._unpacked: tuple[tuple[str, int, int], int] | None = None
        self._forget: Callable[[], object] = _nothing_to_forget

    def path_for(self, time: datetime) -> str:
        """Return the file for an event of a time."""
        return os.path.join(self.path, f"{month_of(time)}.jsonl")

    def months(self) -> list[AuditMonth]:
        """
        List the files, those of the youngest events first.

        Raises:
            OSError: The folder cannot be read.
        """
        found = []
        for suffix in ("", ".gz"):
            path = os.path.join(self._keep, f"history.jsonl{suffix}")
            if os.path.lexists(path):
                found.append(AuditMonth(BEFORE_MONTHS, not suffix, path))
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            names = []
        for match in filter(None, map(_NAME.fullmatch, names)):
            found.append(AuditMonth(match[1], match[2] is None, os.path.join(self.path, match[0])))
        return sorted(found, reverse=True)

    def end(self) -> AuditPosition:
        """
        Return the position after all that is there now, and before all that will be added.

        Raises:
            OSError: The folder, or its last file, cannot be read.
        """
        for month in self.months()[:1]:
            offset = os.stat(month.path).st_size if month.plain else _NEVER_REACHED
            return AuditPosition(month.month, month.plain, offset)
        return AuditPosition(BEFORE_MONTHS, False, 0)

    def open(self, month: AuditMonth) -> BinaryIO | None:
        """
        Open a file; the caller closes it.

        Returns:
            None if it is no regular file, or no longer there.

        Raises:
            OSError: It cannot be read.
        """
        try:
            file = open_regular_file(os.fsencode(month.path))
        except FileNotFoundError:
            return None
        if file is None:
            return None
        if month.plain:
            return file
        with file:
            status = os.fstat(file.fileno())
            return self._unpack(file, (month.path, status.st_size, status.st_mtime_ns))

    def _unpack(self, packed: BinaryIO, key: tuple[str, int, int]) -> BinaryIO:
        """Uncompress into a file without a name, since lines are read from the end."""
        if self._unpacked is None or self._unpacked[0] != key:
            self._forget()
            self._unpacked = None
            try:
                with tempfile.TemporaryFile() as file, gzip.open(packed) as lines:
                    shutil.copyfileobj(lines, file, _UNPACKING)
                    file.flush()
                    descriptor = os.dup(file.fileno())
            except (EOFError, zlib.error) as error:
                raise OSError(errno.EIO, f"damaged, or not yet whole: {error}", key[0]) from error
            self._forget = weakref.finalize(self, os.close, descriptor)
            self._unpacked = key, descriptor
        return _unbuffered(os.dup(self._unpacked[1]))


def _nothing_to_forget() -> None:
    """Do nothing."""


def _unbuffered(descriptor: int) -> BinaryIO:
    return cast("BinaryIO", open(descriptor, "rb", buffering=0))


def month_of(time: datetime) -> str:
    """Return the month of a time in UTC, as `yyyy-mm`."""
    return time.astimezone(UTC).isoformat()[:7]
