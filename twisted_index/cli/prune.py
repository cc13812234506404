"""`twisted-index prune`: delete old, superseded releases."""

from __future__ import annotations

import sys
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from twisted_index.cli._edit import ChangeOptions, OfflineEdit
from twisted_index.cli.delete import delete_files
from twisted_index.config.option_order import parse_positionals
from twisted_index.config.parsers import duration
from twisted_index.errors import ConfigurationError, NotFound, UnreadableFolder
from twisted_index.simple.names import normalize, version_sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from twisted_index.backends.folder.project_scan import ScannedFile


class PruneOptions(ChangeOptions):
    """The options of `prune`."""

    synopsis = "Usage: twisted-index prune --keep N [options] PATTERN"
    longdesc = (
        "Of each project whose name matches PATTERN, keeps the newest N releases and every file that is"
        " younger than --older, and deletes the rest as `delete` does. Without --yes, only prints what it"
        " would delete."
    )
    optParameters = [  # noqa: RUF012
        ["keep", None, None, "Number of the newest releases to keep, at least 1. Required."],
        ["older", None, "0", "Keep files uploaded less than this long ago, such as 30d."],
    ]
    optFlags = [["yes", "y", "Actually delete."]]  # noqa: RUF012


def run(arguments: Sequence[str]) -> int:
    """Delete or list old releases; 1 if a project could not be read or a file not deleted."""
    options = PruneOptions()
    words = parse_positionals(options, arguments, range(1, 2))
    if words is None:
        return 0
    keep, older = _keep(options["keep"]), _older(options["older"])
    pattern, change = normalize(words[0]), OfflineEdit(options)
    projects = [project for project in change.blocking_store.projects() if fnmatchcase(project, pattern)]
    if not projects:
        raise NotFound(f"No project here matches {words[0]}.")
    files: list[tuple[str, str]] = []
    failures = 0
    for project in projects:
        try:
            entries = change.blocking_store.inventory(project).scan.entries
        except UnreadableFolder as error:
            failures += 1
            print(f"twisted-index: {project} is skipped: {error.message}", file=sys.stderr)
            continue
        files.extend((project, name) for name in _superseded(entries, keep, time.time() - older))
    failures += delete_files(change, files, reason="pruned", dry_run=not options["yes"])
    if not files:
        print("There is nothing to delete.")
    elif not options["yes"]:
        print(f"Nothing was deleted yet: add --yes to delete these {len(files)}.")
    return 1 if failures else 0


def _superseded(entries: Iterable[ScannedFile], keep: int, before: float) -> list[str]:
    """Return the names of old files of old releases, by the upload times that pages show."""
    by_version: dict[object, list[ScannedFile]] = {}
    for entry in sorted(
        entries, key=lambda entry: version_sort_key(entry.distribution.version), reverse=True
    ):
        by_version.setdefault(version_sort_key(entry.distribution.version), []).append(entry)
    names: dict[object, str] = {}
    for release in list(by_version.values())[keep:]:
        for entry in release:
            if min(entry.key.mtime_ns, entry.key.ctime_ns) / 1e9 <= before:
                names.setdefault(entry.distribution.identity, entry.distribution.filename)
    return list(names.values())


def _keep(text: str | None) -> int:
    if text is None or not text.isdecimal() or int(text) < 1:
        raise ConfigurationError("--keep is required: the number of the newest releases to keep, at least 1.")
    return int(text)


def _older(text: str) -> float:
    try:
        return duration(text)
    except ValueError as error:
        raise ConfigurationError(f"--older: {error}.") from error
