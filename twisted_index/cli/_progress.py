"""
The progress of transfers: bars on a terminal where tqdm is there, lines otherwise.

All of it is written to standard error, since standard output is for results.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from types import TracebackType

try:
    from tqdm import tqdm
except ImportError:  # it comes with the extra `download`
    tqdm = None


class Progress:
    """
    Shows progress as an `IProgress`; to be closed by its context.

    Args:
        quiet: Failures only.
        lines: Whether each file has its line where there is no bar.
        stream: The output; standard error by default.
    """

    def __init__(self, *, quiet: bool = False, lines: bool = True, stream: TextIO | None = None) -> None:
        self._quiet = quiet
        self._lines = lines and not quiet
        self._stream = stream or sys.stderr
        self._with_bar = tqdm is not None and not quiet and self._stream.isatty()
        self._bar: Any = None
        self._files = self._done = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def expect(self, files: int, size: int) -> None:
        """Add to what is still to come; `size` in bytes is 0 for files of unknown size."""
        self._files += files
        if self._with_bar:
            if self._bar is None:
                self._bar = tqdm(total=0, unit="B", unit_scale=True, file=self._stream, dynamic_ncols=True)
            self._bar.total += size
            self._count(0)

    def advance(self, size: int) -> None:
        """Count bytes of a file that is still on its way."""
        if self._bar is not None:
            # Sizes that were unknown come to light as the bytes do.
            self._bar.total = max(self._bar.total, self._bar.n + size)
            self._bar.update(size)

    def done(self, name: str, size: int) -> None:
        """Count a file that is there; its line has its size in bytes."""
        self._count(1)
        if self._bar is None and self._lines:
            self._line(f"{name}  {format_size(size)}")

    def failed(self, name: str, reason: str) -> None:
        """Count a file that could not be had, and say why."""
        self._count(1)
        self._line(f"{name}: {reason}")

    def say(self, sentence: str) -> None:
        """Say a sentence beside the files."""
        if not self._quiet:
            self._line(sentence)

    def _count(self, files: int) -> None:
        self._done += files
        if self._bar is not None:
            self._bar.set_description_str(f"{self._done}/{self._files} files")

    def _line(self, text: str) -> None:
        if self._bar is None:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        else:
            self._bar.write(text, file=self._stream)


def format_size(size: int) -> str:
    """Format a number of bytes."""
    for unit, power in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= power:
            return f"{size / power:.1f} {unit}"
    return f"{size} bytes"


def number(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural if need be."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
