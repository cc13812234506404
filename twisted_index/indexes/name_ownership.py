"""
Name ownership: a name belongs to the folder or to the upstream, never to both.

The upstream gets no request for a name that the folder claims, and none before the folder has responded; an
error of the folder is an error, never a reason to request the upstream. Copies of an upstream's files do not
claim: they are joined with what the upstream has (see `joined_page`), and are there alone while it is away.
Out of scope: what an upstream may be asked for otherwise (see `upstream_policy`).
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from zope.interface import implementer

from twisted_index.concurrency.identity_memo import IdentityMemo
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import (
    Found,
    LoopDetected,
    OutOfResources,
    SimpleIndexError,
    Unavailable,
    UnreadableFolder,
)
from twisted_index.indexes.composite import (
    CompositeSource,
    LocalPart,
    close_body,
    explain,
    local_parts,
    only_while,
    snapshot_of,
    unasked,
)
from twisted_index.indexes.joined_page import (
    JoinedPage,
    add_copies,
    file_of,
    merge_pages,
    offers,
    shadowed,
)
from twisted_index.interfaces import Explanation, FileBody, IExplains, ISource, Snapshot
from twisted_index.simple.name_patterns import name_matcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from twisted_index.interfaces import MaybeAwaitable
    from twisted_index.simple.explanation import HiddenFile
    from twisted_index.simple.model import File, ProjectList, ProjectPage, Sidecar

#: Attempts while the folder changes during the upstream request, before the client gets 503.
_ATTEMPTS = 3

#: Number of names to remember that the folder does not have; each is revalidated when used.
_MAX_ABSENT = 4096
#: Of each kind, to remember where there may be many such sources.
_MAX_FEW = 16

#: Of the upstream's part of a page, while the copies are there alone (RFC 9211 section 2.8).
_ALONE = "fwd=miss; detail=copies-alone"


class _Answer(NamedTuple):
    """
    A page, and where its files are.

    Attributes:
        snapshot: The page.
        folder: The folder's own page, that it was made of.
        joined: The page with its folder's files; None if all files are the folder's.
        away: Why the upstream has no part in it; None if it has answered.
    """

    snapshot: Snapshot[ProjectPage | None]
    folder: Snapshot[ProjectPage | None]
    joined: JoinedPage | None = None
    away: SimpleIndexError | None = None


@implementer(ISource, IExplains)
class NameOwnershipSource(CompositeSource):
    """
    A folder, and an upstream for the names that the folder does not claim.

    Args:
        folder: Claims a name if it has a page for it, even one without files, unless the page says that it
            does not.
        upstream: Used for unclaimed names only. May be another NameOwnershipSource.
        local_only: Patterns of names that are never requested from the upstream.
        merge_upstream: Patterns of names that both may have: their files are merged, and of files that
            installers treat as equal the folder's is listed. The one exception to name ownership;
            local_only takes precedence.
        visible_copies: Takes a page that does not claim; returns what the policy for the upstream lets be
            seen of it.
        hidden_copy: Takes a project and a file that is not seen of it; returns what hides it.
    """

    def __init__(
        self,
        folder: ISource,
        upstream: ISource,
        *,
        local_only: Collection[str] = (),
        merge_upstream: Iterable[str] = (),
        visible_copies: Callable[
            [Snapshot[ProjectPage | None]], Snapshot[ProjectPage | None]
        ] = lambda copies: copies,
        hidden_copy: Callable[[str, File], HiddenFile] = lambda _project, file: shadowed(
            file, "It is denied."
        ),
    ) -> None:
        super().__init__(folder, upstream)
        self._folder = folder
        self._upstream = upstream
        self._is_local = name_matcher(local_only)
        self._is_merged = name_matcher(merge_upstream)
        self._visible_copies = visible_copies
        self._hidden_copy = hidden_copy
        self._local_patterns = tuple((pattern, name_matcher([pattern])) for pattern in local_only)
        self._joined: IdentityMemo[JoinedPage] = IdentityMemo()
        self._absent = LRU[str, "Snapshot[ProjectPage | None]"](_MAX_ABSENT)

    def over(self, folder: ISource, upstream: ISource) -> NameOwnershipSource:
        """Return the same rules over other sources, of which there may be many: it remembers little."""
        other = copy.copy(self)
        other.members = (folder, upstream)
        other._folder, other._upstream = folder, upstream
        other._joined, other._absent = IdentityMemo(_MAX_FEW), LRU(_MAX_FEW)
        return other

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """Return the folder's project list."""
        return self._folder.project_list()

    def local_parts(self) -> list[LocalPart]:
        """Return those of the folder: what an upstream answers lies elsewhere."""
        return local_parts(self._folder)

    # -- Pages

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """Return the folder's page, the upstream's if the folder does not claim the name, or both joined."""
        response = self._folder.project_page(project)
        if self._is_local(project):
            return response
        if not isinstance(response, Snapshot):
            return self._page(project, response)
        if self._owns(project, response.value):
            return response
        if response.value is not None and not response.value.claims:
            return self._page(project, response)
        self._note_absence(project, response)
        upstream_snapshot = self._upstream.project_page(project)
        if isinstance(upstream_snapshot, Snapshot):
            return self._combine(project, response, upstream_snapshot).snapshot
        return self._page(project, response, upstream_snapshot)

    def _owns(self, project: str, page: ProjectPage | None) -> bool:
        """Return whether the name is the folder's alone."""
        return page is not None and page.claims and not self._is_merged(project)

    async def _page(
        self,
        project: str,
        response: MaybeAwaitable[Snapshot[ProjectPage | None]],
        request: MaybeAwaitable[Snapshot[ProjectPage | None]] | None = None,
    ) -> Snapshot[ProjectPage | None]:
        return (await self._answer(project, response, request)).snapshot

    async def _answer(
        self,
        project: str,
        response: MaybeAwaitable[Snapshot[ProjectPage | None]],
        request: MaybeAwaitable[Snapshot[ProjectPage | None]] | None = None,
    ) -> _Answer:
        folder_snapshot = await snapshot_of(response)
        for _attempt in range(_ATTEMPTS):
            if self._owns(project, folder_snapshot.value):
                return _Answer(folder_snapshot, folder_snapshot)
            if request is None:
                request = result_of(self._upstream.project_page, project)
            away = None
            try:
                upstream_snapshot = await snapshot_of(request)
            except SimpleIndexError as error:
                if not _is_away(error) or not self._has_copies(folder_snapshot):
                    raise
                away = error
                upstream_snapshot = Snapshot(value=None, is_current=_never, cache_status=_ALONE)
            current = await self._refresh(project, folder_snapshot)
            if current.value is folder_snapshot.value:
                self._note_absence(project, current)
                return self._combine(project, current, upstream_snapshot)._replace(away=away)
            folder_snapshot, request = current, None
        raise _changing_error()

    def _has_copies(self, folder_snapshot: Snapshot[ProjectPage | None]) -> bool:
        """Return whether there are copies that may be seen: then their page is better than an error."""
        page = folder_snapshot.value
        if page is None or page.claims:
            return False
        visible = self._visible_copies(folder_snapshot).value
        return visible is not None and bool(visible.files)

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
    ) -> _Answer:
        """Combine two snapshots into one that is current while both are."""
        page, upstream_page, own = folder_snapshot.value, upstream_snapshot.value, folder_snapshot
        copied = page is not None and not page.claims
        if copied:
            own = self._visible_copies(folder_snapshot)
            page = own.value
        joined = None
        if page is None:
            value, joined = upstream_page, JoinedPage(upstream_page)
        elif upstream_page is None:
            value = page
        else:
            join = add_copies if copied else merge_pages
            joined = self._joined.get(project, (page, upstream_page), lambda: join(page, upstream_page))
            value = joined.page
        snapshot = Snapshot(
            value=value,
            is_current=_all_current(own.is_current, upstream_snapshot.is_current),
            cache_status=upstream_snapshot.cache_status,
            absence=upstream_snapshot.absence,
            serial=folder_snapshot.serial,
        )
        return _Answer(snapshot, folder_snapshot, joined)

    # -- Why

    async def explain(self, project: str) -> Explanation:
        """See `IExplains`."""
        for _attempt in range(_ATTEMPTS):
            own = await explain(self._folder, project)
            why = self._why_not_asked(project, own)
            if own.snapshot is None or why:
                return replace(own, sources=(*own.sources, *unasked(self._upstream, why)))
            theirs = await explain(self._upstream, project)
            current = await self._refresh(project, own.snapshot)
            if current.value is own.snapshot.value:
                return self._explain_both(project, own, own.snapshot, theirs)
        raise _changing_error()

    def _why_not_asked(self, project: str, own: Explanation) -> str:
        """Return why the upstream gets no request, as a clause; empty if it gets one."""
        pattern = next((pattern for pattern, matches in self._local_patterns if matches(project)), None)
        if pattern is not None:
            return f"was not asked, as local-only has the name by {pattern!r}"
        if own.snapshot is None:
            return "was not asked, as a folder may own the name"
        if not self._owns(project, own.page):
            return ""
        owner = next((answer.name for answer in own.sources if answer.claims), "a folder")
        return f"was not asked, as the name is taken by {owner}"

    def _explain_both(
        self,
        project: str,
        own: Explanation,
        folder_snapshot: Snapshot[ProjectPage | None],
        theirs: Explanation,
    ) -> Explanation:
        """Explain the page that `_combine` makes of both."""
        sources = (*own.sources, *theirs.sources)
        answered = theirs.snapshot
        if answered is None:
            assert theirs.error is not None
            if not (_is_away(theirs.error) and self._has_copies(folder_snapshot)):
                return Explanation(error=theirs.error, sources=sources, hidden=(*own.hidden, *theirs.hidden))
            answered = Snapshot(value=None, is_current=_never, cache_status=_ALONE)
        answer = self._combine(project, folder_snapshot, answered)
        joined = answer.joined or JoinedPage(answer.snapshot.value)
        copied = own.page is not None and not own.page.claims
        if copied:
            own = own.narrowed(
                self._visible_copies(folder_snapshot),
                lambda file: replace(self._hidden_copy(project, file), path=own.paths.get(file.filename, "")),
            )
        opened = joined.in_folder if answer.joined else {file.filename for file in own.files}
        return Explanation(
            snapshot=answer.snapshot,
            sources=sources,
            hidden=(*own.hidden, *theirs.hidden, *joined.left_out(own.files, theirs.files, own.paths)),
            paths={name: path for name, path in own.paths.items() if name in opened},
            copies=frozenset(opened) if copied else frozenset(),
        )

    # -- Files

    def open_file(
        self, project: str, filename: str, sidecar: Sidecar | None = None
    ) -> MaybeAwaitable[FileBody | None]:
        """Open a file of the page, where the page has it from."""
        if self._is_local(project):
            return self._folder.open_file(project, filename, sidecar)
        if self._is_merged(project):
            return self._open_joined(project, filename, sidecar)
        absent = self._absent.get(project)
        if absent is None or not absent.is_current():
            return self._open_owned(project, filename, sidecar)
        body = self._upstream.open_file(project, filename, sidecar)
        if body is None or isinstance(body, FileBody):
            return None if body is None else only_while(body, absent.is_current)
        return self._open_upstream(project, filename, sidecar, absent, body)

    async def _open_owned(self, project: str, filename: str, sidecar: Sidecar | None) -> FileBody | None:
        """Find out who owns the name, and open the owner's file."""
        body = await self._open(self._folder, project, filename, sidecar)
        if body is not None:
            if not body.is_copy:
                return body
            close_body(body)
        folder_snapshot = await result_of(self._folder.project_page, project)
        page = folder_snapshot.value
        if page is not None:
            if not page.claims:
                return await self._open_joined(project, filename, sidecar)
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
        if not self._owns(project, current.value):
            return None if body is None else only_while(body, current.is_current)
        if body is not None:
            close_body(body)
        return await self._open(self._folder, project, filename, sidecar)

    async def _open_joined(self, project: str, filename: str, sidecar: Sidecar | None) -> FileBody | None:
        """Open a file of a joined page, in the folder or upstream as the page has decided."""
        try:
            answer = await self._answer(project, self._folder.project_page(project))
        except Found:
            # The page is elsewhere, and lists no file of this server.
            return None
        if file_of(answer.snapshot.value, filename) is None:
            if answer.away is not None:
                raise answer.away
            return None
        if self._is_in_folder(answer, filename, sidecar):
            body = await self._open(self._folder, project, filename, sidecar)
        else:
            request = result_of(self._upstream.open_file, project, filename, sidecar)
            body = await self._open_upstream(project, filename, sidecar, answer.folder, request)
        return None if body is None else only_while(body, answer.snapshot.is_current)

    def _is_in_folder(self, answer: _Answer, filename: str, sidecar: Sidecar | None) -> bool:
        joined = answer.joined
        if joined is None or filename not in joined.in_folder:
            return joined is None
        listed, own = file_of(joined.page, filename), file_of(answer.folder.value, filename)
        return listed is None or own is None or listed is own or offers(own, sidecar, listed)

    async def _open(
        self, source: ISource, project: str, filename: str, sidecar: Sidecar | None
    ) -> FileBody | None:
        return await result_of(source.open_file, project, filename, sidecar)


def _changing_error() -> Unavailable:
    return Unavailable("The folder of this project is being changed. Retry in a moment.", retry_after=2)


def _is_away(error: SimpleIndexError) -> bool:
    """Return whether an upstream cannot answer now, for no fault of this server or of a folder."""
    return isinstance(error, (Unavailable, LoopDetected)) and not isinstance(
        error, (UnreadableFolder, OutOfResources)
    )


def _never() -> bool:
    """Return False: the upstream may be back at any time."""
    return False


def _all_current(first: Callable[[], bool], second: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: first() and second()
