"""
What a server serves, put together: folders, upstreams, and the rules of who owns a name.

Not for: making folders and upstreams, which whoever calls does, as they need threads and more.
"""

from __future__ import annotations

import time
from functools import reduce
from typing import TYPE_CHECKING, Any

from twisted_index.sources.chain import FolderFirst
from twisted_index.sources.filtered import FilteredSource
from twisted_index.sources.routing import Route, RoutedSource
from twisted_index.upstream.redirecting import RedirectSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted_index.settings import RoutingRule, Upstreams


def compose(
    settings: Upstreams,
    folder: Any,
    *,
    make_folder: Callable[[str], Any],
    make_upstream: Callable[[str], Any],
    resolve: Callable[[str], str] = str,
    now: Callable[[], float] = time.time,
) -> Any:
    """
    Put the source of a server together.

    Nothing is started. What is given and made is started and stopped with the whole, each once.

    Args:
        settings: What happens with projects that the folders do not have.
        folder: The source of the folders.
        make_folder: Makes the source of another folder, for a rule: an absolute path. Called once
            for each folder.
        make_upstream: Makes the source of an upstream that is not just redirected to: a URL, with a
            slash at its end. Called once for each. If what it makes has a method `first_seen`, that
            is asked since when a file without an upload time is known: project and file name in,
            seconds since the epoch or None out.
        resolve: Makes a URL of what stands for one, as `pip` does.
        now: Tells the time: seconds since the epoch.

    Returns:
        An ISource; `folder` itself where the settings add nothing to it.
    """
    return _Composing(settings, folder, make_folder, make_upstream, resolve, now).whole()


class _Composing:
    """One composition: each folder and upstream is made once, and used wherever it is named."""

    def __init__(
        self,
        settings: Upstreams,
        folder: Any,
        make_folder: Callable[[str], Any],
        make_upstream: Callable[[str], Any],
        resolve: Callable[[str], str],
        now: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._make_folder = make_folder
        self._make_upstream = make_upstream
        self._resolve = resolve
        self._now = now
        self._folders: dict[str, Any] = {}
        self._upstreams: dict[str, Any] = {}

    def whole(self) -> Any:
        otherwise = self._before(self._settings.urls)
        if not self._settings.routes:
            return otherwise
        return RoutedSource(list(map(self._route, self._settings.routes)), otherwise)

    def _route(self, rule: RoutingRule) -> Route:
        if rule.folder is not None:
            if rule.folder not in self._folders:
                self._folders[rule.folder] = self._make_folder(rule.folder)
            return Route(pattern=rule.pattern, source=self._folders[rule.folder])
        if rule.upstream is not None:
            # What lies in the folders stays theirs: a rule says where else to ask.
            return Route(pattern=rule.pattern, source=self._before([rule.upstream]))
        return Route(pattern=rule.pattern)

    def _before(self, urls: Iterable[str]) -> Any:
        """Put the folders before upstreams, of which the first that has a project has it alone."""
        upstreams = list(map(self._upstream, urls))
        if not upstreams:
            return self._folder
        policy = self._settings.policy
        *others, last = upstreams
        behind = reduce(lambda later, one: FolderFirst(one, later), reversed(others), last)
        return FolderFirst(
            self._folder, behind, local_only=policy.local_only, also_upstream=policy.also_upstream
        )

    def _upstream(self, name: str) -> Any:
        url = self._resolve(name).rstrip("/") + "/"
        if url not in self._upstreams:
            self._upstreams[url] = self._filtered(url)
        return self._upstreams[url]

    def _filtered(self, url: str) -> Any:
        if self._settings.mode == "redirect":
            return FilteredSource(RedirectSource(url), self._settings.policy, self._now)
        source = self._make_upstream(url)
        first_seen = getattr(source, "first_seen", _unknown)
        return FilteredSource(source, self._settings.policy, self._now, first_seen)


def _unknown(_project: str, _filename: str) -> None:
    """Stand for an upstream that remembers nothing."""
