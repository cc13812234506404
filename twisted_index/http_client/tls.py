"""
TLS: trusted authorities and client certificates.

A server's certificate must be signed by an authority that the environment names, as for pip.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from twisted_index.errors import BadGateway, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping, Sequence

    from twisted_index.http_client.urls import Origin

#: In the order in which pip and its libraries read them.
VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")

#: OpenSSL's names of its verify codes, such as "cert has expired" (openssl-verification-options(1)).
_VERIFY_CODES = {
    code: name.removeprefix("ERR_").replace("_", " ").lower()
    for name, code in vars(SSL.X509VerificationCodes).items()
    if name.startswith("ERR_")
}

_PEM = re.compile(b"-----BEGIN (?:TRUSTED )?CERTIFICATE-----.+?-----END (?:TRUSTED )?CERTIFICATE-----", re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSOptions:
    """
    TLS settings, as in pip's configuration.

    Attributes:
        client_cert: Path of a file with the client certificate and its key; None without one.
        trusted_hosts: `host` or `host:port`, in lower case, whose certificates are not verified.
    """

    client_cert: str | None = None
    trusted_hosts: tuple[str, ...] = ()


#: No client certificate, and every server certificate is verified.
CHECKED = TLSOptions()


@implementer(IPolicyForHTTPS)
class TLSPolicy:
    """
    Creates the TLS connections.

    Args:
        own_origin: Origin of the configured server, the only one that receives the client certificate.
        environ: See `trust_root`.
        options: See `TLSOptions`.

    Raises:
        ConfigurationError: A configured file cannot be used.
    """

    def __init__(self, own_origin: Origin, environ: Mapping[str, str], options: TLSOptions) -> None:
        self._own = (own_origin.host, own_origin.port)
        self._trusted_hosts = frozenset(options.trusted_hosts)
        self._trust_root = trust_root(environ)
        self._trusted_by = _trusted_by(environ)
        self._last: MutableMapping[str, SSL.Connection] = WeakValueDictionary()
        self._identity = {} if options.client_cert is None else _identity(options.client_cert)

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """See `IPolicyForHTTPS`."""
        host = hostname.decode("ascii")
        netloc = f"{host}:{port}"
        identity = self._identity if (host, port) == self._own else {}
        if not self._trusted_hosts.isdisjoint({host, netloc}):
            return _UnverifiedCreator(host, CertificateOptions(verify=False, **identity).getContext())
        options = optionsForClientTLS(host, trustRoot=self._trust_root, extraCertificateOptions=identity)
        return _RecordingCreator(options, netloc, self._last)

    def explain(self, host: str, port: int) -> str:
        """Return, for the log, why the certificate of the last connection to a host was refused."""
        netloc = f"{host}:{port}"
        return (
            f"the certificate of {netloc} was rejected: {_refusal(self._last.get(netloc))}; trusted:"
            f" {self._trusted_by}"
        )


@implementer(IOpenSSLClientConnectionCreator)
class _RecordingCreator:
    """
    Creates connections, and keeps the last one, to report why its certificate was refused.

    Not by a verification callback: Twisted needs its own, which checks the name.
    """

    def __init__(self, creator: Any, netloc: str, last: MutableMapping[str, SSL.Connection]) -> None:
        self._creator = creator
        self._netloc = netloc
        self._last = last

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection: SSL.Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        self._last[self._netloc] = connection
        return connection


@implementer(IOpenSSLClientConnectionCreator)
class _UnverifiedCreator:
    """Creates connections without verifying the server's certificate."""

    def __init__(self, host: str, context: SSL.Context) -> None:
        self._host = host
        self._context = context

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        if not isIPAddress(self._host) and not isIPv6Address(self._host):  # RFC 6066 section 3
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        return connection


