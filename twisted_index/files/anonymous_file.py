"""
Anonymous files: without a name until they are whole, so that a crash leaves nothing behind. Blocking.

Where the file system lacks O_TMPFILE (Linux), they are locked files in one hidden folder of the root, and
`sweep` removes those without an owner.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat as stat_module
import tempfile
from typing import TYPE_CHECKING, TypeVar

from twisted_index.files.locks import try_lock
from twisted_index.files.ownership import group_write, hand_over, hand_over_folder, set_folder_mode
from twisted_index.files.portability import IS_WINDOWS, advise_not_needed, open_flags, set_mode, write_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

#: The one folder of a root for what has no name of its own yet. Listings pass it over, and no
#: name in it can be taken for a distribution or for a project.
UPLOADS = b".uploads"
#: Everyone may read what is published, whatever the umask: web servers and rsync run as others.
FILE_MODE, FOLDER_MODE = 0o644, 0o755

_O_TMPFILE: int = getattr(os, "O_TMPFILE", 0)
_DESCRIPTORS = "/proc/self/fd"
#: What open(2) says where there is no O_TMPFILE: by the file system, and by kernels before 3.11.
_NO_TMPFILE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
#: What link(2) says on file systems without hard links.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
#: Others remove the hidden folder whenever it is empty, so it may have to be made again.
_ATTEMPTS = 100
_CHUNK = 1 << 20


class AnonymousFile:
    """
    A file to be given a name. Made by `open_anonymous`.

    Args:
        root: The folder in whose file system it is; empty if it can have no name (`open_scratch`).
        descriptor: Open for reading and writing.
        path: Its name in `folder`; None if it has none at all.
        folder: See `open_anonymous`.

    Attributes:
        root: As given.
        descriptor: As given; -1 once it is closed.
    """

    def __init__(self, root: bytes, descriptor: int, path: bytes | None, folder: bytes = UPLOADS) -> None:
        self.root = root
        self._folder = folder
        self.descriptor = descriptor
        self._path = path

    @property
    def can_be_named(self) -> bool:
        """Whether `link` and `replace` can give it a name."""
        return bool(self.root)

    @property
    def readable_path(self) -> bytes:
        """A path by which this process can open it once more."""
        return self._path or os.fsencode(f"{_DESCRIPTORS}/{self.descriptor}")

    def write(self, data: bytes) -> None:
        """Append all of it."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.descriptor, view) :]

    def write_what_fits(self, data: bytes, position: int) -> tuple[int, OSError | None]:
        """
        Write at a position.

        Returns:
            How many bytes were written, and why not all of them.
        """
        view, written = memoryview(data), 0
        try:
            while written < len(view):
                written += write_at(self.descriptor, view[written:], position + written)
        except OSError as error:
            return written, error
        return written, None

    def allow_reading(self) -> None:
        """Let everyone read it, and those write it who may write all that lies in the root."""
        set_mode(self.descriptor, FILE_MODE | group_write(self.root))

    def set_time(self, time: int) -> None:
        """Set its modification time, in nanoseconds since the epoch."""
        # Windows takes no descriptor here; but there such a file has a path.
        file = self.descriptor if os.utime in os.supports_fd else self.readable_path
        os.utime(file, ns=(time, time))

    def start_writeback(self, start: int, length: int) -> None:
        """Let the disk begin with some of its bytes, and do not wait for it."""
        # Linux begins to write what is dirty of that part, and keeps it in memory: only what is clean
        # would be let go. Where that is not so, nothing is lost but a little time.
        with contextlib.suppress(OSError):
            advise_not_needed(self.descriptor, start, length)

    def sync(self) -> None:
        """Wait until its bytes are on disk."""
        os.fsync(self.descriptor)

    def link(self, target: bytes) -> None:
        """
        Link it under a name.

        Raises:
            FileExistsError: The name is taken.
        """
        if self._path is None:
            self._link_nameless(target)
            return
        try:
            os.link(self._path, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._move_carefully(self._path, target)
        self.discard()

    def replace(self, target: bytes) -> None:
        """Link it under a name, atomically replacing the file that may have the name."""
        with contextlib.suppress(FileExistsError):
            self.link(target)
            return
        if self._path is None:
            # Shows a sweep that it is in use.
            try_lock(self.descriptor)
            self._path, _linked = _make_in(self.root, self._folder, self._link_nameless)
        if IS_WINDOWS:
            self._replace_closed(self._path, target)
        else:
            os.replace(self._path, target)
        self._path = None
        self._tidy()

    def copy_to(self, folder: bytes) -> AnonymousFile:
        """Copy it to another file system, readable for everyone and safe on disk; closes this one."""
        sweep(folder)
        copy = open_anonymous(folder)
        try:
            with open(self.readable_path, "rb") as source:
                while chunk := source.read(_CHUNK):
                    copy.write(chunk)
            copy.allow_reading()
            copy.sync()
        except BaseException:
            copy.close()
            raise
        self.close()
        return copy

    def discard(self) -> None:
        """Remove its name in the hidden folder, if it has one. Its bytes are there while it is open."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            if IS_WINDOWS and self.descriptor >= 0:
                return  # to be removed when it is closed
            self._path = None
            self._tidy()

    def close(self) -> None:
        """Close it: it is gone unless it was given a name. Harmless when repeated."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            self.discard()

    def _link_nameless(self, target: bytes) -> None:
        folder, name = os.path.split(target)
        # Only with a descriptor does os.link call linkat(2), which can follow the link in /proc.
        with open_folder(folder) as descriptor:
            os.link(self.readable_path, name, dst_dir_fd=descriptor, follow_symlinks=True)

    def _replace_closed(self, path: bytes, target: bytes) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        os.close(descriptor)
        os.replace(path, target)
        self.descriptor = os.open(target, open_flags(os.O_RDWR))

    def _move_carefully(self, path: bytes, target: bytes) -> None:
        # Without hard links nothing refuses to replace; the lock of the project is what protects.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        os.rename(path, target)

    def _tidy(self) -> None:
        if self._folder == UPLOADS:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(self.root, UPLOADS))


