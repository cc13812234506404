"""
Digests of recently placed or read files, so that a change of a project doesn't read all of its files again.

Blocking, and safe in any thread.
"""

from __future__ import annotations

import os
import threading
from struct import Struct
from typing import TYPE_CHECKING

from twisted_index.files.safe_open import sha256_of

if TYPE_CHECKING:
    from twisted_index.replication.receipt import Receipt

#: Digests to remember.
_MAX_DIGESTS = 10_000
#: What changes when a file does: its inode, size and times.
_KEY = Struct("=QQQQ")
#: Some file systems have greater numbers: inodes of 128 bits, times before 1677 or after 2262.
_MASK = 0xFFFF_FFFF_FFFF_FFFF


class KnownDigests:
    """Digests by path, valid while a file's inode, size and times are unchanged."""

    def __init__(self) -> None:
        # A hash and 64 bytes for each; paths and numbers as objects take several times as much.
        self._known: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def find(self, path: bytes) -> str | None:
        """Return the digest of a file; None if it isn't known."""
        known = self._known.get(hash(path), b"")
        key = known and _key(path)
        return known[_KEY.size :].hex() if key and known.startswith(key) else None

    def read(self, path: bytes) -> str:
        """Read a file and return its digest; `-`, which equals none, if it can't be read."""
        key, sha256 = _key(path), sha256_of(path)
        if sha256 is None:
            return "-"
        if key == _key(path):
            self._keep(path, key, sha256)
        return sha256

    def learn(self, path: bytes, place: bytes, receipt: Receipt) -> None:
        """Keep the digest of a received file, now at `place`, under its final path."""
        self._keep(path, _key(place), receipt.entry.sha256)

    def renew(self, path: bytes, sha256: str) -> None:
        """Keep the digest of a file whose time was just set."""
        self._keep(path, _key(path), sha256)

    def _keep(self, path: bytes, key: bytes, sha256: str) -> None:
        with self._lock:
            self._known.pop(hash(path), None)
            self._known[hash(path)] = key + bytes.fromhex(sha256)
            if len(self._known) > _MAX_DIGESTS:
                del self._known[next(iter(self._known))]


def _key(path: bytes) -> bytes:
    try:
        status = os.lstat(path)
    except OSError:
        return b""
    numbers = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return _KEY.pack(*(number & _MASK for number in numbers))
