"""Which certificates an upstream's must be signed by: those that the environment names, as for pip."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from twisted.internet.ssl import Certificate, platformTrust, trustRootFromCertificates

from twisted_index.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: In the order in which pip and its libraries look at them.
VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")

_PEM = re.compile(b"-----BEGIN (?:TRUSTED )?CERTIFICATE-----.+?-----END (?:TRUSTED )?CERTIFICATE-----", re.S)


def trust_root(environ: Mapping[str, str]) -> Any:
    """
    Find the certificates to trust.

    Args:
        environ: The first of VARIABLES that is set counts; a file, or a folder of files. Without
            any it is what the platform trusts.

    Raises:
        ConfigurationError: What is named there cannot be read, or holds none.
    """
    for variable in VARIABLES:
        if path := environ.get(variable):
            return trustRootFromCertificates(_certificates(variable, path))
    return platformTrust()


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
