"""
The source of an index as it was at a moment: its folders and upstreams dated, under the rules of ownership.

A name that a folder claims now is asked of no upstream in the past either: a look back must not leak what has
become private since. Of an upstream only upload times are known: a file without one is not part of the past,
and yanks and statuses are those of now.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_index.backends.folder.source import FolderSource
from twisted_index.concurrency.identity_memo import IdentityMemo
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import Found, NotImplementedHere, SimpleIndexError
from twisted_index.indexes.composite import CompositeSource, explain, only_while, snapshot_of
from twisted_index.indexes.index_source import IndexSource
from twisted_index.indexes.joined_page import file_of
from twisted_index.indexes.name_ownership import NameOwnershipSource
from twisted_index.indexes.routing import RoutedSource
from twisted_index.interfaces import Explanation, IExplains, ISource, Snapshot
from twisted_index.simple.explanation import HiddenFile, Obstacle
from twisted_index.simple.model import ProjectPage
from twisted_index.simple.names import canonical_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from twisted_index.interfaces import FileBody, MaybeAwaitable
    from twisted_index.simple.explanation import SourceAnswer
    from twisted_index.simple.model import File, ProjectList, Sidecar


class Dating:
    """
    Dates the parts of a source.

    Args:
        moment: What of upstreams is there: aware.
        owner: The name of the index, at which files are linked.
        folder: Dates a source of folders.
        pages: Of upstreams, as they were; shared by all moments, so that their number is bounded.
    """

    def __init__(
        self,
        moment: datetime,
        owner: str,
        folder: Callable[[FolderSource], ISource],
        pages: IdentityMemo[ProjectPage | None],
    ) -> None:
        self._moment, self._owner = moment, owner
        self._folder = folder
        self._pages = pages

    def of(self, source: ISource) -> ISource:
        """Return a source as it was."""
        if isinstance(source, FolderSource):
            return self._folder(source)
        if isinstance(source, IndexSource):
            return self.of(source.members[0])
        if isinstance(source, RoutedSource):
            return source.over(self.of)
        if isinstance(source, NameOwnershipSource):
            folder, upstream = source.members
            # Its own rules decide what may be asked: by the claims of now.
            asked = source.over(ClaimsOfNow(folder), upstream)
            return source.over(self.of(folder), self._upstream(asked))
        return self._upstream(source)

    def _upstream(self, source: ISource) -> DatedUpstream:
        return DatedUpstream(source, self._moment, self._owner, self._pages)


@implementer(ISource, IExplains)
class ClaimsOfNow:
    """
    The claims of a folder without its files.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: ISource) -> None:
        self._folder = folder
        self._claims: IdentityMemo[ProjectPage] = IdentityMemo()

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """See `ISource`."""
        return self._folder.project_list()

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """Return an empty page for a name that is claimed."""
        pending = self._folder.project_page(project)
        return (
            self._claim(project, pending) if isinstance(pending, Snapshot) else self._load(project, pending)
        )

    async def _load(
        self, project: str, pending: MaybeAwaitable[Snapshot[ProjectPage | None]]
    ) -> Snapshot[ProjectPage | None]:
        return self._claim(project, await snapshot_of(pending))

    def _claim(self, project: str, snapshot: Snapshot[ProjectPage | None]) -> Snapshot[ProjectPage | None]:
        page = snapshot.value
        claim = None
        if page is not None and page.claims:
            claim = self._claims.get(project, (page,), lambda: ProjectPage(name=project))
        return replace(snapshot, value=claim)

    def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> None:
        """See `ISource`: there are no files."""

    async def explain(self, project: str) -> Explanation:
        """See `IExplains`. The folder says at its own place what it has."""
        try:
            return Explanation(snapshot=await result_of(self.project_page, project))
        except SimpleIndexError as error:
            return Explanation(error=error)

    def unasked(self, why: str) -> tuple[SourceAnswer, ...]:
        """See `IExplains`."""
        return ()


@implementer(ISource, IExplains)
class DatedUpstream(CompositeSource):
    """
    An upstream at a moment, by its upload times.

    Args:
        source: The upstream, or what asks it.
        moment: Aware.
        owner: The name of the index, at which files are linked.
        pages: See `Dating`.
    """

    def __init__(
        self, source: ISource, moment: datetime, owner: str, pages: IdentityMemo[ProjectPage | None]
    ) -> None:
        super().__init__(source)
        self._source = source
        self._moment, self._owner = moment, owner
        self._pages = pages

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """See `ISource`."""
        return self._source.project_list()

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """
        Return the page with the files of then.

        Raises:
            NotImplementedHere: The upstream is only redirected to.
        """
        try:
            pending = self._source.project_page(project)
        except Found:
            raise _no_past() from None
        return (
            self._dated(project, pending) if isinstance(pending, Snapshot) else self._load(project, pending)
        )

    async def _load(
        self, project: str, pending: MaybeAwaitable[Snapshot[ProjectPage | None]]
    ) -> Snapshot[ProjectPage | None]:
        try:
            return self._dated(project, await snapshot_of(pending))
        except Found:
            raise _no_past() from None

    async def explain(self, project: str) -> Explanation:
        """See `IExplains`."""
        found = await explain(self._source, project)
        if isinstance(found.error, Found):
            return replace(found, error=_no_past())
        if found.snapshot is None:
            return found
        return found.narrowed(self._dated(project, found.snapshot), self._not_then)

    def _not_then(self, file: File) -> HiddenFile:
        reason = "It has no upload time, so that it is no part of the past."
        if file.upload_time is not None:
            reason = f"It was published at {file.upload_time:%Y-%m-%d %H:%M:%S UTC}, after this moment."
        return HiddenFile(
            filename=file.filename,
            version=file.version,
            obstacle=Obstacle.MOMENT,
            reason=reason,
            index=file.owner,
        )

    def _dated(self, project: str, snapshot: Snapshot[ProjectPage | None]) -> Snapshot[ProjectPage | None]:
        page = snapshot.value
        if page is None:
            return snapshot
        key = (project, self._moment, self._owner)
        value = self._pages.get(key, (page,), lambda: _page_at(page, self._moment, self._owner))
        absence = snapshot.absence or ("" if value is not None else "There was no file of it at that time.")
        return replace(snapshot, value=value, absence=absence, serial=None)

    async def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """See `ISource`."""
        page = await result_of(self.project_page, project)
        if file_of(page.value, filename) is None:
            return None
        body = await result_of(self._source.open_file, project, filename, sidecar)
        return None if body is None else only_while(body, page.is_current)


def _page_at(page: ProjectPage, moment: datetime, owner: str) -> ProjectPage | None:
    """Return the page with the files that had been uploaded; None if there were none."""
    files = tuple(
        file if file.owner is not None else replace(file, owner=owner)
        for file in page.files
        if file.upload_time is not None and file.upload_time <= moment
    )
    if not files:
        return None
    there = {canonical_version(file.version) for file in files}
    versions = tuple(version for version in page.versions if canonical_version(version) in there)
    return replace(page, files=files, versions=versions)


def _no_past() -> NotImplementedHere:
    return NotImplementedHere(
        "This server redirects to its upstream (upstream-mode = redirect), so it has no past of it."
    )
