"""
Origins (RFC 6454), and permitted URLs.

A URL is normalized before any check, so that the checked URL is the requested one.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

#: Limit in characters; most servers refuse longer URLs (RFC 9110 section 4.1: 8000).
MAX_URL = 8192

_DEFAULT_PORTS = {"http": 80, "https": 443}

# RFC 3986 appendix A: characters that need no escape in a path or query; `%` already begins an escape.
_SAFE = "%/:@!$&'()*+,;=~-._?"
# Control characters, backslashes (a slash to some clients), and lone surrogates, which JSON may hold.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")


class Origin(NamedTuple):
    """Scheme, host and port: the scope of credentials and egress rules."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """The host, and the port if it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


class InvalidURL(ValueError):
    """A URL that must not be requested; the message is a clause that gives the reason."""


def origin_of(url: str) -> Origin:
    """Return the origin of a normalized URL."""
    parts = urlsplit(url)
    return Origin(parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme])


def normalize_url(url: str, *, base: str | None = None, may_have_user: bool = False) -> str:
    """
    Normalize a URL.

    Args:
        url: An untrusted URL.
        base: An absolute URL against which `url` is resolved; None if it must be absolute.
        may_have_user: Whether a user part is dropped instead of refused.

    Returns:
        The URL: absolute, http or https, ASCII, without user and fragment.

    Raises:
        InvalidURL: It is not a URL, or must not be requested.
    """
    url = url.strip(" \t\r\n\f")
    if len(url) > MAX_URL or _FORBIDDEN.search(url):
        raise InvalidURL("it is not a URL")
    try:
        parts = urlsplit(url if base is None else urljoin(base, url))
        port, host, scheme = parts.port, parts.hostname or "", parts.scheme.lower()
    except ValueError:
        raise InvalidURL("it is not a URL") from None
    if scheme not in _DEFAULT_PORTS:
        raise InvalidURL("it is neither http nor https")
    if "@" in parts.netloc and not may_have_user:
        raise InvalidURL("it contains a user")
    if port == 0:
        raise InvalidURL("it is not a URL")
    authority = Origin(scheme, _ascii_host(host), port or _DEFAULT_PORTS[scheme]).authority
    path, query = quote(parts.path or "/", safe=_SAFE), quote(parts.query, safe=_SAFE)
    return urlunsplit((scheme, authority, path, query, ""))


def _ascii_host(host: str) -> str:
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise InvalidURL("its host name is not valid") from None
    if "%" in host or _HOST.fullmatch(f"[{host}]" if ":" in host else host) is None:
        raise InvalidURL("its host name is not valid")
    return host


def is_downgrade(start: str, target: str) -> bool:
    """Return whether a redirect leads from https to http, where the response could be forged."""
    return start.startswith("https:") and target.startswith("http:")
