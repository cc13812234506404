"""
Builds the source of an index from settings: folders, upstreams, and the rules of name ownership.

The caller (see `server.wiring`) provides the factories of folders and upstreams; docs/contributing.md says
how to add a backend.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_index.backends.upstream.redirect import RedirectSource
from twisted_index.errors import ConfigurationError
from twisted_index.indexes.name_ownership import NameOwnershipSource
from twisted_index.indexes.routing import RoutedSource, SourceRoute
from twisted_index.indexes.upstream_policy import PolicySource
from twisted_index.simple.name_patterns import name_matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twisted_index.config.policy_entry import PolicyEntry
    from twisted_index.config.settings import RoutingRule, UpstreamSettings
    from twisted_index.interfaces import ISource


_log = Logger()


class SourceBuilder:
    """
    Builds the source of an index, again for each new policy.

    Each folder and upstream is made once and shared by all builds.

    Args:
        folder: The source of the folders.
        make_folder: Makes the source of a rule's folder from its absolute path. Called once for each
            folder.
        make_upstream: Makes one source of upstreams from their URLs, with a trailing slash, in order of
            precedence; not called in redirect mode. Called once for the same URLs. The source may have a
            method `first_seen`, for files without an upload time: takes project and file name, returns
            seconds since the epoch or None.
        resolve: Returns the URLs of a keyword such as `pip`; a URL stands for itself. Called once for each.
        now: Returns the current time, seconds since the epoch.
        guard: See the attribute.

    Attributes:
        guard: Returns what takes the place of an upstream, and decides about names.
    """

    def __init__(
        self,
        folder: ISource,
        *,
        make_folder: Callable[[str], ISource],
        make_upstream: Callable[[tuple[str, ...]], ISource],
        resolve: Callable[[str], tuple[str, ...]] = lambda url: (url,),
        now: Callable[[], float] = time.time,
        guard: Callable[[ISource], ISource] = lambda upstream: upstream,
    ) -> None:
        self.guard = guard
        self._folder = folder
        self._make_folder = cache(make_folder)
        self._make_upstream = cache(make_upstream)
        self._resolve = cache(resolve)
        self._now = now

    def build(self, settings: UpstreamSettings) -> ISource:
        """
        Build the source.

        Nothing is started. Starting and stopping the result starts and stops each of its sources once.

        Args:
            settings: Upstreams, routes and policy.

        Returns:
            The source; the folders' own if the settings add nothing to it.

        Raises:
            ConfigurationError: Redirect mode with several upstreams.
        """
        return self._build(settings).source()

    def build_upstream(self, settings: UpstreamSettings) -> PolicySource:
        """
        Build the upstream alone, with the policy for it.

        Args:
            settings: Has at least one upstream; routes do not count.

        Raises:
            ConfigurationError: See `build`.
        """
        return self._build(settings).upstream()

    def _build(self, settings: UpstreamSettings) -> _Build:
        self._log_ended("upstream-deny", settings.policy.upstream_deny)
        self._log_ended("cooldown-except", settings.policy.cooldown_except)
        return _Build(
            settings,
            self._folder,
            self._make_folder,
            self._make_upstream,
            self._resolve,
            self._now,
            self.guard,
        )

    def _log_ended(self, name: str, entries: Iterable[PolicyEntry]) -> None:
        """Log which entries of a setting no longer hold; they may stay in the file."""
        for entry in entries:
            if entry.ends <= self._now():
                _log.info(
                    "{name}: the entry {match!r} held{terms}", name=name, match=entry.match, terms=entry.terms
                )


def routed_away(settings: UpstreamSettings, paths: Sequence[str]) -> Callable[[str], bool]:
    """
    Make the predicate for projects that a route serves from elsewhere than the upload folder.

    Args:
        settings: Holds the routes.
        paths: Absolute paths of the folders; files are published into the first one.

    Returns:
        Takes a normalized name. False for a route to an upstream, since folders take precedence over it.
    """
    rules = [
        (name_matcher([rule.pattern]), rule.upstream is None and rule.folder not in paths[:1])
        for rule in settings.routes
    ]
    return lambda project: next((elsewhere for matches, elsewhere in rules if matches(project)), False)


class _Build:
    """One build, for one policy; wraps each upstream once."""

    def __init__(
        self,
        settings: UpstreamSettings,
        folder: ISource,
        make_folder: Callable[[str], ISource],
        make_upstream: Callable[[tuple[str, ...]], ISource],
        resolve: Callable[[str], tuple[str, ...]],
        now: Callable[[], float],
        guard: Callable[[ISource], ISource],
    ) -> None:
        self._settings = settings
        self._guard = guard
        self._folder = folder
        self._make_folder = make_folder
        self._make_upstream = make_upstream
        self._resolve = resolve
        self._now = now
        self._upstreams: dict[tuple[str, ...], PolicySource] = {}

    def source(self) -> ISource:
        default = self._with_folder(self._settings.urls)
        if not self._settings.routes:
            return default
        return RoutedSource(list(map(self._route, self._settings.routes)), default)

    def upstream(self) -> PolicySource:
        return self._upstream(self._urls(self._settings.urls))

    def _urls(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(url.rstrip("/") + "/" for name in names for url in self._resolve(name)))

    def _route(self, rule: RoutingRule) -> SourceRoute:
        if rule.folder is not None:
            return SourceRoute(pattern=rule.pattern, source=self._make_folder(rule.folder))
        if rule.upstream is not None:
            # Folders keep precedence: a rule only replaces the upstream.
            return SourceRoute(pattern=rule.pattern, source=self._with_folder([rule.upstream]))
        return SourceRoute(pattern=rule.pattern)

    def _with_folder(self, names: Iterable[str]) -> ISource:
        """Put the folders before the upstreams."""
        urls = self._urls(names)
        if not urls:
            return self._folder
        policy, upstream = self._settings.policy, self._upstream(urls)
        return NameOwnershipSource(
            self._folder,
            self._guard(upstream),
            local_only=policy.local_only,
            merge_upstream=policy.merge_upstream,
            visible_copies=upstream.visible_copies,
            hidden_copy=upstream.hidden_copy,
        )

    def _upstream(self, urls: tuple[str, ...]) -> PolicySource:
        if urls not in self._upstreams:
            self._upstreams[urls] = self._with_policy(urls)
        return self._upstreams[urls]

    def _with_policy(self, urls: tuple[str, ...]) -> PolicySource:
        source = self._redirect(urls) if self._settings.mode == "redirect" else self._make_upstream(urls)
        first_seen = getattr(source, "first_seen", _unknown)
        return PolicySource(source, self._settings.policy, self._now, first_seen)

    def _redirect(self, urls: tuple[str, ...]) -> RedirectSource:
        if len(urls) > 1:
            raise ConfigurationError(
                "upstream-mode redirect supports only one upstream, and these are several; name one."
            )
        return RedirectSource(urls[0])


def _unknown(_project: str, _filename: str) -> None:
    """Default `first_seen`, for upstreams without that method."""
