"""`twisted-index token`: create, list and revoke tokens; running servers notice, without a restart."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from twisted_index.access.token_terms import format_moment, format_permissions, parse_expires, token_event
from twisted_index.access.tokens import TokenStore, limited, with_implied_permissions
from twisted_index.cli._options import SubcommandOptions
from twisted_index.cli._server_state import console_user, settings_of_server
from twisted_index.config.option_order import parse_positionals
from twisted_index.errors import ConfigurationError
from twisted_index.events.audit_log import AuditFile
from twisted_index.interfaces import WHOLE_INDEX, Action
from twisted_index.server.buckets import shared_history, shared_tokens
from twisted_index.simple.formatting import one_line
from twisted_index.simple.name_patterns import ANY_PROJECT, NO_NAME, index_pattern, project_pattern

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from twisted_index.access.token_records import Token, TokenPermissions

_HINTS = {
    Action.UPLOAD: """
  twine   TWINE_USERNAME=__token__ TWINE_PASSWORD=<token> twine upload --repository-url URL/legacy/ dist/*
  uv      UV_PUBLISH_TOKEN=<token> uv publish --publish-url URL/legacy/ dist/*""",
    Action.READ: """
  pip     index-url = http://__token__:<token>@HOST/simple/""",
    Action.OPERATE: """
  curl    curl -u __token__:<token> URL/-/history URL/-/problems URL/-/metrics""",
    Action.FOLLOW: """
  curl    curl -u __token__:<token> URL/-/changes""",
}


class _StateOptions(SubcommandOptions):
    """Options of every token command."""

    synopsis = ""
    optParameters = [  # noqa: RUF012
        ["state", None, None, "State folder of the server. [default: as for serve]"],
        ["config", None, None, "Configuration file of the server. [default: none]"],
        ["path", None, None, "Bucket whose servers share the tokens: s3://BUCKET/PREFIX. [default: none]"],
    ]

    def server(self) -> _ServerTokens:
        """Return the tokens of the server with the same options."""
        given = {name: self[name] for name in ("state", "config")}
        return _ServerTokens({**given, "path": [self["path"]] if self["path"] else []})


class _ServerTokens:
    """
    The tokens of a server, changed from the console.

    Args:
        given: Options by name.

    Attributes:
        store: The tokens.
        max_age: Seconds that a token may live; None for no limit.
        by: The user, for the audit log.
    """

    def __init__(self, given: dict[str, object]) -> None:
        settings = settings_of_server(given)
        if settings.state is None:
            raise ConfigurationError("Tokens require a state folder; give --state DIR.")
        self.store = TokenStore(settings.state, place=shared_tokens(settings))
        self.max_age = settings.access.max_token_age
        self.by = console_user()
        self._history = shared_history(settings) or AuditFile(settings.state)

    def record(self, action: str, token: Token) -> None:
        """Record a change of a token in the audit log."""
        self._history.append(token_event(action, token, by=self.by, now=self.store.now()))


class _Create(_StateOptions):
    """The options of `token create`."""

    synopsis = "Usage: twisted-index token create [options] NAME"
    longdesc = (
        "PATTERN is a project name, optionally with * and ?; '*' matches all projects. Repeat an option for"
        " more. Without --index the token is good in the index without a name only. It is printed once, and"
        " used as the password of the user __token__."
    )
    optFlags = [  # noqa: RUF012
        ["operate", None, "See the history, the problems, what is wanted, the metrics."],
        ["follow", None, "See the changes of the projects that it may read, as mirrors need them."],
        ["manage", None, "Make and remove the indexes that --index names; let the server hand over."],
    ]
    optParameters = [  # noqa: RUF012
        ["expires", None, None, "When it ends: 90d, 12w, 2027-01-31, a time, or never. [default: never]"],
    ]

    def __init__(self) -> None:
        self._patterns: dict[Action, list[str]] = {}
        self._indexes: list[str] = []
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

    def opt_promote(self, pattern: str) -> None:
        """Promote releases of PATTERN to the indexes that --index names."""
        self._add(Action.PROMOTE, pattern)

    def opt_index(self, name: str) -> None:
        """Good in this index, optionally with * and ?; '*' is all, '' the one without a name."""
        try:
            self._indexes.append(index_pattern(name))
        except ValueError as error:
            raise ConfigurationError(f"--index: {error}.") from error

    def indexes(self) -> tuple[str, ...]:
        """Return where the new token is good."""
        return tuple(dict.fromkeys(self._indexes)) or (NO_NAME,)

    def permissions(self) -> TokenPermissions:
        """Return the permissions of the new token."""
        found = {action: tuple(dict.fromkeys(patterns)) for action, patterns in self._patterns.items()}
        for action in Action:
            if action in WHOLE_INDEX and self[action.value]:
                found[action] = (ANY_PROJECT,)
        if not found:
            raise ConfigurationError("Give at least one permission, such as --upload 'acme-*'.")
        return found

    def expires(self, now: float, max_age: float | None) -> datetime | None:
        """Return when the new token expires; None for never."""
        try:
            return parse_expires(self["expires"], now=now, max_age=max_age)
        except ValueError as error:
            raise ConfigurationError(f"--expires: {error}.") from error


class _List(_StateOptions):
    """The options of `token list`."""

    synopsis = "Usage: twisted-index token list [options]"
    longdesc = "Lists the tokens. Their secrets are not stored."


class _Revoke(_StateOptions):
    """The options of `token revoke`."""

    synopsis = "Usage: twisted-index token revoke [options] NAME"
    longdesc = "Revokes a token: from the next request on, or within --rescan on those of a bucket."


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
    """Print the secret, and nothing else, on standard output; the rest goes to standard error."""
    permissions, server = options.permissions(), options.server()
    expires = options.expires(server.store.now(), server.max_age)
    token, secret = server.store.create(
        options["words"][0], permissions, indexes=options.indexes(), expires=expires, by=server.by
    )
    print(secret)
    until = "" if token.expires is None else f", until {format_moment(token.expires)}"
    granted = with_implied_permissions(token.permissions)
    hints = "".join(hint for action, hint in _HINTS.items() if action in granted)
    print(
        f"It is shown only once; its digest is kept in {server.store.path}."
        f" It may {format_permissions(token.permissions, token.indexes)}{until}.{hints}",
        file=sys.stderr,
    )
    server.record("token-create", token)


def _list(options: _List) -> None:
    server = options.server()
    rows: list[Sequence[str]] = [("NAME", "BY", "CREATED", "EXPIRES", "USED", "MAY")]
    rows += [_columns(token, server) for token in server.store.read().values()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for *short, last in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(short, widths, strict=True)]
        print("  ".join([*cells, last]))


def _columns(token: Token, server: _ServerTokens) -> Sequence[str]:
    expires, used = limited(token, server.max_age).expires, server.store.uses.last(token.identifier)
    moments = map(format_moment, (token.created, expires, used))
    return token.name, one_line(token.by), *moments, format_permissions(token.permissions, token.indexes)


def _revoke(options: _Revoke) -> None:
    server = options.server()
    token = server.store.revoke(options["words"][0])
    print(f"The token {token.name} has been revoked.")
    server.record("token-revoke", token)
