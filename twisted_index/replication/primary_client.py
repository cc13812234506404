"""
A primary over HTTP: its changes, its entries, their bytes.

It believes no response: each has its media type, its bounds and its end, or is an error in one sentence that
says what to do. Whether bytes are those of an entry is for the caller to check.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, quote_from_bytes

from twisted.internet.defer import Deferred, succeed
from twisted.web.http_headers import Headers

from twisted_index.errors import BadGateway, Gone, NotFound, SimpleIndexError
from twisted_index.events.serials import Change
from twisted_index.http_client.body import TruncatedBody
from twisted_index.http_client.client import HTTPClient
from twisted_index.http_client.credentials import NetrcCredentials, split_userinfo
from twisted_index.http_client.error_message import read_error_message
from twisted_index.http_client.limits import ClientLimits
from twisted_index.http_client.retry import BUSY_STATUSES, Denied, TemporaryFailure, retry_after
from twisted_index.http_client.urls import origin_of
from twisted_index.replication.epoch import parse_epoch
from twisted_index.replication.primary import Feed
from twisted_index.simple.entry_listing import MAX_CONTENTS, InvalidListing, parse_contents
from twisted_index.simple.formatting import printable
from twisted_index.simple.name_patterns import is_index_name

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.http_client.body import BoundedBody
    from twisted_index.http_client.client import HTTPResponse
    from twisted_index.replication.epoch import Epoch
    from twisted_index.simple.entry_listing import Entry, EntryListing

T = TypeVar("T")

#: Seconds for the head of a response, beyond the time that the primary was asked to wait.
_HEAD = 20.0
#: Seconds without a byte of a body.
_IDLE = 30.0
#: Seconds for a listing or a list with all its tries.
_TOTAL = 300.0
#: Bytes of the list of all changes: of some million projects.
_MAX_CHANGES = 256 << 20
#: Bytes of the lines of a listing: of more files than any project has.
_MAX_LISTING = 32 << 20
#: Characters that are shown of what the primary sent.
_MAX_SHOWN = 300
#: Bytes from which a body is parsed in a thread.
_LARGE = 64 << 10
#: Bytes of a file that are held until a thread has written them.
_HELD = 1 << 20
#: What an answer means that no server of ours sends.
_FOREIGN = "Is replica-of the URL of a twisted-index server, without a proxy or a login page in between?"
#: Times that the bytes of one file may break off without a byte in between.
_TRIES = 3

_NUMBER = re.compile("[0-9]{1,16}")
_CHANGES_HEAD = re.compile(rb"([0-9a-f]{32}) ([0-9]{1,16})")
_CHANGE = re.compile(rb"([1-9][0-9]{0,15}) ([0-9a-f]{32}|-) ([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)")


class PrimaryServer:
    """
    The server of a primary: one client for all its indexes.

    Args:
        url: Of the server, as configured; its user and password are sent to its origin only. Without them
            netrc has its say.
        reactor: Twisted's reactor.
        worker: Threads that parse and write.
        environ: Environment variables that name proxies, certificates and the netrc file.
        epoch: Returns the highest epoch that this replica knows of, which the primary is told.
        wall: Returns seconds since the epoch.
        limits: Bounds of the client; those on time and bytes of a response are set here.

    Attributes:
        url: Without user and password, with a slash at the end.

    Raises:
        ConfigurationError: The URL or the environment cannot be used.
    """

    def __init__(
        self,
        url: str,
        reactor: Any,
        *,
        worker: IThreadRunner,
        environ: Mapping[str, str],
        epoch: Callable[[], Epoch | None] = lambda: None,
        wall: Callable[[], float] = time.time,
        limits: ClientLimits | None = None,
    ) -> None:
        self.url, account = split_userinfo(url)
        self._credentials = account or NetrcCredentials(self.url, environ)
        self._epoch = epoch
        self.worker = worker
        self.wall = wall
        self._client = HTTPClient(
            origin_of(self.url),
            reactor,
            "primary",
            environ=environ,
            # A person has named it, wherever it is, and redirects are not followed.
            egress_policy=None,
            credentials=self._credentials,
            limits=limits or ClientLimits(head=_HEAD, idle=_IDLE, total=_TOTAL),
            wall=wall,
        )

    def index(self, name: str = "") -> PrimaryClient:
        """Return the index with a name, or the one without."""
        return PrimaryClient(self, f"{self.url}+{name}/" if name else self.url)

    async def indexes(self) -> tuple[str, ...]:
        """
        Return the names of the indexes that the primary has and lets this replica read.

        Raises:
            SimpleIndexError: As for the methods of `IPrimary`.
        """
        try:
            response = await self.within(None, self.get(f"{self.url}+/"))
        except NotFound:
            return ()
        body = await _read_body(response, _MAX_LISTING, "list of indexes", "application/json")
        try:
            names = [str(each["name"]) for each in json.loads(body)["indexes"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise BadGateway("The primary sent no list of its indexes.") from None
        return tuple(filter(is_index_name, names))

    def close(self) -> Deferred[None]:
        """Close idle connections."""
        return self._client.close()

    def within(self, seconds: float | None, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Cancel work after so many seconds; None for the usual time."""
        return self._client.with_timeout(work, seconds)

    async def retrying(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Ask again after a failure that may pass."""
        return await self._client.retrying(ask)

    async def run(self, size: int, work: Callable[[], T]) -> T:
        """Work on so many bytes, in a thread if they are many."""
        return await self.worker.run(work) if size > _LARGE else work()

    async def get(
        self,
        url: str,
        *,
        gzip: bool = True,
        head: float | None = None,
        fields: Mapping[bytes, bytes] | None = None,
    ) -> HTTPResponse:
        """
        Request a URL of the primary.

        Args:
            url: Below that of the server.
            gzip: Whether the body may be compressed.
            head: Seconds for the head of the response.
            fields: Further header fields.

        Returns:
            A response with status 200, 206 or 304.

        Raises:
            NotFound: It says that there is nothing.
            Gone: It says that the serials have begun anew.
            SimpleIndexError: It cannot be reached, refuses, or fails.
        """
        # JSON for errors, so that those of a proxy are known from those of the primary.
        headers = Headers({b"Accept": [b"application/json, text/plain;q=0.9, */*;q=0.5"]})
        headers.setRawHeaders(b"Accept-Encoding", [b"gzip" if gzip else b"identity"])
        epoch = self._epoch()
        if epoch is not None:
            headers.setRawHeaders(b"X-Index-Epoch", [str(epoch).encode("ascii")])
        for name, value in (fields or {}).items():
            headers.setRawHeaders(name, [value])
        response = await self._client.request("GET", url, headers, head=head)
        if response.status in (200, 206, 304):
            return response
        raise await self._refusal(response)

    async def _refusal(self, response: HTTPResponse) -> SimpleIndexError:
        status = response.status
        if 300 <= status < 400:
            response.body.drain()
            target = printable(response.header(b"Location")[:_MAX_SHOWN])
            return Denied(
                f"The primary redirects to {target}: write the URL of the server itself in replica-of."
            )
        said = await read_error_message(response)
        if status in BUSY_STATUSES:
            date = response.header(b"Date") or formatdate(self.wall(), usegmt=True)
            delay = retry_after(response.header(b"Retry-After"), date)
            return TemporaryFailure(f"The primary is temporarily unavailable ({status}).{_and(said)}", delay)
        if status in (401, 403):
            return Denied(self._denial(status) + _and(said))
        if not said:
            return Denied(f"Status {status} came from {self.url}. {_FOREIGN}")
        if status in (404, 410):
            return (NotFound if status == 404 else Gone)(said)
        return Denied(f"The primary refused the request ({status}).{_and(said)}")

    def _denial(self, status: int) -> str:
        if self._credentials.current() is None:
            return (
                f"The primary requires a token ({status}), and there is none: write"
                " https://__token__:TOKEN@HOST in replica-of, or an entry of netrc."
            )
        where = "the token (or the user and the password) in replica-of or netrc"
        if status == 401:
            return f"The primary does not accept {where} (401)."
        return f"At the primary, {where} lacks the right to follow or to read (403)."


class PrimaryClient:
    """
    One index of a primary; provides `IPrimary`.

    Args:
        server: Sends the requests.
        url: Of the index, with a slash at the end.
    """

    def __init__(self, server: PrimaryServer, url: str) -> None:
        self._server = server
        self._url = url

    async def changes(
        self, *, since: int | None = None, instance: str | None = None, wait: float = 0.0
    ) -> Feed:
        """Return the last changes; see `IPrimary`."""
        query = {"since": since, "instance": instance, "wait": int(wait) or None}
        text = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        url = f"{self._url}-/changes{text and '?'}{text}"
        return await self._server.within(wait + _TOTAL, self._changes(url, since, instance, wait + _HEAD))

    async def _changes(self, url: str, since: int | None, instance: str | None, head: float) -> Feed:
        began = self._server.wall()
        try:
            response = await self._server.get(url, head=head)
        except NotFound as error:
            raise Denied(f"The primary has no list of changes: {error.message}") from None
        skew = _skew(response.header(b"Date"), began, self._server.wall())
        feed = Feed(
            instance=instance or "",
            highest=since or 0,
            changes={},
            epoch=parse_epoch(response.header(b"X-Index-Epoch")),
            restricted=response.header(b"X-Index-Reading") == "restricted",
            skew=skew,
        )
        if response.status == 304 and since is not None:
            response.body.drain()
            return feed
        body = await _read_text(response, _MAX_CHANGES, "list of changes")
        told, highest, changes = await self._server.run(len(body), lambda: _parse_changes(body))
        return replace(feed, instance=told, highest=highest, changes=changes)

    async def entries(
        self, project: str, *, inline: int = 0
    ) -> tuple[EntryListing, Mapping[str, bytes]] | None:
        """Return the entries of a project; see `IPrimary`."""
        url = f"{self._url}-/entries/{quote(project)}" + (f"?inline={inline}" if inline else "")
        asking = self._server.retrying(lambda: self._entries(url))
        try:
            return await self._server.within(None, asking)
        except NotFound:
            return None

    async def _entries(self, url: str) -> tuple[EntryListing, Mapping[str, bytes]]:
        response = await self._server.get(url)
        limit = response.header(b"X-Index-Inline")
        body = await _read_text(response, _MAX_LISTING + 2 * MAX_CONTENTS, "listing of entries")
        bound = int(limit) if _NUMBER.fullmatch(limit) else 0
        return await self._server.run(len(body), lambda: _parse_entries(body, bound))

    async def read(self, project: str, entry: Entry, write: Callable[[bytes], object]) -> None:
        """Pass on the bytes of an entry; see `IPrimary`."""
        path = quote_from_bytes(os.fsencode(entry.path), safe="")
        url = f"{self._url}-/entries/{quote(project)}?path={path}"
        reader = _Reader(self._server, entry.size, write)
        failures = 0
        while not reader.is_whole:
            before = reader.received
            try:
                await reader.read_on(url)
            except NotFound:
                raise BadGateway(f"The primary has no {printable(entry.path)} any more.") from None
            except TemporaryFailure:
                failures = 0 if reader.received > before else failures + 1
                if failures >= _TRIES:
                    raise


class _Reader:
    """The bytes of one file: continued where they broke off, and written by a thread, a piece at a time."""

    def __init__(self, server: PrimaryServer, size: int, write: Callable[[bytes], object]) -> None:
        self._server = server
        self._size = size
        self._write = write
        self.received = 0
        self._held: list[bytes] = []
        self._writing: Deferred[None] = succeed(None)
        self._is_writing = False
        self._error: BaseException | None = None
        self._body: BoundedBody | None = None
        self._asked = False

    @property
    def is_whole(self) -> bool:
        """Whether all bytes have been written."""
        return self._asked and self.received >= self._size

    async def read_on(self, url: str) -> None:
        """Request what is missing."""
        fields = {b"Range": b"bytes=%d-" % self.received} if self.received else {}
        response = await self._server.get(url, gzip=False, fields=fields)
        body = response.body
        body.limit = self._size
        # A primary that sends all of it again has no ranges, or another file: its digest will tell.
        skip = self.received if response.status == 200 else 0
        if response.status == 304 or response.header(b"Content-Type").startswith("text/html"):
            body.abort()
            raise BadGateway("The primary did not send the bytes of a file.")
        self._body = body

        def take(piece: bytes) -> None:
            nonlocal skip
            dropped, skip = min(skip, len(piece)), max(0, skip - len(piece))
            if piece := piece[dropped:]:
                self._hold(piece)

        try:
            await body.deliver(take)
        finally:
            await self._written()
        self._asked = True
        if self.received != self._size:
            raise BadGateway("The primary sent fewer bytes of a file than its listing says.")

    def _hold(self, piece: bytes) -> None:
        if self._error is not None:
            raise self._error
        self.received += len(piece)
        if self.received > self._size:
            raise BadGateway("The primary sent more bytes of a file than its listing says.")
        self._held.append(piece)
        if not self._is_writing:
            self._is_writing = True
            self._writing = Deferred.fromCoroutine(self._write_on())
        if sum(map(len, self._held)) > _HELD and self._body is not None:
            self._body.pause()

    async def _write_on(self) -> None:
        while self._held and self._error is None:
            pieces, self._held = b"".join(self._held), []
            try:
                await self._server.run(len(pieces), lambda data=pieces: self._write(data))  # type: ignore[misc]
            except Exception as error:
                self._error = error
            if self._body is not None:
                self._body.resume()
        self._is_writing = False

    async def _written(self) -> None:
        """Wait for what is written now."""
        await self._writing
        if self._error is not None:
            raise self._error


def _parse_changes(body: bytes) -> tuple[str, int, Mapping[str, Change]]:
    head, *lines = body.split(b"\n")
    match = _CHANGES_HEAD.fullmatch(head)
    if match is None or not lines or lines.pop() != b"":
        raise BadGateway("The primary sent what is no list of changes, or only a part of one.")
    return match[1].decode("ascii"), int(match[2]), dict(_parse_lines(lines, int(match[2])))


def _parse_lines(lines: Iterable[bytes], highest: int) -> Iterable[tuple[str, Change]]:
    for line in lines:
        match = _CHANGE.fullmatch(line)
        if match is None or int(match[1]) > highest:
            raise BadGateway("The primary sent a list of changes with a line that is damaged.")
        yield match[3].decode("ascii"), Change(int(match[1]), match[2].decode("ascii"))


def _parse_entries(body: bytes, limit: int) -> tuple[EntryListing, Mapping[str, bytes]]:
    try:
        return parse_contents(body, limit)
    except InvalidListing as error:
        raise BadGateway(f"The primary sent what is no listing: {error}") from None


async def _read_text(response: HTTPResponse, limit: int, what: str) -> bytes:
    return await _read_body(response, limit, what, "text/plain")


async def _read_body(response: HTTPResponse, limit: int, what: str, expected: str) -> bytes:
    body = response.body
    media_type = response.header(b"Content-Type").partition(";")[0].strip().lower()
    if response.status != 200 or media_type != expected or body.coding:
        body.abort()
        sent = printable(media_type[:_MAX_SHOWN]) or "nothing"
        raise BadGateway(f"{sent} came in place of the primary's {what}. {_FOREIGN}")
    body.limit = limit
    content = await body.read()
    if not body.is_delimited:
        raise TruncatedBody(f"The primary's {what} has no marked end, so it may be cut off.")
    return content


def _and(sentence: str) -> str:
    return f" It says: {sentence}" if sentence else ""


def _skew(date: str, began: float, ended: float) -> float:
    """
    Return how many seconds the clock of a Date field is ahead, at least; 0 without one.

    It names the second at some moment between the request and the response, which may be far apart.
    """
    try:
        told = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, told - ended) + min(0.0, told + 1 - began)
