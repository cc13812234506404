"""
Requests to a releases API: with the token, not while the API wants none, with errors as sentences.

Out of scope: what its documents mean (see `model`), lists that change while they are read (see `paging`).
"""

from __future__ import annotations

import json as json_format
import math
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from twisted.web.http_headers import Headers

from twisted_index.errors import BadGateway, SimpleIndexError, Unavailable
from twisted_index.github.links import parse_links
from twisted_index.github.model import parse_items, parse_json, parse_object
from twisted_index.github.paging import MAX_REQUESTS, Page, PagedList, until_steady
from twisted_index.github.refusals import APIBusy, read_refusal
from twisted_index.github.repository import Forge
from twisted_index.http_client.client import HTTPClient
from twisted_index.http_client.egress import EgressPolicy
from twisted_index.http_client.limits import ClientLimits
from twisted_index.http_client.retry import Denied, TemporaryFailure
from twisted_index.http_client.tls import CHECKED, TLSOptions
from twisted_index.http_client.urls import InvalidURL, normalize_url, origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred
    from twisted.web.iweb import IBodyProducer

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.github.repository import Repository
    from twisted_index.github.token import TokenSource
    from twisted_index.http_client.client import HTTPResponse
    from twisted_index.http_client.outcomes import Outcomes

T = TypeVar("T")

#: Statuses that come of the way to the API: a proxy's (RFC 9110 section 15.5.8), and a loop's (RFC 5842).
_NOT_OF_THE_API = (407, 508)
#: Bytes of an error document.
_MAX_REFUSAL = 64 * 1024
#: Seconds for the response to an upload: it comes after the last byte of the body.
_UPLOAD_HEAD = 24 * 3600.0
#: The version of GitHub's API.
_VERSION = b"2022-11-28"
_MAX_VALIDATOR = 512  # bytes of an ETag; longer ones are ignored
#: Items of a page. More are not given by GitHub; Forgejo gives 50.
PAGE_SIZE = 100


class StorageRefusal(Denied):
    """The server that the API redirects to refuses a request."""


class _Rest(NamedTuple):
    """The time in which the API wants no requests, and for which token."""

    until: float
    token: bytes | None
    message: str


