"""The startup banner: where the server listens, and the commands for its clients. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from twisted_index.config.bucket_location import is_bucket_url
from twisted_index.simple.formatting import printable
from twisted_index.web.pages.install_commands import install_commands, is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from twisted.internet.interfaces import IAddress

_DEFAULT_PORTS = {"http": 80, "https": 443}

#: Endpoint types whose listeners speak TLS.
_TLS_ENDPOINTS = ("https", "ssl", "tls")

#: Indexes that are listed by their names.
_MAX_SHOWN = 10

#: One label of a host name (RFC 1123 section 2.1): what can stand before ".local".
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """
    One open listener.

    Attributes:
        address: From `getHost()` of the listening port, so with its actual port number.
        secure: Whether it speaks TLS.
        names: The names and addresses that its certificate is for; empty if they are not known.
        proxied: Whether it takes connections of a balancer only, as each begins with the PROXY protocol.
    """

    address: IAddress
    secure: bool = False
    names: tuple[str, ...] = ()
    proxied: bool = False

    @classmethod
    def at(cls, endpoint: str, address: IAddress, names: tuple[str, ...] = ()) -> Listener:
        """
        Describe a listener by the endpoint string that opened it.

        Args:
            endpoint: As in `--listen`; only its type is used.
            address: From `getHost()` of the listening port.
            names: Those of its certificate.
        """
        inner = endpoint.removeprefix("haproxy:")
        secure = inner.partition(":")[0] in _TLS_ENDPOINTS
        return cls(address=address, secure=secure, names=names, proxied=inner != endpoint)

    @property
    def scheme(self) -> str:
        """The scheme of its URLs."""
        return "https" if self.secure else "http"


def startup_banner(
    listeners: Sequence[Listener],
    hostname: str,
    public_url: str | None,
    paths: Sequence[str],
    *,
    lan: Sequence[str] = (),
    upstreams: Sequence[str] | None = None,
    indexes: Sequence[str] = (),
    uploads: bool = False,
    login: bool = True,
) -> list[str]:
    """
    Return the lines to log when a server has started.

    They may contain braces: log each as a field, not as a format.

    Args:
        listeners: The open listeners.
        hostname: The name of this machine, from `socket.gethostname()`.
        public_url: The only URL that is shown, if set.
        paths: The folders that are served; empty for another source.
        lan: This machine's addresses, from `lan_addresses()`; shown for listeners on all addresses.
        upstreams: Lines about the upstreams, from `describe_upstreams`; None without upstreams.
        indexes: Lines about the indexes with a name, from `describe_indexes`.
        uploads: Whether files can be published.
        login: Whether that needs a user.
    """
    here = "these folders" if len(paths) != 1 else "this bucket" if is_bucket_url(paths[0]) else "this folder"
    urls = index_urls(listeners, hostname, public_url, lan)
    lines = [
        f"Serving the packages in {', '.join(map(printable, paths))}" if paths else "Serving a package index",
        *(f"Listening on {_describe(listener)}" for listener in listeners),
        *_usage(urls),
    ]
    if uploads:
        publish = (install_commands(url, login=login) for url in urls)
        lines.extend(f"    {text}" for line in publish for text in (line.twine, line.uv_publish))
    if upstreams is not None:
        lines.extend(upstreams)
    elif paths:
        lines.append(f"Names that are not in {here} will not be found: there is no upstream.")
    return [*lines, *indexes]


def describe_indexes(folder: str, names: Sequence[str], upstreams: Sequence[str]) -> list[str]:
    """
    Describe the indexes with a name.

    Args:
        folder: Their folder.
        names: Those that there are now.
        upstreams: The names of the upstreams that they may name.
    """
    shown = [*names[:_MAX_SHOWN], *([f"{len(names) - _MAX_SHOWN} more"] if len(names) > _MAX_SHOWN else [])]
    where = printable(folder)
    lines = [
        f"Indexes below /+NAME/, in {where}: {', '.join(shown)}"
        if names
        else f"Each folder made in {where} is an index, below /+NAME/"
    ]
    if upstreams:
        lines.append(f"Upstreams that indexes may name: {', '.join(map(printable, upstreams))}")
    return lines


def describe_upstreams(
    urls: Sequence[str], mode: str, cache: str | None, cache_size: int, *, offline: bool = False
) -> list[str]:
    """
    Describe how names are served that the folders do not have.

    Args:
        urls: URLs of the upstreams, in order; shown without users and passwords.
        mode: `cache`, `proxy` or `redirect`.
        cache: The folder of the cache; None without one.
        cache_size: Bytes of the cached files.
        offline: Whether no requests are sent to upstreams.
    """
    if offline:
        return [f"Offline: other names are served only from {printable(cache or 'the cache')}"]
    shown = ", then ".join(
        "the index that pip here is configured to use" if url == "pip" else printable(_without_user(url))
        for url in urls
    )
    lines = (
        [f"Other names are {'redirected to' if mode == 'redirect' else 'requested from'} {shown}"]
        if urls
        else []
    )
    if cache is not None:
        lines.append(f"Upstream content is cached in {printable(cache)}, up to {cache_size / 1e9:.1f} GB")
    return lines


def cleartext_password_warning(listeners: Iterable[Listener]) -> str | None:
    """
    Warn if passwords would be sent over plain HTTP.

    Args:
        listeners: The open listeners.

    Returns:
        A sentence; None if every listener speaks TLS, is behind a balancer, which may do so for it, or
        accepts connections from this machine only.
    """
    cleartext = [
        _describe(listener)
        for listener in listeners
        if listener.scheme == "http"
        and not listener.proxied
        and isinstance(listener.address, (IPv4Address, IPv6Address))
        and not is_loopback(listener.address.host)
    ]
    if not cleartext:
        return None
    return (
        f"Passwords sent to {' and '.join(cleartext)} use plain HTTP, and can be intercepted: listen on an"
        " https: endpoint, or behind a proxy that does."
    )


def _without_user(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"


def _usage(urls: Sequence[str]) -> list[str]:
    """Return the install commands for each URL, or a hint if there is none."""
    if not urls:
        return ["Set --public-url to see the commands that install from here."]
    lines = (install_commands(url) for url in urls)
    return [text for line in lines for text in (f"    {line.pip}", f"    {line.uv}")]


def describe_contents(projects: int, left_out: int, urls: Sequence[str]) -> str:
    """
    Describe what lies in the folders, as far as their own listings tell.

    Args:
        projects: Their number.
        left_out: Files whose names alone keep them out; others have yet to be read.
        urls: From `index_urls`.
    """
    place = f"{urls[0] if urls else ''}/-/problems"
    count = "1 project" if projects == 1 else f"{projects} projects"
    if not left_out:
        return f"{count}; files that are left out are listed at {place}"
    files = "1 file" if left_out == 1 else f"{left_out} files"
    return f"{count}, at least {files} left out: {place}"


def index_urls(
    listeners: Sequence[Listener], hostname: str, public_url: str | None, lan: Sequence[str]
) -> list[str]:
    """Return the URLs of the index, each once, in the order of the listeners; arguments as above."""
    if public_url is not None:
        return [public_url]
    urls = (
        _url(listener.scheme, host, listener.address.port)
        for listener in listeners
        if isinstance(listener.address, (IPv4Address, IPv6Address)) and not listener.proxied
        for host in _certified(listener.names) or _hosts(listener.address.host, hostname, lan)
    )
    return list(dict.fromkeys(urls))


def _certified(names: Sequence[str]) -> list[str]:
    """Return the names of a certificate that clients can use as they are."""
    return [name for name in names if not name.startswith("*.")]


def _hosts(host: str, hostname: str, lan: Sequence[str]) -> list[str]:
    """
    Return the host names and addresses by which one listener can be reached.

    A listener on 0.0.0.0 accepts IPv4 only; one on :: accepts both, as Twisted does not set IPV6_V6ONLY
    and Linux and macOS have it off.
    """
    if host not in ("0.0.0.0", "::"):  # noqa: S104
        return [host]
    addresses = [address for address in lan if host == "::" or ":" not in address]
    return [*addresses, *_mdns_names(hostname)] or ["localhost"]


def _mdns_names(hostname: str) -> list[str]:
    """Return the name of this machine in multicast DNS (RFC 6762 section 3), if it has one."""
    label = hostname.partition(".")[0].lower()
    if label == "localhost" or not _LABEL.fullmatch(label):
        return []
    return [f"{label}.local"]


def _url(scheme: str, host: str, port: int) -> str:
    """Write a URL: IPv6 literals in brackets (RFC 3986), a zone's percent sign encoded (RFC 6874)."""
    name = f"[{host.replace('%', '%25')}]" if ":" in host else host
    return f"{scheme}://{name}" if port == _DEFAULT_PORTS[scheme] else f"{scheme}://{name}:{port}"


def _describe(listener: Listener) -> str:
    """Describe where a listener is, for users."""
    address = listener.address
    if isinstance(address, (IPv4Address, IPv6Address)):
        host = "all addresses" if address.host in ("0.0.0.0", "::") else address.host  # noqa: S104
        balancer = ", for a balancer that speaks the PROXY protocol" if listener.proxied else ""
        return f"port {address.port} of {host}{balancer}"
    if isinstance(address, UNIXAddress):
        name = (address.name or b"").decode("utf-8", "backslashreplace")
        return f"the unix socket {printable(name)}, for a reverse proxy"
    return str(address)
