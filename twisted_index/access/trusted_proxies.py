"""
Forwarded headers, used only when the peer is a trusted proxy. Pure.

A trusted proxy must set or clear each of these fields; otherwise its clients can forge them:

- `X-Forwarded-For`, or `Forwarded` (RFC 7239): the client is the right-most address that is not a
  trusted proxy. Proxies append to these fields, so everything further left comes from the client.
- `X-Forwarded-Proto`, `X-Forwarded-Host`, `X-Forwarded-Prefix`: the URL as the client sent it.
- `X-Remote-User`, or the field of `user-header`: a user whom the proxy has authenticated; and the field
  of `groups-header`: the user's groups. Used only from proxies configured as `users:ADDRESS`. A proxy that
  does not set these fields forwards what clients send, so they are not enabled with the addresses. For
  the same reason each has one spelling, and no line of them is added to another one: the proxy may have
  added its own to the client's.

A proxy writes one of `Forwarded` and `X-Forwarded-For` and forwards the other unchanged, so a client
can forge that one. If the two name different clients, both are ignored.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from twisted_index.access.authorization_header import TOKEN_USER
from twisted_index.concurrency.lru import LRU
from twisted_index.errors import ConfigurationError
from twisted_index.interfaces import ProxyUser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

#: Name of peers that connect by a Unix socket, and have no address.
UNIX = "unix"

#: Prefix of proxies that authenticate users.
_USERS = "users:"

#: Peers whose addresses are compared with the networks once.
_MOST_PEERS = 1024

#: Users with their groups that are parsed once, counted with their groups, and the bytes of each.
_MOST_USERS, _MAX_USER = 1 << 16, 2048
#: Characters of the name of a group; longer ones are ignored.
_MAX_GROUP = 256

#: Hops to read, from the right.
_MAX_HOPS = 32
#: Characters of a field; longer ones are ignored.
_MAX_FIELD = 8192

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 3986 section 3.2.2, without characters that host names do not have; section 3.2.3 for the port.
_HOST = re.compile(
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9_])?\.?|\[([0-9A-Fa-f:.]{2,45})\])(?::([0-9]{1,5}))?"
)
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_USER = re.compile(r"\w[\w.@+-]{0,127}")
_HOP = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|(\d+\.\d+\.\d+\.\d+)(?::\d{1,5})?|([0-9A-Fa-f:.]+))", re.ASCII
)

# RFC 7239 section 4: pairs of a token and a token or quoted-string (RFC 9110 section 5.6).
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = rf'({_WORD})=(?:({_WORD})|"((?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*)")'
_NEXT = re.compile(rf"[ \t]*(?:{_PAIR})?[ \t]*([;,]|\Z)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardedClient:
    """
    The client of a request, and the URL that it used, by forwarded headers.

    Attributes:
        address: Textual IP address of the client; empty if it has none.
        scheme: `http` or `https`, as in the client's URL; empty if unknown.
        host: A plain host[:port], as in the client's URL; empty if unknown.
        prefix: The path at which a trusted proxy mounts the index, such as `/pypi`, without a trailing
            slash; empty if unset.
        user: The user that a trusted proxy has authenticated; None without one.
    """

    address: str
    scheme: str = ""
    host: str = ""
    prefix: str = ""
    user: ProxyUser | None = None


@dataclass(frozen=True, slots=True)
class _Hop:
    """A client as described by the next proxy."""

    address: str
    scheme: str = ""
    host: str = ""


class _Peers:
    """
    A set of peers.

    Args:
        descriptions: Addresses, networks and `unix`.
    """

    def __init__(self, descriptions: Iterable[str]) -> None:
        texts = tuple(descriptions)
        self._unix = UNIX in texts
        self._networks = [_network(text) for text in texts if text != UNIX]
        self._compared = LRU[str, bool](_MOST_PEERS)

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def __contains__(self, peer: str) -> bool:
        if peer == UNIX:
            return self._unix
        found = self._compared.get(peer)
        if found is None:
            address = _address(peer.partition("%")[0])
            found = address is not None and any(address in network for network in self._networks)
            self._compared.put(peer, found)
        return found


class TrustedProxies:
    """
    The proxies whose forwarded headers are trusted.

    Args:
        descriptions: Addresses, networks such as `10.0.0.0/8`, and `unix` for all peers that connect by a
            Unix socket. With the prefix `users:`, the user and groups that the proxy states are trusted too.
        user_header: Name of the field with the user.
        groups_header: Name of the field with the user's groups; None to ignore groups.
        groups_separator: The character between two groups. A single one, as any other may be part of a
            name, and half a name may be that of another group.

    Raises:
        ConfigurationError: A description is invalid.
    """

    def __init__(
        self,
        descriptions: Iterable[str],
        *,
        user_header: str = "X-Remote-User",
        groups_header: str | None = None,
        groups_separator: str = ",",
    ) -> None:
        texts = tuple(descriptions)
        self._all = _Peers(text.removeprefix(_USERS) for text in texts)
        self._asserting = _Peers(text.removeprefix(_USERS) for text in texts if text.startswith(_USERS))
        self._user_field = user_header.lower().encode("ascii")
        self._groups_field = None if groups_header is None else groups_header.lower().encode("ascii")
        self._separator = groups_separator
        self._users = LRU[tuple[bytes, bytes], ProxyUser](_MOST_USERS, lambda user: 16 + len(user.groups))

    def __bool__(self) -> bool:
        """Return whether there are trusted proxies."""
        return bool(self._all)

    @property
    def asserts_users(self) -> bool:
        """Whether any proxy is trusted to authenticate users."""
        return bool(self._asserting)

    @property
    def user_fields(self) -> tuple[bytes, ...]:
        """The names of the fields with user and groups, in lower case; none if no proxy is trusted to."""
        if not self.asserts_users:
            return ()
        return (self._user_field,) if self._groups_field is None else (self._user_field, self._groups_field)

    def trusts(self, peer: str) -> bool:
        """Return whether a peer is a trusted proxy; takes a textual address, or `unix`."""
        return peer in self._all

    def user(self, peer: str, fields: Callable[[bytes], Sequence[bytes] | None]) -> ProxyUser | None:
        """
        Return the user that a peer has authenticated.

        Args:
            peer: The textual address of the connection, or `unix`.
            fields: As for `client`.

        Returns:
            None without a user, and unless the peer is trusted to authenticate users.
        """
        if peer not in self._asserting:
            return None
        stated = _single(fields(self._user_field))
        groups = b"" if self._groups_field is None else _single(fields(self._groups_field))
        found = self._users.peek((stated, groups))
        if found is None:
            name = _user(stated)
            if name is None:
                return None
            found = ProxyUser(name, _groups(groups, self._separator))
            if len(stated) + len(groups) <= _MAX_USER:
                self._users.put((stated, groups), found)
        return found

    def client(self, peer: str, fields: Callable[[bytes], Sequence[bytes] | None]) -> ForwardedClient:
        """
        Identify the client behind a peer.

        Args:
            peer: The textual address of the connection, or `unix`.
            fields: Returns all values of a header field by its name; None or empty if it is absent.

        Returns:
            The client according to trusted proxies; for an untrusted peer, only its own address.
        """
        peer_address = "" if peer == UNIX else peer
        if not self.trusts(peer):
            return ForwardedClient(address=peer_address)
        user = self.user(peer, fields)
        hop = self._outermost(fields)
        if hop is None:
            return ForwardedClient(address=peer_address, user=user)
        return ForwardedClient(
            address=hop.address or peer_address,
            scheme=hop.scheme.lower() if hop.scheme.lower() in ("http", "https") else "",
            host=hop.host if is_host(hop.host) else "",
            prefix=_prefix(fields),
            user=user,
        )

    def _outermost(self, fields: Callable[[bytes], Sequence[bytes] | None]) -> _Hop | None:
        """Return the hop of the client; None if the fields are contradictory or malformed."""
        standard = _text(fields(b"forwarded"))
        chain = _text(fields(b"x-forwarded-for"))
        if standard is None or chain is None:
            return None
        hops = _forwarded_hops(standard)
        if hops is None:
            return None
        x_hops = _x_hops(chain, _text(fields(b"x-forwarded-proto")), _text(fields(b"x-forwarded-host")))
        if not chain:
            return self._client_of(hops) if hops else self._client_of(x_hops)
        client_hop = self._client_of(x_hops)
        return None if hops and self._client_of(hops).address != client_hop.address else client_hop

    def _client_of(self, hops: Sequence[_Hop]) -> _Hop:
        """Return the right-most hop that is not a trusted proxy."""
        client_hop = _Hop("")
        for hop in reversed(hops[-_MAX_HOPS:]):
            if hop.address == "" and client_hop.address:
                # An obfuscated hop: everything further left is unverified.
                return client_hop
            client_hop = hop
            if not self.trusts(hop.address):
                return client_hop
        return client_hop


def _network(description: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(description)
    except ValueError as error:
        raise ConfigurationError(
            f"{description!r} is not a trusted proxy; write an address, a network such as 10.0.0.0/8, or"
            " unix."
        ) from error


def _address(text: str) -> _Address | None:
    """Parse an address; an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) becomes IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _text(values: Sequence[bytes] | None) -> str | None:
    """Join the lines of a field (RFC 9110 section 5.2); None if too long or not printable ASCII."""
    try:
        text = b", ".join(values or ()).decode("ascii")
    except UnicodeDecodeError:
        return None
    return text if len(text) <= _MAX_FIELD and text.isprintable() else None


