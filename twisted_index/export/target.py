"""
The folder of an export: writes, replaces and removes only what an export wrote. Blocking.

Each file comes under its name whole, by a rename. Its line is in the manifest before that, so that after any
interruption the next export knows it as its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat as stat_module
from typing import TYPE_CHECKING

from twisted_index.errors import Conflict, InsufficientStorage, SimpleIndexError, Unavailable
from twisted_index.export.manifest import MANIFEST, format_manifest, manifest_line, parse_manifest
from twisted_index.files.locks import try_lock
from twisted_index.files.os_errors import error_text
from twisted_index.files.portability import open_flags
from twisted_index.files.safe_open import open_regular_file

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

    from twisted_index.backends.layout.page_builder import ListedFile

#: What is being written; in the folder itself, so that an interruption leaves at most this one behind.
_PART = ".export.part"


class ExportTarget:
    """
    The folder of an export.

    Args:
        path: Absolute; made if it is not there.
        dry: Whether to write nothing, and only find out what would be written.

    Attributes:
        recorded: What the manifest says: digests by path.
        digests: The digest of each file that belongs to this export now, by path.
        is_changed: Whether anything was written or removed, or would be.
    """

    def __init__(self, path: str, *, dry: bool = False) -> None:
        self.path = path
        self.dry = dry
        self.recorded: dict[str, set[str]] = {}
        self.digests: dict[str, str] = {}
        self.is_changed = False
        self._was_cut = False
        self._folders: set[str] = set()
        self._manifest: io.FileIO | None = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """
        Hold the folder, which no other export may write meanwhile.

        Raises:
            Conflict: Another one does, or its `.export` is no manifest.
            SimpleIndexError: The system refuses.
        """
        with _translated(self.path), contextlib.ExitStack() as stack:
            if not self.dry:
                os.makedirs(self.path, exist_ok=True)
            if os.path.isdir(self.path) and hasattr(os, "O_DIRECTORY"):
                lock = os.open(self.path, open_flags(os.O_RDONLY))
                stack.callback(os.close, lock)
                if not try_lock(lock):
                    raise Conflict(f"Another export into {self.path} is running.")
            stack.callback(self._close_manifest)
            yield

    def read_manifest(self) -> None:
        """Read what earlier exports wrote."""
        data = self._content(MANIFEST) or b""
        self.recorded = parse_manifest(data, self._at(MANIFEST))
        self._was_cut = not data.endswith(b"\n") and data != b""

    def stamp(self) -> bytes:
        """Return what changes when the manifest does."""
        try:
            status = os.lstat(self._at(MANIFEST))
        except OSError:
            return b"none"
        return b"%d %d %d" % (status.st_ino, status.st_size, status.st_ctime_ns)

    def keep(self, path: str) -> None:
        """Keep a file that is as it was; it is read only if an interruption left several lines of it."""
        recorded = self.recorded[path]
        digest = next(iter(recorded)) if len(recorded) == 1 else self._digest(path)
        if digest in recorded:
            self.digests[path] = digest

    def put(self, path: str, data: bytes) -> bool:
        """
        Write a small file, unless it is there.

        Returns:
            Whether it was written, or would be.

        Raises:
            Conflict: Something else is there.
        """
        digest = self.digests[path] = hashlib.sha256(data).hexdigest()
        found = self._content(path)
        if found == data and path in self.recorded:
            return False
        self.check_own(path, found)
        if not self._claim(path, digest):
            return True
        with open(self._at(_PART), "wb", buffering=0) as part:
            part.write(data)
        self._rename(path)
        return True

    def place(self, path: str, listed: ListedFile) -> bool:
        """
        Copy a distribution file, with its time of upload, unless it is there.

        Returns:
            Whether it was copied, or would be.

        Raises:
            Conflict: Something else is there.
            Unavailable: The file changes just now.
        """
        key, digest = listed.entry.key, listed.facts.sha256
        self.digests[path] = digest
        time = min(key.mtime_ns, key.ctime_ns)
        found = self._status(path)
        if found is not None and digest in self.recorded.get(path, ()) and _is_copy(found, key.size, time):
            return False
        self.check_own(path)
        if not self._claim(path, digest):
            return True
        source = open_regular_file(listed.entry.path)
        if source is None:
            raise changing_error(path)
        with source, open(self._at(_PART), "wb") as part:
            _copy(source, part)
            part.flush()
            status = os.fstat(source.fileno())
            if (status.st_size, status.st_mtime_ns, status.st_ctime_ns) != key or part.tell() != key.size:
                raise changing_error(path)
        os.utime(self._at(_PART), ns=(time, time))
        self._rename(path)
        return True

    def link(self, path: str, listed: ListedFile) -> bool:
        """Make a symbolic link to a distribution file; see `place`."""
        self.digests[path] = listed.facts.sha256
        place, to = self._at(path), os.fsdecode(os.path.realpath(listed.entry.path))
        if path in self.recorded and os.path.islink(place) and os.readlink(place) == to:
            return False
        self.check_own(path)
        if not self._claim(path, listed.facts.sha256):
            return True
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._at(_PART))
        os.symlink(to, self._at(_PART))
        self._rename(path)
        return True

    def has(self, path: str, digest: str) -> bool:
        """Return whether a small file is there with this digest; if so, keep it."""
        if digest not in self.recorded.get(path, ()):
            return False
        found = self._content(path)
        if found is None or hashlib.sha256(found).hexdigest() != digest:
            return False
        self.digests[path] = digest
        return True

    def check_own(self, path: str, content: bytes | None = None) -> None:
        """
        Check that what is at a path may be replaced.

        Args:
            path: Below the folder.
            content: What is there, if it has been read.

        Raises:
            Conflict: It may not.
        """
        if not self.is_own(path, content):
            raise Conflict(
                f"{self._at(path)} is not as an export wrote it; move it away, or choose another folder."
            )

    def is_own(self, path: str, content: bytes | None = None) -> bool:
        """Return whether an export wrote what is at a path, or nothing is there."""
        status = self._status(path)
        if status is None:
            return True
        if path not in self.recorded or not stat_module.S_ISREG(status.st_mode):
            return path in self.recorded and stat_module.S_ISLNK(status.st_mode)
        if content is not None:
            return hashlib.sha256(content).hexdigest() in self.recorded[path]
        return self._digest(path) in self.recorded[path]

    def _digest(self, path: str) -> str | None:
        try:
            with open(self._at(path), "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None

    def remove(self, path: str) -> bool:
        """Remove a file that an export wrote; return False if something else is in its place."""
        self.is_changed = True
        if not self.is_own(path):
            return False
        if self.dry:
            return True
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._at(path))
        folder = os.path.dirname(path)
        while folder:
            try:
                os.rmdir(self._at(folder))
            except OSError:
                break
            folder = os.path.dirname(folder)
        return True

    def finish(self) -> None:
        """Write the manifest of what is there now."""
        self._close_manifest()
        if self.dry:
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._at(_PART))
        data = format_manifest(self.digests)
        if self._content(MANIFEST) != data:
            self._replace_manifest(data)

    def _claim(self, path: str, digest: str) -> bool:
        """Record a file that is about to be written; return False if none is to be."""
        self.is_changed = True
        if self.dry:
            return False
        self._make_folders(os.path.dirname(path))
        if digest not in self.recorded.setdefault(path, set()):
            self.recorded[path].add(digest)
            self._open_manifest().write(manifest_line(path, digest))
        return True

    def _open_manifest(self) -> io.FileIO:
        if self._manifest is None:
            if self._was_cut:
                lines = (manifest_line(path, one) for path, found in self.recorded.items() for one in found)
                self._replace_manifest(b"".join(lines))
            self._manifest = open(self._at(MANIFEST), "ab", buffering=0)  # noqa: SIM115
        return self._manifest

    def _close_manifest(self) -> None:
        if self._manifest is not None:
            self._manifest.close()
            self._manifest = None

    def _replace_manifest(self, data: bytes) -> None:
        with open(self._at(_PART), "wb") as part:
            part.write(data)
        os.replace(self._at(_PART), self._at(MANIFEST))

    def _rename(self, path: str) -> None:
        os.replace(self._at(_PART), self._at(path))

    def _make_folders(self, folder: str) -> None:
        """Make a folder and those above it; a link in its place would lead elsewhere."""
        if folder in self._folders or not folder:
            return
        self._make_folders(os.path.dirname(folder))
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._at(folder))
        if not stat_module.S_ISDIR(os.lstat(self._at(folder)).st_mode):
            raise Conflict(f"{self._at(folder)} is not a folder; move it away, or choose another folder.")
        self._folders.add(folder)

    def _status(self, path: str) -> os.stat_result | None:
        try:
            return os.lstat(self._at(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _content(self, path: str) -> bytes | None:
        """Read a small file; None if there is none."""
        try:
            file = open_regular_file(os.fsencode(self._at(path)), follow_links=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if self._status(path) is None:
                return None
            raise Conflict(f"{self._at(path)} cannot be read: {error_text(error)}.") from None
        if file is None:
            return None
        with file:
            return file.readall()

    def _at(self, path: str) -> str:
        # Windows takes both slashes; this is called for each of some 100,000 files.
        return f"{self.path}/{path}"


def _is_copy(found: os.stat_result, size: int, time: int) -> bool:
    """Return whether a file looks like the copy that was made; some file systems keep whole microseconds."""
    is_file = stat_module.S_ISREG(found.st_mode)
    return is_file and found.st_size == size and abs(found.st_mtime_ns - time) < 1000


def changing_error(path: str) -> Unavailable:
    """Return the error for a file that changes while it is read."""
    return Unavailable(f"{os.path.basename(path)} is being changed. Run the export again in a moment.")


def _copy(source: io.FileIO, part: io.BufferedWriter) -> None:
    """Copy a file; file systems that can do so share its blocks (copy_file_range(2))."""
    copy_range = getattr(os, "copy_file_range", None)
    try:
        while copy_range is not None and copy_range(source.fileno(), part.fileno(), 1 << 30):
            pass
    except OSError:
        # Between these two file systems the kernel does not, or not beyond here.
        pass
    part.seek(os.lseek(source.fileno(), 0, os.SEEK_CUR))
    shutil.copyfileobj(source, part, 1 << 20)


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    """Say in a sentence what the system refuses."""
    try:
        yield
    except OSError as error:
        import errno

        reason = f"The export into {path} stopped: {error_text(error)}."
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
        raise (InsufficientStorage(reason) if full else SimpleIndexError(reason)) from error
