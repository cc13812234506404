"""
Priority: a name belongs to the folder or to the source after it, never to both.

The second source is not asked for a name that the folder claims, nor before the folder has answered; an
error of the folder is an error, never a reason to look elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_index.concurrency.identity_memo import IdentityMemo
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import Unavailable
from twisted_index.indexes.composite import CompositeSource, answer, close_body, only_while
from twisted_index.interfaces import FileBody, ISource, Snapshot
from twisted_index.simple.model import ProjectPage, Status
from twisted_index.simple.name_patterns import name_matcher
from twisted_index.simple.names import InvalidFilename, parse_filename, sorted_files, sorted_versions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable

    from twisted_index.interfaces import MaybeAwaitable
    from twisted_index.simple.model import File, ProjectList, ProjectStatus, Sidecar

#: Attempts while the folder changes during the upstream request, before the client gets 503.
_ATTEMPTS = 3

#: How many names are remembered that the folder does not have; each is checked when it is used.
_MOST_ABSENT = 4096

#: The strictest first, as in a folder.
_STRICTNESS = (Status.QUARANTINED, Status.ARCHIVED, Status.DEPRECATED, Status.ACTIVE)


@implementer(ISource)
class PrioritySource(CompositeSource):
    """
    A folder, and an upstream for the names that the folder does not claim.

    Args:
        folder: Claims a name by a page, be it without files.
        upstream: Asked for the others only. May be another source of this kind.
        local_only: Patterns of names that the upstream is never asked for.
        merge_upstream: Patterns of names that both may have: their files are put together, and where
            two are the same to an installer there is only the folder's. The one exception to all
            above, except local_only.
    """

    def __init__(
        self,
        folder: ISource,
        upstream: ISource,
        *,
        local_only: Iterable[str] = (),
        merge_upstream: Iterable[str] = (),
    ) -> None:
        super().__init__(folder, upstream)
        self._folder = folder
        self._upstream = upstream
        self._is_local = name_matcher(local_only)
        self._is_both = name_matcher(merge_upstream)
        self._merged: IdentityMemo[ProjectPage] = IdentityMemo()
        self._absent = LRU[str, "Snapshot[ProjectPage | None]"](_MOST_ABSENT)

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """Say which projects the folder has."""
        return self._folder.project_list()

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """Ask the folder, and the upstream if the name is not the folder's."""
        found = self._folder.project_page(project)
        if self._is_local(project):
            return found
        if not isinstance(found, Snapshot):
            return self._page(project, found)
        if found.value is not None and not self._is_both(project):
            return found
        self._note(project, found)
        theirs = self._upstream.project_page(project)
        if isinstance(theirs, Snapshot):
            return self._joined(project, found, theirs)
        return self._page(project, found, theirs)

    async def _page(
        self,
        project: str,
        found: MaybeAwaitable[Snapshot[ProjectPage | None]],
        asking: MaybeAwaitable[Snapshot[ProjectPage | None]] | None = None,
    ) -> Snapshot[ProjectPage | None]:
        ours = await answer(found)
        for _attempt in range(_ATTEMPTS):
            if ours.value is not None and not self._is_both(project):
                return ours
            if asking is None:
                asking = result_of(self._upstream.project_page, project)
            theirs = await answer(asking)
            again = await self._look_again(project, ours)
            if again.value is ours.value:
                self._note(project, again)
                return self._joined(project, again, theirs)
            ours, asking = again, None
        raise _changing()

    def _note(self, project: str, ours: Snapshot[ProjectPage | None]) -> None:
        """Remember that the folder does not have a project: who asks for a page asks for files next."""
        if ours.value is None:
            self._absent.put(project, ours)

    async def _look_again(
        self, project: str, ours: Snapshot[ProjectPage | None]
    ) -> Snapshot[ProjectPage | None]:
        """Ask the folder once more if it may have changed while the upstream was asked."""
        if ours.is_current():
            return ours
        return await result_of(self._folder.project_page, project)

    def _joined(
        self, project: str, ours: Snapshot[ProjectPage | None], theirs: Snapshot[ProjectPage | None]
    ) -> Snapshot[ProjectPage | None]:
        """Make one answer of both, which is true as long as both are."""
        page, other = ours.value, theirs.value
        if page is None:
            value = other
        elif other is None:
            value = page
        else:
            value = self._merged.get(project, (page, other), lambda: merge_pages(page, other))
        return Snapshot(
            value=value,
            is_current=_both(ours.is_current, theirs.is_current),
            cache_status=theirs.cache_status,
        )

    def open_file(
        self, project: str, filename: str, sidecar: Sidecar | None = None
    ) -> MaybeAwaitable[FileBody | None]:
        """Open the folder's file, or the upstream's if the name is not the folder's."""
        if self._is_local(project):
            return self._folder.open_file(project, filename, sidecar)
        if self._is_both(project):
            return self._open_of_both(project, filename, sidecar)
        absent = self._absent.get(project)
        if absent is None or not absent.is_current():
            return self._open_of_one(project, filename, sidecar)
        body = self._upstream.open_file(project, filename, sidecar)
        if body is None or isinstance(body, FileBody):
            return None if body is None else only_while(body, absent.is_current)
        return self._open_of_upstream(project, filename, sidecar, absent, body)

    async def _open_of_one(self, project: str, filename: str, sidecar: Sidecar | None) -> FileBody | None:
        """Open a file of whom the name belongs to, which is to be found out."""
        body = await result_of(self._folder.open_file, project, filename, sidecar)
        if body is not None:
            return body
        ours = await result_of(self._folder.project_page, project)
        if ours.value is not None:
            # It may have come just now, with the file.
            return await self._open(self._folder, project, filename, sidecar)
        self._note(project, ours)
        asking = result_of(self._upstream.open_file, project, filename, sidecar)
        return await self._open_of_upstream(project, filename, sidecar, ours, asking)

    async def _open_of_upstream(
        self,
        project: str,
        filename: str,
        sidecar: Sidecar | None,
        ours: Snapshot[ProjectPage | None],
        asking: Awaitable[FileBody | None],
    ) -> FileBody | None:
        """Wait for the upstream's file, and give it unless the folder has claimed the name meanwhile."""
        body = await asking
        try:
            again = await self._look_again(project, ours)
        except BaseException:
            if body is not None:
                close_body(body)
            raise
        if again.value is None:
            return None if body is None else only_while(body, again.is_current)
        if body is not None:
            close_body(body)
        return await self._open(self._folder, project, filename, sidecar)

    async def _open_of_both(self, project: str, filename: str, sidecar: Sidecar | None) -> FileBody | None:
        """Open a file, or its sidecar, where the page of both says that it is."""
        page = await result_of(self.project_page, project)
        if page.value is None or all(file.filename != filename for file in page.value.files):
            return None
        ours = await result_of(self._folder.project_page, project)
        own = ours.value is not None and any(file.filename == filename for file in ours.value.files)
        body = await self._open(self._folder if own else self._upstream, project, filename, sidecar)
        return None if body is None else only_while(body, page.is_current)

    async def _open(
        self, source: ISource, project: str, filename: str, sidecar: Sidecar | None
    ) -> FileBody | None:
        return await result_of(source.open_file, project, filename, sidecar)


def _changing() -> Unavailable:
    return Unavailable("The folder of this project is being changed. Ask again in a moment.", retry_after=2)


def _both(one: Callable[[], bool], other: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: one() and other()


# -- Two pages of one project


def merge_pages(ours: ProjectPage, theirs: ProjectPage) -> ProjectPage:
    """Put two pages together; of files that are the same to an installer, take the first page's."""
    status = min(ours.status, theirs.status, key=_strictness)
    if status.status is Status.QUARANTINED:
        return ProjectPage(name=ours.name, status=status)
    taken = {_identity(file, ours.name) for file in ours.files}
    others = [file for file in theirs.files if _identity(file, ours.name) not in taken]
    return ProjectPage(
        name=ours.name,
        files=sorted_files((*ours.files, *others)),
        versions=sorted_versions((*ours.versions, *theirs.versions)),
        status=status,
    )


def _strictness(status: ProjectStatus) -> int:
    return _STRICTNESS.index(status.status)


def _identity(file: File, project: str) -> Hashable:
    """Give what a file is to an installer; one whose name cannot be read is itself."""
    try:
        return parse_filename(file.filename, project).identity
    except InvalidFilename:
        return file.filename
