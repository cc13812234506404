"""
Asks another index over HTTP: pages, documents, files, and the metadata in the middle of files.

Nothing that comes is believed, and nothing of ours goes where it does not belong. Not for: keeping
what came (`pages`, `download`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar
from urllib.parse import quote

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error as connection_errors
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.logger import Logger
from twisted.web.http_headers import Headers
from zope.interface import implementer

from twisted_index.errors import BadGateway, LoopDetected, Unavailable
from twisted_index.interfaces import IRunning
from twisted_index.upstream.addresses import AddressRefused, Guard
from twisted_index.upstream.bodies import Allowance, Body, BrokenOff, Memory, discard, read_whole
from twisted_index.upstream.connecting import Connections
from twisted_index.upstream.credentials import account_from_netrc, split_account
from twisted_index.upstream.heads import EndlessHead
from twisted_index.upstream.lazymetadata import read_metadata
from twisted_index.upstream.origins import BadURL, clean_url, is_downgrade, origin_of
from twisted_index.upstream.proxies import ProxyRefused
from twisted_index.upstream.ranges import answers, parse_content_range, range_field
from twisted_index.upstream.reading import ACCEPT, read_page
from twisted_index.upstream.remote import NOT_MODIFIED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from twisted.web.iweb import IResponse

    from twisted_index.upstream.remote import Incoming, NotModified, RemoteFile, RemotePage
    from twisted_index.worker import Works

T = TypeVar("T")

_log = Logger()

_MAX_REDIRECTS = 5  # as many as curl's manual advises, and more than any index needs
_MAX_VALIDATOR = 512  # bytes of an ETag or a date that is kept and sent back
_MAX_REST = 120  # seconds; installers sleep as long as they are told to, without a word

#: Answers that may be others in a moment (RFC 9110 section 15.6, RFC 6585 section 4).
_BUSY = (429, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)

#: What web servers call the tar.gz that lies there, without having coded anything: its bytes are the
#: file's. Everything else that is coded is not what was asked for.
_OWN_CODINGS = {
    ".tar.gz": ("gzip", "x-gzip"),
    ".tgz": ("gzip", "x-gzip"),
    ".tar.bz2": ("bzip2", "x-bzip2"),
    ".tar.xz": ("xz", "x-xz"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """
    How long is waited for an upstream, how often it is asked, and how much is taken. Seconds, bytes.

    Attributes:
        connect: For a connection.
        head: From the request to the end of the answer's head, with the TLS handshake.
        idle: Without a byte of the body.
        total: For a whole page or document, with all that is tried.
        queue: For a place among the requests that may run.
        tries: Of one request.
        back_off: Before the second try; twice as long before the next, and up to half of it more.
        retry_after: An upstream that asks for a longer rest is not tried again.
        max_page: Of a page, as it comes and unpacked. The largest pages in the field, of projects
            with ten thousand files and more, have some ten million bytes; and Python makes ten
            times as much of a page while it is read.
        parallel: Requests at once, and as many files.
    """

    connect: float = 5.0
    head: float = 10.0
    idle: float = 20.0
    total: float = 60.0
    queue: float = 10.0
    tries: int = 3
    back_off: float = 0.25
    retry_after: float = 3.0
    max_page: int = 64 * 1024 * 1024
    parallel: int = 32


class _Answer(NamedTuple):
    """The head of an answer, and the URL that gave it, after all redirects."""

    url: str
    response: IResponse

    def field(self, name: bytes) -> str:
        """Give the first value of a field; empty without it."""
        values: list[bytes] = self.response.headers.getRawHeaders(name) or [b""]
        return values[0].decode("latin-1").strip()


class _Transient(Unavailable):
    """Another try may go well; after so many seconds, if the upstream said how many."""

    def __init__(self, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence, 5 if retry_after is None else min(retry_after, _MAX_REST))
        self.rest = retry_after


@implementer(IRunning)
class HTTPRemote:
    """
    An upstream index that is asked over HTTP; provides `Remote`.

    Args:
        url: Of its simple API; a user and a password in it are shown to nobody else.
        reactor: Connects, resolves and counts the time.
        worker: Pages are read in its threads.
        environ: Names proxies, certificates and the netrc file.
        instance: What this server calls itself in Via, so that it knows its own requests.
        addresses: Addresses and networks that it may lead to besides those that `Guard` allows.
        patience: See there.
        jitter: Gives a number from 0 to 1 whenever a rest is varied.

    Raises:
        ConfigurationError: The URL, an address or the environment cannot be used.
    """

    def __init__(
        self,
        url: str,
        reactor: Any,
        *,
        worker: Works,
        environ: Mapping[str, str],
        instance: str,
        addresses: Sequence[str] = (),
        patience: Patience | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.url, account = split_account(url)
        self.patience = patience or Patience()
        self._own = origin_of(self.url)
        self._account = account or account_from_netrc(self.url, environ)
        self._reactor = reactor
        self._worker = worker
        self._via = b"1.1 " + instance.encode("ascii")
        self._jitter = jitter
        guard = Guard(self._own, addresses)
        self._connections = Connections(reactor, guard, environ, self.patience.connect)
        self._requests = DeferredSemaphore(self.patience.parallel)
        self._files = DeferredSemaphore(self.patience.parallel)
        # One of the largest pages at a time, or many of the usual size.
        self._memory = Memory(self.patience.max_page * 3 // 2)

    # -- What `Remote` promises

    def page(
        self, project: str, *, etag: str | None = None, modified: str | None = None
    ) -> Deferred[RemotePage | NotModified | None]:
        """Ask for a project page; see `Remote`."""
        return self._in_time(lambda: self._page(project, etag, modified))

    def document(self, url: str, limit: int) -> Deferred[bytes | None]:
        """Fetch a small document; see `Remote`."""
        return self._in_time(lambda: self._document(url, limit))

    def fetch(
        self, url: str, *, first: int | None = None, last: int | None = None
    ) -> Deferred[Incoming | None]:
        """Ask for the bytes of a file; see `Remote`."""
        return Deferred.fromCoroutine(self._repeated(lambda: self._fetch(url, first, last)))

    def metadata(self, file: RemoteFile, limit: int) -> Deferred[bytes | None]:
        """Read the metadata out of a wheel; see `Remote`."""
        return Deferred.fromCoroutine(read_metadata(self.fetch, file, limit, self._worker)).addTimeout(
            self.patience.total, self._reactor, _too_slow
        )

    # -- What `IRunning` promises

    def start(self) -> None:
        """Begin nothing: connections are made when there is something to ask."""

    def stop(self) -> Deferred[None]:
        """Close the connections that are kept open."""
        return self._connections.close()

    # -- Pages and documents

    async def _page(
        self, project: str, etag: str | None, modified: str | None
    ) -> RemotePage | NotModified | None:
        headers = Headers({b"Accept": [ACCEPT], b"Accept-Encoding": [b"gzip"]})
        if etag is not None:
            headers.setRawHeaders(b"If-None-Match", [etag.encode("latin-1", "replace")])
        if modified is not None:
            headers.setRawHeaders(b"If-Modified-Since", [modified.encode("latin-1", "replace")])
        answer = await self._open(f"{self.url}{quote(project)}/", headers)
        if answer is None:
            return None
        if answer.response.code == 304:
            self._discard(answer.response)
            if etag is None and modified is None:
                raise BadGateway("The upstream says that nothing has changed, and was not asked that.")
            return NOT_MODIFIED
        return await self._read_page(project, answer)

    async def _read_page(self, project: str, answer: _Answer) -> RemotePage:
        coding = answer.field(b"Content-Encoding").lower()
        body = self._body(answer.response)
        if answer.response.code != 200 or coding not in ("", "identity", "gzip", "x-gzip"):
            body.abort()
            raise _unexpected(answer)
        gzipped = coding.endswith("gzip")
        with Allowance(self._memory) as allowance:
            content = await read_whole(body, self.patience.max_page, gzipped=gzipped, allowance=allowance)
            return await self._worker.run(
                read_page,
                project,
                content,
                content_type=answer.field(b"Content-Type"),
                url=answer.url,
                whole=body.whole or gzipped,
                etag=_validator(answer.field(b"ETag")),
                modified=_validator(answer.field(b"Last-Modified")),
            )

    async def _document(self, url: str, limit: int) -> bytes | None:
        answer = await self._open(_asked(url), _as_they_are())
        if answer is None:
            return None
        body = self._body(answer.response)
        if answer.response.code != 200 or not _is_uncoded(answer):
            body.abort()
            raise _unexpected(answer)
        return await read_whole(body, limit)

    # -- Files

    async def _fetch(self, url: str, first: int | None, last: int | None) -> Body | None:
        headers = _as_they_are()
        wanted = range_field(first, last)
        if wanted is not None:
            headers.setRawHeaders(b"Range", [wanted])
        await self._acquire(self._files)
        body = None
        try:
            answer = await self._open(_asked(url), headers)
            if answer is not None:
                body = self._body(answer.response, finished=self._files.release)
        finally:
            if body is None:
                self._files.release()
        if answer is None or body is None:
            return None
        try:
            body.total = _check_file(answer, body.length, first, last)
        except BadGateway:
            body.abort()
            raise
        return body

    # -- One request, with all that may become of it

    def _in_time(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        """Let something be tried, as one of the requests that may run, in the time that it may take."""

        async def run() -> T:
            await self._acquire(self._requests)
            try:
                return await self._repeated(ask)
            finally:
                self._requests.release()

        return Deferred.fromCoroutine(run()).addTimeout(self.patience.total, self._reactor, _too_slow)

    async def _acquire(self, places: DeferredSemaphore) -> None:
        await places.acquire().addTimeout(self.patience.queue, self._reactor, _too_many)

    async def _repeated(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Try again what may go well another time."""
        for attempt in range(1, self.patience.tries + 1):
            rest = self.patience.back_off * 2 ** (attempt - 1) * (1 + self._jitter() / 2)
            try:
                return await ask()
            except (_Transient, BrokenOff) as error:
                asked = error.rest or 0 if isinstance(error, _Transient) else 0
                if attempt == self.patience.tries or asked > self.patience.retry_after:
                    raise
                rest = max(rest, asked)
            await self._rest(rest)
        raise AssertionError("unreachable")

    async def _rest(self, seconds: float) -> None:
        rested: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._reactor.callLater(seconds, rested.callback, None)
        await rested

    async def _open(self, url: str, headers: Headers) -> _Answer | None:
        """
        Ask for a URL, wherever that leads.

        Returns:
            A head that says neither that nothing is there, for which this is None, nor that
            something is wrong.
        """
        seen = {url}
        while True:
            response = await self._ask(url, headers)
            answer = _Answer(url, response)
            if response.code not in _REDIRECTS:
                break
            self._discard(response)
            url = _target(answer)
            if url in seen:
                raise BadGateway("The upstream leads in a circle.")
            if len(seen) > _MAX_REDIRECTS:
                raise BadGateway(f"The upstream leads further than over {_MAX_REDIRECTS} steps.")
            seen.add(url)
        if response.code in (200, 206, 304):
            return answer
        self._discard(response)
        if response.code in (404, 410):
            return None
        raise self._refusal(answer)

    async def _ask(self, url: str, headers: Headers) -> IResponse:
        headers = headers.copy()
        headers.setRawHeaders(b"User-Agent", [_USER_AGENT])
        headers.setRawHeaders(b"Via", [self._via])
        if self._account is not None and origin_of(url) == self._own:
            headers.setRawHeaders(b"Authorization", [self._account.basic])
        try:
            asking = self._connections.request(url, headers)
            return await asking.addTimeout(self.patience.head + self.patience.connect, self._reactor, _silent)
        except AddressRefused:
            origin = origin_of(url)
            _log.warn(
                "{upstream} leads to {origin}, at an address it may not", upstream=self.url, origin=origin
            )
            raise BadGateway("The upstream leads to an address that it may not lead to.") from None
        except ProxyRefused as error:
            raise BadGateway(f"The proxy on the way to the upstream answers with {error}.") from None
        except Unavailable:
            raise
        except Exception as error:
            _raise_public(error)

    def _body(self, response: IResponse, finished: Callable[[], None] = lambda: None) -> Body:
        return Body(response, self._reactor, self.patience.idle, finished=finished)

    def _discard(self, response: IResponse) -> None:
        discard(response, self._reactor, self.patience.idle)

    def _refusal(self, answer: _Answer) -> Exception:
        """Say what a status means that is no answer."""
        code = answer.response.code
        if code in _BUSY:
            return _Transient(
                f"The upstream cannot answer right now ({code}).", _seconds(answer.field(b"Retry-After"))
            )
        if code in (401, 403, 407):
            _log.warn("{origin} answers with {code}", origin=origin_of(answer.url), code=code)
            if self._account is not None and origin_of(answer.url) == self._own:
                return BadGateway(f"The upstream does not take our user and password ({code}).")
            return BadGateway(f"The upstream wants a user and a password that we do not have ({code}).")
        if code == 508:
            return LoopDetected("The request has come back to a server on its way upstream.")
        return _unexpected(answer)


