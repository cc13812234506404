"""Whether a file that is read again when it changes could be used, for those who operate the server."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from twisted.logger import Logger

from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = Logger()


class ReloadStatus:
    """
    The outcome of the latest reading of one file, or of files that belong together.

    Args:
        kind: What it holds, such as "rights": known to every client.
        path: Absolute.
        wall: Seconds since the epoch.

    Attributes:
        error: What is wrong, in a sentence, for those who may see paths; None if it could be used.
        effect: What the server does meanwhile, in a sentence; empty without an error.
        warning: The same as `error` for clients who may not see paths.
        loaded_at: When it could be used last, in seconds since the epoch.
        report: Called with a sentence when the file takes effect, cannot be used, or can be used again.
    """

    def __init__(self, kind: str, path: str, *, wall: Callable[[], float] = time.time) -> None:
        self._kind = kind
        self._wall = wall
        self.path = printable(path)
        self.error: str | None = None
        self.effect = ""
        self.warning: str | None = None
        self.loaded_at = wall()
        self.report: Callable[[str], None] = _nothing

    @property
    def name(self) -> str:
        """The name of the file, without its folder."""
        return os.path.basename(self.path)

    def succeed(self) -> bool:
        """Note that the file could be used; return whether that is new."""
        was_wrong = self.error is not None
        self.error, self.effect, self.warning = None, "", None
        self.loaded_at = self._wall()
        if was_wrong:
            self.report(f"The {self._kind} can be used again: {self.path}")
        return was_wrong

    def take_effect(self, what: str = "") -> None:
        """Report that a changed file is in use, and what has changed, if that is known."""
        self.report(f"The {self._kind} took effect: {self.path}{f' ({what})' if what else ''}")

    def fail(self, error: str, effect: str, warning: str | None = None) -> None:
        """
        Note that the file cannot be used, and log it once.

        Args:
            error: See the attributes.
            effect: See the attributes.
            warning: By default a sentence that names the kind of the file.
        """
        error = printable(error)
        if error != self.error:
            _log.critical("{effect} {error}", effect=effect, error=error)
            self.report(f"{effect} {error}")
        self.error, self.effect = error, effect
        self.warning = (
            warning or f"The {self._kind} has a mistake or cannot be read; see the list of problems."
        )


def _nothing(_sentence: str) -> None:
    """Do nothing."""


@runtime_checkable
class ReloadedFile(Protocol):
    """A file, or several that belong together, read again when they change."""

    status: ReloadStatus

    def check(self) -> Awaitable[None] | None:
        """Read it if it has changed; within seconds, and without raising."""
