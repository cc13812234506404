"""
Tells URLs of new files, by a POST of a small JSON document, without ever delaying anybody.

Twisted's HTTP client is not imported before there is something to tell.
"""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from twisted_index.errors import ConfigurationError
from twisted_index.simple.spelling import upload_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

_log = Logger()

#: Documents that wait for one URL; some 300 bytes each.
QUEUE = 1000
#: Seconds from the start of a request to the header of its answer.
TIMEOUT = 10.0
#: How often a document is sent if the answer is no success.
TRIES = 3
#: Seconds before the second try, and how many times longer each further one waits.
BACK_OFF, GROWTH = 1.0, 4.0
#: Seconds that a stop waits for what is still to be sent.
DRAIN = 3.0
#: Statuses below 500 that may be others in a moment (RFC 9110 section 15.5.9, RFC 6585 section 4).
_PASSING = frozenset({408, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """
    A file that was uploaded.

    Attributes:
        project: A normalized name.
        filename: As it is listed.
        version: In normal form.
        sha256: Lower-case hex digest.
        size: In bytes.
        by: Who uploaded it.
        time: Aware.
    """

    project: str
    filename: str
    version: str
    sha256: str
    size: int
    by: str
    time: datetime

    def as_json(self) -> bytes:
        """Write the document that is sent."""
        document = {
            "project": self.project,
            "filename": self.filename,
            "version": self.version,
            "sha256": self.sha256,
            "size": self.size,
            "by": self.by,
            "time": upload_time(self.time),
        }
        return json.dumps(document).encode("ascii") + b"\n"


class NewFileHook:
    """
    Tells one URL of new files: in order, one at a time.

    Args:
        url: http or https; may hold a user and password, which are sent as Basic credentials.
        reactor: Tells the time, and connects.
        post: Sends a document, and gives the status of the answer; by HTTP unless another is given.
        jitter: Gives a factor for each wait, so that a crowd of servers does not come back at once.

    Raises:
        ConfigurationError: The URL is none that could be told.
    """

    def __init__(
        self,
        url: str,
        *,
        reactor: Any,
        post: Callable[[bytes], Deferred[int]] | None = None,
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.5),  # noqa: S311
    ) -> None:
        self._place = origin_of(url)
        self._reactor = reactor
        self._post = post or _Post(url, reactor)
        self._jitter = jitter
        self._queue: deque[bytes] = deque()
        self._dropping = False
        self._sending: Deferred[None] | None = None
        self._stopping = False

    def tell(self, new: NewFile) -> None:
        """Put a file on the list of what is to be told, and return at once."""
        if self._stopping:
            return
        if len(self._queue) >= QUEUE:
            self._drop_oldest()
        self._queue.append(new.as_json())
        if self._sending is None:
            self._sending = Deferred.fromCoroutine(self._send_all())
            self._sending.addBoth(self._sent_all)

    def _drop_oldest(self) -> None:
        self._queue.popleft()
        if not self._dropping:
            # One line for all of them: the next is not before the queue was empty.
            self._dropping = True
            _log.warn(
                "{place} takes news of uploads too slowly: {number} wait, and the oldest are dropped.",
                place=self._place,
                number=QUEUE,
            )

    async def stop(self, seconds: float = DRAIN) -> None:
        """
        Send what waits, as far as that is quickly done. Nothing is told from then on.

        Args:
            seconds: After which the rest is dropped, and logged.
        """
        self._stopping = True
        sending = self._sending
        if sending is not None:
            finished: Deferred[None] = Deferred()
            sending.addCallback(finished.callback)
            timer = self._reactor.callLater(seconds, sending.cancel)
            await finished
            if timer.active():
                timer.cancel()
        if self._queue:
            _log.warn(
                "{place} was not told of {number} new files before the stop.",
                place=self._place,
                number=len(self._queue),
            )
            self._queue.clear()

    def _sent_all(self, result: object) -> None:
        self._sending = None
        self._dropping = False
        if isinstance(result, Failure) and not result.check(CancelledError):
            _log.failure("News of uploads could not be sent", failure=result)

    async def _send_all(self) -> None:
        while self._queue:
            # It stays in the queue until it is told, so that a stop knows what was not.
            document = self._queue[0]
            await self._send(document)
            if self._queue and self._queue[0] is document:
                self._queue.popleft()

    async def _send(self, document: bytes) -> None:
        """Send a document, several times if need be; what comes to nothing is logged."""
        wait = BACK_OFF
        for left in reversed(range(TRIES)):
            problem, passing = await self._try(document)
            if problem is None:
                return
            if not left or not passing or self._stopping:
                _log.error(
                    "{place} was not told of a new file: {problem}", place=self._place, problem=problem
                )
                return
            await deferLater(self._reactor, wait * self._jitter())
            wait *= GROWTH

    async def _try(self, document: bytes) -> tuple[str | None, bool]:
        """
        Send a document once.

        Returns:
            What went wrong, None if nothing did; and whether it may be better in a moment.
        """
        answer = self._post(document)
        answer.addTimeout(TIMEOUT, self._reactor)
        try:
            status = await answer
        except CancelledError:
            raise
        except TookTooLong:
            return f"it did not answer within {TIMEOUT:g} s.", True
        except Exception as error:
            # Its type alone: the text may repeat the URL.
            return f"it could not be reached ({type(error).__name__}).", True
        if 200 <= status < 300:
            return None, False
        if 300 <= status < 400:
            return f"it answered {status}; redirects are not followed, so give the final URL.", False
        return f"it answered {status}.", status >= 500 or status in _PASSING


class NewFileHooks:
    """
    Tells several URLs of new files, each at its own pace.

    Args:
        urls: As for `NewFileHook`.
        reactor: Likewise.
    """

    def __init__(self, urls: Iterable[str], *, reactor: Any) -> None:
        self._reactor = reactor
        self._hooks: dict[str, NewFileHook] = {}
        self._leaving: list[Deferred[None]] = []
        self.follow(urls)

    def follow(self, urls: Iterable[str]) -> None:
        """
        Tell these URLs from now on, and others no more.

        Raises:
            ConfigurationError: One of them is none that could be told; then all stays as it was.
        """
        self._leaving = [one for one in self._leaving if not one.called]
        before = self._hooks
        self._hooks = {url: before.get(url) or NewFileHook(url, reactor=self._reactor) for url in urls}
        for url, hook in before.items():
            if url not in self._hooks:
                leaving = Deferred.fromCoroutine(hook.stop())
                self._leaving.append(leaving)
                leaving.addBoth(lambda _done: None)

    def tell(self, new: NewFile) -> None:
        """Put a file on the list of each, and return at once."""
        for hook in self._hooks.values():
            hook.tell(new)

    async def stop(self) -> None:
        """Send what waits, to all at once, as far as that is quickly done."""
        stopping = [Deferred.fromCoroutine(hook.stop()) for hook in self._hooks.values()]
        await gatherResults([*stopping, *self._leaving])


def origin_of(url: str) -> str:
    """
    Give what of a hook's URL may be shown: a path can be a secret as well as a password.

    Args:
        url: As it was configured.

    Returns:
        Scheme, host and port.

    Raises:
        ConfigurationError: It is not http or https, or has no host, or an impossible port.
    """
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        parts = urlsplit("")
        port = ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError("A URL that is told of uploads begins with http:// or https:// and a host.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}"


class _Post:
    """
    Posts JSON to a URL, on a connection of its own each time.

    Args:
        url: Checked by `origin_of`.
        reactor: Connects.
    """

    def __init__(self, url: str, reactor: Any) -> None:
        parts = urlsplit(url)
        self._url = url
        self._reactor = reactor
        self._agent: Any = None
        self._fields = {b"Content-Type": [b"application/json"], b"User-Agent": [b"twisted-index"]}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._fields[b"Authorization"] = [b"Basic " + b64encode(pair.encode("utf-8"))]

    async def _send(self, document: bytes) -> int:
        # Not at the top: a server that tells nobody has no need of a client.
        from hyperlink import URL
        from twisted.web.client import Agent
        from twisted.web.http_headers import Headers

        if self._agent is None:
            self._agent = Agent(self._reactor)
        url = URL.from_text(self._url).to_uri().replace(userinfo="", fragment="").to_text()
        response = await self._agent.request(
            b"POST", url.encode("ascii"), Headers(self._fields), _Body(document)
        )
        response.deliverBody(_Unread())
        code: int = response.code
        return code

    def __call__(self, document: bytes) -> Deferred[int]:
        """Post a document; gives the status of the answer, of which nothing more is read."""
        return Deferred.fromCoroutine(self._send(document))


class _Unread(Protocol):
    """Ends the connection, as nobody is interested in what else is said."""

    def connectionMade(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


@implementer(IBodyProducer)
class _Body:
    """A body that is at hand."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: it is all written at once."""

    def resumeProducing(self) -> None:
        """Do nothing."""

    def stopProducing(self) -> None:
        """Do nothing."""
