"""
Webhooks: POST a small JSON document for each new file, without delaying an upload.

The HTTP client is imported for the first document.
"""

from __future__ import annotations

import json
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from twisted_index.errors import ConfigurationError, SimpleIndexError
from twisted_index.http_client.credentials import credentials_in
from twisted_index.http_client.retry import TemporaryFailure, retrying
from twisted_index.http_client.urls import InvalidURL, normalize_url, origin_of
from twisted_index.simple.formatting import format_upload_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

_log = Logger()

#: Documents queued for one URL; some 300 bytes each.
QUEUE = 1000
#: Seconds from the start of a request to the header of its response.
TIMEOUT = 10.0
#: Attempts to send a document.
TRIES = 3
#: Seconds before the second attempt, and the factor for each further one.
BACK_OFF, GROWTH = 1.0, 4.0
#: Seconds that a stop waits for queued documents.
DRAIN = 3.0
#: Statuses below 500 that may be temporary (RFC 9110 section 15.5.9, RFC 6585 section 4).
_RETRYABLE = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUploaded:
    """
    An uploaded file.

    Attributes:
        project: The normalized project name.
        filename: The file name as listed.
        version: The normalized version.
        sha256: Lower-case hex digest of the file.
        size: Size of the file in bytes.
        by: The uploading user.
        time: Time of the upload, aware.
        index: The name of the index in this server; empty for the only one.
    """

    project: str
    filename: str
    version: str
    sha256: str
    size: int
    by: str
    time: datetime
    index: str = ""

    def as_json(self) -> bytes:
        """Serialize the document to send."""
        document = {
            "project": self.project,
            "filename": self.filename,
            "version": self.version,
            "sha256": self.sha256,
            "size": self.size,
            "by": self.by,
            "time": format_upload_time(self.time),
            **({"index": self.index} if self.index else {}),
        }
        return json.dumps(document).encode("ascii") + b"\n"


