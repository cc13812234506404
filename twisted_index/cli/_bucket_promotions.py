"""Promotions between the indexes of a bucket from the console: as a server does them, at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.task import Clock

from twisted_index.backends.object_store.history import BucketHistory
from twisted_index.backends.object_store.shared_audit_log import SharedAuditLog
from twisted_index.backends.object_store.unfinished_promotions import unfinished_promotions
from twisted_index.cli._server_state import console_user
from twisted_index.concurrency.maybe_awaitable import result_now
from twisted_index.concurrency.thread_pool import SynchronousRunner
from twisted_index.errors import (
    ConfigurationError,
    Conflict,
    NotFound,
    RefusedPart,
)
from twisted_index.events.audit_log import AuditLog
from twisted_index.server.bucket_indexes import BucketIndexes

if TYPE_CHECKING:
    import argparse

    from twisted_index.backends.layout.promotion_record import PromotionRecord
    from twisted_index.backends.object_store.bucket import Bucket
    from twisted_index.backends.object_store.store import ObjectStore
    from twisted_index.backends.object_store.unfinished_promotions import UnfinishedPromotion
    from twisted_index.cli._promotion_report import PromotionReport
    from twisted_index.config.settings import Settings
    from twisted_index.indexes.index_line import IndexLines
    from twisted_index.interfaces import PromotionOutcome


@dataclass(frozen=True, slots=True)
class UnfinishedInBucket:
    """
    A promotion that is not finished; see `IUnfinished`.

    Attributes:
        index: The index that its files go to.
        state: How far it came.
    """

    index: str
    state: UnfinishedPromotion

    @property
    def id(self) -> str:
        """Its name in `.staged/`."""
        return self.state.id

    @property
    def record(self) -> PromotionRecord | None:
        """What it has written down; None if that cannot be read."""
        return self.state.record

    @property
    def hidden(self) -> frozenset[str]:
        """The names in its list."""
        return self.state.hidden or frozenset()

    @property
    def is_running(self) -> bool:
        """False: nothing in a bucket says whether a server works on it."""
        return False

    @property
    def says(self) -> str:
        """How far it came."""
        return self.state.says


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
        return [
            UnfinishedInBucket(name, found)
            for name in names
            for found in unfinished_promotions(self._bucket_of(name))
        ]

    def resume(self, promotion: str, report: PromotionReport) -> None:
        """Complete a promotion that was cut off."""
        found = self._find(promotion)
        record = found.state.require_record()
        target, source = self._store(found.index), self._store(record.source)
        outcome: PromotionOutcome = result_now(target.resume, source.place, record)
        report.promoted(outcome, record.source, found.index)

    def cancel(self, promotion: str, report: PromotionReport) -> None:
        """Undo a promotion that was cut off."""
        found = self._find(promotion)
        record = found.state.require_record()
        if found.state.hidden is None:
            raise Conflict("All its files are shown; --resume completes it.")
        if found.state.may_run:
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

    def _bucket_of(self, index: str) -> Bucket:
        return self._indexes.root(self._indexes.lines.catalog.path(index)).bucket

    def _store(self, index: str) -> ObjectStore:
        return self._indexes.open_store(index, self._log)


def refusals_of(lines: IndexLines, source: str, target: str) -> list[RefusedPart]:
    """Return what is in the way if what is in an index may not be promoted into another one."""
    allowed = lines.member(source).settings.promote_to
    if allowed is None or target in allowed:
        return []
    where = f"to {', '.join(allowed)} only" if allowed else "nowhere"
    return [RefusedPart(name=target, reason=f"What is in {source} may be promoted {where}.")]
