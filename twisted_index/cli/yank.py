"""`twisted-index yank`: hide files from installers that do not request their exact version (PEP 592)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.cli._edit import EditTarget, IndexOptions, OfflineEdit
from twisted_index.config.option_order import parse_positionals

if TYPE_CHECKING:
    from collections.abc import Sequence


class YankOptions(IndexOptions):
    """The options of `yank`."""

    synopsis = "Usage: twisted-index yank [options] PROJECT==VERSION | FILENAME"
    longdesc = "Installers choose a yanked file only for its exact version. unyank undoes it."
    optParameters = [["reason", None, "", "Reason; installers show it."]]  # noqa: RUF012


def run(arguments: Sequence[str]) -> int:
    """Yank a file or a release."""
    options = YankOptions()
    words = parse_positionals(options, arguments, range(1, 2))
    if words is None:
        return 0
    target, change = EditTarget(words[0]), OfflineEdit(options)
    names = change.make(
        lambda: change.editor.yank(
            target.project,
            version=target.version,
            filename=target.filename,
            reason=options["reason"],
            by=change.by,
        )
    )
    for name in names:
        print(f"Yanked {name}.")
    return 0
