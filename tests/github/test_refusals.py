"""What an API says when it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from twisted_index.github.refusals import APIBusy, APIRefusal, read_refusal

NOW = 1_780_000_000.0  # 2026-05-28 20:26:40 UTC
LATER = str(int(NOW) + 90)


def refusal(
    status: int, content: object = b"", token: bytes | None = b"s3cret", **fields: str
) -> APIBusy | APIRefusal:
    sent = {name.replace("_", "-").lower(): value for name, value in fields.items()}
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_refusal(status, lambda name: sent.get(name.decode().lower(), ""), body, token=token, now=NOW)


@pytest.mark.parametrize(
    ("status", "content", "fields", "rest"),
    [
        (403, b"", {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": LATER}, 90),
        (429, b"", {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": LATER}, 90),
        (403, b"", {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "1"}, 1),
        (403, b"", {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "9" * 15}, 3600),
        (403, b"", {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "soon"}, 60),
        (403, b"", {"Retry_After": "7", "X_RateLimit_Remaining": "4999"}, 7),
        (429, b"", {}, 60),
        (403, {"message": "You have exceeded a secondary rate limit."}, {}, 60),
        (503, b"", {"Retry_After": "30"}, 30),
        (503, b"", {}, None),
        (502, b"<html>", {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": LATER}, None),
    ],
)
def test_the_time_without_requests_is_found(
    status: int, content: object, fields: dict[str, str], rest: int | None
):
    error = refusal(status, content, **fields)
    assert isinstance(error, APIBusy)
    assert (error.code, error.rest) == (status, rest)


def test_a_reset_is_read_by_the_clock_of_the_server():
    """Ours is an hour behind."""
    date, reset = "Thu, 28 May 2026 21:26:40 GMT", str(int(NOW) + 3600 + 30)
    error = refusal(403, X_RateLimit_Remaining="0", X_RateLimit_Reset=reset, Date=date)
    assert isinstance(error, APIBusy)
    assert error.rest == 30


@pytest.mark.parametrize(("token", "is_advised"), [(None, True), (b"s3cret", False)])
def test_an_exhausted_limit_says_until_when_and_that_a_token_raises_it(token: Any, is_advised: bool):
    error = refusal(403, b"", token, X_RateLimit_Remaining="0", X_RateLimit_Reset=LATER)
    assert "exhausted until 20:28:10 UTC" in error.message
    assert ("A token raises the limit" in error.message) is is_advised


def test_a_wrong_token_and_none_are_told_apart():
    assert "rejected the token" in refusal(401).message
    assert "requires a token" in refusal(401, token=None).message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"message": "Resource not accessible."}, " (403): Resource not accessible."),
        ({"message": "a\x1b[31m\n\u202eb"}, " (403): a [31m b."),
        ({"message": "x" * 500}, " (403): " + "x" * 200 + "."),
        ({"message": "Bearer s3cret"}, " (403): Bearer …."),
        ({"message": 5}, " (403)."),
        ([1], " (403)."),
        (b"<html>", " (403)."),
        (b"[" * 60_000, " (403)."),
        (
            {"message": "Validation Failed", "errors": [{"field": "name", "code": "already_exists"}, 1]},
            " (403): Validation Failed; name: already_exists.",
        ),
        ({"message": "No", "errors": [{"message": "Immutable"}]}, " (403): No; Immutable."),
    ],
)
def test_the_words_of_the_api_are_shown_short_and_printable(content: object, said: str):
    error = refusal(403, content)
    assert isinstance(error, APIRefusal)
    assert error.message == f"The releases API refused the request{said}"
