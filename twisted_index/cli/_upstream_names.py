"""
Which names of folders an upstream has too.

The upstream sends its whole list of projects, and the names are compared here: none of them is sent.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from twisted_index.cli._reactor import run_in_reactor
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.errors import ConfigurationError
from twisted_index.interfaces import Problem
from twisted_index.server.upstreams import build_remotes, upstream_urls
from twisted_index.simple.name_patterns import name_matcher

if TYPE_CHECKING:
    from collections.abc import Collection

    from twisted_index.config.settings import Settings


def require_upstream(settings: Settings) -> None:
    """
    Check that there is an upstream to ask.

    Raises:
        ConfigurationError: There is none, or it may not be asked.
    """
    if not settings.upstreams.urls:
        raise ConfigurationError(
            "--upstream-names needs an upstream: give --upstream URL, or --config FILE with one."
        )
    if settings.upstreams.offline:
        raise ConfigurationError("The configuration sets offline, so no upstream can be asked.")


def check_names(settings: Settings, claimed: Collection[str]) -> list[Problem]:
    """
    Report the names that the folders claim, and that an upstream has too.

    Names that are `local-only` are settled, and names that are merged are meant to be in both.

    Args:
        settings: Name the upstreams.
        claimed: Normalized names.

    Raises:
        SimpleIndexError: The list of an upstream cannot be had.
    """
    policy, found = settings.upstreams.policy, set[str]()

    async def ask(reactor: Any) -> int:
        found.update(await _names(settings, reactor))
        return 0

    run_in_reactor(ask)
    is_settled = name_matcher((*policy.local_only, *policy.merge_upstream))
    return [_shared(name) for name in sorted(found.intersection(claimed)) if not is_settled(name)]


async def _names(settings: Settings, reactor: Any) -> set[str]:
    """Return the names of all projects of the upstreams."""
    worker = ThreadPool(reactor, threads=1, name="index-names")
    urls = [f"{url.rstrip('/')}/" for word in settings.upstreams.urls for url in upstream_urls(word)]
    instance = f"check-{secrets.token_hex(8)}"
    remotes = build_remotes(urls, settings, reactor=reactor, worker=worker, instance=instance)
    try:
        return {name for remote in remotes for name in await remote.projects()}
    finally:
        for remote in remotes:
            await remote.stop()
        await worker.stop()


def _shared(name: str) -> Problem:
    return Problem(
        path=f"{name}/",
        reason="An upstream has a project of this name too: clients that ask the upstream themselves may take"
        " its files for yours.",
        advice="If the name is yours, write it into local-only; if not, leave its files to the upstream.",
    )
