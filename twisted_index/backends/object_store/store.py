"""A bucket as a store. Changes show in the next response of this node's source."""

from __future__ import annotations

import os
import tempfile
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import succeed
from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.backends.layout.candidate import candidate_of
from twisted_index.backends.layout.promotion_record import promotion_events
from twisted_index.backends.layout.promotion_rules import PromotionRules, releases_in
from twisted_index.backends.layout.retention import PrereleaseRetention
from twisted_index.backends.layout.spool import Spool, open_in_thread, open_spool
from twisted_index.backends.object_store.conditions import Conditions
from twisted_index.backends.object_store.object_editor import ObjectEditor
from twisted_index.backends.object_store.promotion import ObjectPromotionRequest
from twisted_index.backends.object_store.promotion_place import ObjectPlace
from twisted_index.backends.object_store.publish import inspect_received
from twisted_index.concurrency.keyed_locks import KeyedLocks
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.concurrency.single_flight import shielded
from twisted_index.errors import Conflict, NotFound, SimpleIndexError
from twisted_index.events.origin import stamp_origin
from twisted_index.files.anonymous_file import sweep
from twisted_index.files.free_space import require_space
from twisted_index.files.os_errors import translate_os_errors
from twisted_index.interfaces import IPromotionTarget, ISpaceLimit, IStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.defer import Deferred

    from twisted_index.backends.layout.candidate import Candidate
    from twisted_index.backends.layout.change_result import ChangeResult
    from twisted_index.backends.layout.promotion_record import PromotionRecord, PromotionResult
    from twisted_index.backends.object_store.promotion import ObjectPromotion
    from twisted_index.backends.object_store.source import ObjectSource
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.errors import RefusedPart
    from twisted_index.interfaces import AuditEvent, IAuditLog, PromotionOutcome, Upload
    from twisted_index.simple.model import ProjectStatus

_log = Logger()


