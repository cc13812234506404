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

# Errors before a response that a retry may cure.
_CONNECTION_FAILURES = (
    connection_errors.ConnectError,
    connection_errors.DNSLookupError,
    connection_errors.ConnectionClosed,
    DeferredTimeoutError,
    OSError,
)

_CANCELLED = (CancelledError, connection_errors.ConnectingCancelledError)


def proxy_error(response: str, peer: str, status: int = 0) -> SimpleIndexError:
    """Return the error for a proxy's response, given as text and status code (0 without one)."""
    hint = ": it requires a user and a password, or rejects those it received" if response == "407" else ""
    kind = TemporaryFailure if status in BUSY_STATUSES else BadGateway
    return kind(f"The proxy on the way to the {peer} responded with {response}{hint}.")


def failure_reason(error: Exception) -> str | None:
    """Return the reason of a failed request, see `Outcomes`; None if its caller has cancelled it."""
    causes = [failure.value for failure in getattr(error, "reasons", ())] or [error]
    if any(isinstance(cause, _CANCELLED) for cause in causes):
        return None
    if isinstance(error, ProxyRefused):
        return "proxy"
    if isinstance(error, UnicodeError) or tls_error(causes, "") is not None:
        return "tls"
    if isinstance(error, connection_errors.DNSLookupError):
        return "name"
    if isinstance(error, (TemporaryFailure, DeferredTimeoutError, connection_errors.TimeoutError)):
        return "timeout"
    return "connection" if any(isinstance(cause, _CONNECTION_FAILURES) for cause in causes) else "invalid"


def public_error(error: Exception, peer: str, *, proxied: bool = False) -> Exception:
    """
    Return the public error for a failed request.

    Args:
        error: Twisted's error; a `SimpleIndexError` is returned unchanged.
        peer: Description of the server.
        proxied: Whether the request goes through a proxy.

    Returns:
        BadGateway, TemporaryFailure, or CancelledError if the caller has cancelled the request.
    """
    if isinstance(error, SimpleIndexError):
        return error
    causes = [failure.value for failure in getattr(error, "reasons", ())] or [error]
    for cause in causes:
        if isinstance(cause, _CANCELLED):
            return CancelledError()
    if isinstance(error, ProxyRefused):
        return proxy_error(str(error), peer, error.status)
    if (tls_failure := tls_error(causes, peer)) is not None:
        return tls_failure
    if isinstance(error, UnicodeError):  # from IDNA, which Twisted applies to names for TLS
        return BadGateway(
            f"The {peer} has a host name that no certificate can match; use another name, or http."
        )
    if any(isinstance(cause, HeaderTooLarge) for cause in causes):
        return BadGateway(f"The {peer} sent a response head that is too long.")
    if proxied and not isinstance(error, connection_errors.ConnectionClosed):
        peer = f"proxy on the way to the {peer}"  # the only connection is to the proxy
    if isinstance(error, connection_errors.DNSLookupError):
        return TemporaryFailure(f"The name of the {peer} cannot be resolved.")
    if isinstance(error, _CONNECTION_FAILURES) and not isinstance(error, connection_errors.ConnectionClosed):
        return TemporaryFailure(f"The {peer} cannot be reached.")
    if any(isinstance(cause, _CONNECTION_FAILURES) for cause in causes):
        return TemporaryFailure(f"The {peer} closed the connection.")
    return BadGateway(f"The {peer} sent a response that is not HTTP.")
