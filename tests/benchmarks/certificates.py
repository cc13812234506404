"""
Makes the certificates that servers show over TLS: the same one for all servers of a row.

Not for: who trusts them (`load`).
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

    Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_VALID = datetime.timedelta(days=2)
_ADDRESSES = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


@dataclass(frozen=True, slots=True)
class Certificate:
    """
    A certificate of 127.0.0.1 and localhost, and what verifies it: PEM files.

    Attributes:
        chain: The server's certificate; its issuer is a root, which servers do not send.
        key: The server's private key, unencrypted.
        authority: The root.
    """

    chain: Path
    key: Path
    authority: Path


def ecdsa(folder: Path) -> Certificate:
    """Make a certificate with an ECDSA key on P-256."""
    return _issue(folder, ec.generate_private_key(ec.SECP256R1()))


def rsa_2048(folder: Path) -> Certificate:
    """Make a certificate with an RSA key of 2048 bits."""
    return _issue(folder, rsa.generate_private_key(public_exponent=65537, key_size=2048))


def _issue(folder: Path, key: Key) -> Certificate:
    root_key = ec.generate_private_key(ec.SECP256R1())
    root_name, name = _name("benchmark root"), _name("localhost")
    root = _signed(_root(root_name, root_key), root_key, root_key)
    leaf = _signed(_leaf(name, root_name, key), key, root_key)
    made = Certificate(folder / "chain.pem", folder / "key.pem", folder / "authority.pem")
    made.chain.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    made.authority.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return made


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _root(name: x509.Name, key: Key) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    return (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )


def _leaf(name: x509.Name, issuer: x509.Name, key: Key) -> x509.CertificateBuilder:
    return (
        _builder(name, issuer, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(_ADDRESSES), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )


def _builder(name: x509.Name, issuer: x509.Name, key: Key) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID)
        .not_valid_after(now + _VALID)
        .public_key(key.public_key())
    )


def _signed(builder: x509.CertificateBuilder, key: Key, root_key: Key) -> x509.Certificate:
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issuers = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    return (
        builder.add_extension(own, critical=False)
        .add_extension(issuers, critical=False)
        .sign(root_key, hashes.SHA256())
    )