# -- Heads


def _product() -> bytes:
    try:
        return b"twisted-index/" + version("twisted-index").encode("ascii")
    except PackageNotFoundError:  # run from a checkout
        return b"twisted-index"


_USER_AGENT = _product()


def _as_they_are() -> Headers:
    return Headers({b"Accept": [b"*/*"], b"Accept-Encoding": [b"identity"]})


def _asked(url: str) -> str:
    try:
        return clean_url(url)
    except BadURL as error:
        raise BadGateway(f"The upstream gives a URL that cannot be asked: {error}.") from None


def _target(answer: _Answer) -> str:
    """Say where a redirect leads."""
    try:
        target = clean_url(answer.field(b"Location"), base=answer.url, may_have_user=True)
    except BadURL as error:
        raise BadGateway(f"The upstream leads to a URL that cannot be asked: {error}.") from None
    if not answer.field(b"Location"):
        raise BadGateway("The upstream leads nowhere.")
    if is_downgrade(answer.url, target):
        raise BadGateway("The upstream leads from https to http.")
    return target


def _validator(value: str) -> str | None:
    return value if value and len(value) <= _MAX_VALIDATOR and value.isprintable() else None


def _seconds(value: str) -> int | None:
    """Read a Retry-After; a date in it is not worth a clock."""
    return int(value[:9]) if value.isascii() and value.isdigit() else None


