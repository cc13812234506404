"""The free space of file systems, asked for at each scrape."""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.defer import TimeoutError as TookTooLong

from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.files.free_space import free_bytes
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from prometheus_client import Metric

#: Seconds that a scrape waits for all file systems.
_PATIENCE = 1.0


@runtime_checkable
class MeasuredCollector(Protocol):
    """A collector whose values have to be taken before they are collected, as that may wait."""

    def measure(self) -> Awaitable[None] | None:
        """Take the values, within seconds, and without raising."""


class FreeSpace:
    """
    A collector of the free space at some paths.

    They are named by their last parts: where there are no users, everyone may see the metrics, and the
    folders above may hold the name of a user of the machine.

    A dead mount keeps its thread for ever. So each path has a thread of its own, one at a time, which
    delays neither the other paths nor the end of the process.

    Args:
        paths: Absolute.
        reactor: Twisted's.
        ask: Returns the free bytes at a path, None if they are unknown; may block.
    """

    def __init__(
        self, paths: Sequence[str], reactor: Any, ask: Callable[[str], int | None] = free_bytes
    ) -> None:
        self._paths = tuple(dict.fromkeys(paths))
        self._reactor = reactor
        self._ask = ask
        self._asking = SingleFlight[str, int | None](reactor.seconds)
        self._free: dict[str, int] = {}

    async def measure(self) -> None:
        """Ask all file systems; those that do not answer in time are left out."""
        waiting = [self._asking.run(path, partial(self._in_thread, path)) for path in self._paths]
        for path, asked in zip(self._paths, waiting, strict=True):
            asked.addTimeout(_PATIENCE, self._reactor)
            asked.addErrback(lambda failure: failure.trap(OSError, TookTooLong) and None)
            asked.addCallback(partial(self._note, path))
        await DeferredList(waiting)

    def _note(self, path: str, free: int | None) -> None:
        if free is None:
            self._free.pop(path, None)
        else:
            self._free[path] = free

    def collect(self) -> Iterator[Metric]:
        """Yield what was measured; see `prometheus_client.registry.Collector`."""
        from prometheus_client.core import GaugeMetricFamily

        text = "Bytes that the server may still write, by package folder, state and cache."
        gauge = GaugeMetricFamily("twisted_index_filesystem_free_bytes", text, labels=["folder"])
        # Of paths with the same last name, the fullest one counts.
        worst: dict[str, int] = {}
        for path, free in self._free.items():
            name = printable(os.path.basename(path) or path)
            worst[name] = min(free, worst.get(name, free))
        for name, free in worst.items():
            gauge.add_metric([name], free)
        yield gauge

    def _in_thread(self, path: str) -> Deferred[int | None]:
        answer: Deferred[int | None] = Deferred()

        def ask() -> None:
            try:
                free = self._ask(path)
            except OSError as error:
                self._reactor.callFromThread(answer.errback, error)
            else:
                self._reactor.callFromThread(answer.callback, free)

        threading.Thread(target=ask, name="index-free-space", daemon=True).start()
        return answer
