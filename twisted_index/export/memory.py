"""
What an export remembers of the folders, so that what did not change is not read again. Blocking.

One text file below the state, disposable. It holds as long as the manifest of the export is the very file
that it was, and what shapes the pages is the same. Then the times of every folder and every file that a page
depends on tell which projects have changed; that is one `stat` for each, and nothing is opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple

import twisted_index
from twisted_index.export.memory_file import read_memory, write_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.export.project_reader import Parts, ReadProject

#: Incremented when exported bytes change other than by their input.
_FORMAT = b"export 1"
#: What the first byte of a line says: named by the list of projects, with a page only, without a page.
_NAMED, _UNNAMED, _ABSENT = b"+", b"-", b"0"


class _Line(NamedTuple):
    """
    What is remembered of a project, as it is in the file.

    Attributes:
        kind: Whether it has a page, and the list of projects names it.
        parts: Digest of the entries that roots have for it.
        stamps: Of its folders and files, as text.
        folders: Each folder, followed by the names in it, separated by slashes.
    """

    kind: bytes
    parts: bytes
    stamps: bytes
    folders: list[bytes]

    def is_current(self) -> bool:
        """Return whether all is as it was."""
        numbers: list[int] = []
        folders = self.folders
        try:
            for folder, names in zip(folders[::2], folders[1::2], strict=True):
                if names[:1] != b"/":
                    numbers += _folder_numbers(os.stat(folder))
                numbers += [os.stat(folder + b"/" + name).st_ctime_ns for name in names.split(b"/") if name]
        except OSError:
            return False
        return _text(numbers) == self.stamps


class ExportMemory:
    """
    What is remembered.

    Args:
        path: The file; None remembers nothing.
        shape: Digest of all that shapes the pages besides the folders.

    Attributes:
        is_valid: Whether what was read holds for this export.
        has_same_roots: Whether the roots have the same entries as then.
    """

    def __init__(self, path: str | None, shape: bytes) -> None:
        self._path = path
        self._shape = b" ".join((_FORMAT, shape, _own_stamp(), _boot()))
        self._projects: dict[bytes, bytes] = {}
        self.is_valid = False
        self.has_same_roots = False

    def load(self, manifest: bytes) -> None:
        """Read the file; `manifest` is the stamp of the export's manifest."""
        if self._path is None:
            return
        try:
            head, roots, *lines = read_memory(self._path).split(b"\n")
            # The last line is empty in a file that is whole.
            projects = dict(map(_name_and_rest, lines[:-1]))
        except (OSError, ValueError):
            return
        if head != self._shape + b" " + manifest or lines[-1:] != [b""]:
            return
        self.is_valid = True
        self.has_same_roots = _are_same(roots)
        self._projects = projects

    @property
    def projects(self) -> set[str]:
        """The projects that are remembered."""
        return {name.decode() for name in self._projects}

    @property
    def named(self) -> set[str]:
        """Those of them that the list of projects names."""
        return {name.decode() for name, line in self._projects.items() if line.startswith(_NAMED)}

    @property
    def exported(self) -> set[str]:
        """Those of them that have a page."""
        return {name.decode() for name, line in self._projects.items() if not line.startswith(_ABSENT)}

    def current_projects(self) -> set[str]:
        """Return the projects whose folders and files are as they were."""
        return {name.decode() for name, line in self._projects.items() if _parse(line).is_current()}

    def has_parts(self, project: str, parts: Parts) -> bool:
        """Return whether the roots have the same entries for a project as they had."""
        return _parse(self._projects[project.encode()]).parts == _parts_digest(parts)

    def remember(self, project: str, parts: Parts, read: ReadProject) -> bool:
        """Remember a project as it was read; return False if a later change might not show."""
        if read.scan is None:
            return False
        folders: dict[bytes, list[bytes]] = {path: [] for path, _stamp in read.scan.folders}
        stamps = {path: stamped.stamp for path, stamped in read.scan.folders}
        times: dict[bytes, list[int]] = {path: [] for path in folders}
        for path, key in read.scan.watched.items():
            folder, name = os.path.split(path)
            folders.setdefault(folder, []).append(name)
            times.setdefault(folder, []).append(0 if key is None else key.ctime_ns)
        if not read.is_final or any(b"\n" in folder for folder in folders):
            return False
        fields: list[bytes] = []
        numbers: list[int] = []
        for folder, names in folders.items():
            if folder in stamps:
                numbers += stamps[folder] or ()
            # A slash in front: the folder is a root, whose own times are about all projects.
            fields += [folder, (b"" if folder in stamps else b"/") + b"/".join(names)]
            numbers += times[folder]
        kind = _NAMED if read.is_named else _ABSENT if read.page is None else _UNNAMED
        self._projects[project.encode()] = b"\0".join((kind, _parts_digest(parts), _text(numbers), *fields))
        return True

    def forget(self, project: str) -> None:
        """Forget a project."""
        self._projects.pop(project.encode(), None)

    def save(self, manifest: bytes, roots: Sequence[RootScan]) -> None:
        """
        Write the file.

        Args:
            manifest: The stamp of the export's manifest.
            roots: The readings of the roots; empty if a project has to be read again.
        """
        if self._path is None:
            return
        head = self._shape + b" " + manifest
        lines = (name + b"\0" + line for name, line in self._projects.items())
        write_memory(self._path, b"\n".join((head, _roots_text(roots), *lines, b"")))