def open_anonymous(root: bytes, mode: int = 0o600, folder: bytes = UPLOADS) -> AnonymousFile:
    """
    Open a new file that only this process can reach. It belongs to the owner of the root, if this is root.

    Args:
        root: A folder on the file system where it shall stay.
        mode: Permissions, less those that the umask takes; what the owner may do is never taken.
        folder: The name of the folder in the root for files that need a name before their own. It is removed
            whenever it is empty if it is that of uploads, since people look into their package folders.

    Raises:
        OSError: There is no place for it.
    """
    if _O_TMPFILE and os.path.isdir(_DESCRIPTORS):
        try:
            descriptor = os.open(root, open_flags(os.O_RDWR | _O_TMPFILE), mode)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
        else:
            # A umask may have taken the right to open it once more for reading.
            set_mode(descriptor, os.fstat(descriptor).st_mode & 0o777 | 0o600)
            hand_over(descriptor, root)
            return AnonymousFile(root, descriptor, None, folder)
    return _open_hidden(root, mode, folder)


def open_scratch() -> AnonymousFile | None:
    """Open a file that never gets a name, where temporary files are; None if there is no place for it."""
    try:
        with tempfile.TemporaryFile() as file:
            return AnonymousFile(b"", os.dup(file.fileno()), None)
    except OSError:
        return None


def _open_hidden(root: bytes, mode: int, folder: bytes) -> AnonymousFile:
    flags = open_flags(os.O_RDWR | os.O_CREAT | os.O_EXCL, "O_NOFOLLOW")
    while True:
        path, descriptor = _make_in(root, folder, lambda path: os.open(path, flags, mode))
        try_lock(descriptor)
        if os.fstat(descriptor).st_nlink:
            hand_over(descriptor, root)
            return AnonymousFile(root, descriptor, path, folder)
        # It was swept before it was locked.
        os.close(descriptor)


def _make_in(root: bytes, name: bytes, make: Callable[[bytes], T]) -> tuple[bytes, T]:
    """
    Make something of an unguessable name in a root's folder for such things.

    Returns:
        Its path, and what `make` gave.
    """
    folder = os.path.join(root, name)
    for attempt in range(_ATTEMPTS):
        try:
            os.mkdir(folder, 0o700 if name == UPLOADS else 0o777)
            hand_over_folder(folder, root)
        except FileExistsError:
            if os.path.islink(folder):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), folder) from None
        # No hyphen and no ending: whatever becomes of it, it claims no project's name.
        path = os.path.join(folder, b"upload_" + secrets.token_hex(16).encode())
        try:
            return path, make(path)
        except FileNotFoundError:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def make_folder(root: bytes, path: bytes) -> None:
    """Make a folder of a root, open to everyone's eyes from its first moment, unless it is there."""
    mode = FOLDER_MODE | group_write(root)
    while not os.path.isdir(path):
        # As it shall be, so that mostly the setgid that it inherits needs not be set again.
        temporary, _made = _make_in(root, UPLOADS, lambda path: os.mkdir(path, mode))
        try:
            hand_over_folder(temporary, root)
            set_folder_mode(temporary, mode)
            os.rename(temporary, path)
        except FileNotFoundError:
            # It was swept; or the root itself is gone.
            os.stat(root)
        except OSError as error:
            # Another process was quicker, and has put something in it.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        finally:
            for path_left in (temporary, os.path.join(root, UPLOADS)):
                with contextlib.suppress(OSError):
                    os.rmdir(path_left)
    sync_folder(root)