class GitHubAPI:
    """
    The releases API of one repository.

    Args:
        repository: The repository.
        reactor: Twisted's reactor.
        environ: Environment variables that name proxies and certificates.
        token: The token, which is sent to the API's own origins only.
        worker: Threads that parse documents.
        instance: This server's pseudonym in Via.
        allow_addresses: Addresses and networks allowed in addition to `EgressPolicy`'s.
        limits: See `ClientLimits`.
        jitter: Returns a number from 0 to 1 to vary a delay.
        wall: Returns seconds since the epoch.
        tls: See `TLSOptions`.

    Attributes:
        repository: The repository.
        outcomes: What became of its requests.
        sends_links: Whether a response had a Link field, so that a page without one is the last.

    Raises:
        ConfigurationError: An address or the environment cannot be used.
    """

    def __init__(
        self,
        repository: Repository,
        reactor: Any,
        *,
        environ: Mapping[str, str],
        token: TokenSource,
        worker: IThreadRunner,
        instance: str,
        allow_addresses: Sequence[str] = (),
        limits: ClientLimits | None = None,
        jitter: Callable[[], float] = random.random,
        wall: Callable[[], float] = time.time,
        tls: TLSOptions = CHECKED,
    ) -> None:
        self.repository = repository
        self._reactor = reactor
        self._token = token
        self._worker = worker
        self._wall = wall
        own, *others = repository.origins
        self._client = HTTPClient(
            own,
            reactor,
            "releases API",
            environ=environ,
            egress_policy=EgressPolicy(own, allow_addresses),
            credentials=token,
            own_too=others,
            via=b"1.1 " + instance.encode("ascii"),
            limits=limits or ClientLimits(),
            jitter=jitter,
            wall=wall,
            tls=tls,
            refusal=self._refusal,
        )
        self._rest: _Rest | None = None
        self._is_closed = False
        self.sends_links = False

    @property
    def outcomes(self) -> Outcomes:
        """What became of its requests."""
        return self._client.outcomes

    @property
    def has_token(self) -> bool:
        """Whether requests have a token now."""
        return self._token.current() is not None

    def seconds(self) -> float:
        """Return monotonic seconds."""
        return float(self._reactor.seconds())

    def close(self) -> Deferred[None]:
        """Close persistent connections; no request begins any more, also none of a list half read."""
        self._is_closed = True
        return self._client.close()

    # -- Reading

    async def get(self, url: str) -> dict[str, Any] | None:
        """
        Request a document.

        Args:
            url: Its URL at the API.

        Returns:
            The JSON object; None if there is none (404 and 410), or if the token has no right to read it.

        Raises:
            BadGateway: The response cannot be used; `APIRefusal` if the API says so.
            Unavailable: The API is unreachable or too slow, or wants no requests now.
        """
        page = await self.page(url, lambda content: (parse_object(content),))
        return None if page is None else page.items[0]

    async def page(
        self, url: str, parse: Callable[[bytes], tuple[T, ...]], known: Page[T] | None = None
    ) -> Page[T] | None:
        """
        Request a page of a list.

        Args:
            url: Its URL at the API.
            parse: Makes its items of its bytes, in a thread.
            known: The page as it was; if it has the same items, these very objects are returned.

        Returns:
            As for `get`.

        Raises:
            BadGateway: As for `get`, or the page links to another server.
            Unavailable: As for `get`.
        """
        url = self.repository.own_url(url)
        return await self._client.call(lambda: self._page(url, parse, known))

    async def walk(self, url: str) -> tuple[Any, ...]:
        """
        Read a whole list.

        Args:
            url: Its URL at the API, without a query.

        Returns:
            Its items, as JSON.

        Raises:
            BadGateway: As for `page`, or there is no such list.
            Unavailable: As for `page`, or the list changes each time that it is read.
        """

        async def read(page_url: str) -> Page[Any] | None:
            return await self.page(page_url, parse_items)

        async def read_list() -> tuple[Any, ...]:
            first = await read(self.list_url(url))
            if first is None:
                raise self.absent()
            pages = PagedList(read, first, lambda item: item.get("id") if isinstance(item, dict) else None)
            await pages.read()
            if not pages.is_certain:
                await pages.verify(MAX_REQUESTS - len(pages.pages))
            return pages.items

        return await until_steady(read_list)

    def list_url(self, url: str, *, size: int = PAGE_SIZE, number: int = 1) -> str:
        """Return the URL of a page of a list."""
        name = "limit" if self.repository.forge is Forge.FORGEJO else "per_page"
        return f"{url}?{name}={size}" + (f"&page={number}" if number > 1 else "")

    async def stream(self, url: str, headers: Headers) -> HTTPResponse | None:
        """
        Request the bytes of a file, and follow redirects; see `HTTPClient.stream`, and `asset_bytes`.

        Args:
            url: Any URL; the token is sent to the API's own origins only.
            headers: As for `HTTPClient.stream`.
        """
        try:
            return await self._client.retrying(lambda: self._stream(url, headers))
        except StorageRefusal:  # its signed URLs expire; the API makes a new one
            return await self._client.retrying(lambda: self._stream(url, headers))

    def absent(self) -> BadGateway:
        """Return the error for a repository that the API does not have, or not for us."""
        api, forge = self.repository.api, self.repository.forge
        unused = self._token.unused
        without = f"it is private and no token is configured{unused and f', as {unused}'}"
        reason = "the token may not read it" if self.has_token else without
        usual = "/api/v1" if forge is Forge.FORGEJO else "/api/v3"
        is_unusual = len(self.repository.origins) == 1 and not api.endswith(usual)
        advice = f" The API's path is usually {usual}." if is_unusual else ""
        return BadGateway(f"The releases API has no such repository, or {reason} (404).{advice}")

    # -- Changing

    async def send(
        self,
        method: str,
        url: str,
        *,
        json: object = None,
        body: IBodyProducer | None = None,
        headers: Headers | None = None,
    ) -> Any:
        """
        Send a request that changes something, once.

        Args:
            method: The method in upper case.
            url: At one of the API's own origins.
            json: A document to send; None for none.
            body: A body to send in its place.
            headers: In addition to the usual ones.

        Returns:
            The document of the response; None without one.

        Raises:
            APIRefusal: The API refuses it, with the status code and its own words.
            BadGateway: The URL is at another server, or the response cannot be used.
            Unavailable: As for `get`; the change may have been made.
        """
        url, fields = self.repository.own_url(url), self._fields()
        for name, values in (headers or Headers()).getAllRawHeaders():
            fields.setRawHeaders(name, values)
        content: bytes | IBodyProducer | None = body
        if json is not None:
            content = json_format.dumps(json).encode()
            fields.setRawHeaders(b"Content-Type", [b"application/json"])
        self._require_no_rest()
        head = None if body is None else _UPLOAD_HEAD
        response = await self._client.request(method, url, fields, content, head=head)
        if not 200 <= response.status < 300:
            raise await self._refusal(response)
        answer = await response.body.read()
        return await self._worker.run(parse_json, answer) if answer.strip() else None

    # -- Single requests

    async def _page(
        self, url: str, parse: Callable[[bytes], tuple[T, ...]], known: Page[T] | None
    ) -> Page[T] | None:
        self._require_no_rest()
        etag = None if known is None else known.etag
        fields = self._fields(b"gzip")
        if etag is not None:
            fields.setRawHeaders(b"If-None-Match", [etag.encode("latin-1", "replace")])
        response = await self._client.get(url, fields)
        if response is None:
            return None
        if origin_of(response.url) not in self.repository.origins:
            response.body.abort()
            raise BadGateway("The releases API redirects to another server.")
        if response.status == 304:
            response.body.drain()
            if known is None or etag is None:
                raise BadGateway("The releases API sent 304 to an unconditional request.")
            return self._with_links(known, response)
        if response.status != 200:
            response.body.abort()
            raise self._client.unexpected_status(response)
        content = await response.body.read()
        items = await self._worker.run(_parse, content, parse, None if known is None else known.items)
        etag = _validator(response.header(b"ETag"))
        total = _total(response.header(b"X-Total-Count"))
        return self._with_links(Page(url=url, items=items, etag=etag, links={}, total=total), response)

    def _with_links(self, page: Page[T], response: HTTPResponse) -> Page[T]:
        """Return a page with the links of a response; a 304 may have none, and then they are as they were."""
        values = [value.decode("latin-1") for value in response.headers.getRawHeaders(b"Link", [])]
        if not values:
            return page
        self.sends_links = True
        links = parse_links(values, response.url, self.repository)
        return replace(page, links=links, is_linked=True)

    async def _stream(self, url: str, headers: Headers) -> HTTPResponse | None:
        if self._is_own(url):  # others have no such limit
            self._require_no_rest()
        return await self._client.stream(url, headers)

    def _fields(self, coding: bytes = b"identity") -> Headers:
        fields = Headers({b"Accept": [b"application/json"], b"Accept-Encoding": [coding]})
        if self.repository.forge is Forge.GITHUB:
            fields.setRawHeaders(b"Accept", [b"application/vnd.github+json"])
            fields.setRawHeaders(b"X-GitHub-Api-Version", [_VERSION])
        return fields

    def _is_own(self, url: str) -> bool:
        try:
            return origin_of(normalize_url(url)) in self.repository.origins
        except InvalidURL:
            return False

    # -- Refusals

    async def _refusal(self, response: HTTPResponse) -> Exception:
        """Return the error for an error status; the API's own says more than that of a storage."""
        if origin_of(response.url) not in self.repository.origins or response.status in _NOT_OF_THE_API:
            response.body.drain()
            if response.status in (401, 403):
                # Our token is not for it.
                return StorageRefusal(
                    f"The server with the files of the releases refused the request ({response.status})."
                )
            return self._client.refusal(response)
        if 300 <= response.status < 400:
            response.body.drain()
            return BadGateway("The releases API redirects: the repository may have another name now.")
        token = self._token.current()
        error = read_refusal(
            response.status,
            response.header,
            await _read_refusal_body(response),
            token=None if token is None else token.token,
            now=self._wall(),
        )
        if isinstance(error, APIBusy) and error.rest is not None:
            until = self.seconds() + error.rest
            self._rest = _Rest(until, None if token is None else token.token, error.message)
        return error

    def _require_no_rest(self) -> None:
        """
        Check that requests are wanted: those that are not may make the time longer.

        Raises:
            TemporaryFailure: They are not.
            Unavailable: The server is stopping.
        """
        if self._is_closed:
            raise Unavailable("The server is stopping.")
        token = self._token.current()
        if self._rest is None or self._rest.token != (None if token is None else token.token):
            return
        left = math.ceil(self._rest.until - self.seconds())
        if left > 0:
            raise TemporaryFailure(self._rest.message, left)
        self._rest = None


def _parse(
    content: bytes, parse: Callable[[bytes], tuple[T, ...]], known: tuple[T, ...] | None
) -> tuple[T, ...]:
    """Parse a page; in a thread, where it is compared too: equal items are the known ones themselves."""
    items = parse(content)
    return known if known is not None and known == items else items


async def _read_refusal_body(response: HTTPResponse) -> bytes:
    response.body.limit = _MAX_REFUSAL
    try:
        return await response.body.read()
    except SimpleIndexError:
        return b""


def _total(value: str) -> int | None:
    """Read the number of items of a list, which Forgejo states."""
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None


def _validator(value: str) -> str | None:
    return value if value and len(value) <= _MAX_VALIDATOR and value.isprintable() else None
