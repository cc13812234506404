"""Our side of a releases API, in a reactor of its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.github.api import GitHubAPI
from twisted_index.github.listing import ReleaseListing
from twisted_index.github.model import Release
from twisted_index.github.repository import parse_repository
from twisted_index.github.token import token_source
from twisted_index.http_client.limits import ClientLimits
from twisted_index.testing.reactor_thread import BackgroundReactor

T = TypeVar("T")

LIMITS = ClientLimits(connect=2.0, head=2.0, idle=2.0, total=20.0, back_off=0.001)


class ReleasesClient:
    """
    An API and its listing.

    Args:
        background: Where they run.
        word: The repository.
        environ: Where the token comes from.
        more: For `GitHubAPI`.
    """

    def __init__(
        self,
        background: BackgroundReactor,
        word: str,
        environ: dict[str, str] | None = None,
        *,
        reuse: float = 0.0,
        **more: Any,
    ) -> None:
        self._background = background
        self._worker = ThreadPool(background.reactor, threads=1)
        repository = parse_repository(word)
        options = {"limits": LIMITS, "jitter": lambda: 0.0, "instance": "ours"} | more
        self.api = GitHubAPI(
            repository,
            background.reactor,
            environ=environ or {},
            token=token_source(repository, environ or {}),
            worker=self._worker,
            **options,
        )
        self.listing = ReleaseListing(self.api, reuse=reuse)

    def run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine to its end."""
        results: list[T] = []

        async def run() -> None:
            results.append(await function())

        self._background.call(lambda: Deferred.fromCoroutine(run()), 30)
        return results[0]

    def releases(self) -> tuple[Release, ...]:
        async def current() -> tuple[Release, ...]:
            return await self.listing.current()

        return self.run(current)

    def names(self) -> dict[str, list[str]]:
        """The names of the assets of each release, by tag."""
        return {release.tag: [asset.name for asset in release.assets] for release in self.releases()}

    def close(self) -> None:
        self._background.call(self.api.close, 10)
        self._background.call(self._worker.stop, 10)
