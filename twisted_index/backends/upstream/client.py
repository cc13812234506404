"""
Client of another index: pages, documents, files, and metadata by range requests.

It trusts no response, and sends credentials only to their origin. Out of scope: single requests (see
`http_client`), caching (see `page_cache`, `file_cache`).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from zope.interface import implementer

from twisted_index.backends.upstream.api_check import MAX_ROOT, APICheck, is_not_project_list
from twisted_index.backends.upstream.file_response import (
    file_body,
    file_headers,
    request_metrics,
    require_complete,
    whole_document,
)
from twisted_index.backends.upstream.lazy_wheel import read_remote_metadata
from twisted_index.backends.upstream.page_parser import ACCEPT, parse_page
from twisted_index.backends.upstream.project_list_parser import MAX_LIST, parse_project_list
from twisted_index.backends.upstream.remote import NOT_MODIFIED
from twisted_index.errors import BadGateway
from twisted_index.http_client.agent import USER_AGENT
from twisted_index.http_client.body import MemoryBudget
from twisted_index.http_client.client import ABSENT_STATUSES, HTTPClient
from twisted_index.http_client.credentials import NetrcCredentials, split_userinfo
from twisted_index.http_client.egress import EgressPolicy
from twisted_index.http_client.limits import ClientLimits
from twisted_index.http_client.retry import Denied
from twisted_index.http_client.tls import CHECKED, TLSOptions
from twisted_index.http_client.urls import origin_of
from twisted_index.interfaces import ILifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from twisted_index.backends.upstream.remote import NotModified, RemoteFile, RemotePage, ResponseStream
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.http_client.body import BoundedBody
    from twisted_index.http_client.client import HTTPResponse

#: Time limit in seconds for small documents, and for metadata by range requests.
_TIMEOUT = 60.0
# devpi without `+simple/` in its URL serves pages to pip and uv only, and 404 to other clients.
_USER_AGENT = USER_AGENT + b" (like pip/26.0)"
_MAX_VALIDATOR = 512  # bytes of an ETag or a date; longer ones are ignored


@implementer(ILifecycle)
class HTTPUpstream:
    """
    An upstream index over HTTP; provides `IUpstreamClient`.

    Args:
        url: URL of its simple API; credentials in it are sent to its origin only.
        reactor: Twisted's reactor.
        worker: Threads that parse pages.
        environ: Environment variables that name proxies, certificates and the netrc file.
        instance: This server's pseudonym in Via, by which it detects loops.
        allow_addresses: Addresses and networks allowed in addition to `EgressPolicy`'s.
        limits: See `ClientLimits`.
        jitter: Returns a number from 0 to 1 to vary a delay.
        tls: See `TLSOptions`.
        absent_on_403: Whether 403 for a page means "no such project", as from object stores.

    Raises:
        ConfigurationError: The URL, an address or the environment cannot be used.
    """

    is_immutable = False
    lists_digests = False

    def __init__(
        self,
        url: str,
        reactor: Any,
        *,
        worker: IThreadRunner,
        environ: Mapping[str, str],
        instance: str,
        allow_addresses: Sequence[str] = (),
        limits: ClientLimits | None = None,
        jitter: Callable[[], float] = random.random,
        tls: TLSOptions = CHECKED,
        absent_on_403: bool = False,
    ) -> None:
        self.url, account = split_userinfo(url)
        limits = limits or ClientLimits()
        own = origin_of(self.url)
        self._worker = worker
        self._client = HTTPClient(
            own,
            reactor,
            "upstream",
            environ=environ,
            egress_policy=EgressPolicy(own, allow_addresses),
            credentials=account or NetrcCredentials(self.url, environ),
            via=b"1.1 " + instance.encode("ascii"),
            limits=limits,
            jitter=jitter,
            tls=tls,
        )
        self._absent = (*ABSENT_STATUSES, 403) if absent_on_403 else ABSENT_STATUSES
        self._api_check = APICheck(self.url, self._check_root, reactor.seconds)
        # Room for one page of maximum size, or many of usual size.
        self._memory_budget = MemoryBudget(limits.max_body * 3 // 2)

    # -- IUpstreamClient

    def page(
        self, project: str, *, etag: str | None = None, modified: str | None = None
    ) -> Deferred[RemotePage | NotModified | None]:
        """Request a project page; see `IUpstreamClient`."""
        return self._client.call(lambda: self._page(project, etag, modified))

    def projects(self) -> Deferred[Mapping[str, int | None]]:
        """
        Request the list of all projects.

        Returns:
            Normalized names, each with the serial that the list states for it; None without one. Fails
            with BadGateway if there is no list.
        """
        return self._client.call(self._projects)

    def document(self, url: str, limit: int) -> Deferred[bytes | None]:
        """Fetch a small document; see `IUpstreamClient`."""
        return self._client.call(lambda: self._document(url, limit), _TIMEOUT)

    def fetch(
        self, url: str, *, first: int | None = None, last: int | None = None
    ) -> Deferred[ResponseStream | None]:
        """Request the bytes of a file; see `IUpstreamClient`."""
        return Deferred.fromCoroutine(self._client.retrying(lambda: self._fetch(url, first, last)))

    def metadata(self, file: RemoteFile, limit: int) -> Deferred[bytes | None]:
        """Read the metadata of a remote wheel; see `IUpstreamClient`."""
        return self._client.with_timeout(
            read_remote_metadata(self.fetch, file, limit, self._worker), _TIMEOUT
        )

    # -- Collector

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, see `prometheus_client.registry.Collector`."""
        # The path of a URL may contain a secret, as the user part does.
        return request_metrics(origin_of(self.url).authority, self._client.outcomes)

    # -- ILifecycle

    def start(self) -> None:
        """Do nothing: the first request opens a connection."""

    def stop(self) -> Deferred[None]:
        """Close persistent connections."""
        return self._client.close()

    # -- Pages and documents

    async def _page(
        self, project: str, etag: str | None, modified: str | None
    ) -> RemotePage | NotModified | None:
        headers = _page_headers()
        if etag is not None:
            headers.setRawHeaders(b"If-None-Match", [etag.encode("latin-1", "replace")])
        if modified is not None:
            headers.setRawHeaders(b"If-Modified-Since", [modified.encode("latin-1", "replace")])
        try:
            response = await self._client.get(f"{self.url}{quote(project)}/", headers, self._absent)
        except Denied:
            if etag is None and modified is None:
                raise
            # Some servers refuse conditional requests (412), or this validator (400), but have the page.
            return await self._page(project, None, None)
        assert response is not None
        if response.status in self._absent:
            await self._api_check.check_denial(project, response.url)
            return None
        if response.status == 304:
            response.body.drain()
            self._api_check.record_page(project)
            if etag is None and modified is None:
                raise BadGateway("The upstream sent 304 to an unconditional request.")
            return NOT_MODIFIED
        page = await self._read_page(project, require_complete(response))
        self._api_check.record_page(project)
        return page

    async def _check_root(self) -> bool | None:
        response = await self._client.get(self.url, _page_headers())
        if response is None:
            return None
        body = require_complete(response).body
        if body.length is not None and body.length > MAX_ROOT:
            body.abort()
            return False
        body.limit = MAX_ROOT
        content = await body.read()
        return await self._worker.run(is_not_project_list, response, content)

    async def _projects(self) -> Mapping[str, int | None]:
        response = await self._client.get(self.url, _page_headers())
        if response is None:
            raise BadGateway("The upstream has no list of projects.")
        body = require_complete(response).body
        body.limit = MAX_LIST
        content = await body.read()
        return await self._worker.run(
            parse_project_list,
            content,
            content_type=response.header(b"Content-Type"),
            url=response.url,
            whole=body.is_delimited,
        )

    async def _read_page(self, project: str, response: HTTPResponse) -> RemotePage:
        with self._memory_budget.reserve() as reserve:
            content = await response.body.read(reserve)
            return await self._worker.run(
                parse_page,
                project,
                content,
                content_type=response.header(b"Content-Type"),
                url=response.url,
                whole=response.body.is_delimited,
                etag=_validator(response.header(b"ETag")),
                modified=_validator(response.header(b"Last-Modified")),
                serial=_serial(response.header(b"X-PyPI-Last-Serial")),
            )

    async def _document(self, url: str, limit: int) -> bytes | None:
        response = await self._client.get(url, file_headers())
        return None if response is None else await whole_document(response, limit)

    async def _fetch(self, url: str, first: int | None, last: int | None) -> BoundedBody | None:
        response = await self._client.stream(url, file_headers(first, last))
        return None if response is None else file_body(response, first, last)


def _page_headers() -> Headers:
    return Headers({b"Accept": [ACCEPT], b"Accept-Encoding": [b"gzip"], b"User-Agent": [_USER_AGENT]})


def _serial(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None


def _validator(value: str) -> str | None:
    return value if value and len(value) <= _MAX_VALIDATOR and value.isprintable() else None
