"""
Values and protocols between the parts of the upstream backend.

An `IUpstreamClient` sends requests and caches nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from twisted_index.simple.model import ProjectStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.defer import Deferred

    from twisted_index.simple.model import File


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """
    A file on an upstream's page.

    Attributes:
        file: The file to list, with no values that the upstream did not state. The exception: every
            wheel has core metadata (without a digest), since it can be read from the wheel.
        url: The download URL: absolute, http or https, without user and fragment.
        offers_metadata: Whether the upstream itself offers a `.metadata` file beside the URL.
    """

    file: File
    url: str
    offers_metadata: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePage:
    """
    A project page of an upstream.

    Attributes:
        project: A normalized name.
        files: In the order of the page; each is named for the project, and names are unique.
        versions: Versions that the upstream states, besides those of the files.
        status: The project's status; a quarantined project has no files.
        left_out: Number of files that are not listed, by reason (a clause).
        etag: The ETag field, to be sent back unchanged; None without one.
        modified: The Last-Modified field, unchanged; None without one.
        serial: The serial of the project that the response states; None without one.
    """

    project: str
    files: tuple[RemoteFile, ...] = ()
    versions: tuple[str, ...] = ()
    status: ProjectStatus = field(default_factory=ProjectStatus)
    left_out: Mapping[str, int] = field(default_factory=dict)
    etag: str | None = None
    modified: str | None = None
    serial: int | None = None


class NotModified(enum.Enum):
    """The result of a conditional request whose response is 304."""

    NOT_MODIFIED = enum.auto()


NOT_MODIFIED = NotModified.NOT_MODIFIED


class ResponseStream(Protocol):
    """
    A response body; paused until `deliver`.

    Attributes:
        status: 200 or 206.
        length: Bytes of this body; None if unknown.
        total: Bytes of the whole file; None if unknown.
        coding: Its content coding, not decoded; empty without one.
        modified: The Last-Modified field; empty without one.
        is_delimited: Whether anything but the end of the connection marked the end of the body; valid only
            after its end.
    """

    status: int
    length: int | None
    total: int | None
    coding: str
    modified: str
    is_delimited: bool

    def deliver(self, receive: Callable[[bytes], None]) -> Deferred[None]:
        """
        Pass the body on as it arrives.

        Returns:
            Fires at the end of the body; fails with `BadGateway` or `Unavailable` if it is truncated
            or stalls.
        """

    def pause(self) -> None:
        """Stop the flow until `resume`."""

    def resume(self) -> None:
        """Let the body flow again."""

    def abort(self) -> None:
        """Abort the response; the Deferred of `deliver` fails."""


class IUpstreamClient(Protocol):
    """
    One upstream index.

    Every method may raise `Unavailable` (unreachable, too slow, or a temporary error status) and
    `BadGateway` (an unusable response).

    Attributes:
        url: URL of its simple API, with a trailing slash and without user; the key in caches.
        is_immutable: Whether other content under a listed name is refused, since its files never change;
            the URL of a file then names its content.
        lists_digests: Whether every file has to be listed with a SHA-256 digest; those for which the
            upstream promises none are fetched first.
    """

    url: str
    is_immutable: bool
    lists_digests: bool

    def page(
        self, project: str, *, etag: str | None = None, modified: str | None = None
    ) -> Deferred[RemotePage | NotModified | None]:
        """
        Request a project page.

        Args:
            project: A normalized name.
            etag: ETag of the stored page, for a conditional request; None without one.
            modified: Last-Modified of the stored page, for a conditional request; None without one.

        Returns:
            None if there is no such project (404 or 410).
        """

    def document(self, url: str, limit: int) -> Deferred[bytes | None]:
        """
        Fetch a small document, such as core metadata, whole.

        Args:
            url: URL derived from that of a file of this upstream.
            limit: Bytes; a larger document fails with `BadGateway`.

        Returns:
            None if it does not exist.
        """

    def fetch(
        self, url: str, *, first: int | None = None, last: int | None = None
    ) -> Deferred[ResponseStream | None]:
        """
        Request the bytes of a file, without a content coding.

        Args:
            url: URL of a file of this upstream.
            first: The first position of a range. None requests the whole file, or with `last` a suffix
                range. The response may be the whole file in any case.
            last: The last position of the range, inclusive; without `first`, the length of the suffix.

        Returns:
            None if it does not exist.
        """

    def metadata(self, file: RemoteFile, limit: int) -> Deferred[bytes | None]:
        """
        Read the core metadata of a remote wheel by range requests.

        Returns:
            None if the upstream does not support ranges.
        """
