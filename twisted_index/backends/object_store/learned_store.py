"""Where what was learned is kept: beside the objects, or where that is refused, in the state folder."""

from __future__ import annotations

import os
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import DeferredList
from twisted.logger import Logger

from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.learned import format_learned, parse_learned
from twisted_index.concurrency.deadline import wait_at_most
from twisted_index.errors import NotReady, SimpleIndexError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from twisted_index.backends.object_store.bucket import Bucket
    from twisted_index.backends.object_store.learned import LearnedObject, ObjectId
    from twisted_index.concurrency.thread_pool import IThreadRunner

_log = Logger()

#: The folder of what was learned, in the bucket and in the state folder.
_FOLDER = ".learned"
#: Bytes of a file that is read: for a few, and for each object that there is.
_SPARE, _LINE = 1 << 20, 1 << 13
#: Objects of a project to whose lines those of a few more are added.
_MERGED = 20_000
#: Seconds from the first news of a project until they are written, with those that came meanwhile.
_DELAY = 3.0
#: Seconds that a stop waits until what is left is written.
_LAST_SECONDS = 3.0


class LearnedStore:
    """
    Keeps what was learned, one object for each project.

    Args:
        bucket: The bucket.
        worker: Threads that wait for it.
        clock: Provides the timer.
        state: The state folder; None without one.
    """

    def __init__(
        self, bucket: Bucket, worker: IThreadRunner, clock: IReactorTime, state: Path | None
    ) -> None:
        self._bucket = bucket
        self._worker = worker
        self._clock = clock
        self._folder = None if state is None else state / _FOLDER.strip(".")
        self._due: dict[str, tuple[Mapping[ObjectId, LearnedObject], bool]] = {}
        self._timers: dict[str, IDelayedCall] = {}
        self._is_refused = False

    def read(self, project: str, objects: int) -> dict[ObjectId, LearnedObject]:
        """
        Read what any node has learned of a project; blocks.

        Args:
            project: The normalized project name.
            objects: How many objects it has: a file that is too large for them is none of these.

        Raises:
            Unavailable: The bucket does not answer: it is not known that there is nothing.
        """
        limit = _SPARE + _LINE * objects
        known = self._read_folder(project, limit)
        try:
            found = self._bucket.read(f"{_FOLDER}/{project}", limit=limit)
        except ObjectChanged:
            return known
        return known if found is None else known | parse_learned(found.content)

    def keep(self, project: str, known: Mapping[ObjectId, LearnedObject], *, is_whole: bool) -> None:
        """
        Write what is known of a project soon; it is never waited for.

        Args:
            project: The normalized project name.
            known: What is known; it may grow until then.
            is_whole: Whether that is of all objects, so that what else was kept is of none any more.
        """
        self._due[project] = (known, is_whole)
        if project not in self._timers:
            self._timers[project] = self._clock.callLater(_DELAY, self._write, project)

    async def stop(self) -> None:
        """Write what is left, but wait for that no longer than a moment."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        written: Deferred[Any] = DeferredList([self._write(project) for project in list(self._due)])
        with suppress(NotReady):
            await wait_at_most(self._clock, _LAST_SECONDS, written, lambda: "")

    def _write(self, project: str) -> Deferred[None]:
        self._timers.pop(project, None)
        known, is_whole = self._due.pop(project)
        return self._worker.run(self._write_now, project, dict(known), is_whole).addErrback(_log_failure)

    def _write_now(self, project: str, known: dict[ObjectId, LearnedObject], is_whole: bool) -> None:
        content = format_learned(known)
        try:
            if not is_whole:
                content = format_learned(self.read(project, len(known) + _MERGED) | known)
            self._bucket.put(f"{_FOLDER}/{project}", content, metadata={})
        except SimpleIndexError as error:
            if not self._is_refused:
                self._is_refused = True
                _log.warn(
                    "What was learned of the files of {url} cannot be kept there: {reason}",
                    url=self._bucket.url,
                    reason=error.message,
                )
            self._write_folder(project, content)
        else:
            self._is_refused = False

    def _read_folder(self, project: str, limit: int) -> dict[ObjectId, LearnedObject]:
        if self._folder is None:
            return {}
        try:
            with open(self._folder / project, "rb") as file:
                return parse_learned(file.read(limit))
        except OSError:
            return {}

    def _write_folder(self, project: str, content: bytes) -> None:
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary = self._folder / f".{project}.new"
            temporary.write_bytes(content)
            os.replace(temporary, self._folder / project)
        except OSError as error:
            _log.warn(
                "What was learned cannot be kept in {folder}: {error}", folder=self._folder, error=error
            )


def _log_failure(failure: Failure) -> None:
    """Log a bug; what was not written because the threads have stopped is learned again."""
    if failure.check(CancelledError) is None:
        _log.failure("What was learned could not be written", failure=failure)
