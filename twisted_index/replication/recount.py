"""
Recount: compares a whole index with a primary that counts its changes anew, before any of it is followed.

Such a primary is another server, has lost its state, or was restored from a backup. Its serials say nothing
then, so all projects are compared. A recount changes nothing: where following would remove or replace
anything, a person decides.
"""

from __future__ import annotations

import os
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.folder.tombstones import tombstone_blocks
from twisted_index.backends.layout.tombstones import TOMBSTONES
from twisted_index.concurrency.parallel import in_groups
from twisted_index.events.serials import REMOVED, Change
from twisted_index.simple.entry_listing import MAX_BATCH
from twisted_index.simple.formatting import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.events.serials import Serials
    from twisted_index.replication.compare import ReplicaPlan
    from twisted_index.replication.primary import Feed, IPrimary
    from twisted_index.replication.replica_folder import ReplicaFolder

#: Projects that are compared at once: while one batch is compared, the next one is fetched.
_PROJECTS = 2 * MAX_BATCH
#: Bytes of a list of deleted files that is compared line by line.
_MOST_COMPARED = 1 << 20
#: Seconds until a primary that was refused is compared again, if it has not changed.
_COMPARE_AGAIN = 600.0


class Compared(NamedTuple):
    """
    The outcome of a comparison.

    Attributes:
        refusal: Why the primary is not followed, in a sentence; empty if it is.
        equal: The projects that are equal, with the serials there and the imprints here.
    """

    refusal: str
    equal: Mapping[str, Change]


class _Refused(NamedTuple):
    """The changes of a primary that was refused, until when that holds, and why it was."""

    changes: Mapping[str, Change]
    until: float
    reason: str


class Recount:
    """
    Compares with primaries that count anew.

    Args:
        primary: The server that may be followed.
        folder: The folder here.
        serials: Those of the folder.
        runner: Threads.
        seconds: Returns monotonic seconds.
    """

    def __init__(
        self,
        primary: IPrimary,
        folder: ReplicaFolder,
        serials: Serials,
        *,
        runner: IThreadRunner,
        seconds: Callable[[], float],
    ) -> None:
        self._primary = primary
        self._folder = folder
        self._serials = serials
        self._runner = runner
        self._seconds = seconds
        self._refused: _Refused | None = None

    def retry_now(self) -> None:
        """Compare again with a primary that was refused, though it has not changed."""
        self._refused = None

    async def compare(self, feed: Feed, present: frozenset[str], url: str) -> Compared:
        """
        Compare all projects, here and there.

        Args:
            feed: All changes of the primary.
            present: The projects that are here.
            url: The URL of the primary, for the sentence; empty if it is not known.

        Raises:
            OSError: The folder cannot be read.
            SimpleIndexError: See `IPrimary` and `ReplicaFolder.survey`.
        """
        last = self._refused
        if last is not None and last.changes == feed.changes and self._seconds() < last.until:
            return Compared(last.reason, {})
        removed = replaced = 0
        equal: dict[str, Change] = {}

        async def look(project: str) -> None:
            nonlocal removed, replaced
            answer = await self._primary.entries(project)
            listing = None if answer is None else answer[0]
            # A project without a serial was not compared since this server keeps serials: its files may have
            # other bytes of the same size and time.
            deep = self._serials.serial_of(project) is None
            plan = await self._runner.run(partial(self._folder.survey, project, listing, deep=deep))
            removed += len(plan.gone) + len(plan.show)
            replaced += plan.replaced - await self._kept(project, plan)
            if plan.is_empty and project in feed.changes:
                serial = feed.changes[project].serial if listing is None else listing.serial
                equal[project] = Change(serial, await self._runner.run(self._folder.imprint, project))

        there = {project for project, change in feed.changes.items() if change.imprint != REMOVED}
        await in_groups(_PROJECTS, MAX_BATCH, look, sorted(there | present))
        if not removed and not replaced:
            self._refused = None
            return Compared("", equal)
        also = f", then here, with {url or 'that of the primary'}" if replaced else ""
        reason = (
            "The primary counts its changes anew: it is another server, or has lost its state, or was"
            f" restored. Of what is here {counted(removed, 'file')} would be removed and {replaced} replaced,"
            " so nothing is changed. To keep all that both have, run `twisted-index join` on the primary,"
            f" with the URL of this server{also}. If only what the primary has is to stay, stop this server,"
            " empty its folder, remove keep/replication and keep/serials from its state, and start it again."
        )
        self._refused = _Refused(feed.changes, self._seconds() + _COMPARE_AGAIN, reason)
        return Compared(reason, {})

    async def _kept(self, project: str, plan: ReplicaPlan) -> int:
        """
        Count the lists of deleted files that would be replaced, and have all lines there that they have here.

        What is deleted leaves one more line, and two servers that were joined have the same lines in another
        order.
        """
        kept = 0
        for entry in plan.hide:
            if entry.name.encode() != TOMBSTONES or entry.size > _MOST_COMPARED:
                continue
            pieces: list[bytes] = []
            await self._primary.read(project, entry, pieces.append)
            theirs = b"".join(pieces)
            is_whole = len(theirs) == entry.size and sha256(theirs).hexdigest() == entry.sha256
            kept += is_whole and await self._runner.run(self._has_no_other, entry.path, theirs)
        return kept

    def _has_no_other(self, path: str, theirs: bytes) -> bool:
        """Return whether a file of lines is here, and has none that is not among others."""
        try:
            ours = b"".join(tombstone_blocks(os.path.join(self._folder.root, os.fsencode(path))))
        except FileNotFoundError:
            return False
        return set(ours.splitlines()) <= set(theirs.splitlines())
