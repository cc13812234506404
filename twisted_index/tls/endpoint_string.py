"""
Endpoint strings that name a certificate: `https:`, and Twisted's `ssl:` with Twisted's parameters. Pure.

`https:PORT:certificate=FILE:key=FILE` takes the parameters of `tcp:` too; without a port, those of
`systemd:`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

#: The parameters that name files, by kind of endpoint, and what each is in `TLSFiles`.
_FILES = {
    "https": {"certificate": "certificate", "key": "key"},
    "ssl": {
        "certKey": "certificate",
        "privateKey": "key",
        "extraCertChain": "chain",
        "dhParameters": "dh_parameters",
    },
}
_PROXY = "haproxy:"
#: A colon between parts, not one that a backslash quotes.
_COLON = re.compile(r"(?<!\\):")


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSFiles:
    """
    The files of a listener, all in PEM (RFC 7468).

    Attributes:
        certificate: Path: the certificate of the server, then those of its issuers.
        key: Path of its private key; may be the same file.
        chain: Path of further certificates of issuers; None for none.
        dh_parameters: Path of parameters for DHE ciphers; None for none.
    """

    certificate: str
    key: str
    chain: str | None = None
    dh_parameters: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSEndpointString:
    """
    A parsed string.

    Attributes:
        transport: The string of the endpoint below TLS.
        files: The files.
        proxied: Whether a balancer sends a header of the PROXY protocol.
    """

    transport: str
    files: TLSFiles
    proxied: bool


def parse_tls_endpoint(description: str) -> TLSEndpointString | None:
    """
    Parse an endpoint string that names a certificate.

    Returns:
        None for any other string.

    Raises:
        ValueError: A parameter is missing, or not supported.
    """
    kind, parts = _split(description.removeprefix(_PROXY))
    if kind not in _FILES:
        return None
    files, others = {}, []
    for part in parts:
        name, mark, value = part.partition("=")
        if mark and name in _FILES[kind]:
            files[_FILES[kind][name]] = re.sub(r"\\(.)", r"\1", value)
        elif name == "sslmethod":
            raise ValueError("sslmethod is not supported: clients get TLS 1.2 or 1.3")
        else:
            others.append(part)
    if kind == "ssl":
        files.setdefault("key", "server.pem")  # Twisted's default
    if not files:
        raise ValueError("it names no certificate=FILE")
    files.setdefault("certificate", files.get("key", ""))
    files.setdefault("key", files["certificate"])
    below = "systemd" if any(part.startswith("domain=") for part in others) else "tcp"
    return TLSEndpointString(
        transport=":".join([below, *others]),
        files=TLSFiles(**files),
        proxied=description.startswith(_PROXY),
    )


def with_absolute_paths(folder: str, description: str) -> str:
    """Return an endpoint string whose relative paths of files are below a folder."""
    proxy = _PROXY if description.startswith(_PROXY) else ""
    kind, parts = _split(description.removeprefix(_PROXY))
    if kind not in _FILES:
        return description
    quoted = re.sub(r"([\\:=])", r"\\\1", folder)
    return proxy + ":".join([kind, *(_absolute(quoted, part, _FILES[kind]) for part in parts)])


def _absolute(folder: str, part: str, names: dict[str, str]) -> str:
    name, mark, value = part.partition("=")
    return f"{name}={os.path.join(folder, value)}" if mark and name in names else part


def _split(description: str) -> tuple[str, list[str]]:
    """Return the kind of an endpoint string and its other parts, still quoted."""
    kind, *parts = _COLON.split(description)
    return kind, parts
