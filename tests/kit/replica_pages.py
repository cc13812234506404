"""What clients of a replica see between two steps of a round, compared with what they may see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from tests.kit.at_once import answer
from tests.kit.followed_folder import ReplicaPair
from twisted_index.backends.folder.source import FolderSource
from twisted_index.errors import SimpleIndexError

#: The digest of each file on a page, and whether it is yanked.
_Page: TypeAlias = Mapping[str, tuple[str | None, bool]]


class BrokenPromise(BaseException):
    """Clients have seen what they may not: no error, which a round would take for that of one project."""


class PageWatch:
    """Looks at the pages of a replica after each step."""

    def __init__(self, projects: Iterable[str]) -> None:
        self._projects = tuple(projects)
        self._pair: ReplicaPair | None = None
        self._before: dict[str, _Page] = {}
        self._after: dict[str, _Page] = {}
        self._hidden: set[tuple[str, str]] = set()
        self._held: set[str] = set()

    def start(self, pair: ReplicaPair) -> None:
        self._pair = pair

    def begin(self) -> None:
        """A round begins, in which the primary does not change."""
        assert self._pair is not None
        self._pair.clock.advance(5)
        self._before = {name: self._page(self._pair.source, name) for name in self._projects}
        self._after = {name: self._page(self._pair.primary.source, name) for name in self._projects}
        self._hidden = set()
        # What is damaged, or deleted and there, and is replaced now, comes on its own.
        self._held = {path.name for path in self._pair.here.rglob("*")}

    def look(self) -> None:
        assert self._pair is not None
        for project in self._before:
            try:
                self._check(project, self._page(self._pair.source, project))
            except AssertionError as error:
                raise BrokenPromise(str(error)) from error

    def _check(self, project: str, page: _Page) -> None:
        before, after = self._before[project], self._after[project]
        for name, (digest, yanked) in page.items():
            was, will = before.get(name), after.get(name)
            sound = {each[0] for each in (was, will) if each is not None}
            assert digest in sound, f"{name} is neither that of before nor that of the primary"
            if will is not None and will[1] and not yanked:
                assert was == (digest, False), f"{name} came without its yank"
                assert (project, name) not in self._hidden, f"{name} has lost its yank again"
            if will is None and was is not None and was[1]:
                assert yanked, f"{name} lost its yank before it went"
            if yanked and will is not None and will[1]:
                self._hidden.add((project, name))
        new = after.keys() - before.keys() - self._held
        shown = new & page.keys()
        assert shown in (set(), new), f"only {sorted(shown)} of {sorted(new)} is shown"

    def _page(self, source: FolderSource, project: str) -> _Page:
        try:
            page = answer(source.project_page, project).value
        except SimpleIndexError:
            return {}
        files = () if page is None else page.files
        return {file.filename: (file.hashes.get("sha256"), file.yanked is not None) for file in files}
