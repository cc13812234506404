"""Command lines with options before or after the positional words."""

from __future__ import annotations

import getopt
from typing import TYPE_CHECKING

from twisted.python import usage

from twisted_index.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence


def options_first(options: usage.Options, words: Sequence[str]) -> list[str]:
    """
    Put options before the other words, so that `simpleindex DIR --port 9000` means what it says.

    usage.Options follows POSIX and would take all that comes after DIR for folders.

    Args:
        options: Knows which there are.
        words: As they were typed.

    Returns:
        The same for `usage.Options.parseOptions`.

    Raises:
        UsageError: There is no such option, or it lacks its value.
    """
    given = list(words)
    if "--_shell-completion" in given:  # to be seen by usage.Options as it came
        return given
    try:
        found, others = getopt.gnu_getopt(given, options.shortOpt, options.longOpt)
    except getopt.GetoptError as error:
        # usage.Options would not find it behind a word, and take it for one more.
        raise usage.UsageError(str(error)) from error
    return [*(_joined(name, value, options.longOpt) for name, value in found), "--", *others]


def parse_positionals(
    options: usage.Options, arguments: Sequence[str], wanted: range, name: str = ""
) -> tuple[str, ...] | None:
    """
    Read the command line of a subcommand, with options before or after the words.

    Args:
        options: Filled in; puts the words under `words`.
        arguments: Of the subcommand.
        wanted: How many words there may be.
        name: Prefix of messages, with a colon.

    Returns:
        The words; None if help was asked for and printed.

    Raises:
        ConfigurationError: It is not understood.
    """
    if "--help" in arguments:
        print(options)
        return None
    try:
        usage.Options.parseOptions(options, options_first(options, arguments))
    except usage.UsageError as error:
        raise ConfigurationError(f"{name}{error}".rstrip(".") + ".") from error
    words: tuple[str, ...] = options["words"]
    if len(words) not in wanted:
        raise ConfigurationError(options.getSynopsis().strip() + ".")
    return words


def _joined(name: str, value: str, long_options: Sequence[str]) -> str:
    """Write an option and its value as one word."""
    if not name.startswith("--"):
        return name + value
    return f"{name}={value}" if f"{name[2:]}=" in long_options else name
