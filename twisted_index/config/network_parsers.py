"""
Parsers of settings about the network: where to listen, which addresses count, header fields.

As in `parsers`, an invalid value raises a ValueError with the reason.
"""

from __future__ import annotations

import ipaddress
import re

from twisted_index.config.parsers import text
from twisted_index.tls.endpoint_string import with_absolute_paths

#: A port, alone or after an address; IPv6 in brackets (RFC 3986 section 3.2.2).
_ADDRESS_PORT = re.compile(
    r"(?:(?P<host>\*|localhost|[0-9.]+|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\])?:)?(?P<port>-?\d+)", re.ASCII
)

#: RFC 9110 section 5.6.2, token; section 5.5, field-value without obs-text.
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_FIELD_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")

#: Fields that frame and describe a response: a second one would break every client.
_OWN_FIELDS = {"connection", "date", "etag", "transfer-encoding"}
_OWN_FIELDS |= {f"content-{what}" for what in ("encoding", "length", "range", "type")}

#: Fields with a meaning of their own, which clients send or which end at each hop: no proxy states a user
#: in them (RFC 9110 sections 7.6, 8 and 10 to 14; RFC 9112; RFC 6265).
_TAKEN_FIELDS = (
    {"authorization", "cookie", "cookie2", "from", "set-cookie", "www-authenticate"}
    | {"cache-control", "date", "dnt", "expect", "host", "origin", "pragma", "priority", "range", "referer"}
    | {"connection", "http2-settings", "keep-alive", "max-forwards", "te", "trailer", "transfer-encoding"}
    | {"forwarded", "upgrade", "user-agent", "via"}
    | {f"x-forwarded-{what}" for what in ("for", "host", "port", "prefix", "proto", "server")}
)
_TAKEN_PREFIXES = ("accept", "access-control-", "content-", "if-", "proxy-", "sec-")


def endpoint(folder: str, raw: object) -> str:
    """
    Read where to listen.

    Args:
        folder: Absolute; the base of the files of TLS.
        raw: A port, ADDRESS:PORT, or an endpoint string of Twisted. The address may be `localhost`; `*`, or
            none before the colon, is every address of IPv4.

    Returns:
        An endpoint string.

    Raises:
        ValueError: The port or the address cannot be one.
    """
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = str(raw)
    value = text(raw).strip()
    match = _ADDRESS_PORT.fullmatch(value)
    if match is None:
        _refuse_bare_address(value)
        return with_absolute_paths(folder, value)
    if not 0 <= int(match["port"]) <= 65535:
        raise ValueError(f"{match['port']} is not a port; ports go from 0 to 65535")
    return f"tcp:{int(match['port'])}{_interface(match['host'] or '*')}"


def _interface(host: str) -> str:
    """Return the parameter of an endpoint string for an address."""
    if host == "*":
        return ""
    try:
        address = "127.0.0.1" if host == "localhost" else str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        raise ValueError(f"{host} is not an address") from None
    # Colons separate the parts of an endpoint string.
    return ":interface=" + address.replace(":", r"\:")


def _refuse_bare_address(value: str) -> None:
    """Raise a ValueError for an address without a port, or an IPv6 address without brackets."""
    try:
        bare = value == "localhost" or ipaddress.ip_address(value.strip("[]"))
    except ValueError:
        return
    if bare:
        shown = "[::1]" if ":" in value else value
        raise ValueError(f"{value!r} has no port; write it like {shown}:8080")


def header_field(raw: object) -> tuple[bytes, bytes]:
    """Read a header field."""
    name, _, value = (part.strip(" \t") for part in text(raw).partition(":"))
    if not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
        raise ValueError(f"{raw!r} is not a header field; write 'Name: value' in one line of ASCII")
    if name.lower() in _OWN_FIELDS:
        raise ValueError(f"{name} is set by the server itself")
    return name.encode("ascii"), value.encode("ascii")


def proxy_header(raw: object) -> str:
    """Read the name of a header field in which a proxy states a user or groups."""
    value = text(raw).strip()
    if not _FIELD_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not the name of a header field; write it like X-Forwarded-User")
    if value.lower() in _TAKEN_FIELDS or value.lower().startswith(_TAKEN_PREFIXES):
        raise ValueError(f"{value} has another meaning in HTTP; name a field that only the proxy sets")
    return value


def groups_separator(raw: object) -> str:
    """Read the character between two groups."""
    if raw not in (",", "|"):
        raise ValueError(f'{raw!r} does not separate groups; write "," or "|"')
    return str(raw)


def network(raw: object) -> str:
    """Read an address, or a network such as 10.0.0.0/8, into its usual spelling."""
    value = text(raw).strip()
    try:
        return str(ipaddress.ip_network(value) if "/" in value else ipaddress.ip_address(value))
    except ValueError:
        pass
    try:
        enclosing = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is neither an address nor a network; write it like 10.0.0.0/8") from None
    raise ValueError(f"{value!r} is an address within a network; write {enclosing}")


def trusted_proxy(raw: object) -> str:
    """
    Read the address or network of a proxy, or `unix` for proxies that connect by a unix socket.

    With `users:` in front, the proxy may assert users too.
    """
    if isinstance(raw, str) and raw.startswith("users:"):
        where = raw.removeprefix("users:")
        return f"users:{'unix' if where == 'unix' else network(where)}"
    return "unix" if raw == "unix" else network(raw)
