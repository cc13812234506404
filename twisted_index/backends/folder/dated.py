"""A folder source as it was at a moment, made of what lies in the folders now (see `history`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_index.backends.folder.dated_list import DatedNames
from twisted_index.backends.folder.dated_page import page_at
from twisted_index.backends.folder.open_file import open_listed, sidecars_of
from twisted_index.backends.folder.page_builder import is_copy
from twisted_index.concurrency.lru import LRU
from twisted_index.errors import Unavailable
from twisted_index.interfaces import ISource, Snapshot

if TYPE_CHECKING:
    from collections.abc import Hashable
    from datetime import datetime

    from twisted_index.backends.folder.dated_page import DatedPage
    from twisted_index.backends.folder.history import FolderHistory, ProjectHistory
    from twisted_index.interfaces import FileBody, MaybeAwaitable
    from twisted_index.simple.model import ProjectList, ProjectPage, Sidecar

#: Files on pages of the past that are kept in memory, over all moments: anyone may ask for a million of them.
_MAX_FILES = 20_000
_ATTEMPTS = 3


class PastView(Protocol):
    """
    A way to look at histories.

    Attributes:
        key: Views with the same key see the same.
    """

    key: Hashable

    def page_of(self, history: ProjectHistory) -> DatedPage:
        """Make the page of a project."""


class AtTime:
    """
    What there was at a time.

    Args:
        moment: Aware.
        owner: The name of the index, for the links of its files.
    """

    def __init__(self, moment: datetime, owner: str) -> None:
        self.moment, self.owner = moment, owner
        self.key: Hashable = (moment, owner)

    def page_of(self, history: ProjectHistory) -> DatedPage:
        """See `PastView`."""
        return page_at(history, self.moment, self.owner)


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

    def page(self, view: PastView, history: ProjectHistory) -> DatedPage:
        """Return a page as it is remembered, or make it: the same object if it says the same."""
        key = view.key, history.project
        last = self.pages.get(key)
        if last is not None and last.history is history:
            return last
        made = view.page_of(history)
        if last is not None and last.page == made.page:
            made = made.with_page(last.page)
        self.pages.put(key, made)
        return made


@implementer(ISource)
class DatedFolder:
    """
    The folders at a moment.

    Args:
        past: Shared by all moments.
        view: Which moment.
    """

    def __init__(self, past: FolderPast, view: AtTime) -> None:
        self._past = past
        self._view = view

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """See `ISource`."""
        return self._past.names.project_list(self._view.moment)

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """See `ISource`. Returns without a Deferred if nothing has to be read."""
        history = self._past.history.recent(project)
        if history is not None:
            return self._snapshot(history)
        return Deferred.fromCoroutine(self._load(project))

    async def _load(self, project: str) -> Snapshot[ProjectPage | None]:
        return self._snapshot(await self._past.history.read(project))

    def _snapshot(self, history: ProjectHistory) -> Snapshot[ProjectPage | None]:
        dated = self._past.page(self._view, history)
        return Snapshot(value=dated.page, is_current=history.is_current)

    async def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """See `ISource`."""
        histories = self._past.history
        for _attempt in range(_ATTEMPTS):
            history = histories.recent(project) or await histories.read(project)
            dated = self._past.page(self._view, history)
            listed = dated.listed_files.get(filename)
            if listed is None or sidecar not in (None, *sidecars_of(dated.scan, listed)):
                return None
            body = await open_listed(
                dated.scan, listed, sidecar, histories.folder.reader, history.is_current_for_files
            )
            if body is not None:
                copied = is_copy(listed.entry, history.live, history.known_files)
                return replace(body, is_copy=True) if copied else body
            # The file has changed since, so the history is outdated.
            histories.forget(project)
        raise Unavailable("This file is being changed. Retry in a moment.", retry_after=2)


def _weight(dated: DatedPage) -> int:
    return len(dated.listed_files) + 1
