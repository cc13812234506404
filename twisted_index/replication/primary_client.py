"""
A primary over HTTP: its changes, its entries, their bytes.

Out of scope: what responses say (see `primary_responses`), and whether bytes are those of an entry, which the
caller checks.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, quote_from_bytes

from twisted.web.http_headers import Headers

from twisted_index.errors import BadGateway, Gone, NotFound, SimpleIndexError
from twisted_index.http_client.client import HTTPClient
from twisted_index.http_client.credentials import NetrcCredentials, split_userinfo
from twisted_index.http_client.error_message import read_error_message
from twisted_index.http_client.limits import ClientLimits
from twisted_index.http_client.retry import BUSY_STATUSES, Denied, TemporaryFailure, retry_after
from twisted_index.http_client.urls import origin_of
from twisted_index.replication.entry_batches import EntryBatches
from twisted_index.replication.entry_download import EntryDownload
from twisted_index.replication.epoch import parse_epoch
from twisted_index.replication.primary import Feed
from twisted_index.replication.primary_responses import (
    FOREIGN,
    MAX_SHOWN,
    clock_skew,
    parse_before,
    parse_changes,
    parse_entries,
    parse_entry_batch,
    read_body,
)
from twisted_index.simple.entry_listing import MAX_CONTENTS, MAX_INLINE
from twisted_index.simple.formatting import printable
from twisted_index.simple.name_patterns import is_index_name

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.http_client.client import HTTPResponse
    from twisted_index.replication.epoch import Epoch
    from twisted_index.simple.entry_listing import Entry, EntryListing

T = TypeVar("T")

#: Seconds for the head of a response, in addition to the requested wait.
_HEAD = 20.0
#: Seconds without a byte of a body.
_IDLE = 30.0
#: Seconds for a listing or a list of changes, with all tries.
_TOTAL = 300.0
#: Bytes of the list of all changes, enough for millions of projects.
_MAX_CHANGES = 256 << 20
#: Indexes of a server: more than any has. Each takes a folder here, and a request that waits.
_MOST_INDEXES = 1000
#: Bytes of the lines of a listing, enough for any project.
_MAX_LISTING = 32 << 20
#: Bytes from which a body is parsed in a thread.
_LARGE = 64 << 10
#: Bytes a second of a file that never stalls, and yet would hold its place among what is received for ever.
_SLOWEST = 1 << 10
#: Consecutive failures of a download without progress.
_TRIES = 3

_NUMBER = re.compile("[0-9]{1,16}")


class PrimaryServer:
    """
    The server of a primary: one HTTP client for all its indexes.

    Args:
        url: The configured URL. Its user and password are sent to its origin only; without them, netrc is
            used.
        reactor: Twisted's reactor.
        worker: Threads that parse and write.
        environ: Environment variables that name proxies, certificates and the netrc file.
        epoch: Returns the highest epoch that this replica knows, which is sent with each request.
        wall: Returns seconds since the epoch.
        limits: Limits of the client, by default with the time-outs of this module.

    Attributes:
        url: The URL without user and password, with a slash at the end.

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
        self.reactor = reactor
        self._client = HTTPClient(
            origin_of(self.url),
            reactor,
            "primary",
            environ=environ,
            # The operator has named this server, so any address is allowed; redirects are not followed.
            egress_policy=None,
            credentials=self._credentials,
            limits=limits or ClientLimits(head=_HEAD, idle=_IDLE, total=_TOTAL),
            wall=wall,
        )

    def index(self, name: str = "") -> PrimaryClient:
        """Return an index by its name; empty for the index without one."""
        return PrimaryClient(self, f"{self.url}+{name}/" if name else self.url)

    async def indexes(self) -> tuple[str, ...]:
        """
        Return the names of the indexes that this replica may read at the primary.

        Raises:
            SimpleIndexError: As for the methods of `IPrimary`.
        """
        try:
            response = await self.within(None, self.get(f"{self.url}+/"))
        except NotFound:
            return ()
        body = await read_body(response, _MAX_LISTING, "list of indexes", "application/json")
        try:
            names = [str(each["name"]) for each in json.loads(body)["indexes"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise BadGateway("The primary sent no list of its indexes.") from None
        if len(names) > _MOST_INDEXES:
            raise BadGateway(
                f"The primary lists {len(names):,} indexes, and no more than 1,000 are followed."
            )
        return tuple(filter(is_index_name, names))

    def close(self) -> Deferred[None]:
        """Close idle connections."""
        return self._client.close()

    def within(self, seconds: float | None, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Run work with a time-out in seconds; None for the total of the limits."""
        return self._client.with_timeout(work, seconds)

    async def retrying(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Retry a request after temporary failures."""
        return await self._client.retrying(ask)

    async def run(self, size: int, work: Callable[[], T]) -> T:
        """Call a function that works on so many bytes, in a thread if they are many."""
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
            url: A URL below that of the server.
            gzip: Whether the body may be compressed.
            head: Seconds for the head of the response.
            fields: Additional header fields.

        Returns:
            A response with status 200, 206 or 304.

        Raises:
            NotFound: The primary responds with 404, and is a server of this project.
            Gone: Likewise 410: the serials have begun anew.
            SimpleIndexError: The primary cannot be reached, refuses, or fails.
        """
        # Errors as JSON, to tell those of the primary from those of a proxy.
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
            target = printable(response.header(b"Location")[:MAX_SHOWN])
            return Denied(f"The primary redirects to {target}: write the URL of the server itself instead.")
        said = await read_error_message(response)
        if status in BUSY_STATUSES:
            date = response.header(b"Date") or formatdate(self.wall(), usegmt=True)
            delay = retry_after(response.header(b"Retry-After"), date)
            return TemporaryFailure(f"The primary is temporarily unavailable ({status}).{_and(said)}", delay)
        if status in (401, 403):
            return Denied(self._denial(status) + _and(said))
        if not said:
            return Denied(f"Status {status} came from {self.url}. {FOREIGN}")
        if status in (404, 410):
            return (NotFound if status == 404 else Gone)(said)
        return Denied(f"The primary refused the request ({status}).{_and(said)}")

    def _denial(self, status: int) -> str:
        if self._credentials.current() is None:
            return (
                f"The primary requires a token ({status}), and there is none: make one there by"
                " `twisted-index token create NAME --follow`, and write https://__token__:TOKEN@HOST, or an"
                " entry of netrc."
            )
        where = "the token (or the user and the password) in its URL or netrc"
        if status == 401:
            return f"The primary does not accept {where} (401): correct it, or make a new one there."
        return (
            f"At the primary, {where} lacks the right to follow or to read (403): make one there by"
            " `twisted-index token create NAME --follow`, with --read '*' if not everyone may read, and"
            " --index '*' for indexes with a name."
        )


class PrimaryClient:
    """
    One index of a primary; provides `IPrimary`.

    Args:
        server: Sends the requests.
        url: The URL of the index, with a slash at the end.
    """

    def __init__(self, server: PrimaryServer, url: str) -> None:
        self._server = server
        self._url = url
        self._batches = {
            inline: EntryBatches(server.reactor, partial(self._entry_batch, inline))
            for inline in (0, MAX_INLINE)
        }

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
        skew = clock_skew(response.header(b"Date"), began, self._server.wall())
        feed = Feed(
            instance=instance or "",
            highest=since or 0,
            changes={},
            before=parse_before(response.header(b"X-Index-Before")),
            epoch=parse_epoch(response.header(b"X-Index-Epoch")),
            restricted=response.header(b"X-Index-Reading") == "restricted",
            skew=skew,
        )
        if response.status == 304 and since is not None:
            response.body.drain()
            return feed
        body = await read_body(response, _MAX_CHANGES, "list of changes")
        told, highest, changes = await self._server.run(len(body), lambda: parse_changes(body))
        return replace(feed, instance=told, highest=highest, changes=changes)

    async def entries(
        self, project: str, *, inline: int = 0
    ) -> tuple[EntryListing, Mapping[str, bytes]] | None:
        """Return the entries of a project; see `IPrimary`."""
        batches = self._batches.get(inline)
        found = None if batches is None else await batches.ask(project)
        if found is not None:
            return found
        url = f"{self._url}-/entries/{quote(project)}" + (f"?inline={inline}" if inline else "")
        asking = self._server.retrying(lambda: self._entries(url))
        try:
            return await self._server.within(None, asking)
        except NotFound:
            return None

    async def _entries(self, url: str) -> tuple[EntryListing, Mapping[str, bytes]]:
        body, limit = await self._get_entries(url)
        return await self._server.run(len(body), lambda: parse_entries(body, limit))

    async def _entry_batch(
        self, inline: int, projects: Sequence[str]
    ) -> Mapping[str, tuple[EntryListing, Mapping[str, bytes]]]:
        wanted = "".join(f"&project={quote(project)}" for project in projects)
        asking = self._get_entries(f"{self._url}-/entries/?inline={inline}{wanted}")
        body, limit = await self._server.within(None, asking)
        return await self._server.run(len(body), lambda: parse_entry_batch(body, limit))

    async def _get_entries(self, url: str) -> tuple[bytes, int]:
        response = await self._server.get(url)
        limit = response.header(b"X-Index-Inline")
        body = await read_body(response, _MAX_LISTING + 2 * MAX_CONTENTS, "listing of entries")
        return body, int(limit) if _NUMBER.fullmatch(limit) else 0

    async def read(self, project: str, entry: Entry, write: Callable[[bytes], object]) -> None:
        """Pass on the bytes of an entry; see `IPrimary`."""
        await self._server.within(_TOTAL + entry.size / _SLOWEST, self._read(project, entry, write))

    async def _read(self, project: str, entry: Entry, write: Callable[[bytes], object]) -> None:
        path = quote_from_bytes(os.fsencode(entry.path), safe="")
        url = f"{self._url}-/entries/{quote(project)}?path={path}"

        async def request(offset: int) -> HTTPResponse:
            fields = {b"Range": b"bytes=%d-" % offset} if offset else {}
            return await self._server.get(url, gzip=False, fields=fields)

        download = EntryDownload(request, self._server.run, entry.size, write)
        failures = 0
        while not download.is_whole:
            before = download.received
            try:
                await download.read_on()
            except NotFound:
                raise BadGateway(f"The primary has no {printable(entry.path)} any more.") from None
            except TemporaryFailure:
                failures = 0 if download.received > before else failures + 1
                if failures >= _TRIES:
                    raise


def _and(sentence: str) -> str:
    return f" It says: {sentence}" if sentence else ""
