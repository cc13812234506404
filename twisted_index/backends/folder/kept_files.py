"""
Kept files: what was deleted and is still there, in `ROOT/.deleted/PROJECT/`, for views of the past. Blocking.

Beside them `.kept` has a manifest line for each deletion: what was deleted when, and when it was uploaded. A
file that came back and was deleted again has two lines and one place, as only the same bytes may come back.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.folder.manifest_file import Appending, read_blocks
from twisted_index.backends.layout.page_builder import file_upload_time
from twisted_index.files.anonymous_file import (
    make_folder,
    remove,
    sync_folder,
    write_atomically,
)
from twisted_index.files.locks import project_lock
from twisted_index.files.verified_copy import copy_file
from twisted_index.simple.formatting import format_upload_time
from twisted_index.simple.manifest import InvalidLine, ManifestLine, parse_line
from twisted_index.simple.parsed import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence, Set

    from twisted_index.backends.folder.inventory import Step
    from twisted_index.backends.layout.project_scan import ScannedFile

#: The folder of a root, and the file of a project's folder in it.
KEPT, _LINES = b".deleted", b".kept"
_MAX_LINES = 256 << 20
_UPLOADED = "uploaded "


class Life(NamedTuple):
    """
    From when until when a kept file was there.

    Attributes:
        uploaded: Aware; exact to the microsecond.
        deleted: Aware; the second that it was in.
        sha256: The digest that it had; None if it was not known.
    """

    uploaded: datetime
    deleted: datetime
    sha256: str | None = None


def kept_folder(root: bytes, project: str) -> bytes:
    """Return the folder in a root where what is deleted of a project is kept."""
    return os.path.join(root, KEPT, os.fsencode(project))


def keep(
    project: str,
    entries: Sequence[tuple[ScannedFile, str | None]],
    sidecars: Iterable[tuple[bytes, bytes]],
    when: datetime,
) -> list[Step]:
    """
    Return the steps that move files out of sight instead of removing them.

    Args:
        project: A normalized name.
        entries: The files, with their digests if these are known.
        sidecars: The root and path of each of their sidecars. They are moved first, so that a kept file is
            yanked from its first moment.
        when: The time of the deletion, aware.
    """
    roots = dict.fromkeys([entry.root for entry, _digest in entries] + [root for root, _path in sidecars])
    steps: list[Step] = [partial(_make_folders, root, project) for root in roots]
    steps += [partial(_note, project, entry, digest, when) for entry, digest in entries]
    moved = [*sidecars, *((entry.root, entry.path) for entry, _digest in entries)]
    steps += [partial(_move, root, path, kept_folder(root, project)) for root, path in moved]
    folders = {kept_folder(root, project) for root in roots} | {os.path.dirname(path) for _, path in moved}
    return [*steps, *(partial(sync_folder, folder) for folder in sorted(folders))]


def lives_in(folder: bytes) -> dict[str, list[Life]]:
    """
    Read when kept files were there, by file name, the earliest deletion first.

    Raises:
        OSError: It cannot be read.
    """
    lives: dict[str, list[Life]] = {}
    with contextlib.suppress(FileNotFoundError):
        for _text, line in _lines(folder):
            uploaded = None if line is None else parse_timestamp(line.note.removeprefix(_UPLOADED))
            if line is not None and uploaded is not None:
                lives.setdefault(line.name, []).append(Life(uploaded, line.time, line.sha256))
    return lives


def life_of(path: bytes) -> list[Life]:
    """Return the life of a kept file that was moved by hand: its own times, as a move sets the second one."""
    try:
        status = os.lstat(path)
    except OSError:
        return []
    deleted = datetime.fromtimestamp(status.st_ctime_ns // 10**9, UTC)
    return [Life(file_upload_time(status.st_mtime_ns, status.st_ctime_ns), deleted)]


def purge(
    root: bytes,
    project: str,
    is_due: Callable[[Sequence[Life]], bool],
    held: Callable[[Set[bytes]], Set[bytes]],
) -> None:
    """
    Remove kept files of a project, and what is noted of them.

    Args:
        root: The root.
        project: A normalized name.
        is_due: Takes when a file was there; returns whether it may go, with its sidecars.
        held: Takes names; returns those that stay nevertheless.

    Raises:
        OSError: There are none, or some could not be removed.
        LockHeld: The project is being changed.
    """
    folder = kept_folder(root, project)
    lives = lives_in(folder)
    due = set()
    for name in os.listdir(folder):
        text = os.fsdecode(name)
        owner = next((owner for owner in (text, os.path.splitext(text)[0]) if owner in lives), None)
        lived = lives[owner] if owner is not None else life_of(os.path.join(folder, name))
        if name != _LINES and is_due(lived):
            due.add(name)
    due -= held(due)
    if due:
        with project_lock(root):
            _remove(root, folder, due)


def _remove(root: bytes, folder: bytes, due: Iterable[bytes]) -> None:
    for name in due:
        remove(os.path.join(folder, name))
    names = set(map(os.fsdecode, due))
    with contextlib.suppress(FileNotFoundError):
        rest = [text for text, line in _lines(folder) if line is None or line.name not in names]
        write_atomically(root, os.path.join(folder, _LINES), b"".join(rest))
    if not {*os.listdir(folder)} - {_LINES}:
        remove(os.path.join(folder, _LINES))
        for empty in (folder, os.path.dirname(folder)):
            with contextlib.suppress(OSError):
                os.rmdir(empty)


def _lines(folder: bytes) -> Iterator[tuple[bytes, ManifestLine | None]]:
    for block in read_blocks(os.path.join(folder, _LINES), _MAX_LINES):
        for text in block.splitlines(keepends=True):
            line = None
            with contextlib.suppress(InvalidLine):
                line = parse_line(text)
            yield text, line


def _make_folders(root: bytes, project: str) -> None:
    make_folder(root, os.path.join(root, KEPT))
    make_folder(root, kept_folder(root, project))
    sync_folder(os.path.join(root, KEPT))


def _note(project: str, entry: ScannedFile, sha256: str | None, when: datetime) -> None:
    uploaded = file_upload_time(entry.key.mtime_ns, entry.key.ctime_ns)
    line = ManifestLine(
        name=entry.distribution.filename,
        sha256=sha256,
        size=entry.key.size,
        time=when,
        note=_UPLOADED + format_upload_time(uploaded),
    )
    path = os.path.join(kept_folder(entry.root, project), _LINES)
    Appending(entry.root, path, [line], _MAX_LINES).write()


def _move(root: bytes, path: bytes, folder: bytes) -> None:
    """Move a file, with its upload time, in place of an older one of its name."""
    target = os.path.join(folder, os.path.basename(path))
    try:
        if os.path.islink(path):
            # A relative target would be another one from there.
            source = os.path.join(os.path.dirname(path), os.readlink(path))
            remove(target)
            os.symlink(source, target)
            os.unlink(path)
        else:
            _move_file(root, path, target)
    except FileNotFoundError:
        # It was moved by an attempt that was cut off.
        if os.path.lexists(path):
            raise


def _move_file(root: bytes, path: bytes, target: bytes) -> None:
    status = os.stat(path)
    if status.st_mtime_ns > status.st_ctime_ns:
        # Moving it sets the change time, which was its upload time so far.
        os.utime(path, ns=(status.st_atime_ns, status.st_ctime_ns))
    try:
        os.replace(path, target)
    except OSError:
        if os.stat(path).st_dev == os.stat(os.path.dirname(target)).st_dev:
            raise
        copy_file(root, path, target, replaces=True)
        os.unlink(path)
