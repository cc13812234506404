"""
The `.copies` file of a project's folder: which of its files are copies of another index's.

A recorded file that has the recorded size and digest is a copy, and does not claim its project's name.
Anything else claims, as if it were not recorded; a line without a file means nothing. The lines are those of
`simple.manifest`; their notes are the URLs that the files came from.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from twisted_index.simple.manifest import InvalidLine, parse_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted_index.simple.manifest import ManifestLine

COPIES = b".copies"
#: Bytes that are read: about 200,000 lines. In a longer file nothing counts.
MAX_COPIES = 64 << 20


def copies_in(blocks: Iterable[bytes]) -> dict[str, ManifestLine]:
    """
    Return what is recorded: the last line of each name.

    Comments (`#`), empty lines and damaged ones are passed over.
    """
    recorded = {}
    for block in blocks:
        for text in block.splitlines(keepends=True):
            with contextlib.suppress(InvalidLine):
                line = parse_line(text)
                recorded[line.name] = line
    return recorded
