"""
Folders of wheels and sdists as a source, right at the very next request.

Nothing is scanned that nobody asked for: a project's folder is read when it is asked for, and
again when its stamps have changed. How a change is seen is told in `stamps`, what is read in
`roots`, `listing` and `inspection`, and what becomes of it in `project`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.errors import Unavailable
from twisted_index.exposition import Sample, gauge
from twisted_index.interfaces import IProblemSource, IRunning, ISource, ProblemReport, Snapshot
from twisted_index.ledger import Ledger, Refusal
from twisted_index.observers import compare
from twisted_index.simple.model import Companion
from twisted_index.sources.filesystems import has_coarse_folders, is_remote
from twisted_index.sources.inspector import Inspector
from twisted_index.sources.joint import Joint, Shared
from twisted_index.sources.listing import read_listing
from twisted_index.sources.opening import open_distribution, read_core_metadata, read_document
from twisted_index.sources.patience import wait_at_most
from twisted_index.sources.project import choose, make_page, problems_of
from twisted_index.sources.projectnames import ProjectNames
from twisted_index.sources.rootset import RootSet
from twisted_index.sources.stamps import RACY_SECONDS, Freshness
from twisted_index.sources.state import ProjectState, States, Truth
from twisted_index.sources.survey import Survey
from twisted_index.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.exposition import Metric
    from twisted_index.interfaces import Eventually, FileBody, Problem
    from twisted_index.ledger import Facts, FileKey
    from twisted_index.simple.model import ProjectList, ProjectPage
    from twisted_index.sources.project import Served
    from twisted_index.worker import Works

T = TypeVar("T")
_log = Logger()

#: A project of at most so many files is looked at for in-place rewrites without a thread: that
#: many calls of `stat` take no longer than the way to a thread and back.
_FEW = 64
#: How often a file that is being changed is looked at again before the client is told so.
_ATTEMPTS = 3


@implementer(ISource, IProblemSource, IRunning)
class DirectorySource:
    """
    A source that reads folders.

    Args:
        paths: Folders, read in order; of equal files the first wins. The current one by default.
        reactor: Twisted's, unless another is given.
        reader: Threads that read files; four of its own by default.
        keeper: The one thread that the ledger lives in; its own by default.
        ledger: Keeps what was read; in memory by default.
        rescan: Seconds after which a page's files are looked at again for in-place rewrites;
            0 for every answer.
        answer_timeout: Seconds that an answer waits for files to be read.
        freshness: Stands in for the clock and for `stat`.
        observer: Provides `IIndexObserver`; None if nobody listens.
    """

    def __init__(
        self,
        *paths: str | bytes | os.PathLike[str],
        reactor: Any = None,
        reader: Works | None = None,
        keeper: Works | None = None,
        ledger: Ledger | None = None,
        rescan: float = 2.0,
        answer_timeout: float = 10.0,
        freshness: Freshness | None = None,
        observer: Any = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor: Any = reactor
        self.paths = tuple(os.path.abspath(os.fsencode(path)) for path in paths or (".",))
        self._reader: Works = reader or Worker(reactor, name="index-reader")
        self._keeper: Works = keeper or Worker(reactor, threads=1, name="index-ledger")
        self._ledger = ledger or Ledger()
        self._rescan = rescan
        self._answer_timeout = answer_timeout
        # One for all: a root whose times tell nothing is rare, and makes all be read each time.
        self._freshness = freshness or Freshness(
            trusts_times=not any(has_coarse_folders(path) for path in self.paths)
        )
        self._roots = RootSet(self.paths, self._reader, self._freshness)
        self._inspector = Inspector(
            reader=self._reader, keeper=self._keeper, ledger=self._ledger, freshness=self._freshness
        )
        self._names = ProjectNames(self._roots, self._reader, self._freshness, rescan)
        self._survey = Survey(self._roots, self._reader, self._look)
        self._listings: Joint[str, ProjectState | int] = Joint(self._list)
        self._states = States()
        self._absence: tuple[int, Snapshot[ProjectPage | None]] | None = None
        self._observer = observer

    def start(self) -> None:
        """Say what the file systems cannot promise. Nothing is read before it is asked for."""
        for path in filter(is_remote, self.paths):
            _log.info(
                "{path} is on a network file system: changes show when its attribute cache lets them.",
                path=os.fsdecode(path),
            )

    async def stop(self) -> None:
        """Finish the files that are being read, then close the ledger."""
        self._survey.stop()
        await self._reader.stop()
        await self._keeper.run(self._ledger.close)
        await self._keeper.stop()

    # -- What ISource asks

    def project_list(self) -> Eventually[Snapshot[ProjectList]]:
        """See `ISource`. Exact for names in the roots; a folder that empties leaves within `rescan`."""
        return self._names.project_list()

    def project_page(self, project: str) -> Eventually[Snapshot[ProjectPage | None]]:
        """See `ISource`. Answers without a Deferred where nothing has to be read."""
        state = self._states.get(project)
        if state is None:
            if self._roots.hold() and not self._roots.parts_of(project):
                return self._absent(self._roots.generation)
        elif state.snapshot is not None and self._renew(project, state):
            return state.snapshot
        return Deferred.fromCoroutine(self._look(project))

    async def open_file(
        self, project: str, filename: str, companion: Companion | None = None
    ) -> FileBody | None:
        """See `ISource`. Checks this file alone, not its whole project."""
        for _attempt in range(_ATTEMPTS):
            found = await self._find(project, filename)
            if found is None:
                return None
            state, served = found
            if companion not in (None, *self._companions(state, served)):
                return None
            body = await self._open(state, served, companion)
            if body is not None:
                return body
            # It has changed since the look, so the look is worth nothing.
            self._states.drop(project)
        raise Unavailable("This file is being changed. Ask again in a moment.", retry_after=2)

    def problems(self) -> Deferred[ProblemReport]:
        """See `IProblemSource`. What takes longer than a client waits goes on and is told the next time."""
        return self._survey.report(self._reactor, self._answer_timeout)

    def note(self, path: bytes, key: FileKey, facts: Facts) -> Deferred[None]:
        """
        Hear what is in a file from somebody who has just read it and given it its name.

        It counts only as long as the file has just this key, and only if nobody else can have
        written to it since it was read.

        Args:
            path: Below one of the roots, as they are spelled in `paths`.
            key: The file's size and times under this name.
            facts: What an inspection found in it.
        """
        folder, name = os.path.split(path)
        return self._keeper.run(self._ledger.remember, folder, [(name, key, facts)])

    def metrics(self) -> tuple[Metric, ...]:
        """See `HasMetrics`. Tells what is known without a walk through all projects."""
        text = "Files that are known to be left out; /-/problems says why."
        return (gauge("twisted_index_problems", text, Sample(self._survey.known)),)

    # -- Is it still so?

    def _absent(self, generation: int) -> Snapshot[ProjectPage | None]:
        """
        Give the absence of a project that had no part in the roots as they then were.

        That the roots hold is not enough: they may have been read again since, with the project.
        """
        if self._absence is None or self._absence[0] != generation:
            roots = self._roots

            def still_true() -> bool:
                return roots.generation == generation and roots.hold()

            self._absence = (generation, Snapshot(value=None, still_true=still_true))
        return self._absence[1]

    def _renew(self, project: str, state: ProjectState) -> bool:
        """Say whether a state is true now, after a look at its files where that is quickly done."""
        truth = state.truth
        if not truth.folders_hold():
            return False
        if truth.generation != self._roots.generation:
            if self._roots.parts_of(project) != state.parts:
                return False
            truth.generation = self._roots.generation
        if truth.recent():
            return True
        now = self._freshness.monotonic()
        if not state.settled or len(state.listing.watched) > _FEW or not state.files_hold():
            return False
        truth.looked_at = now
        return True

    # -- Looking at a project

    async def _look(self, project: str) -> Snapshot[ProjectPage | None]:
        state = await self._patiently(self._listings.ask(project), lambda: "Its folder is being read.")
        if isinstance(state, int):
            return self._absent(state)
        if state.snapshot is None:
            await self._patiently(self._learn(project, state), lambda: self._progress(state))
        assert state.snapshot is not None
        return state.snapshot

    def _learn(self, project: str, state: ProjectState) -> Deferred[None]:
        """Learn what is in a project's files: once for all who ask."""
        if state.learning is None:

            async def learn() -> None:
                await self._inspector.learn(state.listing.entries, state.knowledge)
                self._complete(project, state)

            state.learning = Shared(Deferred.fromCoroutine(learn()))
        return state.learning.wait()

    async def _list(self, project: str) -> ProjectState | int:
        """
        List a project anew. Joint: runs once at a time for each project.

        Returns:
            The generation of the roots, if they have no part of the project.
        """
        await self._roots.refresh()
        before = self._states.get(project)
        parts, generation = self._roots.parts_of(project), self._roots.generation
        looked_at = self._freshness.monotonic()
        appeared = project in self._roots.appeared
        self._roots.appeared.discard(project)
        if not parts:
            if before is not None:
                self._tell(project, before, None, ())
            self._states.drop(project)
            self._survey.note(project, ())
            return generation
        if before is not None and before.parts == parts and await self._files_hold(before):
            before.truth.generation, before.truth.looked_at = generation, looked_at
            return before
        seen = dict(before.listing.folders) if before is not None else {}
        try:
            listing = await self._reader.run(read_listing, project, parts, self._freshness, seen)
        except OSError as error:
            _log.error("The folder of {project} cannot be read: {error}", project=project, error=str(error))
            raise Unavailable("The folder of this project cannot be read right now.") from None
        truth = Truth(
            self._roots,
            self._freshness,
            listing.folders,
            generation=generation,
            looked_at=looked_at,
            lifetime=self._rescan,
        )
        state = ProjectState(parts, listing, {}, truth)
        state.followed = appeared
        if before is not None:
            self._carry_over(before, state)
        self._states.put(project, state)
        if state.snapshot is None and not any(
            self._inspector.lacks(entry, state.knowledge) for entry in listing.entries
        ):
            self._complete(project, state)
        return state

    async def _files_hold(self, state: ProjectState) -> bool:
        """Look at just the files of a project, where its folders are as they were."""
        if not state.settled or state.snapshot is None or not state.truth.folders_hold():
            return False
        return await self._reader.run(state.files_hold) and state.truth.folders_hold()

    def _carry_over(self, before: ProjectState, state: ProjectState) -> None:
        """Keep of the last state what is still good."""
        state.knowledge = before.knowledge
        state.previous = before.previous if before.snapshot is None else before.snapshot.value
        state.followed = before.followed or before.snapshot is not None
        state.problems = before.problems
        paths = {entry.path for entry in state.listing.entries}
        for entry in before.listing.entries:
            if entry.path not in paths and state.knowledge.pop(entry.path, None) is not None:
                self._inspector.forget(entry.folder, [entry.name])

    def _complete(self, project: str, state: ProjectState) -> None:
        """Make the page of a project whose files are all known, or keep the one that says the same."""
        listing, knowledge = state.listing, state.knowledge
        state.served = choose(listing.entries, listing, knowledge)
        page = make_page(project, listing, state.served.values()) if listing.claimed else None
        # What a later look has found to be gone is not known any more.
        known = [knowledge[entry.path] for entry in listing.entries if entry.path in knowledge]
        state.settled = all(one.settled for one in known)
        if any(isinstance(one.finding, Refusal) and not one.settled for one in known):
            # A file that is still being copied is whole at a moment that no folder's time tells.
            state.truth.lifetime = 0
        elif not state.settled:
            state.truth.lifetime = min(self._rescan, RACY_SECONDS)
        value = state.previous if state.previous == page else page
        problems = problems_of(listing, state.served, knowledge)
        # A file that is still being copied is not refused: it may be whole at the next look.
        told = problems if state.settled else state.problems
        if state.followed:
            self._tell(project, state, page, told)
        state.problems = told
        state.snapshot = Snapshot(value=value, still_true=state.truth)
        self._survey.note(project, problems)

    def _tell(
        self, project: str, was: ProjectState, page: ProjectPage | None, problems: Sequence[Problem]
    ) -> None:
        """Tell the observer what is different from what was last seen of a project."""
        if self._observer is not None:
            seen = was.previous if was.snapshot is None else was.snapshot.value
            compare(seen, page, was.problems, problems).tell(project, self._observer)

    def _progress(self, state: ProjectState) -> str:
        entries = state.listing.entries
        done = sum(not self._inspector.lacks(entry, state.knowledge) for entry in entries)
        return f"{done} of {len(entries)} files have been read."

    def _patiently(self, work: Deferred[T], progress: Callable[[], str]) -> Deferred[T]:
        return wait_at_most(self._reactor, self._answer_timeout, work, progress)

    # -- Opening a file

    async def _find(self, project: str, filename: str) -> tuple[ProjectState, Served] | None:
        """Find a listed file by its name, after a look if what is known may not hold."""
        state = self._states.get(project)
        if state is None or state.snapshot is None or not self._renew(project, state):
            listed = await self._patiently(self._listings.ask(project), lambda: "Its folder is being read.")
            if isinstance(listed, int):
                return None
            state = listed
        if state.snapshot is not None:
            served = state.served.get(filename)
        else:
            served = await self._check_alone(state, filename)
        return None if served is None else (state, served)

    async def _check_alone(self, state: ProjectState, filename: str) -> Served | None:
        """Read just the files that an installer would take for this one."""
        named = {
            e.distribution.identity for e in state.listing.entries if e.distribution.filename == filename
        }
        rivals = [entry for entry in state.listing.entries if entry.distribution.identity in named]
        learning = Deferred.fromCoroutine(self._inspector.learn(rivals, state.knowledge))
        await self._patiently(learning, lambda: "This file is being read.")
        return choose(rivals, state.listing, state.knowledge).get(filename)

    def _companions(self, state: ProjectState, served: Served) -> list[Companion]:
        beside = state.listing.documents.get(served.entry.distribution.filename, {})
        inside = [] if served.facts.metadata_sha256 is None else [Companion.METADATA]
        return [*beside, *inside]

    async def _open(
        self, state: ProjectState, served: Served, companion: Companion | None
    ) -> FileBody | None:
        entry, facts = served.entry, served.facts
        still_true = state.truth if state.settled else _never
        if companion is None:
            # Without a thread: opening a file takes less time than the way to one and back.
            return open_distribution(entry.path, entry.key, facts.sha256, still_true)
        if companion is Companion.METADATA:
            assert facts.metadata_sha256 is not None
            return await self._reader.run(
                read_core_metadata, entry.path, entry.key, facts.metadata_sha256, still_true
            )
        path = state.listing.documents[entry.distribution.filename][companion]
        return await self._reader.run(read_document, path)


def _never() -> bool:
    """Say no for a project that is not all known, or too young for its times to tell all changes."""
    return False
