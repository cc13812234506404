"""
Credentials for another server: user and password from its URL or from netrc.

They are sent to the origin of that URL only, never to redirect targets elsewhere.
"""

from __future__ import annotations

import base64
import netrc
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from twisted.logger import Logger

from twisted_index.errors import ConfigurationError
from twisted_index.http_client.urls import InvalidURL, normalize_url, origin_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = Logger()


class IAuthorization(Protocol):
    """Credentials of one moment."""

    @property
    def authorization(self) -> bytes:
        """The value of an Authorization field."""


class ICredentials(Protocol):
    """Credentials for a server, which may change."""

    def current(self) -> IAuthorization | None:
        """Return those of now; None without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicCredentials:
    """
    A user and a password.

    Attributes:
        user: Usually UTF-8; the percent-decoded octets of a URL.
        password: Like `user`; excluded from `repr`.
    """

    user: bytes
    password: bytes = field(repr=False)

    @property
    def authorization(self) -> bytes:
        """The value of an Authorization field (RFC 7617)."""
        return b"Basic " + base64.b64encode(self.user + b":" + self.password)

    def current(self) -> BasicCredentials:
        """Return itself: these credentials never change."""
        return self


class _UnreadableNetrc(Exception):
    """A netrc file exists and cannot be read; the message is its path."""


class NetrcCredentials:
    """
    Credentials for a host from the current netrc file, where tokens may be renewed every few hours.

    Args:
        url: A normalized URL.
        environ: See `netrc_credentials`.
    """

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        self._url = url
        self._environ = environ
        self._stamps: list[tuple[int, int, int] | None] | None = None
        self._credentials: BasicCredentials | None = None

    def current(self) -> BasicCredentials | None:
        """Return the credentials; reads the file again after a change."""
        stamps = [_stamp(path) for path in _netrc_paths(self._environ)]
        if stamps != self._stamps:
            self._stamps = stamps
            try:
                self._credentials = netrc_credentials(self._url, self._environ)
            except _UnreadableNetrc as error:
                # The file may be half written. Without credentials a server may deny the project.
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
    Split the credentials off a URL.

    Args:
        url: URL of an upstream's simple API, as configured.

    Returns:
        The normalized URL without credentials and with a trailing slash; the credentials.

    Raises:
        ConfigurationError: It cannot be the URL of a simple API. The message omits a URL that may hold a
            password.
    """
    try:
        clean = normalize_url(url, may_have_user=True)
    except InvalidURL as error:
        shown = "This upstream" if "@" in url else repr(url[:200])
        raise ConfigurationError(f"{shown} cannot be an upstream: {error}.") from None
    if urlsplit(clean).query:
        raise ConfigurationError(f"{clean.partition('?')[0]} cannot be an upstream: the URL has a query.")
    return clean if clean.endswith("/") else clean + "/", credentials_in(url)


def credentials_in(url: str) -> BasicCredentials | None:
    """Return the user and password in a URL; None without them."""
    userinfo, at, _ = urlsplit(url).netloc.rpartition("@")
    if not at:
        return None
    name, _, password = userinfo.partition(":")
    return BasicCredentials(user=unquote_to_bytes(name), password=unquote_to_bytes(password))


def netrc_credentials(url: str, environ: Mapping[str, str]) -> BasicCredentials | None:
    """
    Look up the credentials for a host in netrc, as pip and curl do.

    Args:
        url: A normalized URL.
        environ: NETRC names the file; the default is `.netrc` (or `_netrc`) in the folder of HOME.

    Returns:
        None if the file has no entry for the host.

    Raises:
        _UnreadableNetrc: A file exists, and cannot be read.
    """
    host = origin_of(url).host
    for path in _netrc_paths(environ):
        try:
            entry = netrc.netrc(path).authenticators(host)
        except FileNotFoundError:
            continue
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
            raise _UnreadableNetrc(path) from None
        if entry is not None:
            if not entry[0] and not entry[2]:  # the file ends after `login`
                raise _UnreadableNetrc(path)
            return BasicCredentials(user=entry[0].encode(), password=(entry[2] or "").encode())
    return None


def _netrc_paths(environ: Mapping[str, str]) -> tuple[str, ...]:
    if named := environ.get("NETRC"):
        return (named,)
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return tuple(os.path.join(home, name) for name in (".netrc", "_netrc")) if home else ()
