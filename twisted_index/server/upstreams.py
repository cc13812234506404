"""
Builds upstreams from settings, and says where their cache is.

What an upstream consists of is imported when one is built, as a server without an upstream is to start
without the client's share.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted_index.github.repository import PUBLIC_API, is_repository, parse_repository
from twisted_index.replication.state_file import StateFile
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client.registry import Collector

    from twisted_index.backends.upstream.disk_cache import DiskCache
    from twisted_index.backends.upstream.kinds import RepositoryOptions, UpstreamClient
    from twisted_index.backends.upstream.source import UpstreamSource
    from twisted_index.concurrency.thread_pool import ThreadPool
    from twisted_index.config.settings import Settings, UpstreamSettings

#: What GitHub grants to an address.
_LIMIT = ", and 60 requests an hour"


def with_primary(settings: Settings) -> Settings:
    """
    Return the settings of a replica with its primary as the upstream, and all others as they are.

    So are those of a server that has taken over: what was its primary may be gone, and no name is there.

    What comes from there is at most as old as what the folder has: it may be the same project, a moment
    before its files are here.
    """
    if settings.replication.replica_of is None or StateFile(settings.state).has_taken_over():
        return settings
    ttl = min(settings.upstreams.cache_ttl, settings.rescan)
    upstreams = replace(settings.upstreams, urls=primary_index_urls(settings), cache_ttl=ttl)
    return replace(settings, upstreams=upstreams)


def asks_primary(settings: Settings) -> bool:
    """Return whether names that folders lack are asked of a primary, by settings of `with_primary`."""
    return settings.replication.replica_of is not None and bool(settings.upstreams.urls)


def primary_index_urls(settings: Settings, name: str = "") -> tuple[str, ...]:
    """Return the URL of an index of the primary for installers, with credentials; none without a primary."""
    url = settings.replication.replica_of
    return () if url is None else (f"{url.rstrip('/')}/{name and f'+{name}/'}simple/",)


def cache_folder(settings: Settings) -> str | None:
    """Return the absolute path of the upstream cache; None if neither it nor a state folder is set."""
    if settings.upstreams.cache is not None or settings.state is None:
        return settings.upstreams.cache
    return os.path.join(settings.state, "cache", "upstream")


def build_upstream(
    urls: Sequence[str],
    settings: Settings,
    *,
    reactor: Any,
    worker: ThreadPool,
    instance: str,
    asks: bool = True,
) -> tuple[UpstreamSource, Sequence[Collector]]:
    """
    Build the source of one upstream setting.

    Args:
        urls: Of simple APIs, and repositories, in order, each with a trailing slash.
        settings: All settings.
        reactor: Twisted's reactor.
        worker: Reads and writes the cache.
        instance: The name of this server in Via, by which it knows its own requests again.
        asks: Whether pages are requested; else they are those in the cache, however old.

    Returns:
        The source, and the collectors of its metrics.
    """
    from twisted_index.backends.upstream.page_freshness import CacheTimes
    from twisted_index.backends.upstream.source import UpstreamSource

    upstreams = settings.upstreams
    rebuilds = _urls(upstreams.rebuilds)
    cache = _cache(settings)
    remotes = build_remotes(urls, settings, reactor=reactor, worker=worker, instance=instance, cache=cache)
    source = UpstreamSource(
        remotes,
        cache,
        reactor=reactor,
        worker=worker,
        times=CacheTimes(ttl=upstreams.cache_ttl, response_timeout=settings.limits.response_timeout),
        offline=upstreams.offline,
        asks=asks,
        rebuilds=[remote.url for url, remote in zip(urls, remotes, strict=True) if url in rebuilds],
    )
    return source, (source.counters, *remotes)


def build_remotes(
    urls: Sequence[str],
    settings: Settings,
    *,
    reactor: Any,
    worker: ThreadPool,
    instance: str,
    cache: DiskCache | None = None,
) -> list[UpstreamClient]:
    """Build the clients of upstreams, which may remember in a cache; see `build_upstream`."""
    from twisted_index.backends.upstream.kinds import make_client
    from twisted_index.http_client.limits import ClientLimits

    upstreams = settings.upstreams
    absent_on_403 = _urls(upstreams.absent_on_403)
    options = _repository_options(upstreams, cache)
    return [
        make_client(
            url,
            reactor,
            options=options,
            worker=worker,
            instance=instance,
            allow_addresses=upstreams.allow_addresses,
            limits=ClientLimits(head=upstreams.page_timeout, file_head=upstreams.file_timeout),
            absent_on_403=url in absent_on_403,
            **_proxy_and_tls(url, upstreams),
        )
        for url in urls
    ]


def _repository_options(upstreams: UpstreamSettings, cache: DiskCache | None = None) -> RepositoryOptions:
    from twisted_index.backends.upstream.kinds import RepositoryOptions, common_origin

    return RepositoryOptions(
        token_file=upstreams.github_token_file,
        common=common_origin(upstreams.all_upstreams),
        # All projects are read together, so a page is as fresh as its neighbours' requests let it be.
        reuse=min(upstreams.cache_ttl / 10, 60.0),
        cache=cache,
    )


def _cache(settings: Settings) -> DiskCache | None:
    from twisted_index.backends.upstream.disk_cache import DiskCache

    if settings.upstreams.mode != "cache":
        return None
    folder = cache_folder(settings)
    return None if folder is None else DiskCache(folder, settings.upstreams.cache_size)


def upstream_urls(word: str) -> tuple[str, ...]:
    """Return the URLs of an upstream setting."""
    from twisted_index.config.pip_index import resolve_upstream

    return resolve_upstream(word, os.environ)


def upstream_names(words: Iterable[str]) -> tuple[str, ...]:
    """Return what people are told of upstreams: the origin of each once, or the repository."""
    from twisted_index.backends.upstream.explanation import upstream_name

    urls = (url for word in words for url in ((word,) if is_repository(word) else upstream_urls(word)))
    return tuple(dict.fromkeys(map(upstream_name, urls)))


def requested_urls(word: str) -> tuple[str, ...]:
    """Return the URLs to which the requests of an upstream setting go first."""
    return (parse_repository(word).api,) if is_repository(word) else upstream_urls(word)


def describe_repositories(upstreams: UpstreamSettings) -> list[str]:
    """Describe with which token each repository is read; reads the environment and files."""
    words = dict.fromkeys(filter(is_repository, upstreams.all_upstreams))
    if not words:
        return []
    from twisted_index.backends.upstream.kinds import repository_token
    from twisted_index.github.token import COMMON_VARIABLES

    options = _repository_options(upstreams)
    lines = []
    for repository in map(parse_repository, words):
        token = repository_token(repository, os.environ, options)
        place = token.place
        without = f"without a token: public ones only{_LIMIT if repository.api == PUBLIC_API else ''}"
        how = f"with the token in {printable(place)}" if place else without
        lines.append(f"Releases of {repository.word} are read {how}{token.unused and f'; {token.unused}'}")
    if options.common is None and (options.token_file or any(map(os.environ.get, COMMON_VARIABLES))):
        lines.append(
            "github-token-file, GH_TOKEN and GITHUB_TOKEN are not used: they are for one API, and the"
            " upstreams are at several"
        )
    return lines


def _urls(words: Iterable[str]) -> frozenset[str]:
    """Return the URLs of several upstream settings, each with a trailing slash."""
    return frozenset(url.rstrip("/") + "/" for word in words for url in upstream_urls(word))


def _proxy_and_tls(url: str, settings: UpstreamSettings) -> dict[str, Any]:
    """Return the proxy and the certificates for an upstream: pip's, if it is pip's index."""
    if "pip" in settings.all_upstreams:
        from twisted_index.config.pip_index import cached_pip_index

        pip = cached_pip_index(os.environ)
        if url in (one.rstrip("/") + "/" for one in pip.urls):
            return {"environ": pip.environ(os.environ), "tls": pip.tls}
    return {"environ": os.environ}
