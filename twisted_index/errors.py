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


class Unavailable(SimpleIndexError):
    """
    The truth cannot be told right now; never a 404 and never a page with files missing.

    Args:
        retry_after: Whole seconds; pip sleeps that long and poetry takes nothing but an integer.
    """

    status = 503

    def __init__(self, sentence: str, retry_after: int = 5) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Retry-After, in integer seconds."""
        return ((b"Retry-After", b"%d" % self.retry_after),)


class NotReady(Unavailable):
    """The answer takes longer than a client waits; it is being worked on."""


class ConfigurationError(SimpleIndexError):
    """Options that cannot work; told in one line at start, before anything listens."""
