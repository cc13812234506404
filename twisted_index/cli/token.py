"""`twisted-index token`: create, list and revoke tokens; effective in running servers at once."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from twisted_index.access.tokens import TokenStore, with_implied_permissions
from twisted_index.cli._options import SubcommandOptions
from twisted_index.config.layers import load
from twisted_index.config.option_order import parse_positionals
from twisted_index.config.parsers import duration
from twisted_index.errors import ConfigurationError
from twisted_index.interfaces import Action
from twisted_index.simple.name_patterns import ANY_PROJECT, project_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from twisted_index.access.tokens import TokenPermissions

_HINTS = {
    Action.UPLOAD: """
  twine   TWINE_USERNAME=__token__ TWINE_PASSWORD=<token> twine upload --repository-url URL/legacy/ dist/*
  uv      UV_PUBLISH_TOKEN=<token> uv publish --publish-url URL/legacy/ dist/*""",
    Action.READ: """
  pip     index-url = http://__token__:<token>@HOST/simple/""",
    Action.OPERATE: """
  curl    curl -u __token__:<token> URL/-/history URL/-/problems URL/-/metrics""",
}


class _StateOptions(SubcommandOptions):
    """Options of every token command."""

    synopsis = ""
    optParameters = [  # noqa: RUF012
        ["state", None, None, "State folder of the server. [default: as for serve]"],
        ["config", None, None, "Configuration file of the server. [default: none]"],
    ]

    def store(self) -> TokenStore:
        """Return the token store of a server with the same options."""
        given = {name: self[name] for name in ("state", "config")}
        settings = load(given, environ=os.environ, folder=os.getcwd())
        if settings.state is None:
            raise ConfigurationError("Tokens require a state folder; give --state DIR.")
        return TokenStore(settings.state)


class _Create(_StateOptions):
    """The options of `token create`."""

    synopsis = "Usage: twisted-index token create [options] NAME"
    longdesc = (
        "PATTERN is a project name, optionally with * and ?; '*' matches all projects. Repeat an option for"
        " more. The token is printed once, and used as the password of the user __token__."
    )
    optFlags = [["operate", None, "See the history, the problems and the metrics."]]  # noqa: RUF012
    optParameters = [  # noqa: RUF012
        ["expires", None, None, "Lifetime, such as 90d. [default: unlimited]"],
    ]

    def __init__(self) -> None:
        self._patterns: dict[Action, list[str]] = {}
        _StateOptions.__init__(self)

    def _add(self, action: Action, text: str) -> None:
        try:
            self._patterns.setdefault(action, []).append(project_pattern(text))
        except ValueError as error:
            raise ConfigurationError(f"--{action.value}: {error}.") from error

    def opt_upload(self, pattern: str) -> None:
        """Upload files to PATTERN, create such projects, and read them."""
        self._add(Action.UPLOAD, pattern)

    def opt_read(self, pattern: str) -> None:
        """Read PATTERN, where not everyone may."""
        self._add(Action.READ, pattern)

    def opt_yank(self, pattern: str) -> None:
        """Yank releases of PATTERN, and set its status."""
        self._add(Action.YANK, pattern)

    def opt_delete(self, pattern: str) -> None:
        """Delete files of PATTERN."""
        self._add(Action.DELETE, pattern)

    def scope(self) -> TokenPermissions:
        """Return the permissions of the new token."""
        scope = {action: tuple(dict.fromkeys(patterns)) for action, patterns in self._patterns.items()}
        if self["operate"]:
            scope[Action.OPERATE] = (ANY_PROJECT,)
        if not scope:
            raise ConfigurationError("Give at least one permission, such as --upload 'acme-*'.")
        return scope

    def lifetime(self) -> float | None:
        """Return the lifetime in seconds; None for ever."""
        if self["expires"] is None:
            return None
        try:
            seconds: float = duration(self["expires"])
        except ValueError as error:
            raise ConfigurationError(f"--expires: {error}.") from error
        if seconds <= 0:
            raise ConfigurationError("--expires: the token would already have expired.")
        return seconds


class _List(_StateOptions):
    """The options of `token list`."""

    synopsis = "Usage: twisted-index token list [options]"
    longdesc = "Lists the tokens. Their secrets are not stored."


class _Revoke(_StateOptions):
    """The options of `token revoke`."""

    synopsis = "Usage: twisted-index token revoke [options] NAME"
    longdesc = "Revokes a token, from the next request on."


_HELP = """\
Usage: twisted-index token COMMAND [options]

Tokens are passwords of the user __token__, for programs, each with limited permissions.

Commands:
  create  Create a token and print it once.
  list    List the tokens, without their secrets.
  revoke  Revoke a token.

Each has its own options: twisted-index token COMMAND --help\
"""


def run(arguments: Sequence[str]) -> int:
    """Run a subcommand of `token`."""
    command, *rest = arguments or ["--help"]
    match command:
        case "--help" | "-h" | "help":
            print(_HELP)
        case "create":
            create_options = _Create()
            if _parsed(create_options, rest, 1):
                _create(create_options)
        case "list":
            list_options = _List()
            if _parsed(list_options, rest, 0):
                _list(list_options)
        case "revoke":
            revoke_options = _Revoke()
            if _parsed(revoke_options, rest, 1):
                _revoke(revoke_options)
        case _:
            raise ConfigurationError(f"token {command}: use create, list or revoke.")
    return 0


def _parsed(options: _StateOptions, arguments: Sequence[str], words: int) -> bool:
    """Parse a command line; False if help was requested and printed."""
    return parse_positionals(options, arguments, range(words, words + 1), "token: ") is not None


def _create(options: _Create) -> None:
    """Print the secret, and nothing else, on standard output; the hint goes to standard error."""
    token, secret = options.store().create(options["words"][0], options.scope(), lifetime=options.lifetime())
    print(secret)
    until = "" if token.expires is None else f", until {_day(token.expires)}"
    granted = with_implied_permissions(token.permissions)
    hints = "".join(hint for action, hint in _HINTS.items() if action in granted)
    print(f"It is shown only once. It may {_format_scope(token.permissions)}{until}.{hints}", file=sys.stderr)


def _list(options: _List) -> None:
    tokens = options.store().read().values()
    rows = [("NAME", "CREATED", "EXPIRES", "MAY")]
    rows += [(t.name, _day(t.created), _day(t.expires), _format_scope(t.permissions)) for t in tokens]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for *short, last in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(short, widths, strict=True)]
        print("  ".join([*cells, last]))


def _revoke(options: _Revoke) -> None:
    token = options.store().revoke(options["words"][0])
    print(f"The token {token.name} has been revoked.")


def _day(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def _format_scope(scope: Mapping[Action, tuple[str, ...]]) -> str:
    """Format the permissions of a token as one line."""
    parts = [
        "see history, problems and metrics"
        if action is Action.OPERATE
        else f"{action.value} {' '.join(patterns)}"
        for action, patterns in scope.items()
    ]
    return ", ".join(parts)
