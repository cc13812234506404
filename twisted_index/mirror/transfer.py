"""
One file on its way from the index into the folder: received in threads, checked, then named.

A connection that breaks is continued by a range; the digest of the whole decides.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from twisted_index.backends.folder.inspection import inspect
from twisted_index.backends.layout.facts import Rejection, StatKey
from twisted_index.backends.upstream.download import Download, DownloadTarget
from twisted_index.backends.upstream.expected_file import ExpectedFile
from twisted_index.errors import SimpleIndexError, Unavailable
from twisted_index.files.anonymous_file import open_anonymous
from twisted_index.mirror.folder import Arrival, line_of_arrival
from twisted_index.simple.names import parse_filename

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted.internet.defer import Deferred

    from twisted_index.backends.upstream.remote import RemoteFile, ResponseStream
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.files.anonymous_file import AnonymousFile
    from twisted_index.mirror.progress import IProgress
    from twisted_index.mirror.source_index import SourceIndex


class Transfer:
    """
    Fetches one file.

    Args:
        index: Where it comes from.
        root: The folder on whose file system it is to stay.
        project: The project of the file.
        remote: The file.
        place: Gives the file its name, once it is verified; returns why it has none.
        worker: Threads.
        reactor: Twisted's reactor.
        progress: Sees the bytes arrive.
        now: Returns the current time, aware.

    Attributes:
        size: Bytes received.
        os_error: What the system failed with; None if it did not.
    """

    def __init__(
        self,
        index: SourceIndex,
        root: bytes,
        project: str,
        remote: RemoteFile,
        *,
        place: Callable[[Arrival], Awaitable[str]],
        worker: IThreadRunner,
        reactor: Any,
        progress: IProgress,
        now: Callable[[], datetime],
    ) -> None:
        self._root = root
        self._remote = remote
        self._distribution = parse_filename(remote.file.filename, project)
        self._place = place
        self._reactor = reactor
        self._progress = progress
        self._now = now
        self._modified = ""
        self._arrival: Arrival | None = None
        self._rejection = ""
        self._error: BaseException | None = None
        self.size = 0
        self.os_error: OSError | None = None
        self._download = Download(
            fetch=lambda first: self._fetch(index, project, first),
            expected=ExpectedFile(
                filename=remote.file.filename,
                upstream=index.url,
                size=remote.file.size,
                hashes=remote.file.hashes,
            ),
            target=DownloadTarget(create=self._create, write=self._write, commit=self._check),
            on_complete=self._complete,
            worker=worker,
            clock=reactor,
        )

    async def run(self) -> str:
        """
        Fetch the file, and have it placed.

        Returns:
            Why there is no file, in a sentence; empty if there is.
        """
        reader = self._download.join()
        try:
            await reader.wait_complete()
            await self._download.wait_finished()
        except SimpleIndexError as error:
            return self._explain(error)
        finally:
            self._download.abort(Unavailable("The run has been stopped."))
            reader.close()
        if self._error is not None:
            raise self._error
        return self._rejection or self._explain(None)

    def _explain(self, error: SimpleIndexError | None) -> str:
        if self.os_error is not None:
            return f"It cannot be written: {self.os_error.strerror}."
        if error is not None and self._download.is_rejected:
            return "Its size or digest is not the one that the index states."
        return "" if error is None else error.message

    def _fetch(self, index: SourceIndex, project: str, first: int | None) -> Deferred[ResponseStream | None]:
        return index.fetch(project, self._remote.url, first).addCallback(self._note_time)

    def _note_time(self, stream: ResponseStream | None) -> ResponseStream | None:
        if stream is not None:
            self._modified = stream.modified or self._modified
        return stream

    # -- In threads

    def _create(self, _size: int | None) -> AnonymousFile | None:
        try:
            return open_anonymous(self._root)
        except OSError as error:
            self.os_error = error
            return None

    def _write(self, file: AnonymousFile, data: bytes, position: int) -> int:
        written, error = file.write_what_fits(data, position)
        self.os_error = self.os_error or error
        file.start_writeback(position, written)
        self.size += written
        self._reactor.callFromThread(self._progress.advance, written)
        return written

    def _check(self, file: AnonymousFile, sha256: str) -> bool:
        try:
            self._prepare(file, sha256)
        except OSError as error:
            self.os_error = error
        except SimpleIndexError as error:
            self._rejection = error.message
        return self._arrival is not None

    def _prepare(self, file: AnonymousFile, sha256: str) -> None:
        file.allow_reading()
        line = line_of_arrival(
            file, self._distribution, sha256=sha256, url=self._remote.url, time=self._time()
        )
        result = inspect(
            file.readable_path,
            self._distribution,
            StatKey.from_stat(os.fstat(file.descriptor)),
            verify_members=True,
            sha256=sha256,
        )
        if isinstance(result, Rejection):
            self._rejection = f"It is no usable file: {result.reason}"
            return
        self._arrival = Arrival(file=file, distribution=self._distribution, line=line)

    def _time(self) -> datetime:
        """Return the upload time, else that of the response, else now; never a later one than now."""
        now = self._now()
        uploaded = self._remote.file.upload_time or _parse_date(self._modified) or now
        return min(uploaded, now)

    async def _complete(self, _download: Download) -> None:
        if self._arrival is None:
            return
        try:
            self._rejection = await self._place(self._arrival)
        except BaseException as error:
            # The download would only log it; `run` raises it.
            self._error = error


def _parse_date(field: str) -> datetime | None:
    try:
        time = parsedate_to_datetime(field)
    except (ValueError, TypeError):
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
