"""The options of subcommands that fetch what requirements need, by pip's names for them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from twisted_index.cli._options import CommandParser
from twisted_index.config.parsers import remote_url
from twisted_index.errors import ConfigurationError
from twisted_index.mirror.rules_file import MAX_JOBS

if TYPE_CHECKING:
    from collections.abc import Sequence


class RequirementsParser(CommandParser):
    """A parser to which options that several subcommands have can be added."""

    def add_requirements(self) -> None:
        """Add the options that say what is wanted, and for which Pythons and platforms."""
        self.add_argument("requirements", nargs="*", metavar="REQUIREMENT", help="as for pip")
        self._add_list(
            "-r", "--requirement", metavar="FILE", help="of requirements; or a uv.lock or pylock.toml"
        )
        self._add_list("-c", "--constraint", metavar="FILE", help="of constraints")
        self._add_list(
            "--python-version", metavar="3.12", help="repeat it for several [default: of this Python]"
        )
        self._add_list(
            "--platform", metavar="win_amd64", help="repeat it for several [default: this machine]"
        )
        self.add_argument(
            "--only-binary", dest="formats", action=_InOrder, metavar="NAMES", help="as for pip"
        )
        self.add_argument("--no-binary", dest="formats", action=_InOrder, metavar="NAMES", help="as for pip")
        self.add_argument("--pre", action="store_true", help="pre-releases too")
        # Not served by any index, which is said as for a line of a file.
        self._add_list("-e", "--editable", metavar="PATH", help=argparse.SUPPRESS)

    def add_progress(self) -> None:
        """Add the options for jobs and progress."""
        self.add_argument(
            "--jobs", type=int, default=8, metavar="N", help="how many files at once [default: 8]"
        )
        self.add_argument("--quiet", "-q", action="store_true", help="show failures only")

    def _add_list(self, *names: str, metavar: str, help: str) -> None:  # noqa: A002
        self.add_argument(*names, action="append", default=[], metavar=metavar, help=help)


class _InOrder(argparse.Action):
    """Keeps options with their values in one list, as a later one overrides an earlier one."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[str] | None,
        option: str | None = None,
    ) -> None:
        kept = getattr(namespace, self.dest) or []
        setattr(namespace, self.dest, [*kept, self.option_strings[-1], values])


def check_jobs(jobs: int) -> None:
    """Refuse a number of jobs that is out of bounds."""
    if not 1 <= jobs <= MAX_JOBS:
        raise ConfigurationError(f"--jobs must be from 1 to {MAX_JOBS}.")


def index_url(raw: str) -> str:
    """
    Check the URL of a simple API.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        url = remote_url(raw)
    except ValueError as error:
        raise ConfigurationError(f"--index-url: {error}.") from None
    if "?" in url:
        raise ConfigurationError("--index-url: the URL of a simple API has no query.")
    return url
