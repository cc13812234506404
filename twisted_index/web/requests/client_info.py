"""The address of a client, and the URL that it used; forwarded headers count only from trusted proxies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from twisted.internet.address import UNIXAddress

from twisted_index.access.trusted_proxies import UNIX, ForwardedClient, is_host
from twisted_index.errors import Forbidden
from twisted_index.web.responses.send import header

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.web.server import Request

    from twisted_index.access.trusted_proxies import TrustedProxies
    from twisted_index.interfaces import ProxyUser

#: Values of Sec-Fetch-Site for requests that no other site caused (Fetch Metadata, section 2.3).
_SAME_SITE = (b"same-origin", b"none")


class ClientInfoReader:
    """
    Derives the client of a request, and the URL that it used.

    Args:
        proxies: The trusted proxies; None trusts none.
    """

    def __init__(self, proxies: TrustedProxies | None = None) -> None:
        self._proxies = proxies

    def read(self, request: Request) -> ForwardedClient:
        """
        Return the client of a request, and the scheme, host and prefix that it used.

        Scheme and host default to those of the connection and of the Host field.
        """
        peer = _name_of(request.getClientAddress())
        scheme = "https" if request.isSecure() else "http"
        host = (header(request, b"Host") or b"").decode("latin-1")
        host = host if is_host(host) else ""
        if not self._proxies:
            return ForwardedClient(address="" if peer == UNIX else peer, scheme=scheme, host=host)
        client = self._proxies.client(peer, request.requestHeaders.getRawHeaders)
        return replace(client, scheme=client.scheme or scheme, host=client.host or host)

    def client_behind(self, peer: Any, fields: Callable[[bytes], Sequence[bytes] | None]) -> str | None:
        """
        Return the address of the client behind a trusted proxy.

        Args:
            peer: The address of the connection.
            fields: Returns the values of a header field by its name.

        Returns:
            None if the peer is no trusted proxy.
        """
        if not self._proxies:
            return None
        name = _name_of(peer)
        return self._proxies.client(name, fields).address if self._proxies.trusts(name) else None

    @property
    def user_fields(self) -> tuple[bytes, ...]:
        """See `TrustedProxies`."""
        return self._proxies.user_fields if self._proxies else ()

    def user_behind(self, peer: Any, fields: Callable[[bytes], Sequence[bytes] | None]) -> ProxyUser | None:
        """
        Return the user that a trusted proxy has authenticated; None without one.

        Args:
            peer: The address of the connection.
            fields: Returns the values of a header field by its name.
        """
        return self._proxies.user(_name_of(peer), fields) if self._proxies else None

    def url(self, request: Request, *, above: int = 0) -> str:
        """
        Return the URL of what responds as the client knows it.

        Args:
            request: Its `prepath` leads to the responding resource, and to the index in it.
            above: How many of the last segments of that path are left out.
        """
        client = self.read(request)
        path = request.prepath or []
        path = path[: len(path) - above]
        prefix = "".join(f"/{quote(segment, safe='+')}" for segment in path if segment)
        # URLs identify the entries of feeds, and are compared there as they are written.
        host = (client.host or _own_address(request)).lower()
        return urlsplit(f"{client.scheme}://{host}{client.prefix}{prefix}").geturl()

    def refuse_cross_site(self, request: Request) -> None:
        """
        Refuse a request that a web page of another site may have caused (CSRF).

        Browsers add the passwords that they have stored to such requests.

        Raises:
            Forbidden: The request comes from another site.
        """
        site = header(request, b"Sec-Fetch-Site")
        origin = header(request, b"Origin")
        if origin is None and site is None:
            # Old browsers send only this with a form, and programs nothing at all.
            origin = _origin_of(header(request, b"Referer"))
        foreign = site is not None and site not in _SAME_SITE
        if origin is not None and not foreign:
            client = self.read(request)
            foreign = origin.decode("latin-1").lower() != f"{client.scheme}://{client.host}".lower()
        if foreign:
            raise Forbidden("A web page of another site may not change anything here.")


def _name_of(peer: Any) -> str:
    """Return the name of a peer for `TrustedProxies`."""
    name = UNIX if isinstance(peer, UNIXAddress) else getattr(peer, "host", "")
    return name if isinstance(name, str) else ""


def _origin_of(referrer: bytes | None) -> bytes | None:
    """Reduce a Referer to its origin (RFC 6454 section 7)."""
    return None if referrer is None else b"/".join(referrer.split(b"/", 3)[:3])


def _own_address(request: Request) -> str:
    address = request.getHost()
    host = getattr(address, "host", "localhost")
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{getattr(address, 'port', 80)}"
