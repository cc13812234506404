"""
The errors of twisted-index: one base class, each with its HTTP status and a public sentence.

They are raised where the fact is known and turned into a response in one place,
`twisted_index.web.sentences`. Nothing in a sentence may name a path of the server or a secret.
"""

from __future__ import annotations

from typing import ClassVar


class SimpleIndexError(Exception):
    """
    Something that a client is told in one sentence.

    Args:
        sentence: One or two whole sentences, safe to show to anybody.
    """

    status: ClassVar[int] = 500

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The header fields that belong to this answer, beyond the usual ones."""
        return ()


class BadRequest(SimpleIndexError):
    """The request itself is malformed (RFC 9110 section 15.5.1)."""

    status = 400


class Unauthorized(SimpleIndexError):
    """
    Nobody, or somebody whose password is wrong, asks for what not everyone may have.

    The one status at which installers look for credentials (RFC 9110 section 15.5.2, RFC 7617).
    """

    status = 401

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The challenge."""
        return ((b"WWW-Authenticate", b'Basic realm="Python package index", charset="UTF-8"'),)


class Forbidden(SimpleIndexError):
    """Whoever asks is known, or need not be, and may not do it (RFC 9110 section 15.5.4)."""

    status = 403


class NotFound(SimpleIndexError):
    """What was asked for is not here: the one status that sends an installer to its next index."""

    status = 404


class MethodNotAllowed(SimpleIndexError):
    """
    The method is not one of those that this URL knows (RFC 9110 section 15.5.6).

    Args:
        allowed: The methods that are known here, for the Allow field.
    """

    status = 405

    def __init__(self, sentence: str, allowed: tuple[bytes, ...]) -> None:
        super().__init__(sentence)
        self.allowed = allowed

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Allow, as RFC 9110 demands of a 405."""
        return ((b"Allow", b", ".join(self.allowed)),)


class Conflict(SimpleIndexError):
    """What is to be published contradicts what is there (RFC 9110 section 15.5.10)."""

    status = 409


class Gone(SimpleIndexError):
    """What was asked for is no longer done by any index (RFC 9110 section 15.5.11)."""

    status = 410


class TooLarge(SimpleIndexError):
    """A body is larger than is taken (RFC 9110 section 15.5.14)."""

    status = 413


class UnsupportedMediaType(SimpleIndexError):
    """A body is of a type that this URL does not take (RFC 9110 section 15.5.16)."""

    status = 415


class _Later(SimpleIndexError):
    """
    What may be asked again after a while.

    Args:
        retry_after: Whole seconds; pip sleeps that long and poetry takes nothing but an integer.
    """

    def __init__(self, sentence: str, retry_after: int) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Retry-After, in integer seconds."""
        return ((b"Retry-After", b"%d" % self.retry_after),)


class TooManyRequests(_Later):
    """Too much was tried in too short a time (RFC 6585 section 4)."""

    status = 429


class NotSupported(SimpleIndexError):
    """What is asked for is not done by this server as it is set up (RFC 9110 section 15.6.2)."""

    status = 501


class Unavailable(_Later):
    """The truth cannot be told right now; never a 404 and never a page with files missing."""

    status = 503

    def __init__(self, sentence: str, retry_after: int = 5) -> None:
        super().__init__(sentence, retry_after)


class NotReady(Unavailable):
    """The answer takes longer than a client waits; it is being worked on."""


class BadGateway(Unavailable):
    """An upstream answered with something that cannot be used (RFC 9110 section 15.6.3)."""

    status = 502


class InsufficientStorage(SimpleIndexError):
    """There is no room for what is to be kept (RFC 4918 section 11.5)."""

    status = 507


class LoopDetected(SimpleIndexError):
    """A request has come back to the server that sent it upstream (RFC 5842 section 7.2)."""

    status = 508


class Elsewhere(SimpleIndexError):
    """
    What was asked for is at another URL for now (RFC 9110 section 15.4.3).

    Never 301: clients keep that for ever, whatever else the answer says.

    Args:
        location: An absolute URL.
    """

    status = 302

    def __init__(self, sentence: str, location: str) -> None:
        super().__init__(sentence)
        self.location = location

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Where it is."""
        return ((b"Location", self.location.encode("ascii")),)


class ConfigurationError(SimpleIndexError):
    """Options that cannot work; told in one line at start, before anything listens."""
