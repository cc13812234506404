"""
Builds upstreams from settings, and says where their cache is.

What an upstream consists of is imported when one is built, as a server without an upstream is to start
without the client's share.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client.registry import Collector

    from twisted_index.backends.upstream.client import HTTPUpstream
    from twisted_index.backends.upstream.disk_cache import DiskCache
    from twisted_index.backends.upstream.source import UpstreamSource
    from twisted_index.concurrency.thread_pool import ThreadPool
    from twisted_index.config.settings import Settings, UpstreamSettings


def cache_folder(settings: Settings) -> str | None:
    """Return the absolute path of the upstream cache; None if neither it nor a state folder is set."""
    if settings.upstreams.cache is not None or settings.state is None:
        return settings.upstreams.cache
    return os.path.join(settings.state, "cache", "upstream")


def build_upstream(
    urls: Sequence[str], settings: Settings, *, reactor: Any, worker: ThreadPool, instance: str
) -> tuple[UpstreamSource, Sequence[Collector]]:
    """
    Build the source of one upstream setting.

    Args:
        urls: Of simple APIs, in order.
        settings: All settings.
        reactor: Twisted's reactor.
        worker: Reads and writes the cache.
        instance: The name of this server in Via, by which it knows its own requests again.

    Returns:
        The source, and the collectors of its metrics.
    """
    from twisted_index.backends.upstream.page_freshness import CacheTimes
    from twisted_index.backends.upstream.source import UpstreamSource

    upstreams = settings.upstreams
    rebuilds = _urls(upstreams.rebuilds)
    remotes = build_remotes(urls, settings, reactor=reactor, worker=worker, instance=instance)
    source = UpstreamSource(
        remotes,
        _cache(settings),
        reactor=reactor,
        worker=worker,
        times=CacheTimes(ttl=upstreams.cache_ttl, response_timeout=settings.limits.response_timeout),
        offline=upstreams.offline,
        rebuilds=[remote.url for url, remote in zip(urls, remotes, strict=True) if url in rebuilds],
    )
    return source, (source.counters, *remotes)


def build_remotes(
    urls: Sequence[str], settings: Settings, *, reactor: Any, worker: ThreadPool, instance: str
) -> list[HTTPUpstream]:
    """Build the clients of upstreams; for the arguments see `build_upstream`."""
    from twisted_index.backends.upstream.client import HTTPUpstream
    from twisted_index.http_client.limits import ClientLimits

    upstreams = settings.upstreams
    absent_on_403 = _urls(upstreams.absent_on_403)
    return [
        HTTPUpstream(
            url,
            reactor,
            worker=worker,
            instance=instance,
            allow_addresses=upstreams.allow_addresses,
            limits=ClientLimits(head=upstreams.page_timeout, file_head=upstreams.file_timeout),
            absent_on_403=url in absent_on_403,
            **_proxy_and_tls(url, upstreams),
        )
        for url in urls
    ]


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
