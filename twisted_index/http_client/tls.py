"""
TLS: how another server authenticates, and how we do.

Its certificate must be signed by an authority that the environment names, as for pip.
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

#: In the order in which pip and its libraries look at them.
VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")

#: OpenSSL's codes in its own words, as in "cert has expired" (openssl-verification-options(1)).
_VERIFY_CODES = {
    code: name.removeprefix("ERR_").replace("_", " ").lower()
    for name, code in vars(SSL.X509VerificationCodes).items()
    if name.startswith("ERR_")
}

_PEM = re.compile(b"-----BEGIN (?:TRUSTED )?CERTIFICATE-----.+?-----END (?:TRUSTED )?CERTIFICATE-----", re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSOptions:
    """
    What pip can be configured to do besides.

    Attributes:
        client_cert: Path of a file with our certificate and its key; None without.
        trusted_hosts: `host` or `host:port`, in lower case, whose certificates are not checked.
    """

    client_cert: str | None = None
    trusted_hosts: tuple[str, ...] = ()


#: No certificate of our own, and every other one is checked.
CHECKED = TLSOptions()


@implementer(IPolicyForHTTPS)
class TLSPolicy:
    """
    Makes the TLS of connections.

    Args:
        own_origin: Origin of the configured server, the only one that receives our certificate.
        environ: See `trust_root`.
        options: See `TLSOptions`.

    Raises:
        ConfigurationError: A file that is named cannot be used.
    """

    def __init__(self, own_origin: Origin, environ: Mapping[str, str], options: TLSOptions) -> None:
        self._own = (own_origin.host, own_origin.port)
        self._trusted_hosts = frozenset(options.trusted_hosts)
        self._root = trust_root(environ)
        self._trusted_by = _trusted_by(environ)
        self._last: MutableMapping[str, SSL.Connection] = WeakValueDictionary()
        self._identity = {} if options.client_cert is None else _identity(options.client_cert)

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """See `IPolicyForHTTPS`."""
        host = hostname.decode("ascii")
        place = f"{host}:{port}"
        identity = self._identity if (host, port) == self._own else {}
        if not self._trusted_hosts.isdisjoint({host, place}):
            return _Unchecked(host, CertificateOptions(verify=False, **identity).getContext())
        options = optionsForClientTLS(host, trustRoot=self._root, extraCertificateOptions=identity)
        return _Watched(options, place, self._last)

    def explain(self, host: str, port: int) -> str:
        """Say for the log why the certificate of the last connection to a place was refused."""
        place = f"{host}:{port}"
        return (
            f"the certificate of {place} is refused: {_refusal(self._last.get(place))}; trusted are"
            f" {self._trusted_by}"
        )


@implementer(IOpenSSLClientConnectionCreator)
class _Watched:
    """
    Makes connections, and remembers the last one, to tell why its certificate was refused.

    Not by a callback for verification: Twisted's own is there, and checks the name.
    """

    def __init__(self, creator: Any, place: str, last: MutableMapping[str, SSL.Connection]) -> None:
        self._creator = creator
        self._place = place
        self._last = last

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection: SSL.Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        self._last[self._place] = connection
        return connection


@implementer(IOpenSSLClientConnectionCreator)
class _Unchecked:
    """Makes connections to a host that need not prove who it is."""

    def __init__(self, host: str, context: SSL.Context) -> None:
        self._host = host
        self._context = context

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        if not isIPAddress(self._host) and not isIPv6Address(self._host):  # RFC 6066 section 3
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        return connection


def _identity(path: str) -> dict[str, Any]:
    """Read our certificate, those that it is signed by, and its key, as CertificateOptions takes them."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificates

    try:
        with open(path, "rb") as file:
            content = file.read()
        own, *chain = load_pem_x509_certificates(content)
        key = load_pem_private_key(content, password=None)
        identity: dict[str, Any] = {"privateKey": key, "certificate": own, "extraCertChain": chain}
        CertificateOptions(**identity).getContext()  # the two go together
    except OSError as error:
        raise ConfigurationError(f"client-cert: {path} cannot be read ({error.strerror}).") from None
    # Each of the three raises errors of its own, and they differ between versions.
    except Exception as error:
        raise ConfigurationError(
            f"client-cert: {path} has to hold a certificate and its private key, without a password, as PEM."
        ) from error
    return identity