def fill_folder(
    root: bytes,
    path: bytes,
    fill: Callable[[bytes], object],
    place: Callable[[bytes, bytes], object] = os.rename,
) -> None:
    """
    Make a folder of a root with all that is in it, at once, open to everyone's eyes.

    It is on disk whole, or not at all; surely once the root is synced.

    Args:
        root: The root.
        path: Where; nothing is there but an empty folder.
        fill: Puts files on disk into the folder of a path, where nobody sees them.
        place: Renames that folder.

    Raises:
        OSError: Something is there, or it was not made.
    """
    mode = FOLDER_MODE | group_write(root)
    temporary, descriptor = _make_in(root, UPLOADS, lambda path: _make_held(path, mode))
    try:
        hand_over_folder(temporary, root)
        set_folder_mode(temporary, mode)
        fill(temporary)
        sync_folder(temporary)
        place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.join(root, UPLOADS))


def _make_held(path: bytes, mode: int) -> int | None:
    """Make a folder, and return the descriptor by which it is held against a sweep."""
    os.mkdir(path, mode)
    if IS_WINDOWS:
        return None
    descriptor = os.open(path, open_flags(os.O_RDONLY, "O_DIRECTORY", "O_NOFOLLOW"))
    try_lock(descriptor)
    return descriptor


def sync_folder(path: bytes) -> None:
    """Wait until a folder's names are on disk."""
    if IS_WINDOWS:
        return
    with open_folder(path) as descriptor:
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some file systems keep folders without being asked, and say that they cannot be asked.
            if error.errno != errno.EINVAL:
                raise


def write_atomically(root: bytes, path: bytes, content: bytes) -> None:
    """
    Write a small file durably, in place of what has its name: either is there whole at any time.

    Args:
        root: The root that it lies in.
        path: Where.
        content: All of it.
    """
    try:
        _put(root, path, content)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _put(os.path.dirname(path), path, content)
    sync_folder(os.path.dirname(path))


def _put(root: bytes, path: bytes, content: bytes) -> None:
    file = open_anonymous(root)
    try:
        file.write(content)
        file.allow_reading()
        file.sync()
        file.replace(path)
    finally:
        file.close()


def remove(path: bytes) -> None:
    """Remove a file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def sweep(root: bytes, folder: bytes = UPLOADS) -> int:
    """
    Remove what unfinished uploads have left, except those that are under way.

    Args:
        root: A root; folders that it leads to by links are swept too, since they may be elsewhere.
        folder: See `open_anonymous`.

    Returns:
        How many files were removed.
    """
    folders = [root]
    with contextlib.suppress(OSError), os.scandir(root) as entries:
        # Not `entry.is_dir()`: it raises for links that lead in a circle or to where we may not go.
        folders.extend(entry.path for entry in entries if entry.is_symlink() and os.path.isdir(entry.path))
    return sum(_sweep(os.path.join(each, folder)) for each in folders)


def _sweep(folder: bytes) -> int:
    try:
        # Not through a link: a user who may write to a package folder must not choose what is removed.
        descriptor = os.open(folder, open_flags(os.O_RDONLY, "O_DIRECTORY", "O_NOFOLLOW"))
    except OSError:
        return 0
    try:
        removed = sum(_remove_unheld(name, descriptor) for name in os.listdir(descriptor))
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        os.rmdir(folder)
    return removed


def _remove_unheld(name: str, folder: int) -> bool:
    with contextlib.suppress(OSError):
        is_folder = stat_module.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        # For writing: on NFS only a file that is open for writing can be locked.
        how = (os.O_RDONLY, "O_DIRECTORY") if is_folder else (os.O_RDWR, "O_NONBLOCK")
        descriptor = os.open(name, open_flags(*how, "O_NOFOLLOW"), dir_fd=folder)
        try:
            if not try_lock(descriptor):
                return False
            if is_folder:
                shutil.rmtree(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
        finally:
            os.close(descriptor)
        return True
    return False


@contextlib.contextmanager
def open_folder(path: bytes) -> Iterator[int]:
    """Open a folder, to be named by its descriptor."""
    descriptor = os.open(path, open_flags(os.O_RDONLY, "O_DIRECTORY"))
    try:
        yield descriptor
    finally:
        os.close(descriptor)
