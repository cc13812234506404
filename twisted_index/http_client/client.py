"""
Requests to one server, by treq: time-outs, retries, redirects, public errors.

Out of scope: header fields, connections and size limits (see `agent`).
"""

from __future__ import annotations

import random
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger

from twisted_index.errors import BadGateway, LoopDetected, SimpleIndexError, Unavailable
from twisted_index.http_client.agent import BoundedAgent, UpstreamAgent
from twisted_index.http_client.body import UNLIMITED
from twisted_index.http_client.egress import AddressRefused
from twisted_index.http_client.outcomes import Outcomes
from twisted_index.http_client.public_errors import failure_reason, proxy_error, public_error
from twisted_index.http_client.retry import BUSY_STATUSES, Denied, TemporaryFailure, retry_after, retrying
from twisted_index.http_client.tls import CHECKED, TLSOptions, Untrusted
from twisted_index.http_client.urls import InvalidURL, is_downgrade, normalize_url, origin_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping

    from twisted.web.http_headers import Headers
    from twisted.web.iweb import IBodyProducer

    from twisted_index.http_client.body import BoundedBody
    from twisted_index.http_client.credentials import ICredentials
    from twisted_index.http_client.egress import EgressPolicy
    from twisted_index.http_client.limits import ClientLimits
    from twisted_index.http_client.urls import Origin

T = TypeVar("T")

_log = Logger()

_MAX_REDIRECTS = 5  # as curl's manual advises; more than any index needs

#: Statuses of resources that do not exist.
ABSENT_STATUSES = (404, 410)
_REDIRECTS = (301, 302, 303, 307, 308)


class HTTPResponse(NamedTuple):
    """A response: its URL after all redirects, status, header fields, body and reason phrase."""

    url: str
    status: int
    headers: Headers
    body: BoundedBody
    reason: bytes = b""

    def header(self, name: bytes) -> str:
        """Return the first value of a field; empty without it."""
        return self.headers.getRawHeaders(name, [b""])[0].decode("latin-1").strip()