class Webhook:
    """
    Notifies one URL of new files: in order, one at a time.

    Args:
        url: http or https; may hold a user and password, which are sent as Basic credentials.
        reactor: Provides timers and connections.
        post: Sends a document and returns the status of the response; by default over HTTP.
        jitter: Returns a factor for each wait, so that many servers do not retry at once.

    Raises:
        ConfigurationError: The URL is not an absolute http or https URL.
    """

    def __init__(
        self,
        url: str,
        *,
        reactor: Any,
        post: Callable[[bytes], Deferred[int]] | None = None,
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.5),  # noqa: S311
    ) -> None:
        # The only part of the URL that is logged: a path may be secret too.
        self._origin = origin_of(webhook_url(url))
        self._reactor = reactor
        self._post = post or _Post(url, reactor)
        self._jitter = jitter
        self._queue: deque[bytes] = deque()
        self._dropping = False
        self._sending: Deferred[None] | None = None
        self._stopping = False

    def notify(self, upload: FileUploaded) -> None:
        """Queue the document of a file, and return at once."""
        if self._stopping:
            return
        if len(self._queue) >= QUEUE:
            self._drop_oldest()
        self._queue.append(upload.as_json())
        if self._sending is None:
            self._sending = Deferred.fromCoroutine(self._send_all())
            self._sending.addBoth(self._finish)

    def _drop_oldest(self) -> None:
        self._queue.popleft()
        if not self._dropping:
            # Log once until the queue has been empty.
            self._dropping = True
            _log.warn(
                "Webhook {place} is too slow: {number} notifications are queued, and the oldest are dropped.",
                place=self._origin,
                number=QUEUE,
            )

    async def stop(self, seconds: float = DRAIN) -> None:
        """
        Send queued documents until a time-out; drop documents queued from now on.

        Args:
            seconds: Time-out, after which the remaining documents are dropped, and logged.
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
                "Webhook {place} did not receive the notifications of {number} new files before the stop.",
                place=self._origin,
                number=len(self._queue),
            )
            self._queue.clear()

    def _finish(self, result: object) -> None:
        self._sending = None
        self._dropping = False
        if isinstance(result, Failure) and not result.check(CancelledError):
            _log.failure("Webhook notifications could not be sent", failure=result)

    async def _send_all(self) -> None:
        while self._queue:
            # Stays queued until it is sent, so that `stop` counts it.
            document = self._queue[0]
            await self._send(document)
            if self._queue and self._queue[0] is document:
                self._queue.popleft()

    async def _send(self, document: bytes) -> None:
        """Send a document, with retries; log a failure."""
        try:
            await retrying(
                lambda: self._try(document),
                self._reactor,
                tries=TRIES,
                back_off=BACK_OFF,
                growth=GROWTH,
                jitter=self._jitter,
            )
        except SimpleIndexError as error:
            _log.error(
                "Webhook {place} failed for a new file: {problem}", place=self._origin, problem=error.message
            )

    async def _try(self, document: bytes) -> None:
        """Send a document once; raise TemporaryFailure if a retry makes sense."""
        try:
            status = await self._post(document).addTimeout(TIMEOUT, self._reactor)
        except TookTooLong:
            raise self._failure(f"it did not respond within {TIMEOUT:g} s.") from None
        except CancelledError:
            raise
        except SimpleIndexError as error:
            raise self._failure(error.message) from None
        except Exception as error:
            # Its type alone: the text may repeat the URL.
            raise self._failure(f"it could not be reached ({type(error).__name__}).") from None
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise SimpleIndexError(
                f"it responded with {status}; redirects are not followed, so give the final URL."
            )
        if status >= 500 or status in _RETRYABLE:
            raise self._failure(f"it responded with {status}.")
        raise SimpleIndexError(f"it responded with {status}.")

    def _failure(self, problem: str) -> SimpleIndexError:
        return SimpleIndexError(problem) if self._stopping else TemporaryFailure(problem)


class Webhooks:
    """
    Notifies several URLs of new files, independently of each other.

    Args:
        urls: URLs as for `Webhook`.
        reactor: Provides timers and connections.
    """

    def __init__(self, urls: Iterable[str], *, reactor: Any) -> None:
        self._reactor = reactor
        self._hooks: dict[str, Webhook] = {}
        self._stopping_hooks: list[Deferred[None]] = []
        self.set_urls(urls)

    def set_urls(self, urls: Iterable[str]) -> None:
        """
        Replace the URLs; removed ones still get their queued documents.

        Raises:
            ConfigurationError: One of them is not a URL; nothing has changed.
        """
        self._stopping_hooks = [
            stopping_hook for stopping_hook in self._stopping_hooks if not stopping_hook.called
        ]
        before = self._hooks
        self._hooks = {url: before.get(url) or Webhook(url, reactor=self._reactor) for url in urls}
        for url, hook in before.items():
            if url not in self._hooks:
                stopping = Deferred.fromCoroutine(hook.stop())
                self._stopping_hooks.append(stopping)
                stopping.addBoth(lambda _done: None)

    def notify(self, upload: FileUploaded) -> None:
        """Queue the document of a file for each URL, and return at once."""
        for hook in self._hooks.values():
            hook.notify(upload)

    async def stop(self) -> None:
        """Stop all webhooks concurrently; see `Webhook.stop`."""
        stopping = [Deferred.fromCoroutine(hook.stop()) for hook in self._hooks.values()]
        await gatherResults([*stopping, *self._stopping_hooks])


def webhook_url(url: str) -> str:
    """
    Return the URL that is requested for a webhook: without user and password.

    Raises:
        ConfigurationError: The URL is not http or https, has no host, or an invalid port. The message
            does not repeat it.
    """
    try:
        return normalize_url(url, may_have_user=True)
    except InvalidURL:
        raise ConfigurationError("A webhook URL begins with http:// or https:// and a host.") from None


class _Post:
    """
    Posts JSON to a URL, outside the egress policy, with a new connection each time.

    Args:
        url: The configured URL.
        reactor: Provides connections.
    """

    def __init__(self, url: str, reactor: Any) -> None:
        self._url = webhook_url(url)
        self._credentials = credentials_in(url)
        self._reactor = reactor
        self._client: Any = None

    def __call__(self, document: bytes) -> Deferred[int]:
        """Post a document; fires with the status of the response, whose body is dropped."""
        return Deferred.fromCoroutine(self._send(document))

    async def _send(self, document: bytes) -> int:
        # Not at the top: a server without webhooks does not need it.
        from twisted_index.http_client.client import HTTPClient
        from twisted_index.http_client.limits import ClientLimits

        if self._client is None:
            self._client = HTTPClient(
                origin_of(self._url),
                self._reactor,
                environ={},
                egress_policy=None,
                credentials=self._credentials,
                limits=ClientLimits(connect=TIMEOUT, head=TIMEOUT),
                persistent=False,
            )
        headers = Headers({b"Content-Type": [b"application/json"]})
        response = await self._client.request("POST", self._url, headers, document)
        # Read a short body to its end: some receivers stop working when their client disconnects.
        response.body.drain()
        status: int = response.status
        return status
