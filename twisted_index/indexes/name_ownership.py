"""
Name ownership: a name belongs to the folder or to the upstream, never to both.

The upstream gets no request for a name that the folder claims, and none before the folder has responded; an
error of the folder is an error, never a reason to request the upstream. Out of scope: what an upstream may
be asked for otherwise (see `upstream_policy`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_index.concurrency.identity_memo import IdentityMemo
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import Unavailable
from twisted_index.indexes.composite import CompositeSource, close_body, only_while, snapshot_of
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

#: Number of names to remember that the folder does not have; each is revalidated when used.
_MAX_ABSENT = 4096

#: The strictest first, as in a folder.
_STRICTNESS = (Status.QUARANTINED, Status.ARCHIVED, Status.DEPRECATED, Status.ACTIVE)


@implementer(ISource)
class NameOwnershipSource(CompositeSource):
    """
    A folder, and an upstream for the names that the folder does not claim.

    Args:
        folder: Claims a name if it has a page for it, even one without files.
        upstream: Used for unclaimed names only. May be another NameOwnershipSource.
        local_only: Patterns of names that are never requested from the upstream.
        merge_upstream: Patterns of names that both may have: their files are merged, and of files that
            installers treat as equal the folder's is listed. The one exception to name ownership;
            local_only takes precedence.
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
        self._is_merged = name_matcher(merge_upstream)
        self._merged: IdentityMemo[ProjectPage] = IdentityMemo()
        self._absent = LRU[str, "Snapshot[ProjectPage | None]"](_MAX_ABSENT)

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """Return the folder's project list."""
        return self._folder.project_list()

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """Return the folder's page, or the upstream's if the folder does not claim the name."""
        response = self._folder.project_page(project)
        if self._is_local(project):
            return response
        if not isinstance(response, Snapshot):
            return self._page(project, response)
        if response.value is not None and not self._is_merged(project):
            return response
        self._note_absence(project, response)
        upstream_snapshot = self._upstream.project_page(project)
        if isinstance(upstream_snapshot, Snapshot):
            return self._combine(project, response, upstream_snapshot)
        return self._page(project, response, upstream_snapshot)

    async def _page(
        self,
        project: str,
        response: MaybeAwaitable[Snapshot[ProjectPage | None]],
        request: MaybeAwaitable[Snapshot[ProjectPage | None]] | None = None,
    ) -> Snapshot[ProjectPage | None]:
        folder_snapshot = await snapshot_of(response)
        for _attempt in range(_ATTEMPTS):
            if folder_snapshot.value is not None and not self._is_merged(project):
                return folder_snapshot
            if request is None:
                request = result_of(self._upstream.project_page, project)
            upstream_snapshot = await snapshot_of(request)
            current = await self._refresh(project, folder_snapshot)
            if current.value is folder_snapshot.value:
                self._note_absence(project, current)
                return self._combine(project, current, upstream_snapshot)
            folder_snapshot, request = current, None
        raise _changing_error()

    def _note_absence(self, project: str, folder_snapshot: Snapshot[ProjectPage | None]) -> None:
        """Remember that the folder does not have a project: requests for its files come next."""
        if folder_snapshot.value is None:
            self._absent.put(project, folder_snapshot)

    async def _refresh(
        self, project: str, folder_snapshot: Snapshot[ProjectPage | None]
    ) -> Snapshot[ProjectPage | None]:
        """Get the folder's page again if it may have changed during the upstream request."""
        if folder_snapshot.is_current():
            return folder_snapshot
        return await result_of(self._folder.project_page, project)

    def _combine(
        self,
        project: str,
        folder_snapshot: Snapshot[ProjectPage | None],
        upstream_snapshot: Snapshot[ProjectPage | None],
    ) -> Snapshot[ProjectPage | None]:
        """Combine two snapshots into one that is current while both are."""
        page, upstream_page = folder_snapshot.value, upstream_snapshot.value
        if page is None:
            value = upstream_page
        elif upstream_page is None:
            value = page
        else:
            value = self._merged.get(project, (page, upstream_page), lambda: merge_pages(page, upstream_page))
        return Snapshot(
            value=value,
            is_current=_all_current(folder_snapshot.is_current, upstream_snapshot.is_current),
            cache_status=upstream_snapshot.cache_status,
            absence=upstream_snapshot.absence,
        )

    def open_file(
        self, project: str, filename: str, sidecar: Sidecar | None = None
    ) -> MaybeAwaitable[FileBody | None]:
        """Open the folder's file, or the upstream's if the folder does not claim the name."""
        if self._is_local(project):
            return self._folder.open_file(project, filename, sidecar)
        if self._is_merged(project):
            return self._open_merged(project, filename, sidecar)
        absent = self._absent.get(project)
        if absent is None or not absent.is_current():
            return self._open_owned(project, filename, sidecar)
        body = self._upstream.open_file(project, filename, sidecar)
        if body is None or isinstance(body, FileBody):
            return None if body is None else only_while(body, absent.is_current)
        return self._open_upstream(project, filename, sidecar, absent, body)

    async def _open_owned(self, project: str, filename: str, sidecar: Sidecar | None) -> FileBody | None:
        """Find out who owns the name, and open the owner's file."""
        body = await result_of(self._folder.open_file, project, filename, sidecar)
        if body is not None:
            return body
        folder_snapshot = await result_of(self._folder.project_page, project)
        if folder_snapshot.value is not None:
            # The project may have just been added, with the file.
            return await self._open(self._folder, project, filename, sidecar)
        self._note_absence(project, folder_snapshot)
        request = result_of(self._upstream.open_file, project, filename, sidecar)
        return await self._open_upstream(project, filename, sidecar, folder_snapshot, request)

    async def _open_upstream(
        self,
        project: str,
        filename: str,
        sidecar: Sidecar | None,
        folder_snapshot: Snapshot[ProjectPage | None],
        request: Awaitable[FileBody | None],
    ) -> FileBody | None:
        """Await the upstream's file, and return it unless the folder has claimed the name meanwhile."""
        body = await request
        try:
            current = await self._refresh(project, folder_snapshot)
        except BaseException:
            if body is not None:
                close_body(body)
            raise
        if current.value is None:
            return None if body is None else only_while(body, current.is_current)
        if body is not None:
            close_body(body)
        return await self._open(self._folder, project, filename, sidecar)

    async def _open_merged(self, project: str, filename: str, sidecar: Sidecar | None) -> FileBody | None:
        """Open a file of a merged page, from the folder if that has it."""
        page = await result_of(self.project_page, project)
        if page.value is None or all(file.filename != filename for file in page.value.files):
            return None
        folder_snapshot = await result_of(self._folder.project_page, project)
        in_folder = folder_snapshot.value is not None and any(
            file.filename == filename for file in folder_snapshot.value.files
        )
        body = await self._open(self._folder if in_folder else self._upstream, project, filename, sidecar)
        return None if body is None else only_while(body, page.is_current)

    async def _open(
        self, source: ISource, project: str, filename: str, sidecar: Sidecar | None
    ) -> FileBody | None:
        return await result_of(source.open_file, project, filename, sidecar)


