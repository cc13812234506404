"""The store of folders keeps the contract of stores, without threads and with them."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_index.backends.folder.source import FolderSource
from twisted_index.backends.folder.store import FolderStore
from twisted_index.concurrency.thread_pool import IThreadRunner, ThreadPool
from twisted_index.events.audit_log import AuditLog
from twisted_index.testing import StoreContract, StoreHarness, SynchronousRunner

#: Seconds after which work in a thread counts as lost.
_LOST = 60


class FolderStoreHarness(StoreHarness):
    """A root on the disk, and a history beside it."""

    def __init__(self, path: Path, clock: Clock, worker: IThreadRunner) -> None:
        root = path / "packages"
        root.mkdir()
        self.clock = clock
        self.source = source = FolderSource(root, reactor=clock, reader=worker, cache_thread=worker)
        self.audit_log = AuditLog(str(path / "state"), worker)
        self.store = FolderStore(source, worker=worker, audit_log=self.audit_log, reactor=clock)


class TestFolderStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path

    def harness(self) -> FolderStoreHarness:
        return FolderStoreHarness(self.path, Clock(), SynchronousRunner())


class ClockWithThreads(Clock):
    """A reactor whose clock stands still, and which runs calls from threads on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.delivered: queue.Queue[Callable[[], object]] = queue.Queue()

    def callFromThread(self, function: Callable[..., object], *args: Any) -> None:
        self.delivered.put(lambda: function(*args))


class Counted:
    """A worker that knows how many of its calls are under way."""

    def __init__(self, worker: ThreadPool) -> None:
        self.worker = worker
        self.pending = 0

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        self.pending += 1
        return self.worker.run(function, *args, **kwargs).addBoth(self._done)

    def _done(self, result: Any) -> Any:
        self.pending -= 1
        return result

    def stop(self) -> Deferred[None]:
        return self.worker.stop()


class ThreadedHarness(FolderStoreHarness):
    """The same, with threads that read and write at once."""

    def __init__(self, path: Path) -> None:
        self.reactor = ClockWithThreads()
        self.counted = Counted(ThreadPool(self.reactor, threads=4, name="contract"))
        super().__init__(path, self.reactor, self.counted)

    def settle(self) -> None:
        while self.counted.pending or self._waits_a_moment():
            if self.counted.pending:
                self.reactor.delivered.get(timeout=_LOST)()
            else:
                self.reactor.advance(1)

    def _waits_a_moment(self) -> bool:
        """Say whether a change waits for another one; time-outs of clients are much later."""
        soon = self.reactor.seconds() + 1
        return any(call.getTime() <= soon for call in self.reactor.getDelayedCalls())

    def close(self) -> None:
        self.counted.stop()


class TestFolderStoreWithThreads(StoreContract):
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path

    def harness(self) -> ThreadedHarness:
        return ThreadedHarness(self.path)
