"""
Fingerprints of secrets, for caches and memos that must not hold the secrets themselves.

The key is random and lives as long as the process, so that a fingerprint that leaks, in a core dump for
instance, cannot be tested against guesses elsewhere.
"""

from __future__ import annotations

import hashlib
import secrets

_KEY = secrets.token_bytes(32)
_SIZE = 32


def fingerprint(*secret: bytes) -> bytes:
    """
    Return the keyed digest of a secret (BLAKE2b, RFC 7693 section 2.9).

    Args:
        secret: The secret, in one or several parts; equal only to the same parts.

    Returns:
        32 bytes.
    """
    if len(secret) > 1:
        secret = (b"".join(len(part).to_bytes(4, "big") + part for part in secret),)
    return hashlib.blake2b(*secret, digest_size=_SIZE, key=_KEY).digest()
