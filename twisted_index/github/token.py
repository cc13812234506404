"""
The token for a releases API: from a file, the environment or netrc, in this order.

It is sent to the origin of the API only, and shown nowhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_index.errors import ConfigurationError
from twisted_index.files.watched_file import WatchedFile
from twisted_index.github.repository import PUBLIC_API, Forge
from twisted_index.http_client.credentials import NetrcCredentials
from twisted_index.http_client.urls import InvalidURL, normalize_url, origin_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted_index.github.repository import Repository

_log = Logger()

#: What a field of HTTP can hold as one word; tokens of GitHub and Forgejo are letters, digits and `_`.
_TOKEN = re.compile(rb"[!-~]+")
_MAX_FILE = 4096  # bytes; tokens of GitHub Apps, the longest ones, have some hundred

#: Variables of GitHub's own command line, and of its workflows: for one API only.
COMMON_VARIABLES = ("GH_TOKEN", "GITHUB_TOKEN")
_OWN = {
    Forge.GITHUB: ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"),
    Forge.FORGEJO: ("FORGEJO_TOKEN", "GITEA_TOKEN"),
}


@dataclass(frozen=True, slots=True)
class TokenCredentials:
    """
    A token.

    Attributes:
        token: Visible ASCII; excluded from `repr`.
    """

    token: bytes = field(repr=False)

    @property
    def authorization(self) -> bytes:
        """The value of an Authorization field (RFC 6750), which Forgejo takes too."""
        return b"Bearer " + self.token

    def current(self) -> TokenCredentials:
        """Return itself: these credentials never change."""
        return self


class TokenSource:
    """
    Where the token of now comes from; files are read again after a change.

    Args:
        file: A file that holds the token and nothing else; None without one.
        fixed: The token of the environment; None without one.
        netrc: Entries whose password is the token; the first that exists counts.
        variable: The name of the variable with `fixed`.
        unused: Why a token of the environment is not used, as a clause; empty if none is left out.
    """

    def __init__(
        self,
        file: WatchedFile[TokenCredentials] | None,
        fixed: TokenCredentials | None,
        netrc: Sequence[NetrcCredentials],
        variable: str = "",
        unused: str = "",
    ) -> None:
        self._unused = unused
        self._file = file
        self._last: TokenCredentials | None = None
        self._fixed = fixed
        self._netrc = netrc
        self._variable = variable

    @property
    def place(self) -> str:
        """Where the token comes from, for the operator; empty without one."""
        if self._file is not None:
            return self._file.path
        if self._fixed is not None:
            return self._variable
        return "" if self.current() is None else "netrc"

    @property
    def unused(self) -> str:
        """Why there is no token although the environment has one, as a clause; empty if that is not so."""
        return self._unused if self.current() is None else ""

    def current(self) -> TokenCredentials | None:
        """Return the token; None without one. A file that cannot be read keeps its last token."""
        if self._file is not None:
            return self._from_file(self._file)
        if self._fixed is not None:
            return self._fixed
        for entries in self._netrc:
            entry = entries.current()
            if entry is not None and _TOKEN.fullmatch(entry.password):
                return TokenCredentials(entry.password)
        return None

    def _from_file(self, file: WatchedFile[TokenCredentials]) -> TokenCredentials | None:
        if self._last is None or file.changed():
            try:
                self._last = file.read()
            except (OSError, ConfigurationError):
                # It may be half written.
                _log.warn("{path} cannot be read: its last token is used on", path=file.path)
        return self._last


def token_source(
    repository: Repository,
    environ: Mapping[str, str],
    *,
    file: str | None = None,
    has_common: bool = True,
) -> TokenSource:
    """
    Find out where the token for a repository comes from.

    Args:
        repository: At whose API the token is used.
        environ: Environment variables that hold tokens or name the netrc file.
        file: Path of a file that holds the token and nothing else; None without one.
        has_common: Whether the file, GH_TOKEN and GITHUB_TOKEN are for this API. They are for one API only,
            so that the token of one server is not sent to another.

    Raises:
        ConfigurationError: The file cannot be read, or something is no token.
    """
    if not has_common:
        file = None
    watched = None if file is None else WatchedFile(file, _parse_file, max_bytes=_MAX_FILE)
    if watched is not None:
        try:
            watched.read()
        except OSError as error:
            raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from None
    own = () if repository.api == PUBLIC_API else _OWN[repository.forge]
    names = (*own, *(COMMON_VARIABLES if has_common else ()))
    unused = ""
    if (server := _other_server(repository, environ)) and environ.get("GITHUB_TOKEN", "").strip():
        names = tuple(name for name in names if name != "GITHUB_TOKEN")
        unused = f"GITHUB_TOKEN is that of {server} (GITHUB_API_URL)"
    variable = next((name for name in names if environ.get(name, "").strip()), "")
    text = environ.get(variable, "").strip()
    fixed = _parse(text.encode("utf-8", "surrogateescape"), variable) if text else None
    return TokenSource(watched, fixed, _netrc(repository, environ), variable, unused)


def _other_server(repository: Repository, environ: Mapping[str, str]) -> str:
    """Return the server that GITHUB_TOKEN is for, if a workflow runs at another than the repository's."""
    try:
        server = origin_of(normalize_url(environ.get("GITHUB_API_URL", "")))
    except InvalidURL:
        return ""
    return "" if server == origin_of(repository.api) else str(server)


def _netrc(repository: Repository, environ: Mapping[str, str]) -> list[NetrcCredentials]:
    """Return the entries that may hold the token: git files it under the site, not under its API."""
    urls = [repository.api] + (["https://github.com"] if repository.api == PUBLIC_API else [])
    return [NetrcCredentials(url, environ) for url in urls]


def _parse_file(content: bytes) -> TokenCredentials:
    return _parse(content.strip(), "github-token-file")


def _parse(token: bytes, place: str) -> TokenCredentials:
    if _TOKEN.fullmatch(token) is None:
        raise ConfigurationError(f"{place} is not a token, which is one word of visible ASCII characters.")
    return TokenCredentials(token)