def _name_and_rest(line: bytes) -> tuple[bytes, bytes]:
    """
    Split what is remembered of a project.

    Raises:
        ValueError: It is not as `remember` writes it: three fields, and pairs of a folder and names.
    """
    name, rest = line.split(b"\0", 1)
    if not name.isascii() or rest.count(b"\0") % 2 or b"\0" not in rest:
        raise ValueError("a damaged line")
    return name, rest


def _parse(line: bytes) -> _Line:
    kind, parts, stamps, *folders = line.split(b"\0")
    return _Line(kind, parts, stamps, folders)


def _parts_digest(parts: Parts) -> bytes:
    shown = [(path, entries.folders, entries.files, sorted(entries.hidden)) for path, entries in parts]
    return hashlib.blake2b(repr(shown).encode(), digest_size=8).hexdigest().encode()


def _text(numbers: Iterable[int]) -> bytes:
    return " ".join(map(str, numbers)).encode()


def _folder_numbers(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _roots_text(roots: Sequence[RootScan]) -> bytes:
    """Write the stamps of the roots; nothing if they are too young, or lists in them, to show a change."""
    if any(root.staged is not None and root.staged.lists for root in roots):
        return b""
    stamps = [one for root in roots for one in root.stamps]
    if not all(stamp.settled and stamp.stamp and b"\n" not in path for path, stamp in stamps):
        return b""
    return b"\0".join(part for path, stamp in stamps for part in (path, _text(stamp.stamp or ())))


def _are_same(text: bytes) -> bool:
    """Return whether the roots have the stamps that `_roots_text` wrote."""
    fields = text.split(b"\0")
    try:
        return bool(text) and all(
            _text(_folder_numbers(os.stat(path))) == stamp
            for path, stamp in zip(fields[::2], fields[1::2], strict=True)
        )
    except (OSError, ValueError):
        return False


def _boot() -> bytes:
    """
    Return what changes when the machine starts anew; nothing where no file says it.

    A loss of power may take what was written and not what is remembered of it. To flush the export instead
    would wait for all that others have written: minutes on a busy disk.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().strip()
    except OSError:
        return b""


def _own_stamp() -> bytes:
    """Return what changes when another version of this package is installed."""
    numbers: list[int] = []
    for folder in twisted_index.__path__:
        for path in (folder, os.path.join(folder, "simple"), os.path.join(folder, "export")):
            with contextlib.suppress(OSError):
                numbers.append(os.stat(path).st_mtime_ns)
    return _text(numbers)
