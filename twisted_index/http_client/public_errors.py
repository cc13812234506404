"""Public errors of failed requests, and of the path to the server."""

from __future__ import annotations

from twisted.internet import error as connection_errors
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeoutError

from twisted_index.errors import BadGateway, SimpleIndexError
from twisted_index.http_client.connection import HeaderTooLarge
from twisted_index.http_client.proxy import ProxyRefused
from twisted_index.http_client.retry import BUSY_STATUSES, TemporaryFailure
from twisted_index.http_client.tls import tls_error

# What a connection may fail with before there is a response, and what may be otherwise the next time.
_CONNECTION_FAILURES = (
    connection_errors.ConnectError,
    connection_errors.DNSLookupError,
    connection_errors.ConnectionClosed,
    DeferredTimeoutError,
    OSError,
)


def proxy_error(said: str, peer: str, status: int = 0) -> SimpleIndexError:
    """Return the error for what a proxy answers: what it said, and the status that it gave, if any."""
    wish = ": it wants a user and a password, or others than it is given" if said == "407" else ""
    kind = TemporaryFailure if status in BUSY_STATUSES else BadGateway
    return kind(f"The proxy on the way to the {peer} answers with {said}{wish}.")


def public_error(error: Exception, peer: str, *, proxied: bool = False) -> Exception:
    """
    Return what a client may see of a failure.

    Args:
        error: As Twisted gave it; errors of ours stay as they are.
        peer: What the server is called.
        proxied: Whether a proxy was asked to lead there.

    Returns:
        BadGateway, TemporaryFailure, or CancelledError if the caller has cancelled the request.
    """
    if isinstance(error, SimpleIndexError):
        return error
    causes = [failure.value for failure in getattr(error, "reasons", ())] or [error]
    for cause in causes:
        if isinstance(cause, (CancelledError, connection_errors.ConnectingCancelledError)):
            return CancelledError()
    if isinstance(error, ProxyRefused):
        return proxy_error(str(error), peer, error.status)
    if (trouble := tls_error(causes, peer)) is not None:
        return trouble
    if isinstance(error, UnicodeError):  # from IDNA, through which Twisted puts names for TLS
        return BadGateway(f"The {peer} has a name that no certificate proves; ask it by another, or by http.")
    if any(isinstance(cause, HeaderTooLarge) for cause in causes):
        return BadGateway(f"The head of the {peer}'s answer does not end.")
    if proxied and not isinstance(error, connection_errors.ConnectionClosed):
        peer = f"proxy on the way to the {peer}"  # there is no other connection
    if isinstance(error, connection_errors.DNSLookupError):
        return TemporaryFailure(f"The name of the {peer} cannot be resolved.")
    if isinstance(error, _CONNECTION_FAILURES) and not isinstance(error, connection_errors.ConnectionClosed):
        return TemporaryFailure(f"The {peer} cannot be reached.")
    if any(isinstance(cause, _CONNECTION_FAILURES) for cause in causes):
        return TemporaryFailure(f"The {peer} broke the connection.")
    return BadGateway(f"The {peer} answers with something that is no HTTP.")
