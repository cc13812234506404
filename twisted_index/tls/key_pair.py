"""Certificates and keys as values: do they belong together, and what does a certificate say? Pure."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from twisted_index.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """
    What a certificate says.

    Attributes:
        names: The host names and addresses that it is for (subjectAltName, RFC 5280 section 4.2.1.6);
            empty if it has none, in which case clients accept it for no host.
        not_after: Seconds since the epoch when it expires.
    """

    names: tuple[str, ...]
    not_after: float


def describe_certificate(path: str, certificate: bytes) -> CertificateFacts:
    """
    Return what the first certificate says.

    Args:
        path: Named in errors.
        certificate: PEM.

    Raises:
        ConfigurationError: Its names are damaged, which OpenSSL does not notice.
    """
    leaf = x509.load_pem_x509_certificates(certificate)[0]
    try:
        return CertificateFacts(names=_names(leaf), not_after=leaf.not_valid_after_utc.timestamp())
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ConfigurationError(f"{path} has a damaged subjectAltName.") from error


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = alternatives.get_values_for_type(x509.IPAddress)
    return (*alternatives.get_values_for_type(x509.DNSName), *map(str, addresses))


def check_pair(certificate_path: str, certificate: bytes, key_path: str, key: bytes) -> None:
    """
    Check that a key belongs to a certificate.

    Args:
        certificate_path: Named in errors.
        certificate: PEM: the certificate of the server first.
        key_path: Named in errors.
        key: PEM.

    Raises:
        ConfigurationError: It does not, or one of them cannot be read.
    """
    held = _public_key(key_path, key, shared=key_path == certificate_path)
    try:
        certificates = x509.load_pem_x509_certificates(certificate)
        keys = [_encoded(one.public_key()) for one in certificates]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"{certificate_path} has no certificate in PEM, or a damaged one."
        ) from error
    if keys[0] == held:
        return
    if held in keys:
        raise ConfigurationError(
            f"{certificate_path} has the certificate of the server after others: it has to be the first."
        )
    raise ConfigurationError(
        f"The key in {key_path} does not belong to the certificate in {certificate_path}."
    )


def _public_key(path: str, key: bytes, *, shared: bool) -> bytes:
    try:
        return _encoded(load_pem_private_key(key, None).public_key())
    except TypeError as error:
        raise ConfigurationError(f"The key in {path} is encrypted: remove its passphrase.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        advice = ": name the file of the key, if it is another" if shared else ""
        raise ConfigurationError(f"{path} has no private key in PEM, or a damaged one{advice}.") from error


def _encoded(key: object) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded
