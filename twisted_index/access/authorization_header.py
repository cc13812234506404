"""
Parser of the Authorization field (RFC 9110 section 11.6.2). Pure.

Out of scope: verifying the credentials (see `control`).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

from twisted_index.errors import Unauthorized

#: The user name that marks the password as a token, as on PyPI; `uv publish --token` sends it.
TOKEN_USER = "__token__"  # noqa: S105 (a name, not a secret)

#: Bytes of a password: the time of some hashes grows with the square of its length.
MAX_PASSWORD = 1024
_MAX_USER = 256

# RFC 7617 section 2: neither may contain control characters.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedCredentials:
    """
    The user and secret of an Authorization field, unverified.

    Attributes:
        user: The user's name; None for a token.
        secret: The password or the token, UTF-8; not part of `repr`.
    """

    user: str | None
    secret: bytes = field(repr=False)


def parse_authorization(value: bytes) -> PresentedCredentials:
    """
    Parse an Authorization field.

    Args:
        value: `Basic …` (RFC 7617), or `Bearer …` or `token …` with a token.

    Raises:
        Unauthorized: The field is malformed, or its scheme is unsupported.
    """
    scheme, _, rest = value.strip().partition(b" ")
    match scheme.lower():
        case b"basic":
            return _parse_basic(rest.strip())
        case b"bearer" | b"token":
            return PresentedCredentials(user=None, secret=_check_length(rest.strip()))
    raise Unauthorized("Unsupported Authorization scheme; send Basic, or Bearer with a token.")


def _parse_basic(encoded: bytes) -> PresentedCredentials:
    try:
        text = _decode(base64.b64decode(encoded, validate=True))
    except binascii.Error:
        raise Unauthorized(
            "The Authorization field is not valid Basic: it is not base64 (RFC 7617)."
        ) from None
    user, colon, password = text.partition(":")
    if not colon:
        raise Unauthorized("The Authorization field is not valid Basic: it has no colon (RFC 7617).")
    if _CONTROL.search(text):
        raise Unauthorized("The user name or password contains a control character (RFC 7617).")
    if user == TOKEN_USER:
        return PresentedCredentials(user=None, secret=_check_length(password.strip().encode()))
    if len(user) > _MAX_USER:
        raise Unauthorized("The user name is too long.")
    return PresentedCredentials(user=user, secret=_check_length(password.encode()))


def _decode(octets: bytes) -> str:
    """Decode UTF-8, which the challenge requires, or else Latin-1, which some clients send."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _check_length(secret: bytes) -> bytes:
    if len(secret) > MAX_PASSWORD:
        raise Unauthorized("The password is too long.")
    return secret
