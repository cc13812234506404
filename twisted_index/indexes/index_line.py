"""
The line of an index, with the folder and the settings of each index in it.

Blocking, for small files only. Used by the server and at the console alike; upstreams are only names here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from twisted_index.backends.folder.index_folders import make_index, remove_index
from twisted_index.errors import NotFound, Unavailable
from twisted_index.indexes.index_file import NAME, IndexFile, IndexSettings
from twisted_index.indexes.linearization import linearize
from twisted_index.interfaces import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.indexes.bucket_catalog import BucketCatalog
    from twisted_index.indexes.catalog import IndexCatalog


class SettingsOfIndex(Protocol):
    """
    What an index says of itself, where that is kept.

    Attributes:
        problem: What is wrong with it, in a sentence; empty if it can be used.
    """

    problem: str

    def settings(self) -> IndexSettings:
        """Return the settings that hold now; raises Unavailable if they are unknown."""


class IndexMember(NamedTuple):
    """
    An index in a line.

    Attributes:
        name: Its name.
        path: Its absolute folder.
        settings: What it says of itself.
    """

    name: str
    path: bytes
    settings: IndexSettings


class IndexLines:
    """
    The lines of all indexes.

    Args:
        catalog: Which indexes there are.
    """

    def __init__(self, catalog: IndexCatalog | BucketCatalog) -> None:
        self.catalog = catalog
        self._files: dict[str, SettingsOfIndex] = {}
        self._listed: tuple[str, ...] = ()

    def look(self, name: str) -> Awaitable[None] | None:
        """
        Read again what the line of an index needs, if that takes its time; not for threads.

        Returns:
            None if there is nothing to wait for: what is not current is read when it is wanted.

        Raises:
            Unavailable: It cannot be read.
        """
        return None

    def is_current(self, name: str) -> bool:
        """Return whether nothing else than time says that the line of an index is to be looked at."""
        return True

    async def listed(self) -> Callable[[], bool]:
        """
        List again which indexes there are, if that takes its time; not for threads.

        Returns:
            Whether the names that the catalog has may be used still, without that.

        Raises:
            Unavailable: They cannot be listed.
        """
        return lambda: True

    async def make(self, worker: IThreadRunner, name: str, settings: bytes) -> bool:
        """
        Make an index; see `make_index`.

        Args:
            worker: Threads that do so.
            name: A name that an index may have.
            settings: What it says of itself; may be empty.
        """
        return await worker.run(make_index, self.catalog.folder, name, settings)

    async def remove(self, worker: IThreadRunner, name: str) -> None:
        """Remove an index with all that it has, in a thread; see `remove_index`."""
        await worker.run(remove_index, self.catalog.folder, name)

    def member(self, name: str) -> IndexMember:
        """
        Return an index by itself.

        Raises:
            NotFound: There is none of that name.
            Unavailable: Its settings are unknown.
        """
        self._forget_removed()
        path = self.catalog.path(name)
        return IndexMember(name, path, self._file(name, path).settings())

    def line(self, name: str) -> tuple[IndexMember, ...]:
        """
        Return the line of an index, its own member first.

        Raises:
            NotFound: There is no index of that name.
            Unavailable: The settings of one of them are unknown, one is missing, or they contradict each
                other; in one sentence that names it.
        """
        members = {name: self.member(name)}

        def bases_of(heir: str) -> tuple[str, ...]:
            for base in members[heir].settings.bases:
                if base not in members:
                    members[base] = self._base(base, heir)
            return members[heir].settings.bases

        return tuple(members[one] for one in linearize(name, bases_of))

    async def survey(
        self, worker: IThreadRunner, *, anew: bool = False
    ) -> Sequence[tuple[str, IndexMember | None]]:
        """
        Return all indexes by name, with their settings; None for one whose settings are unknown.

        Args:
            worker: Threads, as it looks at one file of each index.
            anew: Whether to list which there are, however young the last list of them is.

        Raises:
            Unavailable: The folder of indexes cannot be read.
        """
        return await worker.run(lambda: list(self._members()))

    def _members(self) -> Iterator[tuple[str, IndexMember | None]]:
        for name in self.catalog.names():
            try:
                path = self.catalog.path(name)
                if name not in self._files and not os.path.lexists(os.path.join(path, os.fsencode(NAME))):
                    os.stat(os.path.join(path, b"."))
                    # No file, no memory: there may be ten thousand of them.
                    yield name, IndexMember(name, path, IndexSettings())
                else:
                    yield name, self.member(name)
            except NotFound:
                continue
            except (Unavailable, OSError):
                yield name, None

    def is_known(self, name: str) -> bool:
        """Return whether the settings of an index are known, whatever they say."""
        try:
            self.member(name)
        except Unavailable:
            return False
        return True

    def problem(self, name: str) -> Problem | None:
        """Return what is wrong with the settings of an index, as they were last read."""
        file = self._files.get(name)
        if file is None or not file.problem:
            return None
        advice = "Mend the file; the settings that it had before are in force, if this server has read any."
        return Problem(path=f"{name}/{NAME}", reason=file.problem, advice=advice)

    def _base(self, base: str, heir: str) -> IndexMember:
        try:
            return self.member(base)
        except NotFound as error:
            raise Unavailable(f"{heir} inherits {base}, and there is no such index.") from error

    def _file(self, name: str, path: bytes) -> SettingsOfIndex:
        file = self._files.get(name)
        if file is None:
            file = self._files.setdefault(name, self._make_file(name, path))
        return file

    def _make_file(self, name: str, path: bytes) -> SettingsOfIndex:
        return IndexFile(name, path)

    def _forget_removed(self) -> None:
        """Forget the files of indexes that are gone, whose last good settings must not come back."""
        names = self.catalog.names()
        if names is not self._listed:
            for name in self._files.keys() - set(names):
                self._files.pop(name, None)
            self._listed = names