def _hop_address(text: str) -> str:
    """Parse a node, with or without a port (RFC 7239 section 6); empty if it is no address."""
    match = _HOP.fullmatch(text)
    address = _address(match[1] or match[2] or match[3]) if match else None
    return "" if address is None else str(address)


def _x_hops(chain: str, schemes: str | None, hosts: str | None) -> tuple[_Hop, ...]:
    """Combine the X-Forwarded fields, hop by hop."""
    addresses = _members(chain) or [""]
    size = len(addresses)
    origins = zip(_spread(schemes, size), _spread(hosts, size), strict=True)
    return tuple(
        _Hop(_hop_address(address), scheme, host)
        for address, (scheme, host) in zip(addresses, origins, strict=True)
    )


def _spread(text: str | None, size: int) -> list[str]:
    """Return a value for each hop; if their number differs, the nearest proxy's value for all."""
    members = _members(text or "") or [""]
    return members if len(members) == size else members[-1:] * size


def _members(text: str) -> list[str]:
    return [member.strip() for member in text.split(",")] if text.strip() else []


def _forwarded_hops(text: str) -> tuple[_Hop, ...] | None:
    """
    Parse a Forwarded field.

    Returns:
        None if it is malformed anywhere: a client's unclosed quote would swallow what a proxy appends.
    """
    hops: list[_Hop] = []
    pairs: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _NEXT.match(text, position)
        if match is None:
            return None
        position = match.end()
        if match[1] is not None:
            name = match[1].lower()
            if name in pairs:
                return None
            pairs[name] = match[2] if match[2] is not None else re.sub(r"\\(.)", r"\1", match[3])
        if match[4] != ";" and pairs:
            hops.append(
                _Hop(_hop_address(pairs.get("for", "")), pairs.get("proto", ""), pairs.get("host", ""))
            )
            pairs = {}
    # Pairs are left over if the field ends with a semicolon, which is malformed.
    return None if pairs else tuple(hops)


