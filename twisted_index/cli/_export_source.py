"""`twisted-index export --source`: the releases of a repository, whose files stay where they are."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

from twisted_index.cli._reactor import run_in_reactor
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.errors import ConfigurationError
from twisted_index.export.release_source import ReleaseSource
from twisted_index.github.api import GitHubAPI
from twisted_index.github.repository import parse_repository
from twisted_index.github.token import token_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.config.settings import Settings
    from twisted_index.export.release_memory import ReleaseMemory
    from twisted_index.export.release_pages import ReleaseReader
    from twisted_index.github.repository import Repository


def parse_source(word: str) -> Repository:
    """
    Parse the value of `--source`.

    Raises:
        ConfigurationError: It is no repository.
    """
    try:
        return parse_repository(word)
    except ValueError as error:
        raise ConfigurationError(f"--source: {error}.") from None


def read_source(
    repository: Repository,
    settings: Settings,
    memory: ReleaseMemory,
    is_wanted: Callable[[str], bool],
    *,
    accepts_rebuilds: bool,
) -> ReleaseReader | None:
    """
    Read the releases of a repository.

    Args:
        repository: The repository.
        settings: For the token, and for addresses that are allowed.
        memory: What is remembered of it; is added to.
        is_wanted: Returns whether a project, by its normalized name, is exported.
        accepts_rebuilds: Whether files may have other content than when they were listed.

    Returns:
        None if it was interrupted.

    Raises:
        SimpleIndexError: The repository cannot be read.
    """
    token = token_source(repository, os.environ, file=settings.upstreams.github_token_file)
    readers = []

    async def read(reactor: Any) -> int:
        worker = ThreadPool(reactor, name="index-export")
        api = GitHubAPI(
            repository,
            reactor,
            environ=os.environ,
            token=token,
            worker=worker,
            instance=f"export-{secrets.token_hex(8)}",
            allow_addresses=settings.upstreams.allow_addresses,
        )
        source = ReleaseSource(api, worker, memory)
        try:
            readers.append(await source.open(is_wanted, accepts_rebuilds=accepts_rebuilds))
        finally:
            await api.close()
            await worker.stop()
        return 0

    try:
        run_in_reactor(read)
    finally:
        # Also what was read before an error: the next run goes on from there.
        memory.save()
    return readers[0] if readers else None