class Untrusted(BadGateway):
    """The certificate of a server is not trusted."""


def tls_error(causes: Sequence[Exception], peer: str) -> BadGateway | None:
    """
    Say what went wrong with TLS.

    Args:
        causes: Of one failure, as OpenSSL and service_identity gave them.
        peer: What the server is called.

    Returns:
        None if it was not TLS.
    """
    if any(isinstance(cause, VerificationError) for cause in causes):
        return BadGateway(
            f"The {peer} cannot prove who it is: its certificate is not trusted, as it is for another name."
        )
    found = [cause for cause in causes if isinstance(cause, SSL.Error)]
    if not found:
        return None
    reason = _reason(found[0])
    if "certificate verify failed" in reason:
        return Untrusted(f"The {peer} cannot prove who it is: its certificate is not trusted.")
    if "certificate" in reason or "unknown ca" in reason:  # the alerts of RFC 8446 section 6.2 about ours
        return BadGateway(
            f"The {peer} wants to know who we are by a certificate, and is given none that it takes"
            f" ({reason})."
        )
    if "handshake failure" in reason:
        return BadGateway(
            f"The {peer} broke off the handshake of TLS ({reason}): it may want a certificate of ours, or"
            " speak no TLS that we do."
        )
    return BadGateway(
        f"The {peer} does not speak TLS here, or none that we do ({reason}): it may be http, or out of date."
    )


def _reason(error: SSL.Error) -> str:
    """Give OpenSSL's own words: the last of its errors is the nearest to the cause."""
    errors = error.args[0] if error.args and isinstance(error.args[0], (list, tuple)) else ()
    reasons = [str(one[-1]) for one in errors if isinstance(one, (list, tuple)) and one and one[-1]]
    return reasons[-1] if reasons else "the connection ended"


def _refusal(connection: SSL.Connection | None) -> str:
    """Say why OpenSSL refused a certificate; pyOpenSSL has no name of its own for that question."""
    try:
        code = SSL._lib.SSL_get_verify_result(connection._ssl)  # type: ignore[attr-defined, union-attr]
    except AttributeError:
        return "OpenSSL does not say why"
    return f"{_VERIFY_CODES.get(code, 'it is not valid')} (verify code {code})"


def _trusted_by(environ: Mapping[str, str]) -> str:
    """Say where the certificates to trust come from."""
    named = _named(environ)
    return "those of this system" if named is None else f"those that {named[0]} names, in {named[1]}"


def _named(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Find the first of VARIABLES that is set, and its value."""
    return next(((variable, path) for variable in VARIABLES if (path := environ.get(variable))), None)


def trust_root(environ: Mapping[str, str]) -> Any:
    """
    Find the certificates to trust.

    Args:
        environ: The first of VARIABLES that is set counts; a file, or a folder of files. Without
            any it is what the platform trusts.

    Raises:
        ConfigurationError: What is named there cannot be read, or holds none.
    """
    named = _named(environ)
    return platformTrust() if named is None else trustRootFromCertificates(_certificates(*named))


def _certificates(variable: str, path: str) -> list[Certificate]:
    try:
        found = {pem: Certificate.loadPEM(pem) for file in _files(path) for pem in _pems(file)}
    except OSError as error:
        raise ConfigurationError(f"{variable}: {path} cannot be read ({error.strerror}).") from None
    # What pyOpenSSL raises for a damaged certificate differs between its versions.
    except Exception as error:
        raise ConfigurationError(f"{variable}: {path} holds a damaged certificate.") from error
    if not found:
        raise ConfigurationError(f"{variable}: {path} holds no certificate.")
    return list(found.values())


def _files(path: str) -> Iterator[str]:
    """Give the file, or those in the folders; SSL_CERT_DIR may name several."""
    if os.path.isfile(path):
        yield path
        return
    for folder in path.split(os.pathsep):
        with os.scandir(folder) as entries:
            yield from sorted(entry.path for entry in entries if entry.is_file())


def _pems(path: str) -> list[bytes]:
    with open(path, "rb") as file:
        return _PEM.findall(file.read())