def _is_uncoded(answer: _Answer) -> bool:
    coding = answer.field(b"Content-Encoding").lower()
    if coding in ("", "identity"):
        return True
    path = answer.url.partition("?")[0].lower()
    return any(coding in codings for end, codings in _OWN_CODINGS.items() if path.endswith(end))


def _check_file(answer: _Answer, length: int | None, first: int | None, last: int | None) -> int | None:
    """
    Check the head of a file.

    Returns:
        The bytes of the whole file, if they are told.
    """
    if not _is_uncoded(answer) or answer.response.code not in (200, 206):
        raise _unexpected(answer)
    if answer.response.code == 200:
        return length
    found = parse_content_range(answer.field(b"Content-Range"))
    if found is None or not answers(found, first, last):
        raise BadGateway("The upstream sends another part of the file than it was asked for.")
    if length is not None and length != found.last - found.first + 1:
        raise BadGateway("The upstream contradicts itself about the length of its answer.")
    return found.total


# -- What went wrong


def _unexpected(answer: _Answer) -> BadGateway:
    coding = answer.field(b"Content-Encoding")
    if answer.response.code in (200, 206) and coding:
        return BadGateway("The upstream sends something coded in a way that it was not asked for.")
    return BadGateway(f"The upstream answers with {answer.response.code}, which is no answer.")