def _changing_error() -> Unavailable:
    return Unavailable("The folder of this project is being changed. Retry in a moment.", retry_after=2)


def _all_current(first: Callable[[], bool], second: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: first() and second()


# -- Two pages of one project


def merge_pages(folder_page: ProjectPage, upstream_page: ProjectPage) -> ProjectPage:
    """Merge two pages; of files that installers treat as equal, take the first page's."""
    status = min(folder_page.status, upstream_page.status, key=_strictness)
    if status.status is Status.QUARANTINED:
        return ProjectPage(name=folder_page.name, status=status)
    folder_identities = {_identity(file, folder_page.name) for file in folder_page.files}
    upstream_files = [
        file for file in upstream_page.files if _identity(file, folder_page.name) not in folder_identities
    ]
    return ProjectPage(
        name=folder_page.name,
        files=sorted_files((*folder_page.files, *upstream_files)),
        versions=sorted_versions((*folder_page.versions, *upstream_page.versions)),
        status=status,
    )


def _strictness(status: ProjectStatus) -> int:
    return _STRICTNESS.index(status.status)


def _identity(file: File, project: str) -> Hashable:
    """Return the key by which installers treat files as equal; an invalid file name is its own key."""
    try:
        return parse_filename(file.filename, project).identity
    except InvalidFilename:
        return file.filename
