"""
Password hashes of an htpasswd file, distinguished by their prefix.

`{SHA}` and `{SSHA}` need only Python's library. bcrypt, apr1 and SHA-crypt need the extra `htpasswd`,
whose packages are imported when the first such hash is read. Plain text and DES crypt, which uses only
eight characters, are rejected.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import importlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

#: bcrypt uses no more bytes than this. Since 5.0 its package rejects longer passwords, which `htpasswd`
#: has always truncated; libpass does not truncate them either, so bcrypt is called directly.
_BCRYPT_BYTES = 72
#: Above this a check takes seconds: 2**16 iterations take about 5.
_MAX_BCRYPT_COST = 16
#: 100,000 rounds take a tenth of a second; 5,000 are usual.
_MAX_ROUNDS = 100_000

_BCRYPT = re.compile(rb"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")


class _Crypt(NamedTuple):
    """
    A scheme that libpass checks.

    Attributes:
        name: Its name in messages.
        handler: Its name in `passlib.hash`.
        rounds: Default number of rounds.
        pattern: The hashes that libpass accepts, but with any number of rounds.
    """

    name: str
    handler: str
    rounds: int
    pattern: re.Pattern[bytes]


_H64 = rb"[./0-9A-Za-z]"
_APR1 = rb"\$apr1\$" + _H64 + rb"{0,8}\$" + _H64 + rb"{22}"
_SHA_CRYPT = rb"\$%b\$(?:rounds=(?P<rounds>\d{1,9})\$)?" + _H64 + rb"{0,16}\$" + _H64 + rb"{%d}"
_CRYPTS = {
    b"$apr1$": _Crypt("apr1", "apr_md5_crypt", 1000, re.compile(_APR1)),
    b"$5$": _Crypt("SHA-crypt", "sha256_crypt", 5000, re.compile(_SHA_CRYPT % (b"5", 43))),
    b"$6$": _Crypt("SHA-crypt", "sha512_crypt", 5000, re.compile(_SHA_CRYPT % (b"6", 86))),
}

NEEDS_EXTRA = "this kind of hash requires the extra twisted-index[htpasswd]: pip install bcrypt libpass"


class PasswordHash(NamedTuple):
    """
    A hash, and how to check a password against it.

    Attributes:
        text: The hash as in the file.
        cost: Approximate duration of a check in milliseconds.
        matches: Checks a password; blocks for that time.
    """

    text: bytes
    cost: float
    matches: Callable[[bytes], bool]


def parse_hash(text: bytes) -> PasswordHash:
    """
    Parse a hash.

    Args:
        text: The second field of a line.

    Raises:
        ValueError: The scheme is unknown, rejected or not installed, or the hash is damaged or too
            expensive to check; the message states which, and never repeats the text.
    """
    if text.startswith(b"$2"):
        return _bcrypt(text)
    if text.startswith((b"{SHA}", b"{SSHA}")):
        return _sha1(text)
    for prefix, scheme in _CRYPTS.items():
        if text.startswith(prefix):
            return _with_libpass(text, scheme)
    raise ValueError(
        "plain text and DES crypt are not accepted; set the password again with htpasswd -B or openssl passwd"
        " -6"
    )


def _bcrypt(text: bytes) -> PasswordHash:
    match = _BCRYPT.fullmatch(text)
    if match is None:
        raise ValueError("malformed bcrypt hash")
    cost = int(match[1])
    if not 4 <= cost <= _MAX_BCRYPT_COST:
        raise ValueError(f"the cost of a bcrypt hash must be from 4 to {_MAX_BCRYPT_COST}")
    check = _extra("bcrypt").checkpw
    return _password_hash(text, 2**cost / 14, lambda password: check(password[:_BCRYPT_BYTES], text))


def _with_libpass(text: bytes, scheme: _Crypt) -> PasswordHash:
    match = scheme.pattern.fullmatch(text)
    if match is None:
        raise ValueError(f"malformed {scheme.name} hash")
    # https://www.akkadia.org/drepper/SHA-crypt.txt: fewer than 1,000 rounds mean 1,000.
    declared = match.groupdict().get("rounds")
    rounds = max(1000, int(declared or scheme.rounds))
    if rounds > _MAX_ROUNDS:
        raise ValueError(f"a SHA-crypt hash with more than {_MAX_ROUNDS} rounds would take too long")
    verify = getattr(_extra("passlib.hash"), scheme.handler).verify
    hashed = text if declared is None else text.replace(b"rounds=" + declared, b"rounds=%d" % rounds)
    return _password_hash(text, rounds / 1200, lambda password: verify(password, hashed))


def _extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(NEEDS_EXTRA) from None


def _password_hash(text: bytes, cost: float, check: Callable[[bytes], bool]) -> PasswordHash:
    def matches(password: bytes) -> bool:
        try:
            return check(password)
        except ValueError:  # libpass and older versions of bcrypt reject a NUL
            return False

    return PasswordHash(text, cost, matches)


def _sha1(text: bytes) -> PasswordHash:
    """Parse `{SHA}` of Apache, and `{SSHA}` of RFC 2307 servers: a digest, then the salt."""
    scheme, _, encoded = text.partition(b"}")
    try:
        octets = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        octets = b""
    digest, salt = octets[:20], octets[20:]
    if len(digest) < 20 or bool(salt) != (scheme == b"{SSHA"):
        raise ValueError(f"malformed {scheme.decode()}}} hash")

    def matches(password: bytes) -> bool:
        computed = hashlib.sha1(password + salt, usedforsecurity=False).digest()
        return hmac.compare_digest(computed, digest)

    return PasswordHash(text, 0.01, matches)
