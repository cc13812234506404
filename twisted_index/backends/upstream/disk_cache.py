"""
The cache on disk.

    pages/<upstream>/ab/<project>    pages of an upstream; names are digests
    files/ab/cdef…                   distribution files by their sha256
    metadata/ab/cdef…                core metadata by the sha256 of its wheel
    incoming/                        incomplete files, where the file system lacks anonymous ones

An atomic rename gives each file its name, so several processes may share the folder, and it may be
copied or deleted while they run. A failed write loses an entry and fails nothing.

Out of scope: the format of pages (see `page_record`). Blocking.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple

from twisted.logger import Logger

from twisted_index.files.anonymous_file import AnonymousFile, open_anonymous, sweep
from twisted_index.files.ownership import make_folders
from twisted_index.files.safe_open import open_regular_file

if TYPE_CHECKING:
    import io
    from collections.abc import Iterable, Iterator

_log = Logger()

_INCOMING = b"incoming"
#: The part of the size that eviction leaves, so that it does not run for each new file.
_AFTERWARDS = 0.9
#: The size of all pages, as a part of the cache's; and the part of that which is written between two
#: evictions.
_PAGES, _LOOK = 0.1, 0.1
#: The size of a small page on disk.
_BLOCK = 4096


class CacheEntry(NamedTuple):
    """A file in the cache: when it was last used (seconds since the epoch), its bytes, its place."""

    used: float
    size: int
    path: str


class DiskCache:
    """
    The folder of a cache.

    Args:
        path: Absolute; created by the first write.
        size: Maximum bytes of files and metadata.

    Attributes:
        path: As given.
        size: As given.
    """

    def __init__(self, path: str, size: int = 5 << 30) -> None:
        self.path = path
        self.size = size
        self._complained: set[int | None] = set()
        self._page_bytes = 0

    # -- Where things lie

    def page_path(self, upstream: str, project: str) -> str:
        """Return where a page is, by the URL of the upstream and a normalized name."""
        return os.path.join(self.path, "pages", _digest_of_url(upstream), *_name_of_page(project))

    def page_paths(self, project: str) -> list[str]:
        """Return where there are pages of a project, of any upstream."""
        folders = _scan(os.path.join(self.path, "pages"))
        paths = [os.path.join(folder.path, *_name_of_page(project)) for folder in folders]
        return [path for path in paths if os.path.exists(path)]

    def file_path(self, sha256: str) -> str:
        """Return where a distribution file is, by its lower-case hex digest."""
        return os.path.join(self.path, "files", sha256[:2], sha256[2:])

    def metadata_path(self, sha256: str, *, said_by: str | None = None, provisional: bool = False) -> str:
        """
        Return the path of the core metadata of a wheel.

        Args:
            sha256: The digest of the wheel.
            said_by: URL of the upstream that serves it; None if it was read from the wheel. An upstream's
                metadata is not used for another's wheels.
            provisional: Whether it was read by range requests.
        """
        by = "" if said_by is None else f".{_digest_of_url(said_by)}"
        name = sha256[2:] + by + (".ranged" if provisional else "")
        return os.path.join(self.path, "metadata", sha256[:2], name)

    # -- Reading

    def read(self, path: str, limit: int) -> bytes | None:
        """
        Read a document.

        Returns:
            None if it is absent, larger than the limit, or unreadable.
        """
        try:
            file = open_regular_file(os.fsencode(path))
            if file is None:
                return None
            with file, open(file.fileno(), "rb", closefd=False) as whole:
                content = whole.read(limit + 1)
        except OSError:
            return None
        return content if len(content) <= limit else None

    def open_file(self, sha256: str) -> io.FileIO | None:
        """Open a distribution file; None if absent. Fast enough for the reactor thread."""
        try:
            return open_regular_file(os.fsencode(self.file_path(sha256)))
        except OSError:
            return None

    def has_file(self, sha256: str) -> bool:
        """Return whether a distribution file is there."""
        return os.path.exists(self.file_path(sha256))

    def remove(self, path: str) -> None:
        """Remove an unusable entry."""
        with contextlib.suppress(OSError):
            os.unlink(path)

    def remove_file(self, sha256: str) -> bool:
        """Remove a distribution file and its core metadata; return whether the file was there."""
        folder = os.path.dirname(self.metadata_path(sha256))
        for entry in _scan(folder):
            if entry.name.startswith(sha256[2:]):
                self.remove(entry.path)
        was_there = self.has_file(sha256)
        self.remove(self.file_path(sha256))
        return was_there

    def touch(self, sha256: str, now: float) -> None:
        """Record a use in the access time; the modification time must not change while the file is sent."""
        path = self.file_path(sha256)
        with contextlib.suppress(OSError):
            os.utime(path, ns=(int(now * 1e9), os.stat(path).st_mtime_ns))

    # -- Writing

    def new_file(self) -> AnonymousFile | None:
        """Open a new file; None if the cache cannot be written, which is logged once."""
        try:
            make_folders(self.path)
            return open_anonymous(os.fsencode(self.path), 0o666, _INCOMING)
        except OSError as error:
            self.log_write_failure(error)
            return None

    def commit(self, file: AnonymousFile, path: str, *, durable: bool) -> bool:
        """
        Return a file its name, in place of what may have it.

        Args:
            file: From `new_file`.
            path: Below the folder of the cache.
            durable: Whether its bytes have to be on disk before its name is, so that not even a loss of
                power leaves a wrong file. A name that is lost is only a gap in a cache.

        Returns:
            Whether it was stored.
        """
        try:
            if durable:
                file.sync()
            make_folders(os.path.dirname(path))
            file.replace(os.fsencode(path))
        except OSError as error:
            self.log_write_failure(error)
            return False
        self._complained.clear()
        return True

    def replace(self, path: str, parts: Iterable[bytes]) -> os.stat_result | None:
        """
        Write a document.

        Not synced: readers detect a truncated one.

        Returns:
            Its `stat`; None if it was not stored.
        """
        file = self.new_file()
        if file is None:
            return None
        try:
            with open(file.descriptor, "wb", closefd=False) as stream:
                stream.writelines(parts)
            status = os.fstat(file.descriptor)
        except OSError as error:
            self.log_write_failure(error)
            return None
        else:
            return status if self.commit(file, path, durable=False) else None
        finally:
            file.close()

    def replace_page(self, path: str, parts: Iterable[bytes]) -> os.stat_result | None:
        """Write a page, and evict others if there are too many."""
        status = self.replace(path, parts)
        if status is not None:
            self._page_bytes += max(_BLOCK, status.st_size)
            if self._page_bytes > self.size * _PAGES * _LOOK:
                self.evict_for_pages()
        return status

    def log_write_failure(self, error: OSError) -> None:
        """Log that a write failed: once per reason, until a write succeeds."""
        if error.errno in self._complained:
            return
        self._complained.add(error.errno)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror or str(error)
        _log.warn(
            "The cache {path} cannot store anything for now: {reason}. Its content is still served.",
            path=self.path,
            reason=reason,
        )

    # -- Looking after it

    def sweep(self) -> None:
        """Remove incomplete files of processes that ended, and evict pages if there are too many."""
        self.evict_for_pages()
        sweep(os.fsencode(self.path), _INCOMING)

    def entries(self) -> Iterator[CacheEntry]:
        """Yield the entries that `size` bounds."""
        for kind in ("files", "metadata"):
            for folder in _scan(os.path.join(self.path, kind)):
                for entry in _scan(folder.path):
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        yield CacheEntry(status.st_atime, status.st_size, entry.path)

    def evict(self, used: dict[str, float], busy: frozenset[str]) -> tuple[int, int]:
        """
        Evict the least recently used entries beyond `size`.

        Args:
            used: Last uses that are not yet in the access times, by path: seconds since the epoch.
            busy: Paths that must stay.

        Returns:
            The bytes left, and the bytes removed.
        """
        entries = [
            entry._replace(used=max(entry.used, used.get(entry.path, 0.0))) for entry in self.entries()
        ]
        return self._remove_oldest(entries, self.size, busy)

    def evict_for_pages(self) -> None:
        """Evict the pages whose upstream was requested longest ago, if there are too many."""
        self._page_bytes = 0
        self._remove_oldest(list(self._pages()), int(self.size * _PAGES), frozenset())

    def _pages(self) -> Iterator[CacheEntry]:
        """Yield the pages; a page is rewritten whenever its upstream confirms it."""
        for upstream in _scan(os.path.join(self.path, "pages")):
            for folder in _scan(upstream.path):
                for entry in _scan(folder.path):
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        yield CacheEntry(status.st_mtime, max(_BLOCK, status.st_size), entry.path)

    def _remove_oldest(self, entries: list[CacheEntry], size: int, busy: frozenset[str]) -> tuple[int, int]:
        total = sum(entry.size for entry in entries)
        removed = 0
        if total <= size:
            return total, removed
        for entry in sorted(entries):
            if total - removed <= size * _AFTERWARDS:
                break
            if entry.path in busy:
                continue
            try:
                os.unlink(entry.path)
            except FileNotFoundError:
                pass  # removed by another process
            except OSError as error:
                # An entry that cannot be removed must not stop the eviction.
                self.log_write_failure(error)
                continue
            removed += entry.size
        return total - removed, removed


def _name_of_page(project: str) -> tuple[str, str]:
    name = hashlib.sha256(project.encode("utf-8", "surrogateescape")).hexdigest()
    return name[:2], name[2:]


def _digest_of_url(url: str) -> str:
    return hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
