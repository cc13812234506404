"""
Downloads many files from one server to fill its cache; the bytes are discarded.

Out of scope: choosing the files (see `_pip_resolver`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import DeferredSemaphore, gatherResults

from twisted_index.errors import SimpleIndexError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.cli._pip_resolver import DownloadItem, IndexClient
    from twisted_index.mirror.progress import IProgress


async def download_all(
    index: IndexClient, files: Sequence[DownloadItem], jobs: int, progress: IProgress
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
        size, reason = await _fetch(index, file, progress)
        received += size
        if reason:
            failures += 1
            progress.failed(file.name, reason)
        else:
            progress.done(file.name, size)

    progress.expect(len(files), sum(file.size or 0 for file in files))
    slots = DeferredSemaphore(jobs)
    await gatherResults([slots.run(fetch, file) for file in files], consumeErrors=True)
    return failures, received


async def _fetch(index: IndexClient, file: DownloadItem, progress: IProgress) -> tuple[int, str]:
    """Download a file and discard it; return its bytes, and why it failed (empty on success)."""
    if not index.serves(file.url):
        return 0, "It is not a file of the index, and was skipped."
    try:
        size, sha256 = await index.retrying(lambda: index.digest(file.url, progress.advance))
    except SimpleIndexError as error:
        return 0, f"It could not be fetched: {error.message}"
    if file.sha256 is not None and sha256 != file.sha256:
        return size, "Its digest differs from the one that the index promised."
    return size, ""
