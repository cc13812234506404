"""The options that every subcommand parses alike."""

from __future__ import annotations

from typing import NoReturn

from twisted.python import usage


class SubcommandOptions(usage.Options):
    """
    Options of a subcommand, with its positional words under `words`.

    Options that were not given are None or empty, so that environment and file apply.
    """

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["words"] = ()

    def opt_version(self) -> NoReturn:
        """Not here: type twisted-index version."""
        raise usage.UsageError("the version is printed by twisted-index version")

    def parseArgs(self, *words: str) -> None:
        """Store the positional words."""
        self["words"] = words
