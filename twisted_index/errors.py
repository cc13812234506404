"""
Errors: one base class, each with its HTTP status and a public message.

Code raises them where the fact is known; `twisted_index.web.responses.error_pages` turns them into
responses. A message never contains a path of the server or a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class SimpleIndexError(Exception):
    """
    An error with an HTTP status.

    Args:
        message: One or two whole sentences, safe to show to any client.

    Attributes:
        from_upstream: Whether an upstream was asked first, which may have taken its time; for the metrics.
    """

    status: ClassVar[int] = 500
    from_upstream = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Header fields of the response, beyond the usual ones."""
        return ()


class BadRequest(SimpleIndexError):
    """The request is malformed (RFC 9110 section 15.5.1)."""

    status = 400


class Unauthorized(SimpleIndexError):
    """
    The resource needs authentication, and the request has no credentials or wrong ones.

    Installers look for credentials at this status only (RFC 9110 section 15.5.2, RFC 7617).

    Attributes:
        claimed: The user or token that the credentials name, for the audit log: `alice`, `token ci`. Empty if
            there is none of that name, since people type passwords into the field of the user too.
    """

    status = 401
    claimed = ""

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The challenge."""
        return ((b"WWW-Authenticate", b'Basic realm="Python package index", charset="UTF-8"'),)


class Forbidden(SimpleIndexError):
    """
    The client has no right to do this, with any credentials it may send (RFC 9110 section 15.5.4).

    Args:
        message: As for `SimpleIndexError`.
        project: The project that this is about, normalized; empty for none.
    """

    status = 403

    def __init__(self, message: str, project: str = "") -> None:
        super().__init__(message)
        self.project = project


class NotFound(SimpleIndexError):
    """The resource does not exist: the one status that sends an installer to its next index."""

    status = 404


class MethodNotAllowed(SimpleIndexError):
    """
    The URL does not support the method (RFC 9110 section 15.5.6).

    Args:
        allowed: The supported methods, for the Allow field.
    """

    status = 405

    def __init__(self, message: str, allowed: tuple[bytes, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Allow, which RFC 9110 requires of a 405."""
        return ((b"Allow", b", ".join(self.allowed)),)


class Conflict(SimpleIndexError):
    """The request contradicts what is there, such as a file of that name (RFC 9110 section 15.5.10)."""

    status = 409


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPart:
    """
    Why something is not promoted.

    Attributes:
        name: A project, a release or a file.
        reason: A sentence.
        is_forbidden: Whether the client lacks a right.
    """

    name: str
    reason: str
    is_forbidden: bool = False


class PromotionRefused(Conflict):
    """
    Nothing was promoted, as something is in the way.

    Args:
        refusals: All of it.
    """

    def __init__(self, refusals: Iterable[RefusedPart]) -> None:
        self.refusals = tuple(refusals)
        super().__init__(
            "Nothing was promoted. " + " ".join(f"{each.name}: {each.reason}" for each in self.refusals)
        )


class PromotionForbidden(PromotionRefused):
    """Nothing was promoted, as the client may not promote all of it."""

    status = 403


class ContradictingMetadata(SimpleIndexError):
    """
    An upstream's file permanently contradicts the upstream's promise.

    Clients show the message and stop. At a 502 pip and uv retry, and pip ends in a traceback. Unlike
    404 and 410, caches must not store it (RFC 9110 section 15.1).
    """

    status = 409


class Gone(SimpleIndexError):
    """No index supports this operation any more (RFC 9110 section 15.5.11)."""

    status = 410


class ContentTooLarge(SimpleIndexError):
    """The body exceeds a limit (RFC 9110 section 15.5.14)."""

    status = 413


class UnsupportedMediaType(SimpleIndexError):
    """The URL does not accept this type of body (RFC 9110 section 15.5.16)."""

    status = 415


class _RetryLater(SimpleIndexError):
    """
    A temporary failure; the client may retry after `retry_after` seconds.

    Args:
        retry_after: Whole seconds: pip sleeps that long, and poetry accepts only an integer.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Retry-After, in integer seconds."""
        return ((b"Retry-After", b"%d" % self.retry_after),)


class TooManyRequests(_RetryLater):
    """
    The client has sent too many requests or passwords (RFC 6585 section 4).

    Attributes:
        claimed: As for `Unauthorized`.
    """

    status = 429
    claimed = ""


class NotImplementedHere(SimpleIndexError):
    """The server, as configured, does not support the request (RFC 9110 section 15.6.2)."""

    status = 501


class Unavailable(_RetryLater):
    """The answer is unknown right now; in its place never 404, and never a page with files missing."""

    status = 503

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message, retry_after)


class ReplacedMeanwhile(Unavailable):
    """A file is not the one any more that was found; a source that is asked again finds what is there now."""


class UnreadableFolder(Unavailable):
    """
    A folder of the server is unreadable: its own names fail, all others work.

    Args:
        what: Subject of the public message.
        display_path: The folder relative to its root, printable, for operators.
        reason: The system's error text, without a full stop.
        advice: One sentence: what to do.
    """

    def __init__(self, what: str, *, display_path: str, reason: str, advice: str) -> None:
        super().__init__(f"{what} cannot be read right now: {reason}.")
        self.display_path = display_path
        self.reason = reason
        self.advice = advice


class OutOfResources(Unavailable):
    """The server is short of a resource, such as descriptors; the request itself is fine."""


class NotReady(Unavailable):
    """The work takes longer than a client waits, and goes on."""


class BadGateway(Unavailable):
    """An upstream sent an unusable response (RFC 9110 section 15.6.3)."""

    status = 502


class InsufficientStorage(SimpleIndexError):
    """The disk is full, or over quota (RFC 4918 section 11.5)."""

    status = 507


class LoopDetected(SimpleIndexError):
    """A request came back to the server that sent it upstream (RFC 5842 section 7.2)."""

    status = 508


class Found(SimpleIndexError):
    """
    The resource is at another URL for now (RFC 9110 section 15.4.3).

    Never 301: clients keep that for ever, whatever the other header fields say.

    Args:
        location: An absolute URL.
    """

    status = 302

    def __init__(self, message: str, location: str) -> None:
        super().__init__(message)
        self.location = location

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The target."""
        return ((b"Location", self.location.encode("ascii")),)


class ConfigurationError(SimpleIndexError):
    """Settings that cannot work: one line at the start, before the server listens."""
