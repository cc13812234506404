"""
Digests of files for which their upstream promises none: each is fetched once, before it is listed.

Then every client can verify what it installs, and every lock file has hashes. The files stay in the cache.
Out of scope: where the digests are kept (see `page_record`), and when they are needed (see `page_cache`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.backends.upstream.file_cache import FileRequest
from twisted_index.backends.upstream.page_record import FileDigest
from twisted_index.concurrency.parallel import at_once
from twisted_index.concurrency.single_flight import fire
from twisted_index.errors import BadGateway, SimpleIndexError, Unavailable
from twisted_index.interfaces import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from twisted_index.backends.upstream.file_cache import FileCache
    from twisted_index.backends.upstream.remote import IUpstreamClient, RemoteFile

T = TypeVar("T")
_log = Logger()

#: Files that are fetched at once: in all, which leaves most connections to clients, and for one project.
_FILES, _FILES_OF_PROJECT = 8, 4


class PageDigests:
    """
    Fetches the files of one upstream's pages.

    Args:
        remote: The upstream.
        files: Downloads them, into the cache if there is one.
    """

    def __init__(self, remote: IUpstreamClient, files: FileCache) -> None:
        self._remote = remote
        self._files = files
        self._turns = _Turns[FileDigest](_FILES)
        #: Numbers of fetched files and of all, by project.
        self._progress: dict[str, tuple[int, int]] = {}
        #: The first file that could not be fetched, by project.
        self._failures: dict[str, Problem] = {}
        self._is_stopping = False

    def problems(self) -> Iterable[Problem]:
        """Report a file of each project that keeps its page from being listed."""
        return self._failures.values()

    def progress(self, project: str) -> str | None:
        """Say in a sentence how many files of a project have been fetched; None if none is being fetched."""
        if project not in self._progress:
            return None
        done, total = self._progress[project]
        return f"{done} of {total} files without a digest have been fetched, which takes place once."

    def stop(self) -> None:
        """Begin no other download; `FileCache.stop` ends those that run."""
        self._is_stopping = True

    async def fetch(
        self,
        project: str,
        entries: Sequence[RemoteFile],
        on_digest: Callable[[RemoteFile, FileDigest], Awaitable[None]],
    ) -> None:
        """
        Fetch files, all that can be had.

        Args:
            project: A normalized name; one call at a time.
            entries: The files.
            on_digest: Awaited for each file.

        Raises:
            Unavailable: A file cannot be had now; the message names the first one.
        """
        failed: list[tuple[str, SimpleIndexError]] = []
        if not entries:
            self._failures.pop(project, None)
            return
        self._progress[project] = (0, len(entries))
        _log.info(
            "Fetching files of {project} before they are listed, since {upstream} states no digest of them:"
            " {number} in all.",
            upstream=self._remote.url,
            number=len(entries),
            project=project,
        )

        async def work(entry: RemoteFile) -> None:
            try:
                await on_digest(entry, await self._turns.run(lambda: self._fetch(entry)))
            except SimpleIndexError as error:
                self._log_failure(entry, error)
                failed.append((entry.file.filename, error))
            else:
                done, total = self._progress[project]
                self._progress[project] = (done + 1, total)

        try:
            await at_once(_FILES_OF_PROJECT, work, entries)
        finally:
            del self._progress[project]
        self._failures.pop(project, None)
        if failed:
            self._failures[project] = _problem(project, *failed[0])
            raise _page_error(*failed[0])

    async def _fetch(self, entry: RemoteFile) -> FileDigest:
        if self._is_stopping:
            raise Unavailable("The server is stopping.")
        request = FileRequest(
            remote=self._remote,
            remote_file=entry,
            modified=0.0,
            is_listed=lambda: False,
            pin_digest=_pin_nothing,
            renew_url=_renew_nothing,
            on_mismatch=lambda: None,
        )
        return FileDigest(*await self._files.fetch_digest(request))

    def _log_failure(self, entry: RemoteFile, error: SimpleIndexError) -> None:
        if not self._is_stopping:
            _log.warn(
                "{upstream} states no digest of {filename}, and it cannot be fetched: {error}",
                upstream=self._remote.url,
                filename=entry.file.filename,
                error=error.message,
            )


def _page_error(filename: str, error: SimpleIndexError) -> Unavailable:
    kind = BadGateway if error.status == BadGateway.status else Unavailable
    message = f"The upstream states no digest of {filename}, and it cannot be fetched: {error.message}"
    return kind(message, error.retry_after if isinstance(error, Unavailable) else 5)


def _problem(project: str, filename: str, error: SimpleIndexError) -> Problem:
    return Problem(
        path=f"{project}/{filename}",
        reason="The upstream states no digest of this file, and it cannot be fetched, so the new page of the"
        f" project is not listed: {error.message}",
        advice="It is fetched again at the next request. If it stays away, remove it from the upstream.",
    )


async def _pin_nothing(sha256: str, size: int) -> None:
    """Do nothing: `on_digest` records the digest, also for a download that was joined."""


async def _renew_nothing() -> str | None:
    """Return None: the page has just been requested."""
    return None


class _Turns(Generic[T]):
    """
    Runs a limited number of pieces of work at once.

    The next begins after the end of the one before, not within it: with a semaphore, many that fail at
    once are deeper than Python's stack.

    Args:
        number: The limit.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: deque[tuple[Callable[[], Awaitable[T]], Deferred[T]]] = deque()

    def run(self, work: Callable[[], Awaitable[T]]) -> Deferred[T]:
        """Do some work when its turn has come."""
        done: Deferred[T] = Deferred()
        self._waiting.append((work, done))
        if self._free:
            self._free -= 1
            Deferred.fromCoroutine(self._work_on())
        return done

    async def _work_on(self) -> None:
        while self._waiting:
            work, done = self._waiting.popleft()
            result: T | Failure
            try:
                result = await work()
            except BaseException:
                result = Failure()
            fire(done, result)
        self._free += 1
