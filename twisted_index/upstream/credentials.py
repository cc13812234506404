"""
Who we are to an upstream: user and password, out of its URL or out of netrc.

They are given to the origin of the upstream and to nobody else, wherever it may lead.
"""

from __future__ import annotations

import base64
import netrc
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from twisted_index.errors import ConfigurationError
from twisted_index.upstream.origins import BadURL, clean_url, origin_of

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
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


def split_account(url: str) -> tuple[str, Account | None]:
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
        clean = clean_url(url, may_have_user=True)
    except BadURL as error:
        shown = "This upstream" if "@" in url else repr(url[:200])
        raise ConfigurationError(f"{shown} cannot be an upstream: {error}.") from None
    if urlsplit(clean).query:
        raise ConfigurationError(f"{clean.partition('?')[0]} cannot be an upstream with a query behind it.")
    return clean if clean.endswith("/") else clean + "/", _account_in(url)


def _account_in(url: str) -> Account | None:
    user, at, _ = urlsplit(url).netloc.rpartition("@")
    if not at:
        return None
    name, _, password = user.partition(":")
    return Account(user=unquote_to_bytes(name), password=unquote_to_bytes(password))


def account_from_netrc(url: str, environ: Mapping[str, str]) -> Account | None:
    """
    Look up the account for a host, as pip and curl do.

    Args:
        url: Clean.
        environ: NETRC names the file; else it is `.netrc` (or `_netrc`) in the folder of HOME.

    Returns:
        None if there is none; a file that cannot be read holds none.
    """
    host = origin_of(url).host
    for path in _netrc_paths(environ):
        try:
            found = netrc.netrc(path).authenticators(host)
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
            continue
        if found is not None:
            return Account(user=found[0].encode(), password=(found[2] or "").encode())
    return None


def _netrc_paths(environ: Mapping[str, str]) -> tuple[str, ...]:
    if named := environ.get("NETRC"):
        return (named,)
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return tuple(os.path.join(home, name) for name in (".netrc", "_netrc")) if home else ()
