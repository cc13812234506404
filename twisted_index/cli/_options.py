"""The options that every subcommand parses alike."""

from __future__ import annotations

import argparse
from typing import NoReturn

from twisted.python import usage

from twisted_index.errors import ConfigurationError


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


class CommandParser(argparse.ArgumentParser):
    """A parser with pip's forms of options, which reports errors like all subcommands."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as a ConfigurationError, with where to look if an option is unknown."""
        more = f"; {self.prog} --help lists the options" if message.startswith("unrecognized") else ""
        raise ConfigurationError(f"{message[:1].upper()}{message[1:]}{more}.")
