"""
The forms in which a password may stand in an htpasswd file, told apart by how they begin.

Not accepted, each with a sentence: plain text, and DES crypt, which looks at eight characters.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import importlib
import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.access import crypts

if TYPE_CHECKING:
    from collections.abc import Callable

#: bcrypt looks at no more bytes than this; since 5.0 its package refuses what is longer, while
#: `htpasswd` has always cut it.
_BCRYPT_BYTES = 72
#: Above this a hash takes seconds: 2**16 steps are about 5.
_MAX_BCRYPT_COST = 16
#: In pure Python 100,000 rounds take a quarter of a second; 5,000 are usual.
_MAX_ROUNDS = 100_000
_ROUNDS = 5000

_BCRYPT = re.compile(rb"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_APR1 = re.compile(rb"\$apr1\$([^$]{0,8})\$[./0-9A-Za-z]{22}")
_SHA_CRYPT = re.compile(rb"\$([56])\$(?:rounds=(\d{1,9})\$)?([^$]{0,16})\$([./0-9A-Za-z]+)")
_LENGTHS = {b"5": 43, b"6": 86}

NEEDS_BCRYPT = "bcrypt needs one more package: pip install 'twisted-index[htpasswd]'"


class Stored(NamedTuple):
    """
    A password as it is kept.

    Attributes:
        text: As it stands in the file.
        cost: About how many milliseconds a check takes.
        matches: Says whether it is a password's; blocks for so long.
    """

    text: bytes
    cost: float
    matches: Callable[[bytes], bool]


def parse_hash(text: bytes) -> Stored:
    """
    Find out how a password is kept.

    Args:
        text: What stands behind the user's name.

    Raises:
        ValueError: In no way that is accepted; the message says why, and nothing of the text.
    """
    if text.startswith(b"$2"):
        return _bcrypt(text)
    if text.startswith(b"$apr1$"):
        return _apr1(text)
    if text.startswith((b"$5$", b"$6$")):
        return _sha_crypt(text)
    if text.startswith((b"{SHA}", b"{SSHA}")):
        return _sha1(text)
    raise ValueError("plain text and DES crypt are not accepted; set the password anew with htpasswd -B")


def _bcrypt(text: bytes) -> Stored:
    match = _BCRYPT.fullmatch(text)
    if match is None:
        raise ValueError("this is no whole bcrypt hash")
    cost = int(match[1])
    if not 4 <= cost <= _MAX_BCRYPT_COST:
        raise ValueError(f"the cost of a bcrypt hash has to be from 4 to {_MAX_BCRYPT_COST}")
    try:
        module = importlib.import_module("bcrypt")
    except ImportError:
        raise ValueError(NEEDS_BCRYPT) from None
    check: Callable[[bytes, bytes], bool] = module.checkpw

    def matches(password: bytes) -> bool:
        try:
            return check(password[:_BCRYPT_BYTES], text)
        except ValueError:  # older versions refuse a NUL
            return False

    return Stored(text, 2**cost / 14, matches)


def _apr1(text: bytes) -> Stored:
    match = _APR1.fullmatch(text)
    if match is None:
        raise ValueError("this is no whole apr1 hash")
    return Stored(text, 2.0, partial(_equal, partial(crypts.apr1, salt=match[1]), text[-22:]))


def _sha_crypt(text: bytes) -> Stored:
    match = _SHA_CRYPT.fullmatch(text)
    if match is None or len(match[4]) != _LENGTHS[match[1]]:
        raise ValueError("this is no whole SHA-crypt hash")
    # Below 1000 the specification takes 1000.
    rounds = _ROUNDS if match[2] is None else max(1000, int(match[2]))
    if rounds > _MAX_ROUNDS:
        raise ValueError(f"a SHA-crypt hash with more than {_MAX_ROUNDS} rounds would take too long")
    name = "sha256" if match[1] == b"5" else "sha512"
    make = partial(crypts.sha_crypt, salt=match[3], rounds=rounds, name=name)
    return Stored(text, rounds / 450, partial(_equal, make, match[4]))


def _equal(make: Callable[[bytes], str], expected: bytes, password: bytes) -> bool:
    return hmac.compare_digest(make(password).encode("ascii"), expected)


def _sha1(text: bytes) -> Stored:
    """Read `{SHA}` of Apache, and `{SSHA}` of RFC 2307 servers: a digest, then the salt."""
    mark, _, encoded = text.partition(b"}")
    try:
        octets = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        octets = b""
    digest, salt = octets[:20], octets[20:]
    if len(digest) < 20 or bool(salt) != (mark == b"{SSHA"):
        raise ValueError(f"this is no whole {mark.decode()}}} hash")

    def matches(password: bytes) -> bool:
        made = hashlib.sha1(password + salt, usedforsecurity=False).digest()
        return hmac.compare_digest(made, digest)

    return Stored(text, 0.01, matches)
