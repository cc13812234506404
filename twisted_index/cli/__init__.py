"""
The console command `twisted-index`, with one module per subcommand.

A module has `run(arguments: Sequence[str]) -> int`, which returns the exit code. It is imported only
when its subcommand is run.
"""

from __future__ import annotations

import difflib
import importlib
import os
import shlex
import sys
from typing import TYPE_CHECKING, NoReturn

from twisted_index.errors import ConfigurationError, SimpleIndexError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Exit codes: EX_USAGE of sysexits.h, and 1 for later failures.
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 64

#: The subcommands with their line in `--help`; each has a module of the same name.
SUBCOMMANDS = {
    "serve": "Serve folders of wheels and sdists; the same as `twist simpleindex`.",
    "token": "Create, list and revoke tokens for uploads and private projects.",
    "yank": "Yank a file or a release.",
    "unyank": "Undo a yank.",
    "delete": "Delete a file or a release; its name stays taken.",
    "status": "Show or set the status of a project.",
    "draft": "Prepare releases behind a secret URL, and publish them in one step.",
    "snapshot": "Take and list snapshots of an index, which can be served later.",
    "prune": "Delete old releases, or list them.",
    "why": "Say why a project, or a file of it, is there or is not.",
    "check": "Read all files and report what is wrong; or what is missing of their dependencies.",
    "download": "Download requirements and all that they need into a folder.",
    "prefetch": "Fetch what requirements need into the cache of an index.",
    "promote": "Copy releases from one index into another, all of them in one step.",
    "mirror": "Make a folder equal to an index, or to what rules choose of it.",
    "follow": "Say what a server is among its replicas, and accept removals.",
    "takeover": "Make a replica the primary.",
    "join": "Merge what two servers have that both took changes.",
    "refresh": "Forget the cached pages and digests of an upstream's project.",
    "release": "Make a release at GitHub or Forgejo of wheels and sdists.",
    "export": "Write a static copy of an index, which any web server serves.",
    "version": "Display the version and exit.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one subcommand.

    Args:
        arguments: Without the program's name; None for those of the process.

    Returns:
        The exit code.
    """
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("--help", "-h", "help"):
        print(_help())
        return EXIT_OK
    try:
        return _run("version" if name == "--version" else name, rest)
    except KeyboardInterrupt:  # before a reactor runs, which ends its work in order
        print("twisted-index: interrupted", file=sys.stderr)
        return EXIT_FAILED
    except SimpleIndexError as error:
        print(f"twisted-index: {error.message}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigurationError) else EXIT_FAILED


def _run(name: str, arguments: Sequence[str]) -> int:
    """Run the module of a subcommand."""
    if name not in SUBCOMMANDS:
        _refuse(name, arguments)
    module = importlib.import_module(f"{__name__}.{name}")
    code: int = module.run(arguments)
    return code


def _refuse(name: str, arguments: Sequence[str]) -> NoReturn:
    """Raise the error for an unknown subcommand, with a suggestion."""
    similar = difflib.get_close_matches(name, SUBCOMMANDS, n=1)
    if name.startswith("-") or os.path.isdir(name):
        hint = f"to serve a folder, type: twisted-index serve {shlex.join([name, *arguments])}"
    elif similar:
        hint = f"did you mean {similar[0]}?"
    else:
        hint = "see twisted-index --help."
    raise ConfigurationError(f"{name!r} is not a command; {hint}")


def _help() -> str:
    """List the subcommands."""
    width = max(map(len, SUBCOMMANDS))
    lines = (f"  {name:<{width}}  {summary}" for name, summary in SUBCOMMANDS.items())
    return "\n".join(
        [
            "Usage: twisted-index COMMAND [options]",
            "",
            "Turns a folder of wheels and sdists into a Python package index.",
            "",
            "Commands:",
            *lines,
            "",
            "Each has its own options: twisted-index COMMAND --help",
        ]
    )
