"""`twisted-index serve`: `twist simpleindex` under a name that pipx and uvx can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

# Private by name only: the `twist` script of every installed Twisted imports this object.
from twisted.application.twist._twist import Twist

from twisted_index.tap import Options

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Help(Options):
    """The options for `serve --help`; the synopsis of twist would name twist and a plugin."""

    synopsis = "Usage: twisted-index serve [options] [DIR ...]"


def run(arguments: Sequence[str]) -> int:
    """
    Serve until a signal is received, with the options of `twist simpleindex`.

    The log is always text: twist's default is JSON unless the output is a terminal, which users do not
    expect of `twisted-index serve > log`.
    """
    if "--help" in arguments:
        print(_Help())
        return 0
    Twist.main(["twisted-index", "--log-format=text", "simpleindex", *arguments])
    return 0
