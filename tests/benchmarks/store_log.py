"""
What a Ceph gateway has been asked for, by its own log.

Not for: who asked.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: The line of a request: the method, and the target.
_REQUEST = re.compile(rb'beast: .* "([A-Z]+) (\S+) HTTP')
#: Seconds in which the gateway has written a line, and what follows an answer at once has come.
_SETTLE = 0.5


class StoreLog:
    """
    Counts requests from one call to the next.

    Args:
        path: The log of the gateway.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def count(self, settle: float = _SETTLE) -> Counter[str]:
        """
        Count the requests since the last call, after a pause.

        Returns:
            By kind: `list`, `read` (GET, HEAD), `write` (PUT, POST) and `delete`.
        """
        time.sleep(settle)
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._at += whole
        return Counter(_kind(*found) for found in _REQUEST.findall(data[:whole]))


def _kind(method: bytes, target: bytes) -> str:
    if method in (b"GET", b"HEAD"):
        return "list" if b"list-type=" in target or b"delimiter=" in target else "read"
    return "delete" if method == b"DELETE" else "write"
