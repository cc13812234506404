"""The options that every subcommand parses alike."""

from __future__ import annotations

import argparse
import os
from typing import NoReturn

from twisted.python import usage

from twisted_index.config.layers import default_state
from twisted_index.config.parsers import path
from twisted_index.errors import ConfigurationError
from twisted_index.simple.retention import DeletionLimit


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


def deletion_limit(text: str) -> DeletionLimit:
    """
    Read the value of `--max-delete`.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        return DeletionLimit.parse(text)
    except ValueError as error:
        raise ConfigurationError(f"--max-delete: {error}.") from None


def require_folders(bucket: str | None) -> None:
    """
    Refuse a bucket where only folders will do.

    Args:
        bucket: Its URL; None if folders were given.

    Raises:
        ConfigurationError: It is one.
    """
    if bucket is not None:
        raise ConfigurationError(
            f"This needs packages in folders, and {bucket} is a bucket: copy it to a folder first, such as by"
            " rclone sync, and give that instead."
        )


def local_path(option: str, given: str) -> str:
    """
    Return the absolute path that an option names.

    Raises:
        ConfigurationError: It is the URL of a bucket.
    """
    try:
        return path(os.getcwd(), given)
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}.") from None


def state_folder(given: str | None) -> str:
    """
    Return the absolute path of the folder in which pages of other indexes are remembered.

    Args:
        given: That of the option or the file; None or empty for the default.

    Raises:
        ConfigurationError: There is no default here.
    """
    state = given or default_state(os.environ)
    if state is None:
        raise ConfigurationError("There is no folder to remember pages in; give one with --state.")
    return local_path("--state", state)
