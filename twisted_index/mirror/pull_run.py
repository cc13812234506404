"""
One run that fills a folder: the index, the folder and the puller, made from what the command line says.

Only one run fills a folder at a time. Out of scope: the selection.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twisted_index.backends.upstream.disk_cache import DiskCache
from twisted_index.backends.upstream.kinds import RepositoryOptions, common_origin, make_client
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.config.pip_index import cached_pip_index
from twisted_index.errors import Conflict, Unavailable
from twisted_index.files.anonymous_file import sweep
from twisted_index.files.locks import try_lock
from twisted_index.files.os_errors import error_text
from twisted_index.files.ownership import make_file, make_folders
from twisted_index.files.portability import open_flags
from twisted_index.http_client.tls import CHECKED
from twisted_index.mirror.folder import TargetFolder
from twisted_index.mirror.puller import Puller
from twisted_index.mirror.source_index import SourceIndex
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted_index.backends.upstream.kinds import UpstreamClient
    from twisted_index.mirror.progress import IProgress

#: Bytes: a tenth is for pages, so that those of a large mirror stay.
_CACHE_SIZE = 100 << 30
#: Most of the time they wait for the disk.
_THREADS = 16


class PullRun:
    """
    A run; to be used as an asynchronous context.

    Args:
        source: The URL of a simple API, `pip` for the indexes that pip is configured to use here, or a
            repository such as `github:OWNER/REPO`.
        target: The folder to fill; made if it is not there.
        state: The state folder, for what is remembered of pages, and for the lock.
        reactor: Twisted's reactor.
        jobs: How many files are fetched at once.
        exact: See `Puller`.
        join: See `Puller`.
        progress: See `Puller`.
        allow_addresses: See `HTTPUpstream`.
        environ: Environment variables that name proxies, certificates and the netrc file.
        now: Returns the current time, aware.

    Attributes:
        index: The index.
        folder: The folder.
        puller: The puller.
        worker: Threads.

    Raises:
        ConfigurationError: The source cannot be used.
    """

    def __init__(
        self,
        source: str,
        target: str,
        state: str,
        *,
        reactor: Any,
        jobs: int = 4,
        exact: bool = False,
        join: bool = False,
        progress: IProgress | None = None,
        allow_addresses: Sequence[str] = (),
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._target = os.path.realpath(target)
        self._cache = DiskCache(os.path.join(state, "cache", "mirror"), _CACHE_SIZE)
        self._lock = -1
        self.worker = ThreadPool(reactor, threads=max(_THREADS, jobs), name="index-mirror")
        self._remotes = _remotes(source, reactor, self.worker, allow_addresses, environ)
        self.index = SourceIndex(self._remotes, self._cache, self.worker, wall=lambda: now().timestamp())
        self.folder = TargetFolder(os.fsencode(self._target), now=now)
        self.puller = Puller(
            self.index,
            self.folder,
            worker=self.worker,
            reactor=reactor,
            jobs=jobs,
            exact=exact,
            join=join,
            progress=progress,
            now=now,
        )

    async def __aenter__(self) -> PullRun:
        """
        Begin, with the folder locked against other runs.

        Raises:
            Conflict: Another run fills the folder.
            Unavailable: The folder, or the state folder, cannot be used.
        """
        try:
            make_folders(self._target)
            os.scandir(self._target).close()
            self._take_lock()
            sweep(self.folder.root)
            self._cache.sweep()
        except OSError as error:
            path = printable(os.fsdecode(error.filename or self._target))
            raise Unavailable(f"{path} cannot be used: {error_text(error)}.") from None
        return self

    async def __aexit__(self, *_error: object) -> None:
        """End: requests are aborted, and what threads do is waited for."""
        for remote in self._remotes:
            await remote.stop()
        await self.worker.stop()
        os.close(self._lock)

    def _take_lock(self) -> None:
        # Not in the folder itself, which is the operator's, and whose root uploads lock.
        folder = os.path.join(self._cache.path, "locks")
        make_folders(folder)
        path = os.path.join(folder, hashlib.sha256(os.fsencode(self._target)).hexdigest()[:16])
        make_file(path)
        self._lock = os.open(path, open_flags(os.O_RDWR))
        if not try_lock(self._lock):
            os.close(self._lock)
            raise Conflict(f"Another run fills {printable(self._target)} right now; wait for its end.")


def _remotes(
    source: str,
    reactor: Any,
    worker: ThreadPool,
    allow_addresses: Sequence[str],
    environ: Mapping[str, str],
) -> list[UpstreamClient]:
    urls: tuple[str, ...] = (source,)
    tls = CHECKED
    if source == "pip":
        pip = cached_pip_index(environ)
        urls, environ, tls = pip.urls, pip.environ(environ), pip.tls
    return [
        make_client(
            url.rstrip("/") + "/",
            reactor,
            options=RepositoryOptions(common=common_origin(urls)),
            worker=worker,
            instance=f"mirror-{secrets.token_hex(8)}",
            allow_addresses=allow_addresses,
            environ=environ,
            tls=tls,
        )
        for url in urls
    ]
