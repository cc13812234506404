"""Folders as a store. Changes show in the source's next response."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_index.backends.folder.blocking_store import (
    LOCK_RETRY_DELAY,
    LOCK_TIMEOUT,
    BlockingStore,
    lock_timeout_error,
)
from twisted_index.backends.folder.drafts import DraftFolder, draft_folders
from twisted_index.backends.folder.promoter import Promoter
from twisted_index.backends.folder.promotion_plan import IndexFolders, PromotionRequest
from twisted_index.backends.folder.publish import Preparation
from twisted_index.backends.layout.candidate import candidate_of
from twisted_index.backends.layout.promotion_record import promotion_events
from twisted_index.backends.layout.promotion_rules import releases_in
from twisted_index.backends.layout.retention import PrereleaseRetention
from twisted_index.backends.layout.spool import Spool, open_in_thread, open_spool
from twisted_index.concurrency.keyed_locks import KeyedLocks
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.concurrency.single_flight import shielded
from twisted_index.errors import NotFound, NotReady, SimpleIndexError, Unavailable
from twisted_index.events.origin import stamp_origin
from twisted_index.files.anonymous_file import sweep
from twisted_index.files.free_space import require_space
from twisted_index.files.locks import LockHeld
from twisted_index.files.os_errors import translate_os_errors
from twisted_index.interfaces import (
    AuditAction,
    ICountingStore,
    IDrafts,
    IPromotionTarget,
    ISpaceLimit,
    IStore,
    PromotionOutcome,
    StreamingContent,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from twisted_index.backends.folder.publish import Publication
    from twisted_index.backends.folder.source import FolderSource
    from twisted_index.backends.layout.candidate import Candidate
    from twisted_index.backends.layout.change_result import ChangeResult
    from twisted_index.backends.layout.facts import FileFacts
    from twisted_index.backends.layout.promotion_record import PromotionResult
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.errors import RefusedPart
    from twisted_index.interfaces import AuditEvent, Draft, FileBody, IAuditLog, Upload
    from twisted_index.simple.model import ProjectStatus

P = ParamSpec("P")
T = TypeVar("T")
_log = Logger()


@implementer(IStore, ICountingStore, ISpaceLimit, IPromotionTarget, IDrafts)
class FolderStore:
    """
    Publishes into the first folder of a source, and changes files in all that belong to its index.

    Args:
        source: The source that serves the folders.
        worker: Threads that write, read and wait for the disk.
        audit_log: Records each change.
        overwrite: Patterns of versions whose files may be overwritten, in the syntax of `fnmatch`,
            matched against the version and against PROJECT==VERSION.
        reactor: By default Twisted's global reactor.
        blocking_store: Makes the changes; by default one for the source's folders.
    """

    def __init__(
        self,
        source: FolderSource,
        *,
        worker: IThreadRunner,
        audit_log: IAuditLog,
        overwrite: Sequence[str] = (),
        reactor: Any = None,
        blocking_store: BlockingStore | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor: Any = reactor
        self._source = source
        self._worker = worker
        self._audit_log = audit_log
        self._editor = blocking_store or BlockingStore(
            source.paths, owners=source.owners, overwrite=overwrite
        )
        self._retention = PrereleaseRetention(
            source, worker, self.delete, lambda: self._editor.keep_prereleases
        )
        # Serializes the changes of a project, so that waiting ones occupy no threads.
        self._locks = KeyedLocks()

    async def sweep(self) -> None:
        """Remove temporary files of changes that a killed server left unfinished; called at the start."""
        paths, owners = self._source.paths, self._source.owners
        own = [path for path, owner in zip(paths, owners, strict=True) if owner is None]
        removed = await self._worker.run(lambda: sum(map(sweep, own)))
        if removed:
            _log.info("Removed {number} unfinished uploads.", number=removed)

    def spool(self) -> Deferred[Spool]:
        """See `IStore`."""
        editor = self._editor
        return open_in_thread(self._worker, partial(open_spool, editor.root, self._worker, editor.min_free))

    def require_space(self, size: int) -> Deferred[None]:
        """See `ISpaceLimit`."""
        if not self._editor.min_free:
            return succeed(None)
        return self._worker.run(require_space, self._editor.root, size, self._editor.min_free)

    def publish(self, upload: Upload) -> Deferred[bool]:
        """See `IStore`. Cancelling the Deferred does not stop the change."""
        spool = upload.spool
        if not isinstance(spool, Spool):
            raise TypeError("Only uploads from a spool of this store can be published.")
        spool.acquire()
        return shielded(self._publish_acquired(upload, spool))

    async def _publish_acquired(self, upload: Upload, spool: Spool) -> bool:
        try:
            if upload.index != self._editor.index:
                raise NotFound(f"There is no index {upload.index} here.")
            digests = await spool.digests()
            candidate = candidate_of(upload, spool, digests["sha256"])
            published = await self._publish(upload, candidate)
        finally:
            spool.release()
        if published:
            self._retention.start(candidate.distribution)
        return published

    async def delete(self, project: str, filename: str, *, by: str, reason: str = "") -> None:
        """See `IStore`; `reason` is recorded."""
        digest_of = self._source.digest_reader(project)
        delete = partial(self._editor.delete, project, filename, by=by, reason=reason, digest_of=digest_of)
        await self._change(project, delete)

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
        yank = partial(self._editor.yank, project, version=version, filename=filename, reason=reason, by=by)
        return (await self._change(project, yank)).names

    async def unyank(
        self, project: str, *, version: str | None = None, filename: str | None = None, by: str
    ) -> tuple[str, ...]:
        """See `IStore`."""
        unyank = partial(self._editor.unyank, project, version=version, filename=filename, by=by)
        return (await self._change(project, unyank)).names

    async def set_status(self, project: str, status: ProjectStatus, *, by: str) -> None:
        """See `IStore`."""
        await self._change(project, partial(self._editor.set_status, project, status, by=by))

    def serial_of(self, project: str) -> int | None:
        """See `ICountingStore`. What is in a draft is nobody else's, and so are its serials."""
        return None if self._editor.draft is not None else self._source.serials.serial_of(project)

    # -- Promotion

    @property
    def folders(self) -> IndexFolders:
        """The folders of the index."""
        editor, roots, owners = self._editor, self._source.paths, tuple(self._source.owners)
        if editor.draft is not None:
            return draft_folders(editor.draft, roots, owners)
        return IndexFolders(name=editor.index, roots=roots, owners=owners)

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
        if not isinstance(source, FolderStore):
            raise TypeError("Only what lies in folders can be promoted.")
        request = PromotionRequest(
            source=source.folders,
            target=self.folders,
            releases=releases_in(releases),
            by=by,
            yanked=yanked,
            move=move,
        )
        promoter = Promoter(
            origin=source._source,
            target=self._source,
            run=self._retry_while_locked,
            routed_away=self._editor.routed_away,
            min_free=self._editor.min_free,
        )
        return shielded(self._promote(promoter, request, may_create, refusals))

    async def _promote(
        self,
        promoter: Promoter,
        request: PromotionRequest,
        may_create: Callable[[str], bool],
        refusals: Sequence[RefusedPart],
    ) -> PromotionOutcome:
        async def note(result: PromotionResult) -> None:
            for event in promotion_events(
                result,
                by=request.by,
                source=request.source.shown,
                index=request.target.name,
                now=self._editor.now(),
            ):
                await self._record(event)
            for project in sorted({file.project for file in result.published}):
                await self._note_change(project)

        return (await promoter.promote(request, may_create, refusals, note)).outcome

    # -- Drafts

    def create_draft(self, draft: Draft) -> Deferred[None]:
        """See `IDrafts`."""
        return shielded(self._create_draft(draft))

    async def _create_draft(self, draft: Draft) -> None:
        await self._retry_while_locked(self._drafts.create, draft)
        await self._record(self._editor.draft_event(AuditAction.DRAFT_CREATE, draft, by=draft.by))

    def drafts(self) -> Deferred[list[Draft]]:
        """See `IDrafts`."""
        return self._worker.run(self._drafts.drafts)

    def remove_draft(
        self, draft: Draft, *, by: str, reason: str, taken: Collection[str] | None = None
    ) -> Deferred[list[str]]:
        """See `IDrafts`."""
        return shielded(self._remove_draft(draft, by, reason, taken))

    async def _remove_draft(
        self, draft: Draft, by: str, reason: str, taken: Collection[str] | None
    ) -> list[str]:
        left = await self._retry_while_locked(partial(self._drafts.remove, draft, taken=taken))
        if not left:
            event = self._editor.draft_event(AuditAction.DRAFT_REMOVE, draft, by=by, reason=reason)
            await self._record(event)
        return left

    @property
    def _drafts(self) -> DraftFolder:
        return DraftFolder(self._editor.root)

    # -- Publishing

    async def _publish(self, upload: Upload, candidate: Candidate) -> bool:
        # Check the rules first, so that a forbidden file is not read from end to end.
        if await self._worker.run(self._editor.is_published, candidate):
            return await self._complete(upload, candidate)
        facts = await self._prepare(candidate)
        async with self._locks.holding(candidate.distribution.project):
            publication = await self._retry_while_locked(self._editor.publish, candidate)
            if publication is not None:
                try:
                    await self._verify_listed(candidate, publication, facts)
                    await self._record(self._editor.publish_event(candidate, publication, by=upload.by))
                finally:
                    publication.close()
                return True
        return await self._complete(upload, candidate)

    async def _complete(self, upload: Upload, candidate: Candidate) -> bool:
        """Add what is missing, such as a signature: an earlier upload may have died before writing it."""
        complete = partial(self._editor.complete, candidate, by=upload.by)
        await self._change_locked(candidate.distribution.project, complete)
        return False

    async def _prepare(self, candidate: Candidate) -> FileFacts:
        """Inspect the received file while it is synced to disk."""
        preparation = Preparation(candidate)
        await self._worker.run(_run_step, preparation.first_step)
        # Wait for both even if one fails: both use the file, which is closed afterwards.
        running = [self._worker.run(_run_step, step) for step in preparation.parallel_steps]
        for _success, outcome in await DeferredList(running, consumeErrors=True):
            if isinstance(outcome, Failure):
                outcome.raiseException()
        assert preparation.facts is not None
        return preparation.facts

    async def _verify_listed(self, candidate: Candidate, publication: Publication, facts: FileFacts) -> None:
        """
        Check that the source lists the file, without inspecting it again.

        Raises:
            Unavailable: The source does not list it; a new file is withdrawn.
        """
        assert publication.key is not None
        await self._source.seed(publication.path, publication.key, facts)
        try:
            listed = await self._is_listed(candidate)
        except SimpleIndexError:
            await self._worker.run(_withdraw, publication)
            raise
        if not listed:
            await self._worker.run(_withdraw, publication)
            raise Unavailable(
                f"{candidate.distribution.filename} was received, but something in the package folder"
                " prevents listing it; see the server's list of problems."
            )

    async def _is_listed(self, candidate: Candidate) -> bool:
        project, filename = candidate.distribution.project, candidate.distribution.filename
        try:
            page = (await result_of(self._source.project_page, project)).value
        except NotReady:
            # Other files of the project are still being inspected; check this one alone.
            body = await self._source.open_file(project, filename)
            return body is not None and _sha256_of(body) == candidate.sha256
        return page is not None and any(
            file.filename == filename and file.hashes.get("sha256") == candidate.sha256 for file in page.files
        )

    # -- One change at a time per project

    def _change(self, project: str, change: Callable[[], ChangeResult]) -> Deferred[ChangeResult]:
        return shielded(self._change_locked(project, change))

    async def _change_locked(self, project: str, change: Callable[[], ChangeResult]) -> ChangeResult:
        async with self._locks.holding(project):
            result = await self._retry_while_locked(change)
            for event in result.events:
                await self._record(event)
            if result.events:
                await self._note_change(project)
        return result

    async def _note_change(self, project: str) -> None:
        """Let clients that wait for changes learn of one; it is made, whether it can be noted or not."""
        try:
            await self._source.note_change(project)
        except SimpleIndexError as error:
            _log.warn("A change of {project} was not noted: {error}", project=project, error=error.message)

    async def _record(self, event: AuditEvent) -> None:
        await result_of(self._audit_log.record, stamp_origin(event))

    async def _retry_while_locked(self, change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a change in a thread, retrying on the reactor while another process holds the lock."""
        deadline = self._reactor.seconds() + LOCK_TIMEOUT
        while True:
            try:
                return await self._worker.run(change, *args, **kwargs)
            except LockHeld:
                if self._reactor.seconds() > deadline:
                    raise lock_timeout_error() from None
            await deferLater(self._reactor, LOCK_RETRY_DELAY)


def _run_step(step: Callable[[], None]) -> None:
    with translate_os_errors():
        step()


def _withdraw(publication: Publication) -> None:
    with translate_os_errors():
        publication.withdraw()


def _sha256_of(body: FileBody) -> str | None:
    """Return the digest of a file that was opened only to check it, and close it."""
    if not isinstance(body.content, (bytes, StreamingContent)):
        body.content.close()
    return body.sha256