def _identity(path: str) -> dict[str, Any]:
    """Read the client certificate, its chain and key, as arguments of CertificateOptions."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificates

    try:
        with open(path, "rb") as file:
            content = file.read()
        own, *chain = load_pem_x509_certificates(content)
        key = load_pem_private_key(content, password=None)
        identity: dict[str, Any] = {"privateKey": key, "certificate": own, "extraCertChain": chain}
        CertificateOptions(**identity).getContext()  # checks that the key matches
    except OSError as error:
        raise ConfigurationError(f"client-cert: {path} cannot be read ({error.strerror}).") from None
    # Each of these calls raises errors of its own, which differ between versions.
    except Exception as error:
        raise ConfigurationError(
            f"client-cert: {path} must contain a certificate and its unencrypted private key, as PEM."
        ) from error
    return identity


class FailedTLS(BadGateway):
    """Something answers, and no connection by TLS comes about with it."""


class Untrusted(FailedTLS):
    """The certificate of a server is not trusted."""


def tls_error(causes: Sequence[Exception], peer: str) -> FailedTLS | None:
    """
    Return the public error for a TLS failure.

    Args:
        causes: The causes of one failure, as raised by OpenSSL and service_identity.
        peer: Description of the server.

    Returns:
        None if TLS was not the cause.
    """
    if any(isinstance(cause, VerificationError) for cause in causes):
        return FailedTLS(f"The {peer}'s certificate is not trusted: it is for another name.")
    ssl_errors = [cause for cause in causes if isinstance(cause, SSL.Error)]
    if not ssl_errors:
        return None
    reason = _reason(ssl_errors[0])
    if "certificate verify failed" in reason:
        return Untrusted(f"The {peer}'s certificate is not trusted.")
    if "certificate" in reason or "unknown ca" in reason:  # the alerts of RFC 8446 section 6.2 about ours
        return FailedTLS(f"The {peer} requires a client certificate that it accepts ({reason}).")
    if "handshake failure" in reason:
        return FailedTLS(
            f"The {peer} aborted the TLS handshake ({reason}): it may require a client certificate, or"
            " support no TLS version or cipher of ours."
        )
    return FailedTLS(
        f"The {peer} does not support TLS here, or no version of ours ({reason}): it may be http, or out of"
        " date."
    )


def _reason(error: SSL.Error) -> str:
    """Return OpenSSL's message; the last of its errors is nearest to the cause."""
    errors = error.args[0] if error.args and isinstance(error.args[0], (list, tuple)) else ()
    reasons = [str(entry[-1]) for entry in errors if isinstance(entry, (list, tuple)) and entry and entry[-1]]
    return reasons[-1] if reasons else "the connection was closed"


def _refusal(connection: SSL.Connection | None) -> str:
    """Return why OpenSSL refused a certificate; pyOpenSSL has no public API for this."""
    try:
        code = SSL._lib.SSL_get_verify_result(connection._ssl)  # type: ignore[attr-defined, union-attr]
    except AttributeError:
        return "OpenSSL gives no reason"
    return f"{_VERIFY_CODES.get(code, 'it is not valid')} (verify code {code})"


def _trusted_by(environ: Mapping[str, str]) -> str:
    """Return a description of the trusted certificates."""
    variable = _variable(environ)
    return (
        "the certificates of this system"
        if variable is None
        else f"the certificates of {variable[0]}, in {variable[1]}"
    )


def _variable(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the first of VARIABLES that is set, and its value."""
    return next(((variable, path) for variable in VARIABLES if (path := environ.get(variable))), None)


def trust_root(environ: Mapping[str, str]) -> Any:
    """
    Load the trusted certificates.

    Args:
        environ: The first of VARIABLES that is set counts; it names a file, or a folder of files. The
            default is the platform's trust store.

    Raises:
        ConfigurationError: The named path cannot be read, or holds no certificate.
    """
    variable = _variable(environ)
    return platformTrust() if variable is None else trustRootFromCertificates(_certificates(*variable))


def _certificates(variable: str, path: str) -> list[Certificate]:
    try:
        certificates = {pem: Certificate.loadPEM(pem) for file in _files(path) for pem in _pems(file)}
    except OSError as error:
        raise ConfigurationError(f"{variable}: {path} cannot be read ({error.strerror}).") from None
    # pyOpenSSL's exception for a damaged certificate differs between versions.
    except Exception as error:
        raise ConfigurationError(f"{variable}: {path} contains a damaged certificate.") from error
    if not certificates:
        raise ConfigurationError(f"{variable}: {path} contains no certificate.")
    return list(certificates.values())


def _files(path: str) -> Iterator[str]:
    """Yield the file, or those in the folders; SSL_CERT_DIR may name several."""
    if os.path.isfile(path):
        yield path
        return
    for folder in path.split(os.pathsep):
        with os.scandir(folder) as entries:
            yield from sorted(entry.path for entry in entries if entry.is_file())


def _pems(path: str) -> list[bytes]:
    with open(path, "rb") as file:
        return _PEM.findall(file.read())
