"""What shall go wrong, or happen in between, at which request."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.kit.github.wire import Answer, Request, as_json


@dataclass
class Rule:
    """
    Changes the answers to some requests.

    Attributes:
        pattern: Regular expression that is searched for in "METHOD /target".
        first: The how-manieth request of these it begins with, counted from 1 since the rule was made.
        times: For how many requests; None for all further ones.
        status: Answer this instead.
        headers: Added to the answer.
        body: Instead of the answer's own body.
        edit: Changes the answer's body.
        without: Names of fields that are left out ("Link", "ETag").
        keep: Only so many items of a list in JSON, or of each release's assets with `keep_assets`.
        send: Only so many bytes of the body; then the connection is closed.
        seconds: Wait so long before the answer.
        before: Called before the answer is computed.
        after: Called when it was computed and before it is sent.
        starter: With an upload: leave an asset in state "starter", as GitHub does if its storage fails.
    """

    pattern: str
    first: int = 1
    times: int | None = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    edit: Callable[[bytes], bytes] | None = None
    without: tuple[str, ...] = ()
    keep: int | None = None
    keep_assets: int | None = None
    send: int | None = None
    seconds: float = 0.0
    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None
    starter: bool = False
    at: str | None = None  # only requests of this listener
    hits: int = 0

    def applies(self, request: Request) -> bool:
        """Count a request that the rule is about, and tell whether it is its turn."""
        if (self.at and request.at != self.at) or not re.search(self.pattern, request.line):
            return False
        self.hits += 1
        return self.hits >= self.first and (self.times is None or self.hits < self.first + self.times)

    def begin(self) -> None:
        time.sleep(self.seconds)
        if self.before:
            self.before()

    @property
    def instead(self) -> Answer | None:
        """The answer that needs no work."""
        if self.status is None:
            return None
        message = {401: "Bad credentials", 403: "Forbidden", 404: "Not Found"}.get(
            self.status, "Server Error"
        )
        return as_json({"message": message, "documentation_url": "https://docs.github.com/rest"}, self.status)

    def change(self, answer: Answer) -> None:
        if self.keep is not None or self.keep_assets is not None:
            answer.body = self._cut(answer.body)
        if self.body is not None:
            answer.body = self.body
        if self.edit is not None:
            answer.body = self.edit(answer.body)
        for name in self.without:
            answer.headers.pop(name, None)
        answer.headers |= self.headers
        answer.send = self.send if self.send is not None else answer.send
        if self.after:
            self.after()

    def _cut(self, body: bytes) -> bytes:
        """Cut a list; what is none stays."""
        if not body.startswith(b"[{"):
            return body
        items = json.loads(body)
        items = items if self.keep is None else items[: self.keep]
        for item in items if self.keep_assets is not None else ():
            item["assets"] = item["assets"][: self.keep_assets]
        return json.dumps(items).encode()
