"""Promotions between the indexes of a bucket from the console: as a server does them, at once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.task import Clock

from twisted_index.backends.object_store.history import BucketHistory
from twisted_index.backends.object_store.shared_audit_log import SharedAuditLog
from twisted_index.backends.object_store.staged_objects import promotions_in, read_list, read_record
from twisted_index.cli._server_state import console_user
from twisted_index.concurrency.maybe_awaitable import result_now
from twisted_index.concurrency.thread_pool import SynchronousRunner
from twisted_index.errors import (
    ConfigurationError,
    Conflict,
    NotFound,
    RefusedPart,
    SimpleIndexError,
    Unavailable,
)
from twisted_index.events.audit_log import AuditLog
from twisted_index.server.bucket_indexes import BucketIndexes

if TYPE_CHECKING:
    import argparse

    from twisted_index.backends.layout.promotion_record import PromotionRecord
    from twisted_index.backends.object_store.store import ObjectStore
    from twisted_index.cli._promotion_report import PromotionReport
    from twisted_index.config.settings import Settings
    from twisted_index.indexes.index_line import IndexLines
    from twisted_index.interfaces import PromotionOutcome

#: Nanoseconds after which no server is expected to work on a promotion: nothing in a bucket says whether one
#: does, and one that is undone while it comes to its end would show a part of its files.
_HOUR_NS = 3600 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedInBucket:
    """
    A promotion that is not finished; see `IUnfinished`.

    Attributes:
        index: The index that its files go to.
        id: Its name in `.staged/`.
        record: What it has written down; None if that cannot be read.
        hidden: The names in its list.
        is_shown: Whether all its files are there to be seen.
        fault: Why what it has written down is unknown, in a sentence; empty if it is known.
    """

    index: str
    id: str
    record: PromotionRecord | None
    hidden: frozenset[str] = frozenset()
    is_shown: bool = False
    fault: str = ""

    @property
    def is_running(self) -> bool:
        """False: nothing in a bucket says whether a server works on it."""
        return False

    @property
    def says(self) -> str:
        """How far it came."""
        if self.record is None:
            return self.fault
        came = "all its files are shown" if self.is_shown else "its files are hidden"
        return f"{', '.join(self.record.releases)} from {self.record.source}: {came}"

    def require_record(self) -> PromotionRecord:
        """Return what it has written down."""
        if self.record is None:
            raise Unavailable(self.fault)
        return self.record


class BucketPromotions:
    """
    Promotes between the indexes of a bucket.

    Args:
        settings: Of a server on it.
        options: Parsed.
    """

    def __init__(self, settings: Settings, options: argparse.Namespace) -> None:
        at_once = SynchronousRunner()
        self._options = options
        self._indexes = BucketIndexes(settings, Clock(), worker=at_once)
        own = AuditLog(settings.state, at_once)
        self._log = SharedAuditLog(BucketHistory(self._indexes.bucket), own, at_once)

    def close(self) -> None:
        """Let servers know what was learned of the files."""
        result_now(self._indexes.stop)

    def promote(self, report: PromotionReport) -> None:
        """Promote releases, or only say what would come."""
        options = self._options
        source, target = self._store(options.source), self._store(options.target)
        refusals = refusals_of(self._indexes.lines, options.source, options.target)
        if options.dry_run:
            plan = target.plan(source.place, options.releases, yanked=options.yanked, refusals=refusals)
            report.planned([(each.project, each.name, each.size) for each in plan.published], plan.present)
            return
        outcome: PromotionOutcome = result_now(
            target.promote,
            source,
            options.releases,
            by=console_user(),
            yanked=options.yanked,
            refusals=refusals,
        )
        report.promoted(outcome, options.source, options.target)

    def push(self, report: PromotionReport) -> int:
        """Refuse: files are uploaded to other servers from folders."""
        raise ConfigurationError(
            "Another server gets files from a folder: copy those of the bucket to one first, such as by"
            " rclone sync."
        )

    def unfinished(self) -> list[UnfinishedInBucket]:
        """
        Find the promotions that are not finished; one that has written nothing down has done nothing.

        Raises:
            Unavailable: The bucket does not answer.
        """
        result_now(self._indexes.lines.listed)
        names = self._indexes.lines.catalog.names()
        return [each for name in names for each in self._unfinished_in(name)]

    def _unfinished_in(self, index: str) -> list[UnfinishedInBucket]:
        bucket = self._indexes.root(self._indexes.lines.catalog.path(index)).bucket
        found = []
        for promotion in promotions_in(bucket):
            hidden = read_list(bucket, promotion)
            try:
                record, fault = read_record(bucket, promotion), ""
            except SimpleIndexError as error:
                record, fault = None, error.message
            if record is not None or fault:
                found.append(
                    UnfinishedInBucket(
                        index=index,
                        id=promotion,
                        record=record,
                        hidden=hidden or frozenset(),
                        is_shown=hidden is None,
                        fault=fault,
                    )
                )
        return found

    def resume(self, promotion: str, report: PromotionReport) -> None:
        """Complete a promotion that was cut off."""
        found = self._find(promotion)
        record = found.require_record()
        target, source = self._store(found.index), self._store(record.source)
        outcome: PromotionOutcome = result_now(target.resume, source.place, record)
        report.promoted(outcome, record.source, found.index)

    def cancel(self, promotion: str, report: PromotionReport) -> None:
        """Undo a promotion that was cut off."""
        found = self._find(promotion)
        record = found.require_record()
        if found.is_shown:
            raise Conflict("All its files are shown; --resume completes it.")
        if time.time_ns() - (record.moment or 0) < _HOUR_NS:
            raise Conflict(
                "It began less than an hour ago, and a server may be at work on it: --resume completes it."
            )
        self._store(found.index).cancel(record)
        report.cancelled(promotion, found.index)

    def _find(self, promotion: str) -> UnfinishedInBucket:
        for found in self.unfinished():
            if found.id == promotion:
                return found
        raise NotFound(f"There is no unfinished promotion {promotion!a}; --list has those that there are.")

    def _store(self, index: str) -> ObjectStore:
        return self._indexes.open_store(index, self._log)


def refusals_of(lines: IndexLines, source: str, target: str) -> list[RefusedPart]:
    """Return what is in the way if what is in an index may not be promoted into another one."""
    allowed = lines.member(source).settings.promote_to
    if allowed is None or target in allowed:
        return []
    where = f"to {', '.join(allowed)} only" if allowed else "nowhere"
    return [RefusedPart(name=target, reason=f"What is in {source} may be promoted {where}.")]
