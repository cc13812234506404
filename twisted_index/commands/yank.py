"""`twisted-index yank`: take files out of choice, unless their exact version is asked for (PEP 592)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.commandline import parse_words
from twisted_index.commands.changing import Change, ChangeOptions, Target

if TYPE_CHECKING:
    from collections.abc import Sequence


class Options(ChangeOptions):
    """The options of `yank`."""

    synopsis = "Usage: twisted-index yank [options] PROJECT==VERSION | FILENAME"
    longdesc = (
        "Installers take what is yanked only when its exact version is asked for. unyank takes it back."
    )
    optParameters = [["reason", None, "", "Why; people see it when they install."]]  # noqa: RUF012


def run(arguments: Sequence[str]) -> int:
    """Yank a file or a release."""
    options = Options()
    words = parse_words(options, arguments, range(1, 2))
    if words is None:
        return 0
    target, change = Target(words[0]), Change(options)
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
        print(f"{name} is yanked.")
    return 0
