"""`twisted-index delete`: delete files for good, with their names staying taken."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from twisted_index.cli._edit import EditTarget, IndexOptions, OfflineEdit, find_files
from twisted_index.config.option_order import parse_positionals
from twisted_index.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence


class DeleteOptions(IndexOptions):
    """The options of `delete`."""

    synopsis = "Usage: twisted-index delete [options] PROJECT==VERSION | FILENAME"
    longdesc = (
        "Deletes files from all folders, immediately and permanently. Their names stay taken, so that a lock"
        " file never finds different content under them. To keep a file for users who pin it, yank it"
        " instead."
    )
    optParameters = [["reason", None, "", "Reason; kept with the name of the file."]]  # noqa: RUF012
    optFlags = [["dry-run", "n", "Only print what would be deleted."]]  # noqa: RUF012


def run(arguments: Sequence[str]) -> int:
    """Delete a file or a release."""
    options = DeleteOptions()
    words = parse_positionals(options, arguments, range(1, 2))
    if words is None:
        return 0
    target, change = EditTarget(words[0]), OfflineEdit(options)
    failures = delete_files(
        change,
        [(target.project, name) for name in find_files(change.editor, target)],
        reason=options["reason"],
        dry_run=bool(options["dry-run"]),
    )
    return 1 if failures else 0


def delete_files(
    change: OfflineEdit, files: Sequence[tuple[str, str]], *, reason: str = "", dry_run: bool = False
) -> int:
    """
    Delete files one by one, and print each; failures do not stop the others.

    Args:
        change: Makes the changes.
        files: Projects and file names.
        reason: Stored in the tombstone of each file.
        dry_run: Only print the files.

    Returns:
        The number of files that could not be deleted.
    """
    failures = 0
    for project, name in files:
        if dry_run:
            print(f"{name} would be deleted.")
            continue
        try:
            change.make(partial(change.editor.delete, project, name, by=change.by, reason=reason))
        except NotFound:
            # It was there when the list was made: another command, or the server, was faster.
            print(f"{name} has been deleted meanwhile.")
        except Unavailable as error:
            failures += 1
            print(f"twisted-index: {name}: {error.message}", file=sys.stderr)
        else:
            print(f"Deleted {name}.")
    return failures
