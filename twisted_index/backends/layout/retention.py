"""After an upload, `keep-prereleases`: the old pre-releases of its project are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from twisted_index.backends.layout.old_prereleases import find_old_prereleases
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import NotFound, SimpleIndexError
from twisted_index.events.origin import EventOrigin, remember_origin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted.python.failure import Failure

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import ISource
    from twisted_index.simple.names import Distribution

_log = Logger()


class IFileDeleter(Protocol):
    """Deletes a file; see `IStore.delete`."""

    def __call__(self, project: str, filename: str, *, by: str, reason: str) -> Awaitable[None]:
        """Delete it; `reason` is recorded."""


class PrereleaseRetention:
    """
    Deletes the pre-releases of a project that are beyond the number to keep.

    Args:
        source: Lists the projects.
        worker: Threads that look through their pages.
        delete: Deletes a file.
        keep: Returns the number to keep of each project; None for all.
    """

    def __init__(
        self,
        source: ISource,
        worker: IThreadRunner,
        delete: IFileDeleter,
        keep: Callable[[], int | None],
    ) -> None:
        self._source = source
        self._worker = worker
        self._delete = delete
        self._keep = keep
        self._runs: FreshSingleFlight[tuple[str, str], None] = FreshSingleFlight(self._run)

    def start(self, uploaded: Distribution) -> None:
        """Delete old pre-releases after an upload, but not its own release; not waited for."""
        if self._keep() is not None:
            self._runs.run((uploaded.project, uploaded.version)).addErrback(_log_failure)

    async def _run(self, release: tuple[str, str]) -> None:
        project, version = release
        keep = self._keep()
        page = (await result_of(self._source.project_page, project)).value
        if keep is None or page is None:
            return
        own = [file for file in page.files if file.owner is None]
        old = await self._worker.run(find_old_prereleases, own, keep, version)
        # The rule deletes, not the client whose upload has made it look.
        remember_origin(EventOrigin())
        errors = []
        for file in old:
            try:
                await self._delete(
                    project, file.filename, by="retention", reason=f"keep-prereleases = {keep}"
                )
            except NotFound:
                # Deleted meanwhile.
                continue
            except SimpleIndexError as error:
                # As in a folder that is read-only; others may be deleted nevertheless.
                errors.append(error.message)
        if errors:
            _log.warn(
                "{number} old pre-releases of {project} were not deleted: {error}",
                number=len(errors),
                project=project,
                error=errors[0],
            )
        if len(errors) < len(old):
            # Observers learn of a change when a page is listed.
            await result_of(self._source.project_page, project)


def _log_failure(failure: Failure) -> None:
    """Log why old pre-releases were not deleted; the next upload tries again."""
    error = failure.value
    if isinstance(error, SimpleIndexError):
        _log.warn("Old pre-releases were not deleted: {error}", error=error.message)
    elif not isinstance(error, CancelledError):  # as when the server stops
        _log.failure("Old pre-releases were not deleted", failure=failure)
