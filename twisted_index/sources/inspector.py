"""
Learns what is in distribution files: from memory, from the ledger, or by reading them in threads.

A file is read once for everybody who asks, and again only if its size or times say so.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.ledger import Facts, Finding, Refusal
from twisted_index.sources.inspection import inspect
from twisted_index.sources.stamps import RACY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from twisted_index.ledger import FileKey, Ledger
    from twisted_index.sources.listing import Entry
    from twisted_index.sources.stamps import Freshness
    from twisted_index.worker import Works

_log = Logger()

#: Files of one project that are read at the same time, so that a large project does not keep
#: a small one waiting that is asked for later.
_LANES = 4
#: Findings that are written to the ledger at once.
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Known:
    """
    A finding, and under which key it was made.

    Attributes:
        key: The file's size and times then.
        finding: What was found.
        settled: False if the file was so young that it might have changed without a trace.
        read_at: Monotonic seconds at which this key was first read.
    """

    key: FileKey
    finding: Finding
    settled: bool
    read_at: float


#: What is known of a project's files, by path. Shared by the looks at one project, and filled
#: as findings come in, so that a look that was given up has still moved things on.
Knowledge: TypeAlias = dict[bytes, Known]


class Inspector:
    """
    Fills knowledge.

    Args:
        reader: Threads that read files.
        keeper: The one thread of the ledger.
        ledger: Keeps findings across restarts.
        freshness: Tells the age of things.
    """

    def __init__(self, *, reader: Works, keeper: Works, ledger: Ledger, freshness: Freshness) -> None:
        self._reader = reader
        self._keeper = keeper
        self._ledger = ledger
        self._freshness = freshness
        self._reading: dict[tuple[bytes, FileKey], list[Deferred[Known]]] = {}

    def lacks(self, entry: Entry, knowledge: Knowledge) -> bool:
        """Say whether a file has to be read before anything can be said of it."""
        known = knowledge.get(entry.path)
        if known is None or known.key != entry.key:
            return True
        return not known.settled and self._freshness.monotonic() - known.read_at >= RACY_SECONDS

    async def learn(self, entries: Iterable[Entry], knowledge: Knowledge) -> None:
        """Fill in what is lacking of these files."""
        lacking = [entry for entry in entries if self.lacks(entry, knowledge)]
        if not lacking:
            return
        await self._recall(lacking, knowledge)
        rest = iter([entry for entry in lacking if self.lacks(entry, knowledge)])
        lanes = [Deferred.fromCoroutine(self._run_lane(rest, knowledge)) for _ in range(_LANES)]
        for outcome in await DeferredList(lanes, consumeErrors=True):
            if isinstance(outcome[1], Failure):
                raise outcome[1].value

    def forget(self, folder: bytes, names: list[bytes]) -> None:
        """Drop what the ledger has of files that are gone."""
        self._keeper.run(self._ledger.forget, folder, names).addErrback(_ignore)

    async def _recall(self, lacking: list[Entry], knowledge: Knowledge) -> None:
        by_folder: defaultdict[bytes, list[Entry]] = defaultdict(list)
        for entry in lacking:
            if entry.path not in knowledge or knowledge[entry.path].key != entry.key:
                by_folder[entry.folder].append(entry)
        now = self._freshness.monotonic()
        for folder, entries in by_folder.items():
            keys = {entry.name: entry.key for entry in entries}
            found = await self._keeper.run(self._ledger.recall, folder, keys)
            for entry in entries:
                if entry.name in found:
                    knowledge[entry.path] = Known(entry.key, found[entry.name], True, now)

    async def _run_lane(self, entries: Iterator[Entry], knowledge: Knowledge) -> None:
        learned: list[tuple[Entry, Known]] = []
        try:
            for entry in entries:
                known = await self._read(entry, knowledge.get(entry.path))
                knowledge[entry.path] = known
                learned.append((entry, known))
                if len(learned) >= _BATCH:
                    self._remember(learned)
                    learned = []
        finally:
            self._remember(learned)

    def _read(self, entry: Entry, before: Known | None) -> Deferred[Known]:
        answer: Deferred[Known] = Deferred()
        place = (entry.path, entry.key)
        if place in self._reading:
            self._reading[place].append(answer)
            return answer
        self._reading[place] = [answer]
        now = self._freshness.monotonic()
        again = before is not None and before.key == entry.key
        settled = again or self._freshness.settled(entry.key.ctime_ns)
        reading = self._reader.run(inspect, entry.path, entry.distribution, entry.key, settled=settled)
        reading.addCallback(
            lambda finding: self._note(entry, _known(entry.key, finding, settled, now), before)
        )
        reading.addBoth(lambda result: self._deliver(result, place))
        return answer

    def _note(self, entry: Entry, known: Known, before: Known | None) -> Known:
        """Log a refusal, once for each state of a file."""
        if isinstance(known.finding, Refusal) and (before is None or before.finding != known.finding):
            _log.warn("{file} is not listed: {reason}", file=entry.shown, reason=known.finding.reason)
        return known

    def _deliver(self, result: Known | Failure, place: tuple[bytes, FileKey]) -> None:
        for answer in self._reading.pop(place):
            answer.errback(result) if isinstance(result, Failure) else answer.callback(result)

    def _remember(self, learned: list[tuple[Entry, Known]]) -> None:
        by_folder: defaultdict[bytes, list[tuple[bytes, FileKey, Finding]]] = defaultdict(list)
        for entry, known in learned:
            if known.settled:
                by_folder[entry.folder].append((entry.name, entry.key, known.finding))
        for folder, findings in by_folder.items():
            self._keeper.run(self._ledger.remember, folder, findings).addErrback(_ignore)


def _known(key: FileKey, finding: Finding, settled: bool, read_at: float) -> Known:
    lasting = isinstance(finding, Facts) or finding.lasting
    return Known(key, finding, settled and lasting, read_at)


def _ignore(failure: Failure) -> None:
    """Let it go: the ledger is a cache, and what it could not take costs one more reading some day."""
