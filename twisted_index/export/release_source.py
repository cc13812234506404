"""Reads the releases of a repository for an export: by one request if nothing changed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from twisted_index.errors import SimpleIndexError
from twisted_index.export.asset_reader import AssetReader
from twisted_index.export.release_pages import ReleaseReader
from twisted_index.github.listing import ReleaseListing
from twisted_index.github.release_files import release_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.export.release_memory import ReleaseMemory
    from twisted_index.github.api import GitHubAPI
    from twisted_index.github.model import Release
    from twisted_index.github.release_files import ReleaseFiles

_PRIVATE = (
    "{} is private, so the exported pages link to files that installers cannot fetch: their URLs need the"
    " login of a browser. A server with this repository as its upstream sends them; see docs/github.md."
)


class ReleaseSource:
    """
    Reads a repository.

    Args:
        api: Sends the requests.
        worker: Threads.
        memory: What is known of the repository; is added to.
    """

    def __init__(self, api: GitHubAPI, worker: IThreadRunner, memory: ReleaseMemory) -> None:
        self._api = api
        self._worker = worker
        self._memory = memory

    async def open(self, is_wanted: Callable[[str], bool], *, accepts_rebuilds: bool) -> ReleaseReader:
        """
        Read all that the pages of the projects need.

        Args:
            is_wanted: Returns whether a project, by its normalized name, is exported.
            accepts_rebuilds: Whether files may have other content than when they were listed.

        Raises:
            SimpleIndexError: Any of it cannot be had.
        """
        found = await self._worker.run(release_files, await self._releases())
        memory = self._memory
        files = [file for project, files in found.projects.items() if is_wanted(project) for file in files]
        unnamed = [
            asset for project, wheels in found.unnamed.items() if is_wanted(project) for asset in wheels
        ]
        assets = await AssetReader(self._api, self._worker, memory).read(files, unnamed)
        reader = ReleaseReader(assets, {} if accepts_rebuilds else memory.listed)
        every = [file for files in found.projects.values() for file in files]
        wheels = [asset for wheels in found.unnamed.values() for asset in wheels]
        memory.keep_only([*wheels, *(file.asset for file in every), *(file.metadata for file in every)])
        self._add_notes(reader, found, is_wanted)
        return reader

    async def _releases(self) -> tuple[Release, ...]:
        """Read the list, and remember it."""
        listing, memory = ReleaseListing(self._api, reuse=0), self._memory
        with contextlib.suppress(ValueError):
            listing.restore(memory.listing)
        before = listing.releases
        releases = await listing.current()
        if releases is not before:
            # What can be read without a token is public.
            memory.is_private = self._api.has_token and await self._is_private()
        memory.listing = listing.record()
        return releases

    async def _is_private(self) -> bool:
        try:
            repository = await self._api.get(self._api.repository.url)
        except SimpleIndexError:
            return False
        return repository is not None and repository.get("private") is True

    def _add_notes(
        self, reader: ReleaseReader, found: ReleaseFiles, is_wanted: Callable[[str], bool]
    ) -> None:
        for project, reasons in found.left_out.items():
            if is_wanted(project):
                reader.notes += [
                    f"{project}: {number} left out, as {why}." for why, number in reasons.items()
                ]
        repository = self._api.repository
        if self._memory.is_private:
            reader.notes.append(_PRIVATE.format(f"{repository.owner}/{repository.name}"))
        if not reader.urls.urls:
            reader.notes.append(f"{repository.owner}/{repository.name} has no wheels and sdists to export.")
