"""Listeners: Twisted's endpoints, with TLS of our own where the endpoint string names a certificate."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet import tcp
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index._twisted.server import raise_default_backlog
from twisted_index.errors import ConfigurationError
from twisted_index.tls.endpoint_string import parse_tls_endpoint
from twisted_index.tls.proxied import ProxiedTLSServer
from twisted_index.tls.transport import TLSServer

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort
    from twisted.web.server import Site

    from twisted_index.tls.certificate import ServerCertificate

_log = Logger()

#: Connections that the kernel keeps waiting; uv opens 50 at once, and a class has 30 of it.
_BACKLOG = 1024


class ServerEndpoint:
    """
    An endpoint of the server.

    Args:
        description: An endpoint string.
        reactor: Twisted's.

    Attributes:
        description: The same string.
        certificate: The certificate that it names; None for any other endpoint.

    Raises:
        Exception: The string describes no endpoint.
    """

    def __init__(self, description: str, reactor: Any) -> None:
        self.description = description
        self.certificate: ServerCertificate | None = None
        tls = parse_tls_endpoint(description)
        self._endpoint = serverFromString(reactor, description if tls is None else tls.transport)
        raise_default_backlog(self._endpoint, _BACKLOG)
        self._proxied = tls is not None and tls.proxied
        if tls is not None:
            # Imported here, as most servers speak plain HTTP.
            from twisted_index.tls.certificate import ServerCertificate

            self.certificate = ServerCertificate(tls.files)

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """The names and addresses that the certificate is for; empty without one."""
        return () if self.certificate is None else self.certificate.facts().names

    def check(self) -> None:
        """
        Check the certificate, if there is one.

        Raises:
            ConfigurationError: It cannot be used.
        """
        if self.certificate is not None:
            self.certificate.context()

    def report_warning(self) -> None:
        """Log why clients will refuse the certificate, if they will."""
        certificate = self.certificate
        if certificate is None:
            return
        path = certificate.files.certificate
        if not self.certificate_names:
            _log.warn("{path} is for no host: it has no subjectAltName, so clients refuse it.", path=path)
        elif certificate.has_expired():
            _log.warn("{path} has expired, so clients refuse it.", path=path)

    def listen(self, site: Site) -> IListeningPort | None:
        """
        Listen now, so that a busy port is an error of the start and not a line in a log.

        Returns:
            None if the endpoint is not open yet.

        Raises:
            ConfigurationError: The certificate cannot be used.
            Exception: What keeps the endpoint from listening.
        """
        if self.certificate is not None:
            self.certificate.protocols = site.acceptableProtocols()
        self.check()
        outcome: list[Any] = []
        self._endpoint.listen(site).addBoth(outcome.append)
        port = outcome[0] if outcome else None
        if isinstance(port, Failure):
            port.raiseException()
        if self.certificate is not None:
            self._secure(port, self.certificate)
        return port

    def _secure(self, port: Any, certificate: ServerCertificate) -> None:
        if not isinstance(port, tcp.Port):
            # It would go on without TLS.
            port.stopListening()
            raise ConfigurationError("This reactor's ports cannot speak TLS: choose another with --reactor.")
        # The hook of `tcp.Port` for another transport.
        transport = ProxiedTLSServer if self._proxied else TLSServer
        port.transport = partial(transport, certificate.context)  # type: ignore[assignment]
