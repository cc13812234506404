"""`twisted-index prune`: delete old, superseded releases."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

from twisted_index.cli._edit import IndexOptions, OfflineEdit
from twisted_index.cli._options import deletion_limit
from twisted_index.cli.delete import delete_files
from twisted_index.config.option_order import parse_positionals
from twisted_index.config.parsers import duration
from twisted_index.errors import ConfigurationError, NotFound, Unavailable, UnreadableFolder
from twisted_index.simple.names import is_prerelease, normalize, public_version
from twisted_index.simple.retention import StoredFile, superseded
from twisted_index.statistics.day_files import DayFiles, day_of, downloads_folder
from twisted_index.statistics.usage import read_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twisted_index.backends.folder.inventory import FolderInventory
    from twisted_index.backends.object_store.object_reader import ObjectInventory
    from twisted_index.config.settings import Settings
    from twisted_index.statistics.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile(StoredFile):
    """
    A file that may not be listed, unlike those of a page: as one of which only a part has arrived.

    Attributes:
        is_whole: Returns whether it could be listed; reads the directory and the metadata of the archive.
    """

    is_whole: Callable[[], bool]

    def is_offered(self) -> bool:
        """See `StoredFile.is_offered`."""
        return not self.yanked and self.is_whole()


class PruneOptions(IndexOptions):
    """The options of `prune`."""

    synopsis = "Usage: twisted-index prune [--keep N] [--unused TIME] [options] PATTERN..."
    longdesc = (
        "Of each project that PATTERN matches, keeps the newest N pre- and development releases, every final"
        " release and every file that is younger than --older, and deletes the rest as `delete` does, with"
        " --unused only what was not downloaded for so long. PATTERN"
        " is of project names, of versions, or PROJECT==VERSION, which leaves other versions alone. Without"
        " --yes, only prints what it would delete."
    )
    optParameters = [  # noqa: RUF012
        ["keep", None, None, "Number of the newest releases to keep, at least 1. [--unused: 1]"],
        ["unused", None, None, "Keep releases downloaded since this long ago, such as 180d."],
        ["older", None, "0", "Keep files uploaded less than this long ago, such as 30d."],
        ["max-delete", None, "100%", "Delete nothing if it were more files than this, or than 5% of them."],
    ]
    optFlags = [  # noqa: RUF012
        ["finals", None, "Delete old final releases too; the newest N of them stay."],
        ["yes", "y", "Actually delete."],
    ]


def run(arguments: Sequence[str]) -> int:
    """Delete or list old releases; 1 if they are too many, or a project not read, or a file not deleted."""
    options = PruneOptions()
    patterns = parse_positionals(options, arguments, range(1, sys.maxsize))
    if patterns is None:
        return 0
    older, unused = _seconds(options, "older"), _seconds(options, "unused")
    keep = _keep("1" if unused and options["keep"] is None else options["keep"])
    limit, change = deletion_limit(options["max-delete"]), OfflineEdit(options)
    usage = _usage(change.settings, unused) if unused else None
    projects, failures = _read(change, patterns)
    matched = {project: _matching(patterns, project, files) for project, files in projects.items()}
    old = [
        (project, file.filename)
        for project, files in matched.items()
        for file in _unused(project, _old(files, keep, finals=bool(options["finals"])), usage)
        if file.uploaded <= time.time() - max(older, unused)
    ]
    total = sum(len(files) for project, files in projects.items() if matched[project])
    if limit.forbids(len(old), total):
        print(
            f"twisted-index: nothing was deleted: {len(old)} of {total} files are old, and --max-delete"
            f" {limit} allows fewer.",
            file=sys.stderr,
        )
        return 1
    failures += delete_files(change, old, reason="pruned", dry_run=not options["yes"])
    if not old:
        print("There is nothing to delete.")
    elif not options["yes"]:
        print(f"Nothing was deleted yet: add --yes to delete these {len(old)}.")
    return 1 if failures else 0


def _read(change: OfflineEdit, patterns: Sequence[str]) -> tuple[dict[str, list[StoredFile]], int]:
    """
    Read the projects that patterns may match.

    Returns:
        The files of each, and the number of projects that cannot be read.

    Raises:
        NotFound: A pattern matches nothing.
    """
    projects: dict[str, list[StoredFile]] = {}
    failures = 0
    for project in change.editor.projects():
        if any(_may_match(pattern, project) for pattern in patterns):
            try:
                projects[project] = _listed(change.editor.inventory(project))
            except UnreadableFolder as error:
                failures += 1
                print(f"twisted-index: {project} is skipped: {error.message}", file=sys.stderr)
    for pattern in () if failures else patterns:
        if not any(
            _names(pattern, project) or _matching([pattern], project, files)
            for project, files in projects.items()
        ):
            what = "release" if "==" in pattern else "project or version"
            raise NotFound(f"No {what} here matches {pattern}.")
    return projects, failures


def _listed(inventory: FolderInventory | ObjectInventory) -> list[StoredFile]:
    """
    Return the files of a project that no tombstone hides; of equal ones the first, which is served.

    Copies are left out: the rules of their mirror decide about them.
    """
    files: dict[object, StoredFile] = {}
    for entry in inventory.scan.entries:
        distribution = entry.distribution
        if not inventory.is_hidden(entry) and not inventory.is_recorded(entry):
            file = FoundFile(
                is_whole=partial(inventory.is_whole, entry),
                filename=distribution.filename,
                version=distribution.version,
                uploaded=min(entry.key.mtime_ns, entry.key.ctime_ns) / 1e9,
                yanked=distribution.filename in inventory.scan.yanked,
            )
            files.setdefault(distribution.identity, file)
    return list(files.values())


def _old(files: Iterable[StoredFile], keep: int, *, finals: bool) -> list[StoredFile]:
    """Return the files of superseded releases; finals and pre-releases are counted apart."""
    files = list(files)
    old = superseded([file for file in files if is_prerelease(file.version)], keep)
    if finals:
        old += superseded([file for file in files if not is_prerelease(file.version)], keep)
    return old


def _unused(project: str, files: Sequence[StoredFile], usage: Usage | None) -> Sequence[StoredFile]:
    """Return the files of releases of which no file was downloaded."""
    if usage is None:
        return files
    used = {public_version(file.version) for file in files if usage.has(project, file.filename)}
    return [file for file in files if public_version(file.version) not in used]


def _usage(settings: Settings, seconds: float) -> Usage:
    """
    Read what was downloaded lately.

    Raises:
        ConfigurationError: The statistics cannot tell.
    """
    folder = downloads_folder(settings.state)
    if folder is None:
        raise ConfigurationError("--unused needs the statistics of the server, which are in its --state.")
    if (settings.bucket or settings.bucket_of_indexes) and not settings.objects.single_writer:
        raise ConfigurationError(
            "--unused needs single-writer = true: several servers on a bucket count each for itself."
        )
    try:
        return read_usage(DayFiles(folder), day_of(time.time() - seconds))
    except OSError as error:
        where = f"{error.filename}: {error.strerror}"
        raise Unavailable(f"The statistics cannot be read: {where}.") from error


def _matching(patterns: Sequence[str], project: str, files: Iterable[StoredFile]) -> list[StoredFile]:
    return [file for file in files if any(_matches(one, project, file.version) for one in patterns)]


def _matches(pattern: str, project: str, version: str) -> bool:
    """Return whether a pattern matches a release: by its project, its version, or PROJECT==VERSION."""
    name, equals, versions = pattern.partition("==")
    if equals:
        return fnmatchcase(project, normalize(name)) and fnmatchcase(version, versions)
    return _names(pattern, project) or fnmatchcase(version, pattern)


def _names(pattern: str, project: str) -> bool:
    return "==" not in pattern and fnmatchcase(project, normalize(pattern))


def _may_match(pattern: str, project: str) -> bool:
    """Return whether to read a project; no version begins with a letter."""
    name, equals, _versions = pattern.partition("==")
    return fnmatchcase(project, normalize(name)) or not (equals or pattern[:1].isalpha())


def _keep(text: str | None) -> int:
    if text is None or not text.isdecimal() or int(text) < 1:
        raise ConfigurationError("--keep is required: the number of the newest releases to keep, at least 1.")
    return int(text)


def _seconds(options: PruneOptions, name: str) -> float:
    try:
        return duration(options[name] or "0")
    except ValueError as error:
        raise ConfigurationError(f"--{name}: {error}.") from error
