"""`twisted-index unyank`: undo a yank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.cli._edit import EditTarget, IndexOptions, OfflineEdit
from twisted_index.config.option_order import parse_positionals

if TYPE_CHECKING:
    from collections.abc import Sequence


class UnyankOptions(IndexOptions):
    """The options of `unyank`."""

    synopsis = "Usage: twisted-index unyank [options] PROJECT==VERSION | FILENAME"
    longdesc = "Undoes a yank."


def run(arguments: Sequence[str]) -> int:
    """Undo the yank of a file or a release."""
    options = UnyankOptions()
    words = parse_positionals(options, arguments, range(1, 2))
    if words is None:
        return 0
    target, change = EditTarget(words[0]), OfflineEdit(options)
    names = change.make(
        lambda: change.editor.unyank(
            target.project, version=target.version, filename=target.filename, by=change.by
        )
    )
    for name in names:
        print(f"{name} is no longer yanked.")
    if not names:
        print("No file of it was yanked.")
    return 0
