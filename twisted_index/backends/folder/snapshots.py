"""
Snapshots: `ROOT/.snapshots/NAME` names the files that an index had, with their digests. Blocking.

The file is one of `sha256sum`, whose paths are relative to the root, so `sha256sum -c .snapshots/NAME` in the
root verifies it without this package. Comments say what else the pages showed:

    # snapshot 2026-11-27T18:00:00Z
    0f1e…  foo/foo-1.0-py3-none-any.whl
    2d3c…  ../base/bar/bar-2.0.tar.gz
    # yanked foo/foo-1.0-py3-none-any.whl it is broken
    # deprecated foo use bar

One made by hand, `sha256sum foo/*.whl > .snapshots/NAME`, counts as well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted_index.backends.layout.project_scan import DOCUMENTS
from twisted_index.errors import Conflict, NotFound, Unavailable
from twisted_index.files.anonymous_file import make_folder, write_atomically
from twisted_index.files.safe_open import open_regular_file
from twisted_index.simple.formatting import format_upload_time, one_line, printable
from twisted_index.simple.model import ProjectStatus, Status
from twisted_index.simple.names import claimed_project, normalize
from twisted_index.simple.parsed import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Set

SNAPSHOTS = b".snapshots"
#: Bytes of a snapshot: more than a million files.
MAX_SNAPSHOT = 256 << 20
_HEAD = 200
_STATUSES = {status.value: status for status in Status if status is not Status.ACTIVE}
_LINE = re.compile(rb"([0-9a-fA-F]{64}) [ *](?:\./)?([^\n\\]+)")
_NAMES = re.compile(rb"^[0-9a-fA-F]{64} [ *]([^\n\\]+)$", re.MULTILINE)
_COMMENT = re.compile(rf"# (snapshot|yanked|{'|'.join(_STATUSES)}) (\S+)(?: (.*))?")


@dataclass(slots=True)
class SnapshotProject:
    """
    What a snapshot says of a project.

    Attributes:
        files: The digests of its files and their sidecars, by absolute path.
        shown: Each of these paths as the snapshot has it.
        yanked: Reasons, by absolute path.
        status: Its status.
    """

    files: dict[bytes, str] = field(default_factory=dict)
    shown: dict[bytes, str] = field(default_factory=dict)
    yanked: dict[bytes, str] = field(default_factory=dict)
    status: ProjectStatus = field(default_factory=ProjectStatus)


@dataclass(slots=True, weakref_slot=True)
class IndexSnapshot:
    """
    A snapshot of an index.

    Attributes:
        name: Its name.
        taken: When it was taken, aware; None if it does not say.
        projects: What it says, by normalized name.
        lines: How many files and sidecars it names.
    """

    name: str
    taken: datetime | None = None
    projects: dict[str, SnapshotProject] = field(default_factory=dict)
    lines: int = 0

    def of(self, project: str) -> SnapshotProject:
        """Return what is said of a project, or a new entry for it."""
        return self.projects.setdefault(project, SnapshotProject())


def snapshot_path(root: bytes, name: str) -> bytes:
    """Return the path of a snapshot; `name` is one (`indexes.moments.is_snapshot_name`)."""
    return os.path.join(root, SNAPSHOTS, os.fsencode(name))


def taken_at(root: bytes, name: str) -> datetime:
    """
    Return when a snapshot was taken, from its first bytes, else from the time of its file.

    Raises:
        NotFound: There is no such snapshot.
        Unavailable: It cannot be read.
    """
    path = snapshot_path(root, name)
    head, status = _read(path, name, _HEAD)
    comment = _COMMENT.match(head.partition(b"\n")[0].decode("utf-8", "replace"))
    said = None if comment is None or comment[1] != "snapshot" else parse_timestamp(comment[2])
    return said or datetime.fromtimestamp(status.st_mtime_ns // 10**9, UTC)


def read_snapshot(root: bytes, name: str) -> IndexSnapshot:
    """
    Read a snapshot.

    Raises:
        NotFound: There is no such snapshot.
        Unavailable: It cannot be read, or a line of it is none.
    """
    data, _status = _read(snapshot_path(root, name), name, MAX_SNAPSHOT + 1)
    if len(data) > MAX_SNAPSHOT:
        raise Unavailable(f"The snapshot {name} has more than {MAX_SNAPSHOT:,} bytes.")
    snapshot = IndexSnapshot(name)
    for number, line in enumerate(data.split(b"\n"), 1):
        if not _add(snapshot, root, line.rstrip(b"\r")):
            raise Unavailable(f"Line {number} of the snapshot {name} is not one of sha256sum.")
    return snapshot


def write_snapshot(root: bytes, snapshot: IndexSnapshot) -> None:
    """
    Write a new snapshot, at once.

    Raises:
        Conflict: There is one of that name, or a file has a path that no line can hold.
        OSError: It was not written.
    """
    path = snapshot_path(root, snapshot.name)
    if os.path.lexists(path):
        raise Conflict(f"There is a snapshot {snapshot.name} already.")
    content = b"".join(_lines(root, snapshot))
    make_folder(root, os.path.dirname(path))
    write_atomically(root, path, content)


def snapshots_in(root: bytes) -> list[str]:
    """
    List the names of the snapshots of an index.

    Raises:
        OSError: They cannot be listed.
    """
    try:
        with os.scandir(os.path.join(root, SNAPSHOTS)) as entries:
            return sorted(os.fsdecode(one.name) for one in entries if one.is_file(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


def held_names(roots: Sequence[bytes], root: bytes, names: Set[bytes]) -> frozenset[bytes]:
    """
    Return which files of a root a snapshot names: one of these roots, or of an index beside it.

    Args:
        roots: All roots that are served together.
        root: That of the files.
        names: Names of files and sidecars, which are never in two places of a root.

    Raises:
        OSError: A snapshot cannot be read, so that it may name any of them.
    """
    held: set[bytes] = set()
    for folder in roots if names else ():
        for name in snapshots_in(folder):
            held |= _held_by(folder, name, root, names - held)
    # What is there but cannot be read is something else of that name.
    with contextlib.suppress(PermissionError), os.scandir(os.path.dirname(root)) as beside:
        for entry in beside if names else ():
            with contextlib.suppress(OSError):
                for name in snapshots_in(entry.path) if entry.path not in roots else ():
                    held |= _held_by(entry.path, name, root, names - held)
    return frozenset(held)


def _held_by(folder: bytes, name: str, root: bytes, names: Set[bytes]) -> set[bytes]:
    file = open_regular_file(snapshot_path(folder, name), follow_links=False)
    if file is None:
        return set()
    with file:
        paths = _NAMES.findall(file.read(MAX_SNAPSHOT))
    return {
        base
        for path in paths
        if (base := os.path.basename(path)) in names
        and os.path.normpath(os.path.join(folder, path)).startswith(os.path.join(root, b""))
    }


def _read(path: bytes, name: str, limit: int) -> tuple[bytes, os.stat_result]:
    try:
        file = open_regular_file(path, follow_links=False)
        if file is None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with file:
            return file.read(limit), os.fstat(file.fileno())
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f"There is no snapshot {printable(name)} here. Other moments are dates such as 2026-11-01, and"
            " times such as 2026-11-01T12:00Z."
        ) from None
    except OSError as error:
        raise Unavailable(f"The snapshot {name} cannot be read: {error.strerror}.") from None


def _add(snapshot: IndexSnapshot, root: bytes, line: bytes) -> bool:
    """Add what a line says; return whether it is one."""
    if not line:
        return True
    if line.startswith(b"#"):
        _add_comment(snapshot, root, line.decode("utf-8", "replace"))
        return True
    found = _LINE.fullmatch(line)
    if found is None:
        return False
    path = os.path.normpath(os.path.join(root, found[2]))
    project = snapshot.of(_project_of(root, path))
    project.files[path] = found[1].decode().lower()
    project.shown[path] = printable(os.fsdecode(found[2]))
    snapshot.lines += 1
    return True


def _add_comment(snapshot: IndexSnapshot, root: bytes, text: str) -> None:
    comment = _COMMENT.fullmatch(text)
    if comment is None:
        return
    word, about, reason = comment[1], comment[2], one_line(comment[3] or "")
    if word == "snapshot":
        snapshot.taken = parse_timestamp(about)
    elif word == "yanked":
        path = os.path.normpath(os.path.join(root, os.fsencode(about)))
        snapshot.of(_project_of(root, path)).yanked[path] = reason
    else:
        snapshot.of(normalize(about)).status = ProjectStatus(status=_STATUSES[word], reason=reason)


def _project_of(root: bytes, path: bytes) -> str:
    """Return the project of a file: that of its folder if they agree, as old sdists have ambiguous names."""
    folder, name = os.path.split(path)
    text = os.fsdecode(name)
    for suffix in DOCUMENTS:
        text = text.removesuffix(suffix)
    in_folder = normalize(os.fsdecode(os.path.basename(folder)))
    claimed = claimed_project(text)
    agree = folder != root and normalize(text).startswith(f"{in_folder}-")
    return in_folder if agree or claimed is None else claimed


def _lines(root: bytes, snapshot: IndexSnapshot) -> Iterator[bytes]:
    if snapshot.taken is not None:
        yield f"# snapshot {format_upload_time(snapshot.taken.replace(microsecond=0))}\n".encode()
    for name, project in sorted(snapshot.projects.items()):
        for path, digest in sorted(project.files.items()):
            yield digest.encode() + b"  " + _relative(root, path) + b"\n"
        for path, reason in sorted(project.yanked.items()):
            yield b"# yanked " + _relative(root, path) + f" {one_line(reason)}".rstrip().encode() + b"\n"
        if project.status.status is not Status.ACTIVE:
            text = f"# {project.status.status.value} {name} {one_line(project.status.reason)}"
            yield text.rstrip().encode() + b"\n"


def _relative(root: bytes, path: bytes) -> bytes:
    relative = os.path.relpath(path, root)
    if re.fullmatch(rb"[!-\[\]-~]+", relative) is None:
        shown = printable(os.fsdecode(relative))
        raise Conflict(f"{shown} has characters that a line of a snapshot cannot hold.")
    return relative
