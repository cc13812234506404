"""
Connections to a store, each kept for the next requests: a new one costs round trips, and with TLS the most.

Blocking, for all threads.
"""

from __future__ import annotations

import base64
import http.client
import ssl
import threading
import time
import urllib.request
import weakref
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Seconds that a connection may say nothing, which is less than a page waits; those of an answer in all.
_SILENCE, _TIMEOUT = 8, 30
#: Seconds for which a connection is kept: firewalls and balancers forget one after minutes, and say nothing.
_KEPT = 20.0
#: Bytes that the answer may have: 1,000 keys of 1,024 bytes, of which each may be encoded as three.
_MAX_PAGE = 8 << 20
#: Bytes of an answer that is a refusal.
_MAX_REFUSAL = 4096


class KeptConnections:
    """
    The connections to one store, by way of the proxy that the environment names.

    Args:
        url: Any of the store.
    """

    def __init__(self, url: str) -> None:
        self._store = urlsplit(url)
        self._proxy = _proxy_of(self._store)
        self._lock = threading.Lock()
        self._kept: list[tuple[float, http.client.HTTPConnection]] = []
        weakref.finalize(self, _close, self._kept)

    def get(self, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """
        Request a URL of the store.

        Returns:
            The status, and the body; of a refusal, its start.

        Raises:
            OSError: No answer, or a part of one.
        """
        try:
            kept = self._take()
            if kept is not None:
                try:
                    return self._request(kept, url, headers)
                except (ConnectionError, ssl.SSLError):
                    # It was closed while nothing was asked for, as the store may do.
                    pass
                except OSError:
                    # A firewall may have forgotten it, and so the others.
                    self._close_all()
                    raise
            return self._request(self._connect(), url, headers)
        except http.client.HTTPException as error:
            raise ConnectionError(f"The list of objects broke off: {type(error).__name__}") from None

    def _take(self) -> http.client.HTTPConnection | None:
        """Take the connection that was used last, and close those that are kept no longer."""
        oldest = time.monotonic() - _KEPT
        with self._lock:
            late = [each for each in self._kept if each[0] < oldest]
            self._kept[:] = self._kept[len(late) :]
            kept = self._kept.pop()[1] if self._kept else None
        _close(late)
        return kept

    def _close_all(self) -> None:
        with self._lock:
            all_kept, self._kept[:] = self._kept[:], []
        _close(all_kept)

    def _connect(self) -> http.client.HTTPConnection:
        at = self._proxy or self._store
        place = at.netloc.rpartition("@")[2]
        if "https" not in (self._store.scheme, at.scheme):
            return http.client.HTTPConnection(place, timeout=_SILENCE)
        connection = http.client.HTTPSConnection(place, timeout=_SILENCE, context=_context())
        if self._proxy and self._store.scheme == "https":
            connection.set_tunnel(self._store.netloc, headers=_login(self._proxy))
        return connection

    def _request(
        self, connection: http.client.HTTPConnection, url: str, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        is_kept = False
        try:
            parts = urlsplit(url)
            target = f"{parts.path or '/'}?{parts.query}"
            if self._proxy and parts.scheme == "http":
                target = f"http://{parts.netloc}{target}"
                headers = {**headers, **_login(self._proxy)}
            connection.request("GET", target, headers=dict(headers))
            with connection.getresponse() as answer:
                result = answer.status, _body(answer)
                is_kept = not answer.will_close and (answer.length == 0 or answer.isclosed())
        finally:
            if is_kept:
                with self._lock:
                    self._kept.append((time.monotonic(), connection))
            else:
                connection.close()
        return result


def _close(kept: list[tuple[float, http.client.HTTPConnection]]) -> None:
    for _since, connection in kept:
        connection.close()


def _proxy_of(store: SplitResult) -> SplitResult | None:
    proxies = urllib.request.getproxies()
    proxy = proxies.get(store.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(store.netloc):
        return None
    return urlsplit(proxy if "://" in proxy else f"http://{proxy}")


def _login(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def _body(answer: http.client.HTTPResponse) -> bytes:
    """Read an answer while it comes."""
    if 200 <= answer.status < 300:
        return b"".join(_pieces(answer, time.monotonic() + _TIMEOUT))
    try:
        return answer.read(_MAX_REFUSAL)
    except (OSError, http.client.HTTPException):
        return b""


def _pieces(answer: http.client.HTTPResponse, end: float) -> Iterator[bytes]:
    size = 0
    while piece := answer.read1(1 << 16):
        size += len(piece)
        if size > _MAX_PAGE:
            raise OSError("The answer is no list of objects.")
        if time.monotonic() > end:
            raise TimeoutError("The list of objects timed out.")
        yield piece
    if answer.length:
        raise ConnectionError("The list of objects broke off.")


@cache
def _context() -> ssl.SSLContext:
    """Make what checks the certificate of the store: reading all authorities takes a while."""
    context = ssl.create_default_context()
    # Python 3.13 refuses authorities without key identifiers, as many of a company's own are. The library
    # takes them for files, so that only the lists would fail.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
