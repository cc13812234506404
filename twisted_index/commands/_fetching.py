"""
Fetching many files from one server, to have them there and not here.

Not for: which files (`_resolving`).
"""

from __future__ import annotations

import hashlib
import http.client
import sys
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor, as_completed
from http import HTTPStatus
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.commands._resolving import Index, Wanted

#: Bytes that are read at once.
_CHUNK = 1 << 16
#: How often a file is asked for that the server does not have yet, and seconds between at most.
_ATTEMPTS = 4
_LONGEST_PAUSE = 10
#: Characters of a bar.
_WIDTH = 30


class Told:
    """
    Says how far it is: a bar that is drawn anew on a terminal, a line for each file elsewhere.

    Args:
        total: How many files there are.
        stream: Where to.
    """

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._total = total
        self._stream = stream or sys.stderr
        self._drawn = self._stream.isatty()
        self._done = 0

    def fetched(self, file: Wanted, size: int) -> None:
        """Tell of a file that came."""
        self._done += 1
        self._line("" if self._drawn else f"{file.name}  {amount(size)}")

    def failed(self, file: Wanted, reason: str) -> None:
        """Tell of a file that did not."""
        self._done += 1
        self._line(f"{file.name}: {reason}")

    def note(self, sentence: str) -> None:
        """Tell of something else."""
        self._stream.write(f"{sentence}\n")

    def finish(self) -> None:
        """Leave the bar standing."""
        if self._drawn and self._total:
            self._stream.write("\n")
            self._stream.flush()

    def _line(self, text: str) -> None:
        # "\x1b[K" clears what a longer line left.
        clear = "\r\x1b[K" if self._drawn else ""
        self._stream.write(f"{clear}{text}\n" if text else clear)
        if self._drawn:
            filled = _WIDTH * self._done // max(self._total, 1)
            bar = "#" * filled + "." * (_WIDTH - filled)
            self._stream.write(f"[{bar}] {self._done}/{self._total} files")
        self._stream.flush()


def fetch_all(index: Index, files: Sequence[Wanted], jobs: int, told: Told) -> tuple[int, int]:
    """
    Fetch files, several at once.

    Args:
        index: The server that has them; others are not asked.
        files: Each once.
        jobs: How many at once.
        told: Is told of each.

    Returns:
        How many did not come, and how many bytes did.
    """
    failures = received = 0
    with ThreadPoolExecutor(jobs) as pool:
        try:
            begun = {pool.submit(_fetch, index, file): file for file in files}
            for future in as_completed(begun):
                size, reason = future.result()
                received += size
                if reason:
                    failures += 1
                    told.failed(begun[future], reason)
                else:
                    told.fetched(begun[future], size)
        except BaseException:  # an interrupt: what has not begun need not
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    told.finish()
    return failures, received


def _fetch(index: Index, file: Wanted) -> tuple[int, str]:
    """Fetch a file and throw it away: how many bytes came, and why it failed; empty if it did not."""
    if not index.has(file.url):
        return 0, "This is not a file of the index, and has been left alone."
    try:
        size, sha256 = _read(index, file.url)
    except (OSError, http.client.HTTPException) as error:
        return 0, f"This cannot be fetched: {' '.join(str(error).split()) or type(error).__name__}."
    if file.sha256 is not None and sha256 != file.sha256:
        return size, "This has come with another digest than the index promised."
    return size, ""


def _read(index: Index, url: str) -> tuple[int, str]:
    """Read a file: how many bytes, and their digest. Asks again where the server says later."""
    for left in range(_ATTEMPTS - 1, -1, -1):
        try:
            with index.open(url) as answer:
                digest, size = hashlib.sha256(), 0
                while chunk := answer.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                return size, digest.hexdigest()
        except urllib.error.HTTPError as error:
            error.close()
            pause = error.headers.get("Retry-After", "")
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE or not pause.isdigit() or not left:
                raise
            time.sleep(min(int(pause), _LONGEST_PAUSE))
    raise AssertionError("the last attempt returns or raises")


def amount(size: int) -> str:
    """Write a number of bytes for people."""
    for unit, power in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= power:
            return f"{size / power:.1f} {unit}"
    return f"{size} bytes"
