"""
Our credentials at another server: user and password from its URL or from netrc.

They go to the origin of that URL only, wherever it redirects.
"""

from __future__ import annotations

import base64
import netrc
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from twisted.logger import Logger

from twisted_index.errors import ConfigurationError
from twisted_index.http_client.urls import InvalidURL, normalize_url, origin_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = Logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicCredentials:
    """
    A user and a password.

    Attributes:
        user: UTF-8, or what else the URL held.
        password: Never shown.
    """

    user: bytes
    password: bytes = field(repr=False)

    @property
    def basic(self) -> bytes:
        """As the value of an Authorization field (RFC 7617)."""
        return b"Basic " + base64.b64encode(self.user + b":" + self.password)

    def current(self) -> BasicCredentials:
        """Give itself: it stays as it is."""
        return self


class _UnreadableNetrc(Exception):
    """A netrc file that is there and cannot be read."""


class NetrcCredentials:
    """
    The account for a host as netrc has it now: tokens in it may live no longer than some hours.

    Args:
        url: Clean.
        environ: See `netrc_credentials`.
    """

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        self._url = url
        self._environ = environ
        self._seen: list[tuple[int, int, int] | None] | None = None
        self._credentials: BasicCredentials | None = None

    def current(self) -> BasicCredentials | None:
        """Give the account; the file is read again when it has changed."""
        seen = [_stamp(path) for path in _netrc_paths(self._environ)]
        if seen != self._seen:
            self._seen = seen
            try:
                self._credentials = netrc_credentials(self._url, self._environ)
            except _UnreadableNetrc as error:
                # It may be half written. Without credentials a server may deny the project.
                _log.warn(
                    "{path} cannot be read: requests to {host} use its previous credentials, if any",
                    path=str(error),
                    host=origin_of(self._url).host,
                )
        return self._credentials


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def split_userinfo(url: str) -> tuple[str, BasicCredentials | None]:
    """
    Part a URL from the user in it.

    Args:
        url: Of an upstream's simple API, as it was configured.

    Returns:
        It as it may be shown, with a slash at its end; and the user.

    Raises:
        ConfigurationError: It is no URL of a simple API. Nothing of it is repeated if it may hold
            a password.
    """
    try:
        clean = normalize_url(url, may_have_user=True)
    except InvalidURL as error:
        shown = "This upstream" if "@" in url else repr(url[:200])
        raise ConfigurationError(f"{shown} cannot be an upstream: {error}.") from None
    if urlsplit(clean).query:
        raise ConfigurationError(f"{clean.partition('?')[0]} cannot be an upstream with a query behind it.")
    return clean if clean.endswith("/") else clean + "/", credentials_in(url)


def credentials_in(url: str) -> BasicCredentials | None:
    """Return the user and password in a URL; None without."""
    user, at, _ = urlsplit(url).netloc.rpartition("@")
    if not at:
        return None
    name, _, password = user.partition(":")
    return BasicCredentials(user=unquote_to_bytes(name), password=unquote_to_bytes(password))


def netrc_credentials(url: str, environ: Mapping[str, str]) -> BasicCredentials | None:
    """
    Look up the account for a host, as pip and curl do.

    Args:
        url: Clean.
        environ: NETRC names the file; else it is `.netrc` (or `_netrc`) in the folder of HOME.

    Returns:
        None if there is none.

    Raises:
        _UnreadableNetrc: A file is there, and cannot be read; the text is its path.
    """
    host = origin_of(url).host
    for path in _netrc_paths(environ):
        try:
            found = netrc.netrc(path).authenticators(host)
        except FileNotFoundError:
            continue
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
            raise _UnreadableNetrc(path) from None
        if found is not None:
            if not found[0] and not found[2]:  # it ends behind `login`
                raise _UnreadableNetrc(path)
            return BasicCredentials(user=found[0].encode(), password=(found[2] or "").encode())
    return None


def _netrc_paths(environ: Mapping[str, str]) -> tuple[str, ...]:
    if named := environ.get("NETRC"):
        return (named,)
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return tuple(os.path.join(home, name) for name in (".netrc", "_netrc")) if home else ()
