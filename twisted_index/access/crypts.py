"""
Hashes of passwords that Python's library does not have: Apache's MD5, and SHA-crypt. Pure.

They are slow by design, here even more so: call them in a thread. SHA-crypt follows
https://www.akkadia.org/drepper/SHA-crypt.txt, whose steps are numbered in the comments; Apache's MD5
is the md5-crypt of FreeBSD with another mark (Apache httpd, "Password Formats").
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The alphabet of crypt(3), least significant first.
ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_APR1_ROUNDS = 1000

# Which bytes of the digest make each four characters, and then the last two or three.
_MD5_ORDER = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5), (11,))
_SHA256_ORDER = (
    *((i % 30, (i + 10) % 30, (i + 20) % 30) for i in (0, 21, 12, 3, 24, 15, 6, 27, 18, 9)),
    (31, 30),
)
_SHA512_ORDER = (*((i % 63, (i + 21) % 63, (i + 42) % 63) for i in [22 * n % 63 for n in range(21)]), (63,))


def apr1(password: bytes, salt: bytes) -> str:
    """
    Hash with Apache's MD5.

    Args:
        password: Any.
        salt: At most 8 bytes count.

    Returns:
        22 characters, without mark and salt.
    """
    salt = salt[:8]
    inner = _md5(password + salt + password)
    mixed = password + b"$apr1$" + salt + _stretched(inner, len(password))
    length = len(password)
    while length:
        mixed += b"\0" if length & 1 else password[:1]
        length >>= 1
    digest = _md5(mixed)
    for number in range(_APR1_ROUNDS):
        digest = _md5(_round(number, digest, password, salt))
    return _spelled(digest, _MD5_ORDER)


def sha_crypt(password: bytes, salt: bytes, rounds: int, name: str) -> str:
    """
    Hash with SHA-crypt.

    Args:
        password: Any.
        salt: At most 16 bytes count.
        rounds: At least 1000.
        name: `sha256` or `sha512`.

    Returns:
        43 or 86 characters, without mark, rounds and salt.
    """
    salt = salt[:16]
    inner = _digest(name, password + salt + password)  # 4 to 8
    mixed = password + salt + _stretched(inner, len(password))  # 1 to 3, 9 and 10
    length = len(password)
    while length:  # 11
        mixed += inner if length & 1 else password
        length >>= 1
    digest = _digest(name, mixed)  # 12
    repeated = _stretched(_digest(name, password * len(password)), len(password))  # 13 to 16
    salted = _stretched(_digest(name, salt * (16 + digest[0])), len(salt))  # 17 to 20
    new = getattr(hashlib, name)
    for number in range(rounds):  # 21
        digest = new(_round(number, digest, repeated, salted), usedforsecurity=False).digest()
    return _spelled(digest, _SHA512_ORDER if name == "sha512" else _SHA256_ORDER)  # 22


def _round(number: int, digest: bytes, password: bytes, salt: bytes) -> bytes:
    """Mix what one of the many rounds hashes; both kinds do it alike."""
    odd = number & 1
    between = (salt if number % 3 else b"") + (password if number % 7 else b"")
    return password + between + digest if odd else digest + between + password


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _digest(name: str, data: bytes) -> bytes:
    return hashlib.new(name, data, usedforsecurity=False).digest()


def _stretched(block: bytes, length: int) -> bytes:
    """Repeat a block up to a length."""
    return (block * (length // len(block) + 1))[:length]


def _spelled(digest: bytes, order: Sequence[tuple[int, ...]]) -> str:
    """Spell a digest in the alphabet of crypt(3), in its order of bytes."""
    return "".join(_group([digest[index] for index in group]) for group in order)


def _group(octets: Sequence[int]) -> str:
    """Spell up to three bytes, the first of them most significant, as up to four characters."""
    value = int.from_bytes(bytes(octets), "big")
    return "".join(ALPHABET[value >> (6 * n) & 63] for n in range(len(octets) + 1))
