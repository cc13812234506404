"""The folders of a directory source as a store: what is changed is in its very next answer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred, DeferredList, DeferredLock, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_index.errors import BadRequest, NotReady, SimpleIndexError, Unavailable
from twisted_index.interfaces import Arriving, IStore
from twisted_index.simple.names import InvalidFilename, parse_filename
from twisted_index.sources.joint import Shared
from twisted_index.store.editor import PATIENCE, PAUSE, Editor, too_busy
from twisted_index.store.faults import telling
from twisted_index.store.locking import Busy
from twisted_index.store.nameless import sweep
from twisted_index.store.publish import Candidate, Preparation
from twisted_index.store.spool import Spool, open_spool

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from twisted_index.interfaces import Event, FileBody, IHistory, Upload
    from twisted_index.ledger import Facts
    from twisted_index.simple.model import ProjectPage, ProjectStatus
    from twisted_index.sources.directory import DirectorySource
    from twisted_index.store.editor import Done
    from twisted_index.store.publish import Publication
    from twisted_index.worker import Works

P = ParamSpec("P")
T = TypeVar("T")
_log = Logger()


@implementer(IStore)
class FolderStore:
    """
    Publishes into the first folder of a source, and changes what lies in all of them.

    Args:
        source: What serves the folders.
        worker: Threads that write, read and wait for the disk.
        history: Is told of each change.
        overwrite: Patterns of versions whose files may get other bytes, as `fnmatch` reads them,
            matched against the version and against PROJECT==VERSION.
        reactor: Twisted's, unless another is given.
        editor: Stands in for what makes the changes.
    """

    def __init__(
        self,
        source: DirectorySource,
        *,
        worker: Works,
        history: IHistory,
        overwrite: Sequence[str] = (),
        reactor: Any = None,
        editor: Editor | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor: Any = reactor
        self._source = source
        self._worker = worker
        self._history = history
        self._editor = editor or Editor(source.paths, overwrite=overwrite)
        # So that of all who wait for one project only one takes a thread.
        self._turns: WeakValueDictionary[str, DeferredLock] = WeakValueDictionary()

    async def sweep(self) -> None:
        """Remove what changes have left that were under way when a server was killed. For the start."""
        removed = await self._worker.run(lambda: sum(map(sweep, self._source.paths)))
        if removed:
            _log.info("{number} unfinished uploads were removed.", number=removed)

    def spool(self) -> Deferred[Spool]:
        """See `IStore`."""
        answer: Deferred[Spool] = Deferred()

        def deliver(opened: Spool | Failure) -> None:
            if not answer.called:
                answer.errback(opened) if isinstance(opened, Failure) else answer.callback(opened)
            elif not isinstance(opened, Failure):
                # Whoever asked has gone meanwhile, and nobody else would close it.
                opened.close()

        self._worker.run(open_spool, self._editor.root, self._worker).addBoth(deliver)
        return answer

    def publish(self, upload: Upload) -> Deferred[bool]:
        """See `IStore`. What has begun is finished, also if whoever asked has gone."""
        spool = upload.spool
        if not isinstance(spool, Spool):
            raise TypeError("Only what was received by this store's spool can be published.")
        spool.take()
        return _to_the_end(self._publish_taken(upload, spool))

    async def _publish_taken(self, upload: Upload, spool: Spool) -> bool:
        try:
            digests = await spool.digests()
            return await self._publish(upload, _candidate(upload, spool, digests["sha256"]))
        finally:
            spool.give_back()

    async def delete(self, project: str, filename: str, *, by: str) -> None:
        """See `IStore`."""
        await self._change(project, partial(self._editor.delete, project, filename, by=by))

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

    # -- Publishing

    async def _publish(self, upload: Upload, candidate: Candidate) -> bool:
        # The rules come first, so that what is refused anyway is not read from end to end.
        if await self._worker.run(self._editor.is_there, candidate):
            return await self._sign(upload, candidate)
        facts = await self._prepare(candidate)
        async with self._turn(candidate.distribution.project):
            publication = await self._when_free(self._editor.publish, candidate)
            if publication is not None:
                try:
                    await self._make_sure(candidate, publication, facts)
                    await self._record(self._editor.published(candidate, publication, by=upload.by))
                finally:
                    publication.close()
                return True
        return await self._sign(upload, candidate)

    async def _sign(self, upload: Upload, candidate: Candidate) -> bool:
        """Add what a file that is there may lack: an upload can have ended between the two."""
        if candidate.signature is not None:
            sign = partial(self._editor.sign, candidate, by=upload.by)
            await self._change_in_turn(candidate.distribution.project, sign)
        return False

    async def _prepare(self, candidate: Candidate) -> Facts:
        """Read what was received while the disk takes it."""
        preparation = Preparation(candidate)
        await self._worker.run(_carry_out, preparation.begin)
        # Neither is left alone if the other one fails: both work with a file that is then closed.
        works = [self._worker.run(_carry_out, step) for step in preparation.together]
        for _done, outcome in await DeferredList(works, consumeErrors=True):
            if isinstance(outcome, Failure):
                outcome.raiseException()
        assert preparation.facts is not None
        return preparation.facts

    async def _make_sure(self, candidate: Candidate, publication: Publication, facts: Facts) -> None:
        """
        See that the file is listed, without its being read once more.

        Raises:
            Unavailable: It is not; a new file is taken back.
        """
        assert publication.key is not None
        await self._source.note(publication.path, publication.key, facts)
        try:
            listed = await self._is_listed(candidate)
        except SimpleIndexError:
            await self._worker.run(_withdraw, publication)
            raise
        if not listed:
            await self._worker.run(_withdraw, publication)
            raise Unavailable(
                f"{candidate.distribution.filename} was received, but something in the package folder keeps"
                " it from being listed; the server's list of problems says what."
            )

    async def _is_listed(self, candidate: Candidate) -> bool:
        project, filename = candidate.distribution.project, candidate.distribution.filename
        try:
            snapshot: Any = await maybeDeferred(self._source.project_page, project)
        except NotReady:
            # Others of its files have yet to be read, and that may take long. This one has been.
            body = await self._source.open_file(project, filename)
            return body is not None and _sha256_of(body) == candidate.sha256
        page: ProjectPage | None = snapshot.value
        return page is not None and any(
            file.filename == filename and file.hashes.get("sha256") == candidate.sha256 for file in page.files
        )

    # -- One after the other

    def _change(self, project: str, change: Callable[[], Done]) -> Deferred[Done]:
        return _to_the_end(self._change_in_turn(project, change))

    async def _change_in_turn(self, project: str, change: Callable[[], Done]) -> Done:
        async with self._turn(project):
            done = await self._when_free(change)
            for event in done.events:
                await self._record(event)
        return done

    async def _record(self, event: Event) -> None:
        await maybeDeferred(self._history.record, event)

    def _turn(self, project: str) -> _Turn:
        lock = self._turns.get(project)
        if lock is None:
            lock = self._turns[project] = DeferredLock()
        return _Turn(lock)

    async def _when_free(self, change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a change in a thread, and wait outside of it for other processes that make theirs."""
        until = self._reactor.seconds() + PATIENCE
        while True:
            try:
                return await self._worker.run(change, *args, **kwargs)
            except Busy:
                if self._reactor.seconds() > until:
                    raise too_busy() from None
            await deferLater(self._reactor, PAUSE)


