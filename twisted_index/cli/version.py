"""`twisted-index version`: print the versions in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.errors import ConfigurationError
from twisted_index.tap import version

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Print the versions in one line."""
    if arguments:
        raise ConfigurationError("version takes no options.")
    print(version())
    return 0
