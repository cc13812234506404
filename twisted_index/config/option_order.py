"""Command lines with options before or after the positional words."""

from __future__ import annotations

import getopt
from typing import TYPE_CHECKING

from twisted.python import usage

from twisted_index.config.settings import SETTINGS
from twisted_index.config.suggestions import suggested_option
from twisted_index.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence


def options_first(options: usage.Options, words: Sequence[str]) -> list[str]:
    """
    Move options before the positional words, so that `simpleindex DIR --port 9000` works.

    usage.Options follows POSIX and would treat all words after DIR as folders.

    Args:
        options: Defines the options.
        words: The command line.

    Returns:
        The reordered command line for `usage.Options.parseOptions`.

    Raises:
        UsageError: There is no such option, or it lacks its value.
    """
    arguments = list(words)
    if "--_shell-completion" in arguments:  # passed to usage.Options unchanged
        return arguments
    try:
        parsed, positionals = getopt.gnu_getopt(arguments, options.shortOpt, options.longOpt)
    except getopt.GetoptError as error:
        # After a word, usage.Options would treat the option as another word.
        raise usage.UsageError(_fault(error, options.longOpt)) from error
    return [*(_joined(name, value, options.longOpt) for name, value in parsed), "--", *positionals]


def parse_positionals(
    options: usage.Options, arguments: Sequence[str], wanted: range, name: str = ""
) -> tuple[str, ...] | None:
    """
    Parse the command line of a subcommand, with options before or after the words.

    Args:
        options: Filled in; stores the words under `words`.
        arguments: The arguments of the subcommand.
        wanted: The allowed numbers of words.
        name: Prefix of messages, with a colon.

    Returns:
        The words; None if help was requested and printed.

    Raises:
        ConfigurationError: The command line is invalid.
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


def _fault(error: getopt.GetoptError, long_options: Sequence[str]) -> str:
    """Return what is wrong with a command line; for an unknown option, with the one that it may mean."""
    if not error.msg.endswith("not recognized"):
        return error.msg
    dashes = "-" if len(error.opt) == 1 else "--"
    if error.opt in SETTINGS and "config=" in long_options:
        variable = f"TWISTED_INDEX_{error.opt.replace('-', '_').upper()}"
        return f"--{error.opt} is no option but a line of the file that --config names, or {variable}."
    suggestion = suggested_option(error.opt, {name.rstrip("=") for name in long_options})
    hint = "see --help." if suggestion is None else f"did you mean {suggestion}?"
    return f"{dashes}{error.opt} is not an option; {hint}"


def _joined(name: str, value: str, long_options: Sequence[str]) -> str:
    """Join an option and its value into one word."""
    if not name.startswith("--"):
        return name + value
    return f"{name}={value}" if f"{name[2:]}=" in long_options else name
