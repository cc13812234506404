"""
Immutable files that an upstream has replaced under their names: what users and the operator read.

Out of scope: which files these are (see `page_record`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from twisted_index.errors import BadGateway
from twisted_index.interfaces import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted_index.backends.upstream.remote import (
        IUpstreamClient,
        NotModified,
        RemoteFile,
        RemotePage,
        ResponseStream,
    )

_log = Logger()


class ReplacedFileClient:
    """
    The upstream of a replaced file (`IUpstreamClient`): it no longer has the content that is listed.

    No request is sent, since the response would be that of the new file. Every method fails with
    `BadGateway`.

    Args:
        remote: The upstream.
        filename: The name of the file.
    """

    def __init__(self, remote: IUpstreamClient, filename: str) -> None:
        self.url = remote.url
        self.is_immutable = remote.is_immutable
        self.lists_digests = remote.lists_digests
        self._filename = filename

    def page(
        self, project: str, *, etag: str | None = None, modified: str | None = None
    ) -> Deferred[RemotePage | NotModified | None]:
        """See `IUpstreamClient`."""
        return fail(self._error())

    def document(self, url: str, limit: int) -> Deferred[bytes | None]:
        """See `IUpstreamClient`."""
        return fail(self._error())

    def fetch(
        self, url: str, *, first: int | None = None, last: int | None = None
    ) -> Deferred[ResponseStream | None]:
        """See `IUpstreamClient`."""
        return fail(self._error())

    def metadata(self, file: RemoteFile, limit: int) -> Deferred[bytes | None]:
        """See `IUpstreamClient`."""
        return fail(self._error())

    def _error(self) -> BadGateway:
        return BadGateway(
            f"The upstream replaced {self._filename} under its name: the new content is refused, and the"
            " listed one is not in the cache. Publish it under a new version; or, if the change is intended,"
            " list the upstream in upstream-rebuilds."
        )


def replaced_file_problem(project: str, filename: str) -> Problem:
    """Return the problem row of a replaced file."""
    return Problem(
        path=f"{project}/{filename}",
        reason="The upstream replaced this file under its name; the previous one stays listed, and is served"
        " from the cache only.",
        advice="Publish the new content under a new version; or, if the change is intended, list the upstream"
        f" in upstream-rebuilds, or run twisted-index refresh {project}.",
    )


def log_replaced_files(upstream: str, filenames: Iterable[str]) -> None:
    """Log each file that an upstream replaced."""
    for filename in filenames:
        _log.error(
            "{upstream} replaced {filename} under its name: the new content is refused, and the previous"
            " entry stays listed.",
            upstream=upstream,
            filename=filename,
        )
