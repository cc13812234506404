"""
Digests of recently placed or read files, so that a change of a project doesn't read all of its files again.

Blocking, and safe in any thread.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from twisted_index.files.safe_open import sha256_of

if TYPE_CHECKING:
    from twisted_index.replication.receipt import Receipt

#: Digests to remember.
_MAX_DIGESTS = 10_000


class KnownDigests:
    """Digests by path, valid while a file's inode, size and times are unchanged."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[tuple[int, ...], str]] = {}
        self._lock = threading.Lock()

    def find(self, path: bytes) -> str | None:
        """Return the digest of a file; None if it isn't known."""
        key, sha256 = self._known.get(path, ((), ""))
        return sha256 if key and key == _key(path) else None

    def read(self, path: bytes) -> str:
        """Read a file and return its digest; `-`, which equals none, if it can't be read."""
        key, sha256 = _key(path), sha256_of(path) or "-"
        if key == _key(path):
            self._keep(path, key, sha256)
        return sha256

    def learn(self, path: bytes, place: bytes, receipt: Receipt) -> None:
        """Keep the digest of a received file, now at `place`, under its final path."""
        self._keep(path, _key(place), receipt.entry.sha256)

    def renew(self, path: bytes, sha256: str) -> None:
        """Keep the digest of a file whose time was just set."""
        self._keep(path, _key(path), sha256)

    def _keep(self, path: bytes, key: tuple[int, ...], sha256: str) -> None:
        with self._lock:
            self._known.pop(path, None)
            self._known[path] = key, sha256
            if len(self._known) > _MAX_DIGESTS:
                del self._known[next(iter(self._known))]


def _key(path: bytes) -> tuple[int, ...]:
    try:
        status = os.lstat(path)
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
