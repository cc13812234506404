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
    A file as an upstream's page tells of it.

    Attributes:
        file: As it is to be listed; what the upstream does not say is absent in it, never invented.
            For a wheel of which the upstream offers no core metadata it says so all the same
            (of unknown digest), since it can be read out of the wheel.
        url: Where its bytes are: absolute, http or https, without user and fragment.
        offers_metadata: Whether the upstream itself has a `.metadata` at the URL.
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
        files: In the order of the page; each is named for the project, and no name is there twice.
        versions: That the upstream says there are, besides those of the files.
        status: Of the project; a quarantined one has no files.
        left_out: How many files the page has besides, by the reason why they are not listed, which is
            a clause.
        etag: As it came, to be sent back; None without.
        modified: The Last-Modified field as it came; None without.
    """

    project: str
    files: tuple[RemoteFile, ...] = ()
    versions: tuple[str, ...] = ()
    status: ProjectStatus = field(default_factory=ProjectStatus)
    left_out: Mapping[str, int] = field(default_factory=dict)
    etag: str | None = None
    modified: str | None = None


class NotModified(enum.Enum):
    """The one answer that says: what you have is still so."""

    NOT_MODIFIED = enum.auto()


NOT_MODIFIED = NotModified.NOT_MODIFIED


class ResponseStream(Protocol):
    """
    A body that has begun to come; paused until it is delivered.

    Attributes:
        status: 200 or 206.
        length: Bytes of this body; None if the upstream does not say.
        total: Bytes of the whole file; None if the upstream does not say.
        coding: Its content coding, not decoded; empty without one.
        is_delimited: Whether anything but the end of the connection marked the end of the body; counts only
            when that is here.
    """

    status: int
    length: int | None
    total: int | None
    coding: str
    is_delimited: bool

    def deliver(self, receive: Callable[[bytes], None]) -> Deferred[None]:
        """
        Pass on what comes.

        Returns:
            Fires at the end of the body, and fails with `BadGateway` or `Unavailable` if it is
            broken off, or no byte comes for too long.
        """

    def pause(self) -> None:
        """Let no more come for now."""

    def resume(self) -> None:
        """Let it come again."""

    def abort(self) -> None:
        """Break it off; the Deferred of `deliver` fails."""


class IUpstreamClient(Protocol):
    """
    One upstream index.

    Every method may raise `Unavailable` (it cannot be reached, is too slow, or says so itself) and
    `BadGateway` (what it says cannot be used).

    Attributes:
        url: Of its simple API, with a slash at its end and without user; names it in caches.
    """

    url: str

    def page(
        self, project: str, *, etag: str | None = None, modified: str | None = None
    ) -> Deferred[RemotePage | NotModified | None]:
        """
        Ask for a project page.

        Args:
            project: A normalized name.
            etag: Of what is known already; None to get the page in any case.
            modified: Likewise.

        Returns:
            None if the upstream says that there is no such project (404, or 410).
        """

    def document(self, url: str, limit: int) -> Deferred[bytes | None]:
        """
        Fetch a small document, such as core metadata, whole.

        Args:
            url: Derived from a file's of this upstream.
            limit: In bytes; a larger one is `BadGateway`.

        Returns:
            None if it is not there.
        """

    def fetch(
        self, url: str, *, first: int | None = None, last: int | None = None
    ) -> Deferred[ResponseStream | None]:
        """
        Ask for the bytes of a file as they are, without a content coding.

        Args:
            url: A file's of this upstream.
            first: Of the requested range; None for the whole file, and with `last` for
                the last so many bytes. The answer may be the whole file all the same.
            last: The last position of the range, inclusive; without `first`, a number of bytes.

        Returns:
            None if it is not there.
        """

    def metadata(self, file: RemoteFile, limit: int) -> Deferred[bytes | None]:
        """
        Read the core metadata out of a remote wheel by ranges, without fetching all of it.

        Returns:
            None if the upstream gives no ranges.
        """
