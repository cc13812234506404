"""The kinds of upstreams: by its word, an index over HTTP or the releases of a repository."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Required, TypeAlias, TypedDict, Unpack

from twisted_index.backends.upstream.client import HTTPUpstream
from twisted_index.errors import ConfigurationError
from twisted_index.github.repository import PUBLIC_API, is_repository, parse_repository
from twisted_index.github.token import token_source
from twisted_index.http_client.urls import origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from twisted_index.backends.upstream.disk_cache import DiskCache
    from twisted_index.backends.upstream.github import GitHubUpstream
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.github.repository import Repository
    from twisted_index.github.token import TokenSource
    from twisted_index.http_client.limits import ClientLimits
    from twisted_index.http_client.tls import TLSOptions
    from twisted_index.http_client.urls import Origin

    #: A client of each kind; all provide `IListingClient`.
    UpstreamClient: TypeAlias = HTTPUpstream | GitHubUpstream

_GITHUB = origin_of(PUBLIC_API)


class ClientArguments(TypedDict, total=False):
    """The arguments that clients of each kind take, see `HTTPUpstream`."""

    worker: Required[IThreadRunner]
    environ: Required[Mapping[str, str]]
    instance: Required[str]
    allow_addresses: Sequence[str]
    limits: ClientLimits | None
    jitter: Callable[[], float]
    tls: TLSOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryOptions:
    """
    What only repositories need to know.

    Attributes:
        token_file: Absolute path of a file with a token; None without one.
        common: Origin of the API that gets the token that names no API, see `common_origin`.
        reuse: Seconds for which the releases that were read for one project serve others.
        cache: Where the releases are remembered, see `GitHubUpstream`.
    """

    token_file: str | None = None
    common: Origin | None = None
    reuse: float = 60.0
    cache: DiskCache | None = None


def make_client(
    word: str,
    reactor: Any,
    *,
    options: RepositoryOptions,
    absent_on_403: bool = False,
    **common: Unpack[ClientArguments],
) -> UpstreamClient:
    """
    Make the client of an upstream.

    Args:
        word: A URL, or a repository such as `github:OWNER/REPO`, perhaps with a slash at its end.
        reactor: Twisted's reactor.
        options: For repositories.
        absent_on_403: See `HTTPUpstream`; of no meaning for repositories.
        **common: See `ClientArguments`.

    Raises:
        ConfigurationError: It cannot be used.
    """
    if not is_repository(word):
        return HTTPUpstream(word, reactor, absent_on_403=absent_on_403, **common)
    # A server without such an upstream is to start without this.
    from twisted_index.backends.upstream.github import GitHubUpstream
    from twisted_index.github.api import GitHubAPI

    try:
        repository = parse_repository(word)
    except ValueError as error:
        raise ConfigurationError(f"An upstream cannot be used: {error}.") from None
    token = repository_token(repository, common["environ"], options)
    api = GitHubAPI(repository, reactor, token=token, **common)
    return GitHubUpstream(api, reuse=options.reuse, worker=common["worker"], cache=options.cache)


def repository_token(
    repository: Repository, environ: Mapping[str, str], options: RepositoryOptions
) -> TokenSource:
    """Return where the token for a repository comes from."""
    has_common = options.common == origin_of(repository.api)
    return token_source(repository, environ, file=options.token_file, has_common=has_common)


def common_origin(words: Iterable[str]) -> Origin | None:
    """
    Return the origin of the API for which a token is that names none, such as that in GITHUB_TOKEN.

    A token is for one API, and another must not get to know it. So among repositories of several APIs it is
    api.github.com, which GITHUB_TOKEN is for in most places, or none.

    Args:
        words: The upstreams, also those that are no repositories.
    """
    origins = {origin_of(parse_repository(word).api) for word in words if is_repository(word)}
    if len(origins) == 1:
        return next(iter(origins))
    return _GITHUB if _GITHUB in origins else None
