"""
Lists what lies in a root for a project, and opens it, for replicas.

The listing and its serial belong together: the imprint was the same before the files were read and after it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import DeferredSemaphore

from twisted_index.backends.folder.entry_files import (
    MAX_READ,
    EntryReading,
    FoundEntry,
    KnownDigest,
    digest_found,
    find_entry,
    open_found,
    read_entries,
)
from twisted_index.backends.folder.imprints import stable_imprint
from twisted_index.backends.folder.root_scan import entries_of, hides_the_same
from twisted_index.backends.layout.entries import may_belong
from twisted_index.backends.layout.facts import FileFacts
from twisted_index.concurrency.deadline import wait_at_most
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.errors import Conflict, ReplacedMeanwhile, SimpleIndexError, Unavailable
from twisted_index.interfaces import FileBody
from twisted_index.simple.entry_listing import MAX_CONTENTS, EntryListing, format_listing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import Any

    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.backends.folder.root_set import RootSet
    from twisted_index.backends.layout.entries import ProjectEntries
    from twisted_index.backends.layout.facts import KnownFiles
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.events.serials import Serials
    from twisted_index.files.stamps import StatValidator

#: Projects that are read at a time on a file server, which is mostly waiting. Of a local folder it is one:
#: two threads would take turns with the reactor's, and three replicas that take all there is are no reason
#: for a page to wait.
_REMOTE_LANES = 4
#: Readings of a project that keeps changing, before the request fails with 503.
_ATTEMPTS = 5
#: Digests to remember of files that no inspection knows and that take their time to hash.
_MAX_DIGESTS = 4096


class _Part(NamedTuple):
    """
    What the roots hold for a project.

    Attributes:
        readings: The readings of all roots.
        own: What is in the root whose entries are listed.
        all: Each root that has entries of it, with these: they all count for the serial.
    """

    readings: tuple[RootScan, ...]
    own: ProjectEntries | None
    all: Sequence[tuple[bytes, ProjectEntries]]


class EntryReader:
    """
    Reads entries.

    Args:
        paths: The roots.
        owners: The index that each belongs to, None for that of the source.
        roots: The same, as they were last read.
        reader: Threads that read files.
        serials: Those of the projects.
        validator: Tells how old a change is.
        clock: Twisted's reactor.
        timeout: Seconds that a request waits for digests.
        inspect: Inspects the files of a project.
        known_files: Returns what inspection knows of a project.
        are_remote: Whether the roots are on other machines.
    """

    def __init__(
        self,
        paths: Sequence[bytes],
        owners: Sequence[str | None],
        *,
        roots: RootSet,
        reader: IThreadRunner,
        serials: Serials,
        validator: StatValidator,
        clock: Any,
        timeout: float,
        inspect: Callable[[str], Awaitable[object]],
        known_files: Callable[[str], KnownFiles],
        are_remote: bool = False,
    ) -> None:
        self._own = [path for path, owner in zip(paths, owners, strict=True) if owner is None]
        self._roots = roots
        self._reader = reader
        self._serials = serials
        self._validator = validator
        self._clock = clock
        self._timeout = timeout
        self._inspect = inspect
        self._known_files = known_files
        self._lanes = DeferredSemaphore(_REMOTE_LANES if are_remote else 1)
        self._hashing: SingleFlight[FoundEntry, KnownDigest] = SingleFlight(clock.seconds)
        self._digests: LRU[FoundEntry, KnownDigest] = LRU(_MAX_DIGESTS)
        self._young: dict[str, frozenset[tuple[FoundEntry, str]]] = {}

    async def listing(self, project: str, inline: int) -> bytes | None:
        """See `IChangeSource.entries`."""
        fresh: dict[FoundEntry, KnownDigest] = {}
        for _attempt in range(_ATTEMPTS):
            part = await self._find_part(project)
            if not part.all:
                return None
            read = partial(self._read, project, part, self._knowledge(project, fresh), inline)
            found = await self._lanes.run(self._reader.run, read)
            if isinstance(found, EntryReading):
                await self._learn(project, found.unknown, fresh)
            elif found is not None:
                text, young = found
                self._serials.announce()
                self._note_young(project, young)
                return text
        raise _changing_error()

    async def batch(self, projects: Sequence[str], inline: int) -> Mapping[str, bytes]:
        """See `IChangeSource.entry_batch`."""
        await self._refresh()
        parts = []
        for project in projects:
            # A request for it alone says what is wrong.
            with suppress(SimpleIndexError):
                parts.append((project, self._part(project)))
        read = partial(
            self._read_batch,
            [(project, part, self._knowledge(project, {})) for project, part in parts if part.all],
            inline,
        )
        found = await self._lanes.run(self._reader.run, read)
        self._serials.announce()
        for project, (_text, young) in found.items():
            self._note_young(project, young)
        return {project: text for project, (text, _young) in found.items()}

    def _read_batch(
        self,
        parts: Sequence[tuple[str, _Part, Callable[[FoundEntry], KnownDigest | None]]],
        inline: int,
    ) -> Mapping[str, tuple[bytes, frozenset[tuple[FoundEntry, str]]]]:
        """Read the entries of the projects that can be had without waiting; called in a thread."""
        found: dict[str, tuple[bytes, frozenset[tuple[FoundEntry, str]]]] = {}
        room = MAX_CONTENTS
        for project, part, known in parts:
            if room <= 0:
                break
            with suppress(SimpleIndexError):
                read = self._read(project, part, known, inline)
                if read is not None and not isinstance(read, EntryReading):
                    found[project] = read
                    room -= len(read[0])
        return found

    def _note_young(self, project: str, young: frozenset[tuple[FoundEntry, str]]) -> None:
        if young:
            # What another replica was told of the same file may be something else.
            self._young[project] = self._young.get(project, frozenset()) | young

    async def open(self, project: str, path: bytes) -> FileBody | None:
        """See `IChangeSource.open_entry`."""
        fresh: dict[FoundEntry, KnownDigest] = {}
        for _attempt in range(_ATTEMPTS):
            part = await self._find_part(project)
            if part.own is None:
                return None
            found = await self._reader.run(find_entry, project, self._own[0], part.own, path)
            if found is None:
                return None
            known = self._knowledge(project, fresh)
            try:
                if known(found) is None:
                    await self._learn(project, [found], fresh)
                digest = known(found)
                if digest is not None:
                    # Without a thread: opening a file takes less time than a thread switch.
                    file = open_found(found)
                    time = min(found.key.mtime_ns, found.key.ctime_ns) / 1e9
                    return FileBody(content=file, size=found.key.size, sha256=digest.sha256, modified=time)
            except ReplacedMeanwhile:
                continue
        raise _changing_error()

    async def confirm(self) -> None:
        """
        Look again at files that were read soon after a change, once they have rested.

        What is written into a file while it is read may change neither its size nor its times.
        """
        is_settled = self._validator.is_settled
        due = {
            project: young
            for project, young in self._young.items()
            if all(is_settled(found.key.ctime_ns) for found, _sha256 in young)
        }
        for project in due:
            del self._young[project]
        if due:
            await self._reader.run(self._confirm, due)

    def _confirm(self, due: Mapping[str, frozenset[tuple[FoundEntry, str]]]) -> None:
        for project, young in due.items():
            if any(_has_other_bytes(found, sha256) for found, sha256 in young):
                self._serials.note_unseen(project)
        self._serials.flush()

    async def _find_part(self, project: str) -> _Part:
        await self._refresh()
        return self._part(project)

    async def _refresh(self) -> None:
        if len(self._own) != 1:
            raise Conflict(
                f"This index has {len(self._own)} folders, and a replica has one: an index that is to be"
                " replicated has one --path."
            )
        await self._roots.refresh()

    def _part(self, project: str) -> _Part:
        """Return what the last readings have of a project, and check that none of it can be missing."""
        self._roots.check(project)
        readings = self._roots.readings
        parts = entries_of(project, readings)
        return _Part(readings, dict(parts).get(self._own[0]), parts)

    def _read(
        self, project: str, part: _Part, known: Callable[[FoundEntry], KnownDigest | None], inline: int
    ) -> tuple[bytes, frozenset[tuple[FoundEntry, str]]] | EntryReading | None:
        """
        Read the entries and give the project its serial; called in a thread.

        Returns:
            The listing, with the files whose digests are not certain; or what was read, if not all digests
            are known; or None if anything has changed meanwhile.
        """

        def look() -> tuple[EntryReading, bool | None]:
            if part.own is None:
                reading = EntryReading((), (), (), frozenset())
            else:
                reading = read_entries(project, self._own[0], part.own, known, self._validator, inline)
            return reading, hides_the_same(project, part.readings, self._validator)

        try:
            (reading, hides_same), taken = stable_imprint(part.all, look)
        except ReplacedMeanwhile:
            return None
        if reading.unknown:
            return reading
        if taken is None or hides_same is False or not self._roots.are_those_read():
            # What went away with its root while it was read looks like files that were deleted.
            return None
        serial = self._serials.note(project, taken) or 0
        text = format_listing(EntryListing(serial, taken, reading.entries))
        return b"".join((text, b"\n", *reading.contents)) if inline else text, reading.young

    def _knowledge(
        self, project: str, fresh: Mapping[FoundEntry, KnownDigest]
    ) -> Callable[[FoundEntry], KnownDigest | None]:
        """Return a function for any thread that returns the digest of a file, if it is known."""
        inspected = self._known_files(project)

        def known(found: FoundEntry) -> KnownDigest | None:
            file = inspected.get(found.place)
            if file is None or file.key != found.key or not isinstance(file.result, FileFacts):
                return fresh.get(found) or self._digests.peek(found)
            # What is not certain is read once more, unless that takes its time.
            is_used = file.settled or found.key.size > MAX_READ
            return KnownDigest(file.result.sha256, file.settled) if is_used else fresh.get(found)

        return known

    async def _learn(
        self, project: str, unknown: Sequence[FoundEntry], fresh: dict[FoundEntry, KnownDigest]
    ) -> None:
        """
        Find out the digests of files.

        Raises:
            NotReady: That takes longer than a client waits; it goes on.
        """
        large = [found for found in unknown if found.key.size > MAX_READ]
        if any(may_belong(os.fsdecode(os.path.basename(found.place)), project) for found in large):
            await self._inspect(project)
        known = self._knowledge(project, fresh)
        for found in unknown:
            if known(found) is None:
                hashing = self._hashing.run(found, partial(self._hash, found))
                with suppress(ReplacedMeanwhile):
                    fresh[found] = await wait_at_most(
                        self._clock, self._timeout, hashing, lambda: "A file is being read."
                    )

    async def _hash(self, found: FoundEntry) -> KnownDigest:
        # Before it is read: a change that comes meanwhile shows only then.
        is_settled = self._validator.is_settled(found.key.ctime_ns)
        digest = KnownDigest(await self._reader.run(digest_found, found), is_settled)
        if is_settled:
            self._digests.put(found, digest)
        return digest


def _has_other_bytes(found: FoundEntry, sha256: str) -> bool:
    """Return whether a file has other bytes than it had, though it looks the same."""
    try:
        return digest_found(found) != sha256
    except ReplacedMeanwhile:
        # Its imprint is another one by now.
        return False
    except Unavailable:
        return True


def _changing_error() -> Unavailable:
    return Unavailable("The files of this project are being changed. Retry in a moment.", retry_after=1)
