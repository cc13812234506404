"""
The `.deleted` file of a project's folder: which names are taken by deleted files.

It may have a line for each nightly build of years, so a look-up searches its bytes for the few names that lie
there or are to come, and nothing of it is kept in memory. The lines are those of `simple.manifest`.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.simple.manifest import InvalidLine, find_names, parse_line
from twisted_index.simple.names import DistributionType, InvalidFilename, parse_filename

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Set

    from twisted_index.simple.manifest import ManifestLine
    from twisted_index.simple.names import Distribution

TOMBSTONES = b".deleted"
#: Bytes that are read: a million lines and more. A longer file cannot be searched for each request, and a
#: part of it would give deleted names free; so the project is unavailable, as if the file were unreadable.
MAX_TOMBSTONES = 256 << 20
#: Up to so many names, searching a block for each of them is faster than splitting it into words.
_FEW = 8
#: What stands where a line has its name: after the end of the time.
_AFTER_TIME = re.compile(rb"Z[ \t]++(\S++)")


def find_exact(blocks: Iterable[bytes], names: Set[str]) -> frozenset[str]:
    """
    Return those of the names that have a line.

    Raises:
        OSError: The blocks cannot be read.
    """
    wanted = {name.encode() for name in names}
    found: set[bytes] = set()
    for block in blocks if wanted else ():
        if likely := _likely_names(block, wanted):
            found |= likely.intersection(find_names(block))
    return frozenset(name.decode() for name in found)


def _likely_names(block: bytes, wanted: set[bytes]) -> set[bytes]:
    """Return at least those of the names that have a line in a block, in half the time of `find_names`."""
    if len(wanted) <= _FEW:
        return {name for name in wanted if name in block}
    return wanted.intersection(_AFTER_TIME.findall(block))


def equivalents(path: bytes, blocks: Iterable[bytes], distribution: Distribution) -> list[TakenName]:
    """
    Return the lines that name a file that installers treat as this distribution, in any spelling.

    Raises:
        OSError: The blocks cannot be read.
    """
    similar, number = _similar_names(distribution), _longest_number(distribution.version)
    return [
        TakenName(path, name.decode(), _digest_of(line), line)
        for block in blocks
        if number in block and (likely := set(similar.findall(block)))
        for line in block.split(b"\n")
        for name in likely.intersection(find_names(line))
        if is_equivalent(name.decode(), distribution)
    ]


def tombstone_lines(lines: Iterable[bytes]) -> Iterator[ManifestLine]:
    """Parse those of the lines that are tombstones."""
    for line in lines:
        with contextlib.suppress(InvalidLine):
            yield parse_line(line)


def last_tombstones(blocks: Iterable[bytes], limit: int) -> list[ManifestLine]:
    """
    Return the last lines that are tombstones, at most so many.

    Raises:
        OSError: The blocks cannot be read.
    """
    last: deque[bytes] = deque(maxlen=limit)
    for block in blocks:
        last.extend(block.splitlines())
    return list(tombstone_lines(last))


class TakenName(NamedTuple):
    """
    A name that a deleted file has taken.

    Attributes:
        path: The file that says so.
        name: The name as it is written there.
        sha256: Lower-case hex digest of the deleted file; None if it is not known.
        line: All of the line; empty for `FILE.deleted`.
    """

    path: bytes
    name: str
    sha256: str | None = None
    line: bytes = b""


def _digest_of(line: bytes) -> str | None:
    """Return the digest of a line that has a name; its time may be none."""
    digest = line.removeprefix(codecs.BOM_UTF8).split(None, 1)[0].decode()
    return None if digest == "-" else digest.lower()


def _similar_names(distribution: Distribution) -> re.Pattern[bytes]:
    """
    Match at least all spellings of a distribution's name.

    However a version is spelled, it has the same digits other than 0 in the same order (PEP 440).
    """
    project = "[-_.]+".join(map(re.escape, distribution.project.split("-")))
    digits = re.sub(r"[^1-9]", "", distribution.version + distribution.build)
    other = r"[^\s1-9]*"
    tags = r"(?:-[^\s-]+){3}" if distribution.kind is DistributionType.WHEEL else ""
    extension = re.escape(distribution.extension)
    version = other + other.join(digits) + other
    return re.compile(rf"Z[ \t]++((?i:{project})-{version}{tags}{extension})(?!\S)".encode())


def _longest_number(version: str) -> bytes:
    """
    Return the longest number of a version without its leading zeros, which each spelling has.

    The date of a nightly build is in few blocks, and finding it takes half the time of the whole name.
    """
    numbers = (number.lstrip("0") for number in re.findall("[0-9]+", version))
    return max(numbers, key=len, default="").encode()


def is_equivalent(name: str, distribution: Distribution) -> bool:
    """Return whether installers treat a file of this name as the distribution."""
    try:
        return parse_filename(name, distribution.project).identity == distribution.identity
    except InvalidFilename:
        return False
