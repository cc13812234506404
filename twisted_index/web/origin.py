"""Where a request comes from, and the URL by which its client came: proxies are believed only if trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from twisted.internet.address import UNIXAddress

from twisted_index.access.forwarded import UNIX
from twisted_index.errors import Forbidden
from twisted_index.web.people import is_plain_host
from twisted_index.web.respond import field

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.web.server import Request

    from twisted_index.access.forwarded import TrustedProxies

#: What browsers say of requests that another site has not caused (Fetch Metadata, section 2.3).
_OWN_SITES = (b"same-origin", b"none")


class Coming(NamedTuple):
    """
    How a request came.

    Attributes:
        address: The client's IP address; empty if it has none.
        scheme: `http` or `https`, as the client sees it.
        host: As the client sees it, with a port perhaps; empty if that cannot be told.
        prefix: Of the path, as a proxy says; without a slash at its end.
        user: Vouched for by a trusted proxy; None if none did so.
    """

    address: str
    scheme: str
    host: str
    prefix: str = ""
    user: str | None = None


class Origins:
    """
    Reads requests.

    Args:
        proxies: Which proxies are believed; None believes none.
    """

    def __init__(self, proxies: TrustedProxies | None = None) -> None:
        self._proxies = proxies

    def of(self, request: Request) -> Coming:
        """Say how a request came."""
        address = request.getClientAddress()
        peer = getattr(address, "host", None)
        peer = peer if isinstance(peer, str) else ""
        scheme = "https" if request.isSecure() else "http"
        host = (field(request, b"Host") or b"").decode("latin-1")
        direct = Coming(peer, scheme, host if is_plain_host(host) else "")
        if not self._proxies:
            return direct
        told = self._proxies.client(
            UNIX if isinstance(address, UNIXAddress) else peer, request.requestHeaders.getRawHeaders
        )
        return Coming(
            told.address, told.scheme or scheme, told.host or direct.host, told.prefix.rstrip("/"), told.user
        )

    def client_behind(self, peer: Any, fields: Callable[[bytes], Sequence[bytes] | None]) -> str | None:
        """
        Give the address of the client behind a proxy.

        Args:
            peer: The address of the connection.
            fields: Gives the values of a header field by its name.

        Returns:
            None if the peer is no proxy that is believed.
        """
        if not self._proxies:
            return None
        name = UNIX if isinstance(peer, UNIXAddress) else getattr(peer, "host", "")
        return self._proxies.client(name, fields).address if self._proxies.trusts(name) else None

    def url(self, request: Request) -> str:
        """Give the URL by which the client came to the resource that answers."""
        coming = self.of(request)
        prefix = "".join(f"/{quote(segment)}" for segment in request.prepath or () if segment)
        host = coming.host or _address_of(request)
        return urlsplit(f"{coming.scheme}://{host}{coming.prefix}{prefix}").geturl()

    def refuse_foreign(self, request: Request) -> None:
        """
        Refuse what a web page of another site may have sent: browsers add what they know of passwords.

        Raises:
            Forbidden: It comes from another site.
        """
        site = field(request, b"Sec-Fetch-Site")
        origin = field(request, b"Origin")
        if origin is None and site is None:
            # Old browsers say of a form's sender only this, and programs nothing at all.
            origin = _origin_of(field(request, b"Referer"))
        foreign = site is not None and site not in _OWN_SITES
        if origin is not None and not foreign:
            coming = self.of(request)
            foreign = origin.decode("latin-1").lower() != f"{coming.scheme}://{coming.host}".lower()
        if foreign:
            raise Forbidden("A web page of another site may not change anything here.")


def _origin_of(referrer: bytes | None) -> bytes | None:
    """Give what a browser would say as Origin, of what it says as Referer (RFC 6454 section 7)."""
    return None if referrer is None else b"/".join(referrer.split(b"/", 3)[:3])


def _address_of(request: Request) -> str:
    address = request.getHost()
    host = getattr(address, "host", "localhost")
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{getattr(address, 'port', 80)}"
