"""`twisted-index delete`: delete files for good, with their names staying taken."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twisted_index.commandline import parse_words
from twisted_index.commands.changing import Change, ChangeOptions, Target, find_files

if TYPE_CHECKING:
    from collections.abc import Sequence


class Options(ChangeOptions):
    """The options of `delete`."""

    synopsis = "Usage: twisted-index delete [options] PROJECT==VERSION | FILENAME"
    longdesc = (
        "Deletes files from all folders, at once and for good. Their names stay taken, so that a lock file"
        " never meets other bytes under one of them. To keep a file for those who pin it, yank it instead."
    )
    optParameters = [["reason", None, "", "Why; kept where the file was."]]  # noqa: RUF012
    optFlags = [["dry-run", "n", "Only say what would be deleted."]]  # noqa: RUF012


def run(arguments: Sequence[str]) -> int:
    """Delete a file or a release."""
    options = Options()
    words = parse_words(options, arguments, range(1, 2))
    if words is None:
        return 0
    target, change = Target(words[0]), Change(options)
    delete_files(
        change,
        [(target.project, name) for name in find_files(change.editor, target)],
        reason=options["reason"],
        dry_run=bool(options["dry-run"]),
    )
    return 0


def delete_files(
    change: Change, files: Sequence[tuple[str, str]], *, reason: str = "", dry_run: bool = False
) -> None:
    """
    Delete files one by one, and say so.

    Args:
        change: Makes the changes.
        files: Projects and file names.
        reason: Kept where each file was.
        dry_run: Only say it.
    """
    for project, name in files:
        if dry_run:
            print(f"{name} would be deleted.")
            continue
        change.make(partial(change.editor.delete, project, name, by=change.by, reason=reason))
        print(f"{name} is deleted.")