class HTTPClient:
    """
    A client of one server.

    Args:
        own_origin: The server's origin.
        reactor: Twisted's reactor.
        peer: Description of the server in errors.
        environ: Environment variables that name proxies and certificates.
        egress_policy: Decides which addresses may be connected to; None allows all.
        credentials: Credentials for the server's origin.
        own_too: Further origins of the same server, which get the credentials.
        via: This server's entry in Via; None if it is not acting as a proxy.
        limits: See `ClientLimits`.
        persistent: Whether connections are reused.
        jitter: Returns a number from 0 to 1 to vary a delay.
        wall: Returns seconds since the epoch.
        tls: See `TLSOptions`.
        refusal: Makes the error for an error status, in place of `refusal`; it has to read or drain the body.

    Attributes:
        outcomes: What became of its requests.

    Raises:
        ConfigurationError: The environment cannot be used.
    """

    def __init__(
        self,
        own_origin: Origin,
        reactor: Any,
        peer: str = "server",
        *,
        environ: Mapping[str, str],
        egress_policy: EgressPolicy | None,
        credentials: ICredentials | None = None,
        own_too: Collection[Origin] = (),
        via: bytes | None = None,
        limits: ClientLimits,
        persistent: bool = True,
        jitter: Callable[[], float] = random.random,
        wall: Callable[[], float] = time.time,
        tls: TLSOptions = CHECKED,
        refusal: Callable[[HTTPResponse], Awaitable[Exception]] | None = None,
    ) -> None:
        self._own = own_origin
        self._refuse = refusal or self._drained_refusal
        self._wall = wall
        self._reactor = reactor
        self._peer = peer
        self._limits = limits
        self._jitter = jitter
        self._credentials = credentials
        self._connections = UpstreamAgent(
            reactor,
            own_origin,
            egress_policy=egress_policy,
            environ=environ,
            timeout=limits.connect,
            persistent=persistent,
            tls=tls,
        )
        self._agent = BoundedAgent(
            self._connections,
            reactor,
            peer=peer,
            idle=limits.idle,
            limit=limits.max_body,
            credentials={} if credentials is None else dict.fromkeys((own_origin, *own_too), credentials),
            via=via,
        )
        self.outcomes = Outcomes()
        self._treq: Any = None
        self._requests = DeferredSemaphore(limits.parallel)
        self._streams = DeferredSemaphore(limits.files)

    @property
    def _has_account(self) -> bool:
        return self._credentials is not None and self._credentials.current() is not None

    def close(self) -> Deferred[None]:
        """Close persistent connections."""
        return self._connections.close()

    def call(self, ask: Callable[[], Coroutine[Any, Any, T]], within: float | None = None) -> Deferred[T]:
        """Run `ask` with retries, within so many seconds, in one of the limited parallel slots."""

        async def run() -> T:
            await self._acquire(self._requests, self._limits.queue)
            try:
                return await self.retrying(ask)
            finally:
                self._requests.release()

        return self.with_timeout(run(), within)

    def with_timeout(self, work: Coroutine[Any, Any, T], within: float | None = None) -> Deferred[T]:
        """Cancel work after so many seconds; by default, the total time limit."""
        seconds = self._limits.total if within is None else within
        return Deferred.fromCoroutine(work).addTimeout(seconds, self._reactor, self._too_slow)

    async def retrying(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Run `ask`, with retries."""
        limits = self._limits
        return await retrying(
            ask,
            self._reactor,
            tries=limits.tries,
            back_off=limits.back_off,
            longest_rest=limits.retry_after,
            jitter=lambda: 1 + self._jitter() / 2,
        )

    async def stream(self, url: str, headers: Headers) -> HTTPResponse | None:
        """
        `get` without a size limit; the body occupies one of the stream slots until its end.

        A content coding is accepted, and reported by `BoundedBody.coding`.
        """
        await self._acquire(self._streams, self._limits.file_queue)
        response = None
        try:
            response = await self.get(url, headers, coded=True, head=self._limits.file_head)
        finally:
            if response is None:
                self._streams.release()
        if response is not None:
            response.body.limit, response.body.on_finished = UNLIMITED, self._streams.release
        return response

    async def get(
        self,
        url: str,
        headers: Headers,
        answers: Collection[int] = (),
        *,
        coded: bool = False,
        head: float | None = None,
    ) -> HTTPResponse | None:
        """
        GET a URL, and follow redirects.

        Args:
            url: The http or https URL, not normalized.
            headers: In addition to those that the agent sets.
            answers: Other statuses whose response is returned, without its body.
            coded: Whether the body may have an unrequested content coding.
            head: See `request`.

        Returns:
            A response with status 200 (also for 203, which a proxy sends for modified content), 206 or
            304; None for 404 and 410.

        Raises:
            BadGateway: The response cannot be used.
            Unavailable: The server is unreachable, too slow, or sent a temporary error status.
            LoopDetected: The server responded with 508.
        """
        try:
            url = normalize_url(url)
        except InvalidURL as error:
            raise BadGateway(f"The {self._peer} sent a URL that cannot be requested: {error}.") from None
        seen = {url}
        while True:
            response = await self.request("GET", url, headers, head=head)
            if response.status in (200, 206, 304):
                return self._require_uncoded(response, coded)
            if response.status not in _REDIRECTS:
                break
            response.body.drain()
            url = self._target(response)
            if url in seen:
                raise BadGateway(f"The {self._peer} redirects in a loop.")
            if len(seen) > _MAX_REDIRECTS:
                raise BadGateway(f"The {self._peer} redirects more than {_MAX_REDIRECTS} times.")
            seen.add(url)
        if response.status in answers or response.status in ABSENT_STATUSES:
            response.body.drain()
            return response if response.status in answers else None
        raise await self._refuse(response)

    async def request(
        self,
        method: str,
        url: str,
        headers: Headers,
        content: bytes | IBodyProducer | None = None,
        *,
        head: float | None = None,
    ) -> HTTPResponse:
        """
        Send one request, and wait for the head of its response, whatever its status.

        Args:
            method: The method in upper case.
            url: A normalized URL.
            headers: In addition to those that the agent sets.
            content: The request body.
            head: Seconds for the response head; defaults to that of the limits.

        Raises:
            BadGateway: The response cannot be used.
            Unavailable: The server is unreachable or too slow.
        """
        from twisted_index.http_client.treq_client import ExactURL, client_over

        if self._treq is None:
            self._treq = client_over(self._agent)
        try:
            requesting = self._treq.request(
                method,
                ExactURL(url),
                headers=headers,
                data=content,
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
            seconds = (self._limits.head if head is None else head) + self._limits.connect
            treq_response = await requesting.addTimeout(seconds, self._reactor, self._no_head)
        except AddressRefused:
            self.outcomes.failed("forbidden")
            _log.warn(
                "{own} redirects or links to {origin}, at a forbidden address",
                own=self._own,
                origin=origin_of(url),
            )
            raise BadGateway(f"The {self._peer} redirects or links to a forbidden address.") from None
        except Exception as error:
            reason = failure_reason(error)
            if reason is not None:
                self.outcomes.failed(reason)
            raise self._failure(error, url) from None
        body: BoundedBody = treq_response.original.body
        body.on_broken = lambda: self.outcomes.failed("body")
        self.outcomes.responded(treq_response.code)
        phrase: bytes = treq_response.original.phrase
        return HTTPResponse(url, body.status, treq_response.headers, body, phrase)

    def _require_uncoded(self, response: HTTPResponse, coded: bool) -> HTTPResponse:
        """Refuse a response with an unrequested content coding."""
        if response.body.coding and not coded:
            response.body.abort()
            raise BadGateway(f"The {self._peer} sent an unrequested content coding.")
        return response

    def _failure(self, error: Exception, url: str) -> Exception:
        """Return the error that clients see, and log the details for the operator."""
        proxy = self._connections.proxy_for_url(url)
        public = public_error(error, self._peer, proxied=proxy is not None)
        if isinstance(public, Untrusted):
            _log.warn("{reason}", reason=self._connections.explain_tls(url))
        if proxy is not None and isinstance(public, SimpleIndexError):
            _log.warn(
                "Requests to {origin} go through the proxy {proxy}: {error}",
                origin=origin_of(url),
                proxy=proxy.origin,
                error=public.message,
            )
        return public

    async def _acquire(self, slots: DeferredSemaphore, seconds: float) -> None:
        await slots.acquire().addTimeout(seconds, self._reactor, self._too_many)

    # -- Statuses

    def _target(self, response: HTTPResponse) -> str:
        """Return the target of a redirect."""
        location = _text(response.headers.getRawHeaders(b"Location", [b""])[0]).strip()
        if not location:
            raise BadGateway(f"The {self._peer} redirects without Location.")
        try:
            target = normalize_url(location, base=response.url, may_have_user=True)
        except InvalidURL as error:
            raise BadGateway(
                f"The {self._peer} redirects to a URL that cannot be requested: {error}."
            ) from None
        if is_downgrade(response.url, target):
            raise BadGateway(f"The {self._peer} redirects from https to http.")
        return target

    async def _drained_refusal(self, response: HTTPResponse) -> Exception:
        response.body.drain()
        return self.refusal(response)

    def refusal(self, response: HTTPResponse) -> Exception:
        """Return the error for an error status, of which the body tells nothing."""
        code, peer = response.status, self._peer
        if code in BUSY_STATUSES:
            now = response.header(b"Date") or formatdate(self._wall(), usegmt=True)
            delay = retry_after(response.header(b"Retry-After"), now)
            return TemporaryFailure(f"The {peer} is temporarily unavailable ({code}).", delay)
        if code == 407:
            return proxy_error("407", peer)
        if code in (401, 403):
            _log.warn("{origin} responded with {code}", origin=origin_of(response.url), code=code)
            if self._has_account and origin_of(response.url) == self._own:
                return Denied(f"The {peer} rejected our user and password ({code}).")
            if self._has_account:
                return Denied(
                    f"The {peer} redirects or links to another server, which requires a user and a password;"
                    f" ours are only for the {peer} ({code})."
                )
            return Denied(f"The {peer} requires a user and a password, and none are configured ({code}).")
        if code == 508:
            return LoopDetected("The request looped back to a server on its way upstream.")
        return self.unexpected_status(response)

    def unexpected_status(self, response: HTTPResponse) -> BadGateway:
        """Return the error for an unexpected status."""
        return (Denied if 400 <= response.status < 500 else BadGateway)(
            f"The {self._peer} sent unexpected status {response.status}."
        )

    # -- Time-outs

    def _too_slow(self, _result: object, seconds: float) -> NoReturn:
        raise Unavailable(f"The {self._peer} did not respond within {seconds:g} seconds.")

    def _no_head(self, _result: object, seconds: float) -> NoReturn:
        raise TemporaryFailure(f"The {self._peer} did not start to respond within {seconds:g} seconds.")

    def _too_many(self, _result: object, _seconds: float) -> NoReturn:
        _log.warn("All slots for requests to {own} are in use: further requests time out", own=self._own)
        raise Unavailable(f"Too many other requests are waiting for the {self._peer}.")


def _text(octets: bytes) -> str:
    """Decode a URL with unescaped octets; most servers send UTF-8."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")
