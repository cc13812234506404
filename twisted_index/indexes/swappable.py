"""A source that can be replaced while the server runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_index.indexes.composite import CompositeSource, only_while
from twisted_index.interfaces import FileBody, ISource, Snapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted_index.interfaces import MaybeAwaitable, T
    from twisted_index.simple.model import ProjectList, ProjectPage, Sidecar


@implementer(ISource)
class SwappableSource(CompositeSource):
    """
    Says what the source says that holds now; none of its answers is true any more when another does.

    Args:
        source: That one, at first.
        poll: Called before each question, and whenever an answer is to be true still; may call
            `replace`.
    """

    def __init__(self, source: ISource, poll: Callable[[], None]) -> None:
        super().__init__(source)
        self._source = source
        self._look = poll

    def replace(self, source: ISource) -> None:
        """Put another source in the place of the one so far; both are made of the same ones that run."""
        self._source = source
        self.members = (source,)

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """Ask the source that holds now."""
        source = self._now()
        return self._snapshot(source, source.project_list())

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """Ask the source that holds now."""
        source = self._now()
        return self._snapshot(source, source.project_page(project))

    def open_file(
        self, project: str, filename: str, sidecar: Sidecar | None = None
    ) -> MaybeAwaitable[FileBody | None]:
        """Open a file of the source that holds now."""
        source = self._now()
        found = source.open_file(project, filename, sidecar)
        if found is None or isinstance(found, FileBody):
            return self._body(source, found)
        return self._body_later(source, found)

    def _now(self) -> ISource:
        self._look()
        return self._source

    def _snapshot(self, source: ISource, found: MaybeAwaitable[Snapshot[T]]) -> MaybeAwaitable[Snapshot[T]]:
        if not isinstance(found, Snapshot):
            return self._snapshot_later(source, found)
        still_true = found.is_current
        return replace(found, is_current=lambda: self._now() is source and still_true())

    async def _snapshot_later(self, source: ISource, found: Awaitable[Snapshot[T]]) -> Snapshot[T]:
        snapshot = await found
        still_true = snapshot.is_current
        return replace(snapshot, is_current=lambda: self._now() is source and still_true())

    def _body(self, source: ISource, body: FileBody | None) -> FileBody | None:
        return None if body is None else only_while(body, lambda: self._now() is source)

    async def _body_later(self, source: ISource, found: Awaitable[FileBody | None]) -> FileBody | None:
        return self._body(source, await found)
