"""`twisted-index serve`: `twist simpleindex` under a name that pipx and uvx can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

# Private by its name only: the `twist` script of every installed Twisted names this very object.
from twisted.application.twist._twist import Twist

from twisted_index.tap import Options

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Help(Options):
    """The options as `serve` shows them; below twist the synopsis would name twist and a plugin."""

    synopsis = "Usage: twisted-index serve [options] [DIR ...]"


def run(arguments: Sequence[str]) -> int:
    """
    Serve until a signal comes, with the options of `twist simpleindex`.

    The log is text wherever it goes: twist's own default is JSON unless a terminal reads it, which
    is not what a person expects of `twisted-index serve > log`.
    """
    if "--help" in arguments:
        print(_Help())
        return 0
    Twist.main(["twisted-index", "--log-format=text", "simpleindex", *arguments])
    return 0
