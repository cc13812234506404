"""Rate limits (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.kit.github.wire import Answer, as_json


@dataclass
class Bucket:
    """What one token, or all who send none, may ask in an hour."""

    limit: int
    used: int = 0
    reset: int = field(default_factory=lambda: int(time.time()) + 3600)

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    def headers(self) -> dict[str, str]:
        values = {"Limit": self.limit, "Remaining": self.remaining, "Used": self.used, "Reset": self.reset}
        return {f"X-RateLimit-{name}": str(value) for name, value in values.items()} | {
            "X-RateLimit-Resource": "core"
        }

    def renew(self) -> None:
        if time.time() >= self.reset:
            self.used, self.reset = 0, int(time.time()) + 3600

    def exhausted(self) -> Answer:
        """The answer of GitHub when nothing is left; there is no Retry-After."""
        text = (
            "API rate limit exceeded for 127.0.0.1. (But here's the good news: Authenticated requests get a "
            "higher rate limit. Check out the documentation for more details.)"
        )
        about = "https://docs.github.com/rest/overview/resources-in-the-rest-api#rate-limiting"
        return as_json({"message": text, "documentation_url": about}, 403)


class Limits:
    """The buckets of a server; by default 60 an hour without a token, and 5,000 with each."""

    def __init__(self, without_token: int = 60, with_token: int = 5000) -> None:
        self.without_token, self.with_token = without_token, with_token
        self._buckets: dict[str | None, Bucket] = {}

    def of(self, token: str | None) -> Bucket:
        """Give the bucket of a token (None: without one), which a test may change."""
        limit = self.without_token if token is None else self.with_token
        return self._buckets.setdefault(token, Bucket(limit))