def _too_slow(_result: object, seconds: float) -> NoReturn:
    raise Unavailable(f"The upstream did not answer within {seconds:g} seconds.")


def _silent(_result: object, seconds: float) -> NoReturn:
    raise Unavailable(f"The upstream did not begin to answer within {seconds:g} seconds.")


def _too_many(_result: object, _seconds: float) -> NoReturn:
    raise Unavailable("Too many other requests are waiting for the upstream.")


# What a connection may fail with before there is an answer, and what may be otherwise the next time.
_CONNECTION_FAILURES = (
    connection_errors.ConnectError,
    connection_errors.DNSLookupError,
    connection_errors.ConnectionClosed,
    DeferredTimeoutError,
    OSError,
)


def _raise_public(error: Exception) -> NoReturn:
    """Say in a sentence what became of a request; what was cancelled stays so."""
    causes = [failure.value for failure in getattr(error, "reasons", ())] or [error]
    for cause in causes:
        if isinstance(cause, (CancelledError, connection_errors.ConnectingCancelledError)):
            raise CancelledError from None
    if any(isinstance(cause, (SSL.Error, VerificationError)) for cause in causes):
        raise BadGateway("The upstream cannot prove who it is: its certificate is not trusted.") from None
    if any(isinstance(cause, EndlessHead) for cause in causes):
        raise BadGateway("The head of the upstream's answer does not end.") from None
    if isinstance(error, connection_errors.DNSLookupError):
        raise _Transient("The name of the upstream cannot be resolved.") from None
    if isinstance(error, _CONNECTION_FAILURES) and not isinstance(error, connection_errors.ConnectionClosed):
        raise _Transient("The upstream cannot be reached.") from None
    if any(isinstance(cause, _CONNECTION_FAILURES) for cause in causes):
        raise _Transient("The upstream broke the connection.") from None
    raise BadGateway("The upstream answers with something that is no HTTP.") from None
