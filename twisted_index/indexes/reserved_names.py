"""
Names that indexes reserve: claimed by an index with `reserve-names`, they are no index's upstream names.

Every request to an upstream passes here. A client that uses the wrong index, or one without a folder of its
own, then gets 404 for a private name, and never what a stranger has published under it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from zope.interface import implementer

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import NotFound, SimpleIndexError, Unavailable
from twisted_index.indexes.composite import CompositeSource, close_body, explain, only_while
from twisted_index.interfaces import Explanation, IExplains, ISource, Snapshot
from twisted_index.simple.explanation import SourceAnswer, SourceKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.indexes.index_line import IndexLines
    from twisted_index.interfaces import FileBody, MaybeAwaitable
    from twisted_index.simple.model import ProjectList, ProjectPage, Sidecar

#: That some index reserves the name is for those who may read it there: the line before says so.
_RESERVED = "was not asked"
_UNKNOWN = "was not asked, as it is not known whether an index reserves the name"
#: Surveys for one request, while indexes are removed.
_ATTEMPTS = 3


class ReservedClaims(NamedTuple):
    """
    What the reserving indexes say of a name.

    Attributes:
        owner: The name of the first that has it; None if none has.
        is_current: Whether that still holds.
    """

    owner: str | None
    is_current: Callable[[], bool]


class ReservedNames:
    """
    The indexes that reserve their names, and what they claim.

    Args:
        lines: All indexes.
        folder_of: Returns the folders of an index, by its name, as one source.
        worker: Looks at the files of all indexes.
        clock: The reactor.
        rescan: Seconds for which such a look holds, unless it takes more than half of that.
    """

    def __init__(
        self,
        lines: IndexLines,
        folder_of: Callable[[str], ISource],
        worker: IThreadRunner,
        clock: IReactorTime,
        rescan: float,
    ) -> None:
        self._lines = lines
        self._folder_of = folder_of
        self._worker = worker
        self._clock = clock
        self._rescan = rescan
        self._looked_at = -math.inf
        self._holds_for = rescan
        self._names: tuple[str, ...] | None = None
        self._reserving: tuple[str, ...] = ()
        self._surveys: FreshSingleFlight[None, None] = FreshSingleFlight(self._survey)

    async def claims(self, project: str) -> ReservedClaims:
        """
        Look whether a reserving index claims a name.

        Raises:
            Unavailable: That is unknown.
        """
        for _attempt in range(_ATTEMPTS):
            # A request to the index without a name looks at no other, so that this has to.
            listed = await self._lines.listed()
            if not self._is_recent():
                await self._surveys.run(None)
            try:
                return await self._claims(project, listed)
            except NotFound:
                # Removed since they were looked at; but that it reserves nothing any more is not guessed.
                self._looked_at = -math.inf
        raise Unavailable("The indexes that reserve names are being changed.", retry_after=1)

    async def _claims(self, project: str, listed: Callable[[], bool]) -> ReservedClaims:
        reserving = self._reserving
        pages = []
        for name in reserving:
            # Its bases may have changed, and perhaps no request has come to it since.
            await result_of(self._lines.look, name)
            folder = self._folder_of(name)
            page = await result_of(folder.project_page, project)
            if page.value is not None and page.value.claims:
                return ReservedClaims(name, page.is_current)
            pages.append(page)

        def is_current() -> bool:
            return (
                listed()
                and self._is_recent()
                and self._reserving is reserving
                and all(page.is_current() for page in pages)
            )

        return ReservedClaims(None, is_current)

    def _is_recent(self) -> bool:
        if self._clock.seconds() - self._looked_at >= self._holds_for:
            return False
        try:
            # An index that came just now may reserve its names from the next request on.
            return self._lines.catalog.names() is self._names
        except Unavailable:
            return False

    async def _survey(self, _key: None) -> None:
        began = self._clock.seconds()
        names = self._lines.catalog.names()
        found = await self._lines.survey(self._worker)
        # What is unknown counts: its folder may hold names that it reserves.
        reserving = tuple(
            sorted(name for name, member in found if member is None or member.settings.reserve_names)
        )
        if reserving != self._reserving:
            self._reserving = reserving
        # Not before: who asks meanwhile would take what was found before for what these indexes reserve.
        self._names, self._looked_at = names, began
        # One that was old as soon as it ended would let each request wait for the next.
        self._holds_for = max(self._rescan, 2 * (self._clock.seconds() - began))


@implementer(ISource, IExplains)
class UnreservedSource(CompositeSource):
    """
    An upstream without the names that indexes reserve.

    Args:
        upstream: The upstream.
        reserved: The indexes that reserve their names.
    """

    def __init__(self, upstream: ISource, reserved: ReservedNames) -> None:
        super().__init__(upstream)
        self._upstream = upstream
        self._reserved = reserved

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """Return the upstream's list, which is empty."""
        return self._upstream.project_list()

    async def project_page(self, project: str) -> Snapshot[ProjectPage | None]:
        """Return the upstream's page; none for a reserved name."""
        claims = await self._reserved.claims(project)
        if claims.owner is not None:
            return _absence(claims)
        page = await result_of(self._upstream.project_page, project)
        if not claims.is_current():
            # The request may have taken its time.
            claims = await self._reserved.claims(project)
            if claims.owner is not None:
                return _absence(claims)
        return replace(page, is_current=lambda: claims.is_current() and page.is_current())

    async def explain(self, project: str) -> Explanation:
        """See `IExplains`."""
        try:
            claims = await self._reserved.claims(project)
        except SimpleIndexError as error:
            return Explanation(error=error, sources=self.unasked(_UNKNOWN))
        if claims.owner is None:
            return await explain(self._upstream, project)
        return Explanation(
            snapshot=_absence(claims), sources=(_reservation(claims.owner), *self.unasked(_RESERVED))
        )

    async def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """Open the upstream's file; none of a reserved name."""
        if (await self._reserved.claims(project)).owner is not None:
            return None
        body = await result_of(self._upstream.open_file, project, filename, sidecar)
        if body is None:
            return None
        claims = await self._reserved.claims(project)
        if claims.owner is not None:
            close_body(body)
            return None
        return only_while(body, claims.is_current)


def _reservation(index: str) -> SourceAnswer:
    return SourceAnswer(
        kind=SourceKind.RESERVATION,
        name=f"index {index}",
        says="reserves the name",
        claims=True,
        index=index,
    )


def _absence(claims: ReservedClaims) -> Snapshot[ProjectPage | None]:
    """Return the absence of a reserved name, without a reason: that it is in an index is not for everyone."""
    return Snapshot(value=None, is_current=claims.is_current)