@implementer(IStore, ISpaceLimit, IPromotionTarget)
class ObjectStore:
    """
    Publishes into a bucket, and changes what lies there.

    Args:
        source: The source that serves the bucket.
        worker: Threads that wait for the store, and write what is received.
        audit_log: Records each change.
        editor: Makes the changes; by default one for the source's bucket.
        spool_folder: Where uploads are received; by default the folder of temporary files.
    """

    def __init__(
        self,
        source: ObjectSource,
        *,
        worker: IThreadRunner,
        audit_log: IAuditLog,
        editor: ObjectEditor | None = None,
        spool_folder: bytes | None = None,
    ) -> None:
        self._source = source
        self._worker = worker
        self._audit_log = audit_log
        self.editor = editor or ObjectEditor(source.bucket, source.reader, known_sha256=source.known_sha256)
        self._spool_folder = spool_folder or os.fsencode(tempfile.gettempdir())
        self._retention = PrereleaseRetention(
            source, worker, self.delete, lambda: self.editor.keep_prereleases
        )
        # One change of a project at a time here, so that only other nodes are met in the store.
        self._locks = KeyedLocks()

    async def sweep(self) -> None:
        """Remove what a killed server left of uploads, and log what the store cannot do; for the start."""
        await self._worker.run(sweep, self._spool_folder)
        try:
            conditions = await self._worker.run(lambda: self.editor.conditions)
        except SimpleIndexError as error:
            _log.warn("{url} takes no files: {error}", url=self._source.bucket.url, error=error.message)
            return
        if conditions is not Conditions.KEPT and not self.editor.single_writer:
            _log.warn(
                "{url} takes no files: the store keeps no conditions on writes. If only this server writes to"
                " it, set single-writer = true.",
                url=self._source.bucket.url,
            )

    def spool(self) -> Deferred[Spool]:
        """See `IStore`."""
        return open_in_thread(self._worker, self._open_spool)

    def require_space(self, size: int) -> Deferred[None]:
        """See `ISpaceLimit`."""
        if not self.editor.min_free:
            return succeed(None)
        return self._worker.run(require_space, self._spool_folder, size, self.editor.min_free)

    def _open_spool(self) -> Spool:
        with translate_os_errors():
            os.makedirs(self._spool_folder, 0o700, exist_ok=True)
        return open_spool(self._spool_folder, self._worker, self.editor.min_free)

    def publish(self, upload: Upload) -> Deferred[bool]:
        """See `IStore`. Cancelling the Deferred does not stop the change."""
        spool = upload.spool
        if not isinstance(spool, Spool):
            raise TypeError("Only uploads from a spool of this store can be published.")
        spool.acquire()
        return shielded(self._publish_acquired(upload, spool))

    async def _publish_acquired(self, upload: Upload, spool: Spool) -> bool:
        try:
            if upload.index != self.editor.index:
                raise NotFound(f"There is no index {upload.index} here.")
            candidate = candidate_of(upload, spool, (await spool.digests())["sha256"])
            published = await self._publish(upload, candidate)
        finally:
            spool.release()
        if published:
            self._retention.start(candidate.distribution)
        return published

    async def _publish(self, upload: Upload, candidate: Candidate) -> bool:
        project = candidate.distribution.project
        facts = await self._worker.run(inspect_received, candidate)
        async with self._locks.holding(project):
            published = None
            try:
                published = await self._worker.run(self.editor.publish, candidate)
            finally:
                # Also of a failed upload something may have been written.
                self._source.note_change(project, None if published is None else published.look)
            if published is not None:
                self._source.seed(published.stored, facts, published.uploaded_ns)
                await self._record(self.editor.publish_event(candidate, published, by=upload.by))
                return True
        await self._change(project, partial(self.editor.complete, candidate, by=upload.by))
        return False

    async def delete(self, project: str, filename: str, *, by: str, reason: str = "") -> None:
        """See `IStore`; `reason` is recorded."""
        await self._change(project, partial(self.editor.delete, project, filename, by=by, reason=reason))

    async def yank(
        self,
        project: str,
        *,
        version: str | None = None,
        filename: str | None = None,
        reason: str = "",
        by: str,
    ) -> tuple[str, ...]:
        """See `IStore`."""
        yank = partial(self.editor.yank, project, version=version, filename=filename, reason=reason, by=by)
        return (await self._change(project, yank)).names

    async def unyank(
        self, project: str, *, version: str | None = None, filename: str | None = None, by: str
    ) -> tuple[str, ...]:
        """See `IStore`."""
        unyank = partial(self.editor.unyank, project, version=version, filename=filename, by=by)
        return (await self._change(project, unyank)).names

    async def set_status(self, project: str, status: ProjectStatus, *, by: str) -> None:
        """See `IStore`."""
        await self._change(project, partial(self.editor.set_status, project, status, by=by))

    # -- Promotion

    @property
    def place(self) -> ObjectPlace:
        """The index as the place of a promotion."""
        source = self._source
        return ObjectPlace(self.editor.index, source.bucket, source.reader, source.root.known_facts)

    def promote(
        self,
        source: IStore,
        releases: Sequence[str],
        *,
        by: str,
        yanked: bool = False,
        move: bool = False,
        may_create: Callable[[str], bool] = lambda _project: True,
        refusals: Sequence[RefusedPart] = (),
    ) -> Deferred[PromotionOutcome]:
        """See `IPromotionTarget`. Cancelling the Deferred does not stop the promotion."""
        if not isinstance(source, ObjectStore) or move:
            raise Conflict("Releases can be promoted between indexes of the same kind: folders, or buckets.")
        request = self._request(source.place, releases, by, yanked=yanked)
        rules = self._rules(request, may_create, refusals)
        return shielded(self._promote(request, rules, has_refusals=bool(refusals)))

    def plan(
        self,
        source: ObjectPlace,
        releases: Sequence[str],
        *,
        yanked: bool = False,
        refusals: Sequence[RefusedPart] = (),
    ) -> PromotionResult:
        """
        Return what `promote` would do, doing nothing. Blocking.

        Raises:
            PromotionRefused, BadRequest, Unavailable: See `IPromotionTarget`.
        """
        request = self._request(source, releases, "", yanked=yanked)
        promotion = self.editor.promotion(request, self._rules(request, refusals=refusals))
        if promotion.record is None or refusals:
            promotion.examine()
        return promotion.planned

    def resume(self, source: ObjectPlace, record: PromotionRecord) -> Deferred[PromotionOutcome]:
        """
        Complete a promotion that was cut off, for the one who has begun it.

        Raises:
            PromotionRefused: Something has come in the way. What was placed is removed.
            Conflict, Unavailable: See `ObjectPromotion`.
        """
        request = self._request(source, record.releases, record.by, yanked=record.yanked)
        return shielded(self._promote(request, self._rules(request), record=record))

    def cancel(self, record: PromotionRecord) -> None:
        """
        Undo a promotion that was cut off. Blocking.

        Raises:
            Conflict: All its files are shown.
            Unavailable: Not all of it was removed, or that is not known.
        """
        # What is undone needs no source, which may be gone.
        request = self._request(self.place, record.releases, record.by)
        self.editor.promotion(request, self._rules(request), record).undo()

    def _request(
        self, source: ObjectPlace, releases: Sequence[str], by: str, *, yanked: bool = False
    ) -> ObjectPromotionRequest:
        return ObjectPromotionRequest(
            source=source, target=self.place, releases=releases_in(releases), by=by, yanked=yanked
        )

    def _rules(
        self,
        request: ObjectPromotionRequest,
        may_create: Callable[[str], bool] = lambda _project: True,
        refusals: Sequence[RefusedPart] = (),
    ) -> PromotionRules:
        return PromotionRules(
            request.source,
            request.target,
            request.releases,
            yanked=request.yanked,
            facts_of=request.facts_of,
            routed_away=self.editor.routed_away,
            may_create=may_create,
            refusals=refusals,
        )

    async def _promote(
        self,
        request: ObjectPromotionRequest,
        rules: PromotionRules,
        *,
        has_refusals: bool = False,
        record: PromotionRecord | None = None,
    ) -> PromotionOutcome:
        async with AsyncExitStack() as stack:
            # In one order, or two promotions would wait for each other. An upload here that comes meanwhile
            # would be replaced where nothing but this server writes, since that asks for no conditions.
            for project in sorted({release.partition("==")[0] for release in request.releases}):
                await stack.enter_async_context(self._locks.holding(project))
            if record is not None:
                promotion = await self._worker.run(self.editor.promotion, request, rules, record)
            else:
                promotion = await self._open_promotion(request, rules)
            return await self._promote_locked(promotion, request, has_refusals=has_refusals)

    async def _promote_locked(
        self, promotion: ObjectPromotion, request: ObjectPromotionRequest, *, has_refusals: bool
    ) -> PromotionOutcome:
        run = self._worker.run
        if promotion.record is None or has_refusals:
            await run(promotion.examine)
            if promotion.new:
                await run(promotion.begin)
        record = promotion.record
        if record is not None:
            await self._carry_out(promotion, record)
            await self._finish(promotion, request.source, by=request.by)
        return promotion.result.outcome

    async def _open_promotion(
        self, request: ObjectPromotionRequest, rules: PromotionRules
    ) -> ObjectPromotion:
        """Return the promotion to go on with, or a new one; finish what was cut off when all was shown."""
        while True:
            promotion = await self._worker.run(self.editor.promotion, request, rules)
            record = promotion.record
            if record is None or not await self._worker.run(_is_shown, promotion):
                return promotion
            # What it has published may have been deleted since: that is examined anew.
            self._note_files(record)
            await self._finish(promotion, request.source, by=record.by)

    async def _finish(self, promotion: ObjectPromotion, source: ObjectPlace, *, by: str) -> None:
        for event in promotion_events(
            promotion.result, by=by, source=source.shown, index=self.editor.index, now=self.editor.now()
        ):
            await self._record(event)
        await self._worker.run(promotion.finish)

    async def _carry_out(self, promotion: ObjectPromotion, record: PromotionRecord) -> None:
        """Place the files of a promotion one at a time, since other requests need threads too; show them."""
        run = self._worker.run
        try:
            if await run(_is_shown, promotion):
                return
            await run(promotion.mark)
            for file in record.files:
                stored = await run(promotion.place, file)
                if stored is not None:
                    self._source.seed(stored, file.facts, record.moment)
            await run(promotion.confirm)
            for file in record.files:
                await run(promotion.copy, file)
            await run(promotion.show)
        finally:
            self._note_files(record)

    def _note_files(self, record: PromotionRecord) -> None:
        for project in {file.project for file in record.files}:
            self._source.note_change(project)

    # -- One change at a time per project

    def _change(self, project: str, change: Callable[[], ChangeResult]) -> Deferred[ChangeResult]:
        return shielded(self._change_locked(project, change))

    async def _change_locked(self, project: str, change: Callable[[], ChangeResult]) -> ChangeResult:
        async with self._locks.holding(project):
            try:
                result = await self._worker.run(change)
            finally:
                self._source.note_change(project)
            for event in result.events:
                await self._record(event)
        return result

    async def _record(self, event: AuditEvent) -> None:
        await result_of(self._audit_log.record, stamp_origin(event))


def _is_shown(promotion: ObjectPromotion) -> bool:
    return promotion.is_shown
