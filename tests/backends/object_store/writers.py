"""Nodes that write to a bucket in memory, one step of one of them at a time."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.memory_bucket import MemoryBucket, Operation
from twisted_index.backends.layout.candidate import Candidate
from twisted_index.backends.object_store.conditions import PROBE
from twisted_index.backends.object_store.object_editor import ObjectEditor
from twisted_index.backends.object_store.object_reader import ObjectReader
from twisted_index.backends.object_store.object_root import ObjectRoot
from twisted_index.files.anonymous_file import AnonymousFile, open_scratch
from twisted_index.simple.names import parse_filename
from twisted_index.testing import BuiltFile, SynchronousRunner

#: When `MemoryBucket` has what it writes written.
NOW = datetime.fromtimestamp(1_700_000_100, UTC)
#: Seconds after which a step counts as lost.
_LOST = 60


def make_editor(bucket: MemoryBucket, *, holding: str | None = None, **options: Any) -> ObjectEditor:
    """A node that has just started, or that holds a listing of a project from now on for ever."""
    root = ObjectRoot(bucket, worker=SynchronousRunner(), reactor=Clock(), rescan=1.0)
    if holding is not None:
        answer(root.listings.project, holding)
    options = {"now": lambda: NOW, "pause": lambda _seconds: None, **options}
    return ObjectEditor(bucket, ObjectReader([root]), **options)


@contextmanager
def candidate_of(made: BuiltFile, **options: Any) -> Iterator[Candidate]:
    """A file as it was received."""
    file = open_scratch()
    assert isinstance(file, AnonymousFile)
    try:
        file.write(made.content)
        yield Candidate(
            file=file,
            distribution=parse_filename(made.filename),
            sha256=hashlib.sha256(made.content).hexdigest(),
            size=len(made.content),
            **options,
        )
    finally:
        file.close()


class Interleaved:
    """
    Runs calls in threads of which one goes on at a time, from one operation of the bucket to the next.

    Args:
        bucket: The bucket that all of them use.
        calls: What they do.
    """

    def __init__(self, bucket: MemoryBucket, calls: list[Callable[[], object]]) -> None:
        self.outcomes: list[Any] = [None] * len(calls)
        self._turns = [threading.Semaphore(0) for _ in calls]
        self._waits = [threading.Semaphore(0) for _ in calls]
        self._running = set(range(len(calls)))
        self._own = threading.local()
        self._threads = [
            threading.Thread(target=self._run, args=(number, call)) for number, call in enumerate(calls)
        ]
        bucket.before = self._before
        for number, thread in enumerate(self._threads):
            thread.start()
            self._await(number)

    def run(self, choose: Callable[[list[int]], int], watch: Callable[[], None]) -> None:
        """Go on until all are done: `choose` says with which, `watch` looks at the bucket after each step."""
        while self._running:
            number = choose(sorted(self._running))
            self._turns[number].release()
            self._await(number)
            watch()
        for thread in self._threads:
            thread.join(_LOST)

    def _await(self, number: int) -> None:
        assert self._waits[number].acquire(timeout=_LOST), "a step did not end"

    def _before(self, _operation: Operation) -> None:
        number = getattr(self._own, "number", None)
        if number is not None:
            self._waits[number].release()
            assert self._turns[number].acquire(timeout=_LOST), "a thread was left waiting"

    def _run(self, number: int, call: Callable[[], object]) -> None:
        self._own.number = number
        try:
            self.outcomes[number] = call()
        except Exception as error:
            self.outcomes[number] = error
        self._running.discard(number)
        self._own.number = None
        self._waits[number].release()


class Cut(BaseException):
    """The process ends."""


def cut_after(bucket: MemoryBucket, operations: int) -> None:
    """Let the process end before the operation after so many."""
    left = [operations]

    def before(operation: Operation) -> None:
        if operation.key.startswith(PROBE):
            return
        left[0] -= 1
        if left[0] < 0:
            raise Cut

    bucket.before = before
