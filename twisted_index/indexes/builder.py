"""
Builds the source of an index from settings: folders, upstreams, and the rules of who owns a name.

The caller provides the factories of folders and upstreams, which need threads and more.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

from twisted_index.backends.upstream.redirect import RedirectSource
from twisted_index.errors import ConfigurationError
from twisted_index.indexes.name_ownership import PrioritySource
from twisted_index.indexes.routing import RoutedSource, SourceRoute
from twisted_index.indexes.upstream_policy import PolicySource
from twisted_index.simple.name_patterns import name_matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twisted_index.config.settings import RoutingRule, UpstreamSettings
    from twisted_index.interfaces import ISource


def build_source(
    settings: UpstreamSettings,
    folder: ISource,
    *,
    make_folder: Callable[[str], ISource],
    make_upstream: Callable[[tuple[str, ...]], ISource],
    resolve: Callable[[str], tuple[str, ...]] = lambda url: (url,),
    now: Callable[[], float] = time.time,
) -> ISource:
    """
    Put the source of a server together.

    Nothing is started. What is given and made is started and stopped with the whole, each once.

    Args:
        settings: What happens with projects that the folders do not have.
        folder: The source of the folders.
        make_folder: Makes the source of another folder, for a rule: an absolute path. Called once
            for each folder.
        make_upstream: Makes the one source of upstreams that are not just redirected to: URLs with
            a slash at their end, to be asked in this order. Called once for the same URLs. If what
            it makes has a method `first_seen`, which says since when a file without an upload
            time is known: project and file name in, seconds since the epoch or None out.
        resolve: Gives the URLs that a word stands for, as `pip` does; a URL stands for itself.
        now: Tells the time: seconds since the epoch.

    Returns:
        The whole; `folder` itself where the settings add nothing to it.

    Raises:
        ConfigurationError: Clients are to be redirected to several indexes at once.
    """
    composing = SourceBuilder(
        folder, make_folder=make_folder, make_upstream=make_upstream, resolve=resolve, now=now
    )
    return composing.build(settings)


class SourceBuilder:
    """
    Makes the source of a server, and makes it anew for another policy.

    Each folder and upstream is made once, and used wherever it is named, also in what is made later.

    Args:
        folder: As for `build_source`, like all of these.
        make_folder: Called once for each folder.
        make_upstream: Called once for the same URLs.
        resolve: Asked once for each word.
        now: Tells the time: seconds since the epoch.
    """

    def __init__(
        self,
        folder: ISource,
        *,
        make_folder: Callable[[str], ISource],
        make_upstream: Callable[[tuple[str, ...]], ISource],
        resolve: Callable[[str], tuple[str, ...]] = lambda url: (url,),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._make_folder = cache(make_folder)
        self._make_upstream = cache(make_upstream)
        self._resolve = cache(resolve)
        self._now = now

    def build(self, settings: UpstreamSettings) -> ISource:
        """Build the source; see `build_source`."""
        return _Composing(
            settings, self._folder, self._make_folder, self._make_upstream, self._resolve, self._now
        ).whole()


def routed_away(settings: UpstreamSettings, paths: Sequence[str]) -> Callable[[str], bool]:
    """
    Make the test of whether a project comes from another place than the folder that takes uploads.

    Args:
        settings: What happens with projects, by rules.
        paths: The folders: absolute; files are published into the first one.

    Returns:
        Takes a normalized name. An upstream is no such place: folders come before it.
    """
    rules = [
        (name_matcher([rule.pattern]), rule.upstream is None and rule.folder not in paths[:1])
        for rule in settings.routes
    ]
    return lambda project: next((elsewhere for matches, elsewhere in rules if matches(project)), False)


class _Composing:
    """One composition, for one policy: what stands before each upstream is made once."""

    def __init__(
        self,
        settings: UpstreamSettings,
        folder: ISource,
        make_folder: Callable[[str], ISource],
        make_upstream: Callable[[tuple[str, ...]], ISource],
        resolve: Callable[[str], tuple[str, ...]],
        now: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._make_folder = make_folder
        self._make_upstream = make_upstream
        self._resolve = resolve
        self._now = now
        self._upstreams: dict[tuple[str, ...], ISource] = {}

    def whole(self) -> ISource:
        otherwise = self._before(self._settings.urls)
        if not self._settings.routes:
            return otherwise
        return RoutedSource(list(map(self._route, self._settings.routes)), otherwise)

    def _route(self, rule: RoutingRule) -> SourceRoute:
        if rule.folder is not None:
            return SourceRoute(pattern=rule.pattern, source=self._make_folder(rule.folder))
        if rule.upstream is not None:
            # What lies in the folders stays theirs: a rule says where else to ask.
            return SourceRoute(pattern=rule.pattern, source=self._before([rule.upstream]))
        return SourceRoute(pattern=rule.pattern)

    def _before(self, names: Iterable[str]) -> ISource:
        """Put the folders before upstreams."""
        urls = dict.fromkeys(url.rstrip("/") + "/" for name in names for url in self._resolve(name))
        if not urls:
            return self._folder
        policy = self._settings.policy
        return PrioritySource(
            self._folder,
            self._upstream(tuple(urls)),
            local_only=policy.local_only,
            merge_upstream=policy.merge_upstream,
        )

    def _upstream(self, urls: tuple[str, ...]) -> ISource:
        if urls not in self._upstreams:
            self._upstreams[urls] = self._filtered(urls)
        return self._upstreams[urls]

    def _filtered(self, urls: tuple[str, ...]) -> ISource:
        source = self._redirect(urls) if self._settings.mode == "redirect" else self._make_upstream(urls)
        first_seen = getattr(source, "first_seen", _unknown)
        return PolicySource(source, self._settings.policy, self._now, first_seen)

    def _redirect(self, urls: tuple[str, ...]) -> RedirectSource:
        if len(urls) > 1:
            raise ConfigurationError(
                "upstream-mode redirect leads to one upstream, and these are several; name the one."
            )
        return RedirectSource(urls[0])


def _unknown(_project: str, _filename: str) -> None:
    """Stand for an upstream that remembers nothing."""
