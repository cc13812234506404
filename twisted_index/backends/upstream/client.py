"""
Client of another index: pages, documents, files, and metadata by range requests.

It trusts no response, and sends credentials only where they belong. Out of scope: single requests (see
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
from twisted_index.backends.upstream.lazy_wheel import read_remote_metadata
from twisted_index.backends.upstream.page_parser import ACCEPT, parse_page
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
from twisted_index.http_semantics.content_range import (
    format_range,
    parse_content_range,
    satisfies,
)
from twisted_index.interfaces import ILifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted_index.backends.upstream.remote import NotModified, RemoteFile, RemotePage, ResponseStream
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.http_client.body import BoundedBody
    from twisted_index.http_client.client import HTTPResponse

#: Seconds for what only saves fetching a whole wheel, and for other small documents.
_SHORT = 60.0
# devpi without `+simple/` in its URL has pages for pip and uv only, and 404 for other clients.
_USER_AGENT = USER_AGENT + b" (like pip/26.0)"
_MAX_VALIDATOR = 512  # bytes of an ETag or a date that is kept and sent back


@implementer(ILifecycle)
class HTTPUpstream:
    """
    An upstream index over HTTP; provides `IUpstreamClient`.

    Args:
        url: Of its simple API; a user and a password in it go to its origin only.
        reactor: Connects, resolves and counts the time.
        worker: Pages are read in its threads.
        environ: Names proxies, certificates and the netrc file.
        instance: What this server calls itself in Via, so that it knows its own requests.
        allow_addresses: Addresses and networks that it may lead to besides those that `Guard` allows.
        limits: See `ClientLimits`.
        jitter: Returns a number from 0 to 1 whenever a wait is varied.
        tls: How https is spoken, besides.
        absent_on_403: Whether 403 for a page says that there is no such project, as object stores do.

    Raises:
        ConfigurationError: The URL, an address or the environment cannot be used.
    """

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
        self._root = APICheck(self.url, self._look_at_root, reactor.seconds)
        # One of the largest pages at a time, or many of the usual size.
        self._memory = MemoryBudget(limits.max_body * 3 // 2)

    # -- What `IUpstreamClient` promises

    def page(
        self, project: str, *, etag: str | None = None, modified: str | None = None
    ) -> Deferred[RemotePage | NotModified | None]:
        """Ask for a project page; see `IUpstreamClient`."""
        return self._client.call(lambda: self._page(project, etag, modified))

    def document(self, url: str, limit: int) -> Deferred[bytes | None]:
        """Fetch a small document; see `IUpstreamClient`."""
        return self._client.call(lambda: self._document(url, limit), _SHORT)

    def fetch(
        self, url: str, *, first: int | None = None, last: int | None = None
    ) -> Deferred[ResponseStream | None]:
        """Ask for the bytes of a file; see `IUpstreamClient`."""
        return Deferred.fromCoroutine(self._client.retrying(lambda: self._fetch(url, first, last)))

    def metadata(self, file: RemoteFile, limit: int) -> Deferred[bytes | None]:
        """Read the metadata out of a wheel; see `IUpstreamClient`."""
        return self._client.with_timeout(read_remote_metadata(self.fetch, file, limit, self._worker), _SHORT)

    # -- What `ILifecycle` promises

    def start(self) -> None:
        """Begin nothing: connections are made when there is something to ask."""

    def stop(self) -> Deferred[None]:
        """Close the connections that are kept open."""
        return self._client.close()

    # -- Pages and documents

    async def _page(
        self, project: str, etag: str | None, modified: str | None
    ) -> RemotePage | NotModified | None:
        headers = _for_pages()
        if etag is not None:
            headers.setRawHeaders(b"If-None-Match", [etag.encode("latin-1", "replace")])
        if modified is not None:
            headers.setRawHeaders(b"If-Modified-Since", [modified.encode("latin-1", "replace")])
        try:
            answer = await self._client.get(f"{self.url}{quote(project)}/", headers, self._absent)
        except Denied:
            if etag is None and modified is None:
                raise
            # Some servers refuse conditions (412), or such as ours (400), and have the page all the same.
            return await self._page(project, None, None)
        assert answer is not None
        if answer.status in self._absent:
            await self._root.check_denial(project, answer.url)
            return None
        if answer.status == 304:
            answer.body.drain()
            self._root.record_page(project)
            if etag is None and modified is None:
                raise BadGateway("The upstream says that nothing has changed, and was not asked that.")
            return NOT_MODIFIED
        page = await self._read_page(project, self._complete(answer))
        self._root.record_page(project)
        return page

    async def _look_at_root(self) -> bool | None:
        answer = await self._client.get(self.url, _for_pages())
        if answer is None:
            return None
        body = self._complete(answer).body
        if body.length is not None and body.length > MAX_ROOT:
            body.abort()
            return False
        body.limit = MAX_ROOT
        content = await body.read()
        return await self._worker.run(is_not_project_list, answer, content)

    async def _read_page(self, project: str, answer: HTTPResponse) -> RemotePage:
        with self._memory.reserve() as reserve:
            content = await answer.body.read(reserve)
            return await self._worker.run(
                parse_page,
                project,
                content,
                content_type=answer.header(b"Content-Type"),
                url=answer.url,
                whole=answer.body.is_delimited,
                etag=_validator(answer.header(b"ETag")),
                modified=_validator(answer.header(b"Last-Modified")),
            )

    async def _document(self, url: str, limit: int) -> bytes | None:
        answer = await self._client.get(url, _as_they_are())
        if answer is None:
            return None
        body = self._complete(answer).body
        body.limit = limit
        document = await body.read()
        if not body.is_delimited:
            raise BadGateway("The upstream does not say where this document ends, so it may be a part of it.")
        return document

    def _complete(self, answer: HTTPResponse) -> HTTPResponse:
        """Refuse an answer that is not the whole of what was asked for."""
        if answer.status != 200:
            answer.body.abort()
            raise self._client.unexpected_status(answer)
        return answer

    # -- Files

    async def _fetch(self, url: str, first: int | None, last: int | None) -> BoundedBody | None:
        headers = _as_they_are()
        wanted = format_range(first, last)
        if wanted is not None:
            headers.setRawHeaders(b"Range", [wanted])
        answer = await self._client.stream(url, headers)
        if answer is None:
            return None
        try:
            answer.body.total = self._check_file(answer, first, last)
        except BadGateway:
            answer.body.abort()
            raise
        return answer.body

    def _check_file(self, answer: HTTPResponse, first: int | None, last: int | None) -> int | None:
        """
        Check the head of a file.

        Returns:
            The bytes of the whole file; None if the upstream does not say.
        """
        length = answer.body.length
        if answer.status == 200:
            return length
        if answer.status != 206:
            raise self._client.unexpected_status(answer)
        found = parse_content_range(answer.header(b"Content-Range"))
        if found is None or not satisfies(found, first, last):
            raise BadGateway("The upstream sends another part of the file than it was asked for.")
        if length is not None and length != found.last - found.first + 1:
            raise BadGateway("The upstream contradicts itself about the length of its answer.")
        return found.total


def _for_pages() -> Headers:
    return Headers({b"Accept": [ACCEPT], b"Accept-Encoding": [b"gzip"], b"User-Agent": [_USER_AGENT]})


def _as_they_are() -> Headers:
    return Headers({b"Accept": [b"*/*"], b"Accept-Encoding": [b"identity"]})


def _validator(value: str) -> str | None:
    return value if value and len(value) <= _MAX_VALIDATOR and value.isprintable() else None
