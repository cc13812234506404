"""A folder source as it was at a moment, made of what lies in the folders now (see `history`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_index.backends.folder.dated_list import DatedNames
from twisted_index.backends.folder.dated_page import not_in, page_at, page_of_snapshot, why_not_at
from twisted_index.backends.folder.explanation import explain_folders, folder_names
from twisted_index.backends.folder.local_tree import stat_key_no_follow
from twisted_index.backends.folder.open_file import open_listed, sidecars_of
from twisted_index.backends.folder.snapshots import read_snapshot, snapshot_path
from twisted_index.backends.layout.explanation import Look, unasked_roots
from twisted_index.backends.layout.page_builder import is_copy
from twisted_index.concurrency.lru import LRU
from twisted_index.errors import SimpleIndexError, Unavailable
from twisted_index.interfaces import IExplains, IProblemSource, ISource, Snapshot
from twisted_index.simple.model import ProjectList, Status

if TYPE_CHECKING:
    from collections.abc import Hashable
    from datetime import datetime

    from twisted_index.backends.folder.dated_page import DatedPage
    from twisted_index.backends.folder.history import FolderHistory, ProjectHistory
    from twisted_index.backends.folder.snapshots import IndexSnapshot
    from twisted_index.backends.layout.explanation import RootName
    from twisted_index.backends.layout.facts import StatKey
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import Explanation, FileBody, MaybeAwaitable, ProblemReport
    from twisted_index.simple.explanation import SourceAnswer
    from twisted_index.simple.model import ProjectPage, Sidecar

#: Files on pages of the past that are kept in memory, over all moments: anyone may ask for a million of them.
_MAX_FILES = 20_000
#: Files of a page that is made at once: as quickly as a thread takes over.
_FEW = 64
_ATTEMPTS = 3


class PastView(Protocol):
    """A way to look at histories."""

    @property
    def key(self) -> Hashable:
        """Views with the same key see the same."""

    def is_ready(self) -> bool:
        """Return whether all that the view itself needs is known, and as it was."""

    async def prepare(self) -> None:
        """
        Read what it needs, unless it is ready.

        Raises:
            NotFound: There is no such snapshot.
            Unavailable: It cannot be read.
        """

    def page_of(self, history: ProjectHistory) -> DatedPage:
        """
        Make the page of a project.

        Raises:
            Unavailable: A file of a snapshot is not as it was.
        """

    def names(self, names: DatedNames) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """List the projects."""

    def why_not(self, history: ProjectHistory, entry: ScannedFile) -> str:
        """Return why a file did not count for the page, as a sentence."""


class AtTime:
    """
    What there was at a time.

    Args:
        moment: Aware.
        owner: The name of the index, for the links of its files.
    """

    def __init__(self, moment: datetime, owner: str) -> None:
        self._moment, self._owner = moment, owner
        self.key: Hashable = (moment, owner)

    def is_ready(self) -> bool:
        """See `PastView`: nothing else is needed."""
        return True

    async def prepare(self) -> None:
        """See `PastView`."""

    def page_of(self, history: ProjectHistory) -> DatedPage:
        """See `PastView`."""
        return page_at(history, self._moment, self._owner)

    def names(self, names: DatedNames) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """See `PastView`."""
        return names.project_list(self._moment)

    def why_not(self, history: ProjectHistory, entry: ScannedFile) -> str:
        """See `PastView`."""
        return why_not_at(history, entry, self._moment)


class InSnapshot:
    """
    What a snapshot names.

    Args:
        root: The root that the snapshot is in.
        name: Its name.
        owner: The name of the index, for the links of its files.
        reader: Threads that read it.
    """

    def __init__(self, root: bytes, name: str, owner: str, reader: IThreadRunner) -> None:
        self._root, self._name, self._owner, self._reader = root, name, owner, reader
        self._path = snapshot_path(root, name)
        self._stat: StatKey | None = None
        self._snapshot: IndexSnapshot | None = None
        self._list: ProjectList | None = None

    @property
    def key(self) -> Hashable:
        """See `PastView`: another file of the same name is another snapshot."""
        return self._path, self._stat, self._owner

    def is_ready(self) -> bool:
        """See `PastView`: one `stat`."""
        return self._snapshot is not None and stat_key_no_follow(self._path) == self._stat

    async def prepare(self) -> None:
        """See `PastView`."""
        if not self.is_ready():
            stat = stat_key_no_follow(self._path)
            self._snapshot = await self._reader.run(read_snapshot, self._root, self._name)
            self._stat = stat
            listed = (
                name
                for name, project in self._snapshot.projects.items()
                if project.status.status is not Status.QUARANTINED
            )
            self._list = ProjectList(names=tuple(sorted(listed)))

    def page_of(self, history: ProjectHistory) -> DatedPage:
        """See `PastView`."""
        assert self._snapshot is not None
        return page_of_snapshot(history, self._snapshot, self._owner)

    async def names(self, names: DatedNames) -> Snapshot[ProjectList]:
        """See `PastView`. It ends with the list of now, as an index may be frozen or not from then on."""
        pending = names.folder.project_list()
        now = pending if isinstance(pending, Snapshot) else await pending
        assert self._list is not None
        is_ready, is_current = self.is_ready, now.is_current
        return Snapshot(value=self._list, is_current=lambda: is_ready() and is_current())

    def why_not(self, history: ProjectHistory, entry: ScannedFile) -> str:
        """See `PastView`."""
        return f"It is not in the snapshot {self._name}."


class FolderPast:
    """
    What the sources of all moments of a folder share, so that there may be any number of moments.

    Args:
        history: The histories of its projects.
    """

    def __init__(self, history: FolderHistory) -> None:
        self.history = history
        self.names = DatedNames(history)
        self.pages = LRU["tuple[Hashable, str]", "DatedPage"](_MAX_FILES, _weight)

    def remembered(self, view: PastView, history: ProjectHistory) -> DatedPage | None:
        """Return a page of just this history if it is remembered, or makes no work."""
        last = self.pages.get((view.key, history.project))
        if last is not None and last.history is history:
            return last
        few = history.files <= _FEW
        return self._remember(view, view.page_of(history)) if few else None

    async def page(self, view: PastView, history: ProjectHistory) -> DatedPage:
        """Return a page as it is remembered, or make it: the same object if it says the same."""
        known = self.remembered(view, history)
        if known is not None:
            return known
        # Anyone may ask for a million moments of the largest project, and others must not wait for that.
        return self._remember(view, await self.history.folder.reader.run(view.page_of, history))

    def _remember(self, view: PastView, made: DatedPage) -> DatedPage:
        key = view.key, made.history.project
        last = self.pages.get(key)
        if last is not None and last.page == made.page:
            made = made.with_page(last.page)
        self.pages.put(key, made)
        return made


@implementer(ISource, IExplains, IProblemSource)
class DatedFolder:
    """
    The folders as a view of the past shows them.

    Args:
        past: Shared by all views.
        view: Which one.
        origin: What has to be there while this is, such as what keeps the folders open.
    """

    def __init__(self, past: FolderPast, view: PastView, origin: object = None) -> None:
        self._past = past
        self._view = view
        self._origin = origin

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """See `ISource`."""
        if self._view.is_ready():
            return self._view.names(self._past.names)
        return Deferred.fromCoroutine(self._load_list())

    def problems(self) -> MaybeAwaitable[ProblemReport]:
        """See `IProblemSource`: those of now, as who looks after a frozen index has to know them."""
        return self._past.history.folder.problems()

    def known_problems(self) -> int:
        """See `IProblemSource`."""
        return self._past.history.folder.known_problems()

    async def _load_list(self) -> Snapshot[ProjectList]:
        await self._view.prepare()
        pending = self._view.names(self._past.names)
        return pending if isinstance(pending, Snapshot) else await pending

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """See `ISource`. Returns without a Deferred if nothing has to be read."""
        history = self._past.history.recent(project)
        if history is not None and self._view.is_ready():
            dated = self._past.remembered(self._view, history)
            if dated is not None:
                return self._snapshot(dated)
        return Deferred.fromCoroutine(self._load(project))

    async def explain(self, project: str) -> Explanation:
        """See `IExplains`."""
        histories, roots = self._past.history, self._roots()
        reader = histories.folder.reader
        try:
            await self._view.prepare()
            history = histories.recent(project) or await histories.read(project)
            dated = await self._past.page(self._view, history)
            snapshot = self._snapshot(dated)
        except SimpleIndexError as error:
            return await reader.run(explain_folders(project, roots, None).read, None, error)
        look = Look(dated.scan, history.known_files, dated.listed_files, history.live)
        others = [(entry, self._view.why_not(history, entry)) for entry in not_in(dated)]
        return await reader.run(explain_folders(project, roots, look, others).read, snapshot, None)

    def unasked(self, why: str) -> tuple[SourceAnswer, ...]:
        """See `IExplains`."""
        return unasked_roots(self._roots(), why)

    def _roots(self) -> tuple[RootName, ...]:
        folder = self._past.history.folder
        return folder_names(folder.paths, folder.owners)

    async def _load(self, project: str) -> Snapshot[ProjectPage | None]:
        await self._view.prepare()
        histories = self._past.history
        history = histories.recent(project) or await histories.read(project)
        return self._snapshot(await self._past.page(self._view, history))

    def _snapshot(self, dated: DatedPage) -> Snapshot[ProjectPage | None]:
        is_ready, is_current = self._view.is_ready, dated.history.is_current
        return Snapshot(value=dated.page, is_current=lambda: is_ready() and is_current())

    async def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """See `ISource`."""
        histories = self._past.history
        for _attempt in range(_ATTEMPTS):
            await self._view.prepare()
            history = histories.recent(project) or await histories.read(project)
            dated = await self._past.page(self._view, history)
            listed = dated.listed_files.get(filename)
            if listed is None or sidecar not in (None, *sidecars_of(dated.scan, listed)):
                return None
            body = await open_listed(
                dated.scan, listed, sidecar, histories.folder.reader, history.is_current_for_files
            )
            if body is not None:
                dated.check_document(filename, sidecar, body)
                copied = is_copy(listed.entry, history.live, history.known_files)
                return replace(body, is_copy=True) if copied else body
            # The file has changed since, so the history is outdated.
            histories.forget(project)
        raise Unavailable("This file is being changed. Retry in a moment.", retry_after=2)


def _weight(dated: DatedPage) -> int:
    return len(dated.listed_files) + 1
