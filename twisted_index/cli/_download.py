"""
Downloads many files from one server to fill its cache; the bytes are discarded.

Out of scope: choosing the files (see `_pip_resolver`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from twisted.internet.defer import DeferredSemaphore, gatherResults

from twisted_index.errors import SimpleIndexError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.cli._pip_resolver import DownloadItem, IndexClient

#: Characters of the bar.
_WIDTH = 30


class ProgressBar:
    """
    Shows the progress: by a bar on a terminal, else by a line for each file.

    Args:
        total: The number of files.
        stream: The output; stderr by default.
    """

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._total = total
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._done = 0

    def file_fetched(self, file: DownloadItem, size: int) -> None:
        """Report a downloaded file."""
        self._done += 1
        self._line("" if self._is_terminal else f"{file.name}  {format_size(size)}")

    def file_failed(self, file: DownloadItem, reason: str) -> None:
        """Report a failed download."""
        self._done += 1
        self._line(f"{file.name}: {reason}")

    def write_line(self, sentence: str) -> None:
        """Write a message."""
        self._stream.write(f"{sentence}\n")

    def finish(self) -> None:
        """End the line of the bar."""
        if self._is_terminal and self._total:
            self._stream.write("\n")
            self._stream.flush()

    def _line(self, text: str) -> None:
        # "\x1b[K" clears the rest of a longer line.
        clear = "\r\x1b[K" if self._is_terminal else ""
        self._stream.write(f"{clear}{text}\n" if text else clear)
        if self._is_terminal:
            filled = _WIDTH * self._done // max(self._total, 1)
            bar = "#" * filled + "." * (_WIDTH - filled)
            self._stream.write(f"[{bar}] {self._done}/{self._total} files")
        self._stream.flush()


async def download_all(
    index: IndexClient, files: Sequence[DownloadItem], jobs: int, progress: ProgressBar
) -> tuple[int, int]:
    """
    Download files, several in parallel.

    Args:
        index: The only server that receives requests.
        files: Each once.
        jobs: Parallel downloads.
        progress: Shows each file.

    Returns:
        The number of failures, and the bytes received.
    """
    failures = received = 0

    async def fetch(file: DownloadItem) -> None:
        nonlocal failures, received
        size, reason = await _fetch(index, file)
        received += size
        if reason:
            failures += 1
            progress.file_failed(file, reason)
        else:
            progress.file_fetched(file, size)

    slots = DeferredSemaphore(jobs)
    await gatherResults([slots.run(fetch, file) for file in files], consumeErrors=True)
    progress.finish()
    return failures, received


async def _fetch(index: IndexClient, file: DownloadItem) -> tuple[int, str]:
    """Download a file and discard it; return its bytes, and why it failed (empty on success)."""
    if not index.serves(file.url):
        return 0, "It is not a file of the index, and was skipped."
    try:
        size, sha256 = await index.retrying(lambda: index.digest(file.url))
    except SimpleIndexError as error:
        return 0, f"It could not be fetched: {error.message}"
    if file.sha256 is not None and sha256 != file.sha256:
        return size, "Its digest differs from the one that the index promised."
    return size, ""


def format_size(size: int) -> str:
    """Format a number of bytes."""
    for unit, power in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= power:
            return f"{size / power:.1f} {unit}"
    return f"{size} bytes"
