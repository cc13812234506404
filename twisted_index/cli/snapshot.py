"""`twisted-index snapshot`: write down which files an index has, so that it can be served as it is now."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.backends.folder.kept_files import kept_folder
from twisted_index.backends.folder.open_file import read_document
from twisted_index.backends.folder.snapshots import (
    IndexSnapshot,
    read_snapshot,
    snapshots_in,
    taken_at,
    write_snapshot,
)
from twisted_index.cli._edit import IndexOptions
from twisted_index.cli._progress import number
from twisted_index.cli._server_state import require_primary
from twisted_index.config.option_order import parse_positionals
from twisted_index.errors import ConfigurationError, SimpleIndexError, Unavailable
from twisted_index.export.project_reader import PackageFolders, ProjectReader
from twisted_index.files.os_errors import translate_os_errors
from twisted_index.indexes.moments import is_snapshot_name
from twisted_index.server.state_folder import inspection_cache_path
from twisted_index.simple.formatting import format_upload_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.export.project_reader import ReadProject

_HELP = """\
Usage: twisted-index snapshot COMMAND [options]

A snapshot names the files of an index and their digests. /+at/NAME/ serves just these.

Commands:
  create  Take a snapshot.
  list    List the snapshots.

Each has its own options: twisted-index snapshot COMMAND --help\
"""


class _Create(IndexOptions):
    """The options of `snapshot create`."""

    synopsis = "Usage: twisted-index snapshot create [options] NAME"
    longdesc = (
        "Writes .snapshots/NAME into the folder of the index, the first one: the files that it lists now,"
        " with their digests, in the format of sha256sum, which verifies it there: sha256sum -c"
        " .snapshots/NAME. What it names is kept when it is deleted. To forget it, remove the file."
    )


class _List(IndexOptions):
    """The options of `snapshot list`."""

    synopsis = "Usage: twisted-index snapshot list [options]"
    longdesc = "Lists the snapshots of the first folder, and whether files of them are missing."


def run(arguments: Sequence[str]) -> int:
    """Run a subcommand of `snapshot`."""
    command, *rest = arguments or ["--help"]
    match command:
        case "--help" | "-h" | "help":
            print(_HELP)
            return 0
        case "create":
            options: IndexOptions = _Create()
            words = parse_positionals(options, rest, range(1, 2), "snapshot: ")
            return 0 if words is None else _create(options, words[0])
        case "list":
            options = _List()
            words = parse_positionals(options, rest, range(1), "snapshot: ")
            return 0 if words is None else _list(options)
    raise ConfigurationError(f"snapshot {command}: use create or list.")


def _create(options: IndexOptions, name: str) -> int:
    if not is_snapshot_name(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a snapshot: it has letters, digits, '.', '_' and '-', and is no"
            " date."
        )
    settings = options.settings()
    folders = options.folders(settings)
    # It keeps files from being deleted, which a replica does as its primary says.
    require_primary(settings, [folders.root])
    snapshot = IndexSnapshot(name, datetime.now(UTC).replace(microsecond=0))
    with translate_os_errors():
        with contextlib.closing(InspectionCache(inspection_cache_path(settings.state))) as cache:
            reader = ProjectReader([PackageFolders(folders.roots, lambda _project: True)], cache)
            for project, parts in reader.parts_by_project()[0].items():
                _add(snapshot, project, reader.read(project, parts))
        write_snapshot(folders.roots[0], snapshot)
    of = f"{number(snapshot.lines, 'file')} of {number(len(snapshot.projects), 'project')}"
    print(f"{name}: {of}. In {os.fsdecode(folders.roots[0])}, sha256sum -c .snapshots/{name} verifies it.")
    return 0


def _add(snapshot: IndexSnapshot, name: str, read: ReadProject) -> None:
    """Add what the page of a project shows."""
    if read.page is None or read.scan is None:
        return
    project = snapshot.of(name)
    project.status = read.page.status
    for file in read.page.files:
        path = read.listed[file.filename].entry.path
        project.files[path] = file.hashes["sha256"]
        if file.yanked is not None:
            project.yanked[path] = file.yanked.reason
        for document in read.scan.documents.get(file.filename, {}).values():
            body = read_document(document)
            if body is None or body.sha256 is None:
                raise Unavailable(f"A document of {file.filename} cannot be read. Try again.")
            project.files[document] = body.sha256
    snapshot.lines += len(project.files)


def _list(options: IndexOptions) -> int:
    folders = options.folders(options.settings())
    fault = 0
    with translate_os_errors():
        for name in snapshots_in(folders.roots[0]):
            try:
                taken, snapshot = taken_at(folders.roots[0], name), read_snapshot(folders.roots[0], name)
            except SimpleIndexError as error:
                print(f"{name}  {error.message}")
                fault = 1
                continue
            missing = sum(not _is_there(path, project) for project, path in _paths(snapshot))
            fault |= bool(missing)
            more = f", {missing} missing" if missing else ""
            print(f"{name}  {format_upload_time(taken)}  {number(snapshot.lines, 'file')}{more}")
    return fault


def _paths(snapshot: IndexSnapshot) -> list[tuple[str, bytes]]:
    return [(name, path) for name, project in snapshot.projects.items() for path in project.files]


def _is_there(path: bytes, project: str) -> bool:
    """Return whether a file is in its place, or among the kept ones of its root."""
    folder, name = os.path.split(path)
    kept = (os.path.join(kept_folder(root, project), name) for root in (folder, os.path.dirname(folder)))
    return any(map(os.path.exists, (path, *kept)))
