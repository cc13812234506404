"""
Tables of TOML files: known keys with a parser each; an error names the place, and suggests another key.

Out of scope: which keys there are (see `layers`).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted_index.config.suggestions import suggested_name
from twisted_index.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted_index.config.parsers import Parser
    from twisted_index.config.settings import Split


@dataclass(frozen=True, slots=True)
class TableKey:
    """
    A name in a table, or in a layer of settings.

    Attributes:
        place: The name under which the parsed value is kept.
        parse: Parses the value.
        split: Splits an environment variable with several values.
    """

    place: str
    parse: Parser
    split: Split | None = None


def read_toml(path: str) -> Mapping[str, object]:
    """Read a TOML file; each failure is a ConfigurationError."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{path}: the configuration cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: TOML must be UTF-8, and byte {error.start} is not.") from error
    # TOMLDecodeError with its line, or int() of more digits than Python converts.
    except ValueError as error:
        raise ConfigurationError(f"{path}: this is not TOML: {error}.") from error


def read_table(written: Mapping[str, object], table: Mapping[str, TableKey], place: str) -> dict[str, Any]:
    """
    Parse a table; unknown keys and invalid values are ConfigurationErrors.

    Args:
        written: As in the file.
        table: The known keys.
        place: What stands before the name of a key in messages.

    Returns:
        The parsed values, by `TableKey.place`.
    """
    values: dict[str, Any] = {}
    for name, raw in written.items():
        key = look_up(name, table, place)
        values[key.place] = parsed(key.parse, raw, place + name)
    return values


def look_up(
    name: str, table: Mapping[str, TableKey], place: str, spell: Callable[[str], str] = str
) -> TableKey:
    """Look up a key; the error for an unknown name suggests another one."""
    if name in table:
        return table[name]
    suggestion = suggested_name(name, table, spell)
    hint = "." if suggestion is None else f"; did you mean {suggestion}?"
    shown = name if name.isprintable() else repr(name)
    raise ConfigurationError(f"{place}{shown} is not a setting{hint}")


def parsed(parse: Parser, raw: object, label: str) -> object:
    """Parse a value; the error for an invalid one names its place."""
    try:
        return parse(raw)
    except ValueError as error:
        raise ConfigurationError(f"{label}: {error}.") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{label}: {error.message}") from error
