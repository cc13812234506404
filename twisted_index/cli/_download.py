"""
Downloads files from a server to fill its cache; the bytes are discarded.

Out of scope: choosing the files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted_index.concurrency.parallel import at_once
from twisted_index.errors import NotFound, SimpleIndexError
from twisted_index.http_client.limits import ClientLimits
from twisted_index.http_client.retry import retrying
from twisted_index.http_client.urls import InvalidURL, normalize_url, origin_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.mirror.progress import IProgress
    from twisted_index.mirror.source_index import SourceIndex

#: A server that fetches a large file from its own upstream may take long, and send Retry-After: at most
#: two minutes, if it is a twisted-index server.
PATIENCE = ClientLimits(
    head=60.0, file_head=60.0, idle=60.0, tries=4, retry_after=120.0, max_body=100_000_000
)
#: Attempts at a file whose transfer breaks off.
_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadItem:
    """
    A file to download.

    Attributes:
        name: For messages.
        project: Its project, normalized.
        url: Without user and password.
        sha256: The digest that the index promises; None without one.
        size: In bytes; None if unknown.
    """

    name: str
    project: str
    url: str
    sha256: str | None = None
    size: int | None = None


async def download_all(
    index: SourceIndex, files: Sequence[DownloadItem], *, jobs: int, progress: IProgress, reactor: Any
) -> tuple[int, int]:
    """
    Download files, several in parallel.

    Args:
        index: The only server that receives requests.
        files: Each once.
        jobs: Parallel downloads.
        progress: Shows each file.
        reactor: Twisted's reactor.

    Returns:
        The number of failures, and the bytes received.
    """
    failures = received = 0

    async def fetch(file: DownloadItem) -> None:
        nonlocal failures, received
        size, reason = await _fetch(index, file, progress, reactor)
        received += size
        if reason:
            failures += 1
            progress.failed(file.name, reason)
        else:
            progress.done(file.name, size)

    progress.expect(len(files), sum(file.size or 0 for file in files))
    await at_once(jobs, fetch, files)
    return failures, received


async def _fetch(
    index: SourceIndex, file: DownloadItem, progress: IProgress, reactor: Any
) -> tuple[int, str]:
    """Download a file and discard it; return its bytes, and why it failed (empty on success)."""
    if not _serves(index.url, file.url):
        return 0, "It is not a file of the index, and was skipped."
    try:
        # The head of a response has tries of its own; these are for a body that breaks off.
        size, sha256 = await retrying(
            lambda: _digest(index, file, progress), reactor, tries=_TRIES, back_off=PATIENCE.back_off
        )
    except SimpleIndexError as error:
        return 0, f"It could not be fetched: {error.message}"
    if file.sha256 is not None and sha256 != file.sha256:
        return size, "Its digest differs from the one that the index promised."
    return size, ""


def _serves(index: str, url: str) -> bool:
    """Whether a URL has the origin of the server."""
    try:
        return origin_of(normalize_url(url)) == origin_of(index)
    except InvalidURL:
        return False


async def _digest(index: SourceIndex, file: DownloadItem, progress: IProgress) -> tuple[int, str]:
    """Fetch a file, count its bytes as they come, discard it; return their number and their SHA-256."""
    stream = await index.fetch(file.project, file.url)
    if stream is None:
        raise NotFound("It does not exist.")
    digest, size = hashlib.sha256(), 0

    def take(data: bytes) -> None:
        nonlocal size
        digest.update(data)
        size += len(data)
        progress.advance(len(data))

    await stream.deliver(take)
    return size, digest.hexdigest()
