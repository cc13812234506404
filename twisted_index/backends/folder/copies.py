"""
The `.copies` file of a project's folder: which of its files are copies of another index's. Blocking.

Downloads and mirrors write it. A recorded file that has the recorded size and digest is a copy, and does not
claim its project's name.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from twisted_index.backends.folder.manifest_file import Appending, read_blocks, remove_lines
from twisted_index.backends.layout.copies import COPIES, MAX_COPIES, copies_in
from twisted_index.simple.manifest import InvalidLine, parse_line

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from twisted_index.simple.manifest import ManifestLine


def read(folder: bytes) -> dict[str, ManifestLine]:
    """
    Read what is recorded in a project's folder.

    Comments (`#`), empty lines and damaged ones are passed over.

    Returns:
        The last line of each name; nothing if there is no `.copies` file.

    Raises:
        OSError: The file is unreadable, a link, no regular file, or too large: nothing there is a copy.
    """
    try:
        return copies_in(read_blocks(os.path.join(folder, COPIES), MAX_COPIES))
    except FileNotFoundError:
        return {}


def record(root: bytes, folder: bytes, lines: Iterable[ManifestLine]) -> None:
    """
    Record copies durably, before their files are linked: a file without a line would claim.

    A line replaces an earlier one of its name. Each call waits for the disk, so many lines take one call.

    Args:
        root: The root that the folder lies in.
        folder: The project's folder; it exists, and the caller holds the lock of the project.
        lines: Of files, sidecars or statuses; only those that `read` does not return yet.

    Raises:
        InvalidLine: A name is not that of a distribution file, a sidecar or a status.
        LockHeld: Another process adds lines.
        OSError: They were not recorded.
    """
    lines = list(lines)
    if not lines:
        return
    appending = Appending(root, os.path.join(folder, COPIES), lines, MAX_COPIES)
    try:
        appending.write()
    except OSError:
        with contextlib.suppress(OSError):
            appending.take_back()
        raise
    # Adding lines changes no stamp of the folder, and pages are to change at once.
    os.utime(folder)


def forget(root: bytes, folder: bytes, names: Container[str]) -> None:
    """
    Remove the lines of some names, after their files are gone; comments stay.

    Args:
        root: The root that the folder lies in.
        folder: The project's folder; the caller holds the lock of the project.
        names: Whatever has no line is passed over.

    Raises:
        OSError: The file is unreadable, or was not changed.
    """
    remove_lines(root, os.path.join(folder, COPIES), MAX_COPIES, lambda text: _name_of(text) in names)


def damaged_lines(folder: bytes) -> tuple[int, int]:
    """
    Count the lines that record nothing, and are neither comments (`#`) nor empty.

    Returns:
        The number of them, and the number of the first one, from 1.

    Raises:
        OSError: See `read`; also if there is no `.copies` file.
    """
    unknown = [
        number
        for number, (text, line) in enumerate(_lines(folder), 1)
        if line is None and text.strip() and not text.startswith(b"#")
    ]
    return len(unknown), next(iter(unknown), 0)


def _lines(folder: bytes) -> Iterator[tuple[bytes, ManifestLine | None]]:
    """Yield each line with its end, and what it says."""
    for block in read_blocks(os.path.join(folder, COPIES), MAX_COPIES):
        for text in block.splitlines(keepends=True):
            try:
                yield text, parse_line(text)
            except InvalidLine:
                yield text, None


def _name_of(text: bytes) -> str:
    """Return the name that a line has; empty if it records nothing."""
    try:
        return parse_line(text).name
    except InvalidLine:
        return ""
