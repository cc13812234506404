"""What a releases API says when it refuses a request: sentences, and how long to leave it alone. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeAlias

from twisted_index.http_client.retry import BUSY_STATUSES, Denied, TemporaryFailure, retry_after

#: Returns the value of a header field; empty without one.
Fields: TypeAlias = Callable[[bytes], str]

_MAX_TEXT = 200  # characters of the API's own text
#: Seconds after a refusal for too many requests that says no time, as GitHub's documentation asks for.
_UNSTATED = 60
#: Seconds; GitHub's limits are for an hour.
_LONGEST = 3600


class APIRefusal(Denied):
    """
    The API refuses a request, and will refuse it again.

    Attributes:
        code: The status code.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class APIBusy(TemporaryFailure):
    """
    The API cannot respond now.

    Attributes:
        code: The status code.
        rest: Seconds in which it wants no request at all; None if it does not say so.
    """

    def __init__(self, message: str, code: int, rest: int | None) -> None:
        super().__init__(message, rest)
        self.code = code
        self.rest = rest


def read_refusal(
    status: int, fields: Fields, content: bytes, *, token: bytes | None, now: float
) -> APIRefusal | APIBusy:
    """
    Read an error response.

    Args:
        status: Its status code.
        fields: Its header fields.
        content: Its body, or what could be read of it.
        token: The token of the request, which must not be shown; None without one.
        now: Seconds since the epoch.
    """
    said = _said(content, token)
    rest = _rest(status, fields, said, now)
    if status in BUSY_STATUSES or rest is not None:
        return APIBusy(_busy(status, rest, now, has_token=token is not None), status, rest)
    if status == 401 and token is None:
        return APIRefusal("The releases API requires a token, and none is configured (401).", status)
    if status == 401:
        return APIRefusal("The releases API rejected the token: it is invalid or has expired (401).", status)
    return APIRefusal(f"The releases API refused the request ({status}){said and f': {said}'}.", status)


def _busy(status: int, rest: int | None, now: float, *, has_token: bool) -> str:
    if rest is None:
        return f"The releases API is temporarily unavailable ({status})."
    until = datetime.fromtimestamp(now, UTC) + timedelta(seconds=rest)
    if status >= 500:
        return f"The releases API is temporarily unavailable ({status}), until {until:%H:%M:%S} UTC."
    advice = "" if has_token else " A token raises the limit, and none is configured."
    return f"The rate limit of the releases API is exhausted until {until:%H:%M:%S} UTC.{advice}"


def _rest(status: int, fields: Fields, said: str, now: float) -> int | None:
    """Return for how many seconds the API wants no requests; None if it does not say so."""
    if status not in BUSY_STATUSES and status != 403:
        return None
    date = fields(b"Date")
    delay = retry_after(fields(b"Retry-After"), date or _http_date(now))
    if delay is None and status in (403, 429):
        delay = _until_reset(fields, _seconds(date) or now)
        if delay is None and (status == 429 or "rate limit" in said.lower()):
            delay = _UNSTATED
    return None if delay is None else min(delay, _LONGEST)


def _until_reset(fields: Fields, now: float) -> int | None:
    """Return the seconds until an exhausted limit is renewed, by the server's own clock."""
    reset = fields(b"X-RateLimit-Reset")
    if fields(b"X-RateLimit-Remaining") != "0":
        return None
    if not (reset.isascii() and reset.isdigit() and len(reset) < 16):
        return _UNSTATED
    return max(1, math.ceil(int(reset) - now))


def _said(content: bytes, token: bytes | None) -> str:
    """Return the API's own text: on one line, short, without a full stop, without the token."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    parts = [document.get("message"), *_errors(document.get("errors"))]
    text = "; ".join(part for part in parts if isinstance(part, str) and part)
    if token is not None:
        text = text.replace(token.decode("ascii"), "…")
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return text[:_MAX_TEXT].rstrip(" .")


def _errors(errors: object) -> list[object]:
    """Return what GitHub adds to "Validation Failed"."""
    if not isinstance(errors, list):
        return []
    items = [item for item in errors if isinstance(item, dict)]
    return [item.get("message") or f"{item.get('field')}: {item.get('code')}" for item in items]


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _http_date(now: float) -> str:
    return f"{datetime.fromtimestamp(now, UTC):%a, %d %b %Y %H:%M:%S} GMT"
