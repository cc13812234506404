"""What a run that lasts says of itself while it runs."""

from __future__ import annotations

from typing import Protocol


class IProgress(Protocol):
    """Shows the progress of transfers. Sizes are in bytes, names those of files, reasons whole sentences."""

    def expect(self, files: int, size: int) -> None:
        """Add to what is still to come; `size` is 0 for files of unknown size."""

    def advance(self, size: int) -> None:
        """Count bytes of a file that is still on its way."""

    def done(self, name: str, size: int) -> None:
        """Count a file that is there, of this size in all."""

    def failed(self, name: str, reason: str) -> None:
        """Count a file that could not be had."""

    def say(self, sentence: str) -> None:
        """Say a sentence beside the files."""


class Silence:
    """Shows nothing."""

    def expect(self, files: int, size: int) -> None:
        """See `IProgress`."""

    def advance(self, size: int) -> None:
        """See `IProgress`."""

    def done(self, name: str, size: int) -> None:
        """See `IProgress`."""

    def failed(self, name: str, reason: str) -> None:
        """See `IProgress`."""

    def say(self, sentence: str) -> None:
        """See `IProgress`."""
