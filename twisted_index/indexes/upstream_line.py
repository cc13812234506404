"""
The upstreams of a line of indexes, in its order, each of which says whose it is.

A name belongs to the first that has it: an error of one is never a reason to request the next.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from zope.interface import implementer

from twisted_index.concurrency.identity_memo import IdentityMemo
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import Unavailable
from twisted_index.indexes.composite import CompositeSource, explain, snapshot_of, unasked
from twisted_index.interfaces import Explanation, IExplains, ISource, Snapshot
from twisted_index.simple.explanation import HiddenFile, SourceAnswer, SourceKind
from twisted_index.simple.model import ProjectList
from twisted_index.simple.name_patterns import name_matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twisted_index.interfaces import FileBody, MaybeAwaitable
    from twisted_index.simple.model import ProjectPage, Sidecar

L = TypeVar("L", HiddenFile, SourceAnswer)


class LineUpstream:
    """
    An upstream of an index in a line.

    Args:
        source: The upstream, with the policy for it.
        owner: The name of the index; None if its own pages are served.
        merged: Patterns of names that folders and this upstream both may have.
    """

    def __init__(self, source: ISource, owner: str | None = None, merged: Iterable[str] = ()) -> None:
        self.source = source
        self.is_merged = name_matcher(merged)
        self._owner = owner
        self._pages: IdentityMemo[ProjectPage] = IdentityMemo()

    def explained(self, found: Explanation) -> Explanation:
        """Say in an explanation which index its upstream and its files are of."""
        return replace(
            found,
            snapshot=None if found.snapshot is None else self.owned(found.snapshot),
            sources=self._of_index(found.sources),
            hidden=self._of_index(found.hidden),
        )

    def unasked(self, why: str) -> tuple[SourceAnswer, ...]:
        """See `IExplains.unasked`."""
        return self._of_index(unasked(self.source, why))

    def _of_index(self, lines: Iterable[L]) -> tuple[L, ...]:
        return tuple(replace(line, index=self._owner) for line in lines)

    def owned(self, snapshot: Snapshot[ProjectPage | None]) -> Snapshot[ProjectPage | None]:
        """Say on a page which index its files are of."""
        owner, page = self._owner, snapshot.value
        if owner is None or page is None:
            return snapshot
        return replace(snapshot, value=self._pages.get(page.name, (page,), lambda: _owned_page(page, owner)))


@implementer(ISource, IExplains)
class UpstreamLine(CompositeSource):
    """
    Several upstreams: the first that has a project answers for it.

    A name that `merge-upstream` of one of them matches is requested from such ones only: no other may add to
    what a folder has.

    Args:
        upstreams: In order, at least one.
    """

    def __init__(self, upstreams: Sequence[LineUpstream]) -> None:
        super().__init__(*(upstream.source for upstream in upstreams))
        self._upstreams = tuple(upstreams)
        self._list = Snapshot(value=ProjectList(), is_current=_always)

    def project_list(self) -> Snapshot[ProjectList]:
        """Return an empty list: an upstream has too many projects to list."""
        return self._list

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """Return the page of the first upstream that has one; its files say which index they are of."""
        first, *others = self._candidates(project)
        request = first.source.project_page(project)
        if isinstance(request, Snapshot) and (request.value is not None or not others):
            return first.owned(request)
        return self._page(project, first, request, others)

    async def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """Open a file of the first upstream that has the project."""
        *earlier, last = self._candidates(project)
        for upstream in earlier:
            if (await result_of(upstream.source.project_page, project)).value is not None:
                return await result_of(upstream.source.open_file, project, filename, sidecar)
        return await result_of(last.source.open_file, project, filename, sidecar)

    async def explain(self, project: str) -> Explanation:
        """See `IExplains`."""
        candidates, why = self._candidates(project), ""
        sources: list[SourceAnswer] = []
        hidden: list[HiddenFile] = []
        asked: list[Snapshot[ProjectPage | None]] = []
        error = None
        for upstream in self._upstreams:
            if upstream not in candidates:
                sources += upstream.unasked(
                    "was not asked, as merge-upstream has the name for another one only"
                )
                continue
            if why:
                sources += upstream.unasked(why)
                continue
            found = upstream.explained(await explain(upstream.source, project))
            sources += found.sources
            hidden += found.hidden
            if found.snapshot is None:
                error, why = found.error, "was not asked, as an earlier upstream may have it"
                continue
            asked.append(found.snapshot)
            if found.page is not None:
                why = "was not asked, as an earlier upstream has it"
        snapshot = None if error is not None else _last_of(asked)
        return Explanation(snapshot=snapshot, error=error, sources=tuple(sources), hidden=tuple(hidden))

    def unasked(self, why: str) -> tuple[SourceAnswer, ...]:
        """See `IExplains`."""
        return tuple(answer for upstream in self._upstreams for answer in upstream.unasked(why))

    def _candidates(self, project: str) -> Sequence[LineUpstream]:
        """Return the upstreams that may have a name."""
        return [one for one in self._upstreams if one.is_merged(project)] or self._upstreams

    async def _page(
        self,
        project: str,
        upstream: LineUpstream,
        request: MaybeAwaitable[Snapshot[ProjectPage | None]],
        others: Sequence[LineUpstream],
    ) -> Snapshot[ProjectPage | None]:
        snapshot = upstream.owned(await snapshot_of(request))
        asked = [snapshot]
        for other in others:
            if snapshot.value is not None:
                break
            snapshot = other.owned(await result_of(other.source.project_page, project))
            asked.append(snapshot)
        return _last_of(asked)


@implementer(ISource, IExplains)
class UnknownUpstream:
    """
    Takes the place of an upstream that an index names and the server does not define.

    Which names it has is unknown, and a 404 would send clients to another index.

    Args:
        sentence: Says which upstream of which index.
    """

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def project_list(self) -> Snapshot[ProjectList]:
        """See `ISource`."""
        return Snapshot(value=ProjectList(), is_current=_always)

    def project_page(self, project: str) -> Snapshot[ProjectPage | None]:
        """See `ISource`."""
        raise Unavailable(self._sentence)

    def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """See `ISource`."""
        raise Unavailable(self._sentence)

    def explain(self, project: str) -> Explanation:
        """See `IExplains`."""
        return Explanation(error=Unavailable(self._sentence), sources=self.unasked(self._sentence))

    def unasked(self, why: str) -> tuple[SourceAnswer, ...]:
        """See `IExplains`."""
        return (SourceAnswer(kind=SourceKind.UPSTREAM, name="an unknown upstream", says=why, asked=False),)


def _last_of(asked: Sequence[Snapshot[ProjectPage | None]]) -> Snapshot[ProjectPage | None]:
    """Return the last of the pages that were requested, which holds while all do."""
    reasons = (one.absence for one in asked if one.absence)
    return replace(asked[-1], is_current=_all_current(asked), absence=next(reasons, ""))


def _owned_page(page: ProjectPage, owner: str) -> ProjectPage:
    return replace(page, files=tuple(replace(file, owner=owner) for file in page.files))


def _all_current(snapshots: Iterable[Snapshot[ProjectPage | None]]) -> Callable[[], bool]:
    checks = [snapshot.is_current for snapshot in snapshots]
    return lambda: all(is_current() for is_current in checks)


def _always() -> bool:
    return True
