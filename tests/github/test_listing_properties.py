"""Whatever goes wrong or changes between two requests: releases as they were, or an error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.github.model import Release, Repo
from tests.kit.github_api import ReleasesClient
from tests.kit.github_server import GitHubServer
from tests.kit.properties import examples
from twisted_index.errors import Unavailable
from twisted_index.testing.reactor_thread import BackgroundReactor

#: The ids of the assets of each published release.
State = dict[int, frozenset[int]]


@pytest.fixture(scope="module")
def shared() -> Iterator[GitHubServer]:
    with GitHubServer() as server:
        server.limits.of(None).limit = 10**9
        yield server
        assert server.errors == []


class Life:
    """A repository that changes while it is read, and all that it was."""

    def __init__(self, repo: Repo, releases: int, assets: int) -> None:
        self.repo = repo
        self._fresh = 0
        for _ in range(releases):
            self._publish(assets)
        self.moments = [self.state()]

    def state(self) -> State:
        return {
            release.id: frozenset(asset.id for asset in release.assets) for release in self.repo.published
        }

    def change(self, kind: str, place: int) -> Callable[[], None]:
        """Make a change that a rule calls before it lets a request through."""

        def change() -> None:
            releases = self.repo.releases
            release = releases[place % len(releases)] if releases else None
            if kind == "publish":
                self._publish(place % 3)
            elif release is not None and kind == "withdraw":
                releases.remove(release)
            elif release is not None and kind == "upload":
                self._upload(release, place)
            elif release is not None and release.assets:
                release.assets[place % len(release.assets)].delete()
            self.moments.append(self.state())

        return change

    def _publish(self, assets: int) -> None:
        self._fresh += 1
        release = self.repo.release(f"v{self._fresh}")
        for _ in range(assets):
            self._upload(release, len(release.assets))

    def _upload(self, release: Release, place: int) -> None:
        self._fresh += 1
        asset = release.add(f"demo-{self._fresh}.tar.gz", b"")
        release.assets.remove(asset)
        release.assets.insert(place % (len(release.assets) + 1), asset)

    def check(self, found: State) -> None:
        """
        Check what was found.

        The assets of a release are those of one moment, and so are the releases. Nothing that was there all
        the time is missing.
        """
        assert set(found) in [set(moment) for moment in self.moments]
        for release, assets in found.items():
            assert assets in [moment[release] for moment in self.moments if release in moment]
        for release in set.intersection(*map(set, self.moments)):
            always = frozenset.intersection(*(moment[release] for moment in self.moments))
            assert always <= found[release]


FAULTS = st.sampled_from(
    [{"status": status} for status in (500, 502, 503, 504)]
    + [{"send": 100}, {"send": 3000}, {"without": ("Link",)}, {"without": ("ETag",)}]  # type: ignore[operator]
)
CHANGES = st.tuples(st.sampled_from(["publish", "withdraw", "upload", "delete"]), st.integers(0, 300))
EVENTS = st.lists(st.tuples(st.integers(1, 14), st.integers(1, 4), FAULTS | CHANGES), max_size=4)
SHAPES = st.sampled_from(
    [(3, 4, None), (35, 1, None), (95, 1, None), (1, 95, 30), (2, 65, 30), (1, 130, 100), (2, 40, None)]
)


def arrange(server: GitHubServer, life: Life, events: list[tuple[int, int, Any]]) -> None:
    """Let things happen at certain requests, some of them several times."""
    for first, times, event in events:
        if isinstance(event, tuple):
            server.rule(life.repo.full_name, first=first, times=times, before=life.change(*event))
        else:
            server.rule(life.repo.full_name, first=first, times=times, **event)


@given(SHAPES, st.sampled_from(["last", "next", "none"]), st.booleans(), EVENTS, st.lists(EVENTS, max_size=3))
@examples(100)
def test_the_releases_of_some_moment_are_found_or_none(
    shared: GitHubServer,
    background: BackgroundReactor,
    shape: tuple[int, int, int | None],
    paging: str,
    has_etags: bool,
    events: list[Any],
    polls: list[list[Any]],
):
    releases, assets, shared.views.inline_limit = shape
    shared.api.has_etags = has_etags
    shared.api.paging.has_links, shared.api.paging.has_last = paging != "none", paging == "last"
    shared.api.paging.largest = 30
    shared.forget()
    life = Life(shared.repository(f"octo/r{next(shared.forge.ids)}"), releases, assets)
    client = ReleasesClient(background, shared.word(life.repo))
    try:
        for happening in (events, *polls, [], []):
            shared.forget()
            arrange(shared, life, happening)
            with contextlib.suppress(Unavailable):
                found = client.releases()
                life.check({release.id: frozenset(asset.id for asset in release.assets) for release in found})
    finally:
        client.close()