def is_host(text: str) -> bool:
    """
    Return whether a field is a host with an optional port, so that it may be used in a URL.

    Brackets must hold an IPv6 address, otherwise the URL could not be parsed again.
    """
    match = _HOST.fullmatch(text)
    if match is None or (match[2] is not None and not 0 < int(match[2]) < 65536):
        return False
    return match[1] is None or _is_ipv6(match[1])


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _single(values: Sequence[bytes] | None) -> bytes:
    """Return the single value of a field; empty if there is none or more than one."""
    return values[0].strip(b" \t") if values and len(values) == 1 else b""


def _prefix(fields: Callable[[bytes], Sequence[bytes] | None]) -> str:
    text = _single(fields(b"x-forwarded-prefix")).decode("latin-1").rstrip("/")
    return text if len(text) <= 256 and _PREFIX.fullmatch(text) else ""


def _user(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if _USER.fullmatch(text) and text != TOKEN_USER else None


def _groups(value: bytes, separator: str) -> frozenset[str]:
    """
    Split the field with groups; the names are as the proxy writes them, without blanks around them.

    Rules only ever add rights, so that a name or a field that is ignored never gives any.
    """
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return frozenset()
    names = (name.strip(" \t") for name in text.split(separator))
    return frozenset(name for name in names if 0 < len(name) <= _MAX_GROUP and name.isprintable())