class _Turn:
    """Waits for a lock, and holds it for a block."""

    def __init__(self, lock: DeferredLock) -> None:
        self._lock = lock

    async def __aenter__(self) -> None:
        taken: Deferred[Any] = self._lock.acquire()
        await taken

    async def __aexit__(self, *_error: object) -> None:
        self._lock.release()


def _to_the_end(work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
    """Begin something that goes on also if nobody waits for it any more."""
    return Shared(Deferred.fromCoroutine(work)).wait()


def _candidate(upload: Upload, spool: Spool, sha256: str) -> Candidate:
    try:
        distribution = parse_filename(upload.filename)
    except InvalidFilename as error:
        raise BadRequest(f"{error.reason} {error.advice}") from error
    return Candidate(
        file=spool.file,
        distribution=distribution,
        sha256=sha256,
        size=spool.size,
        signature=upload.signature,
        may_create=upload.may_create,
    )


def _carry_out(step: Callable[[], None]) -> None:
    with telling():
        step()


def _withdraw(publication: Publication) -> None:
    with telling():
        publication.withdraw()


def _sha256_of(body: FileBody) -> str | None:
    """Let go of a file that was opened only to see whether it is there."""
    if not isinstance(body.content, (bytes, Arriving)):
        body.content.close()
    return body.sha256
