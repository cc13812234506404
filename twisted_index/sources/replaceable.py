"""A source in whose place another one may be put while the server runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from twisted_index.interfaces import FileBody, ISource, Snapshot
from twisted_index.sources.wrapping import Wrapping, only_while

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted_index.interfaces import Eventually, T
    from twisted_index.simple.model import Companion, ProjectList, ProjectPage


@implementer(ISource)
class ReplaceableSource(Wrapping):
    """
    Says what the source says that holds now; none of its answers is true any more when another does.

    Args:
        source: That one, at first.
        look: Called before each question, and whenever an answer is to be true still; may call
            `replace`.
    """

    def __init__(self, source: Any, look: Callable[[], None]) -> None:
        super().__init__(source)
        self._source = source
        self._look = look

    def replace(self, source: Any) -> None:
        """Put another source in the place of the one so far; both are made of the same ones that run."""
        self._source = source
        self.members = (source,)

    def project_list(self) -> Eventually[Snapshot[ProjectList]]:
        """Ask the source that holds now."""
        source = self._now()
        return self._snapshot(source, source.project_list())

    def project_page(self, project: str) -> Eventually[Snapshot[ProjectPage | None]]:
        """Ask the source that holds now."""
        source = self._now()
        return self._snapshot(source, source.project_page(project))

    def open_file(
        self, project: str, filename: str, companion: Companion | None = None
    ) -> Eventually[FileBody | None]:
        """Open a file of the source that holds now."""
        source = self._now()
        found = source.open_file(project, filename, companion)
        if found is None or isinstance(found, FileBody):
            return self._body(source, found)
        return self._body_later(source, found)

    def _now(self) -> Any:
        self._look()
        return self._source

    def _snapshot(self, source: Any, found: Eventually[Snapshot[T]]) -> Eventually[Snapshot[T]]:
        if not isinstance(found, Snapshot):
            return self._snapshot_later(source, found)
        still_true = found.still_true
        return replace(found, still_true=lambda: self._now() is source and still_true())

    async def _snapshot_later(self, source: Any, found: Awaitable[Snapshot[T]]) -> Snapshot[T]:
        snapshot = await found
        still_true = snapshot.still_true
        return replace(snapshot, still_true=lambda: self._now() is source and still_true())

    def _body(self, source: Any, body: FileBody | None) -> FileBody | None:
        return None if body is None else only_while(body, lambda: self._now() is source)

    async def _body_later(self, source: Any, found: Awaitable[FileBody | None]) -> FileBody | None:
        return self._body(source, await found)
